//! The operations that a plugin knows of an API: what a description of it declares.

use http::Method;
use std::sync::Arc;

use crate::conf::Place;

/// An operation as it is declared: a method on a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// The path template as clients see it, base path included: `/v1/orders/{id}`.
    pub path: Arc<str>,
    /// Its name in the description, where it has one.
    pub id: Option<Arc<str>>,
    /// Who may call it: any of these sets of credentials is enough. Nobody needs one where there is no set, or an empty one.
    pub security: Vec<Vec<Requirement>>,
    /// Callers are held to `security`: what authenticates on the route must be what it asks for.
    pub enforced: bool,
    /// Where it is declared.
    pub place: Place,
}

impl Operation {
    /// True where a request without a credential may call it.
    pub fn is_public(&self) -> bool {
        self.security.is_empty() || self.security.iter().any(Vec::is_empty)
    }
}

/// A credential that an operation asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The name of the scheme in the description.
    pub scheme: Arc<str>,
    /// What kind of credential it is.
    pub credential: CredentialKind,
    /// The scopes or roles that it must have.
    pub scopes: Vec<Arc<str>>,
}

/// A kind of credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// A key in a header, by its name in lower case.
    Header(Arc<str>),
    /// A key in a query parameter.
    Query(Arc<str>),
    /// A key in a cookie.
    Cookie(Arc<str>),
    /// A scheme of `Authorization`, in lower case: `basic`, `bearer`.
    Http(Arc<str>),
    /// A client certificate.
    Certificate,
}
