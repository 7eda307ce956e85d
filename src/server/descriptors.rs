//! File descriptors: as many as the system allows, and a warning where that is not enough.

use crate::{
    conf::model::{Config, Limits},
    edge::pressure::Descriptors,
};
use parking_lot::Mutex;

/// What a process needs besides connections: listeners, logs, idle connections to origins.
const BESIDES: u64 = 200;

/// Raises the limit as far as it goes: each connection takes a descriptor, and each request that goes on another.
pub(super) fn raise() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => log::debug!("{limit} file descriptors"),
        Err(error) => log::warn!("cannot raise the number of file descriptors: {error}"),
    }
}

/// What descriptors there are, and for what.
pub(super) fn shared() -> Descriptors {
    Descriptors::of(rlimit::Resource::NOFILE.get().map_or(u64::MAX, |(limit, _)| limit))
}

/// Warns where the connections that a configuration allows need more descriptors than there are. What has been said of
/// the configuration before is not said again.
#[derive(Debug, Default)]
pub(super) struct Shortage(Mutex<Option<String>>);

impl Shortage {
    pub(super) fn warn(&self, config: &Config) {
        let Ok((limit, _)) = rlimit::Resource::NOFILE.get() else { return };
        let connections = config.limits.connections;
        if let Some(text) = self.news(shortage(connections as u64, limit)) {
            // Nobody has asked for as many as the default: what comes of fewer is that the longest idle go.
            let asked = connections != Limits::default().connections;
            log::log!(if asked { log::Level::Warn } else { log::Level::Info }, "{text}");
        }
    }

    /// What there is to say, where that differs from last time.
    fn news(&self, now: Option<String>) -> Option<String> {
        let mut last = self.0.lock();
        let changed = *last != now;
        last.clone_from(&now);
        now.filter(|_| changed)
    }
}

fn shortage(connections: u64, limit: u64) -> Option<String> {
    let needed = connections.saturating_mul(2).saturating_add(BESIDES);
    (needed > limit).then(|| {
        let room = limit.saturating_sub(BESIDES) / 2;
        format!(
            "`limits.connections: {connections}` may need {needed} file descriptors, of which this process has \
             {limit}: raise the limit (`ulimit -Hn`, `LimitNOFILE=`), or write `limits: {{connections: {room}}}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_need_two_descriptors_each() {
        for (connections, limit, enough) in [
            (20_000, 40_200, true),
            (20_000, 40_199, false),
            (1, 0, false),
            (u64::MAX, 1 << 40, false),
            (100, 400, true),
        ] {
            assert_eq!(shortage(connections, limit).is_none(), enough, "{connections} {limit}");
        }
        assert!(shortage(20_000, 4_096).unwrap().contains("`limits: {connections: 1948}`"));
    }

    #[test]
    fn what_has_been_said_is_not_said_again() {
        let told = Shortage::default();
        for (now, news) in [
            (Some("20"), true),
            (Some("20"), false),
            (Some("30"), true),
            (None, false),
            (None, false),
            (Some("30"), true),
            (Some("30"), false),
        ] {
            assert_eq!(told.news(now.map(str::to_owned)).is_some(), news, "{now:?}");
        }
    }
}
