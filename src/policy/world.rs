//! A gateway without a network, of one configuration: its snapshots, its clock, and what it would reach.

use super::{
    host::{Dependency, Mocked},
    store::Memory,
};
use crate::{
    conf::{LoadError, model::Config},
    edge::ConnInfo,
    gateway::{CompileEnv, Snapshot},
    metrics::Metrics,
    server,
    upstream::Upstream,
};
use palisade_contract::{Client, Descriptor, Host, Store, Tls, env::Keep};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// The port that clients come from.
const CLIENT_PORT: u16 = 40_000;

/// Reads and checks a configuration, and reaches nobody: no name server, no store.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(dir: &Path, registry: &[Descriptor]) -> Result<(Config, Snapshot), LoadError> {
    server::check_with(dir, registry, &server::environment, Some(&|_| Arc::new(Memory::down())))
}

/// A gateway without a network.
pub(super) struct World<'a> {
    config: &'a Config,
    registry: &'a [Descriptor],
    metrics: Metrics,
    keep: Keep,
    mocked: Arc<Mocked>,
    host: Arc<dyn Host>,
    stores: BTreeMap<Arc<str>, Arc<Memory>>,
    /// The last one: what it shares (rule sets, fetched keys) need not be made again.
    last: Option<Arc<Snapshot>>,
    /// When the case began, by both clocks.
    begun: Instant,
    started: SystemTime,
    passed: Duration,
}

impl<'a> World<'a> {
    /// Of a configuration that is good, with these dependencies; the stores named are down. On the runtime that this is
    /// called on.
    pub(super) fn new(
        config: &'a Config,
        registry: &'a [Descriptor],
        dependencies: Vec<Dependency>,
        down: &[String],
    ) -> Self {
        let mocked = Arc::new(Mocked::new(dependencies));
        let store = |name: &Arc<str>| match down.iter().any(|down| **down == **name) {
            true => Memory::down(),
            false => Memory::empty(),
        };
        World {
            config,
            registry,
            metrics: Metrics::new(),
            keep: Keep::default(),
            host: mocked.clone(),
            mocked,
            stores: config.stores.keys().map(|name| (name.clone(), Arc::new(store(name)))).collect(),
            last: None,
            begun: Instant::now(),
            started: SystemTime::UNIX_EPOCH,
            passed: Duration::ZERO,
        }
    }

    /// Begins a case at this time: nothing is counted, nothing remembered.
    ///
    /// # Errors
    /// What only shows when a configuration is to serve.
    pub(super) async fn begin(&mut self, started: SystemTime) -> Result<Arc<Snapshot>, LoadError> {
        self.keep.forget();
        self.stores.values().for_each(|store| store.clear());
        let mocked = |name: &str| match self.stores.get(name) {
            Some(store) => store.clone() as Arc<dyn Store>,
            None => Arc::new(Memory::down()),
        };
        let env = CompileEnv {
            registry: self.registry,
            metrics: &self.metrics,
            keep: &self.keep,
            host: &self.host,
            demo: self.config.demo.then(|| Arc::new(Upstream::demo(([127, 0, 0, 1], 1).into()))),
            previous: None,
            generation: 1,
            dry_run: false,
            stores: Some(&mocked),
        };
        let compiled = Snapshot::compile(self.config, &env);
        let sources = &self.config.sources;
        let snapshot =
            compiled.map_err(|errors| LoadError { errors: errors.into(), sources: sources.clone() })?;
        let snapshot = Arc::new(snapshot);
        self.last = Some(snapshot.clone());
        (self.begun, self.started, self.passed) = (Instant::now(), started, Duration::ZERO);
        self.mocked.settle().await;
        Ok(snapshot)
    }

    /// Lets time pass.
    pub(super) async fn wait(&mut self, time: Duration) {
        self.passed = self.passed.saturating_add(time);
        self.stores.values().for_each(|store| store.advance(time));
        self.mocked.advance(time).await;
    }

    /// The time, by both clocks.
    pub(super) fn now(&self) -> (SystemTime, Instant) {
        let started = self.started.checked_add(self.passed).unwrap_or(self.started);
        (started, self.begun.checked_add(self.passed).unwrap_or(self.begun))
    }
}

/// A connection of a client to a listener. `https` is what the client wants: without a name, a listener that speaks TLS
/// or one that does not.
///
/// # Errors
/// There is no such listener; the names of those that there are.
pub(super) fn connect(
    config: &Config,
    listener: Option<&str>,
    https: bool,
    (ip, host): (IpAddr, &str),
) -> Result<Arc<ConnInfo>, String> {
    let speaks = |name: &Arc<str>| {
        config.listeners.get(name).is_some_and(|listener| listener.value.tls.is_some() == https)
    };
    let mut names: Vec<&Arc<str>> = config.listeners.keys().collect();
    // What fits first, `public` before others.
    names.sort_by_key(|name| (!speaks(name), &***name != "public"));
    let name = match listener {
        Some(wanted) => names.into_iter().find(|name| &***name == wanted),
        None => names.first().copied(),
    };
    let found = name.and_then(|name| Some((name, &config.listeners.get(name)?.value)));
    let Some((name, listener)) = found else {
        let known = config.listeners.keys().map(|name| &**name);
        return Err(crate::conf::suggest(listener.unwrap_or_default(), known, "the listeners are"));
    };
    let tls = listener.tls.is_some().then(|| Tls {
        version: "TLSv1.3".into(),
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        server_name: Some(host.into()).filter(|_| host.parse::<IpAddr>().is_err()),
        alpn: Some("http/1.1"),
        certificate: None,
    });
    let client = Client {
        ip: ip.to_canonical(),
        peer: SocketAddr::new(ip, CLIENT_PORT),
        https: tls.is_some(),
        behind_proxy: false,
        proxies: Vec::new(),
        listener: name.clone(),
        port: listener.address.value.port(),
        tls,
    };
    Ok(Arc::new(ConnInfo::new(client, Arc::new(listener.limits.clone()))))
}
