//! What Pingora asks of every stream: passed on to the one below.

use super::Guard;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
    raw_connect::ProxyDigest,
    tls::{SslDigest, TlsRef},
};
use std::{sync::Arc, time::Duration};

impl UniqueID for Guard {
    fn id(&self) -> UniqueIDType {
        self.lock().io.id()
    }
}

impl Ssl for Guard {
    /// Cannot be lent through the lock; the digest carries what is needed.
    fn get_ssl(&self) -> Option<&TlsRef> {
        None
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.lock().io.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.lock().io.selected_alpn_proto()
    }
}

impl GetTimingDigest for Guard {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.lock().io.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.lock().io.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.lock().io.get_write_pending_time()
    }
}

impl GetProxyDigest for Guard {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.lock().io.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.lock().io.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Guard {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.lock().io.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.lock().io.set_socket_digest(digest);
    }
}

impl Peek for Guard {}
