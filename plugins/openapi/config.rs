//! What an operator writes.

use super::spec::Unknown;
use palisade_contract::conf::Size;
use schemars::JsonSchema;
use serde::Deserialize;

/// Holds requests, and where `response` says so answers, to a description of the API in OpenAPI 3.0 or 3.1. What is
/// declared passes: a path and a method (else 404 and 405), parameters and bodies as their schemas say (else 400), bodies of
/// the declared types (else 415). What is not declared is refused. See [the guide](../openapi.md).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The description: a file of JSON or YAML, relative to the file that this stands in. It may refer to other local files.
    pub(super) spec: String,
    /// What stands before the paths of the description where clients call them: `/v1`, or `/` for nothing. Without this,
    /// the paths of its `servers`.
    #[serde(default)]
    pub(super) base_path: Option<String>,
    /// What is done with requests.
    #[serde(default)]
    pub(super) request: Request,
    /// What is done with answers.
    #[serde(default)]
    pub(super) response: Response,
    /// What becomes of paths and methods that are not declared.
    #[serde(default)]
    pub(super) undeclared: Undeclared,
    /// Whether the `security` of the operations is a rule: then what authenticates on the route must be what each of them
    /// asks for, and callers must have the scopes that it names.
    #[serde(default)]
    pub(super) security: Security,
    /// The claim that holds the scopes of a caller: a list, or words with spaces between them.
    #[serde(default = "scope")]
    pub(super) scope_claim: String,
    /// Tell clients where a request is wrong, and why.
    #[serde(default)]
    pub(super) details: bool,
}

fn scope() -> String {
    "scope".to_owned()
}

/// What is done with requests.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Request {
    /// Parameters in path, query, headers and cookies are as declared.
    pub(super) parameters: bool,
    /// Bodies are as declared.
    pub(super) body: bool,
    /// Bodies have a declared type. Without this, those of other types pass unseen.
    pub(super) content_type: bool,
    /// What becomes of query parameters, members of JSON and fields of forms that are not declared, of bodies where none is
    /// declared, and of `readOnly` members. Headers and cookies that are not declared always pass.
    pub(super) unknown: OnUnknown,
    /// The most bytes of a body, as it comes and when it is decoded: `1MiB`. It is held until it has been read.
    pub(super) max_body_size: Size,
    /// Types of bodies that pass by their type, although their schema cannot be looked at: `application/xml`.
    pub(super) opaque: Vec<String>,
}

impl Default for Request {
    fn default() -> Self {
        Request {
            parameters: true,
            body: true,
            content_type: true,
            unknown: OnUnknown::Deny,
            max_body_size: Size(1 << 20),
            opaque: Vec::new(),
        }
    }
}

impl Request {
    pub(super) fn max(&self) -> usize {
        usize::try_from(self.max_body_size.0).unwrap_or(usize::MAX)
    }
}

/// What is done with answers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Response {
    /// Answers are as declared: status, headers, type and body. An answer is then held until it has been read.
    pub(super) validate: bool,
    /// What becomes of an answer that is not.
    pub(super) on_violation: OnViolation,
    /// The most bytes of an answer's body: `1MiB`. One that is longer is refused with 502.
    pub(super) max_body_size: Size,
}

impl Default for Response {
    fn default() -> Self {
        Response { validate: false, on_violation: OnViolation::Deny, max_body_size: Size(1 << 20) }
    }
}

impl Response {
    pub(super) fn max(&self) -> usize {
        usize::try_from(self.max_body_size.0).unwrap_or(usize::MAX)
    }
}

/// What becomes of what is not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnUnknown {
    /// The request is refused.
    Deny,
    /// It is taken out before the origin sees it.
    Strip,
    /// It passes, but for `readOnly` members.
    Allow,
}

impl From<OnUnknown> for Unknown {
    fn from(written: OnUnknown) -> Self {
        match written {
            OnUnknown::Deny => Unknown::Deny,
            OnUnknown::Strip => Unknown::Strip,
            OnUnknown::Allow => Unknown::Allow,
        }
    }
}

/// What becomes of an answer that is not as declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnViolation {
    /// The client gets 502 in its place.
    Deny,
    /// Members that are not declared are taken out; whatever else is wrong is refused.
    Strip,
    /// It passes, and the record says what is wrong.
    Monitor,
}

/// What becomes of paths and methods that are not declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Undeclared {
    /// 404 and 405.
    #[default]
    Deny,
    /// They pass unseen.
    Allow,
}

/// Whether `security` is a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Security {
    /// It is.
    #[default]
    Enforce,
    /// It is a remark.
    Ignore,
}
