//! The slices of a window, as they stand in the words of a record: which one is the current one, then a count for each.

use std::ops::Range;

/// How much room a count has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Width {
    /// Two stand in a word. What is beyond 65 535 is that much: no window may be longer than they can say.
    #[default]
    Half,
    /// One does.
    Whole,
}

impl Width {
    /// What counts to so many need.
    pub(super) fn of(quota: u32) -> Self {
        if quota <= u32::from(u16::MAX) { Width::Half } else { Width::Whole }
    }

    pub(super) fn in_word(self) -> usize {
        match self {
            Width::Half => 2,
            Width::Whole => 1,
        }
    }
}

/// The words of one limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words<'w> {
    pub(super) all: &'w [u32],
    pub(super) width: Width,
}

impl<'w> Words<'w> {
    /// How many slices there are.
    pub(super) fn slots(self) -> usize {
        self.all.len().saturating_sub(1) * self.width.in_word()
    }

    pub(super) fn window(self) -> Option<Window<'w>> {
        let [head, words @ ..] = self.all else { return None };
        Some(Window { words, width: self.width, head: *head })
    }
}

/// The slices of a window.
pub(super) struct Window<'w> {
    words: &'w [u32],
    width: Width,
    /// The last slice that was counted in.
    pub(super) head: u32,
}

impl Window<'_> {
    pub(super) fn slots(&self) -> usize {
        self.words.len() * self.width.in_word()
    }

    /// What counts in a slice. Time does not go back: who has looked at the clock before another may be judged after
    /// it.
    pub(super) fn used(&self, slice: u32) -> u64 {
        let all = self.sum();
        match slice.saturating_sub(self.head) as usize {
            0 => all,
            passed if passed >= self.slots() => 0,
            passed => {
                let gone = self.oldest_first(self.head).take(passed);
                all.saturating_sub(gone.map(|(_, count)| u64::from(count)).sum())
            }
        }
    }

    /// The oldest slice that counts in a slice and was counted in, and how many.
    pub(super) fn oldest(&self, slice: u32) -> Option<(u32, u64)> {
        let (slots, current) = (self.slots(), self.current());
        let passed = slice.saturating_sub(self.head) as usize;
        // The slice after the current one has the place of the oldest.
        let begin = current + 1 + passed;
        let place = self
            .first_used(begin..slots)
            .or_else(|| self.first_used(begin.saturating_sub(slots)..current + 1))?;
        let age = if place > current { current + slots - place } else { current - place };
        Some((self.head.saturating_sub(u32::try_from(age).unwrap_or(0)), u64::from(self.count(place))))
    }

    /// The slices that count in a slice, and what was counted in them.
    pub(super) fn oldest_first(&self, slice: u32) -> impl Iterator<Item = (u32, u32)> {
        let (slots, current) = (self.slots(), self.current());
        let passed = slice.saturating_sub(self.head) as usize;
        (passed..slots).map(move |place| {
            let age = u32::try_from(slots - 1 - place).unwrap_or(0);
            (self.head.saturating_sub(age), self.count((current + 1 + place) % slots))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    fn current(&self) -> usize {
        self.head as usize % self.slots().max(1)
    }

    fn count(&self, place: usize) -> u32 {
        match self.width {
            Width::Half => half(self.words.get(place / 2).copied().unwrap_or(0), place),
            Width::Whole => self.words.get(place).copied().unwrap_or(0),
        }
    }

    fn sum(&self) -> u64 {
        match self.width {
            Width::Half => {
                u64::from(self.words.iter().map(|word| (word & 0xffff) + (word >> 16)).sum::<u32>())
            }
            Width::Whole => self.words.iter().map(|count| u64::from(*count)).sum(),
        }
    }

    /// The first place that is not zero. Most are: a word is looked at as a whole.
    fn first_used(&self, places: Range<usize>) -> Option<usize> {
        let in_word = self.width.in_word();
        let mut place = places.start;
        while place < places.end {
            if self.words.get(place / in_word).is_none_or(|word| *word == 0) {
                place += in_word - place % in_word;
            } else if self.count(place) > 0 {
                return Some(place);
            } else {
                place += 1;
            }
        }
        None
    }
}

/// Counts so many more in a place.
pub(super) fn add(words: &mut [u32], width: Width, place: usize, more: u32) {
    let Some(word) = words.get_mut(place / width.in_word()) else { return };
    match width {
        Width::Half => {
            let count = half(*word, place).saturating_add(more).min(u32::from(u16::MAX));
            let shift = shift(place);
            *word = *word & !(0xffff << shift) | count << shift;
        }
        Width::Whole => *word = word.saturating_add(more),
    }
}

/// Counts nothing in a place.
pub(super) fn clear(words: &mut [u32], width: Width, place: usize) {
    if let Some(word) = words.get_mut(place / width.in_word()) {
        *word &= match width {
            Width::Half => !(0xffff << shift(place)),
            Width::Whole => 0,
        };
    }
}

fn half(word: u32, place: usize) -> u32 {
    word >> shift(place) & 0xffff
}

fn shift(place: usize) -> u32 {
    if place.is_multiple_of(2) { 0 } else { 16 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Beside numbers that have a word each.
        #[test]
        fn halves_count_as_words_do(steps in prop::collection::vec((0usize..26, 0u32..70_000, any::<bool>()), 0..200), head: u32) {
            let (mut halves, mut words) = ([0; 13], [0; 26]);
            for (place, more, is_cleared) in steps {
                if is_cleared {
                    clear(&mut halves, Width::Half, place);
                    clear(&mut words, Width::Whole, place);
                } else {
                    add(&mut halves, Width::Half, place, more);
                    add(&mut words, Width::Whole, place, more);
                    words[place] = words[place].min(65_535);
                }
            }
            let half = Window { words: &halves, width: Width::Half, head };
            let whole = Window { words: &words, width: Width::Whole, head };
            prop_assert_eq!(half.is_empty(), whole.is_empty());
            for slice in (0..30).map(|passed| head.saturating_add(passed)) {
                prop_assert_eq!(half.used(slice), whole.used(slice));
                prop_assert_eq!(half.oldest(slice), whole.oldest(slice));
                let first = whole.oldest_first(slice).find(|(_, count)| *count > 0);
                prop_assert_eq!(half.oldest(slice), first.map(|(slice, count)| (slice, u64::from(count))));
                prop_assert!(half.oldest_first(slice).eq(whole.oldest_first(slice)));
            }
        }
    }
}
