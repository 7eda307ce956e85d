//! What the targets of an upstream are made of, each time their names stand for something else.

use super::{
    Target,
    balance::{Member, Set},
    identity::Identity,
    peer,
};
use crate::conf::model::{self, Upstream as Written};
use std::{net::SocketAddr, sync::Arc, time::Instant};

/// Shares of a target's weight that its addresses can have evenly, up to eight of them.
const SHARES: u32 = 840;

/// What is written of an upstream, and who it is to its origins.
pub(super) struct Blueprint {
    pub(super) written: Written,
    pub(super) identity: Option<Identity>,
}

impl Blueprint {
    /// The set for these addresses of each target. An address that several targets have counts for the first. What
    /// is known of those of `last` goes on being known; beside them others begin slowly.
    pub(super) fn set(&self, name: &str, resolved: &[Vec<SocketAddr>], last: Option<&Set>) -> Set {
        let mut members = Vec::<Member>::new();
        for (target, addresses) in self.written.targets.iter().zip(resolved) {
            let target = &target.value;
            let weight = u32::from(target.weight).saturating_mul(SHARES);
            for address in addresses {
                if members.iter().any(|member| member.target.address == *address) {
                    continue;
                }
                let server_name = self
                    .written
                    .tls
                    .as_ref()
                    .map(|tls| tls.server_name.clone().unwrap_or_else(|| target.host.clone()));
                members.push(Member {
                    target: self.target(*address, last),
                    peer: peer::peer(name, *address, server_name, &self.written, self.identity.as_ref()),
                    authority: authority(target),
                    weight: (weight / u32::try_from(addresses.len()).unwrap_or(u32::MAX)).max(1),
                });
            }
        }
        Set::new(members, &self.written.balance)
    }

    fn target(&self, address: SocketAddr, last: Option<&Set>) -> Arc<Target> {
        let Some(last) = last else { return Arc::new(Target::new(address)) };
        last.target(address).cloned().unwrap_or_else(|| {
            let new = Target::new(address);
            if self.written.slow_start.is_some() {
                new.standing.begin_slowly(Instant::now());
            }
            Arc::new(new)
        })
    }
}

/// The target as a request names it.
pub(super) fn authority(target: &model::Target) -> Arc<str> {
    let (host, port) = (&target.host, target.port);
    Arc::from(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}
