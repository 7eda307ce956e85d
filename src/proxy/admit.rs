//! From a request's head to the decision that it may go to an origin.

use super::{
    Proxy, buffered,
    ctx::{Ctx, Flight, RequestBody},
    plan::Plan,
    replayed,
};
use crate::{
    chain::{Run, Stop},
    edge::{self, canonical, headers},
    gateway::{RouteRuntime, Snapshot},
    router::Lookup,
    server::request_id,
};
use http::{Method, StatusCode, header};
use palisade_contract::{BodyNeed, Denial, Exchange, Fault, RequestHeader};
use pingora::{Error, ErrorType::InternalError, Result, proxy::Session};
use std::sync::Arc;

impl Proxy {
    /// Decides about a request. `Ok(true)`: it was answered here.
    pub(super) async fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(connection) = edge::conn_info(session) else {
            return Error::e_explain(InternalError, "a connection that the edge does not know");
        };
        let guard = edge::Guard::of(session);
        let snapshot = ctx.snapshot.clone();
        let canonical = canonical::canonicalize(session, &connection, &snapshot);
        let (client, host, refusal) = match canonical {
            Ok(canonical) => (canonical.client, canonical.host, None),
            Err(refused) => (refused.client, Arc::from(""), Some(refused.denial)),
        };
        let mut ex = Exchange::new(headers::empty(), client, request_id());
        ex.host_side().authority = host;
        let route = snapshot.none.clone();
        let chain = route.chain.clone();
        let begun = ex.begun();
        let flight = Flight {
            ex,
            run: Run::new(begun),
            route,
            chain,
            connection,
            guard,
            body_limit: snapshot.limits.body_bytes,
            budget: self.gateway.budget.clone(),
            share: None,
        };
        let flight = ctx.flight.insert(flight);
        flight.swap(session);
        let stop = match refusal {
            Some(denial) => flight.refuse_unrouted(denial).await,
            None => flight.route_and_judge(&snapshot).await,
        };
        flight.swap(session);
        let stop = match stop {
            Some(stop) => Some(stop),
            None => ctx.judge_request_body(session).await?,
        };
        if let Some(stop) = stop {
            ctx.answer(session, &stop).await?;
            return Ok(true);
        }
        self.forward(session, ctx).await
    }

    /// The chain let it pass: plan how it goes to the origin.
    async fn forward(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let Some(flight) = &mut ctx.flight else { return Ok(false) };
        let Some(upstream) = flight.route.upstream.clone() else {
            let stop = Stop::Faulted(Fault::internal("no_upstream"));
            ctx.answer(session, &stop).await?;
            return Ok(true);
        };
        flight.ex.host_side().upstream = Some(upstream.name.clone());
        let late = &ctx.snapshot.late_headers;
        let mut plan = flight.lend(session, |flight| Plan::new(flight, &upstream, late))?;
        if let RequestBody::Replaced(bytes) = &ctx.body {
            plan.body_length = Some(bytes.len());
        }
        let whole = match flight.chain.response_body_need() {
            // A tunnel has no body that could be seen whole.
            BodyNeed::Whole { max } if !session.is_upgrade_req() => Some(max),
            _ => None,
        };
        if let Some(max) = whole {
            // Boxed, as below: every request would carry the size of what few need.
            return Box::pin(buffered::exchange(session, ctx, plan, max)).await.map(|()| true);
        }
        if session.is_http2()
            && let RequestBody::Judged(bytes) | RequestBody::Replaced(bytes) = &ctx.body
            && session.as_ref().body_bytes_read() > 0
        {
            let bytes = bytes.clone();
            return Box::pin(replayed::send(session, ctx, plan, bytes)).await.map(|()| true);
        }
        if session.is_http2() && !upstream.streams && !session.is_body_done() {
            let time = flight.route.limits.body_timeout.unwrap_or(ctx.snapshot.limits.body_timeout);
            edge::stream::begin_body(time);
            ctx.unfinished = true;
        }
        ctx.report = Some(plan.report.clone());
        ctx.plan = Some(plan);
        Ok(false)
    }
}

impl Flight {
    /// What the edge's rules refuse still passes the everywhere-entries of Screen and Observe.
    async fn refuse_unrouted(&mut self, denial: Denial) -> Option<Stop> {
        let stop = self.chain.clone().screen(&mut self.ex, &mut self.run).await;
        Some(stop.unwrap_or(Stop::Denied(denial)))
    }

    async fn route_and_judge(&mut self, snapshot: &Snapshot) -> Option<Stop> {
        if let Some(denial) = self.find_route(snapshot) {
            return self.refuse_unrouted(denial).await;
        }
        if let Some(denial) = self.check_declared_length() {
            return Some(Stop::Denied(denial));
        }
        if let Some(stop) = self.chain.clone().screen(&mut self.ex, &mut self.run).await {
            return Some(stop);
        }
        let consumer = self.ex.principal().and_then(|principal| principal.consumer.clone());
        self.chain = self.route.chain_for(consumer.as_ref()).clone();
        self.chain.clone().request(&mut self.ex, &mut self.run).await
    }

    fn find_route(&mut self, snapshot: &Snapshot) -> Option<Denial> {
        let request = &self.ex.request;
        let host = self.ex.host();
        let path = request.uri.path();
        let mut found = snapshot.router.find(host, path, &request.method, &request.headers);
        if let Lookup::MethodNotAllowed { .. } | Lookup::HeadersMismatch = found
            && let Some(preflight) = preflight(snapshot, host, request)
        {
            found = preflight;
        }
        let (route, params) = match found {
            Lookup::Found(found) => {
                let params: Vec<_> =
                    found.params.iter().map(|(name, value)| (name.clone(), value.to_owned())).collect();
                (found.route.clone(), params)
            }
            Lookup::NotFound | Lookup::HeadersMismatch => {
                return Some(Denial::new(StatusCode::NOT_FOUND, "no_route").message("There is nothing here"));
            }
            Lookup::Ambiguous => {
                return Some(
                    Denial::bad_request("path_ambiguous").message("The path can be read in two ways"),
                );
            }
            Lookup::MethodNotAllowed { allow } => {
                let denial = Denial::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
                return Some(denial.header(header::ALLOW, allow.clone()));
            }
        };
        self.body_limit = route.limits.body_bytes.unwrap_or(snapshot.limits.body_bytes);
        if let Some(guard) = &self.guard {
            guard.set_body_limit(
                self.body_limit,
                route.limits.body_timeout.unwrap_or(snapshot.limits.body_timeout),
            );
        }
        self.chain = route.chain.clone();
        let host_side = self.ex.host_side();
        host_side.route = Some(route.name.clone());
        host_side.path_params = params;
        self.route = route;
        None
    }

    /// A body that says it is too long need not be read to be refused.
    fn check_declared_length(&self) -> Option<Denial> {
        let declared = self.ex.header(header::CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>().ok()?;
        (declared > self.body_limit).then(|| too_large(self.body_limit))
    }
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
