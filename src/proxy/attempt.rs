//! One attempt to reach an origin: the target, what came of it, and whether there is another.

use super::{
    ctx::{Ctx, RequestBody},
    plan::Plan,
};
use crate::{
    chain::Stop,
    edge::{self, upgrade::Gate},
    upstream::{Failure, Pick, speaks_http2},
};
use futures::FutureExt;
use http::{StatusCode, header};
use palisade_contract::{BodyNeed, Fault, ResponseHeader};
use pingora::{
    Error, ErrorSource,
    ErrorType::{ConnectionClosed, HTTPStatus, InternalError, InvalidHTTPHeader, ReadError, WriteError},
    Result, RetryType,
    prelude::HttpPeer,
    protocols::http::ServerSession,
    proxy::Session,
};
use std::time::Duration;

/// What the attempts so far mean for the next one.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// An idle connection of the pool was dead: the next attempt makes a new one.
    stale: bool,
    /// The answer was thrown away, to be asked for again.
    discarded: bool,
    /// Interim answers of this attempt.
    interim: u32,
}

/// Interim answers (RFC 9110 §15.2) to one request. An origin that goes on with them keeps a client waiting for ever:
/// what is sent extends the time of an exchange.
const MAX_INTERIM: u32 = 32;

impl Ctx {
    /// Chooses a target, for the first attempt or another.
    pub(super) fn next_peer(&mut self, session: &mut Session) -> Result<Box<HttpPeer>> {
        let Some(plan) = &mut self.plan else {
            return Error::e_explain(InternalError, "no plan for the origin");
        };
        let Some(mut pick) = plan.pick() else {
            self.stop = Some(Stop::Faulted(Fault::unavailable("no_healthy_target")));
            return Error::e_because(HTTPStatus(503), "no target is available", "upstream has no target");
        };
        if speaks_http2(&pick.peer) && !self.child && !plan.upstream.streams && !session.is_body_done() {
            self.answer_time = self.wait_for_body(session, &mut pick);
        }
        let Some(plan) = &mut self.plan else {
            return Error::e_explain(InternalError, "no plan for the origin");
        };
        let Pick { mut peer, lease, .. } = pick;
        if plan.attempts.stale {
            crate::upstream::use_once(&mut peer);
        }
        plan.attempts.interim = 0;
        plan.lease = Some(lease);
        let total = plan.upstream.timeouts.total;
        plan.note(|report| {
            report.attempts += 1;
            report.address = peer._address.as_inet().copied();
            report.sent = None;
        });
        let first = plan.report.attempts == 1;
        if first {
            self.begin_exchange(total);
        } else {
            self.shorten_connect(&mut peer, total);
            if matches!(self.body, RequestBody::Streamed) {
                // What was read of the body goes by once more.
                self.request_bytes = 0;
            }
        }
        self.gate = self.tunnel.then(|| Gate::prepare(&mut peer));
        self.begin_connecting(session);
        Ok(peer)
    }

    /// The body is still on its way, and Pingora's clock for an answer over HTTP/2 runs from the head of the request on:
    /// it must not end before the body does. What is late is ours to say meanwhile, which takes a connection that nobody
    /// else is on where the client speaks HTTP/2 too. What comes back is how long an answer may take from the end of the
    /// body on.
    #[cold]
    fn wait_for_body(&self, session: &Session, pick: &mut Pick) -> Option<Duration> {
        let (Some(plan), Some(flight)) = (&self.plan, &self.flight) else { return None };
        if self.unfinished {
            pick.set_apart(&plan.upstream);
            // What the origin says of it is not to be had over HTTP/2.
            self.go_on(session);
        }
        let time = flight.route.limits.body_timeout.unwrap_or(self.snapshot.limits.body_timeout);
        let read = &mut pick.peer.options.read_timeout;
        *read = read.map(|read| read.saturating_add(time));
        Some(plan.upstream.timeouts.read)
    }

    /// No connection could be made: nothing of the request was sent.
    pub(super) fn connect_failed(&mut self, session: &mut Session, mut error: Box<Error>) -> Box<Error> {
        self.end_connecting(session);
        if let Some(plan) = &self.plan {
            plan.failed(Failure::Connect);
        }
        // A stream that was reset meanwhile is seen only now: nobody waits for an answer.
        if let ServerSession::H2(stream) = session.as_downstream_mut()
            && let Some(Ok(_)) = stream.idle().now_or_never()
        {
            self.left = true;
        }
        error.set_retry(!self.left && self.may_try_again(Failure::Connect));
        error
    }

    /// The exchange broke.
    pub(super) fn broke(&mut self, session: &Session, mut error: Box<Error>, reused: bool) -> Box<Error> {
        self.leave_origin();
        let stale = reused && matches!(error.retry, RetryType::ReusedOnly);
        error.set_retry(false);
        if self.stop.is_some() || edge::stream::late().is_some() {
            // It was ended here, and is over.
            return error;
        }
        let safe = self.is_safe_to_repeat(session);
        let Some(plan) = &mut self.plan else { return error };
        if std::mem::take(&mut plan.attempts.discarded) {
            error.set_retry(true);
        } else if *error.esource() == ErrorSource::Upstream {
            if stale && !plan.attempts.stale {
                // An origin may close a connection that waits. That is no failure of the target, and the request was
                // not read; but whether it was cannot be known, and what is not safe is not sent twice.
                plan.attempts.stale = true;
                error.set_retry(safe);
            } else {
                let asks = session.req_header().method.is_safe()
                    && matches!(error.etype(), ConnectionClosed | ReadError | WriteError);
                let failure = Failure::Reset { asks };
                plan.failed(failure);
                error.set_retry(safe && self.may_try_again(failure));
            }
        }
        error
    }

