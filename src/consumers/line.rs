//! One consumer as it is written: a line of JSON with the fields that a consumer has in the configuration.

use super::MAX_LINE;
use crate::conf::names;
use palisade_contract::ConfigError;
use palisade_plugins::KeyCredential;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::error::Category;
use std::{borrow::Cow, fmt};

const EXAMPLE: &str = r#"write `{"name": "alice", "key-auth": [{"key_sha256": "…"}]}` on a line of its own"#;

/// One consumer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line<'a> {
    /// Its name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Its keys.
    #[serde(default, rename = "key-auth")]
    pub key_auth: Vec<Key>,
}

/// A key. A list of values in the place of its fields is none.
#[derive(Debug)]
pub struct Key(pub KeyCredential);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Key, A::Error> {
                KeyCredential::deserialize(MapAccessDeserializer::new(map)).map(Key)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// What is wrong with a line; nothing that may be a secret is in it.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1, in bytes.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Problem { column: 1, message: message.into(), help: Some(help.into()) }
    }
}

impl From<ConfigError> for Problem {
    fn from(error: ConfigError) -> Self {
        Problem { column: 1, message: error.message, help: error.help }
    }
}

impl<'a> Line<'a> {
    /// Reads a line, without its break.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn read(line: &'a [u8]) -> Result<Self, Problem> {
        if line.len() > MAX_LINE {
            return Err(Problem::new(
                format!("the line is longer than {} KiB", MAX_LINE >> 10),
                "give the consumer fewer credentials",
            ));
        }
        if line.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
            return Err(Problem::new("this is not a mapping in JSON", EXAMPLE));
        }
        let line: Line<'a> = serde_json::from_slice(line).map_err(|error| problem(&error))?;
        if !names::is_name(&line.name) {
            // What stands there may be the key.
            return Err(Problem::new("`name` cannot be a name", names::NAMES));
        }
        if let Some(index) = line.groups.iter().position(|group| !names::is_group(group)) {
            return Err(Problem::new(format!("`groups[{index}]` cannot be a group"), names::GROUPS));
        }
        Ok(line)
    }
}

/// The parser's words may repeat a value, so that only those are taken that name a field.
fn problem(error: &serde_json::Error) -> Problem {
    let column = u32::try_from(error.column().max(1)).unwrap_or(u32::MAX);
    let text = error.to_string();
    let said = text.split(" at line ").next().unwrap_or_default();
    let (message, help) = match error.classify() {
        Category::Data => {
            let (said, help) =
                said.split_once("; help: ").map_or((said, None), |(said, help)| (said, Some(help)));
            if said.starts_with("unknown field `plugins`") {
                let help = "a consumer with entries of its own is written in the configuration";
                ("unknown field `plugins`".to_owned(), help)
            } else if said.starts_with("unknown field `") {
                // Which fields there are stands in it; the name of the one that is not, too, and may be anything.
                let expected = said.split_once("`, ").map_or("expected others", |(_, expected)| expected);
                (format!("unknown field: {expected}"), "remove it")
            } else if said.starts_with("missing field `") || said.starts_with("duplicate field `") {
                (said.to_owned(), EXAMPLE)
            } else if let Some(help) = help {
                return Problem { column, message: said.to_owned(), help: Some(help.to_owned()) };
            } else {
                ("a value of another type than its field has".to_owned(), EXAMPLE)
            }
        }
        Category::Eof => ("the line ends in the middle of a value".to_owned(), EXAMPLE),
        Category::Syntax | Category::Io => ("this is not JSON".to_owned(), EXAMPLE),
    };
    Problem { column, message, help: Some(help.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_line_has_the_fields_of_a_consumer() {
        let text = format!(
            r#"{{"name":"alice","groups":["gold"],"key-auth":[{{"key_sha256":"{HASH}","expires":"2027-01-31"}}]}}"#
        );
        let line = Line::read(text.as_bytes()).unwrap();
        assert_eq!((&*line.name, line.groups.len(), line.key_auth.len()), ("alice", 1, 1));
        let key = line.key_auth[0].0.read().unwrap();
        assert_eq!((hex::encode(key.hash).as_str(), key.id), (HASH, None));
        assert!(Line::read(br#"{"name":"nobody"}"#).unwrap().key_auth.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_without_what_may_be_secret() {
        for (text, column, words) in [
            ("", 1, "in the middle"),
            ("hunter2", 1, "not a mapping"),
            (r#"{"name":"a"} {"name":"hunter2"}"#, 14, "not JSON"),
            (r#"{"name":"a","#, 12, "in the middle"),
            (r#"["hunter2"]"#, 1, "not a mapping"),
            (r#"{"name":"a","key-auth":[["hunter2"]]}"#, 24, "another type"),
            (r#"{"name":"a","key-auth":["hunter2"]}"#, 0, "another type"),
            (r#"{"name":"a","name":"b"}"#, 18, "duplicate field `name`"),
            (r#"{"groups":[]}"#, 13, "missing field `name`"),
            (r#"{"name":"a","hunter2":1}"#, 21, "unknown field: expected one of `name`"),
            (r#"{"name":"a","plugins":{}}"#, 21, "unknown field `plugins`"),
            (r#"{"name":"hunter2 x"}"#, 1, "`name` cannot be a name"),
            (r#"{"name":"_a"}"#, 1, "`name` cannot be a name"),
            (r#"{"name":"a","groups":["ok","hunter2,"]}"#, 1, "`groups[1]` cannot be a group"),
            (r#"{"name":"a","groups":"hunter2"}"#, 30, "another type"),
            (r#"{"name":"a","key-auth":[{"key":"hunter2"}]}"#, 0, "a key is not stored as it is"),
            (
                r#"{"name":"a","key-auth":[{"key_sha256":"x","hunter2":1}]}"#,
                0,
                "unknown field: expected one of",
            ),
            ("{\"name\":\"a\u{0}\"}", 0, "not JSON"),
        ] {
            let problem = Line::read(text.as_bytes()).unwrap_err();
            assert!(problem.message.contains(words), "{text}: {problem:?}");
            assert!(column == 0 || problem.column == column, "{text}: {problem:?}");
            assert!(!format!("{problem:?}").contains("hunter2"), "{problem:?}");
        }
        let long = format!(r#"{{"name":"a","groups":["{}"]}}"#, "x".repeat(MAX_LINE));
        assert!(Line::read(long.as_bytes()).unwrap_err().message.contains("longer than 64 KiB"));
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in r#"[{}\[\]",: a-z0-9_\\-]{0,60}"#, bytes: Vec<u8>, cut in 0..120usize) {
            let good = format!(r#"{{"name":"alice","groups":["gold"],"key-auth":[{{"key_sha256":"{HASH}"}}]}}"#);
            let mixed = [good.as_bytes().get(..cut).unwrap(), text.as_bytes()].concat();
            for line in [text.as_bytes(), &bytes, &mixed] {
                if let Ok(line) = Line::read(line) {
                    let _ = line.key_auth.iter().filter(|key| key.0.read().is_ok()).count();
                }
            }
        }
    }
}
