//! A serde deserializer over a node.
use super::{ConfigErrors, Node};
pub(super) fn deserialize<T: serde::de::DeserializeOwned>(node: &Node) -> Result<T, ConfigErrors> {
    let _ = node;
    todo!()
}
