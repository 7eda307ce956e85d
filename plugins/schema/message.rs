//! What the engine says, in words of ours: they hold nothing of a value but its numbers and names, and are short.

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

/// The most characters of a name, a pattern or a pointer that are shown.
const SHOWN: usize = 100;

/// Where a value is wrong, and how.
pub(super) fn of(error: &ValidationError<'_>) -> (String, String) {
    // Of alternatives that all fail, one that fails deep inside of the value was probably meant.
    if let Kind::AnyOf { context } | Kind::OneOfNotValid { context } = error.kind() {
        let deepest = context.iter().filter_map(|branch| branch.first());
        let depth = |error: &&ValidationError<'_>| error.instance_path().as_str().matches('/').count();
        if let Some(inner) = deepest.max_by_key(depth).filter(|inner| depth(inner) > depth(&error)) {
            return of(inner);
        }
    }
    (cut(error.instance_path().as_str()), what(error.kind(), error.instance()))
}

fn what(kind: &Kind, value: &Value) -> String {
    let shown = || number(value);
    match kind {
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            format!("{} is not declared", name(unexpected.first().map_or("", |name| name)))
        }
        Kind::AdditionalItems { limit } => format!("it has more than {limit} items"),
        Kind::UnevaluatedItems { .. } => "it has items that are not declared".to_owned(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "it fits none of the alternatives".to_owned(),
        Kind::OneOfMultipleValid { .. } => "it fits more than one of the alternatives".to_owned(),
        Kind::Constant { .. } => "it is not the value that is declared".to_owned(),
        Kind::Enum { .. } => "it is none of the values that are declared".to_owned(),
        Kind::Contains => "too few or too many of its items are as declared".to_owned(),
        Kind::Minimum { limit } => format!("{} is less than {limit}", shown()),
        Kind::ExclusiveMinimum { limit } => format!("{} is not more than {limit}", shown()),
        Kind::Maximum { limit } => format!("{} is more than {limit}", shown()),
        Kind::ExclusiveMaximum { limit } => format!("{} is not less than {limit}", shown()),
        Kind::MultipleOf { multiple_of } => format!("{} is not a multiple of {multiple_of}", shown()),
        Kind::MinItems { limit } => format!("it has fewer than {limit} items"),
        Kind::MaxItems { limit } => format!("it has more than {limit} items"),
        Kind::MinLength { limit } => format!("it is shorter than {limit} characters"),
        Kind::MaxLength { limit } => format!("it is longer than {limit} characters"),
        Kind::MinProperties { limit } => format!("it has fewer than {limit} members"),
        Kind::MaxProperties { limit } => format!("it has more than {limit} members"),
        Kind::FalseSchema => "it may not be here".to_owned(),
        Kind::Format { format } => format!("it is no `{}`", cut(format)),
        Kind::Pattern { pattern } => format!("it does not match `{}`", cut(pattern)),
        Kind::Not { .. } => "it is what it must not be".to_owned(),
        Kind::PropertyNames { error } => {
            format!("the name of a member: {}", what(error.kind(), error.instance()))
        }
        Kind::Required { property } => format!("{} is missing", name(property.as_str().unwrap_or_default())),
        Kind::Type { kind } => format!("expected {}, found {}", expected(kind), found(value)),
        Kind::UniqueItems => "an item stands in it twice".to_owned(),
        other => format!("it does not fit `{}`", cut(other.keyword())),
    }
}

/// Where a schema is wrong, and how. A schema is the operator's: its words may be shown.
pub(super) fn of_schema(error: &ValidationError<'_>) -> (String, String) {
    let at = error.instance_path().as_str().to_owned();
    let value = error.instance();
    let said = match error.kind() {
        Kind::Referencing(error) => format!("a reference leads nowhere: {error}"),
        Kind::Format { format } if format == "regex" => {
            format!("{} is not a pattern that takes linear time", name(value.as_str().unwrap_or_default()))
        }
        Kind::Enum { options } => {
            format!("{} is none of {}", cut(&value.to_string()), cut(&options.to_string()))
        }
        Kind::AnyOf { .. } if at.ends_with("/type") => {
            format!("{} is not a type, nor a list of types", cut(&value.to_string()))
        }
        kind => what(kind, value),
    };
    (at, said)
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(kind) => kind.to_string(),
        TypeKind::Multiple(kinds) => {
            let kinds: Vec<String> = kinds.iter().map(|kind: JsonType| kind.to_string()).collect();
            kinds.join(" or ")
        }
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn number(value: &Value) -> String {
    if value.is_number() { cut(&value.to_string()) } else { "it".to_owned() }
}

/// A name that a client may have chosen.
fn name(text: &str) -> String {
    format!("`{}`", cut(&text.escape_debug().to_string()))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
