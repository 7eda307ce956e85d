//! Parameters, and the headers of responses, which are written like them.

use super::{Direction, Reader, Shape, Unknown, documents::Part};
use crate::schema::Id;
use std::sync::Arc;

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Location {
    Path,
    Query,
    Header,
    Cookie,
}

impl Location {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Location::Path => "path",
            Location::Query => "query",
            Location::Header => "header",
            Location::Cookie => "cookie",
        }
    }
}

/// How a value is written (OpenAPI, "Style Values").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Simple,
    Label,
    Matrix,
    Form,
    SpaceDelimited,
    PipeDelimited,
    DeepObject,
}

impl Style {
    pub(super) fn read(reader: &mut Reader<'_, '_>, part: &Part<'_>, location: Location) -> Style {
        let (usual, known): (Style, &[(&str, Style)]) = match location {
            Location::Path => (
                Style::Simple,
                &[("simple", Style::Simple), ("label", Style::Label), ("matrix", Style::Matrix)],
            ),
            Location::Query => (
                Style::Form,
                &[
                    ("form", Style::Form),
                    ("spaceDelimited", Style::SpaceDelimited),
                    ("pipeDelimited", Style::PipeDelimited),
                    ("deepObject", Style::DeepObject),
                ],
            ),
            Location::Header => (Style::Simple, &[("simple", Style::Simple)]),
            Location::Cookie => (Style::Form, &[("form", Style::Form)]),
        };
        let Some(written) = part.get("style") else { return usual };
        let text = written.node.text().unwrap_or_default();
        match known.iter().find(|(name, _)| *name == text) {
            Some((_, style)) => *style,
            None => {
                let names: Vec<String> = known.iter().map(|(name, _)| format!("`{name}`")).collect();
                let error =
                    written.error(format!("`{text}` is not a style of a {} parameter", location.name()));
                reader.errors.push(error.help(format!("these are: {}", names.join(", "))));
                usual
            }
        }
    }
}

/// How a parameter is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// By a style; true where it explodes.
    Style(Style, bool),
    /// It is JSON.
    Json,
    /// It is text of another type.
    Text,
}

/// A parameter.
#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: Arc<str>,
    pub(crate) location: Location,
    pub(crate) required: bool,
    pub(crate) may_be_empty: bool,
    pub(crate) format: Format,
    pub(crate) shape: Shape,
    pub(crate) schema: Option<Id>,
}

impl Parameter {
    /// True where its members are query parameters of their own.
    pub(crate) fn is_spread(&self) -> bool {
        self.format == Format::Style(Style::Form, true) && self.shape.is_object()
    }
}

/// Reads one. None where something is wrong with it, or where it says nothing (OpenAPI leaves `Accept`, `Content-Type` and
/// `Authorization` to others).
pub(super) fn read<'d>(reader: &mut Reader<'d, '_>, part: &Part<'d>) -> Option<Parameter> {
    let name = part.text("name").unwrap_or_default();
    if name.is_empty() {
        reader.refuse(part, "the parameter has no `name`", "write `name: NAME`");
        return None;
    }
    let location = match part.text("in") {
        Some("path") => Location::Path,
        Some("query") => Location::Query,
        Some("header") => Location::Header,
        Some("cookie") => Location::Cookie,
        other => {
            let other = other.unwrap_or_default();
            let at = part.get("in").unwrap_or_else(|| part.clone());
            reader.refuse(
                &at,
                format!("`{other}` is no place of a parameter"),
                "write `in: path`, `query`, `header` or `cookie`",
            );
            return None;
        }
    };
    let required = part.flag("required");
    if location == Location::Path && !required {
        reader.refuse(
            part,
            format!("the path parameter `{name}` is not `required: true`"),
            "write `required: true`",
        );
    }
    if location == Location::Header {
        if ["accept", "content-type", "authorization"].iter().any(|other| name.eq_ignore_ascii_case(other)) {
            return None;
        }
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            reader.refuse(
                part,
                format!("`{name}` is no name of a header"),
                "write one as it stands in requests",
            );
            return None;
        }
    }
    value(reader, part, name, location, Direction::Request)
}

/// What a parameter or a header holds.
pub(super) fn value<'d>(
    reader: &mut Reader<'d, '_>,
    part: &Part<'d>,
    name: &str,
    location: Location,
    direction: Direction,
) -> Option<Parameter> {
    let (schema, format) = match (part.get("schema"), part.get("content")) {
        (Some(schema), None) => {
            let style = Style::read(reader, part, location);
            let explode = part.get("explode").map_or(style == Style::Form, |_| part.flag("explode"));
            (Some(schema), Format::Style(style, explode))
        }
        (None, Some(content)) => {
            let mut types = content.members();
            let (Some((kind, media)), None) = (types.next(), types.next()) else {
                reader.refuse(&content, "the `content` of a parameter has one type", "write one media type");
                return None;
            };
            let json = crate::media_type::MediaType::parse(kind).is_ok_and(|kind| kind.is_json());
            (media.get("schema"), if json { Format::Json } else { Format::Text })
        }
        (Some(_), Some(_)) => {
            reader.refuse(part, "it has both `schema` and `content`", "keep one of them");
            return None;
        }
        (None, None) => {
            reader.refuse(part, "it has neither `schema` nor `content`", "write `schema: {type: string}`");
            return None;
        }
    };
    let shape = schema.as_ref().map_or_else(Shape::text, |schema| Shape::of(reader.documents, schema));
    let unknown = match direction {
        Direction::Request => reader.wanted.request,
        Direction::Response => reader.wanted.response,
    };
    // A member of a parameter is not taken out of it.
    let unknown = match unknown {
        Some(Unknown::Strip) => Some(Unknown::Deny),
        other => other,
    };
    let schema = schema.zip(unknown).map(|(schema, unknown)| reader.schema(&schema, direction, unknown));
    Some(Parameter {
        name: Arc::from(name),
        location,
        required: part.flag("required"),
        may_be_empty: part.flag("allowEmptyValue"),
        format,
        shape,
        schema,
    })
}
