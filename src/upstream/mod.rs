//! Where requests go: balancing over an upstream's targets, and the peer that Pingora connects to.

mod balance;
mod identity;
mod key;
mod peer;
mod target;

pub use target::{Lease, Target};

use crate::conf::model::{self, At, Balance, Protocol, Timeouts, Upstream as Written};
use arc_swap::ArcSwap;
use balance::{Member, Set, Turn};
use palisade_contract::{ConfigError, Exchange};
use pingora::upstreams::peer::HttpPeer;
use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

/// A compiled upstream.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How long things may take.
    pub timeouts: Timeouts,
    balance: Balance,
    turn: Turn,
    /// Requests of one target that share its pool of connections.
    sharing: u64,
    set: ArcSwap<Set>,
    targets: Vec<TargetInfo>,
}

/// What a target is chosen by; empty where it is simply the next one.
#[derive(Debug, Clone)]
pub struct Key(Vec<u8>);

/// A target that was chosen for a request.
#[derive(Debug)]
pub struct Pick {
    /// How to connect to it.
    pub peer: Box<HttpPeer>,
    /// Counts the request, until it is dropped.
    pub lease: Lease,
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
    /// Resolves the targets and prepares their peers. Reads certificates and keys. What is known of a target that
    /// `previous` has as well goes on being known.
    pub fn compile(
        name: &Arc<str>,
        written: &At<Written>,
        previous: Option<&Upstream>,
    ) -> Result<Self, Vec<ConfigError>> {
        let upstream = &written.value;
        let mut errors = Vec::new();
        let identity = identity::Identity::load(written).unwrap_or_else(|error| {
            errors.extend(error);
            None
        });
        let (mut members, mut targets) = (Vec::<Member>::new(), Vec::new());
        for target in &upstream.targets {
            let resolved = match resolve(target) {
                Ok(resolved) => resolved,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            // One address a target: a name with several would weigh several times as much.
            for address in resolved.iter().copied().take(1) {
                let server_name = upstream
                    .tls
                    .as_ref()
                    .map(|tls| tls.server_name.clone().unwrap_or_else(|| target.value.host.clone()));
                if members.iter().any(|member| member.target.address == address) {
                    errors.push(
                        ConfigError::at(target.path.clone(), format!("`{address}` is listed twice"))
                            .help("give one entry a `weight` instead")
                            .place(target.place.clone()),
                    );
                }
                members.push(Member {
                    target: previous
                        .and_then(|previous| previous.target(address))
                        .unwrap_or_else(|| Arc::new(Target::new(address))),
                    peer: peer::peer(name, address, server_name, upstream, identity.as_ref()),
                    weight: u32::from(target.value.weight),
                });
            }
            targets.push(TargetInfo {
                address: format!("{}:{}", target.value.host, target.value.port),
                resolved,
                weight: target.value.weight,
            });
        }
        if errors.is_empty() { Ok(Upstream::of(name, upstream, members, targets)) } else { Err(errors) }
    }

    /// The embedded demo API.
    pub fn demo(address: SocketAddr) -> Self {
        let written = Written {
            balance: Balance::RoundRobin,
            targets: Vec::new(),
            timeouts: Timeouts::default(),
            tls: None,
            protocol: Protocol::Http1,
            keepalive: model::KEEPALIVE,
        };
        let name: Arc<str> = Arc::from("demo");
        let member = Member {
            target: Arc::new(Target::new(address)),
            peer: peer::peer(&name, address, None, &written, None),
            weight: 1,
        };
        let targets = vec![TargetInfo { address: address.to_string(), resolved: vec![address], weight: 1 }];
        Upstream::of(&name, &written, vec![member], targets)
    }

    fn of(name: &Arc<str>, written: &Written, members: Vec<Member>, targets: Vec<TargetInfo>) -> Self {
        Upstream {
            name: name.clone(),
            timeouts: written.timeouts.clone(),
            turn: Turn::default(),
            sharing: peer::sharing(written.protocol, written.keepalive),
            set: ArcSwap::from_pointee(Set::new(members, &written.balance)),
            balance: written.balance.clone(),
            targets,
        }
    }

    /// What this exchange's target is chosen by.
    pub fn key(&self, ex: &Exchange) -> Key {
        match &self.balance {
            Balance::Hash(on) => Key(key::hash_key(on, ex)),
            _ => Key(Vec::new()),
        }
    }

    /// Chooses a target.
    pub fn pick(&self, key: &Key) -> Option<Pick> {
        let set = self.set.load();
        let member = match set.members.as_slice() {
            // One target leaves nothing to choose.
            [only] => only,
            _ => set.next(&self.balance, &self.turn, &key.0, &|_| true)?,
        };
        let (lease, others) = member.target.begin();
        let mut peer = Box::new(member.peer.clone());
        if others >= self.sharing {
            peer::use_once(&mut peer);
        }
        Some(Pick { peer, lease })
    }

    fn target(&self, address: SocketAddr) -> Option<Arc<Target>> {
        let set = self.set.load();
        set.members.iter().find(|member| member.target.address == address).map(|member| member.target.clone())
    }

    /// Its targets, for the admin API.
    pub fn targets(&self) -> &[TargetInfo] {
        &self.targets
    }

    /// The name of its way of balancing.
    pub fn balance(&self) -> &'static str {
        match self.balance {
            Balance::RoundRobin => "round_robin",
            Balance::Hash(..) => "hash",
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

fn resolve(target: &At<model::Target>) -> Result<Vec<SocketAddr>, ConfigError> {
    let written = &target.value;
    let why = match (written.host.as_str(), written.port).to_socket_addrs() {
        Ok(found) => {
            let found: Vec<SocketAddr> = found.collect();
            if !found.is_empty() {
                return Ok(found);
            }
            "it has no address".to_owned()
        }
        Err(error) => error.to_string(),
    };
    Err(ConfigError::at(target.path.clone(), format!("cannot resolve `{}`: {why}", written.host))
        .help("write a name that resolves on this machine, or an address")
        .place(target.place.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::model::{HashOn, Target};
    use palisade_contract::Place;
    use std::{
        collections::{BTreeMap, BTreeSet},
        path::Path,
    };

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
            keepalive: 2,
        };
        Upstream::compile(&Arc::from("u"), &at(written), None).unwrap()
    }

    #[test]
    fn targets_are_chosen_by_weight() {
        for (targets, rounds) in
            [(&[("127.0.0.1", 1)][..], 5), (&[("127.0.0.9", 2), ("127.0.0.1", 1), ("::1", 3)], 60)]
        {
            let upstream = upstream(targets, Balance::RoundRobin);
            let mut counts = BTreeMap::new();
            for _ in 0..rounds {
                let peer = upstream.pick(&Key(Vec::new())).unwrap().peer;
                let address = *peer._address.as_inet().unwrap();
                assert_eq!(peer.group_key, peer::group_key("u", None));
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
        let chosen =
            |key: &str| upstream.pick(&Key(key.as_bytes().to_vec())).unwrap().peer._address.to_string();
        let mut seen = BTreeSet::new();
        for number in 0..64 {
            let key = number.to_string();
            assert_eq!(chosen(&key), chosen(&key));
            seen.insert(chosen(&key));
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn no_more_requests_share_the_pool_than_it_may_keep_connections() {
        let upstream = upstream(&[("127.0.0.1", 1)], Balance::RoundRobin);
        let pick = || upstream.pick(&Key(Vec::new())).unwrap();
        let shared = |pick: &Pick| {
            let kept = pick.peer.options.idle_timeout != Some(std::time::Duration::ZERO);
            assert_eq!(kept, pick.peer.group_key == peer::group_key("u", None));
            kept
        };
        let mut picks = vec![pick(), pick(), pick(), pick()];
        assert_eq!(picks.iter().map(shared).collect::<Vec<_>>(), [true, true, false, false]);
        picks.truncate(1);
        assert!(shared(&pick()));
        assert_eq!(picks.first().unwrap().lease.target().in_flight(), 1);
    }

    #[test]
    fn a_target_that_stays_is_the_same_after_a_reload() {
        let before = upstream(&[("127.0.0.1", 1), ("127.0.0.2", 1)], Balance::RoundRobin);
        let written = |host: &str| at(Target { host: host.to_owned(), port: 80, weight: 3 });
        let after = Written {
            balance: Balance::RoundRobin,
            targets: vec![written("127.0.0.2"), written("127.0.0.3")],
            timeouts: Timeouts::default(),
            tls: None,
            protocol: Protocol::Http1,
            keepalive: 2,
        };
        let after = Upstream::compile(&Arc::from("u"), &at(after), Some(&before)).unwrap();
        let target = |upstream: &Upstream, host: &str| upstream.target(format!("{host}:80").parse().unwrap());
        let (stays, stayed) = (target(&before, "127.0.0.2"), target(&after, "127.0.0.2"));
        assert!(Arc::ptr_eq(&stays.unwrap(), &stayed.unwrap()));
        assert!(target(&after, "127.0.0.3").is_some() && target(&after, "127.0.0.1").is_none());
    }
}
