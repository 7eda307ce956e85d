//! An annotated file with every default, that could be loaded as it is.

use super::fields::{Definitions, description, is_plugins, is_required};
use serde_json::{Value, json};

/// The widest line of a comment.
const WIDTH: usize = 110;
/// Types nest a few levels; a type that holds itself would nest without end.
const MAX_DEPTH: usize = 6;

/// The file, from the schema of the whole configuration.
pub(super) fn file(schema: &Value) -> String {
    let definitions = Definitions(schema.get("$defs").and_then(Value::as_object));
    let mut text = String::new();
    for (name, section) in definitions.properties(schema).into_iter().flatten() {
        if is_plugins(section) || matches!(name.as_str(), "errors" | "consumers" | "consumer_source") {
            continue;
        }
        let mut lines = Lines { definitions, text: &mut text };
        lines.field(name, section, true, Position { indent: 0, off: false, depth: MAX_DEPTH });
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

struct Lines<'a, 'b> {
    definitions: Definitions<'a>,
    text: &'b mut String,
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct Position {
    indent: usize,
    /// Behind a `#`.
    off: bool,
    depth: usize,
}

impl Position {
    fn below(self, indent: usize) -> Self {
        Position { indent: self.indent + indent, depth: self.depth.saturating_sub(1), ..self }
    }
}

impl<'a> Lines<'a, '_> {
    fn field(&mut self, name: &str, field: &'a Value, required: bool, at: Position) {
        if at.depth == 0 {
            return;
        }
        let definitions = self.definitions;
        let known = value(field);
        let fields = definitions.properties(field);
        let values = definitions.values(field).filter(|values| definitions.properties(values).is_some());
        let items = definitions.items(field).filter(|items| definitions.properties(items).is_some());
        // A mapping with defaults inside is written out; one that may be absent is not there by default.
        let optional = field.get("anyOf").is_some();
        let nested = fields.is_some() || items.is_some() || values.is_some();
        let off = at.off || (!required && known.is_none() && (!nested || optional));
        let at = Position { off, ..at };
        if let Some(words) = description(field).or_else(|| description(definitions.resolve(field))) {
            self.comment(&words, at);
        }
        if let (Some(value), false) = (&known, nested) {
            self.line(&format!("{name}: {value}"), at);
        } else if let Some(values) = values {
            self.line(&format!("{name}:"), at);
            self.line("NAME:", at.below(2));
            self.fields(values, at.below(4));
        } else if let Some(items) = items {
            self.line(&format!("{name}:"), at);
            self.line("-", at.below(2));
            self.fields(items, at.below(4));
        } else if fields.is_some() {
            self.line(&format!("{name}:"), at);
            self.fields(field, at.below(2));
        } else {
            let kind = definitions.type_of(field).replace('`', "");
            self.line(&format!("{name}: ({kind})"), Position { off: true, ..at });
        }
    }

    fn fields(&mut self, object: &'a Value, at: Position) {
        let object = self.definitions.resolve(object);
        for (name, field) in self.definitions.properties(object).into_iter().flatten() {
            if !is_plugins(field) && name != "errors" {
                self.field(name, field, is_required(object, name), at);
            }
        }
    }

    fn comment(&mut self, words: &str, at: Position) {
        let mut line = String::new();
        for word in words.split_whitespace() {
            if !line.is_empty() && at.indent + line.len() + word.len() > WIDTH {
                self.line(&format!("# {line}"), Position { off: false, ..at });
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&format!("# {line}"), Position { off: false, ..at });
    }

    fn line(&mut self, line: &str, at: Position) {
        let mark = if at.off { "#" } else { "" };
        self.text.push_str(&format!("{:indent$}{mark}{line}\n", "", indent = at.indent));
    }
}

/// What the field is where nobody says otherwise, else an example of it.
fn value(field: &Value) -> Option<String> {
    let example = || field.get("examples").and_then(|all| all.get(0));
    // An empty list is left out, not written: for hosts and methods none means any.
    let empty = |value: &Value| value.is_null() || *value == json!([]) || *value == json!({});
    let value = field.get("default").filter(|value| !empty(value)).or_else(example).or(field.get("const"));
    value.map(|value| match value {
        // A JSON string is a YAML string; plain where that reads better.
        Value::String(text) if text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c)) => {
            text.clone()
        }
        value => value.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::{
        self,
        model::{Limits, Timeouts},
    };

    #[test]
    fn it_loads_and_says_what_the_code_does() {
        let text = file(&conf::schema::types(palisade_plugins::PLUGINS));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("palisade.yaml"), &text).unwrap();
        let config = conf::load(dir.path(), palisade_plugins::PLUGINS, &|_| None)
            .unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(config.limits, Limits::default());
        assert_eq!(config.upstreams["NAME"].value.timeouts, Timeouts::default());
        assert!(!config.watch && !config.demo);
        assert_eq!(config.drain_timeout.as_secs(), 60);

        // Of what may be absent as a whole.
        for section in ["health", "outlier", "retries", "keepalive"] {
            let of = |text: &str| {
                let dir = tempfile::tempdir().unwrap();
                let conf = format!(
                    "version: 1\nlisteners: {{a: {{address: 127.0.0.1:0}}}}\nupstreams: {{a: {{targets: [{{address: a:1}}], {text}}}}}\n"
                );
                std::fs::write(dir.path().join("palisade.yaml"), conf).unwrap();
                let config = conf::load(dir.path(), palisade_plugins::PLUGINS, &|_| None);
                let one =
                    config.unwrap_or_else(|error| panic!("{text}: {error}")).upstreams["a"].value.clone();
                (one.health, one.outlier, one.retries, one.keepalive)
            };
            let types = conf::schema::types(palisade_plugins::PLUGINS);
            let name = format!("Raw{}{}", section[..1].to_uppercase(), &section[1..]);
            let (given, written) = match types["$defs"][&name]["properties"].as_object() {
                None => (
                    String::new(),
                    types["$defs"]["RawUpstream"]["properties"][section]["default"].to_string(),
                ),
                Some(fields) => {
                    // A status is expected where something is asked for; `on` says more where it is absent.
                    let path = if section == "health" { "path: /x, " } else { "" };
                    let all = fields
                        .iter()
                        .filter(|(name, field)| *name != "on" && field["default"] != Value::Null);
                    let all: Vec<String> =
                        all.map(|(name, field)| format!("{name}: {}", field["default"])).collect();
                    assert!(all.len() > 1, "{section}: {fields:#?}");
                    (format!("{section}: {{{path}}}"), format!("{{{path}{}}}", all.join(", ")))
                }
            };
            assert_eq!(of(&given), of(&format!("{section}: {written}")), "{section}");
        }

        // Nothing left out: each default is written, not only implied.
        for line in [
            "  header_timeout: 10s",
            "  body_timeout: 30s",
            "  idle_timeout: 60s",
            "  header_bytes: 32KiB",
            "  header_count: 100",
            "  uri_bytes: 8KiB",
            "  body_bytes: 1MiB",
            "  buffered_bytes: 256MiB",
            "  connections: 20000",
            "  connections_per_ip: 200",
            "      connect: 3s",
            "      read: 15s",
            "      write: 15s",
            "      idle: 60s",
            "    balance: round_robin",
            "    protocol: http1",
            "    http2: false",
            "watch: false",
            "demo: false",
            "drain_timeout: 60s",
        ] {
            assert!(text.lines().any(|written| written == line), "`{line}` is not in\n{text}");
        }
    }
}
