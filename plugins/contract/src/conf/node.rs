//! A YAML value that knows where it stands.

use serde::de::DeserializeOwned;

use super::{ConfigErrors, Place};

/// A YAML value that knows where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
    /// The path in the whole document: `routes.checkout.plugins.key-auth`.
    pub path: String,
}

/// A YAML value.
#[derive(Debug, Clone)]
pub enum Value {
    /// A scalar as written, references resolved.
    Scalar {
        /// The text.
        text: String,
        /// True where it was written without quotes, so that `12`, `true` and `null` are not strings.
        plain: bool,
        /// True where a reference (`${env:…}`) was resolved in it: never shown in an error.
        secret: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order as written. Keys are scalars and unique.
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub struct Key {
    /// The text.
    pub text: String,
    /// Where it begins.
    pub place: Place,
}

impl Node {
    /// The value under `key`, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|(name, _)| name.text == key).map(|(_, node)| node)
    }

    /// The entries, where this is a mapping; nothing otherwise.
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// True for `null`, `~` and nothing at all, where it is not quoted.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true, .. } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// Follows a path such as `allow[2].name` as far as it leads.
    pub fn find(&self, path: &str) -> &Node {
        let mut node = self;
        for part in path.split(['.', '[', ']']).filter(|part| !part.is_empty()) {
            let next = match &node.value {
                Value::Map(_) => node.get(part),
                Value::List(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                Value::Scalar { .. } => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        node
    }

    /// Reads it as a type, reporting every unknown key and the first value of a wrong type.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ConfigErrors> {
        super::de::deserialize(self)
    }
}
