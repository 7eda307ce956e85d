//! What one key has used of one limit: a few words of a record, and nothing else.
//!
//! A **window** is kept in slices: the current one, and those before it that cover the window. So never more than
//! the quota passes in any span of that length, and a place is given back when its slice has left the window: at
//! most one slice late. How many slices there are is how many words there are: [`sizes`]. A **rate** is one instant
//! (GCRA): when the bucket would be full again.

use super::slices::{Width, Window, Words, add, clear};
use std::time::Duration;

/// Words of a line of the processor's cache. A record of windows begins with one, and has one or two: memory is what a
/// decision among many keys waits for.
const LINE: usize = 16;
/// The most words of a record: with the index 150 bytes at most.
pub(super) const WORDS: usize = 2 * LINE;
/// Words of a record that hold its key.
pub(super) const KEY: usize = 2;
/// Words of a rate.
const RATE: usize = 2;
/// The most slices of a window: the current one and 25 before.
pub(super) const MOST_SLOTS: usize = 26;

/// What a record is: how many words it has, and how many of them are the counts of each of its windows. All slices but
/// the current one make up the window.
pub(super) fn sizes(windows: usize, rate: bool, width: Width) -> (usize, usize) {
    let besides = KEY + if rate { RATE } else { 0 };
    if windows == 0 {
        return (besides, 0);
    }
    let words = if windows == 1 && width == Width::Half { LINE } else { 2 * LINE };
    // One word of each window says which slice is the current one.
    let counts = ((words - besides) / windows).saturating_sub(1);
    (words, counts.min(MOST_SLOTS / width.in_word()))
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

    /// How many words of a record it takes, where the counts of a window have so many.
    pub(super) fn words(self, counts: usize) -> usize {
        match self {
            Period::Rate => RATE,
            _ => 1 + counts,
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
    pub(super) fn moment(&self, words: Words<'_>, now: u64) -> Moment {
        let slice = match self.period {
            Period::Rate => 0,
            window => slice_at(window, words.slots(), now),
        };
        Moment { now, slice }
    }

    /// How a key stands.
    pub(super) fn standing(&self, words: Words<'_>, at: Moment) -> Standing {
        self.standing_with(words, at, self.left(words, at))
    }

    /// The same where it is known how many more may come.
    pub(super) fn standing_with(&self, words: Words<'_>, at: Moment, left: u32) -> Standing {
        match (self.period, words.window()) {
            (Period::Rate, _) => self.bucket(words.all, at.now, left),
            (_, Some(window)) => self.window(&window, at, left),
            _ => Standing { left: 0, wait: u64::MAX, more: u64::MAX },
        }
    }

    /// How many more may come.
    pub(super) fn left(&self, words: Words<'_>, at: Moment) -> u32 {
        match (self.period, words.window()) {
            (Period::Rate, _) => {
                let free = self.depth().saturating_sub(owed(words.all, at.now));
                u32::try_from(free / self.every.max(1)).unwrap_or(u32::MAX)
            }
            (_, Some(window)) => {
                let used = window.used(at.slice);
                u32::try_from(u64::from(self.quota).saturating_sub(used)).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Counts one.
    pub(super) fn count(&self, words: &mut [u32], width: Width, at: Moment) {
        if self.period == Period::Rate {
            // What is counted although it was refused holds back for one full bucket at most.
            let most = at.now.saturating_add(self.depth());
            write(words, full(words).max(at.now).saturating_add(self.every).min(most.max(full(words))));
            return;
        }
        let slots = Words { all: words, width }.slots().max(1);
        let [head, counts @ ..] = words else { return };
        let slice = at.slice.max(*head);
        // Slices that have passed since nobody came are empty.
        if (slice - *head) as usize >= slots {
            counts.fill(0);
        } else {
            for passed in *head..slice {
                clear(counts, width, (passed as usize + 1) % slots);
            }
        }
        *head = slice;
        add(counts, width, slice as usize % slots, 1);
    }

    fn window(&self, window: &Window<'_>, at: Moment, left: u32) -> Standing {
        let Some((oldest, mut gone)) = window.oldest(at.slice) else {
            return Standing { left, wait: 0, more: 0 };
        };
        let slots = window.slots();
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

/// Counts again in slices of another length. Each counts as if all of it had come at its end: nobody gets more.
pub(super) fn slice_anew(period: Period, from: Words<'_>, to: &mut [u32], width: Width) {
    if period == Period::Rate {
        to.iter_mut().zip(from.all).for_each(|(to, from)| *to = *from);
        return;
    }
    let slots = Words { all: to, width }.slots().max(1);
    let (Some(old), [new_head, new_counts @ ..]) = (from.window(), to) else { return };
    let of = |slice: u32| {
        let end = (u64::from(slice) + 1).saturating_mul(period.slice(old.slots()));
        slice_at(period, slots, end.saturating_sub(1))
    };
    *new_head = if old.is_empty() { 0 } else { of(old.head) };
    let oldest = new_head.saturating_sub(u32::try_from(slots - 1).unwrap_or(0));
    for (slice, count) in old.oldest_first(old.head).filter(|(_, count)| *count > 0) {
        add(new_counts, width, of(slice).max(oldest) as usize % slots, count);
    }
}

/// True where the words say no more than those of a key that was never seen.
pub(super) fn is_idle(period: Period, words: Words<'_>, now: u64) -> bool {
    if period == Period::Rate {
        return full(words.all) <= now;
    }
    let Some(window) = words.window() else { return true };
    let passed = slice_at(period, window.slots(), now).saturating_sub(window.head);
    passed as usize >= window.slots() || window.is_empty()
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The slice of an instant. The shortest is a 25th of a second: this lasts for five years.
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
