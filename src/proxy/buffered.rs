//! A response that a plugin wants to see whole: fetched by a subrequest, judged, and only then sent.

use super::{
    ctx::{Ctx, RequestBody},
    exchange,
    plan::Plan,
    replayed::{self, Prepared},
};
use crate::{
    chain::Stop,
    coding,
    edge::{Ahead, budget::Budget},
};
use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};
use palisade_contract::{Body, Denial, Fault, ResponseHeader};
use pingora::{
    Error,
    ErrorType::InternalError,
    Result,
    protocols::http::HttpTask,
    proxy::{Session, subrequest::pipe::pipe_subrequest},
};
use std::sync::Arc;

/// Fetches the response, lets the chain judge it, and answers the client.
pub(super) async fn exchange(
    session: &mut Session,
    ctx: &mut Ctx,
    mut plan: Plan,
    max: usize,
    budget: &Arc<Budget>,
) -> Result<()> {
    let body = match whole_request(session, ctx, &mut plan, budget).await? {
        Ok(body) => body,
        Err(stop) => return ctx.answer(session, &stop).await,
    };
    plan.hand_over(session, ctx)?;
    let outcome = fetch(session, plan, body, max).await;
    match outcome {
        Ok((head, body)) => deliver(session, ctx, head, body, max).await,
        Err(Fetch::TooLarge) => {
            ctx.answer(session, &Stop::Faulted(Fault::bad_dependency("response_too_large"))).await
        }
        Err(Fetch::Late) => ctx.answer(session, &Stop::Faulted(Fault::timeout(exchange::OVER))).await,
        Err(Fetch::Failed(error, stop)) => {
            ctx.stop = stop;
            let stop = ctx
                .stop
                .take()
                .or_else(|| ctx.stop_of(&error))
                .unwrap_or_else(|| Stop::Faulted(Fault::bad_dependency("upstream_broken")));
            ctx.answer(session, &stop).await
        }
    }
}

/// The request's body, which a subrequest needs whole as well.
async fn whole_request(
    session: &mut Session,
    ctx: &mut Ctx,
    plan: &mut Plan,
    budget: &Arc<Budget>,
) -> Result<Result<Bytes, Stop>> {
    match std::mem::take(&mut ctx.body) {
        RequestBody::Replaced(bytes) => return Ok(Ok(bytes)),
        RequestBody::Judged(bytes) => return Ok(Ok(bytes)),
        RequestBody::Streamed => {}
    }
    if session.is_body_empty() {
        return Ok(Ok(Bytes::new()));
    }
    match super::body::read_whole(session, ctx, budget).await? {
        Ok(bytes) => {
            ctx.request_bytes = bytes.len() as u64;
            plan.body_length = Some(bytes.len());
            Ok(Ok(bytes))
        }
        Err(stop) => Ok(Err(stop)),
    }
}

enum Fetch {
    Late,
    TooLarge,
    /// With what the subrequest itself has made of it.
    Failed(Box<Error>, Option<Stop>),
}

async fn fetch(
    session: &mut Session,
    plan: Plan,
    body: Bytes,
    max: usize,
) -> std::result::Result<(ResponseHeader, Bytes), Fetch> {
    let total = plan.upstream.timeouts.total;
    let Prepared { subrequest, handle, input, back } =
        replayed::prepare(session, plan, None, body).map_err(|error| Fetch::Failed(error, None))?;
    let mut collected = Collected { head: None, body: BytesMut::new(), too_large: false, failed: None };
    let collect = |task| {
        collected.add(task, max)?;
        // Nothing reaches the client before it is judged.
        Ok(None)
    };
    let pipe = pipe_subrequest(session, subrequest, handle, collect, input);
    // The whole response is waited for, so that no kind of it is a stream.
    let Ok(piped) = tokio::time::timeout(total, pipe).await else { return Err(Fetch::Late) };
    if collected.too_large {
        return Err(Fetch::TooLarge);
    }
    if let Some(error) = collected.failed.or(piped.err().map(|failed| failed.error)) {
        // It ends by itself, within the upstream's timeouts.
        let stop = back.await.ok().and_then(|returned| returned.stop);
        return Err(Fetch::Failed(error, stop));
    }
    match collected.head {
        Some(head) => Ok((*head, collected.body.freeze())),
        None => {
            Err(Fetch::Failed(Error::explain(InternalError, "the origin gave no answer").into_up(), None))
        }
    }
}

struct Collected {
    head: Option<Box<ResponseHeader>>,
    body: BytesMut,
    too_large: bool,
    failed: Option<Box<Error>>,
}

impl Collected {
    fn add(&mut self, task: HttpTask, max: usize) -> Result<()> {
        match task {
            HttpTask::Header(head, _) if !head.status.is_informational() => self.head = Some(head),
            HttpTask::Body(Some(piece), _) => {
                if self.body.len() + piece.len() > max {
                    self.too_large = true;
                    return Error::e_explain(InternalError, "a response that is too large to be judged");
                }
                self.body.extend_from_slice(&piece);
            }
            HttpTask::Failed(error) => {
                self.failed = Some(error);
                return Error::e_explain(InternalError, "the transfer from the origin broke");
            }
            _ => {}
        }
        Ok(())
    }
}

/// Judges the response, head and body, and sends what came of it.
async fn deliver(
    session: &mut Session,
    ctx: &mut Ctx,
    mut head: ResponseHeader,
    sent: Bytes,
    max: usize,
) -> Result<()> {
    let codings = head
        .headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .map(|value| value.as_bytes().to_vec())
        .collect::<Vec<_>>();
    let plain = match coding::decode(&codings, &sent, max) {
        Ok(plain) => plain,
        Err(reason) => return ctx.answer(session, &Stop::Faulted(Fault::bad_dependency(reason))).await,
    };
    let Some(flight) = &mut ctx.flight else { return Ok(()) };
    let mut body = Body::new(plain, true);
    flight.swap(session);
    let mut stop = flight.chain.response(&mut flight.ex, &mut flight.run, &mut head, false).await;
    if stop.is_none() {
        stop = flight.chain.response_body(&mut flight.ex, &mut flight.run, &mut body);
    }
    flight.swap(session);
    if let Some(stop) = stop {
        return ctx.answer(session, &stop).await;
    }
    let out = if body.is_replaced() {
        // What described the bytes of before does not describe these.
        for name in [header::CONTENT_ENCODING, header::ETAG, header::CONTENT_RANGE, header::ACCEPT_RANGES] {
            head.remove_header(&name);
        }
        head.remove_header("content-md5");
        head.remove_header("content-digest");
        body.into_bytes()
    } else {
        sent
    };
    super::response::explain(flight, &mut head)?;
    send(session, ctx, head, out).await
}

async fn send(session: &mut Session, ctx: &mut Ctx, mut head: ResponseHeader, body: Bytes) -> Result<()> {
    ctx.status = head.status.as_u16();
    let no_body = session.req_header().method == Method::HEAD
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    head.remove_header(&header::TRANSFER_ENCODING);
    if !no_body {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    let end = no_body || body.is_empty();
    session.write_response_header(Box::new(head), end).await?;
    if !end {
        ctx.response_bytes = body.len() as u64;
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}

/// What a body that could not be read ahead means.
pub(super) fn refused(why: Ahead, limit: u64) -> Option<Denial> {
    match why {
        Ahead::TooLarge => Some(super::admit::too_large(limit)),
        Ahead::Malformed(reason) => Some(Denial::bad_request(reason)),
        Ahead::Timeout => Some(Denial::new(StatusCode::REQUEST_TIMEOUT, "body_timeout")),
        Ahead::Closed => None,
    }
}
