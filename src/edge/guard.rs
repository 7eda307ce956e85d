//! Our own stream between the socket (TCP or TLS) and Pingora.

mod parts;

use super::{
    exchange::Exchange,
    framing::{Framing, Refusal},
    held::Held,
    pace::{self, Pace},
};
use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use pingora::{
    protocols::{Shutdown, Stream},
    proxy::Session,
};
use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
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
pub struct Guard(Arc<Mutex<Inner>>);

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
    /// Its framing is broken; the reason code.
    Malformed(&'static str),
    /// It did not come in time.
    Timeout,
    /// The client left.
    Closed,
}

impl Guard {
    /// Wraps a connection.
    pub fn new(io: Stream) -> Self {
        Guard(Arc::new(Mutex::new(Inner {
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
        })))
    }

    /// The guard of the connection that a session runs on; none for HTTP/2.
    pub fn of(session: &Session) -> Option<Guard> {
        session.stream()?.as_any().downcast_ref::<Guard>().cloned()
    }

    /// What the current body may be, and how long it may take from now.
    pub fn set_body_limit(&self, bytes: u64, time: Duration) {
        let mut inner = self.0.lock();
        inner.limit = bytes;
        if !matches!(inner.framing, Framing::Raw) && !inner.framing.is_done() {
            inner.deadline = Instant::now().checked_add(time);
        }
    }

    /// How long the origin may take from the end of the request on; none: without end.
    pub fn set_exchange_time(&self, total: Option<Duration>) {
        self.0.lock().exchange.begin(total);
    }

    /// Why reading failed, where the connection was not at fault: the body, or the time of the exchange.
    pub fn violation(&self) -> Option<Refusal> {
        self.0.lock().violation
    }

    /// True where all of the current body is here, in good order and within its limit, read or not.
    pub fn has_whole_body(&self) -> bool {
        let inner = self.0.lock();
        let (mut framing, mut content) = (inner.framing.clone(), inner.content);
        let read = framing.advance(&inner.buffer, &mut |piece| content += piece.len() as u64);
        inner.violation.is_none() && read.is_ok() && framing.is_done() && content <= inner.limit
    }

    /// True where the connection can take another request: the body was read to its end.
    pub(super) fn next_request(&self) -> bool {
        let mut inner = self.0.lock();
        let ready = inner.framing.is_done() && inner.violation.is_none() && !inner.closed;
        inner.framing = Framing::Length(0);
        inner.timer = None;
        inner.deadline = None;
        ready
    }

    /// Takes a head off the buffer and begins its body.
    pub(super) fn begin(&self, head: usize, framing: Framing) -> BytesMut {
        let mut inner = self.0.lock();
        // Until the answer is a 101 what follows is the next request, if anything.
        (inner.framing, inner.upgrade) = match framing {
            Framing::Raw => (Framing::Length(0), Upgrade::Asked),
            framing => (framing, Upgrade::Settled),
        };
        inner.content = 0;
        inner.limit = u64::MAX;
        inner.exchange.begin(None);
        (inner.reading, inner.writing, inner.written) = (Pace::default(), Pace::default(), 0);
        let bytes = inner.buffer.split_to(head);
        if inner.buffer.is_empty() {
            // An empty buffer keeps no memory while the connection waits.
            inner.buffer = BytesMut::new();
        }
        bytes
    }

    /// Frames nothing from here on: the connection speaks HTTP/2.
    pub(super) fn set_raw(&self) {
        self.0.lock().framing = Framing::Raw;
    }

    /// Ends the connection after Pingora has let go of it. Where the request was not read to its end, the
    /// client is given a moment to read the answer.
    pub(super) async fn finish(&self) {
        let (read, gone) = {
            let mut inner = self.0.lock();
            if !inner.held.is_empty() {
                // Pingora gave up in the middle of a response: what it wrote of it goes out, as far as it does.
                let _ = inner.flush(&mut Context::from_waker(Waker::noop()));
            }
            let read = inner.framing.is_done() || matches!(inner.framing, Framing::Raw);
            (read && inner.buffer.is_empty(), inner.closed)
        };
        if !read && !gone {
            self.linger().await;
        }
    }

