//! From the names of targets to addresses: at load, and again and again after it.
//!
//! At load the system is asked. While an upstream serves, each name is asked for on its own, by `/etc/hosts` and the
//! name servers of `/etc/resolv.conf` as they are at that time, and again when the answer's time to live is over. A name
//! that only the system knows (mDNS, a module of NSS) is found by asking that.

use super::Upstream;
use crate::conf::model::{At, Target};
use futures::future::join_all;
use hickory_resolver::{
    Hosts, Resolver,
    config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::Query,
        rr::{Name, RecordType},
    },
};
use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    net::lookup_host,
    time::{sleep, timeout},
};

/// Answers are good for this time at least, and at most.
const TTL: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];
/// A name is asked for again after this time where nothing says how long the answer is good for, and after a failure.
const AGAIN: Duration = Duration::from_secs(10);
/// For one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most addresses of one name that are used.
const ADDRESSES: usize = 64;

/// The addresses of each target now; waits for the system, for all names at once.
pub(super) fn now(targets: &[At<Target>]) -> Vec<io::Result<Vec<SocketAddr>>> {
    let ask = |target: &Target| usable((target.host.as_str(), target.port).to_socket_addrs()?);
    thread::scope(|scope| {
        let asked: Vec<_> = targets
            .iter()
            .map(|target| match is_name(target) {
                true => Err(thread::Builder::new().spawn_scoped(scope, || ask(&target.value))),
                false => Ok(ask(&target.value)),
            })
            .collect();
        let found = asked.into_iter().map(|asked| match asked {
            Ok(found) => found,
            Err(thread) => thread?.join().unwrap_or_else(|_| Err(io::Error::other("the resolver panicked"))),
        });
        found.collect()
    })
}

/// True where it must be asked for.
pub(super) fn is_name(target: &At<Target>) -> bool {
    target.value.host.parse::<IpAddr>().is_err()
}

/// Who is asked for names.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// Other name servers than the system's, and nothing but them.
    pub(super) servers: Option<ResolverConfig>,
}

/// Follows the names of an upstream's targets, each at its own pace.
pub(super) async fn run(upstream: Arc<Upstream>, names: Names) {
    let targets = upstream.blueprint.written.targets.iter().enumerate();
    let follow = |(index, target): (usize, &At<Target>)| {
        let (upstream, names, target) = (upstream.clone(), names.clone(), target.value.clone());
        async move {
            loop {
                let wait = match names.ask(&target).await {
                    Ok((found, ttl)) => {
                        follow(&upstream, index, Ok(found));
                        ttl.clamp(TTL[0], TTL[1])
                    }
                    Err(error) => {
                        follow(&upstream, index, Err(error));
                        AGAIN
                    }
                };
                sleep(wait).await;
            }
        }
    };
    join_all(targets.filter(|(_, target)| is_name(target)).map(follow)).await;
}

impl Names {
    /// What a target stands for now, and for how long.
    async fn ask(&self, target: &Target) -> io::Result<(Vec<SocketAddr>, Duration)> {
        if self.servers.is_none()
            && let Some(found) = of_hosts(target)
        {
            return Ok((found, AGAIN));
        }
        let late = || io::Error::from(io::ErrorKind::TimedOut);
        match timeout(PATIENCE, self.of_servers(target)).await.unwrap_or_else(|_| Err(late())) {
            Ok(found) => Ok(found),
            Err(error) if self.servers.is_some() => Err(error),
            Err(_) => {
                let asked = timeout(PATIENCE, lookup_host((target.host.as_str(), target.port)));
                Ok((usable(asked.await.unwrap_or_else(|_| Err(late()))?)?, AGAIN))
            }
        }
    }

    async fn of_servers(&self, target: &Target) -> io::Result<(Vec<SocketAddr>, Duration)> {
        let provider = TokioRuntimeProvider::default();
        // Made for each question: what an operator changes in the system's files holds from then on.
        let mut builder = match &self.servers {
            None => Resolver::builder(provider).map_err(io::Error::other)?,
            Some(servers) => {
                let options = ResolverOpts::default();
                Resolver::builder_with_config(servers.clone(), provider).with_options(options)
            }
        };
        let options = builder.options_mut();
        (options.ip_strategy, options.use_hosts_file) = (LookupIpStrategy::Ipv4thenIpv6, ResolveHosts::Never);
        let resolver = builder.build().map_err(io::Error::other)?;
        let found = resolver.lookup_ip(target.host.as_str()).await.map_err(io::Error::other)?;
        let ttl = found.valid_until().saturating_duration_since(Instant::now());
        Ok((usable(found.iter().map(|ip| SocketAddr::new(ip, target.port)))?, ttl))
    }
}

/// What `/etc/hosts` says of it.
fn of_hosts(target: &Target) -> Option<Vec<SocketAddr>> {
    let (hosts, name) = (Hosts::from_system().ok()?, Name::from_utf8(&target.host).ok()?);
    let of = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of);
    let addresses: Vec<IpAddr> = found
        .flat_map(|lookup| {
            lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
        })
        .collect();
    usable(addresses.into_iter().map(|ip| SocketAddr::new(ip, target.port))).ok()
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
mod tests;
