//! Rules as they are compiled.

use crate::{operator::Operator, template::Template, transform::Transformation, variable::Variable};
use regex::bytes::Regex;
use std::sync::Arc;

/// Which values of a collection a target takes.
#[derive(Debug, Clone)]
pub(crate) enum Selector {
    All,
    /// The entries of a name, in any case.
    Key(Arc<[u8]>),
    /// The entries whose names match.
    Regex(Arc<Regex>),
}

impl Selector {
    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Key(key) => key.eq_ignore_ascii_case(name),
            Self::Regex(regex) => regex.is_match(name),
        }
    }

    /// Whether both are written the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Key(one), Self::Key(other)) => one.eq_ignore_ascii_case(other),
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

/// A variable in a rule: what the operator is asked about.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) variable: Variable,
    pub(crate) selector: Selector,
    /// The number of the name in `TX`, where one entry of it is taken.
    pub(crate) tx: Option<u16>,
    /// The numbers of all names in `TX` that the selector takes, of those that rules write.
    pub(crate) fixed: Arc<[u16]>,
    /// Not the values but how many there are.
    pub(crate) count: bool,
    /// What is left out.
    pub(crate) except: Vec<Selector>,
}

impl Target {
    /// Whether an entry of this name is taken.
    #[inline]
    pub(crate) fn takes(&self, name: &[u8]) -> bool {
        self.selector.takes(name) && !self.except.iter().any(|except| except.takes(name))
    }
}

/// How a value of a collection is set.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Set(Template),
    Add(Template),
    Subtract(Template),
    Unset,
}

/// Which value is set.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Tx(u16),
    /// A name with macros in it.
    Named(Template),
}

/// `setvar`.
#[derive(Debug, Clone)]
pub(crate) struct SetVar {
    pub(crate) collection: Variable,
    pub(crate) place: Place,
    pub(crate) change: Change,
}

/// `expirevar`.
#[derive(Debug, Clone)]
pub(crate) struct ExpireVar {
    pub(crate) collection: Variable,
    pub(crate) name: Template,
    pub(crate) seconds: Template,
}

/// Whether rules run, and whether what they decide is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Rules run and requests are refused.
    On,
    /// Rules run and nothing is refused.
    DetectionOnly,
    /// No rule runs.
    Off,
}

/// The processor of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    /// Forms in the form of queries.
    Urlencoded,
    /// Forms in parts, with files.
    Multipart,
    /// JSON.
    Json,
    /// XML.
    Xml,
    /// Kept as it is, for `REQUEST_BODY`.
    Raw,
}

impl Processor {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Urlencoded => "URLENCODED",
            Self::Multipart => "MULTIPART",
            Self::Json => "JSON",
            Self::Xml => "XML",
            Self::Raw => "RAW",
        }
    }
}

/// Which rules an action or a directive is about.
#[derive(Debug, Clone)]
pub(crate) enum Which {
    /// Ids from the first to the last.
    Ids(u64, u64),
    /// Rules with a tag, the same or one that an expression matches.
    Tag(String, Option<Arc<Regex>>),
    /// Rules with a message.
    Msg(String, Option<Arc<Regex>>),
}

impl Which {
    pub(crate) fn is(&self, rule: &Chain) -> bool {
        match self {
            Self::Ids(first, last) => (*first..=*last).contains(&rule.id),
            Self::Tag(text, regex) => rule.tags.iter().any(|tag| {
                **tag == **text || regex.as_ref().is_some_and(|regex| regex.is_match(tag.as_bytes()))
            }),
            Self::Msg(text, regex) => {
                let message = rule.message_text.as_str();
                message == text || regex.as_ref().is_some_and(|regex| regex.is_match(message.as_bytes()))
            }
        }
    }
}

/// `ctl`.
#[derive(Debug, Clone)]
pub(crate) enum Control {
    Engine(Engine),
    Processor(Processor),
    RequestBodyAccess(bool),
    ResponseBodyAccess(bool),
    RequestBodyLimit(usize),
    ResponseBodyLimit(usize),
    ForceRequestBody(bool),
    Remove(Which),
    RemoveTarget(Which, Target),
    /// Accepted, and of no effect on verdicts: audit logs are the host's.
    Audit,
}

/// What is done once a link or the whole chain matched.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Control(Control),
    InitCollection(Variable, Template),
    Expire(ExpireVar),
}

/// What becomes of the request when a rule matches.
#[derive(Debug, Clone, Default)]
pub(crate) enum Disruption {
    #[default]
    Pass,
    /// What the phase's default action says.
    Block,
    Deny,
    Drop,
    Redirect(Template),
    Allow(Allow),
}

/// How far `allow` reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allow {
    Phase,
    Request,
    Transaction,
}

/// One rule of a chain.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) targets: Vec<Target>,
    pub(crate) operator: Operator,
    pub(crate) negated: bool,
    /// The chain of transformations, by number.
    pub(crate) transforms: usize,
    pub(crate) multi_match: bool,
    pub(crate) capture: bool,
    pub(crate) setvars: Vec<SetVar>,
    pub(crate) actions: Vec<Action>,
    /// A `SecAction`, which has no targets and always matches.
    pub(crate) unconditional: bool,
}

/// A rule with those that are chained to it.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) id: u64,
    /// From 1 to 5.
    pub(crate) phase: u8,
    pub(crate) links: Vec<Link>,
    pub(crate) message: Option<Template>,
    pub(crate) message_text: String,
    pub(crate) logdata: Option<Template>,
    pub(crate) severity: Option<u8>,
    pub(crate) tags: Vec<Arc<str>>,
    pub(crate) revision: String,
    pub(crate) version: String,
    pub(crate) disruption: Disruption,
    pub(crate) status: Option<u16>,
    pub(crate) skip: usize,
    pub(crate) skip_after: Option<String>,
    pub(crate) log: bool,
    pub(crate) file: Arc<str>,
    pub(crate) line: usize,
}

/// A chain of transformations, by number in the rule set.
pub(crate) type Transforms = Vec<Transformation>;
