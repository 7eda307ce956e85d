//! A YAML value that knows where it stands.

use serde::de::DeserializeOwned;
use std::fmt;

use super::{ConfigErrors, Place, mask::HIDDEN, path};

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
#[derive(Clone)]
pub enum Value {
    /// A scalar as written, references resolved.
    Scalar {
        /// The text.
        text: String,
        /// True where it was written without quotes, so that `12`, `true` and `null` are not strings.
        plain: bool,
        /// True where a reference (`${env:…}`) was resolved in it, or where its key says that it is a secret
        /// (`token`, `client_secret`, `password` …): never shown in an error or a debug print.
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

impl Value {
    /// What stands after a key without a value.
    pub const NOTHING: Value = Value::Scalar { text: String::new(), plain: true, secret: false };

    /// True for nothing, `~` and `null`, written without quotes.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Scalar { text, plain: true, .. } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Scalar { secret: true, .. } => f.write_str(HIDDEN),
            Value::Scalar { text, plain: true, .. } => f.write_str(text),
            Value::Scalar { text, .. } => fmt::Debug::fmt(text, f),
            Value::List(items) => f.debug_list().entries(items.iter().map(|item| &item.value)).finish(),
            Value::Map(entries) => {
                f.debug_map().entries(entries.iter().map(|(key, node)| (&key.text, &node.value))).finish()
            }
        }
    }
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
        self.value.is_null()
    }

    /// The text, where this is a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Follows a path such as `allow[2].name` as far as it leads.
    pub fn find(&self, path: &str) -> &Node {
        let next = match &self.value {
            Value::Map(entries) => {
                let found =
                    entries.iter().filter_map(|(key, node)| Some((node, path::take_field(path, &key.text)?)));
                // Keys may hold dots: the longest one that fits leaves the least.
                found.min_by_key(|(_, rest)| rest.len())
            }
            Value::List(items) => {
                path::take_item(path).and_then(|(index, rest)| Some((items.get(index)?, rest)))
            }
            Value::Scalar { .. } => None,
        };
        match next {
            Some((node, rest)) => node.find(rest),
            None => self,
        }
    }

    /// The texts below it that must not be shown.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        self.secret_nodes().into_iter().map(|(_, text)| text).collect()
    }

    /// The same, with their places.
    pub(crate) fn secret_nodes(&self) -> Vec<(&Place, &str)> {
        let mut found = Vec::new();
        let mut nodes = vec![self];
        while let Some(node) = nodes.pop() {
            match &node.value {
                Value::Scalar { text, secret: true, .. } => found.push((&node.place, text.as_str())),
                Value::Scalar { .. } => {}
                Value::List(items) => nodes.extend(items),
                Value::Map(entries) => nodes.extend(entries.iter().map(|(_, node)| node)),
            }
        }
        found
    }

    /// Reads it as a type, reporting every unknown key and, as far as they can be told apart, every wrong
    /// value.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ConfigErrors> {
        super::de::deserialize(self)
    }

    /// Like [`Node::deserialize`], and gives the value even where something is wrong with it, as if that were not
    /// there, so that the rest can be checked. None where that makes no sense (a required field, an item of a list).
    pub fn read<T: DeserializeOwned>(&self) -> (Option<T>, ConfigErrors) {
        super::de::read(self)
    }
}
