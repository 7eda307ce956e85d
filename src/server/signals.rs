//! What a running process is told by signals, and by files that change.

use super::{
    Gateway,
    listeners::{Listeners, reload},
    supervisor,
    watch::Fingerprint,
};
use crate::conf::model::Config;
use std::{sync::Arc, time::SystemTime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals, caught.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    reopen: Signal,
}

impl Signals {
    /// From here on a signal waits to be handled, and no longer ends the process by itself.
    pub(super) fn catch() -> Result<Self, String> {
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

    /// Waits until the process is told to end.
    pub(super) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Does what signals say, until one says that the process is to end.
pub(super) async fn wait(gateway: &Arc<Gateway>, listeners: &Listeners, signals: &mut Signals) {
    loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                log::info!("SIGHUP: reading the configuration again");
                // What went wrong is in the log.
                let _ = reload(gateway, listeners).await;
            }
            _ = signals.terminate.recv() => {
                log::info!("SIGTERM: draining");
                supervisor::stopping();
                return;
            }
            _ = signals.interrupt.recv() => {
                log::info!("SIGINT: draining");
                supervisor::stopping();
                return;
            }
            _ = signals.reopen.recv() => {
                log::info!("SIGUSR1: opening record files again");
                palisade_plugins::reopen_audit();
            }
            _ = signals.quit.recv() => {
                log::warn!("SIGQUIT ignored: use SIGTERM to stop, or `palisade upgrade` for a new binary");
            }
        }
    }
}

/// Reloads when a file that was read changes, where the configuration of the moment says so; bursts of changes count
/// once. What has changed since `before` was taken counts: the configuration was read after that.
pub(super) fn reload_on_change(
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
