//! All live connections: how many, whose, and which are idle.

mod waiting;

pub(super) use waiting::Parked;

use super::workers::Seat;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};
use tokio::{sync::Notify, time::Instant};
use waiting::{Next, Waiting};

/// Live connections.
pub struct Registry {
    live: AtomicUsize,
    waiting: Waiting,
    /// Those that go next where room is made for a connection of any listener.
    next: Next,
    doors: AtomicU32,
    /// As many connections as there are descriptors for.
    descriptors: AtomicUsize,
    /// There is no memory for more connections.
    short: AtomicBool,
    accepted: AtomicU64,
    evicted: [AtomicU64; 5],
    refused: [AtomicU64; 2],
    failures: [AtomicU64; 2],
    /// Told whenever a connection has gone.
    pub(super) released: Notify,
}

/// The connections of one listener.
#[derive(Debug)]
pub struct Door {
    number: u32,
    live: AtomicUsize,
    next: Next,
    /// Connections by the network that they come from.
    per_ip: Counts,
    /// Requests in flight by the network of clients that trusted proxies have named.
    in_flight: Counts,
}

/// Why an idle connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// All connections that there may be were open.
    Connections,
    /// All of the listener's were.
    Listener,
    /// File descriptors were running out.
    Descriptors,
    /// Memory was.
    Memory,
    /// It had waited too long.
    Timeout,
}

/// Why a connection was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Its address has too many.
    PerIp,
    /// There is no memory left.
    Memory,
}

/// What the metrics show. What has a reason stands under its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that are open.
    pub live: usize,
    /// Those that wait for a request.
    pub idle: usize,
    /// Since the start.
    pub accepted: u64,
    /// Idle connections that had to make room or were idle too long, as in [`Stats::EVICTED`].
    pub evicted: [u64; 5],
    /// Connections over a limit, as in [`Stats::REFUSED`].
    pub refused: [u64; 2],
    /// Failures to accept, as in [`Stats::FAILURES`].
    pub failures: [u64; 2],
}

impl Stats {
    /// Why idle connections were closed.
    pub const EVICTED: [&str; 5] = ["connections", "listener", "descriptors", "memory", "timeout"];
    /// Why connections were not taken.
    pub const REFUSED: [&str; 2] = ["connections_per_ip", "memory"];
    /// Why none could be accepted.
    pub const FAILURES: [&str; 2] = ["descriptors", "other"];
}

/// A connection that is counted; it is not any more when this goes.
pub(super) struct Live {
    registry: Arc<Registry>,
    door: Arc<Door>,
    ip: Option<IpAddr>,
    parked: Arc<Parked>,
    place: usize,
    seat: Option<Seat>,
    /// When it was accepted.
    pub(super) since: Instant,
}

/// A request in flight that is counted by its client; it is not any more when this goes.
pub struct InFlight {
    door: Arc<Door>,
    ip: IpAddr,
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

/// Counts by network, none of which stays without a count.
#[derive(Debug, Default)]
struct Counts(Mutex<HashMap<IpAddr, usize>>);

impl Counts {
    /// Counts one more of an address; none where that has `most` already.
    fn add(&self, ip: IpAddr, most: usize) -> Option<IpAddr> {
        let ip = network(ip);
        let mut counts = self.0.lock();
        match counts.get_mut(&ip) {
            Some(count) if *count >= most => return None,
            Some(count) => *count += 1,
            None if most == 0 => return None,
            None => drop(counts.insert(ip, 1)),
        }
        Some(ip)
    }

    fn remove(&self, ip: IpAddr) {
        let mut counts = self.0.lock();
        if let Some(count) = counts.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&ip);
            }
        }
    }
}

impl Default for Registry {
    fn default() -> Self {
        Registry {
            live: AtomicUsize::new(0),
            waiting: Waiting::default(),
            next: Next::default(),
            doors: AtomicU32::new(0),
            descriptors: AtomicUsize::new(usize::MAX),
            short: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            evicted: Default::default(),
            refused: Default::default(),
            failures: Default::default(),
            released: Notify::new(),
        }
    }
}

impl Registry {
    /// Another listener.
    pub fn door(&self) -> Arc<Door> {
        Arc::new(Door {
            number: self.doors.fetch_add(1, Ordering::Relaxed),
            live: AtomicUsize::new(0),
            next: Next::default(),
            per_ip: Counts::default(),
            in_flight: Counts::default(),
        })
    }

