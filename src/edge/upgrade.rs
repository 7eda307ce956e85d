//! The connection to an origin that a request is to be upgraded on.
//!
//! Pingora's upstream half takes the end of the request's (empty) body for the end of the tunnel when the 101
//! was read before it: a fast origin loses its WebSocket connections. Both wait for each other in no order. So
//! nothing is read from such a connection until the end of the body was flushed to it: first comes the flush of
//! the head, then that of the body.

use async_trait::async_trait;
use futures::task::AtomicWaker;
use pingora::{
    Error,
    ErrorType::{ConnectError, ConnectRefused, ConnectTimedout, InternalError},
    connectors::L4Connect,
    prelude::HttpPeer,
    protocols::l4::{
        socket::SocketAddr,
        stream::Stream,
        virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream},
    },
};
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};

/// The flushes of the head and of the body's end.
const FLUSHES: u8 = 2;

/// Holds back what an origin answers to an upgrade until the request is sent to its end.
#[derive(Debug, Default)]
pub struct Gate {
    flushes: AtomicU8,
    waker: AtomicWaker,
}

impl Gate {
    /// Makes the peer's connection one for an upgrade: a new one, which nobody else gets afterwards. Call it in
    /// `upstream_peer`, for requests that are to be upgraded alone.
    pub fn prepare(peer: &mut HttpPeer) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        let time = peer.options.connection_timeout;
        peer.options.custom_l4 = Some(Arc::new(Connector { gate: gate.clone(), time }));
        // An idle connection of the pool has no gate, and this one must never go back.
        peer.options.idle_timeout = Some(Duration::ZERO);
        peer.group_key ^= 0x7570_6772_6164_6500;
        gate
    }

    /// Holds back what comes from here on. Call it in `connected_to_upstream`: a TLS handshake is over then.
    pub fn close(&self) {
        self.flushes.store(FLUSHES, Ordering::Release);
    }

    fn flushed(&self) {
        let count = |left: u8| left.checked_sub(1);
        if self.flushes.fetch_update(Ordering::AcqRel, Ordering::Acquire, count) == Ok(1) {
            self.waker.wake();
        }
    }

    fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.flushes.load(Ordering::Acquire) == 0 {
            return Poll::Ready(());
        }
        self.waker.register(cx.waker());
        if self.flushes.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[derive(Debug)]
struct Connector {
    gate: Arc<Gate>,
    time: Option<Duration>,
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, address: &SocketAddr) -> pingora::Result<Stream> {
        let Some(address) = address.as_inet() else {
            return Error::e_explain(InternalError, "an upgrade over something else than TCP");
        };
        let connect = TcpStream::connect(address);
        let connected = match self.time {
            Some(time) => timeout(time, connect).await.map_err(|late| {
                Error::because(ConnectTimedout, format!("timeout {time:?} connecting to {address}"), late)
            })?,
            None => connect.await,
        };
        let io = connected.map_err(|error| {
            let kind = match error.kind() {
                io::ErrorKind::ConnectionRefused => ConnectRefused,
                _ => ConnectError,
            };
            Error::because(kind, format!("cannot connect to {address}"), error)
        })?;
        let socket = Socket { io, gate: self.gate.clone() };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

#[derive(Debug)]
struct Socket {
    io: TcpStream,
    gate: Arc<Gate>,
}

impl VirtualSocket for Socket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.io.set_nodelay(true),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.gate.poll_open(cx));
        Pin::new(&mut self.io).poll_read(cx, out)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.gate.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn nothing_is_read_before_the_request_is_sent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut peer = HttpPeer::new(listener.local_addr().unwrap(), false, String::new());
        let gate = Gate::prepare(&mut peer);
        let connector = peer.options.custom_l4.clone().unwrap();
        let (mut stream, accepted) =
            tokio::join!(async { connector.connect(&peer._address).await.unwrap() }, listener.accept());
        let mut origin = accepted.unwrap().0;
        // A handshake goes both ways.
        origin.write_all(b"hello").await.unwrap();
        let mut piece = [0; 5];
        stream.read_exact(&mut piece).await.unwrap();
        gate.close();
        origin.write_all(b"early").await.unwrap();
        for flushes in 0..2 {
            let read = timeout(Duration::from_millis(50), stream.read(&mut piece)).await;
            assert!(read.is_err(), "read after {flushes} flushes");
            stream.write_all(b"x").await.unwrap();
            stream.flush().await.unwrap();
        }
        stream.read_exact(&mut piece).await.unwrap();
        assert_eq!(&piece, b"early");
    }

    #[tokio::test]
    async fn the_flush_wakes_the_reader() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let io = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut origin = listener.accept().await.unwrap().0;
        origin.write_all(b"early").await.unwrap();
        let gate = Arc::new(Gate::default());
        gate.close();
        let (mut read, mut write) = tokio::io::split(Socket { io, gate });
        let reader = tokio::spawn(async move {
            let mut piece = [0; 5];
            read.read_exact(&mut piece).await.map(|_| piece)
        });
        tokio::task::yield_now().await;
        write.flush().await.unwrap();
        write.flush().await.unwrap();
        assert_eq!(&reader.await.unwrap().unwrap(), b"early");
    }

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut peer = HttpPeer::new(address, false, String::new());
        Gate::prepare(&mut peer);
        let error = peer.options.custom_l4.clone().unwrap().connect(&peer._address).await.unwrap_err();
        assert_eq!(error.etype(), &ConnectRefused);
    }
}
