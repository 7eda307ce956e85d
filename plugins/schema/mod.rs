//! JSON Schema: what `json-schema` and `openapi` hold values against. The engine is the crate `jsonschema`, with patterns
//! that take linear time and without any way to fetch what a reference names.

mod doc;
pub(crate) mod file;
mod message;
mod tape;

pub(crate) use doc::Doc;
pub(crate) use tape::Tape;

use doc::{Engine, Member};
use jsonschema::{
    Draft, PatternOptions, Retrieve, ValidationError, Validator,
    json::{Json, SerdeJson},
};
use palisade_contract::{ConfigError, Node, Place};
use serde_json::{Map, Value, json};
use std::{fmt, sync::Arc};

/// The most memory that one pattern may take, in bytes.
const PATTERN_BYTES: usize = 1 << 20;
/// The most errors of one schema that are reported.
const MAX_ERRORS: usize = 20;
/// Of a value with more parts than this it is not said where it is wrong: what the engine gathers of a value of many
/// alternatives takes far more room than the value itself.
const MAX_PARTS: usize = 10_000;

/// The dialect of all schemas that say no other.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

type ValidationOptions<F> = jsonschema::ValidationOptions<'static, Arc<dyn Retrieve>, F>;

/// What a schema leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Settings {
    /// `format` is a rule, and not a remark.
    pub(crate) formats: bool,
}

/// Where a value is not what its schema says, and why. It holds nothing of a value but numbers and names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// A JSON pointer.
    pub(crate) at: String,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.at, self.what) }
    }
}

impl Violation {
    pub(crate) fn new(at: impl Into<String>, what: impl Into<String>) -> Self {
        Violation { at: at.into(), what: what.into() }
    }
}

/// One schema, compiled from a document of its own.
#[derive(Debug)]
pub(crate) struct Schema(Validator<Engine>);

impl Schema {
    /// Compiles a document. `base` is the URI that its references are relative to, `retriever` gives what they name.
    ///
    /// # Errors
    /// It is no schema, names what cannot be had, or holds a pattern that takes more than linear time.
    pub(crate) fn compile(
        document: &Value,
        settings: Settings,
        base: Option<String>,
        retriever: impl Retrieve + 'static,
    ) -> Result<Self, SchemaErrors> {
        let mut options = options(settings).with_retriever(retriever);
        if let Some(base) = base {
            options = options.with_base_uri(base);
        }
        options.build(document).map(Schema).map_err(|error| SchemaErrors(vec![SchemaError::of(&error)]))
    }

    /// # Errors
    /// The first place where the value is not what the schema says.
    pub(crate) fn check<'v>(&self, value: impl Into<Doc<'v>>) -> Result<(), Violation> {
        let value = value.into();
        if self.0.is_valid(value) {
            Ok(())
        } else {
            Err(told(value, |value| self.0.validate(value).map_err(|error| message::of(&error)), 0))
        }
    }
}

/// Many schemas that refer to each other, compiled as one: what several of them refer to is held once.
#[derive(Debug)]
pub(crate) struct Schemas(Validator<Engine>);

/// One of several schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(crate) u32);

impl Schemas {
    /// Compiles `roots`, which are found again by their order, and the `$defs` that they refer to.
    ///
    /// # Errors
    /// One of them is no schema.
    pub(crate) fn compile(
        defs: Map<String, Value>,
        roots: Vec<Value>,
        settings: Settings,
    ) -> Result<Self, SchemaErrors> {
        // A value is held against one of them as the member of that name.
        let properties: Map<String, Value> =
            roots.into_iter().enumerate().map(|(number, root)| (number.to_string(), root)).collect();
        let document = json!({ "$schema": DIALECT, "$defs": defs, "properties": properties });
        let wrong: Vec<SchemaError> = jsonschema::draft202012::meta::validator()
            .iter_errors(&document)
            .take(MAX_ERRORS)
            .map(|error| SchemaError::of(&error))
            .collect();
        if !wrong.is_empty() {
            return Err(SchemaErrors(wrong));
        }
        let options = options(settings).with_draft(Draft::Draft202012).offline();
        let options = ["byte", "base64url"].into_iter().fold(options, |options, name| {
            options.with_format(name, move |text: &str| is_base64(text, name == "base64url"))
        });
        options.build(&document).map(Schemas).map_err(|error| SchemaErrors(vec![SchemaError::of(&error)]))
    }

