//! All records: sharded, exact, and bounded.
//!
//! A key is known by a keyed hash of 64 bits that nobody outside can compute. **At the ceiling** a new key takes the place of
//! an idle record, else of the one among a few that has done least and is not locked out; where all of those are, new keys
//! share one record. So a flood of new keys frees nobody from a lockout: whoever sends it must fail more often, from more
//! addresses, than the record that it is to push out.

use super::record::{Record, nanos};
use indexmap::IndexMap;
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
const SHARDS: usize = 64;
/// How many records are looked at to find one that may go.
const SCAN: usize = 8;

/// What a key is of. The numbers go over to a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A network: its failures.
    Ip = 1,
    /// An account from a network.
    Pair = 2,
    /// A credential on a route.
    Credential = 3,
    /// An account, from everywhere.
    Account = 4,
    /// Who has succeeded from where.
    Good = 5,
    /// What a shared store said a moment ago.
    Told = 6,
    /// A key of which a shared store was not told a failure.
    Missed = 7,
}

/// Records of one sort, by key.
pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    used: AtomicUsize,
}

struct Shard {
    records: IndexMap<u64, Record>,
    hand: usize,
    /// What keys without a record of their own share.
    others: Record,
}

/// How much a table may hold, and how long lockouts are remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) keys: usize,
    pub(super) most: u64,
}

impl Table {
    pub(super) fn new() -> Self {
        let shard = || Shard { records: IndexMap::new(), hand: 0, others: Record::default() };
        Table { shards: (0..SHARDS).map(|_| Mutex::new(shard())).collect(), used: AtomicUsize::new(0) }
    }

    fn shard(&self, key: u64) -> &Mutex<Shard> {
        let index = usize::try_from(key >> 32).unwrap_or(0) % SHARDS;
        // The remainder of a division by the number of shards is one of them.
        let Some(shard) = self.shards.get(index) else { unreachable!() };
        shard
    }

    /// What is known of a key; nothing is what is known of one that shares its record, but a lockout.
    #[cfg(test)]
    pub(super) fn peek(&self, key: u64, now: u64) -> Option<Record> {
        let shard = self.shard(key).lock();
        shard.records.get(&key).or(shard.others.locked(now).map(|_| &shard.others)).copied()
    }

    /// The record of exactly this key.
    pub(super) fn exact(&self, key: u64) -> Option<Record> {
        self.shard(key).lock().records.get(&key).copied()
    }

    /// Changes the record of a key, which is made where there is none; true where it is one that others share.
    pub(super) fn change<R>(
        &self,
        key: u64,
        room: Room,
        now: u64,
        change: impl FnOnce(&mut Record) -> R,
    ) -> (R, bool) {
        let mut shard = self.shard(key).lock();
        let shared = !shard.records.contains_key(&key) && !self.make(&mut shard, key, room, now);
        let Shard { records, others, .. } = &mut *shard;
        let record = if shared { others } else { records.entry(key).or_default() };
        (change(record), shared)
    }

    /// One credential less is being looked at: of a key, or of those that share a record.
    pub(super) fn land(&self, key: u64, shared: bool) {
        let mut shard = self.shard(key).lock();
        let Shard { records, others, .. } = &mut *shard;
        let record = if shared { Some(others) } else { records.get_mut(&key) };
        if let Some(record) = record {
            record.flying = record.flying.saturating_sub(1);
        }
    }

    /// Makes a record; false where there is no room for it.
    fn make(&self, shard: &mut Shard, key: u64, room: Room, now: u64) -> bool {
        if !shard.frees(room, now, false) {
            let one_more = |used: usize| (used < room.keys).then_some(used + 1);
            let is_room = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok();
            if !is_room && !shard.frees(room, now, true) {
                return false;
            }
        }
        shard.records.insert(key, Record::default());
        true
    }

    /// Forgets a key; what is being looked at stays counted.
    pub(super) fn remove(&self, key: u64) {
        let mut shard = self.shard(key).lock();
        match shard.records.get_mut(&key) {
            Some(record) if record.flying > 0 => *record = record.cleared(),
            Some(_) => {
                shard.records.swap_remove(&key);
                self.used.fetch_sub(1, Ordering::Relaxed);
            }
            None => {}
        }
    }

    /// Forgets those of which `is` is true; how many lockouts were among them.
    pub(super) fn remove_all(&self, now: u64, is: impl Fn(u64, &Record) -> bool) -> usize {
        let (mut gone, mut locked) = (0, 0);
        for shard in &self.shards {
            shard.lock().records.retain(|key, record| {
                if !is(*key, record) {
                    return true;
                }
                locked += usize::from(record.locked(now).is_some());
                if record.flying > 0 {
                    *record = record.cleared();
                    return true;
                }
                gone += 1;
                false
            });
        }
        self.used.fetch_sub(gone, Ordering::Relaxed);
        locked
    }

    /// Ends what keys without a record of their own share.
    pub(super) fn clear_others(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            shard.others = shard.others.cleared();
        }
    }

    /// Shows every record, shard by shard.
    pub(super) fn each(&self, mut show: impl FnMut(u64, &Record)) {
        for shard in &self.shards {
            shard.lock().records.iter().for_each(|(key, record)| show(*key, record));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().records.len()).sum()
    }
}

