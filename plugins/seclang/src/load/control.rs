//! `ctl`: what a rule changes for its transaction.

use super::{
    actions::{Problem, bad},
    targets,
};
use crate::{
    error::suggestion,
    operator::pattern,
    rule::{Control, Engine, Processor, Which},
    template::TxNames,
};
use std::sync::Arc;

const NAMES: &[&str] = &[
    "auditEngine",
    "auditLogParts",
    "debugLogLevel",
    "forceRequestBodyVariable",
    "requestBodyAccess",
    "requestBodyLimit",
    "requestBodyProcessor",
    "responseBodyAccess",
    "responseBodyLimit",
    "ruleEngine",
    "ruleRemoveById",
    "ruleRemoveByMsg",
    "ruleRemoveByTag",
    "ruleRemoveTargetById",
    "ruleRemoveTargetByMsg",
    "ruleRemoveTargetByTag",
];

/// Parses `name=value`.
pub(super) fn parse(text: &str, names: &mut TxNames) -> Result<Control, Problem> {
    let (name, value) = text.split_once('=').ok_or_else(|| bad("`name=value` is wanted", text))?;
    Ok(match name.trim().to_ascii_lowercase().as_str() {
        "ruleengine" => Control::Engine(
            engine(value).ok_or_else(|| bad("`On`, `Off` or `DetectionOnly` is wanted", value))?,
        ),
        "requestbodyprocessor" => Control::Processor(processor(value)?),
        "requestbodyaccess" => Control::RequestBodyAccess(on(value)?),
        "responsebodyaccess" => Control::ResponseBodyAccess(on(value)?),
        "forcerequestbodyvariable" => Control::ForceRequestBody(on(value)?),
        "requestbodylimit" => Control::RequestBodyLimit(number(value)?),
        "responsebodylimit" => Control::ResponseBodyLimit(number(value)?),
        "ruleremovebyid" => Control::Remove(ids(value)?),
        "ruleremovebytag" => Control::Remove(tag(value)),
        "ruleremovebymsg" => Control::Remove(msg(value)),
        "ruleremovetargetbyid" => target(value, names, ids)?,
        "ruleremovetargetbytag" => target(value, names, |text| Ok(tag(text)))?,
        "ruleremovetargetbymsg" => target(value, names, |text| Ok(msg(text)))?,
        "auditengine" | "auditlogparts" | "debugloglevel" => Control::Audit,
        _ => {
            let help = suggestion(name, NAMES.iter().copied());
            return Err(Problem::Help(format!("unknown control `{name}`"), help));
        }
    })
}

/// An engine's state, in any case.
pub(super) fn engine(value: &str) -> Option<Engine> {
    match value.trim().to_ascii_lowercase().as_str() {
        "on" => Some(Engine::On),
        "off" => Some(Engine::Off),
        "detectiononly" => Some(Engine::DetectionOnly),
        _ => None,
    }
}

fn on(value: &str) -> Result<bool, Problem> {
    match value.trim().to_ascii_lowercase().as_str() {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err(bad("`On` or `Off` is wanted", value)),
    }
}

fn number(value: &str) -> Result<usize, Problem> {
    value.trim().parse().map_err(|_| bad("a number of bytes is wanted", value))
}

fn processor(value: &str) -> Result<Processor, Problem> {
    const ALL: [Processor; 5] =
        [Processor::Urlencoded, Processor::Multipart, Processor::Json, Processor::Xml, Processor::Raw];
    ALL.into_iter().find(|processor| value.trim().eq_ignore_ascii_case(processor.name())).ok_or_else(|| {
        Problem::Help(
            format!("unknown processor `{value}`"),
            suggestion(value, ALL.iter().map(|known| known.name())),
        )
    })
}

/// One id or a range.
pub(super) fn ids(text: &str) -> Result<Which, Problem> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok(Which::Ids(first, last)),
        _ => Err(bad("an id or a range of ids is wanted", text)),
    }
}

/// Rules with a tag; text that cannot be a tag as it is, is an expression.
pub(super) fn tag(text: &str) -> Which {
    Which::Tag(text.to_string(), expression(text))
}

/// Rules with a message.
pub(super) fn msg(text: &str) -> Which {
    Which::Msg(text.to_string(), expression(text))
}

fn expression(text: &str) -> Option<Arc<regex::bytes::Regex>> {
    let special = text.contains(['^', '$', '*', '+', '?', '[', '(', '|', '\\']);
    if special { pattern::selector(text).ok().map(Arc::new) } else { None }
}

fn target(
    text: &str,
    names: &mut TxNames,
    which: impl Fn(&str) -> Result<Which, Problem>,
) -> Result<Control, Problem> {
    let (rules, variable) = text.split_once(';').ok_or_else(|| bad("`rules;VARIABLE` is wanted", text))?;
    let target = targets::parse(variable.trim().trim_start_matches('!'), names, &[])
        .map_err(|error| Problem::Help(error.message, error.help))?;
    Ok(Control::RemoveTarget(which(rules.trim())?, target))
}
