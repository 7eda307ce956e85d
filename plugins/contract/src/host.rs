//! What the gateway does for plugins outside of requests: HTTP calls, background work, time.
//!
//! A plugin gets it while it is built, as [`BuildEnv::host`](crate::BuildEnv), and may keep it. Work goes on
//! until its [`Task`] is dropped: a plugin that holds its tasks ends them with the snapshot that holds the plugin.

use bytes::Bytes;
use std::{error::Error, fmt, path::PathBuf, sync::Arc, time::Duration};

use crate::verdict::BoxFuture;

/// The gateway, as plugins need it outside of requests.
pub trait Host: Send + Sync + 'static {
    /// A client for calls to one dependency. Calls of one client share its connections.
    ///
    /// # Errors
    /// What is wrong with the settings: for an operator, without a final period.
    fn http(&self, settings: &HttpSettings) -> Result<Arc<dyn HttpClient>, String>;

    /// Starts work that goes on until it is done or its [`Task`] is dropped. A panic ends it, and is logged with
    /// `name`.
    fn spawn(&self, name: &str, work: BoxFuture<'static, ()>) -> Task;

    /// Computes something that takes more than a few milliseconds where it keeps no request waiting. Of such work only
    /// some is done at a time; the rest waits. Where it panics the future ends, and nothing came of it.
    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;

    /// Waits.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// Calls one dependency over HTTP. Redirects are not followed: where a call goes is the configuration's decision.
pub trait HttpClient: Send + Sync + 'static {
    /// Sends a request to an absolute `http` or `https` URI and reads the whole answer, whatever its status.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> BoxFuture<'static, Result<http::Response<Bytes>, HttpError>>;
}

/// How a dependency is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// For the whole call: names, connection, TLS, request and answer.
    pub timeout: Duration,
    /// The most bytes of an answer's body.
    pub max_bytes: usize,
    /// A PEM file of the authorities that may have signed the dependency's certificate; none: the system's.
    pub ca: Option<PathBuf>,
    /// What the gateway shows of itself where a dependency asks for a client's certificate.
    pub identity: Option<HttpIdentity>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum HttpError {
    /// No answer in time.
    Timeout,
    /// The answer's body has more bytes than the settings allow.
    TooLarge,
    /// No connection, no TLS, or an answer that is no HTTP.
    Failed(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Timeout => f.write_str("no answer in time"),
            HttpError::TooLarge => f.write_str("the answer is too large"),
            HttpError::Failed(reason) => f.write_str(reason),
        }
    }
}

impl Error for HttpError {}

/// A client's certificate, in files of PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpIdentity {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Work in the background; it ends when this is dropped.
#[must_use = "the work ends when this is dropped"]
pub struct Task(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Task {
    /// A task that `end` ends.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Task(Some(Box::new(end)))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

/// Where nothing runs: a configuration is only checked.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoHost;

impl Host for NoHost {
    fn http(&self, _: &HttpSettings) -> Result<Arc<dyn HttpClient>, String> {
        Ok(Arc::new(NoHost))
    }

    fn spawn(&self, _: &str, _: BoxFuture<'static, ()>) -> Task {
        Task(None)
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }

    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

impl HttpClient for NoHost {
    fn send(&self, _: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Bytes>, HttpError>> {
        Box::pin(async {
            Err(HttpError::Failed("nothing is called while a configuration is checked".to_owned()))
        })
    }
}
