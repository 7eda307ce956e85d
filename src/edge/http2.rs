//! One HTTP/2 connection: its streams go to Pingora one by one, what it may do besides is here.

mod active;
pub(super) mod farewell;
mod lobby;

use super::{
    CONNECTION, ConnInfo, Guard, Refusal,
    connection::{GOODBYE, Shared},
    frames::Refused,
    registry::Live,
    stream,
};
use crate::conf::model::Limits;
use active::Active;
use http::header;
use pingora::{
    apps::HttpServerApp,
    protocols::{
        Digest, Stream,
        http::{
            ServerSession,
            v2::server::{self, H2Accept, HttpSession},
        },
    },
    proxy::ProxyHttp,
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout, timeout_at},
};

type H2 = h2::server::Connection<Stream, bytes::Bytes>;

/// Streams of a connection at once.
const MAX_STREAMS: u32 = 100;
/// Requests of a connection that may be malformed.
const MAX_MALFORMED: usize = 32;
/// Streams that were reset here and are remembered for a moment, for what the client had on its way.
const MAX_RESET: usize = 10;
/// What waits to be sent on one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// What comes next on a connection.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
enum Event {
    Stream(HttpSession),
    /// A stream that h2 or Pingora has refused already: its answer, or its reset, goes out with the next look at the
    /// connection, and is seen there.
    Malformed,
    /// What was refused so has gone out.
    Refused(Refused),
    Closed,
    Draining,
    /// All streams have ended.
    Waits,
    /// It has waited as long as it may.
    Idle,
    Evicted,
    Violated(Refusal),
}

/// A connection, with what is to be known between two events.
struct Http2<'c, P> {
    shared: &'c Arc<Shared<P>>,
    guard: &'c Guard,
    info: Arc<ConnInfo>,
    limits: &'c Limits,
    h2: H2,
    digest: Arc<Digest>,
    active: Arc<Active>,
    draining: watch::Receiver<bool>,
    /// Until when the first request must have come; none once it has.
    first: Option<Instant>,
    requests: usize,
    malformed: usize,
    /// Streams that h2 has handed over.
    taken: usize,
    /// The client was told to open no more streams.
    told: bool,
    /// It is dropped when the connection has ended.
    open: watch::Sender<()>,
}

/// Serves a connection until it ends. What comes before the first request may take the time of one head, from when
/// the connection was accepted; until then it can be evicted like one that is idle.
pub(super) async fn serve<P>(
    shared: &Arc<Shared<P>>,
    guard: Guard,
    info: Arc<ConnInfo>,
    limits: &Limits,
    live: &Live,
) where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    guard.set_http2(limits.header_count);
    let first = live.since + limits.header_timeout;
    let io: Stream = Box::new(guard.clone());
    let digest = digest(&io);
    let parked = live.parked();
    let mut ticket = Some(parked.park(limits.header_timeout + GOODBYE));
    let h2 = tokio::select! {
        biased;
        () = poll_fn(|cx| parked.poll_evicted(cx)) => return,
        h2 = timeout_at(first, server::handshake(io, Some(options(limits)))) => h2,
    };
    let Ok(Ok(h2)) = h2 else { return };
    let mut connection = Http2 {
        shared,
        guard: &guard,
        info,
        limits,
        h2,
        digest,
        active: Arc::default(),
        draining: shared.draining.clone(),
        first: Some(first),
        requests: 0,
        malformed: 0,
        taken: 0,
        told: false,
        open: watch::channel(()).0,
    };
    loop {
        if *connection.draining.borrow() {
            connection.say_goodbye();
        }
        let evicted = poll_fn(|cx| parked.poll_evicted(cx));
        match connection.next(ticket.is_some(), evicted).await {
            Event::Stream(session) => {
                drop(ticket.take());
                connection.begin(session).await;
            }
            Event::Malformed if connection.count_malformed() => {}
            Event::Refused(refused) => connection.refused(refused).await,
            Event::Draining => {}
            Event::Waits => ticket = Some(parked.park(limits.idle_timeout + GOODBYE)),
            // A client that does not answer the farewell is not waited for.
            Event::Idle if !connection.told => connection.say_goodbye(),
            Event::Violated(refusal) => return connection.dismiss(refusal).await,
            Event::Closed => return connection.refused(guard.take_refused()).await,
            Event::Malformed | Event::Idle | Event::Evicted => return,
        }
    }
}

fn digest(io: &Stream) -> Arc<Digest> {
    Arc::new(Digest {
        ssl_digest: io.get_ssl_digest(),
        timing_digest: io.get_timing_digest(),
        proxy_digest: io.get_proxy_digest(),
        socket_digest: io.get_socket_digest(),
    })
}

fn options(limits: &Limits) -> server::H2Options {
    let mut options = server::default_h2_options();
    options.max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
    options.max_concurrent_streams(MAX_STREAMS);
    options.max_send_buffer_size(SEND_BUFFER);
    options.max_concurrent_reset_streams(MAX_RESET);
    options
}

