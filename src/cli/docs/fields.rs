//! Fields out of a JSON Schema, as rows of a table.

use serde_json::{Map, Value};

/// Types nest a few levels; a type that holds itself would nest without end.
const MAX_DEPTH: usize = 6;

/// The definitions that `$ref`s point to.
#[derive(Clone, Copy)]
pub(super) struct Definitions<'a>(pub(super) Option<&'a Map<String, Value>>);

impl<'a> Definitions<'a> {
    /// Follows references, and looks through `null` as an alternative: an optional field's own type.
    pub(super) fn resolve(self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..MAX_DEPTH {
            let reference =
                schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            let target = reference.and_then(|name| self.0?.get(name));
            let alternatives = schema.get("anyOf").and_then(Value::as_array);
            let optional = alternatives.and_then(|all| match all.as_slice() {
                [one, null] if is_null(null) => Some(one),
                _ => None,
            });
            match target.or(optional) {
                Some(inner) => schema = inner,
                None => break,
            }
        }
        schema
    }

    /// The fields of a mapping, in the order as declared.
    pub(super) fn properties(self, schema: &'a Value) -> Option<&'a Map<String, Value>> {
        self.resolve(schema).get("properties").and_then(Value::as_object)
    }

    /// What a mapping of names holds under each name.
    pub(super) fn values(self, schema: &'a Value) -> Option<&'a Value> {
        self.resolve(schema).get("additionalProperties").filter(|values| values.is_object())
    }

    /// What a list holds.
    pub(super) fn items(self, schema: &'a Value) -> Option<&'a Value> {
        self.resolve(schema).get("items")
    }

    /// A table of the fields of a mapping, those of mappings inside it by their path.
    pub(super) fn table(self, schema: &'a Value) -> String {
        let mut rows = Vec::new();
        self.rows("", schema, MAX_DEPTH, &mut rows);
        let mut text = String::from("| Field | Type | Default | |\n|---|---|---|---|\n");
        for row in &rows {
            text.push_str(row);
        }
        text
    }

    fn rows(self, path: &str, schema: &'a Value, depth: usize, rows: &mut Vec<String>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let object = self.resolve(schema);
        for (name, field) in self.properties(object).into_iter().flatten() {
            let path = format!("{path}{name}");
            rows.push(format!(
                "| `{path}` | {} | {} | {} |\n",
                cell(&self.type_of(field)),
                cell(&default_of(object, name, field)),
                cell(&description(field).unwrap_or_default())
            ));
            if is_plugins(field) {
                continue;
            }
            self.rows(&format!("{path}."), field, depth, rows);
            if let Some(items) = self.items(field) {
                self.rows(&format!("{path}[]."), items, depth, rows);
            }
            if let Some(values) = self.values(field) {
                self.rows(&format!("{path}.NAME."), values, depth, rows);
            }
        }
    }

    /// A type in words.
    pub(super) fn type_of(self, schema: &'a Value) -> String {
        if is_plugins(schema) {
            return "plugin entries".to_owned();
        }
        let schema = self.resolve(schema);
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return values.iter().filter(|value| !value.is_null()).map(code).collect::<Vec<_>>().join(", ");
        }
        if let Some(value) = schema.get("const") {
            return code(value);
        }
        if let Some(all) = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
            return all.iter().map(|one| self.alternative(one)).collect::<Vec<_>>().join(", ");
        }
        let kind = match schema.get("type") {
            Some(Value::Array(all)) => all.iter().find(|kind| *kind != "null").and_then(Value::as_str),
            kind => kind.and_then(Value::as_str),
        };
        match kind {
            Some("array") => match self.items(schema) {
                Some(items) => format!("list of {}", self.type_of(items)),
                None => "list".to_owned(),
            },
            Some("object") => match self.values(schema) {
                Some(values) => format!("mapping of {}", self.type_of(values)),
                None => "mapping".to_owned(),
            },
            Some("string") => schema.get("title").and_then(Value::as_str).unwrap_or("string").to_owned(),
            Some(kind) => kind.to_owned(),
            None => "any value".to_owned(),
        }
    }

    /// A variant that holds something is shown as `{name: type}`.
    fn alternative(self, schema: &'a Value) -> String {
        match self.properties(schema).and_then(|fields| fields.iter().next()) {
            Some((name, field)) => format!("`{{{name}: {}}}`", self.type_of(field).replace('`', "")),
            None => self.type_of(schema),
        }
    }
}

/// The words of a schema on one line.
pub(super) fn description(schema: &Value) -> Option<String> {
    schema.get("description").and_then(Value::as_str).map(|text| text.replace('\n', " "))
}

/// True where a schema is that of all plugins together, which have pages of their own.
pub(super) fn is_plugins(schema: &Value) -> bool {
    schema.get("$ref").and_then(Value::as_str) == Some("#/$defs/Plugins")
}

/// True where a mapping needs the field.
pub(super) fn is_required(object: &Value, name: &str) -> bool {
    let required = object.get("required").and_then(Value::as_array);
    required.is_some_and(|all| all.iter().any(|field| field == name))
}

fn default_of(object: &Value, name: &str, field: &Value) -> String {
    match field.get("default") {
        Some(Value::Null) | None if is_required(object, name) => "required".to_owned(),
        Some(Value::Null) | None => String::new(),
        Some(Value::Array(values)) if values.is_empty() => String::new(),
        Some(Value::Object(values)) if values.is_empty() => String::new(),
        Some(value) => code(value),
    }
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|kind| kind == "null")
}

/// A value as it is written in YAML.
fn code(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        value => format!("`{value}`"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn types_are_told_in_words() {
        let definitions = json!({
            "Mode": {"oneOf": [{"const": "on", "type": "string"}, {"enum": ["off"], "type": "string"}]},
            "Loop": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Loop"}}},
        });
        let definitions = Definitions(definitions.as_object());
        for (schema, expected) in [
            (json!({"type": "string"}), "string"),
            (json!({"type": ["integer", "null"]}), "integer"),
            (json!({"type": ["string", "null"], "title": "duration"}), "duration"),
            (json!({"type": "array", "items": {"type": "string"}}), "list of string"),
            (json!({"type": "object", "additionalProperties": {"type": "boolean"}}), "mapping of boolean"),
            (json!({"anyOf": [{"$ref": "#/$defs/Mode"}, {"type": "null"}]}), "`on`, `off`"),
            (
                json!({"oneOf": [{"type": "object", "properties": {"any": {"type": "array"}}}]}),
                "`{any: list}`",
            ),
            (json!(true), "any value"),
        ] {
            assert_eq!(definitions.type_of(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_field_and_ends_where_a_type_holds_itself() {
        let all = json!({"Loop": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Loop"}}}});
        let schema = json!({
            "properties": {
                "name": {"type": "string", "description": "a | b"},
                "size": {"type": "integer", "default": 3},
                "loop": {"$ref": "#/$defs/Loop"},
            },
            "required": ["name"],
        });
        let table = Definitions(all.as_object()).table(&schema);
        assert!(table.contains("| `name` | string | required | a \\| b |\n"), "{table}");
        assert!(table.contains("| `size` | integer | `3` |  |\n"), "{table}");
        assert!(table.contains("| `loop.next.next` |") && table.lines().count() < 12, "{table}");
    }
}
