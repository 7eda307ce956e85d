//! Configuration types that keep the place of what they hold.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::{borrow::Cow, cell::RefCell, fmt, marker::PhantomData};

use super::{Node, Place};

/// A value and where it is written. As a field of a configuration type it reads as its value does.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it is written.
    pub place: Place,
    /// The path in the document, for errors.
    pub path: String,
}

impl<T> At<T> {
    /// Another value at the same place.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), place: self.place, path: self.path }
    }

    /// Another value at the same place, or an error.
    pub fn try_map<U, E>(self, f: impl FnOnce(T) -> Result<U, E>) -> Result<At<U>, E> {
        Ok(At { value: f(self.value)?, place: self.place, path: self.path })
    }
}

/// Names of newtypes by which [`At`] and [`Node`] ask the deserializer for more than serde can say.
pub(super) const AT: &str = "$palisade::At";
pub(super) const NODE: &str = "$palisade::Node";

thread_local! {
    // Serde has no way to pass a place from a deserializer to a type. It is put here in the moment before the
    // type's visitor is called, and taken first thing there.
    static HANDED: RefCell<Option<Node>> = const { RefCell::new(None) };
}

/// Called by the deserializer before it calls the visitor of one of the two types.
pub(super) fn hand(node: Node) {
    HANDED.with(|handed| *handed.borrow_mut() = Some(node));
}

fn take<E: de::Error>() -> Result<Node, E> {
    HANDED
        .with(|handed| handed.borrow_mut().take())
        .ok_or_else(|| E::custom("a place can only be read from a configuration file"))
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(AT, AtVisitor(PhantomData))
    }
}

struct AtVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> de::Visitor<'de> for AtVisitor<T> {
    type Value = At<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value in a configuration file")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<At<T>, D::Error> {
        let Node { place, path, .. } = take()?;
        Ok(At { value: T::deserialize(deserializer)?, place, path })
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(NODE, NodeVisitor)
    }
}

struct NodeVisitor;

impl de::Visitor<'_> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value in a configuration file")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        take()
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl JsonSchema for Node {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Node".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}
