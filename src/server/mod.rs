//! The running gateway: the current snapshot, reloads, and everything that lives longer than a snapshot.

mod admin_state;
mod descriptors;
pub(crate) mod expiry;
mod inherited;
mod listeners;
pub(crate) mod relaxed;
mod run;
mod signals;
mod sockets;
mod supervisor;
mod threads;
mod upgrade;
mod watch;

pub use run::{RunOptions, run};
pub use upgrade::upgrade;

use crate::{
    budget::Budget,
    conf::{self, LoadError, Read, model::Config},
    edge::{ConnInfo, EdgeEvents, Refusal, Registry, tls},
    gateway::{CompileEnv, Snapshot, StoreOf},
    metrics::Metrics,
    upstream::Upstream,
};
use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use palisade_contract::{ConfigError, ConfigErrors, Descriptor, Host, env::Keep, host::NoHost};
use parking_lot::Mutex;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};
use uuid::{Uuid, fmt::Simple};

/// Looks up `${env:NAME}` in the process's environment. A value that is not UTF-8 does not resolve.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The running gateway.
pub struct Gateway {
    current: ArcSwap<Snapshot>,
    dir: PathBuf,
    registry: Vec<Descriptor>,
    /// Counters.
    pub metrics: Metrics,
    keep: Keep,
    host: Arc<dyn Host>,
    demo: Option<Arc<Upstream>>,
    /// Live connections.
    pub connections: Arc<Registry>,
    /// What all requests together hold in buffers.
    pub budget: Arc<Budget>,
    /// The addresses that cannot change while it runs, to compare on reload.
    fixed: Fixed,
    status: Mutex<Status>,
    shortage: descriptors::Shortage,
    watched: watch::Watched,
    draining: AtomicBool,
    /// Reloads happen one at a time.
    reloading: tokio::sync::Mutex<()>,
}

/// What a reload cannot change.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fixed {
    listeners: Vec<(Arc<str>, std::net::SocketAddr, bool)>,
    admin: Option<(std::net::SocketAddr, Option<std::net::SocketAddr>)>,
    demo: bool,
    run_dir: PathBuf,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Fixed {
            listeners: config
                .listeners
                .iter()
                .map(|(name, listener)| {
                    (name.clone(), listener.value.address.value, listener.value.tls.is_some())
                })
                .collect(),
            admin: config.admin.as_ref().map(|admin| {
                let probes = admin.value.probes.as_ref().map(|probes| probes.value);
                (admin.value.address.value, probes)
            }),
            demo: config.demo,
            run_dir: config.run_dir.clone(),
        }
    }
}

/// The last load.
#[derive(Debug, Clone)]
struct Status {
    at: SystemTime,
    error: Option<String>,
    failures: u64,
}

/// Loads and compiles a directory without starting anything: what `check` does.
///
/// # Errors
/// Everything that `run` would refuse.
pub fn check(dir: &Path, registry: &[Descriptor]) -> Result<(Config, Snapshot), LoadError> {
    check_in(dir, registry, &environment)
}

