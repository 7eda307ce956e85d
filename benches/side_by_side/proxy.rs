//! The least that Pingora needs to be a proxy.

use async_trait::async_trait;
use pingora::{
    Result,
    prelude::HttpPeer,
    proxy::{ProxyHttp, Session},
};
use std::{net::SocketAddr, time::Duration};

/// To one origin; timeouts are palisade's defaults.
pub struct Bare {
    /// Where to.
    pub origin: SocketAddr,
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
