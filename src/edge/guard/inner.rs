//! What a guard does for whoever holds it: reading, writing, and their clocks.

use super::{HALF_CLOSED, Inner, NoBody, READ, STALLED, Upgrade};
use crate::edge::{
    framing::{Framing, Refusal},
    held::Held,
    pace::{self, Pace},
};
use bytes::BytesMut;
use pingora::protocols::Stream;
use std::{
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// So much of what goes out is held to the least rate together.
const MEASURED: u64 = 16 * 1024;

impl Inner {
    /// Reads through a buffer that lives on the stack of this poll only.
    pub(super) fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::<u8>::uninit(); READ];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
        let bytes = read.filled();
        self.closed |= bytes.is_empty();
        self.buffer.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// How much content the current body has, where all of it is here in good order, read or not.
    pub(super) fn whole_body(&self) -> Option<u64> {
        let (mut framing, mut content) = (self.framing.clone(), self.content);
        framing.advance(&self.buffer, &mut |piece| content += piece.len() as u64).ok()?;
        framing.is_done().then_some(content)
    }

    /// Puts a body that was read ahead back before what follows it, in the framing that it came in; of a chunked one
    /// in one chunk, because what its framing takes is bounded by nothing but the time it takes to send.
    pub(super) fn give_back(&mut self, content: &[u8]) {
        let rest = std::mem::take(&mut self.buffer);
        let (before, after) = match self.framing {
            Framing::Chunked(_) if content.is_empty() => (String::new(), &b"0\r\n\r\n"[..]),
            Framing::Chunked(_) => (format!("{:x}\r\n", content.len()), &b"\r\n0\r\n\r\n"[..]),
            Framing::Length(_) | Framing::Raw | Framing::Http2(_) => (String::new(), &b""[..]),
        };
        let mut whole = BytesMut::with_capacity(before.len() + content.len() + after.len() + rest.len());
        for part in [before.as_bytes(), content, after, &rest] {
            whole.extend_from_slice(part);
        }
        self.buffer = whole;
    }

    /// The client has closed its sending side after a complete request. Some tools do that and wait for their
    /// answer: ready only where it does not begin in time. From the first byte of it on, writing tells who left.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_late(cx) { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) fn half_close(&mut self) {
        self.deadline = Instant::now().checked_add(HALF_CLOSED);
        self.timer = None;
    }

    /// True where the body's deadline has passed; else the task is woken when it does.
    pub(super) fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().poll(cx).is_ready()
    }

    /// Reads more of a body, of which `content` bytes have come: within its deadline, and not slower than the
    /// least rate. Only the time spent waiting for the client counts towards the rate.
    pub(super) fn fill_body(&mut self, cx: &mut Context<'_>, content: u64) -> Poll<Result<usize, NoBody>> {
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
    pub(super) fn write(
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
                self.measured += result.as_ref().map_or(0, |count| *count as u64);
                // Of a tunnel it counts that something goes through at all. Of the rest, that what was taken long ago,
                // perhaps by the system's buffers, is no credit for now.
                if matches!(self.framing, Framing::Raw) || self.measured >= MEASURED {
                    (self.writing, self.measured) = (Pace::default(), 0);
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                ready!(self.writing.poll_exceeded(cx, STALLED + pace::allowed(self.measured)));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Looks at what went out, where it is HTTP/2.
    pub(super) fn note_sent<'b>(
        &mut self,
        pieces: impl Iterator<Item = &'b [u8]>,
        sent: &Poll<io::Result<usize>>,
    ) {
        let (Framing::Http2(frames), Poll::Ready(Ok(sent))) = (&mut self.framing, sent) else { return };
        let mut left = *sent;
        for piece in pieces {
            let taken = piece.get(..left.min(piece.len())).unwrap_or_default();
            frames.sent(taken);
            left -= taken.len();
        }
    }

    pub(super) fn flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            // What is held was counted when it was taken.
            ready!(self.write(cx, |held, io, cx| held.poll_send(io, cx).map_ok(|()| 0)))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Looks at the answer to an upgrade as it goes by: only a 101 makes a tunnel of the connection.
    pub(super) fn note_answer(&mut self, bytes: &[u8]) {
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

    pub(super) fn violate(&mut self, refusal: Refusal) -> io::Error {
        self.violation = Some(refusal);
        io::Error::new(io::ErrorKind::InvalidData, refusal.reason)
    }

    /// Follows the framing through bytes that Pingora is about to read.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut content = 0u64;
        match self.framing.advance(bytes, &mut |piece| content += piece.len() as u64) {
            Ok(taken) => {
                self.content += content;
                if self.content > self.limit && !self.framing.is_endless() {
                    return Err(self.violate(Refusal { status: 413, reason: "body_too_large" }));
                }
                Ok(taken)
            }
            Err(refusal) => Err(self.violate(refusal)),
        }
    }
}
