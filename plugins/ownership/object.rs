//! Where a request names an object.
//!
//! Origins read a name in different ways: some take the first of two parameters, some the last; some tell `ID` from `id`,
//! some do not; some take `id[]` for `id`. Whatever one of them could take for the name counts.

use crate::{json, media_type::MediaType};
use http::{HeaderMap, HeaderName};
use palisade_contract::Exchange;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use std::{borrow::Cow, fmt};

/// Where to look.
#[derive(Debug)]
pub(super) enum Object {
    Path(String),
    Query(String),
    Header(HeaderName),
    Body(Vec<Part>),
}

/// A step into a body: a name, and whether all items of the array that it names are meant.
#[derive(Debug)]
pub(super) struct Part {
    name: String,
    each: bool,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'r> {
    /// The ids that are named; none where nothing is.
    Ids(Vec<Cow<'r, str>>),
    /// Something stands there that is no id, or can be read in two ways.
    Unreadable(&'static str),
}

impl Object {
    /// Reads `path.user_id` and the like; an error says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (place, name) = text.split_once('.').ok_or("does not say where to look")?;
        if name.is_empty() {
            return Err("has no name");
        }
        match place {
            "path" => Ok(Object::Path(name.to_owned())),
            "query" => Ok(Object::Query(name.to_owned())),
            "header" => {
                let name = name.to_ascii_lowercase();
                name.parse().map(Object::Header).map_err(|_| "is not the name of a header")
            }
            "body" => {
                let parts = name.split('.').map(|part| {
                    let each = part.ends_with("[]");
                    let name = part.strip_suffix("[]").unwrap_or(part);
                    let is_name = !name.is_empty() && !name.contains(['[', ']']);
                    if is_name {
                        Ok(Part { name: name.to_owned(), each })
                    } else {
                        Err("has a step without a name")
                    }
                });
                parts.collect::<Result<_, _>>().map(Object::Body)
            }
            _ => Err("does not say where to look"),
        }
    }

    pub(super) fn is_in_body(&self) -> bool {
        matches!(self, Object::Body(_))
    }

    /// The ids that the head names.
    pub(super) fn of_head<'e>(&self, ex: &'e Exchange) -> Found<'e> {
        match self {
            Object::Path(name) => {
                match ex.path_param(name).map(|raw| percent_decode_str(raw).decode_utf8()) {
                    None => Found::Ids(Vec::new()),
                    Some(Ok(id)) => ids(vec![id]),
                    Some(Err(_)) => Found::Unreadable("the path has what is not UTF-8"),
                }
            }
            Object::Query(name) => parameters(ex.query().unwrap_or(""), name),
            Object::Header(name) => {
                let values = ex.request.headers.get_all(name).iter();
                let texts: Result<Vec<_>, _> =
                    values.map(|value| value.to_str().map(Cow::Borrowed)).collect();
                texts.map_or(Found::Unreadable("the header is not ASCII"), ids)
            }
            Object::Body(_) => Found::Unreadable("it stands in the body"),
        }
    }

    /// The ids that a body names.
    pub(super) fn of_body(&self, headers: &HeaderMap, body: &[u8]) -> Found<'static> {
        let Object::Body(parts) = self else { return Found::Unreadable("it does not stand in the body") };
        if body.is_empty() {
            return Found::Ids(Vec::new());
        }
        let Ok(declared) = MediaType::of(headers) else {
            return Found::Unreadable("the Content-Type is not one");
        };
        if declared.is_some_and(MediaType::is_form) {
            let (Ok(text), [Part { name, each: false }]) = (std::str::from_utf8(body), &**parts) else {
                return Found::Unreadable("the body is a form");
            };
            return owned(parameters(text, name));
        }
        if declared.is_some_and(|declared| !declared.is_json()) {
            return Found::Unreadable("the body is neither JSON nor a form");
        }
        let Some(value) = json::value(body) else {
            return Found::Unreadable("the body is not JSON that is read in one way");
        };
        let mut found = Vec::new();
        match walk(&value, parts, &mut found) {
            Ok(()) => ids(found),
            Err(why) => Found::Unreadable(why),
        }
    }
}

fn owned(found: Found<'_>) -> Found<'static> {
    match found {
        Found::Ids(ids) => Found::Ids(ids.into_iter().map(|id| Cow::Owned(id.into_owned())).collect()),
        Found::Unreadable(why) => Found::Unreadable(why),
    }
}

/// An empty id is nobody's, also where a claim is empty.
fn ids(found: Vec<Cow<'_, str>>) -> Found<'_> {
    if found.iter().any(|id| id.is_empty()) { Found::Unreadable("an id is empty") } else { Found::Ids(found) }
}

/// All values of what could be taken for a parameter of this name.
fn parameters<'q>(query: &'q str, name: &str) -> Found<'q> {
    let mut found = Vec::new();
    for pair in query.split(['&', ';']).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (decoded(key), decoded(value)) else {
            return Found::Unreadable("a parameter is not UTF-8");
        };
        let base = key.split('[').next().unwrap_or(&key).trim();
        if base.eq_ignore_ascii_case(name) {
            found.push(value);
        }
    }
    ids(found)
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        let text = text.replace('+', " ");
        return percent_decode_str(&text).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}

/// Follows the parts. What is missing names nothing; what is there in another shape is unreadable.
fn walk(value: &Value, parts: &[Part], found: &mut Vec<Cow<'static, str>>) -> Result<(), &'static str> {
    let Some((part, rest)) = parts.split_first() else {
        found.push(match value {
            Value::String(text) => Cow::Owned(text.clone()),
            Value::Number(number) if !number.is_f64() => Cow::Owned(number.to_string()),
            _ => return Err("what is named is no id"),
        });
        return Ok(());
    };
    let Value::Object(object) = value else { return Err("there is no object where one is named") };
    let mut named =
        object.iter().filter(|(name, _)| name.eq_ignore_ascii_case(&part.name)).map(|(_, value)| value);
    let next = match (named.next(), named.next()) {
        (None, _) => return Ok(()),
        (Some(next), None) => next,
        _ => return Err("a name stands twice, in upper and lower case"),
    };
    match (part.each, next) {
        (false, next) => walk(next, rest, found),
        (true, Value::Array(items)) => items.iter().try_for_each(|item| {
            let before = found.len();
            walk(item, rest, found)?;
            // An item that names nothing would pass behind one that does.
            if found.len() > before { Ok(()) } else { Err("an item names nothing") }
        }),
        (true, _) => Err("there is no array where one is named"),
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Path(name) => write!(f, "path.{name}"),
            Object::Query(name) => write!(f, "query.{name}"),
            Object::Header(name) => write!(f, "header.{name}"),
            Object::Body(parts) => {
                f.write_str("body")?;
                parts
                    .iter()
                    .try_for_each(|part| write!(f, ".{}{}", part.name, if part.each { "[]" } else { "" }))
            }
        }
    }
}