    /// # Errors
    /// The first place where the value is not what the schema says.
    pub(crate) fn check<'v>(&self, id: Id, value: impl Into<Doc<'v>>) -> Result<(), Violation> {
        let value = value.into();
        if as_member(id, value, |member| self.0.is_valid(member)) {
            Ok(())
        } else {
            Err(self.told(id, value))
        }
    }

    #[cold]
    fn told(&self, id: Id, value: Doc<'_>) -> Violation {
        told(
            value,
            |value| {
                as_member(id, value, |member| self.0.validate(member).map_err(|error| message::of(&error)))
            },
            1,
        )
    }

    /// True where the value is what the schema says.
    pub(crate) fn is_valid(&self, id: Id, value: &Value) -> bool {
        as_member(id, value.into(), |member| self.0.is_valid(member))
    }

    /// The places, as JSON pointers, that have a schema with this title.
    ///
    /// # Errors
    /// The value is not what the schema says, or has too many parts.
    pub(crate) fn titled(&self, id: Id, value: &Value, title: &str) -> Result<Vec<String>, Violation> {
        if parts(value, MAX_PARTS) > MAX_PARTS {
            return Err(Violation::new("", format!("it has more than {MAX_PARTS} parts")));
        }
        let evaluation = as_member(id, value.into(), |member| self.0.evaluate(member));
        if !evaluation.is_valid() {
            return Err(self.told(id, value.into()));
        }
        Ok(evaluation
            .iter_annotations()
            // A schema's remarks come as one object.
            .filter(|entry| entry.annotations.value().get("title").and_then(Value::as_str) == Some(title))
            .map(|entry| below(entry.instance_location.as_str(), 1))
            .collect())
    }
}

/// Calls `ask` with the value as the member that its schema is for.
fn as_member<T>(id: Id, value: Doc<'_>, ask: impl FnOnce(Doc<'_>) -> T) -> T {
    let mut digits = itoa::Buffer::new();
    let name = digits.format(id.0);
    ask(Doc::Member(&Member { name, value }))
}

/// True for a pattern that the engine knows, in linear time.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    options::<SerdeJson>(Settings { formats: false }).offline().build(&json!({ "pattern": pattern })).is_ok()
}

fn options<F: Json>(settings: Settings) -> ValidationOptions<F> {
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES);
    jsonschema::options_for::<F>().should_validate_formats(settings.formats).with_pattern_options(patterns)
}

/// Where a value that is not what its schema says is wrong, and how. What the engine says of a place holds the value there,
/// which a tree lends it.
fn told(
    value: Doc<'_>,
    validate: impl FnOnce(Doc<'_>) -> Result<(), (String, String)>,
    wrapping: usize,
) -> Violation {
    if value.parts(MAX_PARTS) > MAX_PARTS {
        return Violation::new("", "it is not what its schema says; it is too large to say where");
    }
    let tree = value.tree();
    match validate(Doc::Value(&tree)) {
        // The two agree; were they not to, the stricter one holds.
        Ok(()) => unsaid(),
        Err((at, what)) => Violation { at: below(&at, wrapping), what },
    }
}

fn unsaid() -> Violation {
    Violation::new("", "it is not what its schema says")
}

/// A pointer without its first segments.
fn below(pointer: &str, segments: usize) -> String {
    (0..segments)
        .fold(pointer, |rest, _| {
            let inner = rest.strip_prefix('/').unwrap_or(rest);
            inner.find('/').and_then(|at| inner.get(at..)).unwrap_or("")
        })
        .to_owned()
}

/// How many values stand in this one, itself included; it is not counted further than `most` and one.
pub(crate) fn parts(value: &Value, most: usize) -> usize {
    let mut open = vec![value];
    let mut count = 0;
    while let Some(value) = open.pop() {
        count += 1;
        if count + open.len() > most {
            return most + 1;
        }
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(members) => open.extend(members.values()),
            _ => {}
        }
    }
    count
}

fn is_base64(text: &str, url: bool) -> bool {
    use base64::{Engine, engine::general_purpose as engines};
    if url {
        engines::URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).is_ok()
    } else {
        engines::STANDARD.decode(text).is_ok()
    }
}

/// What is wrong with a schema.
#[derive(Debug)]
pub(crate) struct SchemaErrors(pub(crate) Vec<SchemaError>);

/// One thing that is wrong with a schema.
#[derive(Debug)]
pub(crate) struct SchemaError {
    /// A JSON pointer into the document.
    pub(crate) at: String,
    pub(crate) what: String,
}

impl SchemaError {
    fn of(error: &ValidationError<'_>) -> Self {
        let (at, what) = message::of_schema(error);
        SchemaError { at, what }
    }
}

/// The value that a pointer leads to, as far as it leads, and the pointer so far.
pub(crate) fn find<'n>(root: &'n Node, pointer: &str) -> (&'n Node, String) {
    let (mut node, mut so_far) = (root, String::new());
    for segment in pointer.split('/').skip(1) {
        let Some(next) = child(node, segment) else { break };
        so_far.push('/');
        so_far.push_str(segment);
        node = next;
    }
    (node, so_far)
}

/// The value under one segment of a pointer.
pub(crate) fn child<'n>(node: &'n Node, segment: &str) -> Option<&'n Node> {
    let name = unescape(segment);
    match &node.value {
        palisade_contract::Value::Map(_) => node.get(&name),
        palisade_contract::Value::List(items) => items.get(name.parse::<usize>().ok()?),
        palisade_contract::Value::Scalar { .. } => None,
    }
}

/// A segment of a pointer without its escapes (RFC 6901 §4).
pub(crate) fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

/// A name as a segment of a pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// An error at a place in a document that is read beside the configuration; `pointer` leads to it.
pub(crate) fn error_at(place: &Place, pointer: &str, what: impl Into<String>) -> ConfigError {
    ConfigError::at(format!("#{pointer}"), what).place(place.clone())
}