    /// The head of an answer has come: it counts for its target, and may be thrown away for another attempt.
    pub(super) fn answered(&mut self, session: &Session, head: &ResponseHeader) -> Result<()> {
        let Some(plan) = &mut self.plan else { return Ok(()) };
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.switched(head);
        }
        if head.status.is_informational() {
            plan.attempts.interim += 1;
            if plan.attempts.interim > MAX_INTERIM {
                return Err(Error::explain(InvalidHTTPHeader, "too many interim answers").into_up());
            }
            if head.status == StatusCode::CONTINUE {
                self.go_on(session);
            }
            return Ok(());
        }
        if !head.status.is_server_error() {
            self.succeeded();
            return Ok(());
        }
        plan.failed(Failure::Status(head.status));
        if !self.is_safe_to_repeat(session) || !self.may_try_again(Failure::Status(head.status)) {
            return Ok(());
        }
        if let Some(plan) = &mut self.plan {
            plan.attempts.discarded = true;
        }
        let mut error = Error::explain(HTTPStatus(head.status.as_u16()), "asked again").into_up();
        error.set_retry(true);
        Err(error)
    }

    /// A client that waits for it is told to go on, where Pingora does not pass that on.
    fn go_on(&self, session: &Session) {
        if self.unfinished && !self.child && session.req_header().headers.contains_key(header::EXPECT) {
            edge::stream::go_on();
        }
    }

    /// The origin leaves HTTP. What it does so for must have been asked for: otherwise what follows would be read as
    /// one thing here and as another by the client.
    #[cold]
    fn switched(&mut self, head: &ResponseHeader) -> Result<()> {
        let mut protocols = head.headers.get_all(header::UPGRADE).iter();
        let websocket =
            protocols.next().is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(b"websocket"));
        if self.tunnel && websocket && protocols.next().is_none() {
            self.succeeded();
            return Ok(());
        }
        if let Some(plan) = &self.plan {
            plan.failed(Failure::Status(head.status));
        }
        self.refuse(Stop::Faulted(Fault::bad_dependency("upstream_unrequested_upgrade")))
    }

    fn succeeded(&self) {
        if let Some(plan) = &self.plan {
            plan.succeeded();
        }
    }

    /// The exchange took too long altogether. It counts for its target unless that had answered: how long a body
    /// takes is up to the client as well, who must not be able to have an origin put aside.
    pub(super) fn took_too_long(&self) {
        if let Some(plan) = &self.plan
            && self.status == 0
        {
            plan.failed(Failure::Reset { asks: false });
        }
    }

    /// Another attempt to connect may not outlast the whole.
    fn shorten_connect(&self, peer: &mut HttpPeer, total: Duration) {
        let Some(flight) = &self.flight else { return };
        let left = total.saturating_sub(flight.ex.begun().elapsed());
        let options = &mut peer.options;
        for time in [&mut options.connection_timeout, &mut options.total_connection_timeout] {
            *time = Some(time.unwrap_or(left).min(left));
        }
    }

    /// True where repeating the request, of which something was sent, changes nothing, and nobody notices.
    fn is_safe_to_repeat(&self, session: &Session) -> bool {
        // A plugin that follows the body piece by piece would see its beginning twice.
        let followed = matches!(self.body, RequestBody::Streamed)
            && self.request_bytes > 0
            && self
                .flight
                .as_ref()
                .is_some_and(|flight| flight.chain.request_body_need() == BodyNeed::Stream);
        session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated()
            && session.response_written().is_none()
            && !followed
    }

    /// True where there is an attempt left, in number, time and budget. Takes it out of the budget.
    fn may_try_again(&self, failure: Failure) -> bool {
        let Some(plan) = &self.plan else { return false };
        let attempts = plan.report.attempts;
        let late = self
            .flight
            .as_ref()
            .is_some_and(|flight| flight.ex.begun().elapsed() >= plan.upstream.timeouts.total);
        !late && plan.upstream.retries().covers(failure, attempts) && plan.upstream.take_retry()
    }
}

impl Plan {
    /// A target, other than the last ones where there is another.
    fn pick(&mut self) -> Option<Pick> {
        if let Some(lease) = self.lease.take()
            && !self.attempts.stale
        {
            self.tried.push(lease.target().address);
        }
        self.upstream.pick(&self.key, &self.tried)
    }

    fn failed(&self, failure: Failure) {
        if let Some(lease) = &self.lease {
            self.upstream.failed(lease.target(), failure);
        }
    }

    fn succeeded(&self) {
        if let Some(lease) = &self.lease {
            lease.target().succeeded();
        }
    }
}