    /// Looks at what was read and not yet taken.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&mut BytesMut) -> T) -> T {
        look(&mut self.0.lock().buffer)
    }

    /// Reads more into the buffer; `Ok(0)` at the end of the stream.
    pub(super) fn poll_fill(&self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut inner = self.0.lock();
        // Nobody waits for a request while the client still waits for an answer.
        if !inner.held.is_empty()
            && let Poll::Ready(Err(error)) = inner.flush(cx)
        {
            return Poll::Ready(Err(error));
        }
        inner.fill(cx)
    }

    /// Ready once the client has left, as far as that shows while Pingora asks for nothing. What it sends meanwhile
    /// waits in the buffer: behind much of it, or behind another request, its end is not seen.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.0.lock();
        let done = inner.framing.is_done();
        while !inner.closed && (inner.buffer.is_empty() || (!done && inner.buffer.len() < READ)) {
            match inner.fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0)) if done => inner.half_close(),
                // In the middle of a request there is nothing more to wait for.
                Poll::Ready(Ok(0)) => return Poll::Ready(()),
                Poll::Ready(Err(_)) => {
                    inner.closed = true;
                    return Poll::Ready(());
                }
            }
        }
        if inner.closed && done { inner.poll_gone(cx) } else { Poll::Pending }
    }

    /// Reads the rest of the body ahead of Pingora, which will read the same bytes later. The content comes
    /// back, decoded from its transfer coding.
    pub async fn read_ahead(&self, limit: u64) -> Result<Bytes, Ahead> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut framing = self.0.lock().framing.clone();
        if let Framing::Length(length) = framing
            && length > limit as u64
        {
            return Err(Ahead::TooLarge);
        }
        let (mut seen, mut content) = (0usize, BytesMut::new());
        poll_fn(|cx| {
            let mut inner = self.0.lock();
            loop {
                let rest = inner.buffer.get(seen..).unwrap_or_default();
                let mut too_large = false;
                let taken = framing.advance(rest, &mut |piece| {
                    too_large |= content.len() + piece.len() > limit;
                    if !too_large {
                        content.extend_from_slice(piece);
                    }
                });
                seen += taken.map_err(|refusal| Ahead::Malformed(refusal.reason))?;
                // Framing may not cost more than content: a chunk for each byte is an attack.
                if too_large || seen > limit.saturating_mul(2).saturating_add(64 * 1024) {
                    return Poll::Ready(Err(Ahead::TooLarge));
                }
                if framing.is_done() {
                    return Poll::Ready(Ok(()));
                }
                match ready!(inner.fill_body(cx, content.len() as u64)) {
                    Ok(0) | Err(NoBody::Gone(_)) => return Poll::Ready(Err(Ahead::Closed)),
                    Err(NoBody::Late) => return Poll::Ready(Err(Ahead::Timeout)),
                    Ok(_) => {}
                }
            }
        })
        .await?;
        Ok(content.freeze())
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
                    let mut inner = self.0.lock();
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

