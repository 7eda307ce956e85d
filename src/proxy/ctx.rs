//! What is carried through one request's phases.

use super::{
    plan::{Plan, Report},
    replayed::{Handback, Handover},
};
use crate::{
    budget::Share,
    chain::{Chain, Run, Stop},
    edge::{self, ConnInfo, upgrade::Gate},
    gateway::{RouteRuntime, Snapshot},
};
use bytes::Bytes;
use http::HeaderValue;
use palisade_contract::{Exchange, RequestHeader};
use parking_lot::Mutex;
use pingora::proxy::Session;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// What is carried through one request's phases.
pub struct Ctx {
    pub(super) snapshot: Arc<Snapshot>,
    /// Absent before `request_filter`, and in a subrequest.
    pub(super) flight: Option<Box<Flight>>,
    pub(super) plan: Option<Plan>,
    /// What came of the attempts of a subrequest to reach an origin.
    pub(super) report: Option<Arc<Mutex<Report>>>,
    /// Holds back an origin's answer to an upgrade until the request is sent to its end.
    pub(super) gate: Option<Arc<Gate>>,
    /// In a subrequest: where its parent waits for what it took over.
    pub(super) back: Option<oneshot::Sender<Handback>>,
    /// Why the request stopped after `request_filter`: the answer is made in `fail_to_proxy`.
    pub(super) stop: Option<Stop>,
    /// True in a subrequest: its client is this gateway.
    pub(super) child: bool,
    /// The request asks to leave HTTP (RFC 6455).
    pub(super) tunnel: bool,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// What is left of a response's body where trailers end it.
    pub(super) last_piece: Option<Bytes>,
    /// The status that was sent to the client.
    pub(super) status: u16,
    /// A stable reason code where the gateway made the answer or the transfer broke.
    pub(super) reason: Option<&'static str>,
    pub(super) body: RequestBody,
    /// When an exchange must be over that no guard keeps the time of.
    pub(super) exchange_end: Option<Instant>,
    /// How long such an exchange may take, once the request has ended.
    pub(super) exchange_total: Option<Duration>,
    /// How long the head of an answer may take once the body has come, where Pingora's own clock does not say.
    pub(super) answer_time: Option<Duration>,
    /// True while the body of an HTTP/2 request has not ended, and its time runs.
    pub(super) unfinished: bool,
    /// The head of an HTTP/2 request: should its time run out, there is no session any more to take it from.
    pub(super) kept: Option<Box<RequestHeader>>,
    /// True while the flight has the head, because Pingora connects to an origin and does not need it.
    pub(super) lent: bool,
    /// True where the client was found to have left, and nobody is there to be answered.
    pub(super) left: bool,
}

/// What becomes of the request's body after the chain has run.
#[derive(Default)]
pub(super) enum RequestBody {
    /// It streams past, counted; each piece goes through the chain where a plugin asks for that.
    #[default]
    Streamed,
    /// It was read and judged; what the client sent goes on.
    Judged(Bytes),
    /// It was read and judged, and something else takes its place.
    Replaced(Bytes),
}

/// A request that is being served.
pub(super) struct Flight {
    pub(super) ex: Exchange,
    pub(super) run: Run,
    pub(super) route: Arc<RouteRuntime>,
    pub(super) chain: Arc<Chain>,
    /// The connection it came in on.
    pub(super) connection: Arc<ConnInfo>,
    /// The host that it is for; empty where there is none.
    pub(super) host: HeaderValue,
    /// The stream of an HTTP/1 connection.
    pub(super) guard: Option<edge::Guard>,
    /// What the body may be.
    pub(super) body_limit: u64,
    /// What this request holds of the budget.
    pub(super) share: Option<Share>,
    /// It is counted for its client as long as it is in flight.
    pub(super) _counted: Option<edge::InFlight>,
}

impl Ctx {
    /// A context for a request that has just begun.
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        Ctx {
            snapshot,
            flight: None,
            plan: None,
            report: None,
            gate: None,
            back: None,
            stop: None,
            child: false,
            tunnel: false,
            request_bytes: 0,
            response_bytes: 0,
            last_piece: None,
            status: 0,
            reason: None,
            body: RequestBody::Streamed,
            exchange_end: None,
            exchange_total: None,
            answer_time: None,
            unfinished: false,
            kept: None,
            lent: false,
            left: false,
        }
    }

    /// In a subrequest: takes over what the parent hands over, and says so.
    pub(super) fn take_over(&mut self, session: &mut Session) -> bool {
        let Some(parent) = session.subrequest_ctx.as_mut() else { return false };
        self.child = true;
        let handed = parent
            .user_ctx_mut()
            .and_then(|any| any.downcast_mut::<Option<Handover>>())
            .and_then(Option::take);
        if let Some(handover) = handed {
            // What Pingora made of the client's bytes is not what was judged.
            *session.req_header_mut() = handover.head;
            self.plan = Some(handover.plan);
            self.flight = handover.flight;
            self.back = Some(handover.back);
        }
        true
    }

    /// Pingora is about to connect: it asks nothing until it has, and a request that ends meanwhile is recorded
    /// without it.
    pub(super) fn begin_connecting(&mut self, session: &mut Session) {
        if self.child {
            return;
        }
        if let Some(flight) = &mut self.flight {
            flight.swap(session);
            self.lent = true;
            flight.set_connecting(true);
        }
    }

    /// It has connected, or failed.
    pub(super) fn end_connecting(&mut self, session: &mut Session) {
        if !std::mem::take(&mut self.lent) {
            return;
        }
        if let Some(flight) = &mut self.flight {
            flight.set_connecting(false);
            flight.swap(session);
        }
    }

    /// In a subrequest: gives back what was taken over.
    pub(super) fn give_back(&mut self) {
        if let Some(back) = self.back.take() {
            let handback = Handback {
                flight: self.flight.take(),
                plan: self.plan.take(),
                stop: self.stop.take(),
                status: self.status,
                response_bytes: self.response_bytes,
                reason: self.reason,
            };
            // A parent that is gone has no client left to answer.
            let _ = back.send(handback);
        }
    }
}

impl Drop for Ctx {
    fn drop(&mut self) {
        if let Some(cut) = edge::stream::cut() {
            self.record_cut(cut);
        }
    }
}

impl Flight {
    /// Lends the request's head to the exchange for as long as `work` runs: Pingora keeps it otherwise, and a
    /// copy would cost an allocation for each header.
    pub(super) fn lend<T>(&mut self, session: &mut Session, work: impl FnOnce(&mut Flight) -> T) -> T {
        self.swap(session);
        let result = work(self);
        self.swap(session);
        result
    }

    fn set_connecting(&self, connecting: bool) {
        match &self.guard {
            Some(guard) => guard.set_connecting(connecting),
            None => edge::stream::set_connecting(connecting),
        }
    }

    /// The request is over.
    pub(super) fn log(&mut self) {
        self.chain.log(&mut self.ex, &mut self.run);
    }

    /// Exchanges the head between Pingora and the exchange. Calls come in pairs.
    pub(super) fn swap(&mut self, session: &mut Session) {
        std::mem::swap(session.req_header_mut(), &mut self.ex.request);
    }
}
