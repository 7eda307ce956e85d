//! The time that the body of a request on an HTTP/2 stream may take.
//!
//! Pingora reads such a body without a clock, and nothing of ours is asked while it waits for the client. So the
//! clock is outside: [`timed`] polls the future that serves the request. From within, [`begin_body`] starts the
//! clock and [`end_body`] stops it; when it runs out the future is dropped, which resets the stream.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Clone, Copy)]
enum Clock {
    Stopped,
    Until(Instant),
    /// It has run out: what serves the request is being dropped.
    Late,
}

thread_local! {
    /// The clock of the request that this thread polls right now.
    static CLOCK: Cell<Clock> = const { Cell::new(Clock::Stopped) };
}

/// From now on the rest of the request's body may take `time`.
pub fn begin_body(time: Duration) {
    CLOCK.set(Instant::now().checked_add(time).map_or(Clock::Stopped, Clock::Until));
}

/// The body has come.
pub fn end_body() {
    CLOCK.set(Clock::Stopped);
}

/// True where the request is being dropped because its body did not come in time.
pub fn is_late() -> bool {
    matches!(CLOCK.get(), Clock::Late)
}

/// Serves a request until it is done, or until its body is late.
pub(super) async fn timed<T>(serve: Pin<Box<dyn Future<Output = T> + Send + '_>>) {
    let (mut serve, mut clock) = (Some(serve), Clock::Stopped);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let Some(running) = &mut serve else { return Poll::Ready(()) };
        let outer = CLOCK.replace(clock);
        let polled = running.as_mut().poll(cx);
        clock = CLOCK.replace(outer);
        if polled.is_ready() {
            return Poll::Ready(());
        }
        let Clock::Until(deadline) = clock else { return Poll::Pending };
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        let outer = CLOCK.replace(Clock::Late);
        serve = None;
        CLOCK.set(outer);
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use tokio::time::sleep;

    /// Counts how it was dropped.
    struct Served(Arc<[AtomicUsize; 2]>);

    impl Drop for Served {
        fn drop(&mut self) {
            self.0[usize::from(is_late())].fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_body_that_does_not_end_is_cut() {
        let dropped = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let begun = Instant::now();
        let request = |body: u64, rest: u64| {
            let served = Served(dropped.clone());
            timed(Box::pin(async move {
                let _served = served;
                begin_body(Duration::from_secs(10));
                sleep(Duration::from_secs(body)).await;
                end_body();
                sleep(Duration::from_secs(rest)).await;
            }))
        };
        // Several on one thread: each has a clock of its own.
        tokio::join!(request(9, 100), request(50, 0), request(1, 1), request(60, 0));
        assert_eq!(begun.elapsed().as_secs(), 109);
        assert_eq!(dropped.each_ref().map(|count| count.load(Ordering::SeqCst)), [2, 2]);
        assert!(!is_late());
    }
}
