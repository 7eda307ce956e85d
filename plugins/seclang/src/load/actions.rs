//! The actions of a rule.

use super::{Fail, control, fail};
use crate::{
    error::suggestion,
    rule::{Action, Allow, Change, Disruption, ExpireVar, Place, SetVar},
    template::{Template, TxNames},
    transform::{self, Transformation},
    variable::{Source, Variable},
};

/// Actions as written.
#[derive(Debug, Default, Clone)]
pub(super) struct Actions {
    pub(super) id: Option<u64>,
    pub(super) phase: Option<u8>,
    pub(super) chain: bool,
    pub(super) capture: bool,
    pub(super) multi_match: bool,
    /// `None` where only defaults apply; `t:none` empties.
    pub(super) transforms: Vec<Transformation>,
    pub(super) none: bool,
    pub(super) setvars: Vec<SetVar>,
    pub(super) actions: Vec<Action>,
    pub(super) disruption: Option<Disruption>,
    pub(super) status: Option<u16>,
    pub(super) severity: Option<u8>,
    pub(super) message: Option<(Template, String)>,
    pub(super) logdata: Option<Template>,
    pub(super) tags: Vec<String>,
    pub(super) revision: String,
    pub(super) version: String,
    pub(super) skip: usize,
    pub(super) skip_after: Option<String>,
    pub(super) log: Option<bool>,
    /// `xmlns`: prefixes of paths with their namespaces.
    pub(super) namespaces: Vec<(String, String)>,
}

const NAMES: &[&str] = &[
    "accuracy",
    "allow",
    "auditlog",
    "block",
    "capture",
    "chain",
    "ctl",
    "deny",
    "drop",
    "expirevar",
    "id",
    "initcol",
    "log",
    "logdata",
    "maturity",
    "msg",
    "multiMatch",
    "noauditlog",
    "nolog",
    "pass",
    "phase",
    "redirect",
    "rev",
    "sanitiseArg",
    "sanitiseMatched",
    "sanitiseMatchedBytes",
    "sanitiseRequestHeader",
    "sanitiseResponseHeader",
    "setrsc",
    "setsid",
    "setuid",
    "setvar",
    "severity",
    "skip",
    "skipAfter",
    "status",
    "t",
    "tag",
    "ver",
    "xmlns",
];

const REFUSED: &[(&str, &str)] = &[
    ("exec", "a rule never runs a program"),
    ("proxy", "routes are the gateway's"),
    ("pause", "it would hold a worker for an attacker"),
    ("append", "the engine does not change bodies"),
    ("prepend", "the engine does not change bodies"),
    ("setenv", "there is no environment of a request"),
    ("deprecatevar", "values of collections expire, they do not fade"),
];

impl Actions {
    /// Parses `id:1,phase:2,msg:'a, b',…`.
    pub(super) fn parse(text: &str, names: &mut TxNames) -> Result<Self, Fail> {
        let mut actions = Self::default();
        actions.add(text, names)?;
        Ok(actions)
    }

    /// Adds to what is there; what is single is replaced.
    pub(super) fn add(&mut self, text: &str, names: &mut TxNames) -> Result<(), Fail> {
        for (at, name, value_at, value) in items(text) {
            self.one(name, &value, names).map_err(|problem| match problem {
                Problem::Name => unknown(at, name),
                Problem::Value(message) => fail(value_at, value.len(), message),
                Problem::Help(message, help) => Fail { help, ..fail(value_at, value.len(), message) },
            })?;
        }
        Ok(())
    }

    fn one(&mut self, name: &str, value: &str, names: &mut TxNames) -> Result<(), Problem> {
        match name.to_ascii_lowercase().as_str() {
            "id" => self.id = Some(value.parse().map_err(|_| bad("an id is a number", value))?),
            "phase" => self.phase = Some(phase(value)?),
            "chain" => self.chain = true,
            "capture" => self.capture = true,
            "multimatch" => self.multi_match = true,
            "t" if value.eq_ignore_ascii_case("none") => {
                self.transforms.clear();
                self.none = true;
            }
            "t" => self.transforms.push(Transformation::find(value).ok_or_else(|| {
                Problem::Help(
                    format!("unknown transformation `{value}`"),
                    suggestion(value, transform::NAMES.iter().copied()),
                )
            })?),
            "setvar" => self.setvars.push(setvar(value, names)?),
            "expirevar" => self.actions.push(expirevar(value, names)?),
            "initcol" => self.actions.push(initcol(value, names)?),
            "setsid" => self.actions.push(Action::InitCollection(Variable::Session, template(value, names)?)),
            "setuid" => self.actions.push(Action::InitCollection(Variable::User, template(value, names)?)),
            "setrsc" => {
                self.actions.push(Action::InitCollection(Variable::Resource, template(value, names)?))
            }
            "ctl" => self.actions.push(Action::Control(control::parse(value, names)?)),
            "pass" => self.disruption = Some(Disruption::Pass),
            "block" => self.disruption = Some(Disruption::Block),
            "deny" => self.disruption = Some(Disruption::Deny),
            "drop" => self.disruption = Some(Disruption::Drop),
            "redirect" => self.disruption = Some(Disruption::Redirect(template(value, names)?)),
            "allow" => self.disruption = Some(Disruption::Allow(allow(value)?)),
            "status" => self.status = Some(value.parse().map_err(|_| bad("a status is a number", value))?),
            _ => return self.described(name, value, names),
        }
        Ok(())
    }

