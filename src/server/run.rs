//! Starting, serving, reloading and draining a process.

use super::{
    Gateway, check, descriptors,
    listeners::{self, Listeners},
    load, signals,
    signals::Signals,
    sockets::Sockets,
    supervisor,
    threads::{self, Threads},
    watch::Fingerprint,
};
use crate::{
    conf::{LoadError, model::Config},
    edge::{
        handover::{self, Control, HandoverError, Launch, Predecessor, Taken, Takeover},
        tls,
    },
    serve::Server,
    upstream::Upstream,
};
use palisade_contract::Descriptor;
use std::{
    ffi::OsString,
    io,
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::runtime::Handle;

/// How to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The conf directory.
    pub dir: PathBuf,
    /// Take the sockets of the process that runs on the same directory.
    pub upgrade: bool,
    /// The command line behind the binary, for `palisade upgrade` to start another one with; none where this process
    /// cannot be replaced.
    pub again: Option<Vec<OsString>>,
    /// Where the real addresses are written.
    pub ports_file: Option<PathBuf>,
    /// Threads that serve connections; one for each core by default.
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
    let (runtime, workers) = (threads::beside()?, Threads::start(options.threads)?);
    let result = runtime.block_on(serve(options, &config, registry, before, workers.handles()));
    workers.end();
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
    workers: &[Handle],
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
    listeners::ends(&gateway, config);
    // Before anybody can see that it runs: who has got an answer may send a signal.
    let mut signals = Signals::catch()?;
    let mut taken = if options.upgrade { Some(take_over(config).await?) } else { None };
    let started = Process::start(options, config, &gateway, &tls, &mut taken, workers).await;
    let (process, control) = settle(started, taken).await?;
    // Before anybody is told that it runs: what happens from then on is seen.
    let watcher = signals::reload_on_change(&gateway, &process.listeners, config, &before)?;
    process.report(options)?;
    let takeover = tokio::select! {
        takeover = control.successor(&process) => {
            Some(takeover)
        }
        () = signals::wait(&gateway, &process.listeners, &mut signals) => None,
    };
    watcher.abort();
    process.end(takeover, signals).await;
    if let Some(demo) = demo {
        demo.stop().await;
    }
    let _ = tokio::task::spawn_blocking(|| palisade_plugins::flush_audit(Duration::from_secs(5))).await;
    Ok(())
}

/// Tells who has to know that this process serves, or the predecessor that it does not.
async fn settle<T>(started: Result<T, String>, taken: Option<Taken>) -> Result<T, String> {
    match (started, taken) {
        (Ok(started), None) => {
            supervisor::serving(false);
            Ok(started)
        }
        (Ok(started), Some(taken)) => {
            // The predecessor lets go only after this.
            supervisor::serving(true);
            served(taken.serving().await)?;
            log::info!("the predecessor drains; this process serves");
            Ok(started)
        }
        (Err(error), taken) => {
            if let Some(taken) = taken {
                taken.refuse(&error).await;
            }
            Err(error)
        }
    }
}

/// A predecessor that is gone can hand over nothing more, and does not accept either.
fn served(told: Result<(), HandoverError>) -> Result<(), String> {
    match told {
        Err(error) if error.is_gone() => log::warn!("the predecessor is gone: {error}"),
        told => told.map_err(|error| format!("the predecessor did not let go: {error}"))?,
    }
    Ok(())
}

/// A process that accepts.
struct Process {
    gateway: Arc<Gateway>,
    listeners: Arc<Listeners>,
    admin: Vec<Server>,
    /// Other handles of the sockets, for a successor.
    sockets: Sockets,
    launch: Option<Launch>,
}

impl Process {
    /// Accepts on all sockets. With a predecessor: knows what that one knew, and has its place.
    async fn start(
        options: &RunOptions,
        config: &Config,
        gateway: &Arc<Gateway>,
        tls: &tls::Terms,
        taken: &mut Option<Taken>,
        workers: &[Handle],
    ) -> Result<(Self, Control), String> {
        let failed = |error: HandoverError| format!("the control socket: {error}");
        let mut sockets = Sockets::bind(config, taken)?;
        let copies = sockets.duplicate().map_err(|error| format!("cannot duplicate sockets: {error}"))?;
        // Before anything is accepted: a second process on one directory would share its files.
        let control = match taken {
            None => Some(Control::bind(&config.run_dir, &config.dir).map_err(failed)?),
            Some(taken) => {
                match taken.state().await {
                    Ok(state) => gateway.take_over(&state),
                    other => served(other.map(drop))?,
                }
                None
            }
        };
        let listeners = Arc::new(Listeners::start(gateway, config, tls, &mut sockets, workers)?);
        let admin = super::admin_state::start(gateway, &listeners, config, &mut sockets)?;
        if let Some(taken) = taken {
            served(taken.ready().await)?;
        }
        let control = match control {
            Some(control) => control,
            None => Control::replace(&config.run_dir, &config.dir).map_err(failed)?,
        };
        let launch = options.again.clone().map(|again| Launch::new(again, &config.dir));
        let gateway = gateway.clone();
        Ok((Process { gateway, listeners, admin, sockets: Sockets::of(copies), launch }, control))
    }

    /// Says where it listens.
    fn report(&self, options: &RunOptions) -> Result<(), String> {
        let report = self.sockets.report();
        if let Some(file) = &options.ports_file {
            std::fs::write(file, &report)
                .map_err(|error| format!("cannot write `{}`: {error}", file.display()))?;
        }
        for line in report.lines() {
            log::info!("listening: {line}");
        }
        Ok(())
    }

    /// Accepts nothing more, and finishes what is in flight.
    async fn end(self, takeover: Option<Takeover>, mut signals: Signals) {
        let Process { gateway, listeners, mut admin, sockets, .. } = self;
        drop(sockets);
        let Some(takeover) = takeover else {
            gateway.drains();
            listeners.close();
            listeners.closed().await;
            listeners.drain(&gateway, false, std::future::pending()).await;
            drop(admin);
            return;
        };
        listeners.close();
        log::info!("a successor has taken over: draining");
        // The successor answers probes and serves the admin API from here on.
        futures::future::join_all(admin.iter_mut().map(Server::close)).await;
        let stopped = futures::future::join_all(admin.into_iter().map(Server::stop));
        let drained = async {
            listeners.closed().await;
            takeover.stopped().await;
            listeners.drain(&gateway, true, signals.end()).await;
        };
        tokio::join!(stopped, drained);
    }
}

impl Predecessor for Process {
    fn sockets(&self) -> io::Result<Vec<(String, TcpListener)>> {
        self.sockets.duplicate()
    }

    fn state(&self) -> Vec<(String, Vec<u8>)> {
        self.gateway.state()
    }

    fn launch(&self) -> Option<&Launch> {
        self.launch.as_ref()
    }
}
