//! The counts of all keys of one entry: sharded, exact, and bounded.
//!
//! A key is known by a keyed hash of 64 bits that nobody outside can compute: two keys that had the same one would
//! share a count, and so be limited more and never less. A record that says no more than a fresh one is idle; each
//! new key takes the place of an idle one where the shard's hand finds one. The ceiling is one for all shards, which
//! no number of keys fills evenly. **At the ceiling** no live record is ever freed: new keys of a shard are counted together, under one record that is as
//! limited as any, until idle ones make room; and a key that gets a record of its own then begins with what was
//! counted there. So a flood of new keys can neither reset its own limit nor anybody's.

use super::{
    counter::{Limit, Moment, Period, Standing, nanos},
    shard::{Layout, Shape, Shard},
};
use parking_lot::Mutex;
use siphasher::sip::SipHasher13;
use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

/// Shards; a power of two.
pub(super) const SHARDS: usize = 64;

/// A key's hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(pub(super) u64);

/// A key's hash in the making.
pub(super) struct KeyHasher(SipHasher13);

impl Key {
    /// The key of a hash.
    pub(super) fn of(hash: u64) -> Self {
        Key(hash)
    }

    // The index of a shard uses the low and the highest bits.
    fn shard(self) -> usize {
        usize::try_from((self.0 >> 32) % SHARDS as u64).unwrap_or(0)
    }
}

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
    /// What keys are hashed with: of this process, or of the one that it took over from.
    secret: OnceLock<[u8; 16]>,
    made: Instant,
    /// What the clock of the process that this one took over from was ahead.
    ahead: AtomicU64,
    /// When it was last said that the table is full, in seconds.
    said: AtomicU64,
}

impl Table {
    pub(super) fn new() -> Self {
        Table {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            used: AtomicUsize::new(0),
            secret: OnceLock::new(),
            made: Instant::now(),
            ahead: AtomicU64::new(0),
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
        KeyHasher(SipHasher13::new_with_key(self.secret()))
    }

    /// What keys are hashed with.
    pub(super) fn secret(&self) -> &[u8; 16] {
        self.secret.get_or_init(|| {
            let random = RandomState::new();
            u128::from(random.hash_one(1))
                .rotate_left(64)
                .wrapping_add(u128::from(random.hash_one(2)))
                .to_le_bytes()
        })
    }

    /// Nanoseconds since the table was made, here or in the process that this one took over from.
    pub(super) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// The same, at a time: requests are counted when they begin.
    pub(super) fn at(&self, time: Instant) -> u64 {
        let age = time.saturating_duration_since(self.made);
        nanos(age).saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    /// Judges a request, and counts it in all limits or in none.
    pub(super) fn take(&self, key: Key, limits: &[Limit], terms: Terms, now: u64) -> Taken {
        // The remainder of a division by the number of shards is one of them.
        let Some(shard) = self.shards.get(key.shard()) else { unreachable!() };
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

    /// The limits that records have words for.
    pub(super) fn shape(&self) -> Shape {
        self.shards.first().map(|shard| shard.lock().layout).unwrap_or_default().shape()
    }

    /// Goes on where another process was; false where this one has begun to count already.
    pub(super) fn begin(&self, secret: [u8; 16], now: u64) -> bool {
        let begins = self.secret.set(secret).is_ok();
        if begins {
            self.ahead.store(now.saturating_sub(nanos(self.made.elapsed())), Ordering::Relaxed);
        }
        begins
    }

    /// Writes what a shard has counted: what is counted together, and as many records as may be. How many more there
    /// are comes back.
    pub(super) fn export(
        &self,
        index: usize,
        shape: &Shape,
        most: usize,
        others: &mut Vec<u8>,
        records: &mut Vec<u8>,
    ) -> usize {
        let Some(shard) = self.shards.get(index) else { return 0 };
        let (shard, now) = (shard.lock(), self.now());
        let words = |record: &[u32], out: &mut Vec<u8>| {
            for period in &shape.periods {
                let none = vec![0; period.words(shape.counts)];
                let words = shard.layout.words(record, *period).map_or(&*none, |words| words.all);
                out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            }
        };
        words(&shard.others, others);
        let mut written = 0usize;
        let live = (0..shard.records.len)
            .filter_map(|at| Some((shard.records.key(at)?, shard.records.get(at)?)))
            .filter(|(_, record)| !shard.layout.is_idle(record, now));
        for (key, record) in live {
            if written < most {
                records.extend(key.0.to_le_bytes());
                words(record, records);
            }
            written += 1;
        }
        written.saturating_sub(most)
    }

    /// Goes on counting a key where another process was: `counted` has the words of these limits.
    pub(super) fn import(&self, key: Key, shape: &Shape, counted: &[u32]) {
        let (now, Some(shard)) = (self.now(), self.shards.get(key.shard())) else { return };
        let mut shard = shard.lock();
        let Some(at) = shard.find(key).or_else(|| shard.insert(key, || self.is_room(usize::MAX), now)) else {
            return;
        };
        let layout = shard.layout;
        layout.fill(shard.record(Some(at)), shape, counted);
    }

    /// The same for what a shard counts together.
    pub(super) fn import_others(&self, index: usize, shape: &Shape, counted: &[u32]) {
        let Some(shard) = self.shards.get(index) else { return };
        let mut shard = shard.lock();
        let layout = shard.layout;
        layout.fill(&mut shard.others, shape, counted);
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
    let mut moments = [Moment::default(); Period::ALL.len()];
    // How many are left, of the limit that is closest to its end. A limit without words lets nobody pass.
    let left = |(limit, moment): (&Limit, &mut Moment)| {
        let words = layout.words(record, limit.period)?;
        *moment = limit.moment(words, now);
        Some(limit.left(words, *moment))
    };
    let all_left = limits.iter().zip(&mut moments).map(|each| left(each).unwrap_or(0));
    let (closest, left) = all_left.enumerate().min_by_key(|(_, left)| *left).unwrap_or((0, 0));
    let refused = left == 0;
    if !refused || count_refused {
        for (limit, moment) in limits.iter().zip(&moments) {
            if let Some(words) = layout.words_mut(record, limit.period) {
                limit.count(words, layout.width, *moment);
            }
        }
    }
    let nothing = Standing { left: 0, wait: u64::MAX, more: u64::MAX };
    let words = |limit: &Limit| layout.words(record, limit.period);
    let mut all = limits.iter().zip(&moments).enumerate();
    let (limit, standing) = if refused {
        // Who is refused must wait for the slowest.
        let standing = |(limit, at): (&Limit, &Moment)| words(limit).map(|words| limit.standing(words, *at));
        let all = all.map(|(place, each)| (place, standing(each).unwrap_or(nothing)));
        all.max_by_key(|(_, standing)| standing.wait).unwrap_or((0, nothing))
    } else {
        let standing = |(limit, at): (&Limit, &Moment)| {
            words(limit).map(|words| limit.standing_with(words, *at, left - 1))
        };
        (closest, all.nth(closest).and_then(|(_, each)| standing(each)).unwrap_or(nothing))
    };
    Taken { refused, limit, standing, shared: false }
}
