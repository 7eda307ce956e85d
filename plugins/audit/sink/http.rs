//! A collector that takes lines over HTTP: each batch is the body of one POST.

use super::Out;
use ::http::{HeaderName, HeaderValue, Method, Request, Uri, header::CONTENT_TYPE};
use bytes::Bytes;
use palisade_contract::{Host, HttpClient, HttpSettings};
use std::{
    hash::{Hash, Hasher},
    io,
    path::PathBuf,
    sync::{Arc, mpsc},
    time::Duration,
};

/// What is read of an answer, which says nothing but its status.
const ANSWER: usize = 64 << 10;
/// What the machinery around a call may take beyond the call's own timeout.
const SLACK: Duration = Duration::from_secs(2);

/// Where batches are sent, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Target {
    pub(in super::super) url: Uri,
    /// Marked as sensitive: they do not show.
    pub(in super::super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(in super::super) timeout: Duration,
    pub(in super::super) ca: Option<PathBuf>,
}

impl Hash for Target {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.url.hash(state);
    }
}

/// A client of the collector.
pub(super) struct HttpOut {
    target: Target,
    host: Arc<dyn Host>,
    client: Arc<dyn HttpClient>,
}

impl HttpOut {
    pub(super) fn open(target: &Target, host: &Arc<dyn Host>) -> io::Result<Self> {
        let settings = HttpSettings {
            timeout: target.timeout,
            max_bytes: ANSWER,
            ca: target.ca.clone(),
            identity: None,
        };
        let client = host.http(&settings).map_err(io::Error::other)?;
        Ok(HttpOut { target: target.clone(), host: host.clone(), client })
    }

    fn request(&self, lines: &[u8]) -> io::Result<Request<Bytes>> {
        let mut request = Request::builder().method(Method::POST).uri(self.target.url.clone());
        request = request.header(CONTENT_TYPE, "application/x-ndjson");
        for (name, value) in &self.target.headers {
            request = request.header(name, value);
        }
        request.body(Bytes::copy_from_slice(lines)).map_err(io::Error::other)
    }
}

impl Out for HttpOut {
    /// All of it or nothing. A batch whose answer was lost is sent again: the collector may see it twice.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let call = self.client.send(self.request(lines)?);
        let (done, answer) = mpsc::channel();
        let work = Box::pin(async move {
            // Nobody waits for it where that took too long.
            let _ = done.send(call.await);
        });
        let _task = self.host.spawn("audit", work);
        let answer = answer.recv_timeout(self.target.timeout + SLACK).map_err(|_| io::ErrorKind::TimedOut)?;
        let status = answer.map_err(io::Error::other)?.status();
        if status.is_success() {
            Ok(lines.len())
        } else {
            Err(io::Error::other(format!("the collector answered {status}")))
        }
    }
}
