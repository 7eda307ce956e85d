//! The connection layer: what a connection must survive before any plugin, and the one canonical request.
//!
//! Pingora's own listening service is not used. Sockets are bound and accepted here ([`listen`]); each
//! connection is one small task ([`connection`]) that waits for a head in a state of its own, reads it strictly
//! ([`framing`]) and hands one request at a time to Pingora through a [`Guard`], which never shows Pingora a byte
//! that does not belong to that request. The request is then made canonical ([`canonical`], [`path`](crate::path),
//! [`headers`]).
//!
//! Invariants:
//! - what the guard has passed can be read in one way only;
//! - a connection that waits holds no Pingora state;
//! - accepting never sleeps while an idle connection can make room.

pub mod canonical;
pub mod connection;
mod exchange;
pub mod frames;
pub mod framing;
pub mod guard;
pub mod handover;
pub mod headers;
mod held;
mod http2;
pub mod listen;
mod pace;
pub mod pressure;
pub mod proxy_protocol;
pub mod registry;
pub mod stream;
mod tcp;
pub mod tls;
pub mod turns;
pub mod upgrade;
pub mod workers;

pub(crate) use exchange::extension;
pub use framing::Refusal;
pub use guard::{Ahead, Guard};
pub use registry::{Door, InFlight, Registry, Stats};

use crate::conf::model::Limits;
use canonical::LastHost;
use futures::future::BoxFuture;
use palisade_contract::Client;
use pingora::proxy::Session;
use std::{net::SocketAddr, sync::Arc};

/// What is known of a connection.
#[derive(Debug)]
pub struct ConnInfo {
    /// The other end; where a proxy has said so by the PROXY protocol, its other end.
    pub peer: SocketAddr,
    /// The client as it is where no proxy is trusted: shared by all requests of the connection.
    pub client: Arc<Client>,
    /// What its requests may use.
    pub limits: Arc<Limits>,
    /// What the origin is told of that client.
    pub forwarded: headers::Forwarded,
    /// True where a proxy sent it and did not say for whom: then it says nothing of others in headers either.
    pub nameless: bool,
    /// What it may be used for; none: it is plain text.
    pub hosts: Option<Arc<tls::Hosts>>,
    /// True where TLS is a trusted proxy's own.
    pub relayed: bool,
    /// The connections of its listener, by which clients behind trusted proxies are counted.
    pub door: Option<Arc<Door>>,
    /// The host of the last request.
    host: LastHost,
}

impl ConnInfo {
    /// A connection of this client.
    pub fn new(client: Client, limits: Arc<Limits>) -> Self {
        let forwarded = headers::Forwarded::of(&client);
        ConnInfo {
            peer: client.peer,
            client: Arc::new(client),
            limits,
            forwarded,
            nameless: false,
            hosts: None,
            relayed: false,
            door: None,
            host: LastHost::default(),
        }
    }
}

/// What the edge reports.
pub trait EdgeEvents: Send + Sync {
    /// A request was refused before Pingora saw it. `head` is what was read of it. The answer comes back, as HTTP/1.
    fn refused<'a>(
        &'a self,
        connection: &'a ConnInfo,
        refusal: Refusal,
        head: &'a [u8],
    ) -> BoxFuture<'a, Vec<u8>>;
}

tokio::task_local! {
    /// Of the streams of HTTP/2; an HTTP/1 connection has it in its guard.
    static CONNECTION: Arc<ConnInfo>;
}

/// The connection that the session's request came in on; none in a subrequest.
pub fn conn_info(session: &Session) -> Option<Arc<ConnInfo>> {
    if session.is_subrequest() {
        return None;
    }
    match Guard::borrowed(session) {
        Some(guard) => Some(guard.connection().clone()),
        None => CONNECTION.try_with(Arc::clone).ok(),
    }
}
