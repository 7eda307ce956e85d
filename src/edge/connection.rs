//! One connection: wait for a head, read it strictly, let Pingora serve one request, again.

use super::{
    CONNECTION, ConnInfo, EdgeEvents,
    frames::Refused,
    framing::{self, Head, HeadLimits, MAX_EMPTY_LINES, Refusal},
    guard::Guard,
    registry::{Live, Parked, Registry},
    stream,
};
use crate::conf::model::Limits;
use bytes::Buf;
use pingora::{
    apps::HttpServerApp,
    protocols::{
        ALPN, Digest, Stream,
        http::{ServerSession, v2::server},
    },
    proxy::{HttpProxy, ProxyHttp},
};
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

type Connection = h2::server::Connection<Stream, bytes::Bytes>;

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Requests of one connection, before it is closed.
const MAX_REQUESTS: usize = 10_000;
/// Streams of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 100;
/// Requests of one HTTP/2 connection that may be malformed.
const MAX_MALFORMED: usize = 32;
/// What a client has for the farewell of an HTTP/2 connection.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a client may take nothing of a response on an HTTP/2 stream.
const STALLED: Duration = Duration::from_secs(30);

/// What all connections share.
pub struct Shared<P> {
    /// Serves requests.
    pub proxy: Arc<HttpProxy<P>>,
    /// Counts connections.
    pub registry: Arc<Registry>,
    /// Is told of what is refused.
    pub events: Arc<dyn EdgeEvents>,
    /// True once this process drains: answers close their connection.
    pub draining: watch::Receiver<bool>,
}

