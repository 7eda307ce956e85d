//! How long a peer has kept us waiting.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a peer may have us wait before the least rate counts.
pub(super) const GRACE: Duration = Duration::from_secs(10);
/// The least rate of a body, either way, in bytes a second of waiting.
pub(super) const LEAST_RATE: u64 = 1024;

/// The time spent waiting for one peer to send, or to take, more. Time that we spend ourselves, or that the
/// origin makes us spend, does not count against the client.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    /// Something came, or went.
    pub(super) fn progress(&mut self) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Nothing came: ready once the waiting has lasted longer than `allowed` in all.
    pub(super) fn poll_exceeded(&mut self, cx: &mut Context<'_>, allowed: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let end = since + allowed.saturating_sub(self.waited);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx)
    }
}

/// What may be waited for a body of which `bytes` have passed.
pub(super) fn allowed(bytes: u64) -> Duration {
    GRACE + Duration::from_millis(bytes.saturating_mul(1000) / LEAST_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test(start_paused = true)]
    async fn only_waiting_counts() {
        let begun = Instant::now();
        let mut pace = Pace::default();
        let wait = async |pace: &mut Pace, seconds: u64| {
            let pace_wait = poll_fn(|cx| pace.poll_exceeded(cx, Duration::from_secs(10)));
            let result = tokio::time::timeout(Duration::from_secs(seconds), pace_wait).await;
            pace.progress();
            result.is_ok()
        };
        assert!(!wait(&mut pace, 6).await);
        tokio::time::advance(Duration::from_secs(100)).await; // our own time
        assert!(!wait(&mut pace, 3).await);
        assert!(wait(&mut pace, 3).await);
        assert!(begun.elapsed() < Duration::from_secs(111), "{:?}", begun.elapsed());
    }

    #[test]
    fn the_least_rate() {
        assert_eq!(allowed(0), Duration::from_secs(10));
        assert_eq!(allowed(10 * 1024), Duration::from_secs(20));
        assert!(allowed(u64::MAX) > Duration::from_secs(60));
    }
}
