//! Where requests go: balancing over an upstream's targets, and the peer that Pingora connects to.

mod balance;
mod blueprint;
mod health;
mod identity;
mod key;
mod known;
mod peer;
mod resolve;
mod retry;
mod standing;
mod target;
#[cfg(test)]
mod tests;
mod view;

pub use known::Known;
pub(crate) use peer::{is_alone, speaks_http2, use_once};
pub use retry::{Failure, Retries};
pub use standing::State;
pub use target::{Lease, Target};
pub use view::{AddressView, TargetView};

use crate::conf::model::{self, At, Balance, Outlier, Protocol, Timeouts, Upstream as Written};
use arc_swap::ArcSwap;
use balance::{Member, Set, Turn};
use blueprint::Blueprint;
use palisade_contract::{ConfigError, Exchange, Place};
use parking_lot::Mutex;
use pingora::upstreams::peer::HttpPeer;
use standing::Rules;
use std::{fmt, net::SocketAddr, sync::Arc, time::Instant};
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
    /// What runs in the background, while this is what serves.
    tasks: Mutex<Vec<AbortHandle>>,
    retries: Retries,
    blueprint: Blueprint,
    /// What each target stands for.
    resolved: ArcSwap<Vec<Vec<SocketAddr>>>,
}

/// What a target is chosen by; empty where it is simply the next one.
#[derive(Debug, Clone, Default)]
pub struct Key(Vec<u8>);

/// A target that was chosen for a request.
#[derive(Debug)]
pub struct Pick {
    /// How to connect to it.
    pub peer: Box<HttpPeer>,
    /// Counts the request, until it is dropped.
    pub lease: Lease,
    /// Other requests that the target serves.
    others: u64,
}

impl Pick {
    /// Gives the request a connection to itself, although it speaks HTTP/2. Of these `keepalive` are kept as well.
    pub(crate) fn set_apart(&mut self, upstream: &Upstream) {
        if self.others >= u64::from(upstream.blueprint.written.keepalive) {
            use_once(&mut self.peer);
        }
        peer::use_alone(&mut self.peer);
    }
}

