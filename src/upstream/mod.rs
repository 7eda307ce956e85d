//! Where requests go: balancing over an upstream's targets, and the peer that Pingora connects to.

mod balance;
mod health;
mod identity;
mod key;
mod peer;
mod retry;
mod standing;
mod target;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use peer::use_once;
pub use retry::{Failure, Retries};
pub use standing::State;
pub use target::{Lease, Target};
pub use view::{AddressView, TargetView};

use crate::conf::model::{self, At, Balance, Health, Outlier, Protocol, Timeouts, Upstream as Written};
use arc_swap::ArcSwap;
use balance::{Member, Set, Turn};
use palisade_contract::{ConfigError, Exchange};
use parking_lot::Mutex;
use pingora::upstreams::peer::HttpPeer;
use standing::Rules;
use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Instant,
};
use tokio::task::AbortHandle;

/// A compiled upstream.
pub struct Upstream {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// True where a body may go on for as long as it likes: gRPC streams.
    pub streams: bool,
    balance: Balance,
    turn: Turn,
    /// Apart from the other: a retry would take the turn of a request, and upset the round.
    retry_turn: Turn,
    /// Requests of one target that share its pool of connections.
    sharing: u64,
    set: ArcSwap<Set>,
    outlier: Option<Outlier>,
    rules: Rules,
    health: Option<Health>,
    protocol: Protocol,
    /// What runs in the background, while this is what serves.
    tasks: Mutex<Vec<AbortHandle>>,
    retries: Retries,
    targets: Vec<Listed>,
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

/// A target as it is written, and what it stands for.
#[derive(Debug, Clone)]
struct Listed {
    address: String,
    resolved: Vec<SocketAddr>,
    weight: u16,
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
                    target: target_at(address, previous, upstream),
                    peer: peer::peer(name, address, server_name, upstream, identity.as_ref()),
                    authority: authority(&target.value),
                    weight: u32::from(target.value.weight),
                });
            }
            targets.push(Listed {
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
            outlier: None,
            slow_start: None,
            health: None,
            retries: model::Retries::default(),
        };
        let name: Arc<str> = Arc::from("demo");
        let member = Member {
            target: Arc::new(Target::new(address)),
            peer: peer::peer(&name, address, None, &written, None),
            authority: Arc::from(address.to_string()),
            weight: 1,
        };
        let targets = vec![Listed { address: address.to_string(), resolved: vec![address], weight: 1 }];
        Upstream::of(&name, &written, vec![member], targets)
    }

    fn of(name: &Arc<str>, written: &Written, members: Vec<Member>, targets: Vec<Listed>) -> Self {
        Upstream {
            name: name.clone(),
            timeouts: written.timeouts.clone(),
            streams: written.protocol == Protocol::Grpc,
            turn: Turn::default(),
            retry_turn: Turn::default(),
            sharing: peer::sharing(written.protocol, written.keepalive),
            set: ArcSwap::from_pointee(Set::new(members, &written.balance)),
            balance: written.balance.clone(),
            outlier: written.outlier,
            rules: Rules { slow_start: written.slow_start, checked: written.health.is_some() },
            health: written.health.clone(),
            protocol: written.protocol,
            tasks: Mutex::default(),
            retries: Retries::new(&written.retries),
            targets,
        }
    }

    /// Begins what runs in the background; in a runtime.
    pub fn start(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock();
        if let (Some(health), true) = (&self.health, tasks.is_empty()) {
            tasks.push(tokio::spawn(health::run(self.clone(), health.clone())).abort_handle());
        }
    }

    /// Ends what runs in the background.
    pub fn stop(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    /// What this exchange's target is chosen by.
    pub fn key(&self, ex: &Exchange) -> Key {
        match &self.balance {
            Balance::Hash(on) => Key(key::hash_key(on, ex)),
            _ => Key(Vec::new()),
        }
    }

    /// Chooses a target, one that was not `tried` where there is another; none where none is well.
    pub fn pick(&self, key: &Key, tried: &[SocketAddr]) -> Option<Pick> {
        let set = self.set.load();
        let share = |member: &Member| member.target.standing.share(self.rules);
        let turn = if tried.is_empty() { &self.turn } else { &self.retry_turn };
        let next = |share: &dyn Fn(&Member) -> u32| set.next(&self.balance, turn, &key.0, share);
        let untried = |member: &Member| match tried.contains(&member.target.address) {
            true => 0,
            false => share(member),
        };
        let member = match set.members.as_slice() {
            // One target leaves nothing to choose.
            [only] => Some(only).filter(|only| share(only) > 0)?,
            _ if tried.is_empty() => next(&share)?,
            _ => next(&untried).or_else(|| next(&share))?,
        };
        let (lease, others) = member.target.begin();
        let mut peer = Box::new(member.peer.clone());
        if others >= self.sharing {
            use_once(&mut peer);
        }
        Some(Pick { peer, lease })
    }

    /// A request failed that a target should have served.
    pub fn failed(&self, target: &Target) {
        let Some(outlier) = &self.outlier else { return };
        let ejected = target.standing.failed(outlier, Instant::now(), || self.may_eject(target));
        if let Some(time) = ejected {
            log::warn!(
                "upstream {}: {} is put aside for {} s after {} failures in succession",
                self.name,
                target.address,
                time.as_secs_f32(),
                outlier.consecutive_failures
            );
        }
    }

    /// Not more than half of the targets, and not the last one: who serves some requests serves more than nobody.
    fn may_eject(&self, target: &Target) -> bool {
        let set = self.set.load();
        let away = |member: &&Member| {
            member.target.address != target.address && member.target.standing.share(self.rules) == 0
        };
        let gone = set.members.iter().filter(away).count() + 1;
        gone * 2 <= set.members.len()
    }

    /// When requests are sent again.
    pub fn retries(&self) -> &Retries {
        &self.retries
    }

    /// Takes one retry out of the budget.
    pub fn take_retry(&self) -> bool {
        let set = self.set.load();
        let requests = set.members.iter().map(|member| member.target.begun()).sum();
        self.retries.take(Instant::now(), requests)
    }

    fn target(&self, address: SocketAddr) -> Option<Arc<Target>> {
        let set = self.set.load();
        set.members.iter().find(|member| member.target.address == address).map(|member| member.target.clone())
    }

    /// All its addresses as they are now.
    pub fn addresses(&self) -> Vec<AddressView> {
        let set = self.set.load();
        set.members.iter().map(|member| AddressView::of(&member.target, self.rules)).collect()
    }

    /// Its targets, for the admin API.
    pub fn targets(&self) -> Vec<TargetView> {
        let show =
            |address: &SocketAddr| self.target(*address).map(|target| AddressView::of(&target, self.rules));
        let listed = self.targets.iter().map(|listed| TargetView {
            address: listed.address.clone(),
            resolved: listed.resolved.clone(),
            weight: listed.weight,
            addresses: listed.resolved.iter().filter_map(show).collect(),
        });
        listed.collect()
    }

    /// The name of its way of balancing.
    pub fn balance(&self) -> &'static str {
        match self.balance {
            Balance::RoundRobin => "round_robin",
            Balance::Random => "random",
            Balance::LeastConnections => "least_connections",
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

/// The target as a request names it.
fn authority(target: &model::Target) -> Arc<str> {
    let (host, port) = (&target.host, target.port);
    Arc::from(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}

/// What is known of a target, or a new one: beside others that have long been there it begins slowly.
fn target_at(address: SocketAddr, previous: Option<&Upstream>, written: &Written) -> Arc<Target> {
    let Some(previous) = previous else { return Arc::new(Target::new(address)) };
    previous.target(address).unwrap_or_else(|| {
        let new = Target::new(address);
        if written.slow_start.is_some() {
            new.standing.begin_slowly(Instant::now());
        }
        Arc::new(new)
    })
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
