//! Whether a request may be sent again, and how many may.

use crate::conf::model::Retries as Written;
use http::StatusCode;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The budget is counted anew after this time.
const WINDOW: Duration = Duration::from_secs(10);
/// Retries in each window that need no budget, so that an upstream with few requests can have some.
const ALWAYS: u64 = 10;

/// When requests of an upstream are sent again.
#[derive(Debug)]
pub struct Retries {
    written: Written,
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    begun: Instant,
    /// What the upstream's targets had got by then.
    requests: u64,
    retries: u64,
}

/// Why a request did not go well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// The connection broke before the response's head was there.
    Reset {
        /// True where it ended, for a request that only asks: it may be asked once more unbidden.
        asks: bool,
    },
    /// The response has this status.
    Status(StatusCode),
}

impl Retries {
    pub(super) fn new(written: &Written) -> Self {
        Retries { written: written.clone(), window: Mutex::new(None) }
    }

    /// True where a failure of this kind is worth another attempt, after so many.
    pub(crate) fn covers(&self, failure: Failure, attempts: u32) -> bool {
        let kind = match failure {
            Failure::Connect => self.written.connect_failure,
            Failure::Reset { asks } => {
                self.written.reset || (self.written.reset_once && asks && attempts == 1)
            }
            Failure::Status(status) => self.written.statuses.contains(&status),
        };
        kind && attempts <= self.written.attempts
    }

    /// Takes one retry out of the budget; `requests` are those that the targets have got so far, retries
    /// included.
    pub(super) fn take(&self, now: Instant, requests: u64) -> bool {
        let mut window = self.window.lock();
        let fresh = || Window { begun: now, requests, retries: 0 };
        let window = window.get_or_insert_with(fresh);
        if now.saturating_duration_since(window.begun) >= WINDOW {
            *window = fresh();
        }
        let first = requests.saturating_sub(window.requests).saturating_sub(window.retries);
        let allowed = ALWAYS.saturating_add(first.saturating_mul(u64::from(self.written.budget)) / 100);
        let within = window.retries < allowed;
        window.retries += u64::from(within);
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(budget: u32) -> Retries {
        Retries::new(&Written {
            attempts: 2,
            connect_failure: true,
            reset: false,
            reset_once: true,
            statuses: vec![StatusCode::BAD_GATEWAY],
            budget,
        })
    }

    #[test]
    fn what_is_written_is_covered() {
        let retries = retries(20);
        for (failure, attempts, covered) in [
            (Failure::Connect, 1, true),
            (Failure::Connect, 2, true),
            (Failure::Connect, 3, false),
            (Failure::Reset { asks: false }, 1, false),
            (Failure::Reset { asks: true }, 1, true),
            (Failure::Reset { asks: true }, 2, false),
            (Failure::Status(StatusCode::BAD_GATEWAY), 1, true),
            (Failure::Status(StatusCode::SERVICE_UNAVAILABLE), 1, false),
        ] {
            assert_eq!(retries.covers(failure, attempts), covered, "{failure:?} {attempts}");
        }
    }

    #[test]
    fn retries_keep_to_their_budget() {
        let now = Instant::now();
        for (budget, firsts, most) in [(20, 1000, 210), (0, 1000, 10), (100, 50, 51), (20, 3, 3)] {
            let retries = retries(budget);
            let mut requests = 7;
            retries.take(now, requests);
            let mut taken = 1;
            requests += 1;
            // Everything fails; what the budget allows is tried again once.
            for _ in 0..firsts {
                requests += 1;
                if retries.take(now, requests) {
                    taken += 1;
                    requests += 1;
                }
            }
            let most = if firsts < 10 { firsts + 1 } else { most };
            assert!((taken as i64 - most as i64).abs() <= 1, "{budget} {firsts}: {taken}");
        }
    }

    #[test]
    fn the_budget_is_counted_anew() {
        let (retries, begin) = (retries(0), Instant::now());
        let taken = |at| (0..20).filter(|_| retries.take(at, 0)).count();
        assert_eq!((taken(begin), taken(begin + WINDOW / 2), taken(begin + WINDOW)), (10, 0, 10));
    }
}
