//! The demo API: a small shop and some endpoints that show what reaches an origin. The gateway serves it on
//! loopback where the configuration says `demo: true`; tests use it as a real origin.
//!
//! It checks no credential: it believes `x-consumer-id`, as an origin behind the gateway may. State lives in
//! memory and is bounded.
//!
//! | Path | What it does |
//! |---|---|
//! | `GET /products`, `/products/{id}` | the catalogue |
//! | `GET`, `POST /cart`, `DELETE /cart/{product}` | the consumer's cart |
//! | `GET`, `POST /orders`, `GET /orders/{id}` | the consumer's orders; a `POST` orders the cart |
//! | `GET`, `PUT /profiles/{name}` | users' profiles |
//! | `/echo`, `/echo/*` | exactly what was received, as JSON; any method |
//! | `/slow?ms=` | answers late |
//! | `/stream?chunks=&bytes=&ms=` | answers in chunks |
//! | `/bytes/{n}` | n bytes, always the same |
//! | `/status/{code}` | that status |
//! | `/gzip` | compressed JSON |
//! | `/sse?events=&ms=` | server-sent events |
//! | `/ws` | a WebSocket that sends back what it gets |
//! | `/health` | 200 |

mod bounded;
mod echo;
mod input;
mod profiles;
mod shop;
mod streams;
mod ws;

use std::{io, net::SocketAddr, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, routing::any};
use http::{Method, StatusCode, Uri};
use tokio::sync::watch;

use crate::serve::{Limits, Server, problem};

const LIMITS: Limits = Limits {
    connections: 10_000,
    // Its one client is the gateway, whose pool decides how long a connection is kept.
    header_timeout: None,
    lifetime: None,
    grace: Duration::from_secs(2),
    http2: true,
};

/// The most bytes of a body that the shop reads. `/echo` takes any amount and keeps almost none.
const BODY_BYTES: usize = 64 * 1024;

/// A running demo API: HTTP/1.1 and HTTP/2 with prior knowledge on one port. It stops when this is dropped.
#[derive(Debug)]
pub struct Demo(Server);

impl Demo {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Accepts nothing more, gives requests in flight 2 s to end, and returns when all is closed.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}

/// Starts the demo API on the current tokio runtime, at a loopback port of the system's choice.
///
/// # Errors
/// No loopback port can be bound.
pub fn start() -> io::Result<Demo> {
    start_with(router)
}

/// Starts an origin that answers every path as `/echo` does.
///
/// # Errors
/// No loopback port can be bound.
pub fn start_echo() -> io::Result<Demo> {
    start_with(|_| Router::new().fallback(echo::echo))
}

fn start_with(router: impl FnOnce(watch::Receiver<bool>) -> Router) -> io::Result<Demo> {
    let listener = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
    Server::start(listener, LIMITS, router).map(Demo)
}

fn router(stopping: watch::Receiver<bool>) -> Router {
    Router::new()
        .merge(shop::router())
        .merge(profiles::router())
        .merge(streams::router())
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .route("/echo", any(echo::echo))
        .route("/echo/", any(echo::echo))
        .route("/echo/{*rest}", any(echo::echo))
        .merge(ws::router(stopping))
        .fallback(|uri: Uri| async move {
            problem(StatusCode::NOT_FOUND, "not_found", &format!("the demo API has no `{}`", uri.path()))
        })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            let detail = format!("`{}` takes no `{method}`", uri.path());
            problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &detail)
        })
}

#[cfg(test)]
mod tests;
