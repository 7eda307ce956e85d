//! Where requests go: balancing over an upstream's targets, and the peer that Pingora connects to.

mod identity;

use crate::conf::model::{At, Balance, HashOn, Protocol, Timeouts, Upstream as Written};
use palisade_contract::{ConfigError, Exchange};
use pingora::{
    lb::{
        Backend, Backends, LoadBalancer, discovery,
        selection::{Consistent, RoundRobin},
    },
    protocols::l4::socket::SocketAddr as PeerAddress,
    upstreams::peer::{HttpPeer, PeerOptions},
};
use std::{
    collections::BTreeSet,
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

/// Streams of one HTTP/2 connection to an origin that are used at once. Pingora's default is one.
const H2_STREAMS: usize = 100;

/// A compiled upstream.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How long things may take.
    pub timeouts: Timeouts,
    balancer: Balancer,
    /// By address, in order. Apart from the balancer, which would copy what a backend carries at each choice.
    peers: Vec<(SocketAddr, HttpPeer)>,
    targets: Vec<TargetInfo>,
}

/// What a target is chosen by; empty where it is simply the next one.
#[derive(Debug, Clone)]
pub struct Key(Vec<u8>);

enum Balancer {
    RoundRobin(LoadBalancer<RoundRobin>),
    Hash(LoadBalancer<Consistent>, HashOn),
}

/// A target as the admin API shows it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TargetInfo {
    /// As written.
    pub address: String,
    /// What the name stood for when the configuration was loaded.
    pub resolved: Vec<SocketAddr>,
    /// Its weight.
    pub weight: u16,
}