/// The same; `environment` looks up what `${env:NAME}` stands for.
///
/// # Errors
/// Everything that is wrong with the files, and with what could be compiled of them.
pub fn check_in(
    dir: &Path,
    registry: &[Descriptor],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(Config, Snapshot), LoadError> {
    check_with(dir, registry, environment, None)
}

/// The same; with `stores` nothing is reached, no name server either.
///
/// # Errors
/// As above.
pub fn check_with(
    dir: &Path,
    registry: &[Descriptor],
    environment: &dyn Fn(&str) -> Option<String>,
    stores: Option<&StoreOf<'_>>,
) -> Result<(Config, Snapshot), LoadError> {
    let Read { config, mut errors } = conf::read(dir, registry, environment);
    let (metrics, keep) = (Metrics::new(), Keep::default());
    let demo = config.demo.then(|| Arc::new(Upstream::demo(([127, 0, 0, 1], 1).into())));
    let host: Arc<dyn Host> = Arc::new(NoHost);
    let env = CompileEnv {
        registry,
        metrics: &metrics,
        keep: &keep,
        host: &host,
        demo,
        previous: None,
        generation: 1,
        dry_run: true,
        stores,
    };
    let compiled = Snapshot::compile(&config, &env);
    errors.extend(tls::terms(&config.listeners, None).err().into_iter().flatten());
    match compiled {
        Ok(snapshot) if errors.is_empty() => Ok((config, snapshot)),
        compiled => {
            errors.extend(compiled.err().into_iter().flatten());
            let sources = config.sources;
            Err(LoadError { errors: ConfigErrors(errors).without_secrets(&sources), sources })
        }
    }
}

/// Reads a directory that is to serve. Where anything is wrong with it, everything is said at once.
fn load(dir: &Path, registry: &[Descriptor]) -> Result<Config, LoadError> {
    conf::load(dir, registry, &environment).map_err(|error| check(dir, registry).err().unwrap_or(error))
}

impl Gateway {
    /// Compiles the first snapshot.
    fn start(
        config: &Config,
        registry: Vec<Descriptor>,
        demo: Option<Arc<Upstream>>,
        host: Arc<dyn Host>,
    ) -> Result<Self, LoadError> {
        let (metrics, keep) = (Metrics::new(), Keep::default());
        let env = CompileEnv {
            registry: &registry,
            metrics: &metrics,
            keep: &keep,
            host: &host,
            demo: demo.clone(),
            previous: None,
            generation: 1,
            dry_run: false,
            stores: None,
        };
        let compiled = Snapshot::compile(config, &env);
        let snapshot = compiled
            .map_err(|errors| LoadError { errors: errors.into(), sources: config.sources.clone() })?;
        metrics.reloaded(true, 1);
        relaxed::warn(config);
        snapshot.start();
        Ok(Gateway {
            current: ArcSwap::from_pointee(snapshot),
            dir: config.dir.clone(),
            registry,
            metrics,
            keep,
            host,
            demo,
            connections: Arc::default(),
            budget: Arc::default(),
            fixed: Fixed::of(config),
            status: Mutex::new(Status { at: SystemTime::now(), error: None, failures: 0 }),
            shortage: descriptors::Shortage::default(),
            watched: watch::Watched::new(),
            draining: AtomicBool::new(false),
            reloading: tokio::sync::Mutex::new(()),
        })
    }

    /// The snapshot that new requests are served by.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Reads the directory again and swaps the snapshot whole, or leaves the old one serving.
    ///
    /// # Errors
    /// Everything that is wrong with the new configuration, rendered.
    pub async fn reload(&self) -> Result<(Config, u64), String> {
        let _one = self.reloading.lock().await;
        let begun = SystemTime::now();
        let generation = self.current.load().generation + 1;
        let result = self.load_next(generation);
        let mut status = self.status.lock();
        status.at = SystemTime::now();
        match result {
            Ok((config, snapshot)) => {
                let last = self.current.swap(Arc::new(snapshot));
                last.stop();
                self.current.load().start();
                self.keep.sweep();
                self.metrics.sweep();
                status.error = None;
                self.metrics.reloaded(true, generation);
                relaxed::warn(&config);
                log::info!("configuration {generation} is serving");
                if let Err(error) = self.watch(&config, begun) {
                    log::error!("{error}");
                }
                Ok((config, generation))
            }
            Err(error) => {
                let text = error.to_string();
                status.error = Some(text.clone());
                status.failures += 1;
                self.metrics.reloaded(false, generation - 1);
                log::error!("the configuration was not reloaded, the old one goes on serving:\n{text}");
                Err(text)
            }
        }
    }

    fn load_next(&self, generation: u64) -> Result<(Config, Snapshot), LoadError> {
        let config = load(&self.dir, &self.registry)?;
        let mut errors = Vec::new();
        let fixed = Fixed::of(&config);
        if fixed != self.fixed {
            errors.push(changed(&fixed, &self.fixed, &config));
        }
        errors.extend(tls::terms(&config.listeners, None).err().into_iter().flatten());
        let serving = self.snapshot();
        let env = CompileEnv {
            registry: &self.registry,
            metrics: &self.metrics,
            keep: &self.keep,
            host: &self.host,
            demo: self.demo.clone(),
            previous: Some(&serving),
            generation,
            dry_run: false,
            stores: None,
        };
        match Snapshot::compile(&config, &env) {
            Ok(snapshot) if errors.is_empty() => Ok((config, snapshot)),
            compiled => {
                errors.extend(compiled.err().into_iter().flatten());
                Err(LoadError { errors: errors.into(), sources: config.sources })
            }
        }
    }

    /// Looks at the files that it serves, where the configuration says so; reading them began at `then`.
    fn watch(&self, config: &Config, then: SystemTime) -> Result<(), String> {
        let files = config.watch.then(|| watch::Files::of(config, &self.current.load()));
        let failed = |error| format!("cannot watch the files of `{}`: {error}", config.dir.display());
        self.watched.follow(files, then).map_err(failed)
    }

    /// From here on this process drains, and nobody takes its place.
    fn drains(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// True once this process drains, and nobody takes its place: after an upgrade it is as ready as its successor for
    /// the connections that it still has.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// What changed that only a restart can change.
fn changed(new: &Fixed, old: &Fixed, config: &Config) -> ConfigError {
    let of_dir = || palisade_contract::Place::of_file(config.dir.as_path());
    let listener = new.listeners.iter().find(|listener| !old.listeners.contains(listener));
    let (path, place, what) = if new.listeners != old.listeners {
        let at = listener.and_then(|(name, ..)| config.listeners.get(name));
        let (path, place) =
            at.map_or_else(|| ("listeners".to_owned(), of_dir()), |at| (at.path.clone(), at.place.clone()));
        (path, place, "the names and addresses of listeners, and whether they speak TLS,")
    } else if new.admin != old.admin {
        let place = config.admin.as_ref().map_or_else(of_dir, |at| at.place.clone());
        ("admin".to_owned(), place, "the addresses of `admin`")
    } else if new.demo != old.demo {
        ("demo".to_owned(), of_dir(), "`demo`")
    } else {
        ("run_dir".to_owned(), of_dir(), "`run_dir` (by default `run` in `state_dir`)")
    };
    ConfigError::at(path, format!("{what} cannot change while the gateway runs"))
        .help("`palisade upgrade` starts a new process, which takes over without losing a request")
        .place(place)
}

impl EdgeEvents for Gateway {
    fn refused<'a>(
        &'a self,
        connection: &'a ConnInfo,
        refusal: Refusal,
        head: &'a [u8],
    ) -> BoxFuture<'a, Vec<u8>> {
        self.metrics.edge_refused(refusal.reason);
        let snapshot = self.snapshot();
        Box::pin(async move { crate::proxy::answer_refused(&snapshot, connection, refusal, head).await })
    }
}

/// An id for a request: 32 hex digits, unique, and nothing that is secret.
pub fn request_id() -> Arc<str> {
    thread_local! {
        static STATE: (u64, AtomicU64) = {
            let mut seed = [0u8; 16];
            // Without the system's randomness ids are still unique in this process, by thread and time.
            if getrandom::fill(&mut seed).is_err() {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
                seed = now.to_le_bytes();
            }
            let (high, low) = seed.split_at(8);
            let number = |bytes: &[u8]| bytes.try_into().map_or(1, u64::from_le_bytes);
            (number(high), AtomicU64::new(number(low)))
        };
    }
    STATE.with(|(thread, counter)| {
        // An odd step walks through all values; the mix spreads them.
        let mut mixed = counter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let mut text = [0; Simple::LENGTH];
        Arc::from(&*Uuid::from_u64_pair(*thread, mixed).simple().encode_lower(&mut text))
    })
}
