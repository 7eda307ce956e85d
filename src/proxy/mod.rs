//! Pingora's phases, each handed to the part of the gateway that knows about it.
//!
//! | Phase | What happens |
//! |---|---|
//! | `request_filter` | [`admit`]: canonical request, route, the chain, the body where a plugin wants it whole |
//! | `upstream_peer` … `upstream_response_filter` | [`attempt`]: which target, what came of it, whether again |
//! | `upstream_request_filter` | [`plan`]: what the origin is told |
//! | `request_body_filter` | pieces of a body that streams past |
//! | `response_filter`, `response_body_filter` | [`response`]: response hooks |
//! | `fail_to_proxy` | [`answer`]: the gateway's own answers |
//! | `logging` | [`record`]: one record for the request, whatever happened to it |
//!
//! A response that a plugin wants to see whole is fetched by a subrequest ([`buffered`]), because Pingora has
//! sent a response's head before its body is seen; a body read from an HTTP/2 stream is sent by one as well
//! ([`replayed`]). In a subrequest `request_filter` only takes over what its parent planned.

mod admit;
mod answer;
mod attempt;
mod body;
mod buffered;
mod ctx;
mod exchange;
mod overrides;
mod plan;
mod record;
mod refused;
mod replayed;
mod response;
mod trial;

pub use ctx::Ctx;
pub(crate) use refused::answer_refused;
pub use trial::{Attempt, Origin, Told, Tried};

use crate::server::Gateway;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Version};
use palisade_contract::{RequestHeader, ResponseHeader};
use pingora::{
    Error, Result,
    modules::http::HttpModules,
    prelude::HttpPeer,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, Session},
};
use std::{sync::Arc, time::Duration};

/// The gateway as Pingora sees it.
pub struct Proxy {
    pub(crate) gateway: Arc<Gateway>,
}

impl Proxy {
    /// A proxy that serves each request by the gateway's current snapshot.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Proxy { gateway }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    /// Boxed: Pingora moves it, with the future of the whole request, from hand to hand.
    type CTX = Box<Ctx>;

    fn new_ctx(&self) -> Box<Ctx> {
        Box::new(Ctx::new(self.gateway.snapshot()))
    }

    /// None: Pingora would add one that compresses responses, which palisade does not, and ask it about each.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// The body-judging route needs a way to fetch a response apart from the client's connection.
    fn allow_spawning_subrequest(&self, session: &Session, _ctx: &Box<Ctx>) -> bool {
        session.subrequest_ctx.is_none()
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<bool> {
        if ctx.take_over(session) {
            return Ok(false);
        }
        self.admit(session, ctx).await
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut Box<Ctx>) -> Result<Box<HttpPeer>> {
        ctx.next_peer(session)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        _reused: bool,
        peer: &HttpPeer,
        fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        ctx.connected(session, peer, fd, digest);
        Ok(())
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Box<Ctx>,
        error: Box<Error>,
    ) -> Box<Error> {
        ctx.connect_failed(session, error)
    }

    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Box<Ctx>,
        reused: bool,
    ) -> Box<Error> {
        ctx.broke(session, error.more_context(format!("Peer: {peer}")), reused)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        // The version is that of who answers, whatever the origin speaks (RFC 9110 §2.5).
        head.set_version(Version::HTTP_11);
        ctx.answered(session, head)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        ctx.tell_origin(session, request)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        ctx.pass_request_body(session, body, end).await?;
        if end {
            // An empty last piece would be written as a last chunk of its own, besides the one that Pingora writes:
            // the origin would read the second one as the beginning of the next request on that connection.
            body.take_if(|piece| piece.is_empty());
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        head: &mut ResponseHeader,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        ctx.on_response_head(session, head).await
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Duration>> {
        ctx.on_response_body(session, body, end)?;
        Ok(None)
    }

    /// Here and not where trailers are sent: only from here does a refusal end the answer.
    fn upstream_response_trailer_filter(
        &self,
        session: &mut Session,
        _trailers: &mut HeaderMap,
        ctx: &mut Box<Ctx>,
    ) -> Result<()> {
        ctx.on_response_trailers(session)
    }

    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        _trailers: &mut HeaderMap,
        ctx: &mut Box<Ctx>,
    ) -> Result<Option<Bytes>> {
        Ok(ctx.last_piece.take())
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Box<Ctx>) -> FailToProxy {
        ctx.answer_failure(session, error).await
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Box<Ctx>) {
        self.record(session, error, ctx);
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Box<Ctx>,
        _error: &Error,
        _what: pingora::proxy::ProxyWarnLogContext,
    ) -> bool {
        // The record counts attempts.
        true
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &Box<Ctx>, _error: &Error) -> bool {
        // Every request has its record; Pingora's own line would say it twice, with the query in it.
        true
    }
}
