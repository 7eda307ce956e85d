//! What a text stands for where a schema expects more than text: parameters and fields of forms are written in letters.

use super::{
    documents::{Documents, Part},
    inspect,
};
use palisade_contract::Value as Yaml;
use serde_json::{Number, Value};
use std::collections::BTreeMap;

/// How deep shapes go: styles do not nest further.
const MAX_DEPTH: usize = 4;

/// The kinds of values that a schema lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u8);

impl Kinds {
    pub(crate) const NULL: Kinds = Kinds(1);
    pub(crate) const BOOLEAN: Kinds = Kinds(2);
    pub(crate) const INTEGER: Kinds = Kinds(4);
    pub(crate) const NUMBER: Kinds = Kinds(12);
    pub(crate) const STRING: Kinds = Kinds(16);
    pub(crate) const ARRAY: Kinds = Kinds(32);
    pub(crate) const OBJECT: Kinds = Kinds(64);
    const ALL: Kinds = Kinds(127);
    const NONE: Kinds = Kinds(0);

    pub(crate) fn has(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }

    fn or(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 & other.0)
    }

    fn named(name: &str) -> Kinds {
        match name {
            "null" => Kinds::NULL,
            "boolean" => Kinds::BOOLEAN,
            "integer" => Kinds::INTEGER,
            "number" => Kinds::NUMBER,
            "string" => Kinds::STRING,
            "array" => Kinds::ARRAY,
            "object" => Kinds::OBJECT,
            _ => Kinds::NONE,
        }
    }
}

/// What a value may be, as far as it says how a text is read.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) kinds: Kinds,
    pub(crate) items: Option<Box<Shape>>,
    pub(crate) members: BTreeMap<String, Shape>,
    /// Of members that are not named; none where there may be none.
    pub(crate) rest: Option<Box<Shape>>,
    /// Bytes and not text.
    pub(crate) binary: bool,
}

impl Shape {
    /// The shape of anything: a text stands for itself.
    pub(crate) fn text() -> Shape {
        Shape { kinds: Kinds::STRING, items: None, members: BTreeMap::new(), rest: None, binary: false }
    }

    /// The shape of what is not declared: it may stand there more than once.
    pub(crate) fn texts() -> Shape {
        Shape { kinds: Kinds::ARRAY, ..Shape::text() }
    }

    /// True for a list, and for nothing that is written in one piece.
    pub(crate) fn is_array(&self) -> bool {
        self.kinds.has(Kinds::ARRAY) && !self.kinds.has(Kinds::STRING)
    }

    /// True for an object, and for nothing that is written in one piece.
    pub(crate) fn is_object(&self) -> bool {
        self.kinds.has(Kinds::OBJECT) && !self.kinds.has(Kinds::STRING) && !self.kinds.has(Kinds::ARRAY)
    }

    /// The shape of an object's member.
    pub(crate) fn member(&self, name: &str) -> Option<&Shape> {
        self.members.get(name).or(self.rest.as_deref())
    }

    /// What a text stands for. A text that is none of what is expected stays one, and the schema says so.
    pub(crate) fn read(&self, text: &str) -> Value {
        let has = |kinds| self.kinds.has(kinds);
        let may_be_number = has(Kinds::NUMBER) || (has(Kinds::INTEGER) && is_integer(text));
        if let Some(number) = number(text).filter(|_| may_be_number) {
            return Value::Number(number);
        }
        match text {
            "true" | "false" if has(Kinds::BOOLEAN) => Value::Bool(text == "true"),
            "null" if has(Kinds::NULL) && !has(Kinds::STRING) => Value::Null,
            _ => Value::String(text.to_owned()),
        }
    }

    /// True where a text that was read as something else may have been meant as a text.
    pub(crate) fn may_be_text(&self) -> bool {
        self.kinds.has(Kinds::STRING)
    }

    /// The shape of what a schema lets pass.
    pub(super) fn of<'d>(documents: &'d Documents, part: &Part<'d>) -> Shape {
        Shape::at(documents, part, 0)
    }

    fn at<'d>(documents: &'d Documents, part: &Part<'d>, depth: usize) -> Shape {
        let mut shape = Shape { kinds: kinds(documents, part, 0), ..Shape::text() };
        if depth >= MAX_DEPTH {
            return shape;
        }
        let (mut closed, mut rest) = (false, None);
        for part in inspect::in_place(documents, part) {
            shape.binary |= part.text("format") == Some("binary") || part.text("contentMediaType").is_some();
            if let Some(items) = part.get("items").filter(Part::is_object) {
                shape.items.get_or_insert_with(|| Box::new(Shape::at(documents, &items, depth + 1)));
            }
            for (name, member) in part.get("properties").into_iter().flat_map(|members| members.members()) {
                let member = Shape::at(documents, &member, depth + 1);
                shape.members.entry(name.to_owned()).or_insert(member);
            }
            if let Some(other) = part.get("additionalProperties") {
                closed = matches!(&other.node.value, Yaml::Scalar { text, .. } if text == "false");
                if other.is_object() {
                    rest = Some(Box::new(Shape::at(documents, &other, depth + 1)));
                }
            }
        }
        shape.rest = rest.or_else(|| (!closed && shape.members.is_empty()).then(|| Box::new(Shape::text())));
        shape
    }
}

