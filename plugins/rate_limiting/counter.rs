//! What one key has used of one limit: a few words of a record, and nothing else.
//!
//! A **window** is kept in slices of a fifth of it: the current one and the five before cover the window and a
//! little more. So never more than the quota passes in any span of that length, and a place is given back when
//! its slice has left the window: at most a fifth of the window late. A **rate** is one instant (GCRA): when the
//! bucket would be full again.

use std::time::Duration;

/// Slices that are kept; all but the current one make up the window.
pub(super) const SLICES: u32 = 6;

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

    /// How many words of a record it takes.
    pub(super) fn words(self) -> usize {
        match self {
            Period::Rate => 2,
            _ => 1 + SLICES as usize,
        }
    }

    const fn slice(self) -> u64 {
        self.seconds() * 1_000_000_000 / (SLICES as u64 - 1)
    }
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

impl Limit {
    /// How a key stands at `now` (nanoseconds since the table was made).
    pub(super) fn standing(&self, words: &[u32], now: u64) -> Standing {
        match self.period {
            Period::Rate => self.bucket(words, now),
            _ => self.window(words, now),
        }
    }

    /// How many more may come now.
    pub(super) fn left(&self, words: &[u32], now: u64) -> u32 {
        match (self.period, words) {
            (Period::Rate, _) => self.bucket(words, now).left,
            (_, [head, counts @ ..]) => {
                let (_, ages) = ages(self.period, *head, counts, now);
                ages.iter().fold(self.quota, |left, count| left.saturating_sub(*count))
            }
            _ => 0,
        }
    }

    /// Counts one.
    pub(super) fn count(&self, words: &mut [u32], now: u64) {
        if self.period == Period::Rate {
            // What is counted although it was refused holds back for one full bucket at most.
            let most = now.saturating_add(self.every.saturating_mul(u64::from(self.quota)));
            write(words, full(words).max(now).saturating_add(self.every).min(most.max(full(words))));
            return;
        }
        let [head, counts @ ..] = words else { return };
        let slice = slice_at(self.period, now).max(*head);
        // Slices that have passed since nobody came are empty.
        if slice - *head >= SLICES {
            counts.fill(0);
        }
        for passed in (*head..slice).take(SLICES as usize) {
            if let Some(count) = counts.get_mut((passed.wrapping_add(1) % SLICES) as usize) {
                *count = 0;
            }
        }
        *head = slice;
        if let Some(count) = counts.get_mut((slice % SLICES) as usize) {
            *count = count.saturating_add(1);
        }
    }

    fn window(&self, words: &[u32], now: u64) -> Standing {
        let [head, counts @ ..] = words else { return Standing { left: 0, wait: u64::MAX, more: u64::MAX } };
        let (current, ages) = ages(self.period, *head, counts, now);
        let used: u64 = ages.iter().map(|count| u64::from(*count)).sum();
        let left = u64::from(self.quota).saturating_sub(used);
        let until = |age: u32| {
            let end = u64::from(current.saturating_sub(age)) + u64::from(SLICES);
            end.saturating_mul(self.period.slice()).saturating_sub(now)
        };
        let (mut gone, mut wait, mut more) = (0, 0, 0);
        for (age, count) in (0..SLICES).zip(ages).rev().filter(|(_, count)| *count > 0) {
            gone += u64::from(count);
            if more == 0 {
                more = until(age);
            }
            if left > 0 {
                break;
            }
            if wait == 0 && used - gone < u64::from(self.quota) {
                wait = until(age);
            }
        }
        Standing { left: u32::try_from(left).unwrap_or(u32::MAX), wait, more }
    }

    fn bucket(&self, words: &[u32], now: u64) -> Standing {
        let depth = self.every.saturating_mul(u64::from(self.quota));
        let owed = full(words).saturating_sub(now);
        let left = depth.saturating_sub(owed) / self.every.max(1);
        let wait = owed.saturating_add(self.every).saturating_sub(depth);
        let rest = depth.saturating_sub(owed) % self.every.max(1);
        let more = if wait > 0 { wait } else { owed.min(self.every - rest) };
        Standing { left: u32::try_from(left).unwrap_or(u32::MAX), wait, more }
    }
}

/// The current slice, and what the window's slices have counted, the current one first. Time does not go back: who
/// has looked at the clock before another may be judged after it.
fn ages(period: Period, head: u32, counts: &[u32], now: u64) -> (u32, [u32; SLICES as usize]) {
    let current = slice_at(period, now).max(head);
    let (behind, last) = (current - head, head % SLICES);
    let mut ages = [0; SLICES as usize];
    for (position, count) in (0..SLICES).zip(counts) {
        let age = (last + SLICES - position) % SLICES;
        if let Some(of_age) = ages.get_mut(age.saturating_add(behind) as usize) {
            *of_age = *count;
        }
    }
    (current, ages)
}