impl<P> Http2<'_, P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    /// Waits for what comes next. `waiting`: the connection is parked, and may be evicted.
    async fn next(&mut self, waiting: bool, evicted: impl Future<Output = ()>) -> Event {
        let (active, told, first) = (&self.active, self.told, self.first);
        let idle_timeout = self.limits.idle_timeout;
        let idle = async {
            active.wait_idle().await;
            match first {
                _ if told => sleep(GOODBYE).await,
                Some(first) => sleep_until(first).await,
                None => sleep(idle_timeout).await,
            }
        };
        tokio::select! {
            biased;
            accepted = HttpSession::from_h2_conn(&mut self.h2, self.digest.clone()) => match accepted {
                Ok(Some(H2Accept::Session(session))) => Event::Stream(session),
                Ok(Some(_)) => Event::Malformed,
                Ok(None) | Err(_) => Event::Closed,
            },
            refusal = violated(self.guard, self.limits.header_timeout) => Event::Violated(refusal),
            refused = refused(self.guard) => Event::Refused(refused),
            _ = self.draining.changed(), if !told => Event::Draining,
            () = idle => Event::Idle,
            () = active.wait_idle(), if !waiting => Event::Waits,
            () = evicted, if waiting => Event::Evicted,
        }
    }

    /// Serves a stream in a task of its own.
    async fn begin(&mut self, mut session: HttpSession) {
        self.first = None;
        self.taken += 1;
        let expects = session.req_header().headers.contains_key(header::EXPECT);
        let stream = if expects { self.guard.last_taken(self.taken) } else { None };
        let unpaid = if session.is_body_done() { None } else { self.guard.unfinished_requests() };
        let Some(busy) = self.active.enter(session.req_header(), unpaid) else {
            let refusal = Refusal { status: 503, reason: "http2_fields" };
            // The client has a reset for an answer.
            let _ = self.shared.events.refused(&self.info, refusal, &[]).await;
            return session.shutdown_with_reason(h2::Reason::REFUSED_STREAM);
        };
        self.requests += 1;
        if self.requests >= self.shared.bounds.requests {
            self.say_goodbye();
        }
        session.set_write_timeout(Some(self.shared.bounds.stalled));
        let (shared, closed) = (self.shared.clone(), self.open.subscribe());
        let guard = self.guard.clone();
        let (active, time) = (self.active.clone(), self.limits.header_timeout.min(self.limits.body_timeout));
        let serve = async move {
            let (waited, _place) = lobby::wait(&mut session, &active, time).await;
            let session = ServerSession::new_http2(session);
            let serve = shared.proxy.process_new_http(session, &shared.draining);
            let go_on = || {
                if stream.is_some_and(|stream| guard.go_on(stream)) {
                    active.nudge();
                }
            };
            stream::watched(serve, waited, left(closed), go_on).await;
            drop(busy);
        };
        tokio::spawn(CONNECTION.scope(self.info.clone(), serve));
    }

    /// False where there have been too many.
    fn count_malformed(&mut self) -> bool {
        (self.malformed, self.taken) = (self.malformed + 1, self.taken + 1);
        self.malformed <= MAX_MALFORMED
    }

    /// Records requests that were refused before there was a request: nothing else is known of them.
    async fn refused(&self, refused: Refused) {
        let malformed = Refusal { status: 400, reason: "http2_malformed" };
        let too_large = Refusal { status: 431, reason: "header_bytes" };
        for (count, refusal) in [(refused.malformed, malformed), (refused.too_large, too_large)] {
            for _ in 0..count {
                // The client has its answer already, or its reset.
                let _ = self.shared.events.refused(&self.info, refusal, &[]).await;
            }
        }
    }

    /// Asks the client to open no more streams; those that are open end.
    fn say_goodbye(&mut self) {
        if !self.told {
            self.h2.graceful_shutdown();
            self.told = true;
        }
    }

    /// Tells the client why it has to go, as far as it listens.
    async fn dismiss(&mut self, refusal: Refusal) {
        let answer = self.shared.events.refused(&self.info, refusal, &[]).await;
        if refusal.status == 408
            && let Some(stream) = self.guard.unfinished_head()
            && let Some(frames) = farewell::answer(stream, &answer)
        {
            // As far as it listens.
            let _ = timeout(GOODBYE, self.guard.clone().write_all(&frames)).await;
        }
        self.h2.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
        // Whether it has read that makes no difference.
        let _ = timeout(GOODBYE, poll_fn(|cx| self.h2.poll_closed(cx))).await;
    }
}

/// Ready once the connection has done more than it may, or has not ended what it began in the time of a head. That
/// shows while its frames are read, in this very task: nothing else wakes it.
async fn violated(guard: &Guard, time: Duration) -> Refusal {
    let mut timer = None;
    poll_fn(|cx| {
        if let Some(refusal) = guard.violation() {
            return Poll::Ready(refusal);
        }
        // It is looked at only when no request waits to be accepted.
        if guard.resume() {
            cx.waker().wake_by_ref();
        }
        let Some(since) = guard.unfinished() else { return Poll::Pending };
        let end = since + time;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx).map(|()| Refusal { status: 408, reason: "header_timeout" })
    })
    .await
}

/// Ready once something was refused below us. That shows while frames are written.
async fn refused(guard: &Guard) -> Refused {
    poll_fn(|_| match guard.take_refused() {
        refused if refused == Refused::default() => Poll::Pending,
        refused => Poll::Ready(refused),
    })
    .await
}

/// Ready once the HTTP/2 connection has ended.
fn left(closed: watch::Receiver<()>) -> impl FnMut(&mut Context<'_>) -> Poll<()> {
    let mut waiting: Option<Pin<Box<dyn Future<Output = ()> + Send>>> = None;
    move |cx| {
        let waiting = waiting.get_or_insert_with(|| {
            let mut closed = closed.clone();
            // Nothing is ever sent: it only ends.
            Box::pin(async move { while closed.changed().await.is_ok() {} })
        });
        waiting.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What clients are not told of, and see nothing of.
    #[test]
    fn what_is_held_for_a_connection_is_bounded() {
        let options = format!("{:?}", options(&Limits::default()));
        for bound in ["max_send_buffer_size: 65536", "reset_stream_max: 10"] {
            assert!(options.contains(&format!(" {bound},")), "{bound}: {options}");
        }
    }
}
