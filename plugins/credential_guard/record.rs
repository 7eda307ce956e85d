//! What is known of one address, account or credential: a few words.

use std::time::Duration;

/// Where a lockout doubles no more: longer than any ceiling by then.
const MOST_LEVEL: u8 = 40;

/// Failures and lockouts of one key. Instants are nanoseconds of the table's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// When all failures are forgotten: each adds its share of the window (GCRA). Of a key that is only remembered: until
    /// when.
    pub(super) full: u64,
    /// Locked out until then.
    pub(super) until: u64,
    /// What an operator may end together with others: the account that a pair is of.
    pub(super) owner: u64,
    /// Credentials that are being looked at.
    pub(super) flying: u16,
    /// How many lockouts there were in a row.
    pub(super) level: u8,
}

/// How many failures are too many, and what follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// After so many at once.
    pub(super) failures: u32,
    /// One is forgotten in so many nanoseconds.
    pub(super) every: u64,
    /// The first lockout, and the longest.
    pub(super) delay: u64,
    pub(super) most: u64,
}

impl Terms {
    pub(super) fn new(failures: u32, window: Duration, delay: Duration, most: Duration) -> Self {
        let every = nanos(window) / u64::from(failures.max(1));
        Terms { failures, every: every.max(1), delay: nanos(delay).max(1), most: nanos(most).max(1) }
    }

    /// The same with fewer failures; one at least.
    pub(super) fn stricter(self, failures: u32) -> Self {
        Terms { failures: failures.clamp(1, self.failures.max(1)), ..self }
    }
}

impl Record {
    /// Nanoseconds until the lockout is over.
    pub(super) fn locked(&self, now: u64) -> Option<u64> {
        self.until.checked_sub(now).filter(|left| *left > 0)
    }

    /// How many more may fail now.
    pub(super) fn left(&self, terms: &Terms, now: u64) -> u32 {
        let used = self.full.saturating_sub(now).div_ceil(terms.every);
        u32::try_from(u64::from(terms.failures).saturating_sub(used)).unwrap_or(u32::MAX)
    }

    /// Nanoseconds until one more may fail.
    pub(super) fn wait(&self, terms: &Terms, now: u64) -> u64 {
        let room = terms.every.saturating_mul(u64::from(terms.failures.saturating_sub(1)));
        self.full.saturating_sub(now).saturating_sub(room)
    }

    /// Counts one failure; how long the lockout lasts that this begins, where it begins one.
    pub(super) fn fail(&mut self, terms: &Terms, now: u64) -> Option<u64> {
        if self.is_forgiven(terms.most, now) {
            self.level = 0;
        }
        let ceiling = now.saturating_add(terms.every.saturating_mul(u64::from(terms.failures) + 1));
        let full = self.full.max(now).saturating_add(terms.every);
        self.full = full.min(ceiling.max(self.full));
        if self.left(terms, now) > 0 {
            return None;
        }
        let factor = 1u64.checked_shl(u32::from(self.level)).unwrap_or(u64::MAX);
        let delay = terms.delay.saturating_mul(factor).min(terms.most).max(self.wait(terms, now));
        self.level = self.level.saturating_add(1).min(MOST_LEVEL);
        // A failure that was begun before the lockout does not shorten it.
        self.until = self.until.max(now.saturating_add(delay));
        Some(delay)
    }

    /// Nothing but what is being looked at.
    pub(super) fn cleared(&self) -> Self {
        Record { flying: self.flying, ..Record::default() }
    }

    /// True where no lockout was for as long as the longest lasts.
    fn is_forgiven(&self, most: u64, now: u64) -> bool {
        now >= self.until.saturating_add(most)
    }

    /// True where it says no more than nothing does.
    pub(super) fn is_idle(&self, most: u64, now: u64) -> bool {
        self.full <= now && self.flying == 0 && (self.level == 0 || self.is_forgiven(most, now))
    }

    /// What goes first where there is no room: never who is locked out or being looked at; then who has done least.
    pub(super) fn weight(&self, now: u64) -> Option<(u8, u64)> {
        (self.flying == 0 && self.locked(now).is_none()).then_some((self.level, self.full))
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn terms() -> Terms {
        let [window, delay, most] = [60, 1, 900].map(Duration::from_secs);
        Terms::new(20, window, delay, most)
    }

    #[test]
    fn so_many_may_fail_at_once_and_one_more_for_each_share_of_the_window() {
        let (terms, mut record) = (terms(), Record::default());
        for failed in 0..19 {
            assert_eq!(record.left(&terms, 0), 20 - failed);
            assert_eq!(record.fail(&terms, 0), None);
        }
        // Locked until one more may fail, which is later than the first delay.
        assert_eq!(record.fail(&terms, 0), Some(3 * SECOND));
        assert_eq!(record.locked(0), Some(3 * SECOND));
        assert_eq!(record.left(&terms, 3 * SECOND), 1);
        assert_eq!(record.locked(3 * SECOND), None);
        assert_eq!(record.left(&terms, 60 * SECOND), 20);
    }

    #[test]
    fn each_lockout_is_twice_as_long_up_to_the_ceiling_and_is_forgiven_after_it() {
        let (terms, mut record, mut now) = (terms().stricter(1), Record::default(), 0);
        let mut delays = Vec::new();
        for _ in 0..60 {
            let delay = record.fail(&terms, now).unwrap();
            delays.push(delay / SECOND);
            now += delay;
        }
        assert_eq!(delays[..11], [3, 3, 4, 8, 16, 32, 64, 128, 256, 512, 900]);
        assert!(delays[11..].iter().all(|delay| *delay == 900));
        assert!(!record.is_idle(terms.most, now));
        now += terms.most;
        assert!(record.is_idle(terms.most, now));
        assert_eq!(record.fail(&terms, now), Some(3 * SECOND));
    }

    #[test]
    fn what_fails_while_locked_shortens_nothing_and_owes_little() {
        let (terms, mut record) = (terms(), Record::default());
        for _ in 0..1000 {
            record.fail(&terms, 0);
        }
        assert_eq!(record.locked(0), Some(900 * SECOND));
        // Hundreds that were begun at once leave no debt beyond the window.
        assert!(record.full <= 63 * SECOND);
        assert_eq!(record.left(&terms, 900 * SECOND), 20);
    }

    #[test]
    fn numbers_at_their_ends_do_not_overflow() {
        for (failures, window) in [(0, Duration::ZERO), (u32::MAX, Duration::MAX), (1, Duration::MAX)] {
            let terms = Terms::new(failures, window, Duration::MAX, Duration::MAX);
            let mut record = Record { full: u64::MAX, until: u64::MAX, level: u8::MAX, ..Record::default() };
            for now in [0, 1, u64::MAX] {
                record.fail(&terms, now);
                record.left(&terms, now);
                record.wait(&terms, now);
            }
        }
    }
}
