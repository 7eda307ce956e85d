//! What a store said a short while ago: of keys that somebody holds, and apart of those that nobody does, so that a flood
//! of guesses drives out nothing but guesses.

use lru::LruCache;
use palisade_contract::Held;
use parking_lot::Mutex;
use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

/// The most keys of each kind that are remembered.
const HELD: usize = 65_536;
const UNHELD: usize = 16_384;
/// They are in so many parts, so that threads seldom wait for one another.
const PARTS: usize = 16;

/// What is remembered.
pub(super) struct Cache {
    staleness: Duration,
    parts: Vec<Mutex<Part>>,
}

struct Part {
    held: LruCache<[u8; 32], (Instant, Held)>,
    unheld: LruCache<[u8; 32], Instant>,
}

impl Cache {
    /// For answers that hold so long from when they were asked for.
    pub(super) fn new(staleness: Duration) -> Self {
        let size = |count: usize| NonZeroUsize::new(count / PARTS).unwrap_or(NonZeroUsize::MIN);
        let part = || Part { held: LruCache::new(size(HELD)), unheld: LruCache::new(size(UNHELD)) };
        Cache { staleness, parts: (0..PARTS).map(|_| Mutex::new(part())).collect() }
    }

    pub(super) fn staleness(&self) -> Duration {
        self.staleness
    }

    /// True where an answer that was asked for then still holds.
    pub(super) fn holds(&self, asked: Instant, now: Instant) -> bool {
        now.saturating_duration_since(asked) < self.staleness
    }

    /// Who holds the key, where that is known.
    pub(super) fn get(&self, hash: &[u8; 32], now: Instant) -> Option<Option<Held>> {
        let mut part = self.part(hash)?.lock();
        if let Some((asked, held)) = part.held.get(hash) {
            if self.holds(*asked, now) {
                return Some(Some(held.clone()));
            }
            part.held.pop(hash);
        }
        let asked = *part.unheld.get(hash)?;
        if self.holds(asked, now) {
            return Some(None);
        }
        part.unheld.pop(hash);
        None
    }

    /// Remembers what was asked for at `asked`. An older answer does not take the place of a newer one.
    pub(super) fn put(&self, hash: [u8; 32], asked: Instant, found: Option<&Held>) {
        if self.staleness.is_zero() {
            return;
        }
        let Some(part) = self.part(&hash) else { return };
        let mut part = part.lock();
        let known = part.held.peek(&hash).map(|(asked, _)| *asked).max(part.unheld.peek(&hash).copied());
        if known.is_some_and(|known| known > asked) {
            return;
        }
        match found {
            Some(held) => {
                part.unheld.pop(&hash);
                part.held.put(hash, (asked, held.clone()));
            }
            None => {
                part.held.pop(&hash);
                part.unheld.put(hash, asked);
            }
        }
    }

    fn part(&self, hash: &[u8; 32]) -> Option<&Mutex<Part>> {
        self.parts.get(usize::from(hash.first().copied()?) % PARTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumers::record::Record;

    #[test]
    fn an_answer_holds_from_when_it_was_asked_for() {
        let cache = Cache::new(Duration::from_secs(5));
        let held = Record::read(br#"{"name":"a"}"#, &[1; 32]).unwrap();
        let begun = Instant::now();
        let at = |millis| begun + Duration::from_millis(millis);
        let known = |hash, millis| cache.get(&hash, at(millis)).map(|held| held.is_some());
        cache.put([1; 32], at(1000), Some(&held));
        cache.put([2; 32], at(1000), None);
        assert_eq!((known([1; 32], 5999), known([2; 32], 5999)), (Some(true), Some(false)));
        assert_eq!((known([1; 32], 6000), known([2; 32], 6000), known([3; 32], 0)), (None, None, None));
        // Revoked, and what was asked for before that comes late.
        cache.put([1; 32], at(3000), Some(&held));
        cache.put([1; 32], at(4000), None);
        cache.put([1; 32], at(3500), Some(&held));
        assert_eq!(known([1; 32], 4000), Some(false));
        cache.put([1; 32], at(5000), Some(&held));
        assert_eq!(known([1; 32], 5000), Some(true));
        let none = Cache::new(Duration::ZERO);
        none.put([1; 32], begun, Some(&held));
        assert!(none.get(&[1; 32], begun).is_none());
    }

    #[test]
    fn guesses_drive_out_guesses_alone() {
        let cache = Cache::new(Duration::from_secs(5));
        let held = Record::read(br#"{"name":"a"}"#, &[1; 32]).unwrap();
        let now = Instant::now();
        cache.put([1; 32], now, Some(&held));
        for guess in 0..2 * UNHELD as u64 {
            let mut hash = [1; 32];
            hash[8..16].copy_from_slice(&guess.to_le_bytes());
            cache.put(hash, now, None);
        }
        assert!(cache.get(&[1; 32], now).unwrap().is_some());
        let count: usize = cache.parts.iter().map(|part| part.lock().unheld.len()).sum();
        assert!(count <= UNHELD, "{count}");
    }
}
