//! Who has tried how many ids that are not theirs. Bounded: of callers the ones that were refused last are remembered.

use lru::LruCache;
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Different ids that may be asked for at most.
pub(super) const MOST: usize = 1000;
/// Callers that are remembered.
const CALLERS: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// When it is too much, and what follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) distinct: usize,
    pub(super) window: Duration,
    pub(super) lockout: Option<Duration>,
}

pub(super) struct Watch {
    pub(super) callers: Mutex<LruCache<Arc<str>, Caller>>,
    /// Lockouts that were begun: as long as there was none, nobody is looked up.
    pub(super) lockouts: AtomicUsize,
    hashes: RandomState,
}

impl Default for Watch {
    fn default() -> Self {
        Watch {
            callers: Mutex::new(LruCache::new(CALLERS)),
            lockouts: AtomicUsize::new(0),
            hashes: RandomState::new(),
        }
    }
}

pub(super) struct Caller {
    since: Instant,
    /// Hashes of ids.
    tried: HashSet<u64>,
    locked: Option<Instant>,
}

impl Caller {
    pub(super) fn fresh(now: Instant) -> Self {
        Caller { since: now, tried: HashSet::new(), locked: None }
    }

    /// One that is locked out for so long.
    pub(super) fn locked_for(now: Instant, left: Duration) -> Self {
        Caller { locked: now.checked_add(left), ..Caller::fresh(now) }
    }

    /// For how long it is still locked out.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.locked?.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

impl Watch {
    /// Notes ids that were refused; true where they make it too many.
    pub(super) fn note<'i>(
        &self,
        caller: &Arc<str>,
        ids: impl Iterator<Item = &'i str>,
        terms: &Terms,
        now: Instant,
    ) -> bool {
        let mut callers = self.callers.lock();
        let entry = callers.get_or_insert_mut(caller.clone(), || Caller::fresh(now));
        if now.duration_since(entry.since) >= terms.window {
            (entry.since, entry.tried) = (now, HashSet::new());
        }
        let room = terms.distinct.saturating_sub(entry.tried.len());
        let fresh =
            ids.map(|id| self.hashes.hash_one(id)).filter(|hash| !entry.tried.contains(hash)).take(room);
        let fresh: Vec<u64> = fresh.collect();
        entry.tried.extend(fresh);
        if entry.tried.len() < terms.distinct {
            return false;
        }
        // The next attempt begins anew.
        (entry.since, entry.tried) = (now, HashSet::new());
        if let Some(lockout) = terms.lockout {
            entry.locked = now.checked_add(lockout);
            self.lockouts.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// For how long a caller is still locked out.
    pub(super) fn locked(&self, caller: &Arc<str>, now: Instant) -> Option<Duration> {
        if self.lockouts.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.callers.lock().get(caller)?.left(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_ids_count_and_the_same_do_not() {
        let (watch, alice, bob) = (Watch::default(), Arc::from("alice"), Arc::from("bob"));
        let terms = Terms {
            distinct: 3,
            window: Duration::from_secs(3600),
            lockout: Some(Duration::from_secs(3600)),
        };
        let note = |caller, ids: &[&str]| watch.note(caller, ids.iter().copied(), &terms, Instant::now());
        assert!(!note(&alice, &["1", "1", "2"]));
        assert!(!note(&alice, &["1", "2"]));
        assert!(!note(&bob, &["1", "2"]));
        assert!(watch.locked(&alice, Instant::now()).is_none());
        assert!(note(&alice, &["3"]));
        assert!(
            watch.locked(&alice, Instant::now()).is_some() && watch.locked(&bob, Instant::now()).is_none()
        );
        assert!(!note(&alice, &["4", "5"]), "it begins anew");
        assert!(note(&bob, &["7", "8", "9", "10"]));
        // A window that is over forgets.
        let short = Terms { window: Duration::ZERO, ..terms };
        for id in ["a", "b", "c", "d"] {
            assert!(!watch.note(&Arc::from("carol"), std::iter::once(id), &short, Instant::now()));
        }
    }

    #[test]
    fn callers_are_bounded() {
        let (watch, terms) = (Watch::default(), Terms { distinct: 3, window: Duration::MAX, lockout: None });
        for caller in 0..20_000 {
            watch.note(&Arc::from(caller.to_string()), std::iter::once("x"), &terms, Instant::now());
        }
        assert_eq!(watch.callers.lock().len(), CALLERS.get());
    }
}
