//! The request's body: read whole and judged before the origin sees a byte, or streamed past.

use super::{
    admit::{apart, too_large},
    ctx::{Ctx, Flight, RequestBody},
};
use crate::{
    budget::{Budget, Collector, Share},
    chain::Stop,
    edge::{self, Ahead},
};
use bytes::Bytes;
use http::{StatusCode, header};
use palisade_contract::{Body, BodyNeed, Denial, Fault};
use pingora::{
    Error,
    ErrorType::{ConnectionClosed, HTTPStatus},
    Result,
    proxy::Session,
};
use std::{sync::Arc, time::Duration};

/// What is held of a request's body: as the guard keeps it for Pingora, and decoded; or decoded, and on its way.
const COPIES: usize = 2;

impl Flight {
    /// True where a plugin wants the whole body, which may then be no longer than that plugin can hold.
    pub(super) fn wants_whole_body(&mut self) -> bool {
        let BodyNeed::Whole { max } = self.chain.request_body_need() else { return false };
        self.body_limit = self.body_limit.min(u64::try_from(max).unwrap_or(u64::MAX));
        true
    }

    /// The whole body through the chain. What takes its place is held beside what is still read of the client's.
    pub(super) async fn judge_whole(
        &mut self,
        session: &mut Session,
        body: &mut Body,
        budget: &Arc<Budget>,
        most: u64,
    ) -> Option<Stop> {
        self.swap(session);
        let stop = self.chain.request_body(&mut self.ex, &mut self.run, body).await;
        self.swap(session);
        if stop.is_some() || !body.is_replaced() {
            return stop;
        }
        let share = self.share.get_or_insert_with(|| budget.share(most));
        let held = share.resize(share.bytes().saturating_add(body.bytes().len()));
        (!held).then(no_room)
    }
}

impl Ctx {
    /// Where a plugin wants the whole body: reads it and lets the chain judge it.
    pub(super) async fn judge_request_body(
        &mut self,
        session: &mut Session,
        budget: &Arc<Budget>,
    ) -> Result<Option<Stop>> {
        let Some(flight) = &mut self.flight else { return Ok(None) };
        if !flight.wants_whole_body() {
            return Ok(None);
        }
        let bytes = if self.tunnel || session.is_body_empty() {
            Bytes::new()
        } else {
            match apart(read_whole(session, self, budget)).await? {
                Ok(bytes) => bytes,
                Err(stop) => return Ok(Some(stop)),
            }
        };
        let most = self.snapshot.limits.buffered_bytes;
        let Some(flight) = &mut self.flight else { return Ok(None) };
        self.request_bytes = bytes.len() as u64;
        let mut body = Body::new(bytes, true);
        if let Some(stop) = flight.judge_whole(session, &mut body, budget, most).await {
            return Ok(Some(stop));
        }
        let replaced = body.is_replaced();
        let bytes = body.into_bytes();
        if self.tunnel && !bytes.is_empty() {
            // A request with a body is no upgrade (RFC 9110 §7.8 lets it be one; no origin reads it alike).
            return Ok(Some(Stop::Faulted(Fault::internal("upgrade_body"))));
        }
        self.body = if replaced { RequestBody::Replaced(bytes) } else { RequestBody::Judged(bytes) };
        Ok(None)
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
        let length = piece.bytes().len();
        flight.swap(session);
        let mut stop = flight.chain.request_body(&mut flight.ex, &mut flight.run, &mut piece).await;
        flight.swap(session);
        if piece.bytes().len() != length && !flight.chain.reframes_request() {
            // Who said that no piece changes has changed one: the origin has been told the length of another body.
            stop = stop.or_else(|| Some(Stop::Faulted(Fault::internal("request_body_changed"))));
        }
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
    let mut content =
        Collector::new(budget.share(most), usize::try_from(limit).unwrap_or(usize::MAX), COPIES);
    let declared = session
        .req_header()
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // What cannot be held need not be sent.
    if let Some(Err(why)) = declared.map(|length| content.expect(length)) {
        return Ok(Err(refused(why.into(), limit).unwrap_or_else(no_room)));
    }
    if session.req_header_mut().remove_header(&header::EXPECT).is_some() {
        match &flight.guard {
            Some(guard) => guard.continue_100().await,
            None => edge::stream::go_on(),
        }
    }
    let read = match &flight.guard {
        Some(guard) => {
            let read = guard.read_ahead(content).await;
            if read.is_ok() {
                // All of it is here: an early answer need not close the connection.
                session.set_close_on_response_before_downstream_finish(false);
            }
            read
        }
        None => read_stream(session, content, timeout).await,
    };
    match read {
        Ok((bytes, share)) => {
            flight.share = Some(share);
            Ok(Ok(bytes))
        }
        Err(why) => match refused(why, limit) {
            Some(stop) => Ok(Err(stop)),
            None => {
                Err(Error::explain(ConnectionClosed, "the client left in the middle of its body").into_down())
            }
        },
    }
}

/// 503: bodies take all the memory that they may.
pub(super) fn no_room() -> Stop {
    Stop::Faulted(Fault::unavailable("buffers_full"))
}

/// What a body that could not be read ahead means; nothing where the client left.
fn refused(why: Ahead, limit: u64) -> Option<Stop> {
    let denial = match why {
        Ahead::TooLarge => too_large(limit),
        Ahead::Malformed(reason) => Denial::bad_request(reason),
        Ahead::Timeout => Denial::new(StatusCode::REQUEST_TIMEOUT, "body_timeout"),
        Ahead::Full => return Some(no_room()),
        Ahead::Closed => return None,
    };
    Some(Stop::Denied(denial))
}

/// The whole body of an HTTP/2 stream.
async fn read_stream(
    session: &mut Session,
    mut content: Collector,
    timeout: Duration,
) -> std::result::Result<(Bytes, Share), Ahead> {
    // Its beginning may have been waited for, and lie there.
    if session.as_ref().body_bytes_read() > 0
        && let Some(first) = session.as_ref().get_retry_buffer()
    {
        content.push(&first)?;
    }
    let read = async {
        loop {
            match session.read_request_body().await {
                Ok(Some(piece)) => content.push(&piece)?,
                Ok(None) => return Ok(()),
                Err(_) => return Err(Ahead::Closed),
            }
        }
    };
    tokio::time::timeout(edge::stream::body_time(timeout), read).await.unwrap_or(Err(Ahead::Timeout))?;
    Ok(content.finish())
}
