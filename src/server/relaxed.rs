//! Listeners that take more than strict paths: never silently.

use crate::conf::model::{Config, Paths};

/// Says so, in the log or to whoever checks.
pub(crate) fn warn(config: &Config) {
    for (name, listener) in &config.listeners {
        if listener.value.limits.paths == Paths::Relaxed {
            log::warn!(
                "listener `{name}` takes paths with encoded slashes and backslashes (`limits.paths: relaxed`): whether \
                 they separate is left to the origins"
            );
        }
    }
}
