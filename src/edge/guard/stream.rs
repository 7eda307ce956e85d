//! The stream that Pingora reads and writes.

use super::{EXCHANGE_OVER, Guard, NoBody, Upgrade};
use crate::edge::framing::{Framing, Refusal};
use bytes::Buf;
use pingora::protocols::Shutdown;
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

impl AsyncRead for Guard {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
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
                Framing::Raw | Framing::Http2(_) => ready!(inner.fill(cx))?,
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
        if let Framing::Http2(frames) = &inner.framing
            && (inner.violation.is_some() || frames.is_held())
        {
            // Whoever holds the connection says farewell, or takes what has come; until then nothing more is.
            return Poll::Pending;
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
        if taken.is_err() && matches!(inner.framing, Framing::Http2(_)) {
            return Poll::Pending;
        }
        Poll::Ready(taken.map(drop))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if inner.upgrade == Upgrade::Asked {
            inner.note_answer(bytes);
        }
        let sent = inner.write(cx, |held, io, cx| held.poll_write(io, cx, bytes));
        inner.note_sent(std::iter::once(bytes), &sent);
        sent
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.flush(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if inner.upgrade == Upgrade::Asked {
            inner.note_answer(bytes.iter().find(|slice| !slice.is_empty()).map_or(&[], |slice| slice));
        }
        let sent = inner.write(cx, |held, io, cx| held.poll_write_vectored(io, cx, bytes));
        inner.note_sent(bytes.iter().map(|piece| &**piece), &sent);
        sent
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().io.is_write_vectored()
    }
}

#[async_trait::async_trait]
impl Shutdown for Guard {
    async fn shutdown(&mut self) {
        let sending = !self.lock().framing.is_done();
        if sending {
            self.linger().await;
        } else {
            // The peer may be gone already.
            let _ = AsyncWriteExt::shutdown(self).await;
        }
    }
}
