//! The time that an exchange with an origin may take: `timeouts.total`.
//!
//! On an HTTP/1 connection the guard keeps it, because Pingora reads from the client all the while. On an HTTP/2
//! stream nothing of ours is asked while the origin is waited for: there a clock outside Pingora ends the request
//! ([`edge::stream`]). In a subrequest the parent waits for the head, and pieces are looked at as they come.

use super::ctx::Ctx;
use crate::{chain::Stop, edge};
use http::{HeaderMap, StatusCode, header};
use palisade_contract::{Fault, ResponseHeader};
use pingora::{Error, ErrorType::ReadTimedout, Result};
use std::time::{Duration, Instant};

/// The origin took longer than it may.
pub(super) const OVER: &str = "upstream_total_timeout";

/// What the clock outside leaves to those inside.
const GRACE: Duration = Duration::from_millis(500);

/// Media types of responses that last as long as there is something to tell.
const STREAMS: [&str; 4] =
    ["text/event-stream", "application/x-ndjson", "application/json-seq", "multipart/x-mixed-replace"];
/// gRPC, with whatever stands for its messages.
const GRPC: &str = "application/grpc";

impl Ctx {
    /// Begins the time of the exchange, with the first attempt.
    pub(super) fn begin_exchange(&mut self, total: Duration) {
        match self.flight.as_ref().and_then(|flight| flight.guard.as_ref()) {
            Some(guard) => guard.set_exchange_time(Some(self.until_head(total))),
            None if self.child => self.exchange_end = Instant::now().checked_add(total),
            None => self.exchange_total = Some(total),
        }
    }

    /// The request has been read to its end: from here on its origin has `timeouts.total`.
    pub(super) fn request_ended(&mut self) {
        if let Some(total) = self.exchange_total.take() {
            let now = Instant::now();
            self.exchange_end = now.checked_add(total);
            edge::stream::set_exchange_end(late(now.checked_add(self.until_head(total))));
        }
    }

    /// What of `total` may pass until the head of the answer is there.
    fn until_head(&self, total: Duration) -> Duration {
        self.answer_time.map_or(total, |time| time.min(total))
    }

    /// The connection to the origin may serve others from here on: it is not this request's to end any more.
    pub(super) fn leave_origin(&self) {
        if !self.child {
            edge::stream::set_origin(None);
        }
    }

    /// The head of a tunnel or of a stream came in time: what follows lasts as long as both sides like.
    pub(super) fn free_stream(&mut self, head: &ResponseHeader) {
        let answered = self.answer_time.take().is_some();
        if head.status != StatusCode::SWITCHING_PROTOCOLS && !is_stream(&head.headers) {
            if answered {
                self.begin_exchange_again();
            }
            return;
        }
        self.exchange_total = None;
        if self.exchange_end.take().is_some() && !self.child {
            edge::stream::set_exchange_end(None);
        }
        if let Some(guard) = self.flight.as_ref().and_then(|flight| flight.guard.as_ref()) {
            guard.set_exchange_time(None);
        }
    }

    /// The head has come: the rest of the answer has the whole time. Over HTTP/2 the next piece sees to it.
    #[cold]
    fn begin_exchange_again(&self) {
        if let (Some(plan), Some(flight)) = (&self.plan, &self.flight)
            && let Some(guard) = &flight.guard
        {
            guard.set_exchange_time(Some(plan.upstream.timeouts.total));
        }
    }

    /// True where the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.exchange_end.is_some_and(|end| Instant::now() >= end)
    }

    /// An error where the time is over, `sent` bytes of the response having gone to the client.
    pub(super) fn check_exchange(&mut self) -> Result<()> {
        let Some(end) = self.exchange_end else { return Ok(()) };
        let end = end.checked_add(edge::extension(self.response_bytes));
        if end.is_none_or(|end| Instant::now() < end) {
            if !self.child {
                edge::stream::set_exchange_end(late(end));
            }
            return Ok(());
        }
        self.took_too_long();
        self.stop = Some(Stop::Faulted(Fault::timeout(OVER)));
        Err(Error::explain(ReadTimedout, "the exchange took too long").into_up())
    }
}

/// When a clock outside is to end an exchange that must be over by `end`: only after Pingora's own, which sees that an
/// origin is silent and can still have that answered.
fn late(end: Option<Instant>) -> Option<Instant> {
    end?.checked_add(GRACE)
}

/// True where the body has no end by its nature.
fn is_stream(headers: &HeaderMap) -> bool {
    let Some(media) = headers.get(header::CONTENT_TYPE) else { return false };
    let media = media.as_bytes();
    let essence = media.split(|byte| *byte == b';').next().unwrap_or(media).trim_ascii();
    STREAMS.iter().any(|stream| essence.eq_ignore_ascii_case(stream.as_bytes()))
        || essence.get(..GRPC.len()).is_some_and(|start| {
            start.eq_ignore_ascii_case(GRPC.as_bytes())
                && matches!(essence.get(GRPC.len()), None | Some(b'+' | b'-'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn streams_are_known_by_their_media_type() {
        for (media, stream) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web+json;x=1", true),
            ("application/x-ndjson", true),
            ("application/json-seq", true),
            ("multipart/x-mixed-replace; boundary=text/html", true),
            ("application/grpcx", false),
            ("application/json", false),
            ("text/event-streams", false),
            ("text/html; text/event-stream", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
            assert_eq!(is_stream(&headers), stream, "{media}");
        }
        assert!(!is_stream(&HeaderMap::new()));
    }
}
