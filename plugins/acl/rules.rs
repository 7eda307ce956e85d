//! What a claim must say.

use palisade_contract::{ConfigError, Principal};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One value, or several of which one will do.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Expected {
    /// This one.
    One(Scalar),
    /// One of these.
    OneOf(Vec<Scalar>),
}

/// A string, a whole number, true or false.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Scalar {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Number(i64),
    /// A string, exactly.
    Text(String),
}

/// What one claim must say.
pub(super) struct ClaimRule {
    path: String,
    values: Vec<Scalar>,
    detail: String,
}

impl ClaimRule {
    /// `path` is a claim's name, or a path into nested claims.
    pub(super) fn new(path: String, expected: Expected) -> Result<Self, ConfigError> {
        let values = match expected {
            Expected::One(value) => vec![value],
            Expected::OneOf(values) => values,
        };
        if path.is_empty() || values.is_empty() {
            let error = ConfigError::at("claims", format!("`{path}` has no value that it could have"));
            return Err(error.help("write `claims: {NAME: VALUE}`"));
        }
        let detail = format!("the claim `{path}` does not fit");
        Ok(ClaimRule { path, values, detail })
    }

    /// True where the claim, or an item of it, is one of the values.
    pub(super) fn holds(&self, principal: &Principal) -> bool {
        let fits = |found: &Value| self.values.iter().any(|value| value.is(found));
        match principal.claim(&self.path) {
            None => false,
            Some(Value::Array(items)) => items.iter().any(fits),
            Some(one) => fits(one),
        }
    }

    /// What the operator is told where it does not hold.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl Scalar {
    /// Of the same type and equal: `"1"` is not 1.
    fn is(&self, found: &Value) -> bool {
        match self {
            Scalar::Bool(value) => found.as_bool() == Some(*value),
            Scalar::Number(value) => found.as_i64() == Some(*value),
            Scalar::Text(value) => found.as_str() == Some(value),
        }
    }
}
