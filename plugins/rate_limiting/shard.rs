//! One shard of a table: records of one length, found by their keys.

use super::{
    counter::{KEY, Limit, Period, WORDS, is_idle, sizes, slice_anew},
    index::Index,
    slices::{Width, Words},
    table::Key,
};

/// Records that are allocated at a time.
const CHUNK: usize = 64;
/// How many records the hand looks at for each new key.
const SCAN: usize = 8;

/// Where the words of each limit stand in a record. Limits are added, never taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Where they begin, and how many there are.
    places: [Option<(u8, u8)>; Period::ALL.len()],
    /// How much room the counts of windows have.
    pub(super) width: Width,
    stride: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Layout { places: [None; Period::ALL.len()], width: Width::default(), stride: KEY }
    }
}

impl Layout {
    /// This one, with room for these limits as well.
    pub(super) fn with(&self, limits: &[Limit]) -> Self {
        let has = |period: Period| {
            self.places.get(period as usize).is_some_and(Option::is_some)
                || limits.iter().any(|limit| limit.period == period)
        };
        let is_window = |period: Period| period != Period::Rate;
        let windows = Period::ALL.into_iter().filter(|period| is_window(*period) && has(*period));
        let wide = |limit: &Limit| is_window(limit.period) && Width::of(limit.quota) == Width::Whole;
        let width = if limits.iter().any(wide) { Width::Whole } else { self.width };
        let (stride, counts) = sizes(windows.count(), has(Period::Rate), width);
        let mut layout = Layout { width, stride, ..Layout::default() };
        let mut begin = KEY;
        for (period, place) in
            Period::ALL.into_iter().zip(&mut layout.places).filter(|(period, _)| has(*period))
        {
            let words = period.words(counts);
            *place = u8::try_from(begin).ok().zip(u8::try_from(words).ok());
            begin += words;
        }
        layout
    }

    fn place(&self, period: Period) -> Option<std::ops::Range<usize>> {
        let (begin, len) = self.places.get(period as usize).copied().flatten()?;
        Some(usize::from(begin)..usize::from(begin) + usize::from(len))
    }

    pub(super) fn words<'r>(&self, record: &'r [u32], period: Period) -> Option<Words<'r>> {
        Some(Words { all: record.get(self.place(period)?)?, width: self.width })
    }

    pub(super) fn words_mut<'r>(&self, record: &'r mut [u32], period: Period) -> Option<&'r mut [u32]> {
        record.get_mut(self.place(period)?)
    }

    /// Says in `to`, which is laid out like this, what `from` says in the way of `old`.
    fn translate(&self, old: &Layout, from: &[u32], to: &mut [u32]) {
        to.iter_mut().zip(from).take(KEY).for_each(|(to, from)| *to = *from);
        for period in Period::ALL {
            if let (Some(from), Some(to)) = (old.words(from, period), self.words_mut(to, period)) {
                slice_anew(period, from, to, self.width);
            }
        }
    }

    /// The limits that records have words for.
    pub(super) fn shape(&self) -> Shape {
        let periods = Period::ALL.into_iter().filter(|period| self.place(*period).is_some());
        let window = |period: &Period| *period != Period::Rate;
        let periods: Vec<Period> = periods.collect();
        let counts = periods.iter().copied().find(window).and_then(|period| self.place(period));
        Shape { counts: counts.map_or(0, |words| words.len().saturating_sub(1)), width: self.width, periods }
    }

    /// Counts in a record what was counted in another shape, as far as there is room for it.
    pub(super) fn fill(&self, record: &mut [u32], shape: &Shape, counted: &[u32]) {
        let mut rest = counted;
        for period in &shape.periods {
            let Some((all, after)) = rest.split_at_checked(period.words(shape.counts)) else { return };
            if let Some(room) = self.words_mut(record, *period) {
                slice_anew(*period, Words { all, width: shape.width }, room, self.width);
            }
            rest = after;
        }
    }

    pub(super) fn is_idle(&self, record: &[u32], now: u64) -> bool {
        let idle = |period| self.words(record, period).is_none_or(|words| is_idle(period, words, now));
        Period::ALL.into_iter().all(idle)
    }
}

/// Which limits records have words for, and how windows stand in them.
pub(super) struct Shape {
    pub(super) periods: Vec<Period>,
    /// Words of the counts of a window.
    pub(super) counts: usize,
    pub(super) width: Width,
}

