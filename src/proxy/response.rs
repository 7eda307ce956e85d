//! Response hooks on what the origin answered.

use super::ctx::{Ctx, Flight};
use crate::chain::Stop;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use palisade_contract::{Body, BodyNeed, Fault, ResponseHeader};
use pingora::{Error, ErrorType::InternalError, Result, proxy::Session};
use std::{fmt::Write, time::Instant};

impl Ctx {
    /// The head of the origin's answer.
    pub(super) async fn on_response_head(
        &mut self,
        session: &mut Session,
        head: &mut ResponseHeader,
    ) -> Result<()> {
        if let Some(plan) = &mut self.plan {
            plan.note(|report| _ = report.head.get_or_insert_with(Instant::now));
        }
        // Interim responses (RFC 9110 §15.2) are not the answer; a 101 is.
        if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(());
        }
        self.check_exchange()?;
        self.leave_origin();
        self.free_stream(head);
        let Some(flight) = &mut self.flight else { return Ok(()) };
        let mut stop = flight.unreadable(head, self.tunnel);
        if stop.is_none() && flight.chain.has_response_hooks() {
            flight.swap(session);
            stop = flight.chain.response(&mut flight.ex, &mut flight.run, head, false).await;
            flight.swap(session);
        }
        if let Some(stop) = stop {
            return self.refuse(stop);
        }
        flight.reframe(head, &session.req_header().method, session.req_header().version)?;
        if !self.child && session.req_header().version == Version::HTTP_10 {
            // It knows no chunks (RFC 9112 §6.1): what has no length ends with the connection.
            if head.remove_header(&header::TRANSFER_ENCODING).is_some() {
                session.set_keepalive(None);
            }
        }
        explain(flight, head)?;
        self.status = head.status.as_u16();
        Ok(())
    }

    /// A piece of the body of the origin's answer.
    pub(super) fn on_response_body(
        &mut self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
    ) -> Result<()> {
        self.check_exchange()?;
        let Some(flight) = &mut self.flight else { return Ok(()) };
        if flight.chain.response_body_need() == BodyNeed::Stream && !session.was_upgraded() {
            let mut piece = Body::new(body.take().unwrap_or_default(), end);
            let stop = flight.lend(session, |flight| {
                flight.chain.response_body(&mut flight.ex, &mut flight.run, &mut piece)
            });
            if let Some(stop) = stop {
                self.stop = Some(stop);
                return Error::e_explain(InternalError, "a plugin refused a piece of the response");
            }
            *body = Some(piece.into_bytes());
        }
        self.response_bytes += body.as_ref().map_or(0, |bytes| bytes.len() as u64);
        Ok(())
    }

    /// Trailers end the body of the origin's answer: a plugin that reads it is told, and what it still has comes in their
    /// place. They were made for other bytes, and nobody has looked at them.
    pub(super) fn on_response_trailers(&mut self, session: &mut Session) -> Result<()> {
        if self.flight.as_ref().is_some_and(|flight| flight.chain.response_body_need() == BodyNeed::Stream) {
            let mut last = None;
            self.on_response_body(session, &mut last, true)?;
            self.last_piece = Some(last.unwrap_or_default());
        }
        Ok(())
    }
}

impl Flight {
    /// Why nothing of an answer can be judged by plugins that want its body.
    pub(super) fn unreadable(&self, head: &ResponseHeader, tunnel: bool) -> Option<Stop> {
        let need = self.chain.response_body_need();
        if tunnel && head.status != StatusCode::SWITCHING_PROTOCOLS && matches!(need, BodyNeed::Whole { .. })
        {
            // It went out as a tunnel, of which there is no whole; what came instead would pass unseen.
            return Some(Stop::Faulted(Fault::bad_dependency("upstream_upgrade_refused")));
        }
        let encoded = |coding: &HeaderValue| coding != "identity";
        if need == BodyNeed::Stream && head.headers.get(header::CONTENT_ENCODING).is_some_and(encoded) {
            // The origin was asked not to encode; what cannot be read cannot be judged.
            return Some(Stop::Faulted(Fault::bad_dependency("upstream_encoding")));
        }
        None
    }

    /// Where plugins see pieces of the body: one may be replaced by another of another length.
    pub(super) fn reframe(
        &self,
        head: &mut ResponseHeader,
        method: &http::Method,
        version: Version,
    ) -> Result<()> {
        if self.chain.response_body_need() == BodyNeed::Stream
            && head.status != StatusCode::SWITCHING_PROTOCOLS
        {
            head.remove_header(&header::CONTENT_LENGTH);
            head.remove_header(&header::TRAILER);
            let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
                || *method == http::Method::HEAD;
            if version == Version::HTTP_11 && !bodiless {
                head.insert_header(header::TRANSFER_ENCODING, "chunked")?;
            }
        }
        Ok(())
    }
}

/// Writes the decision record into the response, for clients that the route lets see it.
pub(super) fn explain(flight: &Flight, head: &mut ResponseHeader) -> Result<()> {
    let Some(explain) = &flight.route.explain else { return Ok(()) };
    let ip = flight.ex.client().ip;
    if !explain.allow.iter().any(|net| net.contains(&ip)) {
        return Ok(());
    }
    let mut text = format!("route={}", flight.route.name);
    for decision in flight.ex.decisions() {
        let key = decision.entry.as_ref().map_or("palisade", |entry| &*entry.key);
        // Writing to a string does not fail.
        let _ = write!(text, "; {key}={}", decision.effect);
        if let Some(reason) = decision.reason {
            let _ = write!(text, " {reason}");
        }
        if let Some(entry) = &decision.entry {
            let _ = write!(text, " {}", entry.place);
        }
        let _ = write!(text, " {}us", decision.nanos / 1000);
    }
    if let Ok(value) = HeaderValue::from_str(&text) {
        head.insert_header(explain.header.clone(), value)?;
    }
    Ok(())
}
