//! Our own stream between the socket (TCP or TLS) and Pingora.

mod http2;
mod inner;
mod parts;
mod stream;

use super::{
    ConnInfo,
    exchange::Exchange,
    framing::{Framing, Refusal},
    held::Held,
    pace::Pace,
};
use crate::budget::{Collector, NoRoom, Share};
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use pingora::{protocols::Stream, proxy::Session};
use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    time::{Instant, Sleep},
};

const READ: usize = 16 * 1024;
/// What is read of a client that is still sending after its answer, so that it can read the answer.
const LINGER_BYTES: usize = 256 * 1024;
const LINGER: Duration = Duration::from_secs(1);
/// How long a client that has closed its sending side may wait for its answer. It cannot be told from one that
/// has left until something is written to it; so it is believed for this long, and longer once it is answered.
const HALF_CLOSED: Duration = Duration::from_secs(3);
/// How long a client may take nothing of a response, besides what its rate allows.
const STALLED: Duration = Duration::from_secs(20);

/// The origin took longer than it may.
const EXCHANGE_OVER: Refusal = Refusal { status: 504, reason: "upstream_total_timeout" };

/// The stream of one HTTP/1 connection: follows the framing of each body strictly, and never shows Pingora a
/// byte of the next request. Handles are shared; Pingora holds one, the proxy another.
#[derive(Clone)]
pub struct Guard(Arc<Whole>);

struct Whole {
    connection: Arc<ConnInfo>,
    /// True while a connection to an origin is being made: Pingora does not look at the client then.
    connecting: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    io: Stream,
    /// Bytes that were read and not yet taken.
    buffer: BytesMut,
    held: Held,
    framing: Framing,
    closed: bool,
    /// Content of the current body that Pingora has read.
    content: u64,
    limit: u64,
    /// When the body must be here; once the client has closed its side, when it is taken for gone.
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    exchange: Exchange,
    violation: Option<Refusal>,
    upgrade: Upgrade,
    /// Who waits to read while the upgrade is not decided.
    waiting: Option<Waker>,
    reading: Pace,
    writing: Pace,
    written: u64,
    /// Of that, what is held to the least rate now.
    measured: u64,
}

/// Whether the connection is to leave HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    /// The answer is still to come.
    Asked,
    /// Not asked for, refused, or done.
    Settled,
}

/// Why the next piece of a body did not come.
enum NoBody {
    Late,
    Gone(io::Error),
}

/// Why a body could not be read ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// It is longer than allowed.
    TooLarge,
    /// Other bodies take all the memory that bodies may.
    Full,
    /// Its framing is broken; the reason code.
    Malformed(&'static str),
    /// It did not come in time.
    Timeout,
    /// The client left.
    Closed,
}

impl From<NoRoom> for Ahead {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::TooLarge => Ahead::TooLarge,
            NoRoom::Full => Ahead::Full,
        }
    }
}