    fn described(&mut self, name: &str, value: &str, names: &mut TxNames) -> Result<(), Problem> {
        match name.to_ascii_lowercase().as_str() {
            "severity" => self.severity = Some(severity(value)?),
            "msg" => self.message = Some((template(value, names)?, value.to_string())),
            "logdata" => self.logdata = Some(template(value, names)?),
            "tag" => self.tags.push(value.to_string()),
            "rev" => self.revision = value.to_string(),
            "ver" => self.version = value.to_string(),
            "skip" => self.skip = value.parse().map_err(|_| bad("a number of rules is wanted", value))?,
            "skipafter" => self.skip_after = Some(value.to_string()),
            "log" => self.log = Some(true),
            "xmlns" => {
                let (prefix, namespace) =
                    value.split_once('=').ok_or_else(|| bad("`prefix=namespace` is wanted", value))?;
                self.namespaces.push((prefix.trim().to_string(), namespace.trim().to_string()));
            }
            "nolog" => self.log = Some(false),
            // Audit logs are the host's, and what is recorded of a value is always masked.
            "auditlog"
            | "noauditlog"
            | "accuracy"
            | "maturity"
            | "sanitisearg"
            | "sanitisematched"
            | "sanitisematchedbytes"
            | "sanitiserequestheader"
            | "sanitiseresponseheader" => {}
            _ => return Err(Problem::Name),
        }
        Ok(())
    }
}

/// What is wrong with one action.
pub(super) enum Problem {
    Name,
    Value(String),
    Help(String, Option<String>),
}

fn unknown(at: usize, name: &str) -> Fail {
    match REFUSED.iter().find(|(refused, _)| name.eq_ignore_ascii_case(refused)) {
        Some((_, why)) => fail(at, name.len(), format!("the action `{name}` is refused: {why}")),
        None => Fail {
            help: suggestion(name, NAMES.iter().copied()),
            ..fail(at, name.len(), format!("unknown action `{name}`"))
        },
    }
}

pub(super) fn bad(wanted: &str, value: &str) -> Problem {
    Problem::Value(format!("{wanted}, not `{value}`"))
}

/// Names, values and their offsets; a value in single quotes may have commas.
fn items(text: &str) -> Vec<(usize, &str, usize, String)> {
    let mut items = Vec::new();
    let mut start = 0;
    let mut quoted = false;
    let mut escaped = false;
    let mut ends: Vec<usize> = Vec::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'\'' => quoted = !quoted,
            b',' if !quoted => ends.push(at),
            _ => {}
        }
    }
    ends.push(text.len());
    for end in ends {
        let item = text.get(start..end).unwrap_or_default();
        let at = start + item.len() - item.trim_start().len();
        start = end + 1;
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        let (name, value) = item.split_once(':').unwrap_or((item, ""));
        let value_at = at + item.len() - value.len();
        let bare = value.trim();
        let bare = bare.strip_prefix('\'').and_then(|value| value.strip_suffix('\'')).unwrap_or(bare);
        items.push((at, name.trim(), value_at, bare.replace("\\'", "'")));
    }
    items
}

pub(super) fn phase(value: &str) -> Result<u8, Problem> {
    match value.to_ascii_lowercase().as_str() {
        "request" => Ok(2),
        "response" => Ok(4),
        "logging" => Ok(5),
        number => match number.parse() {
            Ok(phase @ 1..=5) => Ok(phase),
            _ => Err(bad("a phase is 1 to 5, `request`, `response` or `logging`", value)),
        },
    }
}

fn severity(value: &str) -> Result<u8, Problem> {
    const NAMES: [&str; 8] =
        ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];
    let number = NAMES.iter().position(|name| value.eq_ignore_ascii_case(name));
    match number.map(u8::try_from).unwrap_or_else(|| Ok(value.parse().unwrap_or(8))) {
        Ok(severity @ 0..=7) => Ok(severity),
        _ => Err(Problem::Help(format!("unknown severity `{value}`"), suggestion(value, NAMES.into_iter()))),
    }
}

fn allow(value: &str) -> Result<Allow, Problem> {
    match value.to_ascii_lowercase().as_str() {
        "" => Ok(Allow::Transaction),
        "phase" => Ok(Allow::Phase),
        "request" => Ok(Allow::Request),
        _ => Err(bad("`allow` takes `phase` or `request`", value)),
    }
}

