//! The least that Pingora needs to be a proxy: what `run` measures palisade against.
//!
//! `bare LISTEN ORIGIN`, both `ADDRESS:PORT`. One thread; timeouts and pool are palisade's defaults.

use pingora::{
    proxy::http_proxy_service,
    server::{Server, configuration::ServerConf},
};
use std::process::ExitCode;

#[path = "proxy.rs"]
mod proxy;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origin] = arguments.as_slice() else { return ExitCode::from(2) };
    let Ok(origin) = origin.parse() else { return ExitCode::from(2) };
    // Pingora's connectors need a process-wide provider; there is none yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 128, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, proxy::Bare { origin });
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever()
}
