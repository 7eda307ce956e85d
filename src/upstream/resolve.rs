//! From the names of targets to addresses: at load, and again and again after it.
//!
//! The system's resolver is asked, at load and later, so that `/etc/hosts` and everything else that a machine is
//! set up with holds for both. It does not tell how long an answer is good for; its cache knows, and a change is
//! seen within [`INTERVAL`].

use super::Upstream;
use crate::conf::model::Target;
use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};
use tokio::{net::lookup_host, time::sleep};

/// Names are resolved again after this time.
const INTERVAL: Duration = Duration::from_secs(10);
/// The most addresses of one name that are used.
const ADDRESSES: usize = 64;

/// The addresses of a target now; waits for the resolver.
pub(super) fn now(target: &Target) -> io::Result<Vec<SocketAddr>> {
    usable((target.host.as_str(), target.port).to_socket_addrs()?)
}

/// Follows the names of an upstream's targets.
pub(super) async fn run(upstream: Arc<Upstream>) {
    loop {
        sleep(INTERVAL).await;
        for (index, target) in upstream.blueprint.written.targets.iter().enumerate() {
            let target = &target.value;
            let found = lookup_host((target.host.as_str(), target.port)).await.and_then(usable);
            follow(&upstream, index, found);
        }
    }
}

/// Takes in what a name stands for now. Where nothing was found the last addresses stay.
pub(super) fn follow(upstream: &Upstream, index: usize, found: io::Result<Vec<SocketAddr>>) {
    let host = upstream.blueprint.written.targets.get(index).map_or("", |target| &target.value.host);
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            log::warn!(
                "upstream {}: cannot resolve `{host}`, its last addresses stay: {error}",
                upstream.name
            );
            return;
        }
    };
    let mut all = Vec::clone(&upstream.resolved.load());
    match all.get_mut(index) {
        Some(last) if *last != found => {
            log::info!("upstream {}: `{host}` is now {found:?}", upstream.name);
            *last = found;
        }
        _ => return,
    }
    upstream.renew(all);
}

/// In a fixed order, each once. IPv4 where there is any: a machine whose origins listen on one of both is far more
/// common than one that needs both.
fn usable(found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let mut found: Vec<SocketAddr> = found.collect();
    if found.iter().any(SocketAddr::is_ipv4) {
        found.retain(SocketAddr::is_ipv4);
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(ADDRESSES);
    if found.is_empty() {
        Err(io::Error::new(io::ErrorKind::NotFound, "it has no address"))
    } else {
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_order_and_of_one_kind() {
        for (found, used) in [
            (
                &["[::1]:80", "127.0.0.2:80", "127.0.0.1:80", "127.0.0.2:80"][..],
                &["127.0.0.1:80", "127.0.0.2:80"][..],
            ),
            (&["[::2]:80", "[::1]:80"], &["[::1]:80", "[::2]:80"]),
        ] {
            let parse =
                |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
            assert_eq!(usable(parse(found).into_iter()).unwrap(), parse(used));
        }
        assert!(usable(std::iter::empty()).is_err());
        let many = (0..100).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        assert_eq!(usable(many).unwrap().len(), ADDRESSES);
    }
}
