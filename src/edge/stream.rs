//! What ends a request while Pingora waits and asks nothing of ours.
//!
//! Pingora reads a body from an HTTP/2 stream without a clock, waits for an origin's answer to one without an end,
//! and looks at no client at all while it connects to an origin. So what ends such a request is outside: [`watched`]
//! (for HTTP/1, whose guard keeps its own clocks, [`unless_gone`]) polls the future that serves it. From within, the
//! clocks are started and stopped. When one runs out while an origin is to answer, its connection is shut down: that
//! Pingora notices, and it has the failure answered, for which [`late`] has the reason. Where that is not to be had, or
//! the client leaves, the future is dropped, which resets an HTTP/2 stream and closes an HTTP/1 connection. The request's
//! context is told by [`cut`] why it is dropped.

use super::{exchange::extension, pace};
use nix::sys::socket::{Shutdown, SockaddrStorage, getsockname, shutdown};
use std::{
    cell::Cell,
    future::{Future, poll_fn},
    os::fd::RawFd,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a request waits for.
#[derive(Clone, Copy)]
struct Waits {
    /// How long it was waited for the first of its body, before it was served.
    waited: Duration,
    /// When its body must have come.
    body: Option<Instant>,
    /// When more of it must have come: it moves with what comes.
    more: Option<Instant>,
    /// When the origin must have answered.
    exchange: Option<Instant>,
    /// A connection to an origin is being made.
    connecting: bool,
    origin: Option<Origin>,
    /// What it took too long for; the answer that says so is being made.
    late: Option<Cut>,
    /// It is being dropped.
    cut: Option<Cut>,
    /// The client is to be told to go on.
    go_on: bool,
}

/// The connection that an origin is to answer on, which is this request's alone.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Its descriptor.
    pub connection: RawFd,
    /// Its own port. It is given where a task of Pingora's holds the connection, as HTTP/2 has it, which may have closed it
    /// since: then another one may have its number.
    pub port: Option<u16>,
}

/// Why a request is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Its body did not come in time.
    Body,
    /// The origin took longer than it may.
    Exchange,
    /// The client has left.
    Gone,
}

const NOTHING: Waits = Waits {
    waited: Duration::ZERO,
    body: None,
    more: None,
    exchange: None,
    connecting: false,
    origin: None,
    late: None,
    cut: None,
    go_on: false,
};

/// How long origins may keep the body of a request waiting, all together, beyond what is granted to the client.
const ORIGIN: Duration = Duration::from_secs(30);
/// How long it may take to answer that it is late.
const ANSWER: Duration = Duration::from_secs(2);

thread_local! {
    /// What the request waits for that this thread polls right now.
    static WAITS: Cell<Waits> = const { Cell::new(NOTHING) };
}

/// What is left of the time that the body of a request may take: it began to run when the head was there.
pub fn body_time(time: Duration) -> Duration {
    time.saturating_sub(WAITS.get().waited)
}

/// Tells a client that waits for it to send its body (RFC 9110 §10.1.1), where the request came over HTTP/2.
pub fn go_on() {
    WAITS.set(Waits { go_on: true, ..WAITS.get() });
}

/// From now on the rest of the request's body may take `time`, and must not come slower than the least rate. That it
/// may take longer by what an origin may keep it waiting: which of the two is waited for does not show.
pub fn begin_body(time: Duration) {
    let now = Instant::now();
    WAITS.set(Waits {
        body: now.checked_add(body_time(time)),
        more: now.checked_add(pace::GRACE + ORIGIN),
        ..WAITS.get()
    });
}

/// So much of the body has come.
pub fn body_came(bytes: usize) {
    let waits = WAITS.get();
    if let Some(more) = waits.more {
        WAITS.set(Waits { more: more.checked_add(extension(bytes as u64)), ..waits });
    }
}

/// The body has come.
pub fn end_body() {
    WAITS.set(Waits { body: None, more: None, ..WAITS.get() });
}

/// The exchange with the origin must be over by `end`; none: it has no end.
pub fn set_exchange_end(end: Option<std::time::Instant>) {
    WAITS.set(Waits { exchange: end.map(Instant::from_std), ..WAITS.get() });
}