    /// There are descriptors for so many connections.
    pub fn set_descriptors(&self, connections: usize) {
        self.descriptors.store(connections.max(1), Ordering::Relaxed);
    }

    /// Whether there is no memory for more connections.
    pub(super) fn set_short(&self, short: bool) {
        self.short.store(short, Ordering::Relaxed);
    }

    pub(super) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Counts a connection; none where its address has too many. `exempt` addresses are not counted by address.
    pub(super) fn admit(
        self: &Arc<Self>,
        door: &Arc<Door>,
        ip: IpAddr,
        per_ip: usize,
        exempt: bool,
    ) -> Option<Live> {
        let ip = if exempt { None } else { Some(self.count(door, ip, per_ip)?) };
        self.live.fetch_add(1, Ordering::AcqRel);
        door.live.fetch_add(1, Ordering::AcqRel);
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let (parked, place) = self.waiting.enter(door.number);
        let (registry, door) = (self.clone(), door.clone());
        Some(Live { registry, door, ip, parked, place, seat: None, since: Instant::now() })
    }

    fn count(&self, door: &Door, ip: IpAddr, per_ip: usize) -> Option<IpAddr> {
        let counted = door.per_ip.add(ip, per_ip);
        if counted.is_none() {
            self.refuse(Refused::PerIp);
        }
        counted
    }

    /// Notes that a connection was not taken.
    pub(super) fn refuse(&self, why: Refused) {
        if let Some(count) = self.refused.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that none could be accepted: for want of descriptors, or else.
    pub(super) fn fail(&self, descriptors: bool) {
        if let Some(count) = self.failures.get(usize::from(!descriptors)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Connections that are open.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// Connections that are open and not idle.
    pub fn busy(&self) -> usize {
        self.live().saturating_sub(self.waiting.count())
    }

    /// What stands in the way of another connection through this door, where it may have `own` and all doors
    /// together `all`.
    pub(super) fn full(&self, door: &Door, own: usize, all: usize) -> Option<Cause> {
        let live = self.live();
        if door.live.load(Ordering::Acquire) >= own {
            return Some(Cause::Listener);
        }
        if live >= all {
            return Some(Cause::Connections);
        }
        (live >= self.descriptors.load(Ordering::Relaxed)).then_some(Cause::Descriptors)
    }

    /// Closes the connection that has been idle longest, of this door or else of all; false where none is idle.
    pub(super) fn evict(&self, door: Option<&Door>, cause: Cause) -> bool {
        let evicted = match door {
            Some(door) => self.waiting.evict(&door.next, Some(door.number)),
            None => self.waiting.evict(&self.next, None),
        };
        self.evicted(cause, u64::from(evicted));
        evicted
    }

    fn evicted(&self, cause: Cause, count: u64) {
        if let Some(evicted) = self.evicted.get(cause as usize) {
            evicted.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Closes what has been idle too long.
    pub fn reap(&self) {
        self.evicted(Cause::Timeout, self.waiting.reap());
    }

    /// The counts, for the metrics.
    pub fn stats(&self) -> Stats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            live: self.live(),
            idle: self.waiting.count(),
            accepted: load(&self.accepted),
            evicted: self.evicted.each_ref().map(load),
            refused: self.refused.each_ref().map(load),
            failures: self.failures.each_ref().map(load),
        }
    }
}

impl Door {
    /// Counts a request of a client that a trusted proxy has named; none where that has `most` in flight.
    pub fn enter(self: &Arc<Self>, ip: IpAddr, most: usize) -> Option<InFlight> {
        let ip = self.in_flight.add(ip, most)?;
        Some(InFlight { door: self.clone(), ip })
    }
}

impl Live {
    /// Counts it by this address, which was not known before; false where that has too many.
    pub(super) fn count_by(&mut self, ip: IpAddr, per_ip: usize) -> bool {
        self.ip = self.registry.count(&self.door, ip, per_ip);
        self.ip.is_some()
    }

    /// A worker serves it.
    pub(super) fn sit(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }

    /// Where it is noted that the connection waits.
    pub(super) fn parked(&self) -> &Arc<Parked> {
        &self.parked
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.registry.waiting.leave(self.place);
        self.door.live.fetch_sub(1, Ordering::AcqRel);
        self.registry.live.fetch_sub(1, Ordering::AcqRel);
        self.registry.released.notify_waiters();
        if let Some(ip) = self.ip {
            self.door.per_ip.remove(ip);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.door.in_flight.remove(self.ip);
    }
}

#[cfg(test)]
mod tests;
