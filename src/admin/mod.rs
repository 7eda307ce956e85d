//! The admin API: what the gateway tells an operator, and the few things it may be told.
//!
//! | Path | Who | What |
//! |---|---|---|
//! | `GET /healthz` | anyone | 200 as long as the process is alive |
//! | `GET /readyz` | anyone | 200 when it serves, 503 while it starts or drains |
//! | `GET /metrics` | reader | the text format of Prometheus |
//! | `GET /routes` | reader | the compiled routes |
//! | `GET /upstreams` | reader | upstreams and their targets |
//! | `GET /lockouts` | token | who is locked out, and for how long |
//! | `DELETE /lockouts` | token | ends lockouts: of an address, of an account, all |
//! | `GET /config/status` | reader | what is serving, and how the last load went |
//! | `POST /reload` | token | reads the configuration again; 422 with its errors where it is refused |
//!
//! On a loopback address everybody is a reader who names the host as one does there: a web page whose name
//! was rebound to 127.0.0.1 is not. Anywhere else a reader needs the token. Without a configured token nothing
//! can be changed, and off loopback nothing but the probes is answered.

mod access;
mod api;

use std::{
    io,
    net::{IpAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::{Router, middleware};
use futures::future::BoxFuture;
use palisade_contract::{Secret, Whom};
use serde_json::Value;

use crate::serve::{Limits, Server};
use access::Access;

const LIMITS: Limits = Limits {
    connections: 256,
    header_timeout: Some(Duration::from_secs(10)),
    // Whoever reads slowly or asks for ever gives the slot back.
    lifetime: Some(Duration::from_secs(60)),
    grace: Duration::from_secs(30),
    http2: false,
};

/// The gateway, as the admin API sees it. What takes long may block: it is not called on a worker thread,
/// but for [`ready`](AdminState::ready) and [`token`](AdminState::token).
pub trait AdminState: Send + Sync + 'static {
    /// True while a snapshot is loaded, the listeners accept and nothing drains.
    fn ready(&self) -> bool;

    /// The token that the configuration in force asks for; none or empty where it asks for none.
    fn token(&self) -> Option<Secret>;

    /// The metrics in the text format of Prometheus.
    fn metrics(&self) -> String;

    /// The compiled routes. No secret may be in it; the same holds for the next two.
    fn routes_json(&self) -> Value;

    /// Upstreams and their targets.
    fn upstreams_json(&self) -> Value;

    /// Every store and how it is.
    fn stores_json(&self) -> Value;

    /// Who is locked out.
    fn lockouts_json(&self) -> Value;

    /// Ends lockouts; how many there were.
    fn end_lockouts(&self, whom: Whom) -> BoxFuture<'_, usize>;

    /// Generation, time and source of what is serving, and the result of the last load.
    fn status_json(&self) -> Value;

    /// Reads the configuration again; what to answer, or everything that is wrong with it, rendered. Runs to
    /// its end even if nobody waits for the answer any more.
    fn reload(&self) -> BoxFuture<'_, Result<Value, String>>;
}

/// Serves the admin API on the current tokio runtime, until what is returned is stopped or dropped.
///
/// # Errors
/// The listener cannot be used.
pub fn start(listener: TcpListener, state: Arc<dyn AdminState>) -> io::Result<Server> {
    let exposed = is_exposed(listener.local_addr()?.ip());
    start_as(listener, state, exposed)
}

/// True for an address that others than this machine may reach.
fn is_exposed(address: IpAddr) -> bool {
    !address.to_canonical().is_loopback()
}

/// Serves `/healthz` and `/readyz` alone, to anyone.
///
/// # Errors
/// The listener cannot be used.
pub fn start_probes(listener: TcpListener, state: Arc<dyn AdminState>) -> io::Result<Server> {
    serve(listener, api::finish(api::probes(), state))
}

fn start_as(listener: TcpListener, state: Arc<dyn AdminState>, exposed: bool) -> io::Result<Server> {
    let access = Arc::new(Access { address: listener.local_addr()?.ip(), exposed, state: state.clone() });
    let router: Router = api::finish(api::probes().merge(api::readers()).merge(api::changes()), state)
        .layer(middleware::from_fn_with_state(access, access::check));
    serve(listener, router)
}

fn serve(listener: TcpListener, router: Router) -> io::Result<Server> {
    Server::start(listener, LIMITS, |_| router.layer(middleware::map_response(api::no_store)))
}

#[cfg(test)]
mod tests;
