//! Starting, serving, reloading and draining a process.

use super::{Gateway, check, descriptors, expiry, load, sockets::Sockets, watch::Fingerprint};
use crate::{
    conf::{
        LoadError,
        model::{self, Config},
    },
    edge::{
        connection::{Bounds, Shared},
        handover::{self, Control, Taken},
        listen::{self, Listener, Settings},
        pressure, tls,
    },
    proxy::Proxy,
    upstream::Upstream,
};
use arc_swap::ArcSwap;
use palisade_contract::Descriptor;
use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// How long a draining process waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(60);
/// Idle connections to all origins together. Each upstream's `keepalive` bounds its own.
const POOL: usize = 8 * 1024;

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The conf directory.
    pub dir: PathBuf,
    /// Take the sockets of the process that runs on the same directory.
    pub upgrade: bool,
    /// Where the real addresses are written.
    pub ports_file: Option<PathBuf>,
    /// Worker threads; one for each core by default.
    pub threads: Option<usize>,
}

/// Runs until it is told to stop. Returns only after everything in flight is done.
///
/// # Errors
/// What keeps it from starting, for a person to read.
pub fn run(options: &RunOptions, registry: Vec<Descriptor>) -> Result<(), String> {
    // Pingora's connectors need a process-wide provider; there may be one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    descriptors::raise();
    let before = (Fingerprint::of(&options.dir), SystemTime::now());
    let config = load(&options.dir, &registry).map_err(|error| error.to_string())?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("palisade");
    if let Some(threads) = options.threads {
        builder.worker_threads(threads.max(1));
    }
    let runtime = builder.build().map_err(|error| format!("cannot start worker threads: {error}"))?;
    let result = runtime.block_on(serve(options, &config, registry, before));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// The sockets of the process that runs on this directory; it goes on serving until it is told.
async fn take_over(config: &Config) -> Result<Taken, String> {
    match handover::take(&config.run_dir, &config.dir).await {
        Ok(Some(taken)) => Ok(taken),
        Ok(None) => Err(format!(
            "no process runs on `{}` whose sockets could be taken over: start without `--upgrade`",
            config.dir.display()
        )),
        Err(error) => Err(format!("cannot take over: {error}")),
    }
}

async fn serve(
    options: &RunOptions,
    config: &Config,
    registry: Vec<Descriptor>,
    before: (Fingerprint, SystemTime),
) -> Result<(), String> {
    let demo = if config.demo {
        Some(crate::demo::start().map_err(|error| format!("the demo API cannot start: {error}"))?)
    } else {
        None
    };
    let upstream = demo.as_ref().map(|demo| Arc::new(Upstream::demo(demo.address())));
    // Everything that can be wrong is found before the first connection is accepted.
    let host = Arc::new(crate::host::Tokio::current());
    let all = registry.clone();
    let wrong = |error: LoadError| check(&config.dir, &all).err().unwrap_or(error).to_string();
    let gateway = Arc::new(Gateway::start(config, registry, upstream, host).map_err(wrong)?);
    let tls = tls::terms(&config.listeners, None)
        .map_err(|errors| palisade_contract::ConfigErrors(errors).render(&config.sources))?;
    gateway.shortage.warn(config);
    ends(&gateway, config);
    let mut taken = if options.upgrade { Some(take_over(config).await?) } else { None };
    let mut sockets = Sockets::bind(config, &mut taken)?;
    let report = sockets.report();
    let copies = sockets.duplicate().map_err(|error| format!("cannot duplicate sockets: {error}"))?;
    // Before anything is accepted: a second process on one directory would share its files.
    let control = if taken.is_none() { Some(control(config)?) } else { None };
    // Before anybody can see that it runs: who has got an answer may send a signal.
    let signals = Signals::catch()?;
    let listeners = Arc::new(Listeners::start(&gateway, config, &tls, &mut sockets)?);
    let admin = super::admin_state::start(&gateway, &listeners, config, &mut sockets)?;
    if let Some(taken) = taken {
        taken.ready().await.map_err(|error| format!("the predecessor did not let go: {error}"))?;
        log::info!("the predecessor drains; this process serves");
    }
    let control = match control {
        Some(control) => control,
        None => self::control(config)?,
    };
    // Before anybody is told that it runs: what happens from then on is seen.
    let watcher = reload_on_change(&gateway, &listeners, config, &before)?;
    if let Some(file) = &options.ports_file {
        std::fs::write(file, &report)
            .map_err(|error| format!("cannot write `{}`: {error}", file.display()))?;
    }
    for line in report.lines() {
        log::info!("listening: {line}");
    }
    let copies = Sockets::of(copies);
    let successor = control.successor(|| copies.duplicate());
    let upgraded = tokio::select! {
        () = successor => {
            log::info!("a successor has taken over: draining");
            true
        }
        () = wait_for_signals(&gateway, &listeners, signals) => false,
    };
    watcher.abort();
    drop(copies);
    if upgraded {
        // The successor answers probes and serves the admin API from here on.
        for server in admin {
            server.stop().await;
        }
        listeners.drain(&gateway, true).await;
    } else {
        listeners.drain(&gateway, false).await;
        drop(admin);
    }
    if let Some(demo) = demo {
        demo.stop().await;
    }
    let _ = tokio::task::spawn_blocking(|| palisade_plugins::flush_audit(Duration::from_secs(5))).await;
    Ok(())
}

fn control(config: &Config) -> Result<Control, String> {
    Control::bind(&config.run_dir, &config.dir).map_err(|error| format!("the control socket: {error}"))
}

/// The listeners that accept.
pub(super) struct Listeners {
    all: Vec<Arc<Listener>>,
    tasks: parking_lot::Mutex<Vec<tokio::task::JoinHandle<std::io::Result<()>>>>,
    stop: watch::Sender<bool>,
    drain: watch::Sender<bool>,
    /// So that what listeners get belongs to the snapshot that serves.
    reloading: tokio::sync::Mutex<()>,
}

impl Listeners {
    fn start(
        gateway: &Arc<Gateway>,
        config: &Config,
        tls: &tls::Terms,
        sockets: &mut Sockets,
    ) -> Result<Self, String> {
        let (stop, stopping) = watch::channel(false);
        let (drain, draining) = watch::channel(false);
        let conf = ServerConf { upstream_keepalive_pool_size: POOL, ..ServerConf::default() };
        let proxy = Arc::new(http_proxy(&Arc::new(conf), Proxy::new(gateway.clone())));
        let shared = Arc::new(Shared {
            proxy,
            registry: gateway.connections.clone(),
            events: gateway.clone(),
            draining,
            bounds: Bounds::default(),
        });
        let (mut all, mut tasks) = (Vec::new(), Vec::new());
        for (name, written) in &config.listeners {
            let (socket, address) = sockets.take(&format!("listener {name}"))?;
            let settings = settings(config, &written.value, tls.get(name));
            let door = gateway.connections.door();
            let settings = ArcSwap::from_pointee(settings);
            let listener = Arc::new(Listener { name: name.clone(), address, door, settings });
            tasks.push(tokio::spawn(listen::accept(
                shared.clone(),
                listener.clone(),
                socket,
                stopping.clone(),
            )));
            all.push(listener);
        }
        let watched = gateway.clone();
        let ceiling = move || watched.snapshot().limits.memory;
        tokio::spawn(pressure::watch(gateway.connections.clone(), descriptors::shared(), ceiling));
        let (tasks, reloading) = (parking_lot::Mutex::new(tasks), tokio::sync::Mutex::default());
        Ok(Listeners { all, tasks, stop, drain, reloading })
    }

    /// TLS as it is now.
    fn terms(&self) -> tls::Terms {
        let term =
            |listener: &Arc<Listener>| Some((listener.name.clone(), listener.settings.load().tls.clone()?));
        self.all.iter().filter_map(term).collect()
    }

    /// Gives the listeners what a new configuration says of them.
    pub(super) fn update(&self, config: &Config, tls: &tls::Terms) {
        for listener in &self.all {
            if let Some(written) = config.listeners.get(&listener.name) {
                listener.settings.store(Arc::new(settings(config, &written.value, tls.get(&listener.name))));
            }
        }
    }

    /// Stops accepting and waits until nothing is in flight. After an upgrade connections that wait are kept until
    /// their client has sent its next request: it would see a close in the middle of it otherwise.
    async fn drain(&self, gateway: &Gateway, keep_idle: bool) {
        gateway.draining.store(true, Ordering::Release);
        // Nobody listens any more where all tasks have ended already.
        let _ = self.stop.send(true);
        let _ = self.drain.send(true);
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Ok(Err(error)) = task.await {
                log::error!("a listener failed: {error}");
            }
        }
        let begun = Instant::now();
        let open = || if keep_idle { gateway.connections.live() } else { gateway.connections.busy() };
        while open() > 0 && begun.elapsed() < DRAIN {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left = open();
        log::info!(
            "drained in {:.1} s{}",
            begun.elapsed().as_secs_f32(),
            if left > 0 { format!(", {left} connections cut") } else { String::new() }
        );
    }
}

fn settings(config: &Config, written: &model::Listener, tls: Option<&Arc<tls::Term>>) -> Settings {
    Settings {
        limits: Arc::new(written.limits.clone()),
        connections: config.limits.connections,
        tls: tls.cloned(),
        http2: written.http2,
        proxy_protocol: written.proxy_protocol,
        trusted: config.client_ip.trusted_proxies.clone(),
    }
}

/// Says when certificates end, in the log and in the metrics.
fn ends(gateway: &Gateway, config: &Config) {
    let all = expiry::all(config);
    expiry::warn(&all);
    gateway.metrics.ends(all.iter().map(|dated| {
        let labels = [dated.key.clone(), dated.file.display().to_string(), dated.subject.clone()];
        (dated.kind == expiry::Kind::Revocations, labels, dated.to.as_second())
    }));
}

/// Reads the configuration again, for the snapshot and for the listeners.
pub(super) async fn reload(gateway: &Arc<Gateway>, listeners: &Listeners) -> Result<u64, String> {
    let _one = listeners.reloading.lock().await;
    let (config, generation) = gateway.reload().await?;
    // The files were read a moment ago; should one have gone since, the old certificates stay.
    match tls::terms(&config.listeners, Some(&listeners.terms())) {
        Ok(tls) => {
            gateway.shortage.warn(&config);
            ends(gateway, &config);
            listeners.update(&config, &tls);
        }
        Err(errors) => log::error!(
            "certificates were not reloaded:\n{}",
            palisade_contract::ConfigErrors(errors).render(&config.sources)
        ),
    }
    Ok(generation)
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    reopen: Signal,
}

impl Signals {
    /// From here on a signal waits to be handled, and no longer ends the process by itself.
    fn catch() -> Result<Self, String> {
        let on =
            |kind: SignalKind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
        Ok(Signals {
            hangup: on(SignalKind::hangup())?,
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            quit: on(SignalKind::quit())?,
            reopen: on(SignalKind::user_defined1())?,
        })
    }
}

async fn wait_for_signals(gateway: &Arc<Gateway>, listeners: &Listeners, mut signals: Signals) {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                log::info!("SIGHUP: reading the configuration again");
                // What went wrong is in the log.
                let _ = reload(gateway, listeners).await;
            }
            _ = signals.terminate.recv() => {
                log::info!("SIGTERM: draining");
                return;
            }
            _ = signals.interrupt.recv() => {
                log::info!("SIGINT: draining");
                return;
            }
            _ = signals.reopen.recv() => {
                log::info!("SIGUSR1: opening record files again");
                palisade_plugins::reopen_audit();
            }
            _ = signals.quit.recv() => log::warn!("SIGQUIT ignored: use SIGTERM to stop, or start a successor with `palisade run --upgrade`"),
        }
    }
}

/// Reloads when a file that was read changes, where the configuration of the moment says so; bursts of changes count
/// once. What has changed since `before` was taken counts: the configuration was read after that.
fn reload_on_change(
    gateway: &Arc<Gateway>,
    listeners: &Arc<Listeners>,
    config: &Config,
    before: &(Fingerprint, SystemTime),
) -> Result<tokio::task::JoinHandle<()>, String> {
    gateway.watch(config, before.1)?;
    if config.watch && Fingerprint::of(&config.dir) != before.0 {
        gateway.watched.tell();
    }
    let changes = gateway.watched.changes();
    let (gateway, listeners) = (gateway.clone(), listeners.clone());
    Ok(tokio::spawn(async move {
        let Some(mut changes) = changes else { return };
        while changes.next().await.is_some() {
            log::info!("files have changed: reading the configuration again");
            let _ = reload(&gateway, &listeners).await;
        }
    }))
}