/// While a connection to an origin is being made, a client that leaves ends the request.
pub fn set_connecting(connecting: bool) {
    WAITS.set(Waits { connecting, ..WAITS.get() });
}

/// The request has gone to an origin on this connection, which serves nobody else meanwhile; none from when its answer
/// begins or it has failed. Whoever sets it must take it back before the connection may serve others.
pub fn set_origin(connection: Option<Origin>) {
    WAITS.set(Waits { origin: connection, ..WAITS.get() });
}

/// What the request took too long for, where it has come to an end for that.
pub fn late() -> Option<Cut> {
    WAITS.get().late
}

/// Why the request is being dropped, where it is.
pub fn cut() -> Option<Cut> {
    WAITS.get().cut
}

/// Serves a request until it is done, or until it is cut: then there is nothing. Its body has been waited for already.
/// `gone` is ready once the client has left; it is asked only while a connection to an origin is being made. `tell` says
/// that the client may [`go_on`].
pub(super) async fn watched<T>(
    serve: Pin<Box<dyn Future<Output = T> + Send + '_>>,
    waited: Duration,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
    tell: impl Fn(),
) -> Option<T> {
    let (mut serve, mut waits) = (Some(serve), Waits { waited, ..NOTHING });
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let Some(running) = &mut serve else { return Poll::Ready(None) };
        let outer = WAITS.replace(waits);
        let polled = running.as_mut().poll(cx);
        waits = WAITS.replace(outer);
        if let Poll::Ready(done) = polled {
            return Poll::Ready(Some(done));
        }
        if std::mem::take(&mut waits.go_on) {
            tell();
        }
        let late = waits.next().filter(|(end, _)| rings(&mut timer, *end, cx)).map(|(_, cut)| cut);
        if let Some(late) = late
            && waits.fail_origin(late)
        {
            // The clock of the answer begins with the next look.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let left = || (waits.connecting && gone(cx).is_ready()).then_some(Cut::Gone);
        let Some(cut) = late.or_else(left) else { return Poll::Pending };
        end(&mut serve, cut);
        Poll::Ready(None)
    })
    .await
}