impl<P> Shared<P>
where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    /// Serves a connection until it ends.
    pub(super) async fn serve(
        self: Arc<Self>,
        io: Stream,
        info: Arc<ConnInfo>,
        limits: Arc<Limits>,
        h2c: bool,
        live: Live,
    ) {
        if matches!(io.selected_alpn_proto(), Some(ALPN::H2)) {
            self.http2(Guard::new(io, info.clone()), info, &limits, live.parked()).await;
        } else {
            self.http1(Guard::new(io, info.clone()), info, &limits, h2c, live.parked()).await;
        }
    }

    async fn http1(
        self: &Arc<Self>,
        guard: Guard,
        info: Arc<ConnInfo>,
        limits: &Limits,
        h2c: bool,
        parked: &Parked,
    ) {
        for count in 1..=MAX_REQUESTS {
            let head = match self.head(&guard, parked, limits, count == 1, h2c).await {
                Next::Head(head) => head,
                Next::Http2 => {
                    // Boxed: most connections never get here, and each task would carry its size.
                    return Box::pin(self.http2(guard, info, limits, parked)).await;
                }
                Next::Refused(refusal) => {
                    let seen = guard
                        .peek(|buffer| buffer.get(..buffer.len().min(2048)).unwrap_or_default().to_vec());
                    let answer = self.events.refused(&info, refusal, &seen).await;
                    return guard.refuse(&answer).await;
                }
                Next::Closed => return,
            };
            let bytes = guard.begin(head.length, head.framing);
            let last = head.close || count == MAX_REQUESTS || *self.draining.borrow();
            let served = {
                let mut session = ServerSession::new_http1(Box::new(guard.clone()));
                session.set_pipelined_prefix(bytes);
                session.set_keepalive(if last { None } else { Some(limits.idle_timeout.as_secs().max(1)) });
                // Boxed inside: what a request needs is there only while one is served.
                let serve = self.proxy.process_new_http(session, &self.draining);
                stream::unless_gone(serve, |cx| guard.poll_left(cx)).await.flatten()
            };
            if served.is_none() {
                return guard.finish().await;
            }
            if !guard.next_request() || last {
                return;
            }
        }
    }

    /// Waits for the next head. The wait holds nothing but the guard; the clock runs from the first byte.
    /// Before the `first` one the client has the time of a head to say anything at all.
    async fn head(&self, guard: &Guard, parked: &Parked, limits: &Limits, first: bool, h2c: bool) -> Next {
        let idle = if first { limits.header_timeout } else { limits.idle_timeout };
        if !self.more(guard, parked, Some(idle)).await {
            return Next::Closed;
        }
        let h2c = h2c && first;
        let mut empty = 0;
        // Nearly every head comes whole: it needs no clock.
        if let Look::Done(next) = look(guard, limits, h2c, &mut empty) {
            return next;
        }
        let read = async {
            loop {
                if !self.more(guard, parked, None).await {
                    return Next::Closed;
                }
                if let Look::Done(next) = look(guard, limits, h2c, &mut empty) {
                    return next;
                }
            }
        };
        // A slow head can be evicted like an idle connection: it has nothing to lose yet.
        // Its own deadline ends it, with an answer: the reaper, which gives none, must not come first.
        let _ticket = parked.park(limits.header_timeout + GOODBYE);
        match timeout(limits.header_timeout, read).await {
            Ok(next) => next,
            Err(_) => Next::Refused(Refusal { status: 408, reason: "header_timeout" }),
        }
    }

    /// Reads more, or for one that is `idle` waits that long until something is there; false where the connection ended
    /// or was evicted.
    async fn more(&self, guard: &Guard, parked: &Parked, idle: Option<Duration>) -> bool {
        let mut ticket = None;
        poll_fn(|cx| {
            match guard.poll_fill(cx, idle.is_some()) {
                Poll::Ready(Ok(count)) => return Poll::Ready(count > 0),
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => {}
            }
            if parked.poll_evicted(cx).is_ready() {
                return Poll::Ready(false);
            }
            if let (None, Some(idle)) = (&ticket, idle) {
                ticket = Some(parked.park(idle));
            }
            Poll::Pending
        })
        .await
    }

    async fn http2(self: &Arc<Self>, guard: Guard, info: Arc<ConnInfo>, limits: &Limits, parked: &Parked) {
        guard.set_http2(limits.header_count);
        let io: Stream = Box::new(guard.clone());
        let digest = Arc::new(Digest {
            ssl_digest: io.get_ssl_digest(),
            timing_digest: io.get_timing_digest(),
            proxy_digest: io.get_proxy_digest(),
            socket_digest: io.get_socket_digest(),
        });
        let mut options = server::default_h2_options();
        options.max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX));
        options.max_concurrent_streams(MAX_STREAMS);
        let Ok(Ok(mut connection)) =
            timeout(limits.header_timeout, server::handshake(io, Some(options))).await
        else {
            return;
        };
        let active = Arc::new(Active::default());
        let mut draining = self.draining.clone();
        let (mut told, mut malformed, mut ticket) = (false, 0, None);
        // It is dropped when the connection has ended.
        let (_open, closed) = watch::channel(());
        loop {
            let waiting = ticket.is_some();
            if *draining.borrow() && !told {
                connection.graceful_shutdown();
                told = true;
            }
            let idle = async {
                active.wait_idle().await;
                tokio::time::sleep(if told { GOODBYE } else { limits.idle_timeout }).await;
            };
            let accepted = tokio::select! {
                biased;
                accepted = server::HttpSession::from_h2_conn(&mut connection, digest.clone()) => accepted,
                _ = draining.changed(), if !told => continue,
                () = idle => {
                    // A client that does not answer the farewell is not waited for.
                    if told {
                        return;
                    }
                    connection.graceful_shutdown();
                    told = true;
                    continue;
                }
                refusal = violated(&guard) => {
                    let _ = self.events.refused(&info, refusal, &[]).await;
                    return dismiss(&mut connection).await;
                }
                refused = refused(&guard) => {
                    self.refused(&info, refused).await;
                    continue;
                }
                () = active.wait_idle(), if !waiting => {
                    ticket = Some(parked.park(limits.idle_timeout + GOODBYE));
                    continue;
                }
                () = poll_fn(|cx| parked.poll_evicted(cx)), if waiting => return,
            };
            match accepted {
                Ok(Some(server::H2Accept::Session(mut session))) => {
                    drop(ticket.take());
                    session.set_write_timeout(Some(STALLED));
                    let busy = active.enter();
                    let (shared, closed) = (self.clone(), closed.clone());
                    let serve = async move {
                        let session = ServerSession::new_http2(session);
                        let serve = shared.proxy.process_new_http(session, &shared.draining);
                        stream::watched(serve, left(closed)).await;
                        drop(busy);
                    };
                    tokio::spawn(CONNECTION.scope(info.clone(), serve));
                }
                Ok(Some(_)) => {
                    // Its answer, or its reset, goes out with the next look at the connection, and is seen there.
                    malformed += 1;
                    if malformed > MAX_MALFORMED {
                        return;
                    }
                }
                Ok(None) | Err(_) => return self.refused(&info, guard.take_refused()).await,
            }
        }
    }

    /// Records requests of HTTP/2 that were refused before there was a request: nothing else is known of them.
    async fn refused(&self, info: &ConnInfo, refused: Refused) {
        let malformed = Refusal { status: 400, reason: "http2_malformed" };
        let too_large = Refusal { status: 431, reason: "header_bytes" };
        for (count, refusal) in [(refused.malformed, malformed), (refused.too_large, too_large)] {
            for _ in 0..count {
                // The client has its answer already, or its reset.
                let _ = self.events.refused(info, refusal, &[]).await;
            }
        }
    }
}

