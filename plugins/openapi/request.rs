//! The head of a request against what its operation declares.

use super::{
    OpenApi, Problem,
    spec::{Format, Location, Parameter, Rules, Spec, Style, Unknown},
    style::{Letters, Pair, Written, deep, pairs},
};
use crate::{
    openapi::paths::Captures,
    schema::{Id, Violation},
};
use http::{HeaderMap, header::COOKIE};
use palisade_contract::Exchange;
use serde_json::Value;
use std::sync::Arc;

/// What a request has in the places of parameters.
struct Places<'r> {
    taken: &'r Captures<'r>,
    query: Vec<(String, Pair<'r>)>,
    headers: &'r HeaderMap,
    cookies: Vec<(&'r str, &'r str)>,
}

/// Checks all parameters of an operation. The names of query parameters that are to be taken out.
///
/// # Errors
/// One of them is not as declared.
pub(super) fn check(
    plugin: &OpenApi,
    ex: &Exchange,
    rules: &Rules,
    taken: &Captures<'_>,
) -> Result<Vec<Arc<str>>, Problem> {
    let wrong = |what: String| Problem::parameter(Violation::new("/query", what));
    let query = ex.query().filter(|query| !query.is_empty());
    let places = Places {
        taken,
        query: query.map_or_else(|| Ok(Vec::new()), pairs).map_err(wrong)?,
        headers: &ex.request.headers,
        cookies: cookies(rules, &ex.request.headers)?,
    };
    for parameter in &rules.parameters {
        parameter_of(&plugin.spec, parameter, &places).map_err(Problem::parameter)?;
    }
    undeclared(plugin, rules, &places)
}

fn cookies<'h>(rules: &Rules, headers: &'h HeaderMap) -> Result<Vec<(&'h str, &'h str)>, Problem> {
    let mut all = Vec::new();
    if !rules.parameters.iter().any(|parameter| parameter.location == Location::Cookie) {
        return Ok(all);
    }
    for value in headers.get_all(COOKIE) {
        let text = value
            .to_str()
            .map_err(|_| Problem::parameter(Violation::new("/cookie", "it is not printable ASCII")))?;
        let pairs = text.split(';').filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='));
        all.extend(pairs);
    }
    Ok(all)
}

fn parameter_of(spec: &Spec, parameter: &Parameter, places: &Places<'_>) -> Result<(), Violation> {
    let at = || format!("/{}/{}", parameter.location.name(), crate::schema::escape(&parameter.name));
    let wrong = |what: String| Violation::new(at(), what);
    let header;
    let mut texts: Vec<&str> = Vec::new();
    let mut members: Vec<(&str, &str)> = Vec::new();
    match parameter.location {
        Location::Path => {
            texts.extend(
                places.taken.iter().filter(|(name, _)| *name == parameter.name).map(|(_, text)| *text),
            );
        }
        Location::Query => {
            let all = places.query.iter();
            if parameter.format == Format::Style(Style::DeepObject, true)
                || parameter.format == Format::Style(Style::DeepObject, false)
            {
                members
                    .extend(all.filter_map(|(name, pair)| Some((deep(&parameter.name, name)?, pair.value))));
            } else if parameter.is_spread() {
                let own = |name: &str| parameter.shape.members.contains_key(name);
                members.extend(
                    all.filter(|(name, _)| own(name)).map(|(name, pair)| (name.as_str(), pair.value)),
                );
            } else {
                texts.extend(all.filter(|(name, _)| **name == *parameter.name).map(|(_, pair)| pair.value));
            }
        }
        Location::Header => {
            let values: Result<Vec<&str>, _> =
                places.headers.get_all(&*parameter.name).iter().map(|value| value.to_str()).collect();
            let values = values.map_err(|_| wrong("it is not printable ASCII".to_owned()))?;
            if !values.is_empty() {
                header = values.join(",");
                texts.push(header.trim_matches([' ', '\t']));
            }
        }
        Location::Cookie => {
            let own = places.cookies.iter().filter(|(name, _)| *name == &*parameter.name);
            texts.extend(own.map(|(_, value)| *value));
        }
    }
    if texts.is_empty() && members.is_empty() {
        return if parameter.required { Err(wrong("it is missing".to_owned())) } else { Ok(()) };
    }
    if parameter.may_be_empty && texts == [""] {
        return Ok(());
    }
    let written =
        Written { name: &parameter.name, shape: &parameter.shape, letters: letters(parameter.location) };
    let value =
        if members.is_empty() { written.value(parameter.format, &texts) } else { written.members(&members) };
    let value = value.map_err(wrong)?;
    hold(spec, parameter.schema, value, parameter.shape.may_be_text().then_some((&written, &*texts)))
        .map_err(|violation| Violation::new(format!("{}{}", at(), violation.at), violation.what))
}

fn letters(location: Location) -> Letters {
    match location {
        Location::Path | Location::Cookie => Letters::Percent,
        Location::Query => Letters::Form,
        Location::Header => Letters::Plain,
    }
}

/// Holds a value against its schema. What was read as a number and does not fit may have been meant as a text.
pub(super) fn hold(
    spec: &Spec,
    schema: Option<Id>,
    value: Value,
    text: Option<(&Written<'_>, &[&str])>,
) -> Result<(), Violation> {
    let Some(schema) = schema else { return Ok(()) };
    let Err(first) = spec.schemas.check(schema, &value) else { return Ok(()) };
    let Some((written, [text])) = text.filter(|_| value.is_number() || value.is_boolean()) else {
        return Err(first);
    };
    let plain = written.value(Format::Text, &[text]);
    let fits = plain.is_ok_and(|text| spec.schemas.is_valid(schema, &text));
    if fits { Ok(()) } else { Err(first) }
}

/// Query parameters that nothing declares.
fn undeclared(plugin: &OpenApi, rules: &Rules, places: &Places<'_>) -> Result<Vec<Arc<str>>, Problem> {
    let mut out = Vec::new();
    if plugin.unknown == Unknown::Allow {
        return Ok(out);
    }
    let declares = |parameter: &Parameter, name: &str| {
        parameter.location == Location::Query
            && match parameter.format {
                Format::Style(Style::DeepObject, _) => deep(&parameter.name, name).is_some(),
                _ if parameter.is_spread() => parameter.shape.member(name).is_some(),
                _ => *parameter.name == *name,
            }
    };
    for (name, _) in &places.query {
        let known = rules.parameters.iter().any(|parameter| declares(parameter, name))
            || rules.keys.iter().any(|key| **key == **name)
            || plugin.credentials.holds_query(name);
        if known {
            continue;
        }
        if plugin.unknown == Unknown::Deny {
            let violation = Violation::new("/query", format!("`{}` is not declared", shown(name)));
            return Err(Problem::parameter(violation));
        }
        out.push(Arc::from(name.as_str()));
    }
    Ok(out)
}

/// A name that a client has chosen, short and on one line.
fn shown(name: &str) -> String {
    name.escape_debug().take(100).collect()
}
