//! Connections that wait, and may have to go.
//!
//! A connection says that it waits by a store into a cell of its own: a request takes no lock that others take as
//! well. Whoever looks for the one with the least to lose looks at all, and remembers the next few.

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use slab::Slab;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// The connection does not wait.
const BUSY: u64 = 0;
/// It was told to go.
const TOLD: u64 = u64::MAX;
/// How many of those with the least to lose are remembered.
const NEXT: usize = 64;

/// A connection, as it waits or does not.
#[derive(Debug)]
pub(in crate::edge) struct Parked {
    /// When all began to be counted.
    origin: Instant,
    /// Until when it may wait, in nanoseconds from the origin; or [`BUSY`], or [`TOLD`].
    until: AtomicU64,
    evicted: AtomicBool,
    waker: AtomicWaker,
}

/// A connection that waits; it does not any more when this goes.
#[derive(Debug)]
pub(in crate::edge) struct Ticket<'p>(&'p Parked);

impl Parked {
    fn new(origin: Instant) -> Self {
        Parked {
            origin,
            until: AtomicU64::new(BUSY),
            evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// The connection waits from now on, for so long at most.
    pub(in crate::edge) fn park(&self, timeout: Duration) -> Ticket<'_> {
        let until = (self.origin.elapsed() + timeout).as_nanos();
        let until = u64::try_from(until).unwrap_or(TOLD).clamp(BUSY + 1, TOLD - 1);
        self.until.store(until, Ordering::Release);
        Ticket(self)
    }

    /// Ready once the connection must go.
    pub(in crate::edge) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.evicted.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// When its time is over; none where it does not wait.
    fn until(&self) -> Option<u64> {
        match self.until.load(Ordering::Acquire) {
            BUSY | TOLD => None,
            until => Some(until),
        }
    }

    /// Tells it to go, where it waits as it did when it was looked at.
    fn evict(&self, until: u64) -> bool {
        let told = self.until.compare_exchange(until, TOLD, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if told {
            self.evicted.store(true, Ordering::Release);
            self.waker.wake();
        }
        told
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.until.store(BUSY, Ordering::Release);
    }
}

/// All connections.
#[derive(Debug)]
pub(super) struct Waiting {
    origin: Instant,
    all: Mutex<Slab<Arc<Parked>>>,
    /// Those with the least to lose when they were last looked for, the least first.
    next: Mutex<VecDeque<(u64, Arc<Parked>)>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting { origin: Instant::now(), all: Mutex::default(), next: Mutex::default() }
    }
}

impl Waiting {
    /// A connection has come; it is found at the number until it leaves.
    pub(super) fn enter(&self) -> (Arc<Parked>, usize) {
        let parked = Arc::new(Parked::new(self.origin));
        let place = self.all.lock().insert(parked.clone());
        (parked, place)
    }

    pub(super) fn leave(&self, place: usize) {
        self.all.lock().try_remove(place);
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.all.lock().iter().filter(|(_, parked)| parked.until().is_some()).count()
    }

    /// Tells the one to go whose time is over first; false where none waits.
    pub(super) fn evict(&self) -> bool {
        let mut next = self.next.lock();
        // What is remembered may have got a request since; then it is looked for once more.
        for look in [false, true] {
            if look {
                *next = self.least();
            }
            while let Some((until, parked)) = next.pop_front() {
                if parked.evict(until) {
                    return true;
                }
            }
        }
        false
    }

    /// Tells all to go whose time is over, and says how many.
    pub(super) fn reap(&self) -> u64 {
        let now = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(TOLD);
        let mut late = Vec::new();
        for (_, parked) in self.all.lock().iter() {
            late.extend(parked.until().filter(|until| *until <= now).map(|until| (until, parked.clone())));
        }
        late.iter().map(|(until, parked)| u64::from(parked.evict(*until))).sum()
    }

    fn least(&self) -> VecDeque<(u64, Arc<Parked>)> {
        let all = self.all.lock();
        let mut found: Vec<_> =
            all.iter().filter_map(|(place, parked)| parked.until().map(|until| (until, place))).collect();
        if found.len() > NEXT {
            found.select_nth_unstable(NEXT);
            found.truncate(NEXT);
        }
        found.sort_unstable();
        found.iter().filter_map(|(until, place)| Some((*until, all.get(*place)?.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_told(parked: &Parked) -> bool {
        parked.evicted.load(Ordering::Acquire)
    }

    #[test]
    fn the_longest_idle_goes_first() {
        let waiting = Waiting::default();
        let all: Vec<_> = (0..200).map(|_| waiting.enter().0).collect();
        let wait = |index: usize| Duration::from_secs(if index == 150 { 1 } else { 10 + index as u64 });
        let mut tickets: Vec<_> =
            all.iter().enumerate().map(|(index, parked)| parked.park(wait(index))).collect();
        assert_eq!(waiting.count(), 200);
        assert!(waiting.evict() && is_told(&all[150]) && !is_told(&all[0]));
        // What has a request is left alone, though it was remembered as the next.
        drop(tickets.remove(0));
        assert!(waiting.evict() && !is_told(&all[0]) && is_told(&all[1]));
        assert_eq!(waiting.count(), 197);
        for _ in 0..197 {
            assert!(waiting.evict());
        }
        assert!(!waiting.evict() && !is_told(&all[0]));
    }

    #[test]
    fn whoever_waits_too_long_goes() {
        let waiting = Waiting::default();
        let ((late, _), (early, _), (busy, _)) = (waiting.enter(), waiting.enter(), waiting.enter());
        let _tickets = (late.park(Duration::ZERO), early.park(Duration::from_secs(60)));
        drop(busy.park(Duration::ZERO));
        assert_eq!(waiting.reap(), 1);
        assert!(is_told(&late) && !is_told(&early) && !is_told(&busy));
        assert_eq!(waiting.reap(), 0);
    }

    #[test]
    fn whoever_has_left_is_forgotten() {
        let waiting = Waiting::default();
        let (parked, place) = waiting.enter();
        let ticket = parked.park(Duration::from_secs(1));
        waiting.leave(place);
        assert_eq!(waiting.count(), 0);
        assert!(!waiting.evict());
        drop(ticket);
    }
}
