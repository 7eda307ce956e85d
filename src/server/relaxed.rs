//! Listeners and routes that take what others refuse: never silently.

use crate::{
    conf::model::{Config, Paths},
    owned::Override,
};

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
    for (name, route) in &config.routes {
        let passed = route.value.pass_headers.iter();
        for header in passed.filter(|header| Override::of(header.value.as_str()) == Some(Override::Path)) {
            log::warn!(
                "{}: clients of route `{name}` may send `{}`: an origin that acts by it serves paths that no route has judged",
                header.place,
                header.value
            );
        }
    }
}
