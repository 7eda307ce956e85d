//! A request through the gateway without a network: what the phases do, one after the other, on a request that is
//! given and an origin's answer that is given. Everything that decides is what [`super`] runs on requests that come in.

use super::{
    admit::too_large,
    body::no_room,
    ctx::{Ctx, Flight},
    plan, refused, response,
};
use crate::{
    chain::Stop,
    edge::{ConnInfo, canonical, framing},
    gateway::{RouteRuntime, Snapshot},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use palisade_contract::{Body, BodyNeed, Exchange, Fault, Principal, RequestHeader, ResponseHeader};
use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

/// A request that is tried.
#[derive(Debug)]
pub struct Attempt {
    /// Its head as HTTP/1.1, the empty line included.
    pub head: Vec<u8>,
    /// Its body, without framing.
    pub body: Bytes,
    /// The connection that it comes in on.
    pub connection: Arc<ConnInfo>,
    /// When it comes, by both clocks.
    pub started: SystemTime,
    /// When it comes, by both clocks.
    pub begun: Instant,
    /// Who is presumed to call; without one the request's credentials decide.
    pub principal: Option<Arc<Principal>>,
    /// What the origin would answer.
    pub origin: Origin,
}

/// An origin's answer.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Its status.
    pub status: StatusCode,
    /// Its header.
    pub headers: HeaderMap,
    /// Its body, as it is sent.
    pub body: Bytes,
}

/// What came of a request.
#[derive(Debug)]
pub struct Tried {
    /// The exchange with its decisions and its outcome. Its request is the canonical one.
    pub ex: Exchange,
    /// The route, which is `_none` where none took it.
    pub route: Arc<RouteRuntime>,
    /// The request as it came; none where it could not be read.
    pub came: Option<RequestHeader>,
    /// What the origin got; none where the request was stopped before.
    pub told: Option<Told>,
    /// The head of the answer.
    pub answer: ResponseHeader,
    /// The body of the answer.
    pub body: Bytes,
    /// Why the gateway made the answer.
    pub reason: Option<&'static str>,
}

/// What an origin gets.
#[derive(Debug)]
pub struct Told {
    /// Its head.
    pub request: RequestHeader,
    /// Its body.
    pub body: Bytes,
}

/// An answer on its way to the client.
struct Answered {
    head: ResponseHeader,
    body: Bytes,
}

impl Attempt {
    /// Tries it.
    ///
    /// # Errors
    /// What makes it no request that could be tried: a head without an end, a length that is not the body's, or a
    /// principal where nothing authenticates.
    pub async fn run(self, snapshot: &Arc<Snapshot>) -> Result<Tried, String> {
        let limits = &self.connection.limits;
        let limits = framing::HeadLimits {
            bytes: limits.header_bytes,
            count: limits.header_count,
            target: limits.uri_bytes,
        };
        let head = match framing::scan(&self.head, &limits) {
            Ok(Some(head)) => head,
            Ok(None) => return Err("the head has no end".to_owned()),
            Err(refusal) => return refused_early(snapshot, &self, refusal).await,
        };
        let whole = match head.framing {
            framing::Framing::Length(length) => length == self.body.len() as u64,
            framing::Framing::Chunked(_) => true,
            framing::Framing::Raw | framing::Framing::Http2(_) => self.body.is_empty(),
        };
        if !whole {
            return Err(format!("the head announces another body than the {} bytes", self.body.len()));
        }
        let came = parse(&self.head)?;
        let mut request = came.clone();
        let tunnel = matches!(head.framing, framing::Framing::Raw);
        let wire = canonical::Wire { http2: false, bodyless: false };
        let canonical = canonical::of_request(&mut request, wire, || tunnel, &self.connection, snapshot);
        let tunnel = canonical.as_ref().is_ok_and(|canonical| canonical.tunnel);
        let connection = (self.connection.clone(), None);
        let (mut flight, refusal) = Flight::begin(canonical, &mut request, connection, snapshot);
        flight.ex.request = request;
        let host_side = flight.ex.host_side();
        (host_side.started, host_side.begun) = (self.started, self.begun);
        if let Some(principal) = self.principal.as_ref().filter(|_| refusal.is_none()) {
            let presuming = flight.chain.presuming(principal).ok_or_else(|| {
                format!(
                    "nothing on the route `{}` authenticates: a principal would never reach it",
                    flight.route.name
                )
            })?;
            flight.chain = Arc::new(presuming);
        }
        let mut ctx = Ctx::new(snapshot.clone());
        ctx.tunnel = tunnel;
        let mut told = None;
        let stop = match flight.decide(refusal, snapshot).await {
            Some(stop) => Some(stop),
            None => flight.pass(&mut ctx, self.body, snapshot, &mut told).await?,
        };
        let answered = match stop {
            Some(stop) => Err(stop),
            None => flight.come_back(&mut ctx, self.origin, snapshot).await?,
        };
        flight.end(ctx, answered, (came, told)).await
    }
}

/// A request whose head the edge refuses before anything reads it.
async fn refused_early(
    snapshot: &Snapshot,
    attempt: &Attempt,
    refusal: framing::Refusal,
) -> Result<Tried, String> {
    let made = refused::refuse(snapshot, &attempt.connection, refusal, &attempt.head).await;
    Ok(Tried {
        ex: made.ex,
        route: snapshot.none.clone(),
        came: None,
        told: None,
        answer: made.head.ok_or("no answer could be made")?,
        body: made.answer.body().clone(),
        reason: Some(made.answer.reason),
    })
}