/// True where the words say no more than those of a key that was never seen.
pub(super) fn is_idle(period: Period, words: &[u32], now: u64) -> bool {
    if period == Period::Rate {
        return full(words) <= now;
    }
    let [head, counts @ ..] = words else { return true };
    slice_at(period, now) >= head.saturating_add(SLICES) || counts.iter().all(|count| *count == 0)
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn slice_at(period: Period, now: u64) -> u32 {
    // Each division is by a constant. The shortest slice is 0.2 s: this lasts for 27 years.
    let slice = match period {
        Period::Rate | Period::Second => now / const { Period::Second.slice() },
        Period::Minute => now / const { Period::Minute.slice() },
        Period::Hour => now / const { Period::Hour.slice() },
        Period::Day => now / const { Period::Day.slice() },
    };
    u32::try_from(slice).unwrap_or(u32::MAX)
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
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn window(quota: u32) -> Limit {
        Limit { period: Period::Minute, quota, every: 0 }
    }

    /// Counts where it may, as the table does.
    fn take(limit: &Limit, words: &mut [u32], now: u64) -> bool {
        let passes = limit.standing(words, now).wait == 0;
        assert_eq!(limit.left(words, now), limit.standing(words, now).left);
        assert_eq!(limit.left(words, now) > 0, passes);
        if passes {
            limit.count(words, now);
        }
        passes
    }

    #[test]
    fn no_span_of_a_minute_sees_more_than_the_quota_and_none_much_less() {
        let limit = window(50);
        let (mut words, mut passed) = (vec![0; Period::Minute.words()], Vec::new());
        // Uneven steps, pauses and crowds, from a seed.
        let (mut now, mut seed) = (7 * SECOND, 0x9e37_79b9_u64);
        for _ in 0..40_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            now += match seed >> 61 {
                0 => 0,
                1..7 => (seed >> 40) % (SECOND / 2),
                _ => (seed >> 33) % (5 * SECOND),
            };
            if take(&limit, &mut words, now) {
                passed.push(now);
            }
        }
        for (index, first) in passed.iter().enumerate() {
            let in_window = passed[index..].iter().take_while(|at| *at - first < 60 * SECOND).count();
            assert!(in_window <= 50, "{in_window} from {first}");
        }
        // Who is always there gets the whole quota in a window and a fifth.
        let spans = (now - 7 * SECOND) / (72 * SECOND);
        assert!(passed.len() as u64 >= spans * 50, "{} in {spans} spans", passed.len());
    }

    #[test]
    fn a_refused_one_is_told_exactly_when_it_may_come() {
        let limit = window(3);
        for start in [0, 1, 11 * SECOND, 12 * SECOND - 1, 12 * SECOND, 1_000_000 * SECOND + 17] {
            let mut words = vec![0; Period::Minute.words()];
            assert_eq!(limit.standing(&words, start), Standing { left: 3, wait: 0, more: 0 });
            for _ in 0..3 {
                assert!(take(&limit, &mut words, start));
            }
            let standing = limit.standing(&words, start);
            assert!(standing.left == 0 && standing.wait > 59 * SECOND, "{standing:?}");
            assert!(standing.wait <= 72 * SECOND && standing.more == standing.wait, "{standing:?}");
            assert!(!take(&limit, &mut words, start + standing.wait - 1), "{start}");
            assert!(take(&limit, &mut words, start + standing.wait), "{start}");
        }
    }

    #[test]
    fn a_clock_that_was_read_earlier_opens_nothing() {
        let limit = window(2);
        let mut words = vec![0; Period::Minute.words()];
        assert!(take(&limit, &mut words, 100 * SECOND));
        assert!(take(&limit, &mut words, 10 * SECOND));
        assert!(!take(&limit, &mut words, 10 * SECOND));
        assert!(!take(&limit, &mut words, 100 * SECOND));
    }

    #[test]
    fn a_bucket_holds_its_burst_and_fills_evenly() {
        let limit = Limit { period: Period::Rate, quota: 5, every: SECOND / 10 };
        let (mut words, start) = (vec![0; 2], 1_000 * SECOND);
        for left in (0..5).rev() {
            assert!(take(&limit, &mut words, start));
            assert_eq!(limit.standing(&words, start).left, left);
        }
        assert_eq!(limit.standing(&words, start), Standing { left: 0, wait: SECOND / 10, more: SECOND / 10 });
        assert!(!take(&limit, &mut words, start + SECOND / 10 - 1));
        assert!(take(&limit, &mut words, start + SECOND / 10));
        assert!(!take(&limit, &mut words, start + SECOND / 10));
        // Ten a second, and the burst once.
        let passed =
            (0..10_000).filter(|ms| take(&limit, &mut words, start + SECOND + ms * 1_000_000)).count();
        assert_eq!(passed, 5 + 99);
    }

    #[test]
    fn what_is_refused_and_counted_holds_back_for_a_full_bucket_at_most() {
        let limit = Limit { period: Period::Rate, quota: 5, every: SECOND };
        let mut words = vec![0; 2];
        for _ in 0..1_000 {
            limit.count(&mut words, 0);
        }
        assert_eq!(limit.standing(&words, 0).wait, SECOND);
        assert_eq!(limit.standing(&words, 5 * SECOND), Standing { left: 5, wait: 0, more: 0 });
    }

    #[test]
    fn idle_is_what_says_nothing_any_more() {
        let minute = window(3);
        let mut words = vec![0; Period::Minute.words()];
        assert!(is_idle(Period::Minute, &words, 0));
        minute.count(&mut words, 0);
        assert!(!is_idle(Period::Minute, &words, 71 * SECOND));
        assert!(is_idle(Period::Minute, &words, 72 * SECOND));
        let rate = Limit { period: Period::Rate, quota: 5, every: SECOND };
        let mut words = vec![0; 2];
        rate.count(&mut words, 0);
        assert!(!is_idle(Period::Rate, &words, SECOND - 1) && is_idle(Period::Rate, &words, SECOND));
    }
}
