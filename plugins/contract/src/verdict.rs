//! What a plugin decides, and how it fails.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use std::{borrow::Cow, error::Error as StdError, fmt, future::Future, pin::Pin, sync::Arc};

use crate::principal::Principal;

/// What a plugin decides about a request or a response. A denial is a verdict, not an error.
#[derive(Debug)]
pub enum Verdict {
    /// The next plugin may look at it.
    Continue,
    /// The request (or the response) is refused; the gateway makes the answer.
    Deny(Denial),
    /// The plugin answers in the origin's place (a CORS preflight, a redirect).
    Respond(Reply),
}

/// What an authenticator found. The chain alone decides what follows: any/all, anonymous, the challenges.
#[derive(Debug)]
pub enum Authentication {
    /// The credential is genuine and belongs to this principal.
    Authenticated(Arc<Principal>),
    /// The request carries no credential of this kind.
    NoCredential,
    /// There is a credential of this kind, and by its form it is another authenticator's: that one decides. Where none
    /// takes it the request is refused, never treated as anonymous.
    NotMine,
    /// A credential was presented and is not good: never treated as anonymous.
    Rejected(Denial),
}

/// A result now, or a future for the few plugins that must wait for something.
pub enum Step<'a, T = Verdict> {
    /// Decided without waiting: nothing is boxed.
    Now(Result<T, Fault>),
    /// Still to be decided.
    Later(BoxFuture<'a, Result<T, Fault>>),
}

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl<'a> Step<'a, Verdict> {
    /// Nothing to say: the next plugin may look at it.
    pub const CONTINUE: Step<'static, Verdict> = Step::Now(Ok(Verdict::Continue));
}

impl<'a, T> Step<'a, T> {
    /// Boxes a future: for plugins that wait for I/O.
    pub fn later(future: impl Future<Output = Result<T, Fault>> + Send + 'a) -> Self {
        Step::Later(Box::pin(future))
    }

    /// The result, waiting for it where it is not there yet.
    pub async fn resolve(self) -> Result<T, Fault> {
        match self {
            Step::Now(result) => result,
            Step::Later(future) => future.await,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Step<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Now(result) => f.debug_tuple("Now").field(result).finish(),
            Step::Later(_) => f.write_str("Later(..)"),
        }
    }
}

impl<T> From<Result<T, Fault>> for Step<'_, T> {
    fn from(result: Result<T, Fault>) -> Self {
        Step::Now(result)
    }
}

impl From<Denial> for Step<'_, Verdict> {
    fn from(denial: Denial) -> Self {
        Step::Now(Ok(Verdict::Deny(denial)))
    }
}

impl From<Reply> for Step<'_, Verdict> {
    fn from(reply: Reply) -> Self {
        Step::Now(Ok(Verdict::Respond(reply)))
    }
}

impl From<Fault> for Step<'_, Verdict> {
    fn from(fault: Fault) -> Self {
        Step::Now(Err(fault))
    }
}

/// Why a client is refused: a status, a reason code that stays the same between releases, a message for the
/// client and a detail for the operator alone. It becomes an RFC 9457 problem document.
pub struct Denial(Box<DenialParts>);

struct DenialParts {
    status: StatusCode,
    reason: &'static str,
    message: Cow<'static, str>,
    detail: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    genuine: bool,
}

impl Denial {
    /// `reason` is a stable `snake_case` code; it reaches the client, logs and metrics.
    #[cold]
    pub fn new(status: StatusCode, reason: &'static str) -> Self {
        let message = Cow::Borrowed(status.canonical_reason().unwrap_or("Refused"));
        let (detail, headers) = (None, Vec::new());
        Denial(Box::new(DenialParts { status, reason, message, detail, headers, genuine: false }))
    }

    /// 400 Bad Request.
    #[cold]
    pub fn bad_request(reason: &'static str) -> Self {
        Denial::new(StatusCode::BAD_REQUEST, reason)
    }

    /// 401 Unauthorized. The chain adds the `WWW-Authenticate` challenges of the route's authenticators.
    #[cold]
    pub fn unauthorized(reason: &'static str) -> Self {
        Denial::new(StatusCode::UNAUTHORIZED, reason)
    }

    /// 403 Forbidden.
    #[cold]
    pub fn forbidden(reason: &'static str) -> Self {
        Denial::new(StatusCode::FORBIDDEN, reason)
    }

    /// What the client is told; no secrets, nothing about others.
    #[must_use]
    pub fn message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// What only the operator is told (the access record, `explain`).
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// A header of the answer, such as `Retry-After` or `Allow`.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Says that an authenticator has found the credential to be genuine, and refuses it all the same: it has expired, or is for
    /// something else. That is no guess ([`Tried::Stale`](crate::Tried)).
    #[must_use]
    pub fn genuine(mut self) -> Self {
        self.0.genuine = true;
        self
    }

    /// True where the credential that is refused is genuine.
    pub fn is_genuine(&self) -> bool {
        self.0.genuine
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable reason code.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The message for the client.
    pub fn public_message(&self) -> &str {
        &self.0.message
    }

    /// The detail for the operator.
    pub fn private_detail(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The headers of the answer.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }
}

impl fmt::Debug for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Denial({} {})", self.0.status.as_u16(), self.0.reason)
    }
}

/// An answer that a plugin gives in the origin's place.
#[derive(Debug)]
pub struct Reply(Box<ReplyParts>);

#[derive(Debug)]
struct ReplyParts {
    status: StatusCode,
    reason: &'static str,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Reply {
    /// `reason` is a stable `snake_case` code for logs and metrics.
    #[cold]
    pub fn new(status: StatusCode, reason: &'static str) -> Self {
        Reply(Box::new(ReplyParts { status, reason, headers: Vec::new(), body: Bytes::new() }))
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Sets the body; its length is announced by the gateway.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.0.body = body.into();
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable reason code.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The headers of the answer.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.0.headers
    }

    /// The body of the answer.
    pub fn body_bytes(&self) -> &Bytes {
        &self.0.body
    }
}

/// A failure that is ours or a dependency's, never the client's. The chain refuses the request unless the
/// entry says `on_fault: allow`.
pub struct Fault(Box<FaultParts>);

struct FaultParts {
    status: StatusCode,
    reason: &'static str,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Fault {
    /// A fault of our own: 500.
    #[cold]
    pub fn internal(reason: &'static str) -> Self {
        Fault::with_status(StatusCode::INTERNAL_SERVER_ERROR, reason)
    }

    /// A dependency is down or refuses: 503.
    #[cold]
    pub fn unavailable(reason: &'static str) -> Self {
        Fault::with_status(StatusCode::SERVICE_UNAVAILABLE, reason)
    }

    /// A dependency answered what makes no sense: 502.
    #[cold]
    pub fn bad_dependency(reason: &'static str) -> Self {
        Fault::with_status(StatusCode::BAD_GATEWAY, reason)
    }

    /// A dependency did not answer in time: 504.
    #[cold]
    pub fn timeout(reason: &'static str) -> Self {
        Fault::with_status(StatusCode::GATEWAY_TIMEOUT, reason)
    }

    fn with_status(status: StatusCode, reason: &'static str) -> Self {
        Fault(Box::new(FaultParts { status, reason, source: None }))
    }

    /// What caused it; shown to the operator alone.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable reason code.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({} {})", self.0.status.as_u16(), self)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.reason)?;
        let mut next: Option<&(dyn StdError + 'static)> = self.0.source.as_deref().map(|e| e as _);
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

impl StdError for Fault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|e| e as _)
    }
}