impl Inner {
    /// Reads through a buffer that lives on the stack of this poll only.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        let bytes = read.filled();
        self.closed |= bytes.is_empty();
        self.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// The client has closed its sending side after a complete request. Some tools do that and wait for their
    /// answer: ready only where it does not begin in time. From the first byte of it on, writing tells who left.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_late(cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn half_close(&mut self) {
        self.deadline = Instant::now().checked_add(HALF_CLOSED);
        self.timer = None;
    }

    /// True where the body's deadline has passed; else the task is woken when it does.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().poll(cx).is_ready()
    }

    /// Reads more of a body, of which `content` bytes have come: within its deadline, and not slower than the
    /// least rate. Only the time spent waiting for the client counts towards the rate.
    fn fill_body(&mut self, cx: &mut Context<'_>, content: u64) -> Poll<Result<usize, NoBody>> {
        if self.is_late(cx) {
            return Poll::Ready(Err(NoBody::Late));
        }
        match self.fill(cx) {
            Poll::Ready(result) => {
                self.reading.progress();
                Poll::Ready(result.map_err(NoBody::Gone))
            }
            Poll::Pending => {
                ready!(self.reading.poll_exceeded(cx, pace::allowed(content)));
                Poll::Ready(Err(NoBody::Late))
            }
        }
    }

    /// Passes a write on, and keeps the time that the client has us wait for it.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut Held, &mut Stream, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.closed {
            self.deadline = None;
        }
        match write(&mut self.held, &mut self.io, cx) {
            Poll::Ready(result) => {
                self.writing.progress();
                self.written += result.as_ref().map_or(0, |count| *count as u64);
                if matches!(self.framing, Framing::Raw) {
                    // Lives long: what counts is that something goes through at all.
                    (self.writing, self.written) = (Pace::default(), 0);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(self.writing.poll_exceeded(cx, STALLED + pace::allowed(self.written)));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            // What is held was counted when it was taken.
            ready!(self.write(cx, |held, io, cx| held.poll_send(io, cx).map_ok(|()| 0)))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Looks at the answer to an upgrade as it goes by: only a 101 makes a tunnel of the connection.
    fn note_answer(&mut self, bytes: &[u8]) {
        let Some(status) = bytes.get(..12) else { return };
        if status.ends_with(b" 101") {
            self.framing = Framing::Raw;
        } else if status.get(8..10) == Some(b" 1") {
            return;
        }
        self.upgrade = Upgrade::Settled;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    fn violate(&mut self, refusal: Refusal) -> io::Error {
        self.violation = Some(refusal);
        io::Error::new(io::ErrorKind::InvalidData, refusal.reason)
    }

    /// Follows the framing through bytes that Pingora is about to read.
    fn follow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut content = 0u64;
        match self.framing.advance(bytes, &mut |piece| content += piece.len() as u64) {
            Ok(taken) => {
                self.content += content;
                if self.content > self.limit && !matches!(self.framing, Framing::Raw) {
                    return Err(self.violate(Refusal { status: 413, reason: "body_too_large" }));
                }
                Ok(taken)
            }
            Err(refusal) => Err(self.violate(refusal)),
        }
    }
}

impl AsyncRead for Guard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        let inner = &mut *inner;
        if inner.framing.is_done() {
            // Pingora must learn that the client left, but never see the bytes of the next request.
            if inner.upgrade == Upgrade::Asked {
                inner.waiting = Some(cx.waker().clone());
            }
            if !inner.closed && inner.buffer.is_empty() && inner.fill(cx)? == Poll::Ready(0) {
                inner.half_close();
            }
            if inner.closed && inner.poll_gone(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            ready!(inner.exchange.poll_over(cx, inner.written));
            return Poll::Ready(Err(inner.violate(EXCHANGE_OVER)));
        }
        if inner.buffer.is_empty() {
            let filled = match inner.framing {
                Framing::Raw => ready!(inner.fill(cx))?,
                _ => match ready!(inner.fill_body(cx, inner.content)) {
                    Ok(count) => count,
                    Err(NoBody::Gone(error)) => return Poll::Ready(Err(error)),
                    Err(NoBody::Late) => {
                        let late = Refusal { status: 408, reason: "body_timeout" };
                        return Poll::Ready(Err(inner.violate(late)));
                    }
                },
            };
            if filled == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let most = out.remaining().min(inner.buffer.len());
        let mut buffer = std::mem::take(&mut inner.buffer);
        let taken = inner.follow(buffer.get(..most).unwrap_or_default());
        if let Ok(taken) = taken {
            out.put_slice(buffer.get(..taken).unwrap_or_default());
            buffer.advance(taken);
        }
        if !buffer.is_empty() {
            inner.buffer = buffer;
        }
        Poll::Ready(taken.map(drop))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.0.lock();
        if inner.upgrade == Upgrade::Asked {
            inner.note_answer(bytes);
        }
        inner.write(cx, |held, io, cx| held.poll_write(io, cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.lock();
        ready!(inner.flush(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.lock();
        if inner.upgrade == Upgrade::Asked {
            inner.note_answer(bytes.iter().find(|slice| !slice.is_empty()).map_or(&[], |slice| slice));
        }
        inner.write(cx, |held, io, cx| held.poll_write_vectored(io, cx, bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().io.is_write_vectored()
    }
}

#[async_trait::async_trait]
impl Shutdown for Guard {
    async fn shutdown(&mut self) {
        let sending = !self.0.lock().framing.is_done();
        if sending {
            self.linger().await;
        } else {
            // The peer may be gone already.
            let _ = AsyncWriteExt::shutdown(self).await;
        }
    }
}

#[cfg(test)]
mod tests;