impl Shape {
    /// Words of a record without its key.
    pub(super) fn words(&self) -> usize {
        self.periods.iter().map(|period| period.words(self.counts)).sum()
    }
}

pub(super) struct Shard {
    pub(super) layout: Layout,
    index: Index,
    pub(super) records: Records,
    /// Where the search for an idle record goes on.
    hand: usize,
    /// What keys without a record of their own are counted under.
    pub(super) others: [u32; WORDS],
}

impl Default for Shard {
    fn default() -> Self {
        Shard {
            layout: Layout::default(),
            index: Index::default(),
            records: Records { stride: KEY, ..Records::default() },
            hand: 0,
            others: [0; WORDS],
        }
    }
}

/// Records of one length, in chunks: growing copies nothing.
#[derive(Default)]
pub(super) struct Records {
    chunks: Vec<Box<[u32]>>,
    pub(super) len: usize,
    stride: usize,
}

impl Records {
    pub(super) fn get(&self, at: usize) -> Option<&[u32]> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK * self.stride..)?.get(..self.stride)
    }

    fn get_mut(&mut self, at: usize) -> Option<&mut [u32]> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK * self.stride..)?.get_mut(..self.stride)
    }

    fn push(&mut self) -> usize {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(vec![0; CHUNK * self.stride].into());
        }
        self.len += 1;
        self.len - 1
    }

    pub(super) fn key(&self, at: usize) -> Option<Key> {
        match self.get(at)? {
            [low, high, ..] => Some(Key(u64::from(*high) << 32 | u64::from(*low))),
            _ => None,
        }
    }
}

impl Shard {
    pub(super) fn find(&self, key: Key) -> Option<usize> {
        self.index.find(key, |at| self.records.key(at) == Some(key))
    }

    /// A record for a new key; none where there is no room.
    pub(super) fn insert(&mut self, key: Key, is_room: impl Fn() -> bool, now: u64) -> Option<usize> {
        let at = match self.idle(now) {
            Some(idle) => self.index.remove(self.records.key(idle)?, idle).then_some(idle)?,
            None if is_room() => self.records.push(),
            None => return None,
        };
        self.index.insert(key, at).then_some(())?;
        // Nothing, or what was counted for this key among others while there was no room.
        if let Some(record) = self.records.get_mut(at) {
            record.iter_mut().zip(&self.others).for_each(|(word, other)| *word = *other);
            for (word, half) in record.iter_mut().zip(halves(key)) {
                *word = half;
            }
        }
        Some(at)
    }

    /// Moves the hand on to an idle record, for a few records at most.
    fn idle(&mut self, now: u64) -> Option<usize> {
        for _ in 0..SCAN.min(self.records.len) {
            self.hand = (self.hand + 1) % self.records.len;
            if self.layout.is_idle(self.records.get(self.hand)?, now) {
                return Some(self.hand);
            }
        }
        None
    }

    pub(super) fn record(&mut self, at: Option<usize>) -> &mut [u32] {
        let Shard { records, others, .. } = self;
        match at.and_then(|at| records.get_mut(at)) {
            Some(record) => record,
            None => others,
        }
    }

    /// Lays all records out anew.
    pub(super) fn lay_out(&mut self, layout: Layout) {
        let old = std::mem::replace(&mut self.layout, layout);
        for chunk in &mut self.records.chunks {
            let mut anew = vec![0; CHUNK * layout.stride];
            for (to, from) in anew.chunks_exact_mut(layout.stride).zip(chunk.chunks_exact(old.stride)) {
                layout.translate(&old, from, to);
            }
            *chunk = anew.into();
        }
        let others = std::mem::replace(&mut self.others, [0; WORDS]);
        layout.translate(&old, &others, &mut self.others);
        self.records.stride = layout.stride;
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let records = self.records.chunks.len() * CHUNK * self.layout.stride * size_of::<u32>();
        let chunks = self.records.chunks.capacity() * size_of::<Box<[u32]>>();
        (self.index.len(), records + chunks + self.index.bytes() + size_of::<Self>())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the halves of a word")]
fn halves(key: Key) -> [u32; KEY] {
    [key.0 as u32, (key.0 >> 32) as u32]
}
