//! All live connections: how many, whose, and which are idle.

mod waiting;

pub(super) use waiting::Parked;

use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;
use waiting::Waiting;

/// Live connections.
#[derive(Default)]
pub struct Registry {
    live: AtomicUsize,
    waiting: Waiting,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
    accepted: AtomicU64,
    evicted: AtomicU64,
    refused: AtomicU64,
    /// Told whenever a connection has gone.
    pub(super) released: Notify,
}

/// What the metrics show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Connections that are open.
    pub live: usize,
    /// Those that wait for a request.
    pub idle: usize,
    /// Since the start.
    pub accepted: u64,
    /// Idle connections that had to make room or were idle too long.
    pub evicted: u64,
    /// Connections over a limit.
    pub refused: u64,
}

/// A connection that is counted; it is not any more when this goes.
pub(super) struct Live {
    registry: Arc<Registry>,
    ip: Option<IpAddr>,
    parked: Arc<Parked>,
    place: usize,
}

/// The network whose connections are counted together: an address, or for IPv6 its /64.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

impl Registry {
    /// Counts a connection; none where its address has too many. `exempt` addresses are not counted by address.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr, per_ip: usize, exempt: bool) -> Option<Live> {
        let ip = if exempt { None } else { Some(self.count(ip, per_ip)?) };
        self.live.fetch_add(1, Ordering::AcqRel);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let (parked, place) = self.waiting.enter();
        Some(Live { registry: self.clone(), ip, parked, place })
    }

    /// Counts a connection of an address; none where that has too many.
    fn count(&self, ip: IpAddr, per_ip: usize) -> Option<IpAddr> {
        let ip = network(ip);
        let mut counts = self.per_ip.lock();
        let count = counts.entry(ip).or_default();
        if *count >= per_ip {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        Some(ip)
    }

    /// Connections that are open.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Connections that are open and not idle.
    pub fn busy(&self) -> usize {
        self.live().saturating_sub(self.waiting.count())
    }

    /// Closes the connection that has been idle longest; false where none is idle.
    pub(super) fn evict(&self) -> bool {
        let evicted = self.waiting.evict();
        self.evicted.fetch_add(u64::from(evicted), Ordering::Relaxed);
        evicted
    }

    /// Closes what has been idle too long.
    pub fn reap(&self) {
        self.evicted.fetch_add(self.waiting.reap(), Ordering::Relaxed);
    }

    /// The counts, for the metrics.
    pub fn stats(&self) -> Stats {
        Stats {
            live: self.live(),
            idle: self.waiting.count(),
            accepted: self.accepted.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

impl Live {
    /// Counts it by this address, which was not known before; false where that has too many.
    pub(super) fn count_by(&mut self, ip: IpAddr, per_ip: usize) -> bool {
        self.ip = self.registry.count(ip, per_ip);
        self.ip.is_some()
    }

    /// Where it is noted that the connection waits.
    pub(super) fn parked(&self) -> &Arc<Parked> {
        &self.parked
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.registry.waiting.leave(self.place);
        self.registry.live.fetch_sub(1, Ordering::AcqRel);
        self.registry.released.notify_waiters();
        if let Some(ip) = self.ip {
            let mut counts = self.registry.per_ip.lock();
            if let Some(count) = counts.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&ip);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_counted_by_network() {
        let registry = Arc::new(Registry::default());
        let admit = |ip: &str, exempt| registry.admit(ip.parse().unwrap(), 2, exempt);
        let held = [admit("2001:db8::1", false), admit("2001:db8::2", false)];
        assert!(held.iter().all(Option::is_some));
        assert!(admit("2001:db8:0:0:ffff::9", false).is_none());
        assert!(admit("2001:db8:0:1::1", false).is_some());
        assert!(admit("2001:db8::3", true).is_some());
        let v4 = [admit("1.2.3.4", false), admit("::ffff:1.2.3.4", false)];
        assert!(admit("1.2.3.4", false).is_none());
        assert_eq!(registry.stats().refused, 2);
        drop((held, v4));
        assert_eq!(registry.live(), 0);
        assert!(registry.per_ip.lock().is_empty());
    }
}
