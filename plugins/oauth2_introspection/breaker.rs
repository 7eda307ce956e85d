//! Who asks nothing of an endpoint that is gone.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};

/// So many failures one after the other, and the endpoint counts as gone.
const FAILURES: u32 = 5;
/// Then so many milliseconds pass between two calls.
const BETWEEN: i64 = 1000;
/// So many milliseconds pass between two warnings at least: what is answered about a client's token must not fill a log.
const QUIET: i64 = 10_000;

/// Lets calls through, or one in a second where the endpoint is gone. Only what no token can bring about counts: that
/// there is no connection, and no answer in time.
#[derive(Default)]
pub(super) struct Breaker {
    failures: AtomicU32,
    next: AtomicI64,
    told: AtomicBool,
    told_at: AtomicI64,
}

impl Breaker {
    /// True where a call may begin.
    pub(super) fn admits(&self, now: i64) -> bool {
        if self.failures.load(Relaxed) < FAILURES {
            return true;
        }
        let next = self.next.load(Relaxed);
        // A clock that was set back does not lock it.
        let due = now >= next || next > now.saturating_add(2 * BETWEEN);
        due && self.next.compare_exchange(next, now.saturating_add(BETWEEN), Relaxed, Relaxed).is_ok()
    }

    /// No connection, or no answer in time.
    pub(super) fn failed(&self, now: i64) {
        if self.failures.fetch_add(1, Relaxed) + 1 >= FAILURES {
            self.next.fetch_max(now.saturating_add(BETWEEN), Relaxed);
        }
    }

    /// There was an answer, whatever it said.
    pub(super) fn answered(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// True where it must be said that something is wrong.
    pub(super) fn is_news(&self, now: i64) -> bool {
        if self.told.load(Relaxed) || now.abs_diff(self.told_at.load(Relaxed)) < QUIET.unsigned_abs() {
            return false;
        }
        self.told_at.store(now, Relaxed);
        !self.told.swap(true, Relaxed)
    }

    /// True where it was said that something is wrong, and nothing is any longer.
    pub(super) fn is_over(&self) -> bool {
        self.told.load(Relaxed) && self.told.swap(false, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_asked_once_in_a_second() {
        let breaker = Breaker::default();
        for now in 0..4 {
            breaker.failed(now);
            assert!(breaker.admits(now));
        }
        breaker.failed(4);
        assert!(!breaker.admits(5) && !breaker.admits(1003));
        assert!(breaker.admits(1004) && !breaker.admits(1004) && !breaker.admits(1500));
        assert!(breaker.admits(2004));
        assert!(breaker.admits(-5000), "a clock that was set back");
        breaker.answered();
        assert!(breaker.admits(2005) && breaker.admits(2005));
    }

    #[test]
    fn it_is_said_once() {
        let breaker = Breaker::default();
        assert!(!breaker.is_over());
        assert!(breaker.is_news(20_000) && !breaker.is_news(20_001) && !breaker.is_news(90_000));
        assert!(breaker.is_over() && !breaker.is_over());
        assert!(!breaker.is_news(29_999) && !breaker.is_over());
        assert!(breaker.is_news(30_000));
    }
}
