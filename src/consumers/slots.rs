//! Numbers found by a hash: an open table of eight bytes a place.

/// The most files: their number takes 16 bits.
pub(super) const MAX_PARTS: usize = u16::MAX as usize;

/// An entry of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) part: u16,
    pub(super) index: u32,
}

/// Which entry has which hash. A place holds the file's number, 16 bits of the hash, and the entry's number and one.
#[derive(Debug)]
pub(super) struct Slots(Box<[u64]>);

impl Slots {
    /// Room for so many, of which a quarter stays free at least.
    pub(super) fn new(count: usize) -> Self {
        let places = count.saturating_add(count / 3).saturating_add(4).next_power_of_two();
        Slots(vec![0; places].into())
    }

    /// Adds an entry, or gives the one that is the same.
    pub(super) fn add(&mut self, hash: u64, at: At, same: impl Fn(At) -> bool) -> Result<(), At> {
        let mut place = self.first(hash);
        for _ in 0..self.0.len() {
            let Some(slot) = self.0.get_mut(place) else { break };
            if *slot == 0 {
                *slot = u64::from(at.part) << 48 | (hash >> 48) << 32 | (u64::from(at.index) + 1);
                return Ok(());
            }
            if let Some(other) = read(*slot, hash).filter(|other| same(*other)) {
                return Err(other);
            }
            place = self.next(place);
        }
        // There is always a free place: as many are asked for as there are entries.
        Ok(())
    }

    /// The entry of this hash that is the one meant.
    pub(super) fn find(&self, hash: u64, is: impl Fn(At) -> bool) -> Option<At> {
        let mut place = self.first(hash);
        for _ in 0..self.0.len() {
            let slot = *self.0.get(place)?;
            if slot == 0 {
                return None;
            }
            if let Some(at) = read(slot, hash).filter(|at| is(*at)) {
                return Some(at);
            }
            place = self.next(place);
        }
        None
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    #[allow(clippy::cast_possible_truncation, reason = "the lowest bits are what is wanted")]
    fn first(&self, hash: u64) -> usize {
        hash as usize & (self.0.len() - 1)
    }

    fn next(&self, place: usize) -> usize {
        (place + 1) & (self.0.len() - 1)
    }
}

/// What a place holds, where that may be of this hash.
#[allow(clippy::cast_possible_truncation, reason = "each part of a place has as many bits")]
fn read(slot: u64, hash: u64) -> Option<At> {
    let of_hash = (slot >> 32) as u16 == (hash >> 48) as u16;
    of_hash.then_some(At { part: (slot >> 48) as u16, index: (slot as u32).wrapping_sub(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_found_although_hashes_collide() {
        let mut slots = Slots::new(300);
        let at = |index: u32| At { part: (index % 3) as u16, index };
        // Three entries for each hash, and all hashes begin at few places.
        let hash = |index: u32| u64::from(index / 3) << 48 | u64::from(index % 7);
        for index in 0..300 {
            assert_eq!(slots.add(hash(index), at(index), |other| other == at(index)), Ok(()));
        }
        for index in 0..300 {
            assert_eq!(slots.find(hash(index), |other| other == at(index)), Some(at(index)));
            assert_eq!(slots.add(hash(index), at(index), |other| other == at(index)), Err(at(index)));
        }
        assert_eq!(slots.find(hash(1), |_| false), None);
        assert_eq!(slots.find(u64::MAX, |_| true), None);
        assert_eq!(Slots::new(0).find(0, |_| true), None);
        assert_eq!(Slots::new(1_000_000).bytes(), 16 << 20);
    }
}
