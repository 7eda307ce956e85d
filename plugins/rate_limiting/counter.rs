//! What one key has used of one limit: a few words of a record, and nothing else.
//!
//! A **window** is kept in slices: the current one, and those before it that cover the window. So never more than
//! the quota passes in any span of that length, and a place is given back when its slice has left the window: at
//! most one slice late. How many slices there are is how many words there are: [`slots`]. A **rate** is one instant
//! (GCRA): when the bucket would be full again.

use std::time::Duration;

/// The words of a record that its key and its limits share: with the index 150 bytes at most.
pub(super) const WORDS: usize = 34;
/// Words of a record that hold its key.
pub(super) const KEY: usize = 2;
/// Words of a rate.
const RATE: usize = 2;
/// The most slices of a window: the current one and 24 before.
pub(super) const MOST_SLOTS: usize = 25;

/// How many slices are kept of each of so many windows; all but the current one make up the window.
pub(super) fn slots(windows: usize, rate: bool) -> usize {
    // One word of each window says which slice is the current one.
    let words = WORDS - KEY - if rate { RATE } else { 0 };
    match (words / windows.max(1)).saturating_sub(1) {
        MOST_SLOTS.. => MOST_SLOTS,
        // Beautiful numbers: a twelfth, an eighth, a sixth or a fifth of the window.
        13.. => 13,
        9.. => 9,
        words => words,
    }
}

/// What a limit counts over. The order is that of their words in a record and of what clients are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Period {
    Rate,
    Second,
    Minute,
    Hour,
    Day,
}

impl Period {
    pub(super) const ALL: [Period; 5] =
        [Period::Rate, Period::Second, Period::Minute, Period::Hour, Period::Day];

    pub(super) fn name(self) -> &'static str {
        match self {
            Period::Rate => "rate",
            Period::Second => "second",
            Period::Minute => "minute",
            Period::Hour => "hour",
            Period::Day => "day",
        }
    }

    pub(super) fn length(self) -> Duration {
        Duration::from_secs(self.seconds())
    }

    const fn seconds(self) -> u64 {
        match self {
            Period::Rate | Period::Second => 1,
            Period::Minute => 60,
            Period::Hour => 3600,
            Period::Day => 86_400,
        }
    }

    /// How many words of a record it takes, where so many slices are kept of a window.
    pub(super) fn words(self, slots: usize) -> usize {
        match self {
            Period::Rate => RATE,
            _ => 1 + slots,
        }
    }

    /// How long a slice is, of so many: all but one are the window at least.
    fn slice(self, slots: usize) -> u64 {
        const TABLE: [[u64; Period::ALL.len()]; MOST_SLOTS + 1] = slices();
        TABLE.get(slots).and_then(|row| row.get(self as usize)).copied().unwrap_or(u64::MAX)
    }
}

#[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn slices() -> [[u64; Period::ALL.len()]; MOST_SLOTS + 1] {
    let mut table = [[u64::MAX; Period::ALL.len()]; MOST_SLOTS + 1];
    let mut slots = 2;
    while slots <= MOST_SLOTS {
        let mut period = 0;
        while period < Period::ALL.len() {
            let window = Period::ALL[period].seconds() * 1_000_000_000;
            table[slots][period] = window.div_ceil(slots as u64 - 1);
            period += 1;
        }
        slots += 1;
    }
    table
}

/// One limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    pub(super) period: Period,
    /// How many in the window; of a rate: how many at once.
    pub(super) quota: u32,
    /// Of a rate: the time in which one is given back, in nanoseconds.
    pub(super) every: u64,
}

/// How a key stands with one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// How many more may come now.
    pub(super) left: u32,
    /// Nanoseconds until one may come; 0 where it may now.
    pub(super) wait: u64,
    /// Nanoseconds until more may come than now.
    pub(super) more: u64,
}

/// An instant as a limit sees it. To find it out takes a division: it is done once for each decision.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment {
    /// Nanoseconds since the table was made.
    now: u64,
    /// Of a window: the slice that they are in.
    slice: u32,
}

impl Limit {
    /// An instant, for the words that the limit has.
    pub(super) fn moment(&self, words: &[u32], now: u64) -> Moment {
        let slice = match self.period {
            Period::Rate => 0,
            window => slice_at(window, words.len().saturating_sub(1), now),
        };
        Moment { now, slice }
    }