impl Flight {
    /// The request's body through the chain, and what the origin is told.
    async fn pass(
        &mut self,
        ctx: &mut Ctx,
        body: Bytes,
        snapshot: &Snapshot,
        told: &mut Option<Told>,
    ) -> Result<Option<Stop>, String> {
        ctx.request_bytes = body.len() as u64;
        let whole = self.wants_whole_body();
        if body.len() as u64 > self.body_limit {
            return Ok(Some(Stop::Denied(too_large(self.body_limit))));
        }
        let mut piece = Body::new(body, true);
        let streamed = !whole && self.chain.request_body_need() != BodyNeed::None;
        if whole || (streamed && !piece.bytes().is_empty()) {
            if let Some(stop) = self.chain.request_body(&mut self.ex, &mut self.run, &mut piece).await {
                return Ok(Some(stop));
            }
            if ctx.tunnel && !piece.bytes().is_empty() {
                return Ok(Some(Stop::Faulted(Fault::internal("upgrade_body"))));
            }
        }
        let upstream = match self.upstream() {
            Ok(upstream) => upstream,
            Err(stop) => return Ok(Some(stop)),
        };
        self.ex.host_side().upstream = Some(upstream.name.clone());
        let length = (whole && piece.is_replaced()).then(|| piece.bytes().len());
        let request = plan::told(self, &snapshot.headers.late, length).map_err(|error| error.to_string())?;
        *told = Some(Told { request, body: piece.into_bytes() });
        Ok(None)
    }

    /// The origin's answer through the chain.
    async fn come_back(
        &mut self,
        ctx: &mut Ctx,
        origin: Origin,
        snapshot: &Snapshot,
    ) -> Result<Result<Answered, Stop>, String> {
        let failed = |error: Box<pingora::Error>| error.to_string();
        let mut head = ResponseHeader::build(origin.status, Some(origin.headers.len())).map_err(failed)?;
        for (name, value) in &origin.headers {
            head.append_header(name.clone(), value.clone()).map_err(failed)?;
        }
        let bodyless = self.ex.request.method == Method::HEAD
            || matches!(origin.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let mut body = if bodyless { Bytes::new() } else { origin.body };
        let stop = match self.chain.response_body_need() {
            BodyNeed::Whole { max } if !ctx.tunnel => {
                let held = snapshot.limits.buffered_bytes;
                if body.len() > max {
                    return Ok(Err(Stop::Faulted(Fault::bad_dependency("response_too_large"))));
                }
                if body.len() as u64 > held {
                    return Ok(Err(no_room()));
                }
                let mut hold = |decoded: usize| decoded as u64 <= held;
                match self.judge_answer(&mut head, &body, max, &mut hold).await {
                    Ok(replaced) => {
                        body = replaced.unwrap_or(body);
                        head.remove_header(&header::TRANSFER_ENCODING);
                        if !bodyless {
                            head.insert_header(header::CONTENT_LENGTH, body.len()).map_err(failed)?;
                        }
                        None
                    }
                    Err(stop) => Some(stop),
                }
            }
            need => {
                let mut stop = self.unreadable(&head, ctx.tunnel);
                if stop.is_none() {
                    stop = self.chain.response(&mut self.ex, &mut self.run, &mut head, false).await;
                }
                if stop.is_none() {
                    self.reframe(&mut head, &self.ex.request.method, self.ex.request.version)
                        .map_err(failed)?;
                    if need == BodyNeed::Stream {
                        let mut piece = Body::new(body, true);
                        stop = self.chain.response_body(&mut self.ex, &mut self.run, &mut piece);
                        body = piece.into_bytes();
                    }
                }
                stop
            }
        };
        if let Some(stop) = stop {
            return Ok(Err(stop));
        }
        response::explain(self, &mut head).map_err(failed)?;
        Ok(Ok(Answered { head, body }))
    }

    /// The answer that the client gets, and the record.
    async fn end(
        mut self: Box<Self>,
        mut ctx: Ctx,
        answered: Result<Answered, Stop>,
        (came, told): (RequestHeader, Option<Told>),
    ) -> Result<Tried, String> {
        let (head, body) = match answered {
            Ok(Answered { head, body }) => (head, body),
            Err(stop) => {
                let (answer, head) = self.own_answer(&stop).await.map_err(|error| error.to_string())?;
                ctx.reason = Some(answer.reason);
                let bodyless = self.ex.request.method == Method::HEAD;
                (head, if bodyless { Bytes::new() } else { answer.body().clone() })
            }
        };
        ctx.status = head.status.as_u16();
        ctx.response_bytes = body.len() as u64;
        ctx.conclude(&mut self, ctx.status, None);
        self.log();
        let Flight { ex, route, .. } = *self;
        Ok(Tried { ex, route, came: Some(came), told, answer: head, body, reason: ctx.reason })
    }
}

/// A head that was read strictly, as Pingora would have it.
fn parse(head: &[u8]) -> Result<RequestHeader, String> {
    let no_request = |_| "the head is no request".to_owned();
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut parts = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let method = parts.next().unwrap_or_default();
    let target = parts.next().unwrap_or_default();
    let version = if parts.next() == Some(b"HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut request =
        RequestHeader::build(method, target, None).map_err(|_| "the head is no request".to_owned())?;
    request.set_version(version);
    for line in lines.take_while(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let name = HeaderName::from_bytes(name).map_err(|_| "the head is no request".to_owned())?;
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let value = HeaderValue::from_bytes(value).map_err(|_| "the head is no request".to_owned())?;
        request.append_header(name, value).map_err(no_request)?;
    }
    Ok(request)
}
