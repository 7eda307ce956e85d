//! The request's body: read whole and judged before the origin sees a byte, or streamed past.

use super::{
    admit::{apart, too_large},
    buffered,
    ctx::{Ctx, RequestBody},
};
use crate::{
    chain::Stop,
    edge::{self, budget::Budget},
};
use bytes::{Bytes, BytesMut};
use http::{StatusCode, header};
use palisade_contract::{Body, BodyNeed, Denial, Fault};
use pingora::{
    Error,
    ErrorType::{ConnectionClosed, HTTPStatus},
    Result,
    proxy::Session,
};
use std::{sync::Arc, time::Duration};

impl Ctx {
    /// Where a plugin wants the whole body: reads it and lets the chain judge it.
    pub(super) async fn judge_request_body(
        &mut self,
        session: &mut Session,
        budget: &Arc<Budget>,
    ) -> Result<Option<Stop>> {
        let Some(flight) = &mut self.flight else { return Ok(None) };
        match flight.chain.request_body_need() {
            BodyNeed::Whole { max } if !self.tunnel => {
                flight.body_limit = flight.body_limit.min(u64::try_from(max).unwrap_or(u64::MAX));
            }
            _ => return Ok(None),
        }
        let bytes = if session.is_body_empty() {
            Bytes::new()
        } else {
            match apart(read_whole(session, self, budget)).await? {
                Ok(bytes) => bytes,
                Err(stop) => return Ok(Some(stop)),
            }
        };
        let Some(flight) = &mut self.flight else { return Ok(None) };
        self.request_bytes = bytes.len() as u64;
        let mut body = Body::new(bytes, true);
        flight.swap(session);
        let stop = flight.chain.request_body(&mut flight.ex, &mut flight.run, &mut body).await;
        flight.swap(session);
        let replaced = body.is_replaced();
        let bytes = body.into_bytes();
        self.body = if replaced { RequestBody::Replaced(bytes) } else { RequestBody::Judged(bytes) };
        Ok(stop)
    }

    /// A piece of the body on its way to the origin.
    pub(super) async fn pass_request_body(
        &mut self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
    ) -> Result<()> {
        if self.child || session.was_upgraded() {
            return Ok(());
        }
        if self.unfinished {
            match body {
                _ if end => edge::stream::end_body(),
                Some(bytes) => edge::stream::body_came(bytes.len()),
                None => {}
            }
        }
        if end {
            self.unfinished = false;
            self.request_ended();
        }
        match &self.body {
            RequestBody::Judged(_) => return Ok(()),
            RequestBody::Replaced(bytes) => {
                // Pieces of what the client sent are withheld (an empty piece; none would end the body).
                *body = Some(if end { bytes.clone() } else { Bytes::new() });
                return Ok(());
            }
            RequestBody::Streamed => {}
        }
        self.request_bytes += body.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let Some(flight) = &mut self.flight else { return Ok(()) };
        if self.request_bytes > flight.body_limit {
            let limit = flight.body_limit;
            return self.refuse(Stop::Denied(too_large(limit)));
        }
        if flight.chain.request_body_need() == BodyNeed::None {
            return Ok(());
        }
        let mut piece = Body::new(body.take().unwrap_or_default(), end);
        flight.swap(session);
        let stop = flight.chain.request_body(&mut flight.ex, &mut flight.run, &mut piece).await;
        flight.swap(session);
        *body = Some(piece.into_bytes());
        match stop {
            Some(stop) => self.refuse(stop),
            None => Ok(()),
        }
    }

    /// Stops the exchange after `request_filter`; the answer is made in `fail_to_proxy`.
    pub(super) fn refuse(&mut self, stop: Stop) -> Result<()> {
        self.stop = Some(stop);
        Error::e_explain(HTTPStatus(StatusCode::FORBIDDEN.as_u16()), "refused by a plugin")
    }
}

/// Reads the whole body, before anything is sent to an origin. The outer error: the client left.
pub(super) async fn read_whole(
    session: &mut Session,
    ctx: &mut Ctx,
    budget: &Arc<Budget>,
) -> Result<std::result::Result<Bytes, Stop>> {
    let most = ctx.snapshot.limits.buffered_bytes;
    let Some(flight) = &mut ctx.flight else { return Ok(Ok(Bytes::new())) };
    let timeout = flight.route.limits.body_timeout.unwrap_or(ctx.snapshot.limits.body_timeout);
    let limit = flight.body_limit;
    let declared = session
        .req_header()
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // What is held is counted twice: as it came, and decoded.
    let Some(share) = budget.take(declared.unwrap_or(limit).min(limit).saturating_mul(2), most) else {
        return Ok(Err(Stop::Faulted(Fault::unavailable("buffers_full"))));
    };
    flight.share = Some(share);
    if session.req_header_mut().remove_header(&header::EXPECT).is_some() {
        match &flight.guard {
            Some(guard) => guard.continue_100().await,
            None => session.write_continue_response().await?,
        }
    }
    let read = match &flight.guard {
        Some(guard) => match guard.read_ahead(limit).await {
            Ok(bytes) => {
                // All of it is here: an early answer need not close the connection.
                session.set_close_on_response_before_downstream_finish(false);
                Ok(bytes)
            }
            Err(why) => Err(buffered::refused(why, limit)),
        },
        None => read_stream(session, limit, timeout).await,
    };
    match read {
        Ok(bytes) => Ok(Ok(bytes)),
        Err(Some(denial)) => Ok(Err(Stop::Denied(denial))),
        Err(None) => {
            Err(Error::explain(ConnectionClosed, "the client left in the middle of its body").into_down())
        }
    }
}

/// The whole body of an HTTP/2 stream.
async fn read_stream(
    session: &mut Session,
    limit: u64,
    timeout: Duration,
) -> std::result::Result<Bytes, Option<Denial>> {
    let limit_bytes = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut content = BytesMut::new();
    let read = async {
        loop {
            match session.read_request_body().await {
                Ok(Some(piece)) => {
                    if content.len() + piece.len() > limit_bytes {
                        return Err(Some(too_large(limit)));
                    }
                    content.extend_from_slice(&piece);
                }
                Ok(None) => return Ok(()),
                Err(_) => return Err(None),
            }
        }
    };
    match tokio::time::timeout(timeout, read).await {
        Ok(Ok(())) => Ok(content.freeze()),
        Ok(Err(refused)) => Err(refused),
        Err(_) => Err(Some(Denial::new(StatusCode::REQUEST_TIMEOUT, "body_timeout"))),
    }
}
