//! The paths and their answers.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Query, Request, State, rejection::QueryRejection},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::{
    HeaderValue, Method, StatusCode, Uri,
    header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
};
use palisade_contract::Whom;
use serde_json::json;
use tokio::{task, time};

use super::AdminState;
use crate::serve::problem;

/// What anyone may ask for.
pub(super) const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// Who is locked out: who may know that has the token, wherever he asks.
pub(super) const LOCKOUTS: &str = "/lockouts";

/// The most bytes of a request's body. Nothing here reads one.
const BODY_BYTES: usize = 64 * 1024;
/// For the whole body of a request.
const BODY_TIME: Duration = Duration::from_secs(10);
/// The text format of Prometheus.
const PROMETHEUS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

type Gateway = Arc<dyn AdminState>;

pub(super) fn probes() -> Router<Gateway> {
    let [health, ready] = PROBES;
    Router::new().route(health, get(alive)).route(ready, get(is_ready))
}

pub(super) fn readers() -> Router<Gateway> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/routes", get(|state| document(state, |gateway| gateway.routes_json())))
        .route("/upstreams", get(|state| document(state, |gateway| gateway.upstreams_json())))
        .route("/stores", get(|state| document(state, |gateway| gateway.stores_json())))
        .route(LOCKOUTS, get(|state| document(state, |gateway| gateway.lockouts_json())))
        .route("/config/status", get(|state| document(state, |gateway| gateway.status_json())))
}

pub(super) fn changes() -> Router<Gateway> {
    Router::new().route("/reload", post(reload)).route(LOCKOUTS, delete(end_lockouts))
}

/// What all of it has in common: bounded bodies, and problem documents for what is not there.
pub(super) fn finish(router: Router<Gateway>, state: Gateway) -> Router {
    router
        .fallback(|uri: Uri| async move {
            problem(StatusCode::NOT_FOUND, "not_found", &format!("the admin API has no `{}`", uri.path()))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let detail = format!("`{}` takes no `{method}`", uri.path());
            problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &detail)
        })
        .layer(middleware::from_fn(bounded))
        .with_state(state)
}

/// What is told here is true only now, and nothing for a page to run.
pub(super) async fn no_store(mut answer: Response) -> Response {
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Takes the body away, within its bounds.
async fn bounded(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match time::timeout(BODY_TIME, to_bytes(body, BODY_BYTES)).await {
        Ok(Ok(_)) => next.run(Request::from_parts(parts, Body::empty())).await,
        Ok(Err(_)) => {
            problem(StatusCode::PAYLOAD_TOO_LARGE, "body_unreadable", "no more than 64 KiB are read here")
        }
        Err(_) => problem(StatusCode::REQUEST_TIMEOUT, "body_timeout", "the body did not arrive in 10 s"),
    }
}

async fn alive() -> Response {
    Json(json!({ "status": "alive" })).into_response()
}

async fn is_ready(State(gateway): State<Gateway>) -> Response {
    if gateway.ready() {
        Json(json!({ "status": "ready" })).into_response()
    } else {
        problem(StatusCode::SERVICE_UNAVAILABLE, "not_ready", "the gateway starts or drains")
    }
}

async fn metrics(State(gateway): State<Gateway>) -> Response {
    blocking(move || ([(CONTENT_TYPE, PROMETHEUS)], gateway.metrics()).into_response()).await
}

async fn document(
    State(gateway): State<Gateway>,
    make: impl FnOnce(&dyn AdminState) -> serde_json::Value + Send + 'static,
) -> Response {
    blocking(move || Json(make(&*gateway)).into_response()).await
}

async fn reload(State(gateway): State<Gateway>) -> Response {
    // A task of its own: should the client go, it still runs to its end.
    match task::spawn(async move { gateway.reload().await }).await {
        Ok(Ok(document)) => Json(document).into_response(),
        Ok(Err(errors)) => problem(StatusCode::UNPROCESSABLE_ENTITY, "configuration_refused", &errors),
        Err(_) => failed(),
    }
}

/// Whose lockouts are ended: one of these.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    ip: Option<std::net::IpAddr>,
    account: Option<String>,
    all: Option<bool>,
}

async fn end_lockouts(
    State(gateway): State<Gateway>,
    query: Result<Query<Ended>, QueryRejection>,
) -> Response {
    let whom = match query {
        Ok(Query(Ended { ip: Some(ip), account: None, all: None })) => Whom::Ip(ip),
        Ok(Query(Ended { ip: None, account: Some(name), all: None })) => Whom::Account(name),
        Ok(Query(Ended { ip: None, account: None, all: Some(true) })) => Whom::All,
        _ => {
            let detail = "say whose with one of `?ip=ADDRESS`, `?account=NAME` and `?all=true`";
            return problem(StatusCode::BAD_REQUEST, "lockouts_of_whom", detail);
        }
    };
    Json(json!({ "ended": gateway.end_lockouts(whom).await })).into_response()
}

/// Away from the threads that serve: with thousands of routes this takes a while.
async fn blocking(make: impl FnOnce() -> Response + Send + 'static) -> Response {
    task::spawn_blocking(make).await.unwrap_or_else(|_| failed())
}

fn failed() -> Response {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this failed; the log may say why")
}
