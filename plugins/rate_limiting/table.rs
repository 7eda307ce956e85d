//! The counts of all keys of one entry: sharded, exact, and bounded.
//!
//! A key is known by a keyed hash of 64 bits that nobody outside can compute: two keys that had the same one would
//! share a count, and so be limited more and never less. A record that says no more than a fresh one is idle; each
//! new key takes the place of an idle one where the shard's hand finds one. The ceiling is one for all shards, which
//! no number of keys fills evenly. **At the ceiling** no live record is ever freed: new keys of a shard are counted together, under one record that is as
//! limited as any, until idle ones make room; and a key that gets a record of its own then begins with what was
//! counted there. So a flood of new keys can neither reset its own limit nor anybody's.

use super::counter::{KEY, Limit, Period, Standing, WORDS, is_idle, nanos, slice_anew, slots};
use hashbrown::HashTable;
use parking_lot::Mutex;
use std::{
    hash::{BuildHasher, DefaultHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Instant,
};

/// Shards; a power of two.
const SHARDS: usize = 64;
/// Records that are allocated at a time.
const CHUNK: usize = 64;
/// How many records the hand looks at for each new key.
const SCAN: usize = 8;
/// A key's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

/// A key's hash in the making.
pub(super) struct KeyHasher(DefaultHasher);

impl KeyHasher {
    pub(super) fn key(&self) -> Key {
        Key(self.0.finish())
    }

    /// A part of a key, told apart from what stands before and behind it.
    pub(super) fn part(&mut self, tag: u8, bytes: &[u8]) {
        self.0.write_usize(bytes.len() << 8 | usize::from(tag));
        self.0.write(bytes);
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// True where a limit is used up.
    pub(super) refused: bool,
    /// The limit that refused, or the one that is closest to it: its place among the limits.
    pub(super) limit: usize,
    /// How the key stands with it, after this request.
    pub(super) standing: Standing,
    /// True where the table is full and the key is counted with others.
    pub(super) shared: bool,
}

/// How much a table may hold, and what a refused request costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) max_keys: usize,
    pub(super) count_refused: bool,
}

/// The counts of all keys.
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    /// Records of all shards. Known to who makes one, and to nobody else.
    used: AtomicUsize,
    seed: RandomState,
    made: Instant,
    /// When it was last said that the table is full, in seconds.
    said: AtomicU64,
}

impl Table {
    pub(super) fn new() -> Self {
        Table {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            used: AtomicUsize::new(0),
            seed: RandomState::new(),
            made: Instant::now(),
            said: AtomicU64::new(0),
        }
    }

    /// Makes room in every record for what these limits count. What is counted already stays.
    pub(super) fn prepare(&self, limits: &[Limit]) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let layout = shard.layout.with(limits);
            if layout != shard.layout {
                shard.lay_out(layout);
            }
        }
    }

    pub(super) fn hasher(&self) -> KeyHasher {
        KeyHasher(self.seed.build_hasher())
    }

    /// Nanoseconds since the table was made.
    pub(super) fn now(&self) -> u64 {
        nanos(self.made.elapsed())
    }

    /// Judges a request, and counts it in all limits or in none.
    pub(super) fn take(&self, key: Key, limits: &[Limit], terms: Terms, now: u64) -> Taken {
        // The index of a shard uses the low and the highest bits.
        let index = usize::try_from((key.0 >> 32) % SHARDS as u64).unwrap_or(0);
        // The remainder of a division by the number of shards is one of them.
        let Some(shard) = self.shards.get(index) else { unreachable!() };
        let mut shard = shard.lock();
        let found = shard.find(key).or_else(|| shard.insert(key, || self.is_room(terms.max_keys), now));
        let shared = found.is_none();
        let layout = shard.layout;
        judge(&layout, shard.record(found), limits, terms.count_refused, now).with(shared)
    }

    /// Takes room for one record more, where there is any.
    fn is_room(&self, most: usize) -> bool {
        let one_more = |used: usize| (used < most).then_some(used + 1);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// True once a minute, for who wants to say that the table is full.
    pub(super) fn says_full(&self, now: u64) -> bool {
        let minute = now / 60_000_000_000 + 1;
        self.said.swap(minute, Ordering::Relaxed) != minute
    }

    /// Records in use, and the bytes that they take with all that belongs to them.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        self.shards.iter().map(|shard| shard.lock().size()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}

impl Taken {
    fn with(self, shared: bool) -> Self {
        Taken { shared, ..self }
    }
}

fn judge(layout: &Layout, record: &mut [u32], limits: &[Limit], count_refused: bool, now: u64) -> Taken {
    // How many are left, of the limit that is closest to its end. A limit without words lets nobody pass.
    let left = |limit: &Limit| layout.words(record, limit.period).map_or(0, |words| limit.left(words, now));
    let closest = limits.iter().map(left).enumerate().min_by_key(|(_, left)| *left).unwrap_or((0, 0));
    let refused = closest.1 == 0;
    if !refused || count_refused {
        for limit in limits {
            if let Some(words) = layout.words_mut(record, limit.period) {
                limit.count(words, now);
            }
        }
    }
    let nothing = Standing { left: 0, wait: u64::MAX, more: u64::MAX };
    let standing = |limit: &Limit| {
        layout.words(record, limit.period).map_or(nothing, |words| limit.standing(words, now))
    };
    // Who is refused must wait for the slowest.
    let all = || limits.iter().map(standing).enumerate();
    let (limit, standing) = match limits.get(closest.0) {
        Some(limit) if !refused => (closest.0, standing(limit)),
        _ => all().max_by_key(|(_, standing)| standing.wait).unwrap_or((0, nothing)),
    };
    Taken { refused, limit, standing, shared: false }
}

/// Where the words of each limit stand in a record. Limits are added, never taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    /// Where they begin, and how many there are.
    places: [Option<(u8, u8)>; Period::ALL.len()],
    stride: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Layout { places: [None; Period::ALL.len()], stride: KEY }
    }
}

