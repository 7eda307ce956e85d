//! A body as the value that a schema is about.

use super::{
    Problem,
    spec::{Encoding, Format, Media, Shape, Spec, Style},
    style::{Letters, Written, deep, pairs},
};
use crate::{
    json,
    media_type::MediaType,
    multipart::{self, Part},
    schema::{Id, Tape, Violation},
};
use bytes::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The most fields of a form, and parts of a `multipart` body.
const MAX_FIELDS: usize = 1000;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Form,
    Multipart,
    Text,
    /// Bytes that no schema is about.
    Bytes,
}

impl Kind {
    pub(super) fn of(found: MediaType<'_>) -> Kind {
        match () {
            () if found.is_json() => Kind::Json,
            () if found.is_form() => Kind::Form,
            () if found.is("multipart", "form-data") => Kind::Multipart,
            () if found.is_kind("text") && !found.is_xml() => Kind::Text,
            () => Kind::Bytes,
        }
    }
}

/// Holds a body against its schema.
///
/// # Errors
/// The body is not what its type says, or not what its schema says.
pub(super) fn check(
    spec: &Spec,
    schema: Id,
    media: &Media,
    found: MediaType<'_>,
    body: &Bytes,
) -> Result<(), Problem> {
    let checked = if Kind::of(found) == Kind::Json {
        utf8(found)?;
        let tape =
            Tape::read(body).map_err(|error| Problem::malformed(Violation::new("", error.to_string())))?;
        spec.schemas.check(schema, &tape)
    } else {
        spec.schemas.check(schema, &read(media, found, body)?)
    };
    checked.map_err(Problem::body)
}

/// The value of a body.
///
/// # Errors
/// The body is not what its type says.
fn read(media: &Media, found: MediaType<'_>, body: &Bytes) -> Result<Value, Problem> {
    let malformed = |what: String| Problem::malformed(Violation::new("", what));
    match Kind::of(found) {
        Kind::Json => {
            utf8(found)?;
            json::read(body).map_err(|error| malformed(error.to_string()))
        }
        Kind::Form => {
            utf8(found)?;
            let text = std::str::from_utf8(body).map_err(|error| malformed(error.to_string()))?;
            form(media, text).map_err(Problem::malformed)
        }
        Kind::Multipart => {
            let mut parts = Vec::new();
            each_part(found, body, |name, part| {
                parts.push((name, part));
                Ok(())
            })?;
            multipart(media, parts)
        }
        Kind::Text => {
            utf8(found)?;
            let text = std::str::from_utf8(body).map_err(|error| malformed(error.to_string()))?;
            Ok(media.shape.read(text))
        }
        Kind::Bytes => Ok(Value::String(letters(body))),
    }
}

/// Texts are in UTF-8 (of JSON RFC 8259 §8.1 says so).
fn utf8(found: MediaType<'_>) -> Result<(), Problem> {
    match found.parameter("charset") {
        Ok(Some(charset)) if !charset.eq_ignore_ascii_case("utf-8") => {
            Err(Problem::media_type("the charset is not UTF-8"))
        }
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::media_type("the Content-Type is not one media type")),
    }
}

/// Bytes as a text of as many characters.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// The style of a form's field, where nothing else is said.
const FIELD: Format = Format::Style(Style::Form, true);

fn form(media: &Media, text: &str) -> Result<Value, Violation> {
    let wrong = |what: String| Violation::new("", what);
    let fields = pairs(text).map_err(wrong)?;
    if fields.len() > MAX_FIELDS {
        return Err(wrong(format!("it has more than {MAX_FIELDS} fields")));
    }
    let mut object = Map::new();
    // Objects whose members stand as fields of their own.
    for (name, shape) in media.shape.members.iter().filter(|(name, _)| is_deep(media, name)) {
        let members: Vec<(&str, &str)> =
            fields.iter().filter_map(|(full, pair)| Some((deep(name, full)?, pair.value))).collect();
        if !members.is_empty() {
            let written = Written { name, shape, letters: Letters::Form };
            let value = written.members(&members).map_err(|what| field(name, what))?;
            object.insert(name.clone(), value);
        }
    }
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for (name, _) in &fields {
        if !done.insert(name) || deep_field(media, name).is_some() {
            continue;
        }
        let several = Shape::texts();
        let shape = media.shape.member(name).unwrap_or(&several);
        let texts: Vec<&str> =
            fields.iter().filter(|(other, _)| other == name).map(|(_, pair)| pair.value).collect();
        let style = media.encodings.get(name).and_then(|encoding| encoding.style);
        let format = match style {
            Some((style, explode)) => Format::Style(style, explode),
            None if shape.is_object() => Format::Json,
            None => FIELD,
        };
        let written = Written { name, shape, letters: Letters::Form };
        let value = written.value(format, &texts).map_err(|what| field(name, what))?;
        if object.insert(name.clone(), value).is_some() {
            return Err(field(name, "it stands there twice".to_owned()));
        }
    }
    Ok(Value::Object(object))
}

