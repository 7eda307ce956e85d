//! Where an automaton was in a text that begins as the next one does, so that what they share is read once.
//!
//! Names of values deep in a document all begin with the same path, which may be a thousand times as long as the value: without
//! this a small body costs as much as a large one.

/// Shorter texts are not worth it.
pub(super) const LONG: usize = 192;
/// Marks are so far apart at least.
const APART: usize = 64;

/// What a text has in common with those before and after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared {
    /// The number of the text: one more than that of the text before.
    pub(super) number: u64,
    before: usize,
    after: usize,
}

impl Shared {
    /// Where texts are long enough: what `text` shares with the text before and the one after.
    pub(super) fn new(number: u64, before: usize, text: &[u8], next: &[u8]) -> Option<Self> {
        if text.len() < LONG {
            return None;
        }
        Some(Self { number, before, after: common(text, next) / APART * APART })
    }

    /// How much of the text after begins as this one does, rounded down.
    pub(super) fn after(&self) -> usize {
        self.after
    }
}

/// How many bytes two texts have in common at their beginnings.
fn common(one: &[u8], other: &[u8]) -> usize {
    let chunks = one.chunks_exact(APART).zip(other.chunks_exact(APART));
    let same = chunks.take_while(|(one, other)| one == other).count() * APART;
    let rest = one.iter().skip(same).zip(other.iter().skip(same));
    same + rest.take_while(|(one, other)| one == other).count()
}

/// The patterns that were found: a bit for each.
#[derive(Debug, Clone, Default)]
pub(super) struct Found(Vec<u64>);

impl Found {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn insert(&mut self, pattern: usize) {
        if self.0.len() <= pattern / 64 {
            self.0.resize(pattern / 64 + 1, 0);
        }
        super::group::set_bit(&mut self.0, pattern);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        super::group::places_of(&self.0)
    }
}

/// A state that an automaton was in after so many bytes, and what it had found until there.
#[derive(Debug)]
struct Mark<S> {
    at: usize,
    state: S,
    found: Found,
}

/// The marks of one automaton in the last text that it read.
#[derive(Debug)]
pub(super) struct Marks<S> {
    all: Vec<Mark<S>>,
    number: u64,
    /// States of before are not valid where this has changed.
    epoch: usize,
    pub(super) found: Found,
}

impl<S> Default for Marks<S> {
    fn default() -> Self {
        Self { all: Vec::new(), number: 0, epoch: 0, found: Found::default() }
    }
}

impl<S: Copy> Marks<S> {
    /// Where to go on from in a text that shares its beginning with the one before, with what was found until there.
    pub(super) fn begin(&mut self, shared: &Shared, epoch: usize) -> Option<(usize, S)> {
        if self.number.wrapping_add(1) != shared.number || self.epoch != epoch {
            self.all.clear();
        }
        (self.number, self.epoch) = (shared.number, epoch);
        self.all.truncate(self.all.partition_point(|mark| mark.at <= shared.before));
        self.found.clear();
        let last = self.all.last()?;
        self.found.clone_from(&last.found);
        Some((last.at, last.state))
    }

    /// The next place at which the state is to be kept; `usize::MAX` for none.
    pub(super) fn wanted(&self, shared: &Shared) -> usize {
        let last = self.all.last().map_or(0, |mark| mark.at);
        if shared.after > last { shared.after } else { usize::MAX }
    }

    /// Keeps a state after so many bytes.
    pub(super) fn keep(&mut self, at: usize, state: S, epoch: usize) {
        if epoch != self.epoch {
            self.all.clear();
            self.epoch = epoch;
        }
        self.all.push(Mark { at, state, found: self.found.clone() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_kept_while_texts_begin_alike() {
        let text = |end: &str| format!("{}{end}", "a".repeat(200)).into_bytes();
        assert_eq!(common(&text("b"), &text("c")), 200);
        assert_eq!(common(b"", b"a"), 0);
        let shared = |number, before, one: &str, next: &str| {
            Shared::new(number, before, &text(one), &text(next)).unwrap()
        };
        let mut marks = Marks::default();
        let first = shared(1, 0, "b", "c");
        assert_eq!((marks.begin(&first, 0), marks.wanted(&first), first.after()), (None, 192, 192));
        marks.found.insert(70);
        marks.keep(192, 'x', 0);
        marks.found.insert(3);
        let second = shared(2, 192, "c", "c");
        assert_eq!((marks.begin(&second, 0), marks.wanted(&second)), (Some((192, 'x')), usize::MAX));
        assert_eq!(marks.found.iter().collect::<Vec<_>>(), [70]);
        // Another text in between, other states, and less in common.
        assert_eq!(marks.begin(&shared(4, 192, "c", "c"), 0), None);
        marks.keep(192, 'x', 0);
        assert_eq!(marks.begin(&shared(5, 192, "c", "c"), 1), None);
        marks.keep(192, 'x', 1);
        assert_eq!(marks.begin(&shared(6, 128, "c", "c"), 1), None);
        assert!(Shared::new(1, 0, b"short", b"short").is_none());
    }
}
