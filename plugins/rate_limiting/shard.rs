//! One shard of a table: records of one length, found by their keys.

use super::{
    counter::{Period, is_idle},
    table::Key,
};
use hashbrown::HashTable;

/// Records that are allocated at a time.
const CHUNK: usize = 64;
/// How many records the hand looks at for each new key.
const SCAN: usize = 8;
/// Words of a record that hold its key.
const KEY: usize = 2;
/// Words of a record with every limit there is.
const LONGEST: usize = KEY + 2 + 4 * 7;

/// Where the words of each limit begin in a record. Limits are added, never taken away.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    offsets: [Option<u8>; Period::ALL.len()],
    stride: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Layout { offsets: [None; Period::ALL.len()], stride: KEY }
    }
}

impl Layout {
    pub(super) fn offset(&self, period: Period) -> Option<usize> {
        self.offsets.get(period as usize).copied().flatten().map(usize::from)
    }

    pub(super) fn words<'r>(&self, record: &'r [u32], period: Period) -> Option<&'r [u32]> {
        record.get(self.offset(period)?..)?.get(..period.words())
    }

    pub(super) fn words_mut<'r>(&self, record: &'r mut [u32], period: Period) -> Option<&'r mut [u32]> {
        record.get_mut(self.offset(period)?..)?.get_mut(..period.words())
    }

    /// Writes the words of these limits, as far as there is room for them.
    pub(super) fn fill(&self, record: &mut [u32], periods: &[Period], counted: &[u32]) {
        let mut rest = counted;
        for period in periods {
            let Some((words, after)) = rest.split_at_checked(period.words()) else { return };
            if let Some(room) = self.words_mut(record, *period) {
                room.copy_from_slice(words);
            }
            rest = after;
        }
    }

    pub(super) fn is_idle(&self, record: &[u32], now: u64) -> bool {
        let idle = |period| self.words(record, period).is_none_or(|words| is_idle(period, words, now));
        Period::ALL.into_iter().all(idle)
    }
}

pub(super) struct Shard {
    pub(super) layout: Layout,
    index: HashTable<u32>,
    pub(super) records: Records,
    /// Where the search for an idle record goes on.
    hand: usize,
    /// What keys without a record of their own are counted under.
    pub(super) others: [u32; LONGEST],
}

impl Default for Shard {
    fn default() -> Self {
        Shard {
            layout: Layout::default(),
            index: HashTable::new(),
            records: Records { stride: KEY, ..Records::default() },
            hand: 0,
            others: [0; LONGEST],
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
        let at = self.index.find(key.0, |at| self.records.key(*at as usize) == Some(key))?;
        Some(*at as usize)
    }

    /// A record for a new key; none where there is no room.
    pub(super) fn insert(&mut self, key: Key, most: usize, now: u64) -> Option<usize> {
        let at = match self.idle(now) {
            Some(idle) => {
                let old = self.records.key(idle)?;
                let entry = self.index.find_entry(old.0, |at| *at as usize == idle);
                entry.ok()?.remove();
                idle
            }
            None if self.records.len < most.max(1) => self.records.push(),
            None => return None,
        };
        let records = &self.records;
        let again = |at: &u32| records.key(*at as usize).map_or(0, |key| key.0);
        self.index.insert_unique(key.0, u32::try_from(at).ok()?, again);
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

    /// Makes all records longer by the words of a limit.
    pub(super) fn widen(&mut self, period: Period) {
        let old = self.layout.stride;
        if let Some(offset) = self.layout.offsets.get_mut(period as usize) {
            *offset = u8::try_from(old).ok();
        }
        self.layout.stride += period.words();
        let stride = self.layout.stride;
        for chunk in &mut self.records.chunks {
            let mut wider = vec![0; CHUNK * stride];
            for (to, from) in wider.chunks_exact_mut(stride).zip(chunk.chunks_exact(old)) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
            *chunk = wider.into();
        }
        self.records.stride = stride;
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        let records = self.records.chunks.len() * CHUNK * self.layout.stride * size_of::<u32>();
        let chunks = self.records.chunks.capacity() * size_of::<Box<[u32]>>();
        (self.index.len(), records + chunks + self.index.allocation_size() + size_of::<Self>())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the halves of a word")]
fn halves(key: Key) -> [u32; KEY] {
    [key.0 as u32, (key.0 >> 32) as u32]
}
