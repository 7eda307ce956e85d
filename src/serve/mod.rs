//! A small HTTP server for what the gateway itself serves beside its traffic: the admin API and the demo API.
//!
//! Traffic of clients never comes here. Every connection is bounded: how many there are, how long a head may
//! take and, where asked, how long a connection may live.

mod problem;

pub use problem::{PROBLEM_JSON, problem};

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time,
};

use crate::logging;

/// The most header fields that a request may have.
const HEADERS: usize = 512;
/// The most bytes that a head may have.
const HEAD_BYTES: usize = 128 * 1024;
/// How long after a failed accept the next one is tried; a lack of file descriptors does not go at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often a failed accept is told.
const ACCEPT_LOG: Duration = Duration::from_secs(10);

/// What the connections of one server may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At once; further ones wait in the kernel's queue until one ends.
    pub connections: usize,
    /// For the whole head of a request, and for the wait between two; none: for ever.
    pub header_timeout: Option<Duration>,
    /// After this long a connection takes no further request; none: for ever.
    pub lifetime: Option<Duration>,
    /// How long requests in flight may go on after `lifetime` or [`Server::stop`].
    pub grace: Duration,
    /// True: HTTP/2 with prior knowledge, and upgrades. It needs a client that is trusted to say something:
    /// `header_timeout` begins only after the first bytes.
    pub http2: bool,
}

/// A running server. It stops when this is dropped, without waiting for requests in flight.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    grace: Duration,
    stop: watch::Sender<bool>,
    /// Ends once nothing is accepted any more.
    open: watch::Receiver<()>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on `listener` from the current tokio runtime. `router` is given what says when the server
    /// stops ([`stopped`]), for answers that would never end by themselves.
    ///
    /// # Errors
    /// The listener cannot be used: it has no address, or it cannot be made non-blocking.
    pub fn start(
        listener: std::net::TcpListener,
        limits: Limits,
        router: impl FnOnce(watch::Receiver<bool>) -> Router,
    ) -> io::Result<Server> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopping) = watch::channel(false);
        let router = router(stopping.clone());
        let (accepts, open) = watch::channel(());
        let accepting = tokio::spawn(accept((listener, accepts), router, limits, stopping));
        Ok(Server { address, grace: limits.grace, stop, open, accepting: Some(accepting) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more.
    pub async fn close(&mut self) {
        self.stop.send_replace(true);
        // Nothing is ever sent: it only ends.
        while self.open.changed().await.is_ok() {}
    }

    /// Accepts nothing more, lets requests in flight end within the grace of its limits, and returns when
    /// the last connection is closed.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let Some(mut accepting) = self.accepting.take() else { return };
        // The second half of the grace is for the connections' own clock to run out first.
        if time::timeout(self.grace * 2, &mut accepting).await.is_err() {
            accepting.abort();
            let _ = accepting.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting.take() {
            accepting.abort();
        }
    }
}

/// Resolves once the server stops or is dropped.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

async fn accept(
    (listener, accepts): (TcpListener, watch::Sender<()>),
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    // Dropped with this task, and with it every connection that is left.
    let mut connections = JoinSet::new();
    loop {
        let slot = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            slot = slots.clone().acquire_owned() => slot,
        };
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stopping) => break,
            accepted = listener.accept() => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (router, stopping) = (router.clone(), stopping.clone());
                connections.spawn(async move {
                    serve(stream, router, limits, stopping).await;
                    drop(slot);
                });
            }
            Err(error) => {
                logging::every(ACCEPT_LOG, "serve", || {
                    log::warn!("a connection could not be accepted: {error}");
                });
                time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop((listener, accepts));
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, router: Router, limits: Limits, stopping: watch::Receiver<bool>) {
    // Only latency is lost without it.
    let _ = stream.set_nodelay(true);
    let builder = builder(limits);
    let (io, service) = (TokioIo::new(stream), TowerToHyperService::new(router));
    if limits.http2 {
        drive(builder.serve_connection_with_upgrades(io, service), limits, stopping).await;
    } else {
        // The other one looks for an HTTP/2 preface first, and waits for it without any limit.
        drive(builder.serve_connection(io, service), limits, stopping).await;
    }
}

async fn drive(connection: impl GracefulConnection, limits: Limits, mut stopping: watch::Receiver<bool>) {
    let mut connection = pin!(connection);
    let end = async {
        match limits.lifetime {
            Some(lifetime) => {
                let _ = time::timeout(lifetime, stopped(&mut stopping)).await;
            }
            None => stopped(&mut stopping).await,
        }
    };
    // How a client's connection ends is the client's business: errors here are nobody's fault of ours.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = end => connection.as_mut().graceful_shutdown(),
    }
    let _ = time::timeout(limits.grace, connection).await;
}

fn builder(limits: Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if !limits.http2 {
        builder = builder.http1_only();
    }
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LIMITS: Limits = Limits {
        connections: 1,
        header_timeout: Some(Duration::from_millis(200)),
        lifetime: None,
        grace: Duration::from_secs(5),
        http2: false,
    };

    fn server(limits: Limits) -> Server {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        Server::start(listener, limits, |_| Router::new().route("/", get(|| async { "hello" }))).unwrap()
    }

    async fn answer_to(server: &Server, request: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_silent_connection_gives_its_slot_back() {
        let server = server(LIMITS);
        let mut silent = TcpStream::connect(server.address()).await.unwrap();
        // Until the silent one is closed there is no slot for this one.
        let answer = answer_to(&server, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        assert!(answer.ends_with("hello"), "{answer}");
        let mut rest = Vec::new();
        let _ = silent.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("hello"));
    }

    #[tokio::test]
    async fn a_connection_ends_after_its_lifetime() {
        let limits = Limits { lifetime: Some(Duration::from_millis(50)), header_timeout: None, ..LIMITS };
        let server = server(limits);
        let answer = answer_to(&server, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(answer.ends_with("hello"), "{answer}");
    }

    #[tokio::test]
    async fn stopping_closes_the_listener_and_idle_connections() {
        let server = server(Limits { header_timeout: None, ..LIMITS });
        let address = server.address();
        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        idle.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        server.stop().await;
        let mut rest = String::new();
        idle.read_to_string(&mut rest).await.unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
