//! Small writes that go out together.
//!
//! Pingora writes a head, then a body, then flushes. Its own listeners hold the head back until then; a stream
//! made outside them does not, and each response would cost two packets and a system call too many.

use bytes::{Buf, BytesMut};
use pingora::protocols::Stream;
use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::AsyncWrite;

/// The most bytes that wait for a flush.
const MOST: usize = 4096;

/// What a small answer takes.
const USUAL: usize = 512;

/// Bytes that were written and wait for more, or for a flush. Holds no memory when empty.
#[derive(Debug, Default)]
pub(super) struct Held(BytesMut);

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes what is small; sends what is not, with what was held before it.
    pub(super) fn poll_write(
        &mut self,
        io: &mut Stream,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.take(&[IoSlice::new(bytes)]) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let mut io = Pin::new(io);
        while !self.0.is_empty() {
            let both = [IoSlice::new(&self.0), IoSlice::new(bytes)];
            let sent = ready!(io.as_mut().poll_write_vectored(cx, &both))?;
            let own = sent.min(self.0.len());
            self.sent(own)?;
            if sent > own {
                return Poll::Ready(Ok(sent - own));
            }
        }
        io.poll_write(cx, bytes)
    }

    /// The same for several pieces.
    pub(super) fn poll_write_vectored(
        &mut self,
        io: &mut Stream,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.take(pieces) {
            return Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()));
        }
        ready!(self.poll_send(io, cx))?;
        Pin::new(io).poll_write_vectored(cx, pieces)
    }

    /// Sends everything that is held; the stream itself is not flushed.
    pub(super) fn poll_send(&mut self, io: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.0.is_empty() {
            let sent = ready!(Pin::new(&mut *io).poll_write(cx, &self.0))?;
            self.sent(sent)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is small, until it is flushed; false where there is no place for it.
    pub(super) fn take(&mut self, pieces: &[IoSlice<'_>]) -> bool {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let fits = length.saturating_add(self.0.len()) <= MOST;
        if fits && length > 0 {
            if self.0.capacity() == 0 {
                // A head, and mostly the body after it.
                self.0.reserve(length.max(USUAL));
            }
            pieces.iter().for_each(|piece| self.0.extend_from_slice(piece));
        }
        fits
    }

    fn sent(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.0.advance(count);
        if self.0.is_empty() {
            self.0 = BytesMut::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tcp::Tcp;
    use std::future::poll_fn;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    async fn pair() -> (Stream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (near, far) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Box::new(Tcp(near.unwrap())), far.unwrap().0)
    }

    #[tokio::test]
    async fn small_writes_wait_for_the_flush() {
        let (mut io, mut far) = pair().await;
        let mut held = Held::default();
        for piece in [&b"head"[..], b"", b"body"] {
            let taken = poll_fn(|cx| held.poll_write(&mut io, cx, piece)).await.unwrap();
            assert_eq!(taken, piece.len());
        }
        let taken =
            poll_fn(|cx| held.poll_write_vectored(&mut io, cx, &[IoSlice::new(b"-"), IoSlice::new(b"!")]));
        assert_eq!(taken.await.unwrap(), 2);
        assert_eq!(far.try_read(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        poll_fn(|cx| held.poll_send(&mut io, cx)).await.unwrap();
        assert!(held.is_empty() && held.0.capacity() == 0);
        let mut read = [0; 10];
        far.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"headbody-!");
    }

    #[tokio::test]
    async fn order_and_length_hold_for_any_sizes() {
        let (mut io, mut far) = pair().await;
        // More than the system's buffers take: some writes are taken in part, some have to wait.
        let sizes = [1, MOST - 1, 1, MOST, MOST + 1, 3, 100_000, 0, 7, 3_000_000, 5, 2 * MOST, 1];
        let total: usize = sizes.iter().sum();
        let sent: Vec<u8> = (0..total).map(|index| u8::try_from(index % 251).unwrap()).collect();
        let write = async {
            let (mut held, mut rest) = (Held::default(), &sent[..]);
            for (turn, size) in sizes.into_iter().enumerate() {
                let (mut piece, after) = rest.split_at(size);
                rest = after;
                while !piece.is_empty() {
                    let taken = poll_fn(|cx| match turn % 3 {
                        0 => held.poll_write_vectored(&mut io, cx, &[IoSlice::new(piece)]),
                        _ => held.poll_write(&mut io, cx, piece),
                    });
                    piece = &piece[taken.await.unwrap()..];
                }
            }
            poll_fn(|cx| held.poll_send(&mut io, cx)).await.unwrap();
        };
        let read = async {
            let mut read = vec![0; total];
            far.read_exact(&mut read).await.unwrap();
            read
        };
        let ((), read) = tokio::join!(write, read);
        assert!(read == sent);
    }
}