    /// How a key stands.
    pub(super) fn standing(&self, words: &[u32], at: Moment) -> Standing {
        self.standing_with(words, at, self.left(words, at))
    }

    /// The same where it is known how many more may come.
    pub(super) fn standing_with(&self, words: &[u32], at: Moment, left: u32) -> Standing {
        match (self.period, words) {
            (Period::Rate, _) => self.bucket(words, at.now, left),
            (_, [head, counts @ ..]) => self.window(&Window { counts, head: *head }, at, left),
            _ => Standing { left: 0, wait: u64::MAX, more: u64::MAX },
        }
    }

    /// How many more may come.
    pub(super) fn left(&self, words: &[u32], at: Moment) -> u32 {
        match (self.period, words) {
            (Period::Rate, _) => {
                let free = self.depth().saturating_sub(owed(words, at.now));
                u32::try_from(free / self.every.max(1)).unwrap_or(u32::MAX)
            }
            (_, [head, counts @ ..]) => {
                let used = Window { counts, head: *head }.used(at.slice);
                u32::try_from(u64::from(self.quota).saturating_sub(used)).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Counts one.
    pub(super) fn count(&self, words: &mut [u32], at: Moment) {
        if self.period == Period::Rate {
            // What is counted although it was refused holds back for one full bucket at most.
            let most = at.now.saturating_add(self.depth());
            write(words, full(words).max(at.now).saturating_add(self.every).min(most.max(full(words))));
            return;
        }
        let [head, counts @ ..] = words else { return };
        let slots = counts.len().max(1);
        let slice = at.slice.max(*head);
        // Slices that have passed since nobody came are empty.
        if (slice - *head) as usize >= slots {
            counts.fill(0);
        } else {
            for passed in *head..slice {
                if let Some(count) = counts.get_mut((passed as usize + 1) % slots) {
                    *count = 0;
                }
            }
        }
        *head = slice;
        if let Some(count) = counts.get_mut(slice as usize % slots) {
            *count = count.saturating_add(1);
        }
    }

    fn window(&self, window: &Window<'_>, at: Moment, left: u32) -> Standing {
        let Some((oldest, mut gone)) = window.oldest(at.slice) else {
            return Standing { left, wait: 0, more: 0 };
        };
        let slots = window.counts.len();
        let until = |slice: u32| {
            let end = u64::from(slice) + slots as u64;
            end.saturating_mul(self.period.slice(slots)).saturating_sub(at.now)
        };
        let more = until(oldest);
        if left > 0 {
            return Standing { left, wait: 0, more };
        }
        // Until so many have gone that one may come.
        let used = window.used(at.slice);
        let mut last = oldest;
        for (slice, count) in window.oldest_first(at.slice).filter(|(slice, _)| *slice > oldest) {
            if used - gone < u64::from(self.quota) {
                break;
            }
            (last, gone) = (slice, gone + u64::from(count));
        }
        Standing { left, wait: until(last), more }
    }

    /// The time in which an empty bucket is full.
    fn depth(&self) -> u64 {
        self.every.saturating_mul(u64::from(self.quota))
    }

    fn bucket(&self, words: &[u32], now: u64, left: u32) -> Standing {
        let owed = owed(words, now);
        let wait = owed.saturating_add(self.every).saturating_sub(self.depth());
        if wait > 0 {
            return Standing { left, wait, more: wait };
        }
        // What has come back of the one after those.
        let rest =
            self.depth().saturating_sub(owed).saturating_sub(self.every.saturating_mul(u64::from(left)));
        Standing { left, wait, more: owed.min(self.every.saturating_sub(rest)) }
    }
}

/// The slices of a window.
struct Window<'w> {
    counts: &'w [u32],
    /// The last slice that was counted in.
    head: u32,
}

impl Window<'_> {
    /// What counts in a slice. Time does not go back: who has looked at the clock before another may be judged after
    /// it.
    fn used(&self, slice: u32) -> u64 {
        let all = self.counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        match slice.saturating_sub(self.head) as usize {
            0 => all,
            passed if passed >= self.counts.len() => 0,
            passed => {
                let gone = self.oldest_first(self.head).take(passed);
                all.saturating_sub(gone.map(|(_, count)| u64::from(count)).sum())
            }
        }
    }

    /// The oldest slice that counts in a slice and was counted in, and how many.
    fn oldest(&self, slice: u32) -> Option<(u32, u64)> {
        let (older, newer) = self.ring();
        let of = |counts: &[u32], passed: usize| {
            let place = passed + first_used(counts.get(passed..)?)?;
            Some((place, u64::from(*counts.get(place)?)))
        };
        let passed = slice.saturating_sub(self.head) as usize;
        let in_newer =
            || of(newer, passed.saturating_sub(older.len())).map(|(at, count)| (at + older.len(), count));
        let (place, count) = of(older, passed).or_else(in_newer)?;
        let age = u32::try_from(self.counts.len() - 1 - place).unwrap_or(0);
        Some((self.head.saturating_sub(age), count))
    }

    /// The slices that count in a slice, and what was counted in them.
    fn oldest_first(&self, slice: u32) -> impl Iterator<Item = (u32, u32)> {
        let (older, newer) = self.ring();
        let ages = (0..u32::try_from(self.counts.len()).unwrap_or(0)).rev();
        let slices = ages.map(|age| self.head.saturating_sub(age));
        slices.zip(older.iter().chain(newer).copied()).skip(slice.saturating_sub(self.head) as usize)
    }

    /// The counts from the oldest: the slice after the current one has its place.
    fn ring(&self) -> (&[u32], &[u32]) {
        let current = self.head as usize % self.counts.len().max(1);
        let (newer, older) = self.counts.split_at_checked(current + 1).unwrap_or_default();
        (older, newer)
    }
}

/// The place of the first that is not zero. Most are: eight are looked at together.
fn first_used(counts: &[u32]) -> Option<usize> {
    let (eights, _) = counts.as_chunks::<8>();
    let is_empty = |eight: &&[u32; 8]| eight.iter().fold(0, |all, count| all | count) == 0;
    let passed = eights.iter().take_while(is_empty).count() * 8;
    Some(passed + counts.get(passed..)?.iter().position(|count| *count > 0)?)
}

/// Counts again in slices of another length. Each counts as if all of it had come at its end: nobody gets more.
pub(super) fn slice_anew(period: Period, from: &[u32], to: &mut [u32]) {
    if period == Period::Rate {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        return;
    }
    let ([head, counts @ ..], [new_head, new_counts @ ..]) = (from, to) else { return };
    let slots = new_counts.len().max(1);
    let of = |slice: u32| {
        let end = (u64::from(slice) + 1).saturating_mul(period.slice(counts.len()));
        slice_at(period, slots, end.saturating_sub(1))
    };
    *new_head = if counts.iter().all(|count| *count == 0) { 0 } else { of(*head) };
    let oldest = new_head.saturating_sub(u32::try_from(slots - 1).unwrap_or(0));
    let old = Window { counts, head: *head };
    for (slice, count) in old.oldest_first(*head).filter(|(_, count)| *count > 0) {
        if let Some(new) = new_counts.get_mut(of(slice).max(oldest) as usize % slots) {
            *new = new.saturating_add(count);
        }
    }
}

/// True where the words say no more than those of a key that was never seen.
pub(super) fn is_idle(period: Period, words: &[u32], now: u64) -> bool {
    if period == Period::Rate {
        return full(words) <= now;
    }
    let [head, counts @ ..] = words else { return true };
    let passed = slice_at(period, counts.len(), now).saturating_sub(*head);
    passed as usize >= counts.len() || counts.iter().all(|count| *count == 0)
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The slice of an instant. The shortest is a 24th of a second: this lasts for five years.
fn slice_at(period: Period, slots: usize, now: u64) -> u32 {
    u32::try_from(now / period.slice(slots)).unwrap_or(u32::MAX)
}

/// How long it takes until the bucket is full again.
fn owed(words: &[u32], now: u64) -> u64 {
    full(words).saturating_sub(now)
}

/// When the bucket is full again.
fn full(words: &[u32]) -> u64 {
    match words {
        [low, high] => u64::from(*high) << 32 | u64::from(*low),
        _ => u64::MAX,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the two halves of a word")]
fn write(words: &mut [u32], full: u64) {
    if let [low, high] = words {
        (*low, *high) = (full as u32, (full >> 32) as u32);
    }
}

#[cfg(test)]
mod tests;