impl Upstream {
    /// Resolves the targets and prepares their peers. Reads certificates and keys.
    pub fn compile(name: &Arc<str>, written: &At<Written>) -> Result<Self, Vec<ConfigError>> {
        let upstream = &written.value;
        let mut errors = Vec::new();
        let identity = identity::Identity::load(written).unwrap_or_else(|error| {
            errors.extend(error);
            None
        });
        let mut backends = BTreeSet::new();
        let (mut peers, mut targets) = (Vec::new(), Vec::new());
        for target in &upstream.targets {
            let resolved: Vec<SocketAddr> =
                match (target.value.host.as_str(), target.value.port).to_socket_addrs() {
                    Ok(found) => found.collect(),
                    Err(error) => {
                        errors.push(unresolved(target, &error.to_string()));
                        continue;
                    }
                };
            // One address a target: a name with several would weigh several times as much.
            let Some(first) = resolved.first().copied() else {
                errors.push(unresolved(target, "it has no address"));
                continue;
            };
            let backend = backend(first, target.value.weight);
            let server_name = upstream
                .tls
                .as_ref()
                .map(|tls| tls.server_name.clone().unwrap_or_else(|| target.value.host.clone()));
            peers.push((first, peer(name, first, server_name, upstream, identity.as_ref())));
            if backends.replace(backend).is_some() {
                errors.push(
                    ConfigError::at(target.path.clone(), format!("`{first}` is listed twice"))
                        .help("give one entry a `weight` instead")
                        .place(target.place.clone()),
                );
            }
            targets.push(TargetInfo {
                address: format!("{}:{}", target.value.host, target.value.port),
                resolved,
                weight: target.value.weight,
            });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let balancer = match &upstream.balance {
            Balance::RoundRobin => Balancer::RoundRobin(ready(backends)),
            Balance::Hash(on) => Balancer::Hash(ready(backends), on.clone()),
        };
        peers.sort_by_key(|(address, _)| *address);
        Ok(Upstream { name: name.clone(), timeouts: upstream.timeouts.clone(), balancer, peers, targets })
    }

    /// The embedded demo API.
    pub fn demo(address: SocketAddr) -> Self {
        let written = Written {
            balance: Balance::RoundRobin,
            targets: Vec::new(),
            timeouts: Timeouts::default(),
            tls: None,
            protocol: Protocol::Http1,
        };
        let name: Arc<str> = Arc::from("demo");
        let peers = vec![(address, peer(&name, address, None, &written, None))];
        let targets = vec![TargetInfo { address: address.to_string(), resolved: vec![address], weight: 1 }];
        Upstream {
            name,
            timeouts: written.timeouts,
            balancer: Balancer::RoundRobin(ready(BTreeSet::from([backend(address, 1)]))),
            peers,
            targets,
        }
    }

    /// What this exchange's target is chosen by.
    pub fn key(&self, ex: &Exchange) -> Key {
        match &self.balancer {
            Balancer::RoundRobin(_) => Key(Vec::new()),
            Balancer::Hash(_, on) => Key(hash_key(on, ex)),
        }
    }

    /// Chooses a target.
    pub fn select(&self, key: &Key) -> Option<Box<HttpPeer>> {
        /// How many targets are looked at before giving up.
        const LOOKS: usize = 256;
        // One target leaves nothing to choose.
        if let [(_, only)] = self.peers.as_slice() {
            return Some(Box::new(only.clone()));
        }
        let backend = match &self.balancer {
            Balancer::RoundRobin(balancer) => balancer.select(&key.0, LOOKS),
            Balancer::Hash(balancer, _) => balancer.select(&key.0, LOOKS),
        }?;
        let chosen = backend.addr.as_inet()?;
        let index = self.peers.binary_search_by_key(chosen, |(address, _)| *address).ok()?;
        self.peers.get(index).map(|(_, peer)| Box::new(peer.clone()))
    }

    /// Its targets, for the admin API.
    pub fn targets(&self) -> &[TargetInfo] {
        &self.targets
    }

    /// The name of its way of balancing.
    pub fn balance(&self) -> &'static str {
        match self.balancer {
            Balancer::RoundRobin(_) => "round_robin",
            Balancer::Hash(..) => "hash",
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("name", &self.name)
            .field("targets", &self.targets)
            .finish_non_exhaustive()
    }
}

fn backend(address: SocketAddr, weight: u16) -> Backend {
    Backend { addr: PeerAddress::Inet(address), weight: usize::from(weight), ext: http::Extensions::new() }
}

fn unresolved(target: &At<crate::conf::model::Target>, why: &str) -> ConfigError {
    ConfigError::at(target.path.clone(), format!("cannot resolve `{}`: {why}", target.value.host))
        .help("write a name that resolves on this machine, or an address")
        .place(target.place.clone())
}

fn ready<S>(backends: BTreeSet<Backend>) -> LoadBalancer<S>
where
    S: pingora::lb::selection::BackendSelection + 'static,
    S::Iter: pingora::lb::selection::BackendIter,
{
    use futures::FutureExt;
    let balancer = LoadBalancer::from_backends(Backends::new(discovery::Static::new(backends)));
    // A static discovery is there at once, and does not fail.
    if !matches!(balancer.update().now_or_never(), Some(Ok(()))) {
        log::error!("a static set of targets was not ready at once");
    }
    balancer
}

fn peer(
    upstream: &Arc<str>,
    address: SocketAddr,
    server_name: Option<String>,
    written: &Written,
    identity: Option<&identity::Identity>,
) -> HttpPeer {
    let mut peer = HttpPeer::new(address, server_name.is_some(), server_name.unwrap_or_default());
    // Connections are shared within one upstream and TLS identity, never across.
    peer.group_key = group_key(upstream, identity);
    let mut options = PeerOptions::new();
    let timeouts = &written.timeouts;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect);
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

fn group_key(upstream: &str, identity: Option<&identity::Identity>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    upstream.hash(&mut hasher);
    identity.map(|identity| identity.fingerprint).hash(&mut hasher);
    hasher.finish()
}

fn hash_key(on: &HashOn, ex: &Exchange) -> Vec<u8> {
    let by_ip = || ex.client().ip.to_string().into_bytes();
    match on {
        HashOn::Ip => by_ip(),
        HashOn::Path => ex.path().as_bytes().to_vec(),
        HashOn::Header(name) => ex.header(name).map_or_else(by_ip, |value| value.as_bytes().to_vec()),
        HashOn::Cookie(name) => cookie(ex, name).map_or_else(by_ip, |value| value.as_bytes().to_vec()),
        HashOn::Consumer => ex.principal().map_or_else(by_ip, |principal| principal.id.as_bytes().to_vec()),
    }
}

fn cookie<'a>(ex: &'a Exchange, name: &str) -> Option<&'a str> {
    let headers = ex.request.headers.get_all(http::header::COOKIE);
    let pairs = headers.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(';'));
    pairs.filter_map(|pair| pair.trim().split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::model::Target;
    use palisade_contract::Place;
    use std::{collections::BTreeMap, path::Path};

    fn at<T>(value: T) -> At<T> {
        At { value, path: "upstreams.u".to_owned(), place: Place::of_file(Path::new("u.yaml")) }
    }

    fn upstream(targets: &[(&str, u16)], balance: Balance) -> Upstream {
        let target =
            |(host, weight): &(&str, u16)| at(Target { host: (*host).to_owned(), port: 80, weight: *weight });
        let written = Written {
            balance,
            targets: targets.iter().map(target).collect(),
            timeouts: Timeouts::default(),
            tls: None,
            protocol: Protocol::Http1,
        };
        Upstream::compile(&Arc::from("u"), &at(written)).unwrap()
    }

    #[test]
    fn targets_are_chosen_by_weight() {
        for (targets, rounds) in
            [(&[("127.0.0.1", 1)][..], 5), (&[("127.0.0.9", 2), ("127.0.0.1", 1), ("::1", 3)], 60)]
        {
            let upstream = upstream(targets, Balance::RoundRobin);
            let mut counts = BTreeMap::new();
            for _ in 0..rounds {
                let peer = upstream.select(&Key(Vec::new())).unwrap();
                let address = *peer._address.as_inet().unwrap();
                assert_eq!(peer.group_key, group_key("u", None));
                *counts.entry(address.ip().to_string()).or_insert(0) += 1;
            }
            let weights: u32 = targets.iter().map(|(_, weight)| u32::from(*weight)).sum();
            for (host, weight) in targets {
                assert_eq!(counts.get(*host), Some(&(rounds * u32::from(*weight) / weights)), "{host}");
            }
        }
    }

    #[test]
    fn a_key_stays_with_its_target() {
        let upstream = upstream(&[("127.0.0.1", 1), ("127.0.0.2", 1)], Balance::Hash(HashOn::Path));
        let chosen = |key: &str| upstream.select(&Key(key.as_bytes().to_vec())).unwrap()._address.to_string();
        let mut seen = BTreeSet::new();
        for number in 0..64 {
            let key = number.to_string();
            assert_eq!(chosen(&key), chosen(&key));
            seen.insert(chosen(&key));
        }
        assert_eq!(seen.len(), 2);
    }
}
