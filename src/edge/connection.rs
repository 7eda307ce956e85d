//! One connection: wait for a head, read it strictly, let Pingora serve one request, again.

use super::{
    ConnInfo, EdgeEvents,
    framing::{self, Head, HeadLimits, MAX_EMPTY_LINES, Refusal},
    guard::Guard,
    http2,
    registry::{Live, Parked, Registry},
    stream,
    turns::Turns,
};
use crate::conf::model::Limits;
use bytes::Buf;
use pingora::{
    apps::HttpServerApp,
    protocols::{ALPN, Stream, http::ServerSession},
    proxy::{HttpProxy, ProxyHttp},
};
use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// The first bytes of an HTTP/2 connection (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a client has for the farewell of an HTTP/2 connection.
pub(super) const GOODBYE: Duration = Duration::from_secs(5);

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
    /// What has no key in the configuration.
    pub bounds: Bounds,
    /// TLS handshakes of the thread that this is for.
    pub handshakes: Turns,
}

/// What a connection may do that has no key in the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Requests, before it is closed.
    pub requests: usize,
    /// How long a client may take nothing of a response on an HTTP/2 stream.
    pub stalled: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { requests: 10_000, stalled: Duration::from_secs(30) }
    }
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
            // Boxed: the task of every connection would carry its size.
            Box::pin(http2::serve(&self, Guard::new(io, info.clone()), info, &limits, &live)).await;
        } else {
            self.http1(Guard::new(io, info.clone()), info, &limits, h2c, &live).await;
        }
    }

    async fn http1(
        self: &Arc<Self>,
        guard: Guard,
        info: Arc<ConnInfo>,
        limits: &Limits,
        h2c: bool,
        live: &Live,
    ) {
        for count in 1..=self.bounds.requests {
            let first = (count == 1).then(|| live.since + limits.header_timeout);
            let head = match self.head(&guard, live.parked(), limits, first, h2c).await {
                Next::Head(head) => head,
                Next::Http2 => {
                    return Box::pin(http2::serve(self, guard, info, limits, live)).await;
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
            let last = head.close || count == self.bounds.requests || *self.draining.borrow();
            let served = {
                let mut session = ServerSession::new_http1(Box::new(guard.clone()));
                session.set_pipelined_prefix(bytes);
                session.set_keepalive(if last { None } else { Some(limits.idle_timeout.as_secs().max(1)) });
                // Pingora answers `Connection: close` only where it is told that everything ends.
                let ending = (count == self.bounds.requests).then(|| watch::channel(true));
                let end = ending.as_ref().map_or(&self.draining, |(_, ending)| ending);
                // Boxed inside: what a request needs is there only while one is served.
                let serve = self.proxy.process_new_http(session, end);
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

    /// Waits for the next head. The wait holds nothing but the guard; the clock runs from the first byte. The `first`
    /// one must be here by then, from when the connection was accepted: a handshake takes of the same time.
    async fn head(
        &self,
        guard: &Guard,
        parked: &Parked,
        limits: &Limits,
        first: Option<Instant>,
        h2c: bool,
    ) -> Next {
        let idle = first.map_or(limits.idle_timeout, |first| first.saturating_duration_since(Instant::now()));
        if !self.more(guard, parked, Some(idle)).await {
            return Next::Closed;
        }
        let h2c = h2c && first.is_some();
        let mut progress = Progress::default();
        // Nearly every head comes whole: it needs no clock.
        if let Look::Done(next) = look(guard, limits, h2c, &mut progress) {
            return next;
        }
        let read = async {
            loop {
                if !self.more(guard, parked, None).await {
                    return Next::Closed;
                }
                if let Look::Done(next) = look(guard, limits, h2c, &mut progress) {
                    return next;
                }
            }
        };
        // A slow head can be evicted like an idle connection: it has nothing to lose yet.
        // Its own deadline ends it, with an answer: the reaper, which gives none, must not come first.
        let _ticket = parked.park(limits.header_timeout + GOODBYE);
        let end = first.unwrap_or_else(|| Instant::now() + limits.header_timeout);
        match timeout_at(end, read).await {
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

/// How far a head has been looked at.
#[derive(Default)]
struct Progress {
    /// Empty lines before it.
    empty: usize,
    /// Bytes of which it is known that they are no whole head.
    seen: usize,
}

fn look(guard: &Guard, limits: &Limits, h2c: bool, progress: &mut Progress) -> Look {
    let limits =
        HeadLimits { bytes: limits.header_bytes, count: limits.header_count, target: limits.uri_bytes };
    guard.peek(|buffer| {
        if h2c && !buffer.is_empty() {
            let length = buffer.len().min(PREFACE.len());
            if buffer.get(..length) == PREFACE.get(..length) {
                return if length == PREFACE.len() { Look::Done(Next::Http2) } else { Look::More };
            }
        }
        while buffer.starts_with(b"\r\n") && progress.empty < MAX_EMPTY_LINES {
            buffer.advance(2);
            progress.empty += 1;
        }
        if buffer.len() < 2 {
            return Look::More;
        }
        let seen = std::mem::replace(&mut progress.seen, buffer.len());
        if !framing::says_more(buffer, seen, &limits) {
            return Look::More;
        }
        match framing::scan(buffer, &limits) {
            Ok(Some(head)) => Look::Done(Next::Head(head)),
            Ok(None) => Look::More,
            Err(refusal) => Look::Done(Next::Refused(refusal)),
        }
    })
}
