//! Addresses to listen on, held side by side.

use super::model::{Admin, At, Listener};
use palisade_contract::{ConfigError, Place};
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

/// Adds what is wrong: nothing to listen on, where `none` is the directory that says so, and addresses that cannot both be
/// listened on.
pub(super) fn check(
    listeners: &BTreeMap<Arc<str>, At<Listener>>,
    admin: Option<&At<Admin>>,
    none: Option<&Path>,
    errors: &mut Vec<ConfigError>,
) {
    if let Some(dir) = none {
        errors.push(
            ConfigError::at("listeners", "there is no listener, so that nobody could be served")
                .help("write `listeners: {public: {address: 127.0.0.1:8080}}`")
                .place(Place::of_file(dir)),
        );
    }
    let mut known: Vec<&At<SocketAddr>> = Vec::new();
    let written = listeners.values().map(|listener| &listener.value.address);
    let written =
        written.chain(admin.into_iter().flat_map(|admin| {
            [Some(&admin.value.address), admin.value.probes.as_ref()].into_iter().flatten()
        }));
    // In the order in which they stand in the files, so that the later one is told.
    let mut written: Vec<&At<SocketAddr>> = written.collect();
    written.sort_by_key(|at| (at.place.file.clone(), at.place.line, at.place.column));
    for at in written {
        if let Some(other) = known.iter().find(|other| clash(at.value, other.value)) {
            let taken = other.path.trim_end_matches(".address");
            let message = if at.value == other.value {
                format!("`{}` is the address of `{taken}` too", at.value)
            } else {
                format!("`{}` and `{}` of `{taken}` cannot both be listened on", at.value, other.value)
            };
            errors.push(
                ConfigError::at(at.path.clone(), message)
                    .help("give one of them another port")
                    .place(at.place.clone())
                    .other("the first one is here", other.place.clone()),
            );
        }
        known.push(at);
    }
}

/// True where only one of two can be listened on. `[::]` takes IPv4 as well.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    let covers = |wide: IpAddr, ip: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || ip.is_ipv4());
    one.port() == other.port() && one.port() != 0 && (a == b || covers(a, b) || covers(b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_cover_each_other_clash() {
        for (one, other, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "[::1]:80", false),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("0.0.0.0:80", "[::]:80", true),
            ("[::]:80", "[::1]:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("0.0.0.0:0", "127.0.0.1:0", false),
        ] {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((clash(one, other), clash(other, one)), (expected, expected), "{one} {other}");
        }
    }
}