impl Guard {
    /// Wraps a connection.
    pub fn new(io: Stream, connection: Arc<ConnInfo>) -> Self {
        let inner = Mutex::new(Inner {
            io,
            buffer: BytesMut::new(),
            held: Held::default(),
            framing: Framing::Length(0),
            closed: false,
            content: 0,
            limit: u64::MAX,
            deadline: None,
            timer: None,
            exchange: Exchange::default(),
            violation: None,
            upgrade: Upgrade::Settled,
            waiting: None,
            reading: Pace::default(),
            writing: Pace::default(),
            written: 0,
            measured: 0,
        });
        Guard(Arc::new(Whole { connection, connecting: AtomicBool::new(false), inner }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock()
    }

    /// The connection.
    pub fn connection(&self) -> &Arc<ConnInfo> {
        &self.0.connection
    }

    /// The guard of the connection that a session runs on; none for HTTP/2.
    pub fn of(session: &Session) -> Option<Guard> {
        Guard::borrowed(session).cloned()
    }

    pub(super) fn borrowed(session: &Session) -> Option<&Guard> {
        session.stream()?.as_any().downcast_ref::<Guard>()
    }

    /// What the current body may be, and how long it may take from now. What it says of its length comes back.
    pub fn set_body_limit(&self, bytes: u64, time: Duration) -> Option<u64> {
        let mut inner = self.lock();
        inner.limit = bytes;
        if !inner.framing.is_endless() && !inner.framing.is_done() {
            inner.deadline = Instant::now().checked_add(time);
        }
        match inner.framing {
            Framing::Length(left) => Some(inner.content + left),
            Framing::Chunked(_) | Framing::Raw | Framing::Http2(_) => None,
        }
    }

    /// How long the origin may take from the end of the request on; none: without end.
    pub fn set_exchange_time(&self, total: Option<Duration>) {
        self.lock().exchange.begin(total);
    }

    /// True where the request's head, read strictly, asks to leave HTTP for a WebSocket, and is not answered yet.
    pub(super) fn asks_to_upgrade(&self) -> bool {
        self.lock().upgrade == Upgrade::Asked
    }

    /// Why reading failed, where the connection was not at fault: the body, or the time of the exchange.
    pub fn violation(&self) -> Option<Refusal> {
        self.lock().violation
    }

    /// True where all of the current body is here, in good order and within its limit, read or not.
    pub fn has_whole_body(&self) -> bool {
        let inner = self.lock();
        inner.violation.is_none() && inner.whole_body().is_some_and(|content| content <= inner.limit)
    }

    /// True where the connection can take another request: the body was read to its end.
    pub(super) fn next_request(&self) -> bool {
        let mut inner = self.lock();
        let ready = inner.framing.is_done() && inner.violation.is_none() && !inner.closed;
        inner.framing = Framing::Length(0);
        inner.timer = None;
        inner.deadline = None;
        ready
    }

    /// Takes a head off the buffer and begins its body.
    pub(super) fn begin(&self, head: usize, framing: Framing) -> BytesMut {
        self.set_connecting(false);
        let mut inner = self.lock();
        // Until the answer is a 101 what follows is the next request, if anything.
        (inner.framing, inner.upgrade) = match framing {
            Framing::Raw => (Framing::Length(0), Upgrade::Asked),
            framing => (framing, Upgrade::Settled),
        };
        inner.content = 0;
        inner.limit = u64::MAX;
        inner.exchange.begin(None);
        (inner.reading, inner.writing) = (Pace::default(), Pace::default());
        (inner.written, inner.measured) = (0, 0);
        // An empty buffer keeps no memory while the connection waits.
        if head >= inner.buffer.len() {
            std::mem::take(&mut inner.buffer)
        } else {
            inner.buffer.split_to(head)
        }
    }

    /// Ends the connection after Pingora has let go of it. Where the request was not read to its end, the
    /// client is given a moment to read the answer.
    pub(super) async fn finish(&self) {
        let (read, gone) = {
            let mut inner = self.lock();
            if !inner.held.is_empty() {
                // Pingora gave up in the middle of a response: what it wrote of it goes out, as far as it does.
                let _ = inner.flush(&mut Context::from_waker(Waker::noop()));
            }
            let read = inner.framing.is_done() || inner.framing.is_endless();
            (read && inner.buffer.is_empty(), inner.closed)
        };
        if !read && !gone {
            self.linger().await;
        }
    }

    /// Looks at what was read and not yet taken.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&mut BytesMut) -> T) -> T {
        look(&mut self.lock().buffer)
    }

    /// Reads more into the buffer, or where that is enough `any`thing; `Ok(0)` at the end of the stream.
    pub(super) fn poll_fill(&self, cx: &mut Context<'_>, any: bool) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if any && !inner.buffer.is_empty() {
            return Poll::Ready(Ok(inner.buffer.len()));
        }
        // Nobody waits for a request while the client still waits for an answer.
        if !inner.held.is_empty()
            && let Poll::Ready(Err(error)) = inner.flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        inner.fill(cx)
    }

    /// While a connection to an origin is being made, a client that leaves ends the request.
    pub fn set_connecting(&self, connecting: bool) {
        self.0.connecting.store(connecting, Ordering::Relaxed);
    }