/// Serves a request of a connection that keeps its own clocks until it is done, or until the client is `gone`: then
/// there is nothing.
pub(super) async fn unless_gone<T>(
    serve: Pin<Box<dyn Future<Output = T> + Send + '_>>,
    mut gone: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> Option<T> {
    let mut serve = Some(serve);
    poll_fn(|cx| {
        let Some(running) = &mut serve else { return Poll::Ready(None) };
        if let Poll::Ready(done) = running.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        ready!(gone(cx));
        end(&mut serve, Cut::Gone);
        Poll::Ready(None)
    })
    .await
}

/// Drops what serves a request, and tells it why.
fn end<T>(serve: &mut Option<T>, cut: Cut) {
    let outer = WAITS.replace(Waits { cut: Some(cut), ..NOTHING });
    *serve = None;
    WAITS.set(outer);
}

impl Origin {
    fn is_there(&self) -> bool {
        let Some(port) = self.port else { return true };
        let Ok(own) = getsockname::<SockaddrStorage>(self.connection) else { return false };
        let (v4, v6) = (own.as_sockaddr_in(), own.as_sockaddr_in6());
        v4.map(|own| own.port()).or_else(|| v6.map(|own| own.port())) == Some(port)
    }
}

impl Waits {
    /// Ends the connection that an answer is waited for on; false where there is none, or there was one.
    fn fail_origin(&mut self, late: Cut) -> bool {
        let Some(origin) = self.origin.take() else { return false };
        if !origin.is_there() || shutdown(origin.connection, Shutdown::Both).is_err() {
            return false;
        }
        let end = Instant::now().checked_add(ANSWER);
        *self = Waits { late: Some(late), ..NOTHING };
        match late {
            Cut::Exchange => self.exchange = end,
            Cut::Body | Cut::Gone => self.body = end,
        }
        true
    }

    /// What ends first, and when.
    fn next(&self) -> Option<(Instant, Cut)> {
        let body = [self.body, self.more].into_iter().flatten().min().map(|end| (end, Cut::Body));
        let exchange = self.exchange.map(|end| (end, Cut::Exchange));
        match (body, exchange) {
            (Some(body), Some(exchange)) if exchange.0 < body.0 => Some(exchange),
            (None, exchange) => exchange,
            (body, _) => body,
        }
    }
}

/// True once `end` has come; else the task is woken then, or before. The timer is set anew only when it rings too
/// early or would ring too late: `end` moves with each piece of a response.
fn rings(timer: &mut Option<Pin<Box<Sleep>>>, end: Instant, cx: &mut Context<'_>) -> bool {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
    if timer.deadline() > end {
        timer.as_mut().reset(end);
    }
    while timer.as_mut().poll(cx).is_ready() {
        if timer.deadline() >= end {
            return true;
        }
        timer.as_mut().reset(end);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };
    use tokio::time::sleep;

    /// Counts why it was dropped: not cut, body, exchange, gone.
    struct Served(Arc<[AtomicUsize; 4]>);

    impl Drop for Served {
        fn drop(&mut self) {
            let index = cut().map_or(0, |cut| 1 + cut as usize);
            self.0[index].fetch_add(1, Ordering::SeqCst);
        }
    }

    const NEVER: fn(&mut Context<'_>) -> Poll<()> = |_| Poll::Pending;
    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn only_what_does_not_end_is_cut() {
        let dropped: Arc<[AtomicUsize; 4]> = Arc::default();
        let begun = Instant::now();
        let request = |body: u32, answer: u32, rest: u32| {
            let served = Served(dropped.clone());
            let serve = async move {
                let _served = served;
                begin_body(10 * SECOND);
                sleep(body * SECOND).await;
                end_body();
                set_exchange_end(Some((Instant::now() + 20 * SECOND).into_std()));
                sleep(answer * SECOND).await;
                set_exchange_end(None);
                sleep(rest * SECOND).await;
                7
            };
            watched(Box::pin(serve), Duration::ZERO, NEVER, || {})
        };
        // Several on one thread: each has clocks of its own.
        let done = tokio::join!(
            request(9, 19, 100),
            // Sooner than for want of anything that comes.
            request(30, 0, 0),
            request(1, 50, 1),
            request(60, 0, 0),
            request(9, 9, 9)
        );
        assert_eq!(done, (Some(7), None, None, None, Some(7)));
        assert_eq!(begun.elapsed().as_secs(), 128);
        assert_eq!(dropped.each_ref().map(|count| count.load(Ordering::SeqCst)), [2, 2, 1, 0]);
        assert_eq!(cut(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_cut_however_long_it_may_take() {
        for (bytes, ends) in [(10, Some(40)), (512, Some(79)), (1024, None)] {
            let begun = Instant::now();
            let serve = async {
                begin_body(3600 * SECOND);
                for _ in 0..300 {
                    sleep(SECOND).await;
                    body_came(bytes);
                }
                end_body();
                sleep(100 * SECOND).await;
            };
            let done = watched(Box::pin(serve), Duration::ZERO, NEVER, || {}).await;
            assert_eq!(done.is_none().then(|| begun.elapsed().as_secs()), ends, "{bytes}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_moves_is_kept() {
        for (step, ends) in [(2, None), (0, Some(3))] {
            let begun = Instant::now();
            let serve = async {
                for second in 0..10 {
                    set_exchange_end(Some((begun + 3 * SECOND + second * step * SECOND).into_std()));
                    sleep(SECOND).await;
                }
            };
            let done = watched(Box::pin(serve), Duration::ZERO, NEVER, || {}).await;
            assert_eq!(done.is_none().then(|| begun.elapsed().as_secs()), ends, "{step}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_is_noticed_while_a_connection_is_made_and_no_longer() {
        for (connecting, cut) in [(true, true), (false, false)] {
            let dropped: Arc<[AtomicUsize; 4]> = Arc::default();
            let served = Served(dropped.clone());
            let serve = async move {
                let _served = served;
                set_connecting(true);
                if !connecting {
                    set_connecting(false);
                }
                sleep(5 * SECOND).await;
            };
            let mut left = Box::pin(sleep(SECOND));
            let done = watched(Box::pin(serve), Duration::ZERO, |cx| left.as_mut().poll(cx), || {}).await;
            assert_eq!(done.is_none(), cut);
            assert_eq!(dropped[3].load(Ordering::SeqCst), usize::from(cut));
        }
    }
}
