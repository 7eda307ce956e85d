//! How long an exchange with an origin may take in all.

use super::pace::LEAST_RATE;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// The time of one exchange: from the end of the request to the end of the response. What has been sent of the
/// response extends it by the time that it takes at the least rate, so that a long download is not cut, and a
/// trickle is.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    total: Option<Duration>,
    begun: Option<Instant>,
    /// Stays from request to request: set anew only when it rings, it costs next to nothing.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Exchange {
    /// A new exchange, which may take so long; none: without end.
    pub(super) fn begin(&mut self, total: Option<Duration>) {
        (self.total, self.begun) = (total, None);
    }

    /// Ready once the time is over; `sent` bytes of the response have gone to the client. The time counts from
    /// the first call.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, sent: u64) -> Poll<()> {
        let Some(total) = self.total else { return Poll::Pending };
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let Some(end) = begun.checked_add(total.saturating_add(extension(sent))) else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() > end {
            timer.as_mut().reset(end);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= end {
                return Poll::Ready(());
            }
            // It was set for an earlier request, or before more of the response went out.
            timer.as_mut().reset(end);
        }
        Poll::Pending
    }
}

/// What `sent` bytes of a response add to the time that it may take.
pub(crate) fn extension(sent: u64) -> Duration {
    Duration::from_millis(sent.saturating_mul(1000) / LEAST_RATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    const TOTAL: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn the_time_counts_from_the_first_look() {
        let mut exchange = Exchange::default();
        exchange.begin(Some(TOTAL));
        tokio::time::advance(Duration::from_secs(60)).await;
        let begun = Instant::now();
        poll_fn(|cx| exchange.poll_over(cx, 0)).await;
        assert_eq!(begun.elapsed().as_secs(), 15);
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_has_its_own_time() {
        let mut exchange = Exchange::default();
        for (total, waits) in [(15, 3), (15, 14), (2, 1)] {
            exchange.begin(Some(Duration::from_secs(total)));
            let over = poll_fn(|cx| exchange.poll_over(cx, 0));
            assert!(tokio::time::timeout(Duration::from_secs(waits), over).await.is_err(), "{total}");
        }
        let begun = Instant::now();
        poll_fn(|cx| exchange.poll_over(cx, 0)).await;
        assert_eq!(begun.elapsed().as_secs(), 1);
        exchange.begin(None);
        let over = poll_fn(|cx| exchange.poll_over(cx, 0));
        assert!(tokio::time::timeout(Duration::from_secs(3600), over).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_download_goes_on_and_a_trickle_does_not() {
        for (bytes_a_second, ends) in [(2048, None), (1, Some(15)), (512, Some(29))] {
            let mut exchange = Exchange::default();
            exchange.begin(Some(TOTAL));
            let begun = Instant::now();
            let over = poll_fn(|cx| exchange.poll_over(cx, begun.elapsed().as_secs() * bytes_a_second));
            let over = tokio::time::timeout(Duration::from_secs(600), over).await.is_ok();
            let seconds = begun.elapsed().as_secs();
            assert_eq!(over.then_some(seconds), ends, "{bytes_a_second}");
        }
    }
}
