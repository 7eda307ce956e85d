//! Where the record of a key is.
//!
//! A slot holds 32 bits of the key's hash beside the place: with a million keys the memory that a look-up touches is its
//! cost, and tables whose control bytes stand apart from their slots touch it twice. Growing reads the slots alone.

use super::table::Key;

/// What is added to an index that grows, beside a fifth of what it has: a doubled one would be half empty for long.
const MORE: usize = 16;

/// Open addressing by linear probing. The hashes are keyed: nobody outside can choose what collides.
#[derive(Default)]
pub(super) struct Index {
    /// 0 where nothing is; otherwise the low half of the hash, and below it the place and one.
    slots: Box<[u64]>,
    used: usize,
}

impl Index {
    /// The place of which `is` is true, among those of keys with the same half of their hash.
    pub(super) fn find(&self, key: Key, is: impl Fn(usize) -> bool) -> Option<usize> {
        self.slot(key, is).map(|(_, place)| place)
    }

    /// Adds a place that is not there yet; false where it has no number here.
    pub(super) fn insert(&mut self, key: Key, place: usize) -> bool {
        let Some(low) = u32::try_from(place).ok().and_then(|place| place.checked_add(1)) else {
            return false;
        };
        // Most look-ups still end in the line of memory where they begin.
        if (self.used + 1) * 20 > self.slots.len() * 17 {
            self.grow();
        }
        self.used += 1;
        self.put(key.0 << 32 | u64::from(low));
        true
    }

    /// Takes a place out; false where it was not there.
    pub(super) fn remove(&mut self, key: Key, place: usize) -> bool {
        let Some((mut hole, _)) = self.slot(key, |at| at == place) else { return false };
        self.used -= 1;
        // What stands behind it moves up, as far as that brings it nearer to where its search begins.
        let mut next = hole;
        loop {
            next = self.after(next);
            let slot = self.get(next);
            if slot == 0 {
                break;
            }
            if self.distance(self.home(slot), next) >= self.distance(hole, next) {
                self.set(hole, slot);
                hole = next;
            }
        }
        self.set(hole, 0);
        true
    }

    /// How many places there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        size_of_val::<[u64]>(&self.slots)
    }

    fn slot(&self, key: Key, is: impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        let wanted = key.0 << 32;
        let mut at = self.home(wanted);
        // There is always an empty slot, but in an index without any slots.
        loop {
            let slot = self.get(at);
            let place = usize::try_from(slot & u64::from(u32::MAX)).ok()?.checked_sub(1)?;
            if slot >> 32 == wanted >> 32 && is(place) {
                return Some((at, place));
            }
            at = self.after(at);
        }
    }

    /// Where the search for what is in a slot begins: the hash's share of the slots (Lemire's fast range).
    fn home(&self, slot: u64) -> usize {
        usize::try_from(((slot >> 32) * self.slots.len() as u64) >> 32).unwrap_or(0)
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 < self.slots.len() { at + 1 } else { 0 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.slots.len() - from }
    }

    fn get(&self, at: usize) -> u64 {
        self.slots.get(at).copied().unwrap_or(0)
    }

    fn set(&mut self, at: usize, slot: u64) {
        if let Some(place) = self.slots.get_mut(at) {
            *place = slot;
        }
    }

    fn put(&mut self, slot: u64) {
        let mut at = self.home(slot);
        while self.get(at) != 0 {
            at = self.after(at);
        }
        self.set(at, slot);
    }

    fn grow(&mut self) {
        let more = vec![0; self.slots.len() + self.slots.len() / 5 + MORE].into();
        for slot in std::mem::replace(&mut self.slots, more).into_iter().filter(|slot| *slot != 0) {
            self.put(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_empty_index_has_nothing() {
        let mut index = Index::default();
        assert_eq!(index.find(Key::of(7), |_| true), None);
        assert!(!index.remove(Key::of(7), 0));
        assert!(!index.insert(Key::of(7), usize::MAX));
        assert!(!index.insert(Key::of(7), u32::MAX as usize));
    }

    proptest! {
        // Few different halves: searches run into each other, and around the end.
        #[test]
        fn it_says_what_a_map_says(steps in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..4), 0..400)) {
            let (mut index, mut places) = (Index::default(), HashMap::new());
            for (place, (add, low, high)) in steps.into_iter().enumerate() {
                let hash = high << 32 | (low * 0x6fff_fff1) & 0xffff_ffff;
                if add {
                    if let std::collections::hash_map::Entry::Vacant(entry) = places.entry(hash) {
                        entry.insert(place);
                        prop_assert!(index.insert(Key::of(hash), place));
                    }
                } else if let Some(place) = places.remove(&hash) {
                    prop_assert!(index.remove(Key::of(hash), place));
                    prop_assert!(!index.remove(Key::of(hash), place));
                }
                prop_assert_eq!(index.len(), places.len());
                for (hash, place) in &places {
                    let is = |at| places.get(hash) == Some(&at);
                    prop_assert_eq!(index.find(Key::of(*hash), is), Some(*place));
                }
            }
        }
    }
}