    /// Ready once the client has left while a connection to an origin is made, as far as that shows. What it sends
    /// meanwhile waits in the buffer: behind much of it, or behind another request, its end is not seen.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.0.connecting.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let mut inner = self.lock();
        let done = inner.framing.is_done();
        while !inner.closed && (inner.buffer.is_empty() || (!done && inner.buffer.len() < READ)) {
            match inner.fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                // All of the body may be here, though Pingora has read nothing of it yet.
                Poll::Ready(Ok(0)) if inner.whole_body().is_some() => inner.half_close(),
                // In the middle of a request there is nothing more to wait for.
                Poll::Ready(Ok(0)) => return Poll::Ready(()),
                Poll::Ready(Err(_)) => {
                    inner.closed = true;
                    return Poll::Ready(());
                }
            }
        }
        if inner.closed { inner.poll_gone(cx) } else { Poll::Pending }
    }

    /// Reads the body ahead of Pingora, which will read the same content later. The content comes back, decoded from
    /// its transfer coding, with the share of the budget that it is held within: twice, here and for Pingora.
    pub async fn read_ahead(&self, mut content: Collector) -> Result<(Bytes, Share), Ahead> {
        let mut framing = self.lock().framing.clone();
        if let Framing::Length(length) = framing {
            content.expect(length)?;
        }
        let mut seen = 0usize;
        let read = poll_fn(|cx| {
            let mut inner = self.lock();
            loop {
                let mut refused = Ok(());
                let taken = framing.advance(&inner.buffer, &mut |piece| {
                    if refused.is_ok() {
                        refused = content.push(piece);
                    }
                });
                let taken = taken.map_err(|refusal| Ahead::Malformed(refusal.reason))?;
                inner.buffer.advance(taken);
                seen = seen.saturating_add(taken);
                refused?;
                // Framing may not cost more than content: a chunk for each byte is an attack.
                if seen > content.limit().saturating_mul(2).saturating_add(64 * 1024) {
                    return Poll::Ready(Err(Ahead::TooLarge));
                }
                if framing.is_done() {
                    return Poll::Ready(Ok(()));
                }
                match ready!(inner.fill_body(cx, content.collected() as u64)) {
                    Ok(0) | Err(NoBody::Gone(_)) => return Poll::Ready(Err(Ahead::Closed)),
                    Err(NoBody::Late) => return Poll::Ready(Err(Ahead::Timeout)),
                    Ok(_) => {}
                }
            }
        })
        .await;
        let mut inner = self.lock();
        if let Err(why) = read {
            // What was read of it is gone, and Pingora could not follow the rest: nothing comes after the answer.
            inner.framing = Framing::Length(u64::MAX);
            inner.buffer.clear();
            return Err(why);
        }
        let (content, share) = content.finish();
        inner.give_back(&content);
        Ok((content, share))
    }

    /// Tells a client that waits for it (RFC 9110 §10.1.1) to send its body.
    pub async fn continue_100(&self) {
        let mut stream = self.clone();
        // A client that is gone is noticed when its body is read.
        let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        let _ = stream.flush().await;
    }

    /// Answers outside Pingora, and closes.
    pub(super) async fn refuse(&self, answer: &[u8]) {
        let mut stream = self.clone();
        let write = async {
            stream.write_all(answer).await?;
            stream.flush().await
        };
        let _ = tokio::time::timeout(LINGER, write).await;
        self.linger().await;
    }

    /// Closes our side, and reads on for a moment: a close with unread bytes would reset the connection before
    /// the client has read its answer.
    async fn linger(&self) {
        let mut stream = self.clone();
        let drain = async {
            AsyncWriteExt::shutdown(&mut stream).await?;
            let mut read = 0;
            while read < LINGER_BYTES {
                let piece = poll_fn(|cx| {
                    let mut inner = self.lock();
                    inner.buffer.clear();
                    inner.fill(cx)
                });
                match piece.await? {
                    0 => break,
                    count => read += count,
                }
            }
            io::Result::Ok(())
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}

#[cfg(test)]
mod tests;