fn kinds<'d>(documents: &'d Documents, part: &Part<'d>, depth: usize) -> Kinds {
    if depth > 16 {
        return Kinds::ALL;
    }
    let all = |word: &str, start: Kinds, join: fn(Kinds, Kinds) -> Kinds| {
        let list = part.get(word)?;
        let joined = list.items().map(|item| kinds(documents, &item, depth + 1)).fold(start, join);
        Some(joined)
    };
    let own = match part.node.get("type").map(|node| &node.value) {
        Some(Yaml::Scalar { text, .. }) => Some(Kinds::named(text)),
        Some(Yaml::List(list)) => {
            Some(list.iter().filter_map(|node| node.text()).map(Kinds::named).fold(Kinds::NONE, Kinds::or))
        }
        _ => None,
    };
    let referred = part
        .text("$ref")
        .and_then(|reference| documents.target(part.spot.file, reference))
        .map(|target| kinds(documents, &target, depth + 1));
    let listed =
        part.get("enum").map(|list| list.items().map(|item| kind_of(&item)).fold(Kinds::NONE, Kinds::or));
    let constant = part.get("const").map(|value| kind_of(&value));
    let parts = [
        own,
        referred,
        listed,
        constant,
        all("allOf", Kinds::ALL, Kinds::and),
        all("anyOf", Kinds::NONE, Kinds::or),
        all("oneOf", Kinds::NONE, Kinds::or),
    ];
    let found = parts.into_iter().flatten().fold(Kinds::ALL, Kinds::and);
    if part.flag("nullable") { found.or(Kinds::NULL) } else { found }
}

fn kind_of(part: &Part<'_>) -> Kinds {
    match part.node.deserialize::<Value>() {
        Ok(Value::Null) => Kinds::NULL,
        Ok(Value::Bool(_)) => Kinds::BOOLEAN,
        Ok(Value::Number(number)) if number.is_f64() => Kinds::NUMBER,
        Ok(Value::Number(_)) => Kinds::NUMBER,
        Ok(Value::Array(_)) => Kinds::ARRAY,
        Ok(Value::Object(_)) => Kinds::OBJECT,
        _ => Kinds::STRING,
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A number as JSON writes it: other ways are read differently by different origins.
fn number(text: &str) -> Option<Number> {
    let starts = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    let ends = text.ends_with(|c: char| c.is_ascii_digit());
    (starts && ends && text.len() <= 64).then(|| serde_json::from_str(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_are_what_is_expected_and_written_in_one_way() {
        let read = |kinds, text: &str| Shape { kinds, ..Shape::text() }.read(text);
        for (kinds, text, expected) in [
            (Kinds::INTEGER, "12", json!(12)),
            (Kinds::INTEGER, "-1", json!(-1)),
            (Kinds::INTEGER, "1.0", json!("1.0")),
            (Kinds::INTEGER, "1e3", json!("1e3")),
            (Kinds::INTEGER, "+1", json!("+1")),
            (Kinds::INTEGER, "01", json!("01")),
            (Kinds::INTEGER, " 1", json!(" 1")),
            (Kinds::INTEGER, "1 ", json!("1 ")),
            (Kinds::INTEGER, "0x1", json!("0x1")),
            (Kinds::INTEGER, "٣", json!("٣")),
            (Kinds::INTEGER, "-", json!("-")),
            (Kinds::INTEGER, "", json!("")),
            (Kinds::NUMBER, "1e3", json!(1000.0)),
            (Kinds::NUMBER, "1e999", json!("1e999")),
            (Kinds::NUMBER, "NaN", json!("NaN")),
            (Kinds::NUMBER, ".5", json!(".5")),
            (Kinds::BOOLEAN, "true", json!(true)),
            (Kinds::BOOLEAN, "True", json!("True")),
            (Kinds::BOOLEAN, "1", json!("1")),
            (Kinds::NULL, "null", json!(null)),
            (Kinds::STRING, "12", json!("12")),
            (Kinds::STRING.or(Kinds::NULL), "null", json!("null")),
            (Kinds::STRING.or(Kinds::NUMBER), "12", json!(12)),
        ] {
            assert_eq!(read(kinds, text), expected, "{text}");
        }
    }
}
