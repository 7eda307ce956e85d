//! The proxy of `bare.rs` behind palisade's connection layer, and nothing else of palisade: what that layer costs.
//!
//! `guarded LISTEN ORIGIN`, both `ADDRESS:PORT`. One thread.

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use palisade::{
    conf::model::Limits,
    edge::{
        ConnInfo, EdgeEvents, Refusal, Registry,
        connection::{Bounds, Shared},
        listen::{self, Listener, Settings},
        turns::Turns,
        workers::Workers,
    },
};
use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use std::{net::SocketAddr, process::ExitCode, sync::Arc};
use tokio::sync::watch;

#[path = "proxy.rs"]
mod proxy;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Silent;

impl EdgeEvents for Silent {
    fn refused<'a>(&'a self, _: &'a ConnInfo, _: Refusal, _: &'a [u8]) -> BoxFuture<'a, Vec<u8>> {
        Box::pin(async { b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec() })
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origin] = arguments.as_slice() else { return ExitCode::from(2) };
    let (Ok(listen), Ok(origin)) = (listen.parse(), origin.parse()) else { return ExitCode::from(2) };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve(listen, origin)));
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn serve(listen: SocketAddr, origin: SocketAddr) -> std::io::Result<()> {
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 128, ..ServerConf::default() };
    let (_stop, stopping) = watch::channel(false);
    let (_drain, draining) = watch::channel(false);
    let (registry, conf) = (Arc::new(Registry::default()), Arc::new(conf));
    let door = registry.door();
    let workers = Workers::on(&[], || Shared {
        proxy: Arc::new(http_proxy(&conf, proxy::Bare { origin })),
        registry: registry.clone(),
        events: Arc::new(Silent),
        draining: draining.clone(),
        bounds: Bounds::default(),
        handshakes: Turns::default(),
    });
    let limits = Limits { connections_per_ip: 20_000, ..Limits::default() };
    let settings = ArcSwap::from_pointee(Settings {
        connections: limits.connections,
        limits: Arc::new(limits),
        tls: None,
        http2: false,
        proxy_protocol: false,
        trusted: Vec::new(),
    });
    let socket = listen::bind(listen)?;
    let listener = Arc::new(Listener { name: "public".into(), address: listen, door, settings });
    listen::accept(workers, listener, socket, stopping).await
}
