//! A response that a plugin wants to see whole: fetched by a subrequest, judged, and only then sent.

use super::{
    body::no_room,
    ctx::{Ctx, Flight, RequestBody},
    exchange,
    plan::Plan,
    replayed::{self, Prepared},
};
use crate::{
    budget::{Budget, Collector, NoRoom, Share},
    chain::Stop,
    coding,
};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use palisade_contract::{Body, BodyNeed, Fault, ResponseHeader};
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
    let body = match whole_request(session, ctx, budget).await? {
        Ok(body) => body,
        Err(stop) => return ctx.answer(session, &stop).await,
    };
    plan.hand_over(session, ctx)?;
    let share = budget.share(ctx.snapshot.limits.buffered_bytes);
    let outcome = fetch(session, plan, body, Collector::new(share, max, 1)).await;
    match outcome {
        Ok((head, body, share)) => deliver(session, ctx, head, Held { sent: body, share, max }).await,
        Err(Fetch::NoRoom(NoRoom::Full)) => ctx.answer(session, &no_room()).await,
        Err(Fetch::NoRoom(NoRoom::TooLarge)) => {
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
    budget: &Arc<Budget>,
) -> Result<Result<Bytes, Stop>> {
    match std::mem::take(&mut ctx.body) {
        RequestBody::Replaced(bytes) => return Ok(Ok(bytes)),
        RequestBody::Judged(bytes) => return Ok(Ok(bytes)),
        RequestBody::Streamed => {}
    }
    let bytes = if session.is_body_empty() {
        Bytes::new()
    } else {
        match super::body::read_whole(session, ctx, budget).await? {
            Ok(bytes) => bytes,
            Err(stop) => return Ok(Err(stop)),
        }
    };
    ctx.request_bytes = bytes.len() as u64;
    let mut body = Body::new(bytes, true);
    let most = ctx.snapshot.limits.buffered_bytes;
    // Whoever follows a body piece by piece sees this one as a single piece: none streams past any more.
    if let Some(flight) =
        ctx.flight.as_mut().filter(|flight| flight.chain.request_body_need() != BodyNeed::None)
        && let Some(stop) = flight.judge_whole(session, &mut body, budget, most).await
    {
        return Ok(Err(stop));
    }
    Ok(Ok(body.into_bytes()))
}

enum Fetch {
    Late,
    NoRoom(NoRoom),
    /// With what the subrequest itself has made of it.
    Failed(Box<Error>, Option<Stop>),
}

async fn fetch(
    session: &mut Session,
    plan: Plan,
    body: Bytes,
    content: Collector,
) -> std::result::Result<(ResponseHeader, Bytes, Share), Fetch> {
    let total = plan.upstream.timeouts.total;
    let Prepared { subrequest, handle, input, back } =
        replayed::prepare(session, plan, None, body).map_err(|error| Fetch::Failed(error, None))?;
    let mut collected = Collected { head: None, content, no_room: None, failed: None };
    let collect = |task| {
        collected.add(task)?;
        // Nothing reaches the client before it is judged.
        Ok(None)
    };
    let pipe = pipe_subrequest(session, subrequest, handle, collect, input);
    // The whole response is waited for, so that no kind of it is a stream.
    let Ok(piped) = tokio::time::timeout(total, pipe).await else { return Err(Fetch::Late) };
    if let Some(why) = collected.no_room {
        return Err(Fetch::NoRoom(why));
    }
    if let Some(error) = collected.failed.or(piped.err().map(|failed| failed.error)) {
        // It ends by itself, within the upstream's timeouts.
        let stop = back.await.ok().and_then(|returned| returned.stop);
        return Err(Fetch::Failed(error, stop));
    }
    match collected.head {
        Some(head) => {
            let (body, share) = collected.content.finish();
            Ok((*head, body, share))
        }
        None => {
            Err(Fetch::Failed(Error::explain(InternalError, "the origin gave no answer").into_up(), None))
        }
    }
}

struct Collected {
    head: Option<Box<ResponseHeader>>,
    content: Collector,
    no_room: Option<NoRoom>,
    failed: Option<Box<Error>>,
}

impl Collected {
    fn add(&mut self, task: HttpTask) -> Result<()> {
        match task {
            HttpTask::Header(head, end) if !head.status.is_informational() => {
                // A response without a body may say how long the body would be.
                let declared = head.headers.get(header::CONTENT_LENGTH).filter(|_| !end);
                let length = declared.and_then(|value| value.to_str().ok()?.parse().ok());
                self.head = Some(head);
                length.map_or(Ok(()), |length| self.content.expect(length)).or_else(|why| self.refuse(why))
            }
            HttpTask::Body(Some(piece), _) => self.content.push(&piece).or_else(|why| self.refuse(why)),
            HttpTask::Failed(error) => {
                self.failed = Some(error);
                Error::e_explain(InternalError, "the transfer from the origin broke")
            }
            _ => Ok(()),
        }
    }

    fn refuse(&mut self, why: NoRoom) -> Result<()> {
        self.no_room = Some(why);
        Error::e_explain(InternalError, "a response that is too large to be judged")
    }
}

/// A response's body as it was sent.
struct Held {
    sent: Bytes,
    /// What it is held within, and all that is made of it.
    share: Share,
    max: usize,
}

/// Judges the response, head and body, and sends what came of it.
async fn deliver(session: &mut Session, ctx: &mut Ctx, mut head: ResponseHeader, held: Held) -> Result<()> {
    let Held { sent, mut share, max } = held;
    let before = share.bytes();
    let mut hold = |decoded: usize| share.resize(before.saturating_add(decoded));
    let Some(flight) = &mut ctx.flight else { return Ok(()) };
    flight.swap(session);
    let judged = flight.judge_answer(&mut head, &sent, max, &mut hold).await;
    flight.swap(session);
    let replaced = match judged {
        Ok(replaced) => replaced,
        Err(stop) => return ctx.answer(session, &stop).await,
    };
    let out = if let Some(own) = replaced {
        if !share.resize(share.bytes().saturating_add(own.len())) {
            return ctx.answer(session, &no_room()).await;
        }
        own
    } else {
        sent
    };
    super::response::explain(flight, &mut head)?;
    send(session, ctx, head, out).await?;
    drop(share);
    Ok(())
}

impl Flight {
    /// A whole answer through the chain, decoded; `hold` says whether so many bytes more may be held. What comes back
    /// takes the place of what the origin sent. The flight has the request's head.
    pub(super) async fn judge_answer(
        &mut self,
        head: &mut ResponseHeader,
        sent: &Bytes,
        max: usize,
        hold: &mut (dyn FnMut(usize) -> bool + Send),
    ) -> std::result::Result<Option<Bytes>, Stop> {
        let codings = head.headers.get_all(header::CONTENT_ENCODING).iter();
        let codings: Vec<_> = codings.map(|value| value.as_bytes().to_vec()).collect();
        let plain = match coding::decode(&codings, sent, max, hold) {
            Ok(plain) => plain,
            Err(coding::FULL) => return Err(no_room()),
            Err(reason) => return Err(Stop::Faulted(Fault::bad_dependency(reason))),
        };
        let mut body = Body::new(plain, true);
        let mut stop = self.chain.response(&mut self.ex, &mut self.run, head, false).await;
        if stop.is_none() {
            stop = self.chain.response_body(&mut self.ex, &mut self.run, &mut body);
        }
        if let Some(stop) = stop {
            return Err(stop);
        }
        if !body.is_replaced() {
            return Ok(None);
        }
        // What described the bytes of before does not describe these.
        for name in [header::CONTENT_ENCODING, header::ETAG, header::CONTENT_RANGE, header::ACCEPT_RANGES] {
            head.remove_header(&name);
        }
        for name in ["content-md5", "content-digest", "repr-digest", "digest"] {
            head.remove_header(name);
        }
        Ok(Some(body.into_bytes()))
    }
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
