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
/// How many of those that go next are remembered.
const NEXT: usize = 64;

/// A connection, as it waits or does not.
#[derive(Debug)]
pub(in crate::edge) struct Parked {
    /// When all began to be counted.
    origin: Instant,
    /// The listener that it came to.
    door: u32,
    evicted: AtomicBool,
    /// Since when it waits, in nanoseconds from the origin; or [`BUSY`], or [`TOLD`].
    since: AtomicU64,
    /// Until when it may; written before `since`.
    until: AtomicU64,
    waker: AtomicWaker,
}

/// A connection that waits; it does not any more when this goes.
#[derive(Debug)]
pub(in crate::edge) struct Ticket<'p>(&'p Parked);

impl Parked {
    fn new(origin: Instant, door: u32) -> Self {
        Parked {
            origin,
            door,
            evicted: AtomicBool::new(false),
            since: AtomicU64::new(BUSY),
            until: AtomicU64::new(BUSY),
            waker: AtomicWaker::new(),
        }
    }

    /// The connection waits from now on, for so long at most.
    pub(in crate::edge) fn park(&self, timeout: Duration) -> Ticket<'_> {
        let now = self.origin.elapsed();
        self.until.store(nanoseconds(now.saturating_add(timeout)), Ordering::Relaxed);
        self.since.store(nanoseconds(now), Ordering::Release);
        Ticket(self)
    }

    /// Ready once the connection must go.
    pub(in crate::edge) fn poll_evicted(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.evicted.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    #[cfg(test)]
    pub(in crate::edge) fn is_told(&self) -> bool {
        self.evicted.load(Ordering::Acquire)
    }

    /// Since when it waits; none where it does not.
    fn since(&self) -> Option<u64> {
        match self.since.load(Ordering::Acquire) {
            BUSY | TOLD => None,
            since => Some(since),
        }
    }

    /// Tells it to go, where it waits as it did when it was looked at.
    fn evict(&self, since: u64) -> bool {
        let told = self.since.compare_exchange(since, TOLD, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if told {
            self.evicted.store(true, Ordering::Release);
            self.waker.wake();
        }
        told
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(TOLD).clamp(BUSY + 1, TOLD - 1)
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.since.store(BUSY, Ordering::Release);
    }
}

/// All connections.
#[derive(Debug)]
pub(super) struct Waiting {
    origin: Instant,
    all: Mutex<Slab<Arc<Parked>>>,
}

/// Those that waited longest when they were last looked for, the longest first.
#[derive(Debug, Default)]
pub(super) struct Next(Mutex<VecDeque<(u64, Arc<Parked>)>>);

impl Default for Waiting {
    fn default() -> Self {
        Waiting { origin: Instant::now(), all: Mutex::default() }
    }
}

impl Waiting {
    /// A connection has come to a listener; it is found at the number until it leaves.
    pub(super) fn enter(&self, door: u32) -> (Arc<Parked>, usize) {
        let parked = Arc::new(Parked::new(self.origin, door));
        let place = self.all.lock().insert(parked.clone());
        (parked, place)
    }

    pub(super) fn leave(&self, place: usize) {
        self.all.lock().try_remove(place);
    }

    /// How many wait.
    pub(super) fn count(&self) -> usize {
        self.all.lock().iter().filter(|(_, parked)| parked.since().is_some()).count()
    }

    /// Tells the one to go that has waited longest, of a listener or of all; false where none waits. `next` is for
    /// this listener, or for all, alone.
    pub(super) fn evict(&self, next: &Next, door: Option<u32>) -> bool {
        let mut next = next.0.lock();
        // What is remembered may have got a request since; then it is looked for once more.
        for look in [false, true] {
            if look {
                *next = self.longest(door);
            }
            while let Some((since, parked)) = next.pop_front() {
                if parked.evict(since) {
                    return true;
                }
            }
        }
        false
    }

    /// Tells all to go whose time is over, and says how many.
    pub(super) fn reap(&self) -> u64 {
        let now = nanoseconds(self.origin.elapsed());
        let mut late = Vec::new();
        for (_, parked) in self.all.lock().iter() {
            // Where it begins to wait again between the two, what it was is not told to go.
            let since = parked.since().filter(|_| parked.until.load(Ordering::Relaxed) <= now);
            late.extend(since.map(|since| (since, parked.clone())));
        }
        late.iter().map(|(since, parked)| u64::from(parked.evict(*since))).sum()
    }

    fn longest(&self, door: Option<u32>) -> VecDeque<(u64, Arc<Parked>)> {
        let all = self.all.lock();
        let of = |parked: &Parked| door.is_none_or(|door| door == parked.door);
        let mut found: Vec<_> = all
            .iter()
            .filter(|(_, parked)| of(parked))
            .filter_map(|(place, parked)| parked.since().map(|since| (since, place)))
            .collect();
        if found.len() > NEXT {
            found.select_nth_unstable(NEXT);
            found.truncate(NEXT);
        }
        found.sort_unstable();
        found.iter().filter_map(|(since, place)| Some((*since, all.get(*place)?.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_idle_goes_first_however_long_it_may_wait() {
        let (waiting, next) = (Waiting::default(), Next::default());
        let all: Vec<_> = (0..200).map(|_| waiting.enter(0).0).collect();
        // What has just come has the least time left, and goes last.
        let park = |index: usize| all[index].park(Duration::from_secs(10_000 - index as u64));
        let mut tickets: Vec<_> = (0..200)
            .map(|index| {
                let ticket = park(index);
                std::thread::sleep(Duration::from_micros(1));
                ticket
            })
            .collect();
        assert_eq!(waiting.count(), 200);
        assert!(waiting.evict(&next, None) && all[0].is_told() && !all[199].is_told());
        // What has a request is left alone, though it was remembered as the next.
        drop(tickets.remove(1));
        assert!(waiting.evict(&next, None) && !all[1].is_told() && all[2].is_told());
        assert_eq!(waiting.count(), 197);
        for _ in 0..197 {
            assert!(waiting.evict(&next, None));
        }
        assert!(!waiting.evict(&next, None) && !all[1].is_told());
    }

    #[test]
    fn room_is_made_among_those_of_one_listener() {
        let (waiting, next) = (Waiting::default(), Next::default());
        let (one, two) = (waiting.enter(1).0, waiting.enter(2).0);
        let hour = Duration::from_secs(3600);
        let _tickets = (one.park(hour), two.park(hour));
        assert!(waiting.evict(&next, Some(2)) && two.is_told() && !one.is_told());
        assert!(!waiting.evict(&next, Some(2)) && !one.is_told());
    }

    #[test]
    fn whoever_waits_too_long_goes() {
        let waiting = Waiting::default();
        let ((late, _), (early, _), (busy, _)) = (waiting.enter(0), waiting.enter(0), waiting.enter(0));
        let _tickets = (late.park(Duration::ZERO), early.park(Duration::from_secs(60)));
        drop(busy.park(Duration::ZERO));
        assert_eq!(waiting.reap(), 1);
        assert!(late.is_told() && !early.is_told() && !busy.is_told());
        assert_eq!(waiting.reap(), 0);
    }

    #[test]
    fn whoever_has_left_is_forgotten() {
        let waiting = Waiting::default();
        let (parked, place) = waiting.enter(0);
        let ticket = parked.park(Duration::from_secs(1));
        waiting.leave(place);
        assert_eq!(waiting.count(), 0);
        assert!(!waiting.evict(&Next::default(), None));
        drop(ticket);
    }
}
