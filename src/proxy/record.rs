//! One record for each request, whatever happened to it.

use super::{
    Proxy,
    ctx::{Ctx, Flight},
    exchange::OVER,
};
use crate::{
    chain::Run,
    edge::{ConnInfo, Refusal, stream::Cut},
    gateway::Snapshot,
    server::request_id,
};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use palisade_contract::{Decision, Effect, Exchange, Outcome, RequestHeader};
use pingora::{Error, proxy::Session};

/// Nobody was there to be answered.
const CLIENT_CLOSED: u16 = 499;

impl Proxy {
    /// The request is over.
    pub(super) fn record(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        if ctx.child {
            return ctx.give_back();
        }
        let Some(mut flight) = ctx.flight.take() else { return };
        ctx.request_bytes = ctx.request_bytes.max(session.body_bytes_read() as u64);
        ctx.conclude(&mut flight, CLIENT_CLOSED, error);
        flight.lend(session, Flight::log);
    }
}

impl Ctx {
    /// The request was dropped in the middle: nobody is left to be answered.
    pub(super) fn record_cut(&mut self, cut: Cut) {
        let Some(mut flight) = self.flight.take() else { return };
        if !self.lent
            && let Some(head) = self.kept.take()
        {
            flight.ex.request = *head;
        }
        let (status, reason) = match cut {
            Cut::Body => (StatusCode::REQUEST_TIMEOUT.as_u16(), "body_timeout"),
            Cut::Exchange => (StatusCode::GATEWAY_TIMEOUT.as_u16(), OVER),
            Cut::Gone => (CLIENT_CLOSED, "client_closed"),
        };
        if cut == Cut::Exchange {
            self.took_too_long();
        }
        self.reason.get_or_insert(reason);
        self.conclude(&mut flight, status, None);
        flight.log();
    }

    /// Puts the outcome into the exchange and the counters. `unanswered`: the status where none was sent.
    fn conclude(&self, flight: &mut Flight, unanswered: u16, error: Option<&Error>) {
        let mut outcome = Outcome {
            status: if self.status == 0 { unanswered } else { self.status },
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            duration: flight.ex.begun().elapsed(),
            reason: self.reason,
            error: error.map(ToString::to_string),
            ..Outcome::default()
        };
        let report = self.plan.as_ref().map(|plan| plan.report);
        if let Some(report) = report.or_else(|| Some(*self.report.as_ref()?.lock())) {
            outcome.upstream_address = report.address;
            outcome.attempts = report.attempts;
            outcome.upstream_time =
                report.sent.zip(report.head).map(|(sent, head)| head.saturating_duration_since(sent));
        }
        let upstream = flight.ex.upstream().cloned();
        if let (Some(upstream), Some(retries @ 1..)) = (&upstream, outcome.attempts.checked_sub(1)) {
            flight.route.metrics.retried(upstream, retries);
        }
        let time = outcome.upstream_time;
        flight.route.metrics.finished(
            outcome.status,
            outcome.duration,
            upstream.as_ref().map(|name| (name, time)),
        );
        flight.ex.host_side().outcome = outcome;
    }
}

/// The record of what the edge refused before Pingora saw it: what can be made out of the request, the reason,
/// and the everywhere-entries of Observe.
pub(crate) fn record_refused(snapshot: &Snapshot, connection: &ConnInfo, refusal: Refusal, head: &[u8]) {
    let Some(request) = readable(head) else { return };
    let mut ex = Exchange::new(request, connection.client.clone(), request_id());
    let decision =
        Decision { entry: None, effect: Effect::Deny, reason: Some(refusal.reason), detail: None, nanos: 0 };
    let outcome = Outcome {
        status: refusal.status,
        reason: Some(refusal.reason),
        duration: ex.begun().elapsed(),
        ..Outcome::default()
    };
    let host = ex.host_side();
    host.decisions.push(decision);
    host.outcome = outcome;
    snapshot.none.metrics.finished(refusal.status, ex.outcome().duration, None);
    let mut run = Run::new(ex.begun());
    snapshot.none.chain.log(&mut ex, &mut run);
}

/// As much of a refused head as can be shown: method, path and well-formed fields; the rest stays out.
fn readable(head: &[u8]) -> Option<RequestHeader> {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut parts = lines.next()?.split(|byte| *byte == b' ');
    let method = parts.next().and_then(|method| Method::from_bytes(method).ok()).unwrap_or(Method::GET);
    let target = parts.next().unwrap_or(b"/").split(|byte| *byte == b'?').next().unwrap_or(b"/");
    let mut request = RequestHeader::build(method.clone(), target, None)
        .or_else(|_| RequestHeader::build(method, b"/", None))
        .ok()?;
    for line in lines.take_while(|line| !line.is_empty()).take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            request.append_header(name, value).ok()?;
        }
    }
    Some(request)
}
