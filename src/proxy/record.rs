//! One record for each request, whatever happened to it.

use super::{
    Proxy,
    ctx::{Ctx, Flight},
    exchange::OVER,
};
use crate::edge::stream::Cut;
use http::StatusCode;
use palisade_contract::Outcome;
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
    pub(super) fn conclude(&self, flight: &mut Flight, unanswered: u16, error: Option<&Error>) {
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