/// Ready once the connection has done more than it may. That shows while its frames are read: nothing else wakes it.
async fn violated(guard: &Guard) -> Refusal {
    poll_fn(|_| guard.violation().map_or(Poll::Pending, Poll::Ready)).await
}

/// Ready once something was refused below us. That shows while frames are written.
async fn refused(guard: &Guard) -> Refused {
    poll_fn(|_| match guard.take_refused() {
        refused if refused == Refused::default() => Poll::Pending,
        refused => Poll::Ready(refused),
    })
    .await
}

/// Tells the client why it has to go, as far as it listens.
async fn dismiss(connection: &mut Connection) {
    connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM);
    // Whether it has read that makes no difference.
    let _ = timeout(GOODBYE, poll_fn(|cx| connection.poll_closed(cx))).await;
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

enum Next {
    Head(Head),
    Http2,
    Refused(Refusal),
    Closed,
}

enum Look {
    Done(Next),
    More,
}

fn look(guard: &Guard, limits: &Limits, h2c: bool, empty: &mut usize) -> Look {
    let limits =
        HeadLimits { bytes: limits.header_bytes, count: limits.header_count, target: limits.uri_bytes };
    guard.peek(|buffer| {
        if h2c && !buffer.is_empty() {
            let length = buffer.len().min(PREFACE.len());
            if buffer.get(..length) == PREFACE.get(..length) {
                return if length == PREFACE.len() { Look::Done(Next::Http2) } else { Look::More };
            }
        }
        while buffer.starts_with(b"\r\n") && *empty < MAX_EMPTY_LINES {
            buffer.advance(2);
            *empty += 1;
        }
        if buffer.len() < 2 {
            return Look::More;
        }
        match framing::scan(buffer, &limits) {
            Ok(Some(head)) => Look::Done(Next::Head(head)),
            Ok(None) => Look::More,
            Err(refusal) => Look::Done(Next::Refused(refusal)),
        }
    })
}

/// Streams of an HTTP/2 connection that are being served.
#[derive(Default)]
struct Active {
    count: AtomicUsize,
    idle: Notify,
}

struct Busy(Arc<Active>);

impl Active {
    fn enter(self: &Arc<Self>) -> Busy {
        self.count.fetch_add(1, Ordering::AcqRel);
        Busy(self.clone())
    }

    async fn wait_idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.count.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}