pub(super) fn template(value: &str, names: &mut TxNames) -> Result<Template, Problem> {
    Template::parse(value, names)
        .map_err(|name| Problem::Value(format!("unknown variable `{name}` in a macro")))
}

/// The collection and the rest of `tx.name…`.
fn collection(text: &str) -> Result<(Variable, &str), Problem> {
    let (name, rest) = text.split_once(['.', ':']).ok_or_else(|| bad("`collection.name` is wanted", text))?;
    let known = |variable: &Variable| matches!(variable.source(), Source::Tx | Source::Kept);
    Variable::find(name)
        .filter(known)
        .map(|variable| (variable, rest))
        .ok_or_else(|| bad("values are set in `tx`, `ip`, `global`, `session`, `user` and `resource`", name))
}

fn setvar(value: &str, names: &mut TxNames) -> Result<SetVar, Problem> {
    let (unset, text) = match value.strip_prefix('!') {
        Some(text) => (true, text),
        None => (false, value),
    };
    let (collection, rest) = collection(text)?;
    let (name, change) = match rest.split_once('=') {
        _ if unset => (rest, Change::Unset),
        None => (rest, Change::Set(template("1", names)?)),
        Some((name, change)) => match change.as_bytes() {
            [b'+', ..] => (name, Change::Add(template(change.get(1..).unwrap_or_default(), names)?)),
            [b'-', ..] => (name, Change::Subtract(template(change.get(1..).unwrap_or_default(), names)?)),
            _ => (name, Change::Set(template(change, names)?)),
        },
    };
    let named = template(name, names)?;
    let place = match named.constant() {
        Some(constant) if collection == Variable::Tx => Place::Tx(names.intern(constant)),
        _ => Place::Named(named),
    };
    Ok(SetVar { collection, place, change })
}

fn expirevar(value: &str, names: &mut TxNames) -> Result<Action, Problem> {
    let (collection, rest) = collection(value)?;
    if collection == Variable::Tx {
        return Err(bad("only values that outlive the request expire", value));
    }
    let (name, seconds) =
        rest.split_once('=').ok_or_else(|| bad("`collection.name=seconds` is wanted", value))?;
    Ok(Action::Expire(ExpireVar {
        collection,
        name: template(name, names)?,
        seconds: template(seconds, names)?,
    }))
}

fn initcol(value: &str, names: &mut TxNames) -> Result<Action, Problem> {
    let (name, key) = value.split_once('=').ok_or_else(|| bad("`collection=key` is wanted", value))?;
    match Variable::find(name).filter(|variable| variable.source() == Source::Kept) {
        Some(collection) => Ok(Action::InitCollection(collection, template(key, names)?)),
        None => Err(bad("collections are `ip`, `global`, `session`, `user` and `resource`", name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_parsed() {
        let mut names = TxNames::default();
        let text = "id:'7',phase:request, t:none,t:lowercase,msg:'a, it\\'s %{tx.0}',setvar:'tx.s=+%{tx.c}',setvar:!tx.x,\
                    ctl:ruleRemoveById=1-3,severity:CRITICAL,skipAfter:END,nolog,allow:phase,status:404";
        let actions = Actions::parse(text, &mut names).unwrap();
        assert_eq!(
            (actions.id, actions.phase, actions.severity, actions.status),
            (Some(7), Some(2), Some(2), Some(404))
        );
        assert_eq!(actions.message.unwrap().1, "a, it's %{tx.0}");
        assert!(
            matches!(actions.setvars[0].change, Change::Add(_))
                && matches!(actions.setvars[1].change, Change::Unset)
        );
        assert_eq!((actions.none, actions.transforms.len(), actions.log), (true, 1, Some(false)));
        assert_eq!(actions.skip_after.as_deref(), Some("END"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let mut names = TxNames::default();
        for (text, at, message, help) in [
            ("id:1,phse:2", 5, "unknown action `phse`", Some("`phase` is close to it")),
            ("id:1,t:lowercaze", 7, "unknown transformation `lowercaze`", Some("`lowercase` is close to it")),
            ("exec:/bin/sh", 0, "the action `exec` is refused: a rule never runs a program", None),
            ("phase:9", 6, "a phase is 1 to 5", None),
            ("setvar:'txx.a=1'", 7, "values are set in `tx`", None),
            ("ctl:ruleRemoveById", 4, "`name=value` is wanted", None),
            ("ctl:rulEngine=On", 4, "unknown control `rulEngine`", Some("`ruleEngine` is close to it")),
            ("severity:CRITICL", 9, "unknown severity", Some("`CRITICAL` is close to it")),
        ] {
            let error = Actions::parse(text, &mut names).unwrap_err();
            assert!(error.message.starts_with(message), "{}", error.message);
            assert_eq!((error.at, error.help.as_deref()), (at, help), "{text}");
        }
    }
}
