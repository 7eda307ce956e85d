//! What systemd is told (`Type=notify`); nothing where nobody has asked for it by `NOTIFY_SOCKET`.

use sd_notify::NotifyState;

/// This process serves. Where it took over from another one, it is the main one from here on.
pub(super) fn serving(took_over: bool) {
    let version = format!("palisade {} serves", env!("CARGO_PKG_VERSION"));
    let mut state = vec![NotifyState::Ready, NotifyState::Status(&version)];
    if took_over {
        state.insert(0, NotifyState::MainPid(std::process::id()));
    }
    tell(&state);
}

/// This process ends, and nobody takes its place.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is in flight")]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::warn!("systemd cannot be told of this process: {error}");
    }
}
