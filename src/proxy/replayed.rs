//! A body that was read from an HTTP/2 stream and judged: Pingora cannot give it to the origin itself, so a
//! subrequest does. Its response streams back to the client as it comes.

use super::{
    ctx::{Ctx, Flight},
    exchange,
    plan::Plan,
};
use crate::chain::Stop;
use bytes::Bytes;
use http::{Version, header};
use palisade_contract::{Fault, RequestHeader};
use pingora::{
    Error,
    ErrorType::InternalError,
    Result,
    protocols::http::{HttpTask, subrequest::server::SubrequestHandle},
    proxy::{
        PreparedSubrequest, Session,
        subrequest::{
            BodyMode, Ctx as SubrequestCtx,
            pipe::{InputBody, InputBodyType, pipe_subrequest},
        },
    },
};
use std::{
    future::Future,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// What a subrequest takes over from its parent.
pub(super) struct Handover {
    pub(super) plan: Plan,
    /// The head that was judged.
    pub(super) head: RequestHeader,
    /// The request itself, where the subrequest runs the response hooks.
    pub(super) flight: Option<Box<Flight>>,
    /// Where it goes back when the subrequest is done.
    pub(super) back: oneshot::Sender<Handback>,
}

/// A subrequest, ready to run.
pub(super) struct Prepared {
    pub(super) subrequest: PreparedSubrequest,
    pub(super) handle: SubrequestHandle,
    pub(super) input: InputBodyType,
    pub(super) back: oneshot::Receiver<Handback>,
}

/// What comes back.
pub(super) struct Handback {
    pub(super) flight: Option<Box<Flight>>,
    pub(super) plan: Option<Plan>,
    pub(super) stop: Option<Stop>,
    pub(super) status: u16,
    pub(super) response_bytes: u64,
    pub(super) reason: Option<&'static str>,
}

/// Sends the judged body and passes on the response.
pub(super) async fn send(session: &mut Session, ctx: &mut Ctx, mut plan: Plan, body: Bytes) -> Result<()> {
    plan.hand_over(session, ctx)?;
    let total = plan.upstream.timeouts.total;
    let Prepared { subrequest, handle, input, back } = prepare(session, plan, ctx.flight.take(), body)?;
    let answered = AtomicBool::new(false);
    let pass = |task| {
        answered.fetch_or(matches!(task, HttpTask::Header(..)), Ordering::Relaxed);
        Ok(Some(task))
    };
    let pipe = pipe_subrequest(session, subrequest, handle, pass, input);
    // What is left of the pipe goes here, or the subrequest would wait for it.
    let piped = in_time(pipe, total, &answered).await;
    let late = piped.is_none();
    let error = piped.and_then(|piped| piped.err()).map(|failed| failed.error);
    // It ends by itself, within the upstream's timeouts; the request's record is with it.
    match back.await {
        Ok(returned) => {
            ctx.flight = returned.flight;
            ctx.plan = returned.plan;
            ctx.stop = returned.stop;
            ctx.status = returned.status;
            ctx.response_bytes = returned.response_bytes;
            ctx.reason = returned.reason;
        }
        Err(_) => log::error!("a subrequest ended without giving back its request: it has no record"),
    }
    if late {
        (ctx.status, ctx.reason) = (0, None);
        ctx.took_too_long();
        return ctx.answer(session, &Stop::Faulted(Fault::timeout(exchange::OVER))).await;
    }
    if let Some(error) = error {
        if session.response_written().is_some() {
            return Err(error);
        }
        let stop = ctx
            .stop
            .take()
            .or_else(|| ctx.stop_of(&error))
            .unwrap_or_else(|| Stop::Faulted(Fault::bad_dependency("upstream_broken")));
        ctx.answer(session, &stop).await?;
    }
    Ok(())
}

/// The outcome of a pipe; none where the head of an answer has not come within `total`. The subrequest keeps the
/// time of the body.
async fn in_time<T>(pipe: impl Future<Output = T>, total: Duration, answered: &AtomicBool) -> Option<T> {
    let mut pipe = pin!(pipe);
    if let Ok(done) = timeout(total, &mut pipe).await {
        return Some(done);
    }
    if answered.load(Ordering::Relaxed) { Some(pipe.await) } else { None }
}

/// Prepares a subrequest that sends `body`, which may be empty, to where `plan` says.
///
/// Pingora makes its head of the bytes as the client sent them, before anything was put into normal form or
/// removed. It only has to parse: the head that was judged is handed over beside it, with the framing of `body`.
pub(super) fn prepare(
    session: &mut Session,
    mut plan: Plan,
    flight: Option<Box<Flight>>,
    body: Bytes,
) -> Result<Prepared> {
    let Some(spawner) = session.subrequest_spawner.take() else {
        return Error::e_explain(InternalError, "no way to make a subrequest");
    };
    let mut head = session.req_header().clone();
    let declared = head.remove_header(&header::TRANSFER_ENCODING).is_some()
        | head.remove_header(&header::CONTENT_LENGTH).is_some();
    if declared || !body.is_empty() {
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    let version = head.version;
    if version == Version::HTTP_2 {
        head.set_version(Version::HTTP_11);
    }
    let (mode, input) = if body.is_empty() {
        plan.body_length = None;
        (BodyMode::NoBody, InputBody::NoBody)
    } else {
        plan.body_length = Some(body.len());
        (BodyMode::ExpectBody, InputBody::Bytes(vec![body]))
    };
    let (give, back) = oneshot::channel();
    let handover = Handover { plan, head, flight, back: give };
    let user = Box::new(Some(handover)) as Box<dyn std::any::Any + Send + Sync>;
    let ctx = SubrequestCtx::builder().body_mode(mode).user_ctx(user).build();
    if version == Version::HTTP_2 {
        // Written out as HTTP/2 it would not parse.
        session.req_header_mut().set_version(Version::HTTP_11);
    }
    let (subrequest, handle) = spawner.create_subrequest(session.as_ref(), ctx);
    session.req_header_mut().set_version(version);
    Ok(Prepared { subrequest, handle, input: InputBodyType::Preset(input), back })
}
