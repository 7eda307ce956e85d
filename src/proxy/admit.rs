//! From a request's head to the decision that it may go to an origin.

use super::{
    Proxy, buffered,
    ctx::{Ctx, Flight, RequestBody},
    overrides,
    plan::Plan,
    replayed,
};
use crate::{
    chain::{Run, Stop},
    edge::{
        self, ConnInfo, InFlight,
        canonical::{self, Canonical, Refused},
        headers,
    },
    gateway::{RouteRuntime, Snapshot},
    router::Lookup,
    server::request_id,
    upstream::Upstream,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, StatusCode, header};
use palisade_contract::{BodyNeed, Client, Decision, Denial, Effect, Exchange, Fault, RequestHeader};
use pingora::{Error, ErrorType::InternalError, Result, proxy::Session};
use std::{borrow::Cow, sync::Arc};

impl Proxy {
    /// Decides about a request. `Ok(true)`: it was answered here.
    pub(super) async fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(connection) = edge::conn_info(session) else {
            return Error::e_explain(InternalError, "a connection that the edge does not know");
        };
        let refusal = self.take_off(session, ctx, connection);
        let Ctx { snapshot, flight: Some(flight), .. } = &mut *ctx else { return Ok(false) };
        flight.swap(session);
        let close = refusal.as_ref().is_some_and(|denial| denial.status() == StatusCode::BAD_REQUEST);
        let stop = flight.decide(refusal, snapshot).await;
        flight.swap(session);
        if close {
            // What follows may be read in two ways as well.
            session.set_keepalive(None);
        }
        let stop = match stop {
            Some(stop) => Some(stop),
            None => ctx.judge_request_body(session, &self.gateway.budget).await?,
        };
        if let Some(stop) = stop {
            return apart(ctx.answer(session, &stop)).await.map(|()| true);
        }
        self.forward(session, ctx).await
    }

    /// Makes the request canonical, finds its route, and puts what is known of it into the context. What comes back is why
    /// it goes no further.
    fn take_off(&self, session: &mut Session, ctx: &mut Ctx, connection: Arc<ConnInfo>) -> Option<Denial> {
        let Ctx { snapshot, flight, tunnel, .. } = ctx;
        let guard = edge::Guard::of(session);
        let canonical = canonical::canonicalize(session, &connection, guard.as_ref(), snapshot);
        match &canonical {
            Ok(canonical) => *tunnel = canonical.tunnel,
            Err(refused) => self.gateway.metrics.edge_refused(refused.denial.reason()),
        }
        let (begun, refusal) =
            Flight::begin(canonical, session.req_header_mut(), (connection, guard), snapshot);
        flight.replace(begun);
        refusal
    }
    /// The chain let it pass: plan how it goes to the origin.
    async fn forward(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(flight) = &mut ctx.flight else { return Ok(false) };
        let upstream = match flight.upstream() {
            Ok(upstream) => upstream,
            Err(stop) => return apart(ctx.answer(session, &stop)).await.map(|()| true),
        };
        flight.ex.host_side().upstream = Some(upstream.name.clone());
        let mut plan = Plan::new(flight, session, upstream)?;
        if let RequestBody::Replaced(bytes) = &ctx.body {
            plan.body_length = Some(bytes.len());
        }
        let streams = plan.upstream.streams;
        let whole = match flight.chain.response_body_need() {
            // A tunnel has no body that could be seen whole; an answer that makes none of it is refused.
            BodyNeed::Whole { max } if !ctx.tunnel => Some(max),
            _ => None,
        };
        if let Some(max) = whole {
            let exchange = buffered::exchange(session, ctx, plan, max, &self.gateway.budget);
            return apart(exchange).await.map(|()| true);
        }
        if session.is_http2()
            && let RequestBody::Judged(bytes) | RequestBody::Replaced(bytes) = &ctx.body
            && session.as_ref().body_bytes_read() > 0
        {
            let bytes = bytes.clone();
            return apart(replayed::send(session, ctx, plan, bytes)).await.map(|()| true);
        }
        let timeouts = &plan.upstream.timeouts;
        if session.is_http2() && !streams && session.is_body_done() && timeouts.total < timeouts.read {
            // Pingora's own clock would be late, and one outside can only reset the stream.
            return apart(replayed::send(session, ctx, plan, Bytes::new())).await.map(|()| true);
        }
        if session.is_http2() && !streams && !session.is_body_done() {
            let time = flight.route.limits.body_timeout.unwrap_or(ctx.snapshot.limits.body_timeout);
            if edge::stream::body_time(time).is_zero() {
                // Nothing of it came in all that time.
                let stop = Stop::Denied(Denial::new(StatusCode::REQUEST_TIMEOUT, "body_timeout"));
                return apart(ctx.answer(session, &stop)).await.map(|()| true);
            }
            edge::stream::begin_body(time);
            ctx.unfinished = true;
        }
        ctx.plan = Some(plan);
        Ok(false)
    }
}

