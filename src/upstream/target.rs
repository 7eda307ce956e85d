//! One origin: what is known of it. It is shared by the snapshots that name it, so that a reload loses nothing.

use super::standing::Standing;
use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The low bits of a target's load count requests in flight, the others those that were ever begun.
const IN_FLIGHT_BITS: u32 = 24;
const BEGUN_ONE: u64 = 1 << IN_FLIGHT_BITS;
const IN_FLIGHT: u64 = BEGUN_ONE - 1;

/// One address of an upstream.
pub struct Target {
    /// Where it listens.
    pub address: SocketAddr,
    /// Both counts in one, so that a request costs two atomic additions.
    load: AtomicU64,
    /// How often it was put aside because requests had failed.
    ejections: AtomicU64,
    pub(super) standing: Standing,
}

/// A request in flight at a target, until it is dropped.
#[derive(Debug)]
pub struct Lease(Arc<Target>);

impl Target {
    pub(super) fn new(address: SocketAddr) -> Self {
        Target {
            address,
            load: AtomicU64::new(0),
            ejections: AtomicU64::new(0),
            standing: Standing::default(),
        }
    }

    /// A request went well.
    pub fn succeeded(&self) {
        self.standing.succeeded();
    }

    /// It was put aside.
    pub(super) fn ejected(&self) {
        self.ejections.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was put aside.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Ordering::Relaxed)
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u64 {
        self.load.load(Ordering::Relaxed) & IN_FLIGHT
    }

    /// Requests ever begun.
    pub fn begun(&self) -> u64 {
        self.load.load(Ordering::Relaxed) >> IN_FLIGHT_BITS
    }

    /// Begins a request; the number of others that are in flight comes with it.
    pub(super) fn begin(self: &Arc<Self>) -> (Lease, u64) {
        let before = self.load.fetch_add(BEGUN_ONE + 1, Ordering::Relaxed);
        (Lease(self.clone()), before & IN_FLIGHT)
    }
}

impl Lease {
    /// Its target.
    pub fn target(&self) -> &Arc<Target> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("address", &self.address)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_until_they_are_dropped() {
        let target = Arc::new(Target::new(([127, 0, 0, 1], 80).into()));
        let (first, before) = target.begin();
        assert_eq!((before, target.in_flight()), (0, 1));
        let (second, before) = target.begin();
        assert_eq!((before, target.in_flight()), (1, 2));
        drop(first);
        assert_eq!(target.in_flight(), 1);
        drop(second);
        assert_eq!((target.in_flight(), target.begun()), (0, 2));
    }
}