fn is_deep(media: &Media, name: &str) -> bool {
    let style = media.encodings.get(name).and_then(|encoding| encoding.style);
    matches!(style, Some((Style::DeepObject, _)))
}

/// The field of an object that this one is a member of.
fn deep_field<'m>(media: &'m Media, full: &str) -> Option<&'m str> {
    let mut deep_ones = media.shape.members.keys().filter(|name| is_deep(media, name));
    deep_ones.find(|name| deep(name, full).is_some()).map(String::as_str)
}

fn field(name: &str, what: String) -> Violation {
    let name: String = crate::schema::escape(name).escape_debug().take(100).collect();
    Violation::new(format!("/{name}"), what)
}

fn each_part<'b>(
    found: MediaType<'_>,
    body: &'b [u8],
    mut see: impl FnMut(String, Part<'b>) -> Result<(), &'static str>,
) -> Result<(), Problem> {
    let malformed = |what: &str| Problem::malformed(Violation::new("", what));
    let boundary =
        found.parameter("boundary").ok().flatten().ok_or_else(|| malformed("there is no boundary"))?;
    let mut count = 0;
    multipart::each(boundary, body, |part| {
        count += 1;
        if count > MAX_FIELDS {
            return Err("it has too many parts");
        }
        let disposition = part.header("content-disposition")?.ok_or("a part has no name")?;
        // It is written as media types are.
        let disposition = format!("part/{disposition}");
        let read = MediaType::parse(&disposition).map_err(|_| "a part's name is malformed")?;
        if !read.is("part", "form-data") || read.parameter("name*").ok().flatten().is_some() {
            return Err("a part's name is malformed");
        }
        let name =
            read.parameter("name").map_err(|_| "a part's name is malformed")?.ok_or("a part has no name")?;
        see(name.to_owned(), part)
    })
    .map_err(malformed)
}

fn multipart(media: &Media, parts: Vec<(String, Part<'_>)>) -> Result<Value, Problem> {
    let mut object = Map::new();
    for (name, part) in parts {
        let (text, several) = (Shape::text(), Shape::texts());
        let shape = media.shape.member(&name).unwrap_or(&several);
        let (list, own) = match (&shape.items, shape.is_array()) {
            (Some(items), true) => (true, &**items),
            (None, true) => (true, &text),
            _ => (false, shape),
        };
        let value = part_value(&name, media.encodings.get(&name), own, &part)?;
        if list {
            match object.entry(name.as_str()).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(all) => all.push(value),
                _ => return Err(Problem::malformed(field(&name, "it stands there twice".to_owned()))),
            }
        } else if object.insert(name.clone(), value).is_some() {
            return Err(Problem::malformed(field(&name, "it stands there twice".to_owned())));
        }
    }
    Ok(Value::Object(object))
}

