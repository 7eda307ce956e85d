//! Text to a node.
use super::{ConfigErrors, Node};
use std::path::Path;

/// Looks up `${env:NAME}`.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Parses one YAML document of a file and resolves the references in its scalars.
pub fn parse(file: &Path, text: &str, environment: Environment<'_>) -> Result<Node, ConfigErrors> {
    let _ = (file, text, environment);
    todo!()
}
