//! What Pingora is told of a target: how to connect, and who may share the connection.

use super::identity::Identity;
use crate::conf::model::{Protocol, Upstream as Written};
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    time::Duration,
};

/// Streams of one HTTP/2 connection to an origin that are used at once. Pingora's default is one.
pub(super) const H2_STREAMS: usize = 100;
/// Sets apart connections that are used once.
const SINGLE_USE: u64 = 0x0073_696e_676c_6500;

/// Sets apart connections that one request has to itself.
const ALONE: u64 = 0x0061_6c6f_6e65_0000;

/// The peer of a target.
pub(super) fn peer(
    upstream: &str,
    address: SocketAddr,
    server_name: Option<String>,
    written: &Written,
    identity: Option<&Identity>,
) -> HttpPeer {
    let mut peer = HttpPeer::new(address, server_name.is_some(), server_name.unwrap_or_default());
    // Connections are shared within one upstream and TLS identity, never across.
    peer.group_key = group_key(upstream, identity);
    let mut options = PeerOptions::new();
    let timeouts = &written.timeouts;
    // Nothing may take longer than the whole.
    let connect = timeouts.connect.min(timeouts.total);
    options.connection_timeout = Some(connect);
    options.total_connection_timeout = Some(connect);
    options.read_timeout = Some(timeouts.read);
    options.write_timeout = Some(timeouts.write);
    options.idle_timeout = Some(timeouts.idle);
    options.verify_cert = true;
    options.verify_hostname = true;
    match written.protocol {
        Protocol::Http1 => options.set_http_version(1, 1),
        Protocol::Http2 | Protocol::Grpc => options.set_http_version(2, 2),
    }
    options.max_h2_streams = H2_STREAMS;
    if let Some(identity) = identity {
        options.ca = identity.ca.clone();
        peer.client_cert_key = identity.own.clone();
    }
    peer.options = options;
    peer
}

/// Makes a peer's connection one that is closed after the request, and that none of the pool is taken for.
///
/// As many requests of a target as it may keep connections share its pool. A connection is made only while none
/// of the pool is idle, so that the pool never holds more of them.
pub(crate) fn use_once(peer: &mut HttpPeer) {
    if peer.options.idle_timeout == Some(Duration::ZERO) {
        return;
    }
    peer.group_key ^= SINGLE_USE;
    peer.options.idle_timeout = Some(Duration::ZERO);
}

/// Makes a peer's connection one that the request has to itself, although it speaks HTTP/2. It is kept for the next of
/// the kind.
pub(super) fn use_alone(peer: &mut HttpPeer) {
    peer.group_key ^= ALONE;
    peer.options.max_h2_streams = 1;
}

/// True where a request has the connection of a peer to itself.
pub(crate) fn is_alone(peer: &HttpPeer) -> bool {
    !speaks_http2(peer) || peer.options.max_h2_streams == 1
}

/// True where HTTP/2 is spoken.
pub(crate) fn speaks_http2(peer: &HttpPeer) -> bool {
    peer.options.alpn.get_max_http_version() > 1
}

/// How many requests of one target share its pool of `keepalive` connections.
pub(super) fn sharing(protocol: Protocol, keepalive: u32) -> u64 {
    match protocol {
        Protocol::Http1 => u64::from(keepalive),
        Protocol::Http2 | Protocol::Grpc => u64::from(keepalive) * H2_STREAMS as u64,
    }
}

pub(super) fn group_key(upstream: &str, identity: Option<&Identity>) -> u64 {
    let mut hasher = DefaultHasher::new();
    upstream.hash(&mut hasher);
    identity.map(|identity| identity.fingerprint).hash(&mut hasher);
    hasher.finish()
}
