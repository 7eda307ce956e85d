//! The breaker. A store has one lane for each part of it that can be gone alone: a server one, a cluster as many as its
//! slots are divided into here. A lane that is shut lets nothing through; what is in the background opens it.

use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// So many failures in a row shut a lane.
const FAILURES: u32 = 5;
/// Slots of a cluster that share a lane: 64 lanes for 16384.
const SLOTS: u16 = 256;
const ALL_SLOTS: u16 = 16384;

/// All lanes of a store.
pub(crate) struct Lanes(Vec<Lane>);

pub(crate) struct Lane {
    /// A key of one of its slots, for who asks whether the node is there.
    probe: Bytes,
    failures: AtomicU32,
    shut: AtomicBool,
}

impl Lanes {
    pub(crate) fn new(cluster: bool) -> Self {
        let count = if cluster { ALL_SLOTS / SLOTS } else { 1 };
        let lane = |index| {
            let of_lane = |key: &Bytes| slot(key) / SLOTS == index;
            // A hundred tries find one in any lane; a server has a lane that every key is of.
            let probe = (0u32..).map(|number| Bytes::from(format!("palisade:{{{number}}}")));
            let probe = probe.take(100_000).find(|key| !cluster || of_lane(key)).unwrap_or_default();
            Lane { probe, failures: AtomicU32::new(0), shut: AtomicBool::new(false) }
        };
        Lanes((0..count).map(lane).collect())
    }

    /// The lane of a command with this key.
    pub(crate) fn of(&self, key: Option<&Bytes>) -> Option<&Lane> {
        match key {
            Some(key) if self.0.len() > 1 => self.0.get(usize::from(slot(key) / SLOTS)),
            _ => self.0.first(),
        }
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = &Lane> {
        self.0.iter()
    }

    /// True where nothing gets through.
    pub(crate) fn all_shut(&self) -> bool {
        self.0.iter().all(Lane::is_shut)
    }

    /// How many are shut.
    pub(crate) fn shut(&self) -> usize {
        self.0.iter().filter(|lane| lane.is_shut()).count()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn open_all(&self) {
        self.0.iter().for_each(Lane::open);
    }
}

impl Lane {
    pub(crate) fn probe(&self) -> Bytes {
        self.probe.clone()
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// A command was answered.
    pub(crate) fn answered(&self) {
        // Read first: the common path writes nothing that other threads read.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// A command got no answer; true where that shut the lane.
    pub(crate) fn failed(&self) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        failures >= FAILURES && !self.shut.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn open(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.shut.store(false, Ordering::Release);
    }
}

/// The slot of a key in a cluster: of what stands in its first braces, where anything does.
fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|start| {
        let rest = key.get(start + 1..)?;
        rest.get(..rest.iter().position(|byte| *byte == b'}')?)
    });
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16::State::<crc16::XMODEM>::calculate(hashed) % ALL_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` says.
        for (key, expect) in [("foo", 12182), ("x{foo}y", 12182), ("123456789", 12739), ("{foo}{bar}", 12182)]
        {
            assert_eq!(slot(key.as_bytes()), expect, "{key}");
        }
        for whole in ["a{}foo", "a{foo", "foo}", "{}"] {
            let direct = crc16::State::<crc16::XMODEM>::calculate(whole.as_bytes()) % ALL_SLOTS;
            assert_eq!(slot(whole.as_bytes()), direct, "{whole}");
        }
    }

    #[test]
    fn failures_in_a_row_shut_a_lane_alone() {
        let lanes = Lanes::new(true);
        assert_eq!(lanes.count(), 64);
        for (index, lane) in (0u16..).zip(lanes.each()) {
            assert_eq!(slot(&lane.probe()) / SLOTS, index);
        }
        let lane = lanes.of(Some(&Bytes::from_static(b"foo"))).unwrap();
        for _ in 0..10 {
            assert!((0..4).all(|_| !lane.failed()));
            lane.answered();
        }
        assert!((0..4).all(|_| !lane.failed()) && lane.failed() && !lane.failed());
        assert!(lane.is_shut() && lanes.shut() == 1 && !lanes.all_shut());
        assert!(!lanes.of(Some(&Bytes::from_static(b"123456789"))).unwrap().is_shut());
        lane.open();
        assert!(!lane.is_shut() && !lane.failed());
    }
}
