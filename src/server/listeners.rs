//! The listeners of a process: starting, reloading and draining them.

use super::{Gateway, descriptors, expiry, sockets::Sockets};
use crate::{
    conf::model::{self, Config},
    edge::{
        connection::{Bounds, Shared},
        listen::{self, Listener, Settings},
        pressure, tls,
        turns::Turns,
        workers::Workers,
    },
    proxy::Proxy,
};
use arc_swap::ArcSwap;
use pingora::{proxy::http_proxy, server::configuration::ServerConf};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::watch};

/// Idle connections to all origins together. Each upstream's `keepalive` bounds its own.
const POOL: usize = 8 * 1024;
/// How often it is looked whether anything is in flight.
const LOOK: Duration = Duration::from_millis(10);

/// The listeners that accept.
pub(super) struct Listeners {
    all: Vec<Arc<Listener>>,
    tasks: parking_lot::Mutex<Vec<tokio::task::JoinHandle<std::io::Result<()>>>>,
    stop: watch::Sender<bool>,
    drain: watch::Sender<bool>,
    /// `drain_timeout`, in milliseconds.
    drain_time: AtomicU64,
    /// So that what listeners get belongs to the snapshot that serves.
    reloading: tokio::sync::Mutex<()>,
}

impl Listeners {
    pub(super) fn start(
        gateway: &Arc<Gateway>,
        config: &Config,
        tls: &tls::Terms,
        sockets: &mut Sockets,
        workers: &[Handle],
    ) -> Result<Self, String> {
        let (stop, stopping) = watch::channel(false);
        let (drain, draining) = watch::channel(false);
        let pool = POOL / workers.len().max(1);
        let conf = ServerConf { upstream_keepalive_pool_size: pool, ..ServerConf::default() };
        let conf = Arc::new(conf);
        // Connections to origins belong to a worker as those of clients do.
        let workers = Workers::on(workers, || Shared {
            proxy: Arc::new(http_proxy(&conf, Proxy::new(gateway.clone()))),
            registry: gateway.connections.clone(),
            events: gateway.clone(),
            draining: draining.clone(),
            bounds: Bounds::default(),
            handshakes: Turns::default(),
        });
        let (mut all, mut tasks) = (Vec::new(), Vec::new());
        for (name, written) in &config.listeners {
            let (socket, address) = sockets.take(&format!("listener {name}"))?;
            let settings = settings(config, &written.value, tls.get(name));
            let door = gateway.connections.door();
            let settings = ArcSwap::from_pointee(settings);
            let listener = Arc::new(Listener { name: name.clone(), address, door, settings });
            tasks.push(tokio::spawn(listen::accept(
                workers.clone(),
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
        let drain_time = AtomicU64::new(millis(config.drain_timeout));
        Ok(Listeners { all, tasks, stop, drain, drain_time, reloading })
    }

    /// TLS as it is now.
    fn terms(&self) -> tls::Terms {
        let term =
            |listener: &Arc<Listener>| Some((listener.name.clone(), listener.settings.load().tls.clone()?));
        self.all.iter().filter_map(term).collect()
    }

    /// Gives the listeners what a new configuration says of them.
    pub(super) fn update(&self, config: &Config, tls: &tls::Terms) {
        self.drain_time.store(millis(config.drain_timeout), Ordering::Relaxed);
        for listener in &self.all {
            if let Some(written) = config.listeners.get(&listener.name) {
                listener.settings.store(Arc::new(settings(config, &written.value, tls.get(&listener.name))));
            }
        }
    }

    /// Stops accepting; answers close their connections from here on.
    pub(super) fn close(&self) {
        // Nobody listens any more where all tasks have ended already.
        let _ = self.stop.send(true);
        let _ = self.drain.send(true);
    }

    /// Waits until nothing is accepted any more.
    pub(super) async fn closed(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Ok(Err(error)) = task.await {
                log::error!("a listener failed: {error}");
            }
        }
    }

    /// Waits until nothing is in flight, or until the time for that is over. After an upgrade connections that wait
    /// are kept until their client has sent its next request, for as long as they may wait: it would see a close in the
    /// middle of it otherwise. `hurry` ends that.
    pub(super) async fn drain(&self, gateway: &Gateway, upgraded: bool, hurry: impl Future<Output = ()>) {
        let begun = Instant::now();
        let millis = |time: &AtomicU64| Duration::from_millis(time.load(Ordering::Relaxed));
        let busy = millis(&self.drain_time);
        let idle = self.all.iter().map(|listener| listener.settings.load().limits.idle_timeout).max();
        let nothing = async |keep_idle: bool, most: Duration| {
            let connections = &gateway.connections;
            let open = || if keep_idle { connections.live() } else { connections.busy() };
            while open() > 0 && begun.elapsed() < most {
                tokio::time::sleep(LOOK).await;
            }
            open()
        };
        let left = tokio::select! {
            open = nothing(upgraded, if upgraded { busy.max(idle.unwrap_or_default()) } else { busy }) => open,
            () = hurry, if upgraded => {
                log::info!("SIGTERM: connections that wait are not kept any longer");
                nothing(false, busy).await
            }
        };
        log::info!(
            "drained in {:.1} s{}",
            begun.elapsed().as_secs_f32(),
            if left > 0 { format!(", {left} connections cut") } else { String::new() }
        );
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
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
pub(super) fn ends(gateway: &Gateway, config: &Config) {
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
