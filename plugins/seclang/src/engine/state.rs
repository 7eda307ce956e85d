//! What rules change while a transaction is evaluated.

use super::{
    Store,
    outcome::{Intervention, MatchedRule},
    tx::Tx,
};
use crate::{
    bytes::Span,
    config::Config,
    operator::Captures,
    rule::{Allow, Engine, Processor, Target},
    variable::Variable,
};
use std::{sync::Arc, time::Instant};

/// The most rules and values that an outcome lists.
pub(crate) const MOST_MATCHED: usize = 200;
pub(crate) const MOST_VARIABLES: usize = 8;

/// A value that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matched {
    pub(crate) variable: Variable,
    pub(crate) count: bool,
    name: Span,
    value: Span,
}

/// The values that a rule matched.
#[derive(Debug, Default)]
pub(crate) struct AllMatched {
    all: Vec<Matched>,
    text: Vec<u8>,
}

impl AllMatched {
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.text.clear();
        self.text.shrink_to(64 << 10);
    }

    pub(crate) fn push(&mut self, variable: Variable, count: bool, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        let middle = self.text.len();
        self.text.extend_from_slice(value);
        let (name, value) = (Span::new(start..middle), Span::new(middle..self.text.len()));
        self.all.push(Matched { variable, count, name, value });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Matched> {
        self.all.iter()
    }

    pub(crate) fn last(&self) -> Option<&Matched> {
        self.all.last()
    }

    pub(crate) fn value(&self, matched: &Matched) -> &[u8] {
        matched.value.of(&self.text)
    }
}

impl Matched {
    /// The name with the variable's.
    pub(crate) fn write_name(&self, all: &AllMatched, out: &mut Vec<u8>) {
        if self.count {
            out.push(b'&');
        }
        out.extend_from_slice(self.variable.name().as_bytes());
        let path: &[u8] = match self.variable {
            Variable::XmlText => b"/*",
            Variable::XmlAttributes => b"//@*",
            _ => self.name.of(&all.text),
        };
        if !path.is_empty() {
            out.push(b':');
            out.extend_from_slice(path);
        }
    }
}

/// Everything that changes.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) tx: Tx,
    pub(crate) matched: AllMatched,
    /// For a text that is looked at while the state changes.
    pub(crate) scratch: Vec<u8>,
    pub(crate) captures: Captures,
    pub(crate) engine: Engine,
    pub(crate) processor: Option<Processor>,
    pub(crate) request_body_access: bool,
    pub(crate) response_body_access: bool,
    pub(crate) request_body_limit: usize,
    pub(crate) response_body_limit: usize,
    pub(crate) force_request_body: bool,
    /// One bit for each rule that `ctl` removed.
    pub(crate) removed: Vec<u64>,
    pub(crate) removed_targets: Vec<(Arc<[usize]>, Target)>,
    pub(crate) allow: Option<Allow>,
    pub(crate) intervention: Option<Intervention>,
    pub(crate) rules: Vec<MatchedRule>,
    pub(crate) highest_severity: u8,
    /// The keys of collections, in the order of [`KEPT`].
    pub(crate) keys: [Option<Vec<u8>>; 5],
    pub(crate) started: Instant,
    /// The rule that is evaluated, for `RULE`.
    pub(crate) rule: usize,
}

/// The collections that outlive a transaction.
pub(crate) const KEPT: [Variable; 5] =
    [Variable::Ip, Variable::Global, Variable::Session, Variable::User, Variable::Resource];

impl Default for State {
    fn default() -> Self {
        Self {
            tx: Tx::default(),
            matched: AllMatched::default(),
            scratch: Vec::new(),
            captures: Captures::default(),
            engine: Engine::On,
            processor: None,
            request_body_access: true,
            response_body_access: true,
            request_body_limit: 0,
            response_body_limit: 0,
            force_request_body: false,
            removed: Vec::new(),
            removed_targets: Vec::new(),
            allow: None,
            intervention: None,
            rules: Vec::new(),
            highest_severity: 255,
            keys: Default::default(),
            started: Instant::now(),
            rule: 0,
        }
    }
}

impl State {
    /// Readies a state that may have been used before.
    pub(crate) fn reset(&mut self, config: &Config, names: usize, rules: usize) {
        self.tx.reset(names);
        self.matched.clear();
        self.engine = config.engine;
        self.processor = None;
        self.request_body_access = config.request_body_access;
        self.response_body_access = config.response_body_access;
        self.request_body_limit = config.request_body_limit;
        self.response_body_limit = config.response_body_limit;
        self.force_request_body = false;
        self.removed.clear();
        self.removed.resize(rules.div_ceil(64), 0);
        self.removed_targets.clear();
        self.allow = None;
        self.intervention = None;
        self.rules.clear();
        self.highest_severity = 255;
        self.keys = Default::default();
        self.started = Instant::now();
    }

    /// The value of a slot; empty where nothing set it.
    pub(crate) fn slot<'a>(&self, store: &'a Store, slot: Variable) -> &'a [u8] {
        match slot {
            Variable::ReqbodyProcessor => self.processor.map_or("", Processor::name).as_bytes(),
            _ => store.slot(slot).unwrap_or_default(),
        }
    }

    #[inline]
    pub(crate) fn is_removed(&self, rule: usize) -> bool {
        self.removed.get(rule / 64).is_some_and(|word| word >> (rule % 64) & 1 == 1)
    }

    pub(crate) fn remove(&mut self, rule: usize) {
        if let Some(word) = self.removed.get_mut(rule / 64) {
            *word |= 1 << (rule % 64);
        }
    }

    /// The key under which a collection is kept, where `initcol` gave one.
    pub(crate) fn key(&self, collection: Variable) -> Option<&[u8]> {
        let at = KEPT.iter().position(|kept| *kept == collection)?;
        self.keys.get(at)?.as_deref()
    }

    pub(crate) fn set_key(&mut self, collection: Variable, key: Vec<u8>) {
        if let Some(at) = KEPT.iter().position(|kept| *kept == collection)
            && let Some(slot) = self.keys.get_mut(at)
        {
            *slot = Some(key);
        }
    }
}