impl Shard {
    /// Takes one record out: an idle one, or where it `must` the one that has done least; false where there is none.
    fn frees(&mut self, room: Room, now: u64, must: bool) -> bool {
        let mut least = None;
        for _ in 0..SCAN.min(self.records.len()) {
            self.hand = (self.hand + 1) % self.records.len();
            let Some((_, record)) = self.records.get_index(self.hand) else { break };
            if record.is_idle(room.most, now) {
                self.records.swap_remove_index(self.hand);
                return true;
            }
            let weight = record.weight(now).map(|weight| (weight, self.hand));
            least = match (least, weight) {
                (Some(least), Some(weight)) => Some(std::cmp::min(least, weight)),
                (least, weight) => least.or(weight),
            };
        }
        match least {
            Some((_, at)) if must => self.records.swap_remove_index(at).is_some(),
            _ => false,
        }
    }
}

/// The clock, and what keys are hashed with: of this process, or of the one that it took over from.
pub(super) struct Clock {
    secret: OnceLock<[u8; 16]>,
    made: Instant,
    ahead: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Clock { secret: OnceLock::new(), made: Instant::now(), ahead: AtomicU64::new(0) }
    }

    /// Nanoseconds since the table was made, here or in the process that this one took over from.
    pub(super) fn now(&self) -> u64 {
        nanos(self.made.elapsed()).saturating_add(self.ahead.load(Ordering::Relaxed))
    }

    pub(super) fn secret(&self) -> &[u8; 16] {
        self.secret.get_or_init(|| {
            let random = RandomState::new();
            u128::from(random.hash_one(1))
                .rotate_left(64)
                .wrapping_add(u128::from(random.hash_one(2)))
                .to_le_bytes()
        })
    }

    /// Goes on where another process was; false where this one has begun already.
    pub(super) fn begin(&self, secret: [u8; 16], now: u64) -> bool {
        let begins = self.secret.set(secret).is_ok();
        if begins {
            self.ahead.store(now.saturating_sub(nanos(self.made.elapsed())), Ordering::Relaxed);
        }
        begins
    }

    /// The key of some parts.
    pub(super) fn key(&self, kind: Kind, parts: &[&[u8]]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(self.secret());
        hasher.write_u8(kind as u8);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::record::Terms, *};
    use std::time::Duration;

    const ROOM: Room = Room { keys: 1000, most: 900_000_000_000 };

    fn terms() -> Terms {
        let [window, delay, most] = [60, 60, 900].map(Duration::from_secs);
        Terms::new(20, window, delay, most)
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_frees_nobody() {
        let (table, clock, terms) = (Table::new(), Clock::new(), terms());
        let key = |kind: Kind, number: u32| clock.key(kind, &[&number.to_le_bytes()]);
        let (locked, nearly) = (key(Kind::Ip, 1), key(Kind::Ip, 2));
        for failures in 1..=20 {
            table.change(locked, ROOM, 0, |record| record.fail(&terms, 0));
            if failures < 20 {
                table.change(nearly, ROOM, 0, |record| record.fail(&terms, 0));
            }
        }
        for number in 10..100_000 {
            table.change(key(Kind::Ip, number), ROOM, 1, |record| record.fail(&terms, 1));
        }
        assert!(table.len() <= ROOM.keys);
        assert!(table.exact(locked).unwrap().locked(1).is_some());
        assert_eq!(table.exact(nearly).unwrap().left(&terms, 1), 1, "it has done more than those that came");
        // What is idle goes before anything that is not.
        let later = 3_000_000_000_000;
        table.change(key(Kind::Ip, 5), ROOM, later, |record| record.fail(&terms, later));
        assert!(table.exact(key(Kind::Ip, 5)).is_some());
    }

    #[test]
    fn where_all_are_locked_new_ones_share_a_record_and_nobody_is_freed() {
        let (table, clock, terms) = (Table::new(), Clock::new(), terms().stricter(1));
        let key = |number: u32| clock.key(Kind::Ip, &[&number.to_le_bytes()]);
        for number in 0..20_000 {
            table.change(key(number), ROOM, 0, |record| record.fail(&terms, 0));
        }
        assert!(table.len() <= ROOM.keys);
        let mut locked = 0;
        table.each(|_, record| locked += usize::from(record.locked(0).is_some()));
        assert_eq!(locked, table.len(), "a locked record was pushed out");
        let (_, shared) = table.change(key(30_000), ROOM, 0, |record| record.flying += 1);
        assert!(shared && table.peek(key(30_001), 0).is_some_and(|record| record.locked(0).is_some()));
        table.remove_all(0, |_, _| true);
        table.clear_others();
        assert_eq!((table.len(), table.peek(key(30_001), 0)), (0, None));
    }

    #[test]
    fn counts_are_exact_under_threads() {
        let (table, clock) = (Table::new(), Clock::new());
        let terms = Terms { failures: 1_000_000, ..terms() };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for number in 0..10_000u32 {
                        let key = clock.key(Kind::Ip, &[&(number % 10).to_le_bytes()]);
                        table.change(key, ROOM, 0, |record| record.fail(&terms, 0));
                    }
                });
            }
        });
        table.each(|_, record| assert_eq!(record.left(&terms, 0), 1_000_000 - 8_000));
        assert_eq!(table.len(), 10);
    }
}