/// What a part holds: by its own type, which must be one of those that are declared; without one it is text, or JSON where
/// an object is expected.
fn part_value(
    name: &str,
    encoding: Option<&Encoding>,
    shape: &Shape,
    part: &Part<'_>,
) -> Result<Value, Problem> {
    let malformed = |what: String| Problem::malformed(field(name, what));
    let declared = part.header("content-type").map_err(|what| malformed(what.to_owned()))?;
    let found = match declared.map(MediaType::parse) {
        Some(Ok(found)) => Some(found),
        Some(Err(_)) => return Err(malformed("its Content-Type is not one media type".to_owned())),
        None => None,
    };
    let expected = encoding.map_or(&[][..], |encoding| &encoding.types);
    let usual = if shape.is_object() { "application/json" } else { "text/plain" };
    let usual = MediaType::parse(usual)
        .map_err(|_| malformed("its Content-Type is not one media type".to_owned()))?;
    let kind = found.unwrap_or(usual);
    if !expected.is_empty() && !expected.iter().any(|range| range.matches(kind)) {
        return Err(malformed("its Content-Type is not one that is declared".to_owned()));
    }
    if part.header("content-transfer-encoding").ok().flatten().is_some_and(|coding| {
        !["7bit", "8bit", "binary"].iter().any(|plain| coding.eq_ignore_ascii_case(plain))
    }) {
        return Err(malformed("it has a Content-Transfer-Encoding".to_owned()));
    }
    let text = || std::str::from_utf8(part.body).map_err(|error| malformed(error.to_string()));
    match Kind::of(kind) {
        _ if shape.binary => Ok(Value::String(letters(part.body))),
        Kind::Json => json::read(part.body).map_err(|error| malformed(error.to_string())),
        Kind::Text => text().map(|text| shape.read(text)),
        Kind::Form | Kind::Multipart | Kind::Bytes if shape.may_be_text() => {
            Ok(Value::String(letters(part.body)))
        }
        Kind::Form | Kind::Multipart | Kind::Bytes => {
            Err(malformed("its Content-Type cannot be held against its schema".to_owned()))
        }
    }
}

/// Takes what is not declared out of a body. None where there is nothing of the kind.
///
/// # Errors
/// The body is not what its type says, not what its schema says, or what is not declared cannot be taken out.
pub(super) fn strip(
    spec: &Spec,
    schema: Id,
    media: &Media,
    found: MediaType<'_>,
    body: &Bytes,
) -> Result<Option<Bytes>, Problem> {
    let value = read(media, found, body)?;
    let pointers = spec.schemas.titled(schema, &value, super::spec::STRIP).map_err(Problem::body)?;
    without(&pointers.into_iter().collect(), found, body).map_err(Problem::body)
}

/// A body without what stands at these pointers. None where there are none.
fn without(
    pointers: &BTreeSet<String>,
    found: MediaType<'_>,
    body: &Bytes,
) -> Result<Option<Bytes>, Violation> {
    if pointers.is_empty() {
        return Ok(None);
    }
    let cannot = || Violation::new("", "what is not declared cannot be taken out");
    let names = || -> Option<BTreeSet<String>> {
        let all = pointers.iter().map(|pointer| {
            let name = pointer.strip_prefix('/')?;
            (!name.contains('/')).then(|| crate::schema::unescape(name))
        });
        all.collect()
    };
    match Kind::of(found) {
        Kind::Json => {
            let text = std::str::from_utf8(body).map_err(|_| cannot())?;
            super::cut::without(text, pointers).map(|text| Some(text.into())).ok_or_else(cannot)
        }
        Kind::Form => {
            let (names, text) =
                (names().ok_or_else(cannot)?, std::str::from_utf8(body).map_err(|_| cannot())?);
            let fields = pairs(text).map_err(|_| cannot())?;
            let kept: Vec<&str> =
                fields.iter().filter(|(name, _)| !names.contains(name)).map(|(_, pair)| pair.raw).collect();
            Ok(Some(kept.join("&").into()))
        }
        Kind::Multipart => {
            let names = names().ok_or_else(cannot)?;
            let boundary = found.parameter("boundary").ok().flatten().ok_or_else(cannot)?;
            let mut out: Vec<u8> = Vec::with_capacity(body.len());
            let delimiter = format!("--{boundary}");
            each_part(found, body, |name, part| {
                if !names.contains(&name) {
                    out.extend_from_slice(delimiter.as_bytes());
                    out.extend_from_slice(part.whole);
                    out.extend_from_slice(b"\r\n");
                }
                Ok(())
            })
            .map_err(|_| cannot())?;
            out.extend_from_slice(delimiter.as_bytes());
            out.extend_from_slice(b"--\r\n");
            Ok(Some(out.into()))
        }
        Kind::Text | Kind::Bytes => Err(cannot()),
    }
}
