//! The least that Pingora needs to be a proxy: what `run` measures palisade against.
//!
//! `bare LISTEN ORIGIN`, both `ADDRESS:PORT`. One thread; timeouts and pool are palisade's defaults.

use async_trait::async_trait;
use pingora::{
    Result,
    prelude::HttpPeer,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
};
use std::{net::SocketAddr, process::ExitCode, time::Duration};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Bare {
    origin: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let mut peer = HttpPeer::new(self.origin, false, String::new());
        peer.options.connection_timeout = Some(Duration::from_secs(3));
        peer.options.total_connection_timeout = Some(Duration::from_secs(3));
        peer.options.read_timeout = Some(Duration::from_secs(15));
        peer.options.write_timeout = Some(Duration::from_secs(15));
        peer.options.idle_timeout = Some(Duration::from_secs(60));
        Ok(Box::new(peer))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origin] = arguments.as_slice() else { return ExitCode::from(2) };
    let Ok(origin) = origin.parse() else { return ExitCode::from(2) };
    // Pingora's connectors need a process-wide provider; there is none yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 128, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Bare { origin });
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}
