//! The media types of a body, and what is known of their parts.

use super::{
    Direction, Reader, Shape, Unknown,
    documents::Part,
    parameters::{Location, Style},
};
use crate::{
    media_type::{MediaType, Pattern},
    schema::Id,
};
use std::collections::BTreeMap;

/// Which types of bodies a declaration is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Range {
    Any,
    Of(Pattern),
}

impl Range {
    /// Reads `application/json`, `text/*` or `*/*`. Parameters do not tell types apart.
    pub(super) fn read(text: &str) -> Option<Range> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        if essence == "*/*" {
            return Some(Range::Any);
        }
        Pattern::parse(essence, "").ok().map(Range::Of)
    }

    pub(crate) fn matches(&self, found: MediaType<'_>) -> bool {
        match self {
            Range::Any => true,
            Range::Of(pattern) => pattern.matches(found),
        }
    }
}

/// How the value of a field of a form or of a part is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encoding {
    /// The types that a part may have; any where there are none.
    pub(crate) types: Vec<Range>,
    pub(crate) style: Option<(Style, bool)>,
}

/// A declaration for some types of bodies.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) range: Range,
    /// What the body is held against; none where it says nothing.
    pub(crate) schema: Option<Id>,
    pub(crate) shape: Shape,
    pub(crate) encodings: BTreeMap<String, Encoding>,
    /// It passes by its type.
    pub(crate) opaque: bool,
    /// What errors and documents name it by.
    pub(crate) name: String,
}

/// The most concrete declaration for a type.
pub(crate) fn choose<'m>(all: &'m [Media], found: MediaType<'_>) -> Option<&'m Media> {
    // They stand in this order.
    all.iter().find(|media| media.range.matches(found))
}

/// Reads `content`.
pub(super) fn read<'d>(
    reader: &mut Reader<'d, '_>,
    content: &Part<'d>,
    direction: Direction,
    unknown: Unknown,
) -> Vec<Media> {
    let mut all = Vec::new();
    for (name, part) in content.members() {
        let Some(range) = Range::read(name) else {
            reader.refuse(
                &part,
                format!("`{name}` is not a media type"),
                "write `application/json` or `text/*`",
            );
            continue;
        };
        let opaque = reader.wanted.opaque.iter().filter_map(|text| Range::read(text)).any(|range| {
            matches!(name.split(';').next().map(str::trim).map(MediaType::parse), Some(Ok(found)) if range.matches(found))
        });
        let schema = part.get("schema").filter(says_something);
        if schema.is_some() && !opaque && !can_be_read(name, &part) {
            reader.refuse(
                &part,
                format!("bodies of `{name}` cannot be held against a schema"),
                "leave out its `schema`, or let such bodies pass by their type: `opaque: [TYPE]`",
            );
        }
        let shape = schema.as_ref().map_or_else(Shape::text, |schema| Shape::of(reader.documents, schema));
        let encodings = part.get("encoding").map(|part| encodings(reader, &part)).unwrap_or_default();
        let schema = schema.filter(|_| !opaque).map(|schema| reader.schema(&schema, direction, unknown));
        all.push(Media { range, schema, shape, encodings, opaque, name: name.to_owned() });
    }
    all.sort_by_key(|media| match &media.range {
        Range::Any => 2,
        Range::Of(pattern) if pattern.is_exact() => 0,
        Range::Of(_) => 1,
    });
    all
}

fn says_something(schema: &Part<'_>) -> bool {
    schema.members().any(|(name, _)| name == "$ref" || super::words::is_rule(name)) || !schema.is_object()
}

/// True for types whose bodies can be read, and for ranges, of which that is not known here; and where the schema says
/// only that the body is bytes.
fn can_be_read(name: &str, part: &Part<'_>) -> bool {
    let Ok(found) = MediaType::parse(name) else { return true };
    let bytes = part.get("schema").is_some_and(|schema| {
        schema.text("type") == Some("string")
            && schema.text("pattern").is_none()
            && schema.get("enum").is_none()
    });
    name.contains('*') || is_readable(found) || bytes
}

/// True for a type whose bodies can be held against a schema.
pub(crate) fn is_readable(found: MediaType<'_>) -> bool {
    found.is_json()
        || found.is_form()
        || found.is("multipart", "form-data")
        || (found.is_kind("text") && !found.is_xml())
}

fn encodings<'d>(reader: &mut Reader<'d, '_>, part: &Part<'d>) -> BTreeMap<String, Encoding> {
    let mut all = BTreeMap::new();
    for (name, part) in part.members() {
        let mut encoding = Encoding::default();
        for text in
            part.text("contentType").unwrap_or_default().split(',').filter(|text| !text.trim().is_empty())
        {
            match Range::read(text.trim()) {
                Some(range) => encoding.types.push(range),
                None => reader.refuse(
                    &part,
                    format!("`{text}` is not a media type"),
                    "write `image/png, image/jpeg`",
                ),
            }
        }
        if part.get("style").is_some() || part.get("explode").is_some() {
            let style = Style::read(reader, &part, Location::Query);
            let explode = part.get("explode").map_or(style == Style::Form, |_| part.flag("explode"));
            encoding.style = Some((style, explode));
        }
        all.insert(name.to_owned(), encoding);
    }
    all
}