impl Upstream {
    /// Resolves the targets and prepares their peers. Reads certificates and keys. What is known of a target that
    /// `previous` has as well goes on being known. Where it is only to be checked, on a machine that may know other
    /// names than the one that will serve, a name that does not resolve is a warning.
    pub fn compile(
        name: &Arc<str>,
        written: &At<Written>,
        previous: Option<&Upstream>,
        dry_run: bool,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let identity = identity::Identity::load(written).unwrap_or_else(|error| {
            errors.extend(error);
            None
        });
        let mut resolved = Vec::<Vec<SocketAddr>>::new();
        for (target, found) in written.value.targets.iter().zip(resolve::now(&written.value.targets)) {
            let found = found.unwrap_or_else(|error| {
                let error = unresolved(target, &error);
                if dry_run {
                    log::warn!("{}: {}", target.place, error.message);
                } else {
                    errors.push(error);
                }
                Vec::new()
            });
            if let Some(twice) =
                found.iter().find(|address| resolved.iter().flatten().any(|other| other == *address))
            {
                errors.push(
                    ConfigError::at(target.path.clone(), format!("`{twice}` is listed twice"))
                        .help("give one entry a `weight` instead")
                        .place(target.place.clone()),
                );
            }
            resolved.push(found);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let blueprint = Blueprint { written: written.value.clone(), identity };
        let last = previous.map(|previous| previous.set.load_full());
        Ok(Upstream::of(name, blueprint, resolved, last.as_deref()))
    }

    /// An upstream that is never connected to: no name is asked for.
    ///
    /// # Errors
    /// What is wrong with its certificates.
    pub fn unreached(name: &Arc<str>, written: &At<Written>) -> Result<Self, Vec<ConfigError>> {
        let identity = identity::Identity::load(written)?;
        let blueprint = Blueprint { written: written.value.clone(), identity };
        Ok(Upstream::of(name, blueprint, vec![Vec::new(); written.value.targets.len()], None))
    }

    /// The embedded demo API.
    pub fn demo(address: SocketAddr) -> Self {
        let target = model::Target { host: address.ip().to_string(), port: address.port(), weight: 1 };
        let place = Place::of_file(std::path::Path::new(""));
        let written = Written {
            balance: Balance::RoundRobin,
            targets: vec![At { value: target, path: "demo".to_owned(), place }],
            timeouts: Timeouts::default(),
            tls: None,
            protocol: Protocol::Http1,
            keepalive: model::KEEPALIVE,
            outlier: None,
            slow_start: None,
            health: None,
            retries: model::Retries::default(),
        };
        let blueprint = Blueprint { written, identity: None };
        Upstream::of(&Arc::from("demo"), blueprint, vec![vec![address]], None)
    }

    fn of(name: &Arc<str>, blueprint: Blueprint, resolved: Vec<Vec<SocketAddr>>, last: Option<&Set>) -> Self {
        let written = &blueprint.written;
        Upstream {
            name: name.clone(),
            timeouts: written.timeouts.clone(),
            streams: written.protocol == Protocol::Grpc,
            turn: Turn::default(),
            retry_turn: Turn::default(),
            sharing: peer::sharing(written.protocol, written.keepalive),
            set: ArcSwap::from_pointee(blueprint.set(name, &resolved, last)),
            resolved: ArcSwap::from_pointee(resolved),
            balance: written.balance.clone(),
            outlier: written.outlier,
            rules: Rules { slow_start: written.slow_start, checked: written.health.is_some() },
            tasks: Mutex::default(),
            retries: Retries::new(&written.retries),
            blueprint,
        }
    }

    /// Sends requests to what the targets stand for now.
    fn renew(&self, resolved: Vec<Vec<SocketAddr>>) {
        let set = self.blueprint.set(&self.name, &resolved, Some(&self.set.load()));
        self.resolved.store(Arc::new(resolved));
        self.set.store(Arc::new(set));
    }

    /// Begins what runs in the background; in a runtime.
    pub fn start(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock();
        if !tasks.is_empty() {
            return;
        }
        let written = &self.blueprint.written;
        if let Some(health) = &written.health {
            tasks.push(tokio::spawn(health::run(self.clone(), health.clone())).abort_handle());
        }
        if written.targets.iter().any(resolve::is_name) {
            tasks.push(tokio::spawn(resolve::run(self.clone(), resolve::Names::default())).abort_handle());
        }
    }

    /// Ends what runs in the background.
    pub fn stop(&self) {
        self.tasks.lock().drain(..).for_each(|task| task.abort());
    }

    /// True where a target is chosen by what is in the request.
    pub fn is_keyed(&self) -> bool {
        matches!(self.balance, Balance::Hash(_))
    }

    /// What this exchange's target is chosen by.
    pub fn key(&self, ex: &Exchange) -> Key {
        match &self.balance {
            Balance::Hash(on) => Key(key::hash_key(on, ex)),
            _ => Key::default(),
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
        member.target.standing.begin_probe();
        let (lease, others) = member.target.begin();
        let mut peer = Box::new(member.peer.clone());
        if others >= self.sharing {
            use_once(&mut peer);
        }
        Some(Pick { peer, lease, others })
    }

    /// A request failed that a target should have served. Where nobody can be connected to, all targets may be put
    /// aside: who waits for them is told so at once.
    pub fn failed(&self, target: &Target, failure: Failure) {
        let Some(outlier) = &self.outlier else { return };
        let connect = failure == Failure::Connect;
        let may = || connect || self.may_eject(target);
        let ejected = target.standing.failed(outlier, Instant::now(), connect, may);
        if let Some(time) = ejected {
            target.ejected();
            log::warn!(
                "upstream {}: {} is put aside for {} s, {}",
                self.name,
                target.address,
                time.as_secs_f32(),
                if connect { "it cannot be connected to" } else { "requests have failed in succession" }
            );
        }
    }

    /// Not more than half of the targets, and not the last one: who serves some requests serves more than nobody.
    fn may_eject(&self, target: &Target) -> bool {
        let set = self.set.load();
        let away = |member: &&Member| {
            member.target.address != target.address
                && !member.target.standing.state(self.rules).takes_requests()
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

    /// All its addresses as they are now.
    pub fn addresses(&self) -> Vec<AddressView> {
        let set = self.set.load();
        set.members.iter().map(|member| AddressView::of(&member.target, self.rules)).collect()
    }

    /// Its targets, for the admin API.
    pub fn targets(&self) -> Vec<TargetView> {
        let (set, resolved) = (self.set.load(), self.resolved.load());
        let show =
            |address: &SocketAddr| set.target(*address).map(|target| AddressView::of(target, self.rules));
        let listed =
            self.blueprint.written.targets.iter().zip(resolved.iter()).map(|(target, resolved)| TargetView {
                address: blueprint::authority(&target.value).to_string(),
                resolved: resolved.clone(),
                weight: target.value.weight,
                addresses: resolved.iter().filter_map(show).collect(),
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
            .field("resolved", &self.resolved)
            .finish_non_exhaustive()
    }
}

fn unresolved(target: &At<model::Target>, why: &std::io::Error) -> ConfigError {
    ConfigError::at(target.path.clone(), format!("cannot resolve `{}`: {why}", target.value.host))
        .help("write a name that resolves on this machine, or an address")
        .place(target.place.clone())
}
