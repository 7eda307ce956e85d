//! What all requests together may hold in buffers.

use bytes::Bytes;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What is made room for at least, in bytes.
const LEAST: usize = 4096;

/// How much room to make where `room` is too little for `length`: twice as much, or where that is not to be had
/// somewhat more. So a long body is not copied for each of its pieces.
pub fn rooms(room: usize, length: usize) -> [usize; 2] {
    [room.saturating_mul(2).max(LEAST).max(length), length.saturating_add(length / 8)]
}

/// Bytes that may be held, and bytes that are.
#[derive(Debug, Default)]
pub struct Budget {
    used: AtomicU64,
}

/// A share of the budget; given back when it goes.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: u64,
    most: u64,
}

impl Budget {
    /// A share of nothing, that may grow until all of them together are `most` bytes.
    pub fn share(self: &Arc<Self>, most: u64) -> Share {
        Share { budget: self.clone(), bytes: 0, most }
    }

    /// Bytes that are held now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Makes it a share of so many bytes. False, and nothing changed, where that is more than there is.
    #[must_use]
    pub fn resize(&mut self, bytes: usize) -> bool {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let used = &self.budget.used;
        if let Some(more) = bytes.checked_sub(self.bytes) {
            let fits = |used: u64| used.checked_add(more).filter(|sum| more == 0 || *sum <= self.most);
            if used.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).is_err() {
                return false;
            }
        } else {
            used.fetch_sub(self.bytes - bytes, Ordering::AcqRel);
        }
        self.bytes = bytes;
        true
    }

    /// Bytes that it has.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Why a body is not collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// It is longer than it may be.
    TooLarge,
    /// There are too many bodies: the budget is used up.
    Full,
}

/// A body that is collected. It never takes more memory than its share has bytes.
#[derive(Debug)]
pub struct Collector {
    bytes: Vec<u8>,
    limit: usize,
    copies: usize,
    share: Share,
}

impl Collector {
    /// Of at most `limit` bytes. Each counts for `copies`: as often as it will be held.
    pub fn new(share: Share, limit: usize, copies: usize) -> Self {
        Collector { bytes: Vec::new(), limit, copies, share }
    }

    /// The most bytes that it takes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes that it has.
    pub fn collected(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for so many bytes in all, and no more: they are announced.
    pub fn expect(&mut self, length: u64) -> Result<(), NoRoom> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.limit);
        self.grow(length.ok_or(NoRoom::TooLarge)?)
    }

    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), NoRoom> {
        let length = self.bytes.len().saturating_add(piece.len());
        if length > self.limit {
            return Err(NoRoom::TooLarge);
        }
        let room = self.bytes.capacity();
        if length > room {
            let [much, little] = rooms(room, length).map(|room| room.min(self.limit));
            self.grow(much).or_else(|_| self.grow(little))?;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// All of it, and the share that it is held within.
    pub fn finish(self) -> (Bytes, Share) {
        (self.bytes.into(), self.share)
    }

    fn grow(&mut self, room: usize) -> Result<(), NoRoom> {
        if !self.share.resize(room.saturating_mul(self.copies)) {
            return Err(NoRoom::Full);
        }
        // Not `reserve`: that would take up to twice as much.
        self.bytes.reserve_exact(room.saturating_sub(self.bytes.len()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_never_pass_the_budget_and_come_back() {
        let budget = Arc::new(Budget::default());
        let (mut first, mut second) = (budget.share(100), budget.share(100));
        assert!(first.resize(60) && !second.resize(41) && !second.resize(usize::MAX) && second.resize(40));
        assert_eq!((budget.used(), second.bytes()), (100, 40));
        assert!(!first.resize(61) && first.resize(10) && second.resize(90) && first.resize(10));
        let mut late = budget.share(50);
        assert!(late.resize(0) && !late.resize(1), "a budget that was lowered lets go, and gives nothing");
        drop((first, second, late));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_collected_never_takes_more_than_its_share() {
        let budget = Arc::new(Budget::default());
        for announced in [false, true] {
            let mut collector = Collector::new(budget.share(200_000), 100_000, 2);
            if announced {
                assert_eq!(collector.expect(100_001), Err(NoRoom::TooLarge));
                collector.expect(100_000).unwrap();
                assert_eq!(budget.used(), 200_000);
            }
            for _ in 0..100 {
                collector.push(&[1; 1000]).unwrap();
                assert!(collector.bytes.capacity() * 2 <= collector.share.bytes());
                assert!(collector.share.bytes() <= 200_000);
            }
            assert_eq!((collector.push(&[1]), collector.collected()), (Err(NoRoom::TooLarge), 100_000));
            let (bytes, share) = collector.finish();
            assert_eq!((bytes.len(), share.bytes()), (100_000, 200_000));
            let mut late = Collector::new(budget.share(200_000), 1000, 1);
            assert_eq!(late.push(&[1]), Err(NoRoom::Full));
        }
        assert_eq!(budget.used(), 0);
    }
}