/// Counts the request for the client that a trusted proxy has named: it may have as many in flight as others may have
/// connections. The proxies' own are not counted.
#[cold]
fn counted<'s>(
    found: Result<Routed<'s>, Denial>,
    client: &Client,
    connection: &ConnInfo,
    snapshot: &Snapshot,
) -> (Result<Routed<'s>, Denial>, Option<InFlight>) {
    let trusted = snapshot.client_ip.trusted_proxies.iter().any(|net| net.contains(&client.ip));
    let Some(door) = connection.door.as_ref().filter(|_| !trusted) else { return (found, None) };
    match door.enter(client.ip, connection.limits.connections_per_ip) {
        Some(counted) => (found, Some(counted)),
        None => {
            let denial = Denial::new(StatusCode::TOO_MANY_REQUESTS, "requests_per_ip");
            (Err(denial.message("This client has too many requests in flight")), None)
        }
    }
}

/// What few requests need has a place and code of its own: each would carry its size through every step, and have it
/// between what it does need.
#[cold]
pub(super) fn apart<'a, T>(work: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(work)
}

/// The route that takes the request, and what the `{name}`s of its path stand for.
fn find_route<'s>(snapshot: &'s Snapshot, host: &str, request: &RequestHeader) -> Result<Routed<'s>, Denial> {
    let mut found = snapshot.router.find(host, request.uri.path(), &request.method, &request.headers);
    if let Lookup::MethodNotAllowed { .. } | Lookup::HeadersMismatch { .. } = found
        && let Some(preflight) = preflight(snapshot, host, request)
    {
        found = preflight;
    }
    match found {
        Lookup::Found(found) => {
            let params = found.params.iter().map(|(name, value)| (name.clone(), value.to_owned()));
            Ok((found.route, params.collect()))
        }
        Lookup::NotFound => Err(nothing_here()),
        Lookup::HeadersMismatch { route } => Err(nothing_here().detail(belongs_to(route))),
        Lookup::Ambiguous => {
            Err(Denial::bad_request("path_ambiguous").message("The path can be read in two ways"))
        }
        Lookup::MethodNotAllowed { allow, route } => Err(not_allowed(allow, route)),
    }
}

fn nothing_here() -> Denial {
    Denial::new(StatusCode::NOT_FOUND, "no_route").message("There is nothing here")
}

/// 405, with what is allowed and, for the operator, the route that says so.
pub(super) fn not_allowed(allow: &HeaderValue, route: &RouteRuntime) -> Denial {
    let denial = Denial::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    denial.header(header::ALLOW, allow.clone()).detail(belongs_to(route))
}

/// For the operator: whose path it is that another method or other headers came to.
fn belongs_to(route: &RouteRuntime) -> String {
    let place = route.place.as_ref().map(|place| format!(" ({place})")).unwrap_or_default();
    format!("the path belongs to route `{}`{place}", route.name)
}

pub(super) type Routed<'s> = (&'s Arc<RouteRuntime>, Vec<(Arc<str>, String)>);