impl Layout {
    /// This one, with room for these limits as well.
    fn with(&self, limits: &[Limit]) -> Self {
        let has = |period: Period| {
            self.places.get(period as usize).is_some_and(Option::is_some)
                || limits.iter().any(|limit| limit.period == period)
        };
        let windows = Period::ALL.into_iter().filter(|period| *period != Period::Rate && has(*period));
        let slots = slots(windows.count(), has(Period::Rate));
        let mut layout = Layout::default();
        for (period, place) in
            Period::ALL.into_iter().zip(&mut layout.places).filter(|(period, _)| has(*period))
        {
            let words = period.words(slots);
            *place = u8::try_from(layout.stride).ok().zip(u8::try_from(words).ok());
            layout.stride += words;
        }
        layout
    }

    fn place(&self, period: Period) -> Option<std::ops::Range<usize>> {
        let (begin, len) = self.places.get(period as usize).copied().flatten()?;
        Some(usize::from(begin)..usize::from(begin) + usize::from(len))
    }

    fn words<'r>(&self, record: &'r [u32], period: Period) -> Option<&'r [u32]> {
        record.get(self.place(period)?)
    }

    fn words_mut<'r>(&self, record: &'r mut [u32], period: Period) -> Option<&'r mut [u32]> {
        record.get_mut(self.place(period)?)
    }

    /// Says in `to`, which is laid out like this, what `from` says in the way of `old`.
    fn translate(&self, old: &Layout, from: &[u32], to: &mut [u32]) {
        to.iter_mut().zip(from).take(KEY).for_each(|(to, from)| *to = *from);
        for period in Period::ALL {
            if let (Some(from), Some(to)) = (old.words(from, period), self.words_mut(to, period)) {
                slice_anew(period, from, to);
            }
        }
    }

    fn is_idle(&self, record: &[u32], now: u64) -> bool {
        let idle = |period| self.words(record, period).is_none_or(|words| is_idle(period, words, now));
        Period::ALL.into_iter().all(idle)
    }
}

struct Shard {
    layout: Layout,
    index: HashTable<u32>,
    records: Records,
    /// Where the search for an idle record goes on.
    hand: usize,
    /// What keys without a record of their own are counted under.
    others: [u32; WORDS],
}

impl Default for Shard {
    fn default() -> Self {
        Shard {
            layout: Layout::default(),
            index: HashTable::new(),
            records: Records { stride: KEY, ..Records::default() },
            hand: 0,
            others: [0; WORDS],
        }
    }
}

/// Records of one length, in chunks: growing copies nothing.
#[derive(Default)]
struct Records {
    chunks: Vec<Box<[u32]>>,
    len: usize,
    stride: usize,
}

impl Records {
    fn get(&self, at: usize) -> Option<&[u32]> {
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

    fn key(&self, at: usize) -> Option<Key> {
        match self.get(at)? {
            [low, high, ..] => Some(Key(u64::from(*high) << 32 | u64::from(*low))),
            _ => None,
        }
    }
}

impl Shard {
    fn find(&self, key: Key) -> Option<usize> {
        let at = self.index.find(key.0, |at| self.records.key(*at as usize) == Some(key))?;
        Some(*at as usize)
    }

    /// A record for a new key; none where there is no room.
    fn insert(&mut self, key: Key, is_room: impl Fn() -> bool, now: u64) -> Option<usize> {
        let at = match self.idle(now) {
            Some(idle) => {
                let old = self.records.key(idle)?;
                let entry = self.index.find_entry(old.0, |at| *at as usize == idle);
                entry.ok()?.remove();
                idle
            }
            None if is_room() => self.records.push(),
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

    fn record(&mut self, at: Option<usize>) -> &mut [u32] {
        let Shard { records, others, .. } = self;
        match at.and_then(|at| records.get_mut(at)) {
            Some(record) => record,
            None => others,
        }
    }

    /// Lays all records out anew.
    fn lay_out(&mut self, layout: Layout) {
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
    fn size(&self) -> (usize, usize) {
        let records = self.records.chunks.len() * CHUNK * self.layout.stride * size_of::<u32>();
        let chunks = self.records.chunks.capacity() * size_of::<Box<[u32]>>();
        (self.index.len(), records + chunks + self.index.allocation_size() + size_of::<Self>())
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the halves of a word")]
fn halves(key: Key) -> [u32; KEY] {
    [key.0 as u32, (key.0 >> 32) as u32]
}