impl Flight {
    /// Finds the route of a canonical request, and puts together what is known of it. Beside it: why it goes no
    /// further.
    pub(super) fn begin(
        canonical: Result<Canonical, Refused>,
        request: &mut RequestHeader,
        (connection, guard): (Arc<ConnInfo>, Option<edge::Guard>),
        snapshot: &Snapshot,
    ) -> (Box<Self>, Option<Denial>) {
        let (client, host, relaxed, mut found) = match canonical {
            Ok(canonical) => {
                let found = find_route(snapshot, &canonical.host.name, request);
                (canonical.client, canonical.host, canonical.relaxed, found)
            }
            Err(refused) => (refused.client, refused.host, false, Err(refused.denial)),
        };
        let mut written = None;
        if !snapshot.headers.asked.is_empty() {
            (found, written) = overrides::settle(found, request, &host.name, snapshot);
        }
        let (found, counted) =
            if client.behind_proxy { counted(found, &client, &connection, snapshot) } else { (found, None) };
        let mut ex = Exchange::new(headers::empty(), client, request_id());
        let host_side = ex.host_side();
        host_side.authority = host.name;
        host_side.decisions.extend(relaxed.then(|| own(Effect::Continue, "path_relaxed", None)));
        host_side.decisions.extend(
            written.map(|method| own(Effect::Continue, "method_overridden", Some(method.to_string().into()))),
        );
        let (route, refusal) = match found {
            Ok((route, params)) => {
                host_side.route = Some(route.name.clone());
                host_side.path_params = params;
                (route, None)
            }
            Err(denial) => {
                let detail = denial.private_detail().map(|detail| detail.to_owned().into());
                host_side.decisions.push(own(Effect::Deny, denial.reason(), detail));
                (&snapshot.none, Some(denial))
            }
        };
        let body_limit = route.limits.body_bytes.unwrap_or(snapshot.limits.body_bytes);
        host_side.body_limit = body_limit;
        let flight = Box::new(Flight {
            run: Run::new(ex.begun()),
            ex,
            route: route.clone(),
            chain: route.chain.clone(),
            connection,
            host: host.value,
            guard,
            body_limit,
            share: None,
            _counted: counted,
        });
        (flight, refusal)
    }

    /// Where it goes.
    pub(super) fn upstream(&self) -> Result<Arc<Upstream>, Stop> {
        self.route.upstream.clone().ok_or_else(|| Stop::Faulted(Fault::internal("no_upstream")))
    }

    /// The request's head through the chain, or what refuses it before.
    pub(super) async fn decide(&mut self, refusal: Option<Denial>, snapshot: &Snapshot) -> Option<Stop> {
        match refusal {
            Some(denial) => Some(self.refuse(denial).await),
            None => self.judge(snapshot).await,
        }
    }

    /// What the edge's rules or the router refuse still passes the everywhere-entries of Screen and Observe.
    async fn refuse(&mut self, denial: Denial) -> Stop {
        let mut stop = self.chain.screen(&mut self.ex, &mut self.run).await;
        if stop.is_none() {
            stop = self.chain.request(&mut self.ex, &mut self.run).await;
        }
        stop.unwrap_or(Stop::Denied(denial))
    }

    /// Runs the chain of the request's route.
    async fn judge(&mut self, snapshot: &Snapshot) -> Option<Stop> {
        let time = self.route.limits.body_timeout.unwrap_or(snapshot.limits.body_timeout);
        let length = match &self.guard {
            Some(guard) => guard.set_body_limit(self.body_limit, time),
            None => self.declared_length(),
        };
        if let Some(stop) = self.chain.screen(&mut self.ex, &mut self.run).await {
            return Some(stop);
        }
        // A body that says it is too long need not be read to be refused.
        if length.is_some_and(|length| length > self.body_limit) {
            return Some(Stop::Denied(too_large(self.body_limit)));
        }
        let consumer = self.ex.principal().and_then(|principal| principal.consumer.as_ref());
        if let Some(chain) = consumer.and_then(|consumer| self.route.chain_of(consumer)) {
            self.chain = chain.clone();
        }
        self.chain.request(&mut self.ex, &mut self.run).await
    }

    fn declared_length(&self) -> Option<u64> {
        self.ex.header(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}

/// A decision that no entry has made.
fn own(effect: Effect, reason: &'static str, detail: Option<Cow<'static, str>>) -> Decision {
    Decision { entry: None, effect, reason: Some(reason), detail, nanos: 0 }
}

/// 413, with the limit, which is no secret.
pub(super) fn too_large(limit: u64) -> Denial {
    Denial::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large")
        .message(format!("The body may have {limit} bytes"))
}

/// For a CORS preflight: the route that the announced request would take, where one of its plugins answers
/// preflights.
fn preflight<'s, 'p>(
    snapshot: &'s Snapshot,
    host: &str,
    request: &'p RequestHeader,
) -> Option<Lookup<'s, 'p, Arc<RouteRuntime>>> {
    let headers = &request.headers;
    if request.method != Method::OPTIONS || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    let method = Method::from_bytes(headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.as_bytes()).ok()?;
    let found = snapshot.router.find_preflight(host, request.uri.path(), &method, headers);
    match &found {
        Lookup::Found(matched) if matched.route.chain.answers_preflight() => Some(found),
        _ => None,
    }
}
