//! The wire of a handover: bounded messages, and descriptors that come with them.

use super::{HandoverError, Result, broken, io_error};
use bytes::{Buf, BufMut, BytesMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use std::{
    collections::VecDeque,
    future::Future,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::TcpListener,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};
use tokio::{io::Interest, net::UnixStream, time::timeout};

/// For a message that the other side has no reason to delay.
pub(super) const PROMPT: Duration = Duration::from_secs(5);
/// Bytes of a message.
pub(super) const MAX_MESSAGE: usize = 8 * 1024;
/// Bytes of a read.
const READ: usize = 16 * 1024;
/// Descriptors that may come with one read.
const MAX_FDS: usize = 16;

/// Messages and descriptors over a stream.
#[derive(Debug)]
pub(super) struct Channel {
    stream: UnixStream,
    buffer: BytesMut,
    pub(super) fds: VecDeque<OwnedFd>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Channel { stream, buffer: BytesMut::new(), fds: VecDeque::new() }
    }

    /// Whoever may connect could take our sockets, and whoever answers could give us its own.
    pub(super) fn check_peer(&self) -> Result<()> {
        check_user(self.peer()?, own_user())
    }

    /// The other side's user id.
    pub(super) fn peer(&self) -> Result<u32> {
        // Its process id may be one of another container, which has no number here.
        let peer = self.stream.peer_cred().map_err(io_error("tell who the other process is"))?;
        Ok(peer.uid())
    }

    pub(super) async fn send(&self, text: &str, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.write(frame(text)?, fd).await
    }

    /// A message, and bytes behind it.
    pub(super) async fn send_bytes(&self, text: &str, bytes: &[u8]) -> Result<()> {
        let mut framed = frame(text)?;
        framed.extend_from_slice(bytes);
        self.write(framed, None).await
    }

    /// Sends what goes out at once, or not at all: for who cannot wait.
    pub(super) fn try_send(&self, text: &str) {
        if let Ok(bytes) = frame(text) {
            let _ = self.stream.try_write(&bytes);
        }
    }

    async fn write(&self, mut bytes: BytesMut, mut fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let write = async {
            while !bytes.is_empty() {
                let sent = self.stream.async_io(Interest::WRITABLE, || write(&self.stream, &bytes, fd));
                bytes.advance(sent.await?);
                fd = None;
            }
            Ok(())
        };
        in_time(PROMPT, "write to the other process", write).await
    }

    /// So many bytes behind a message.
    pub(super) async fn receive_bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let Channel { stream, buffer, fds } = self;
        let fill = async {
            while buffer.len() < length {
                more(stream, buffer, fds).await?;
            }
            Ok(buffer.split_to(length).to_vec())
        };
        in_time(PROMPT, "read from the other process", fill).await
    }

    pub(super) async fn receive(&mut self, time: Duration) -> Result<String> {
        let Channel { stream, buffer, fds } = self;
        let read = async {
            loop {
                if let Some(text) = next_message(buffer)? {
                    return Ok(text);
                }
                more(stream, buffer, fds).await?;
            }
        };
        in_time(time, "read from the other process", read).await
    }

    /// The descriptor of the message that was just read: a TCP socket that listens, or it is not what was
    /// promised.
    pub(super) fn listener(&mut self) -> Result<TcpListener> {
        let fd = self.fds.pop_front().ok_or_else(broken)?;
        if !sockopt::socket_acceptconn(&fd).unwrap_or(false) {
            return Err(broken());
        }
        let socket = TcpListener::from(fd);
        socket.local_addr().map_err(|_| broken())?;
        socket.set_nonblocking(true).map_err(io_error("use a socket that was handed over"))?;
        Ok(socket)
    }
}

async fn more(stream: &UnixStream, buffer: &mut BytesMut, fds: &mut VecDeque<OwnedFd>) -> io::Result<()> {
    let mut fresh = Vec::new();
    let count = stream.async_io(Interest::READABLE, || read(stream, buffer, &mut fresh)).await?;
    fds.extend(fresh);
    if count == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn frame(text: &str) -> Result<BytesMut> {
    let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= MAX_MESSAGE);
    let Some(length) = length else {
        return Err(HandoverError::Refused("a message is too long to be sent".to_owned()));
    };
    let mut bytes = BytesMut::with_capacity(4 + text.len());
    bytes.put_u32(length);
    bytes.put_slice(text.as_bytes());
    Ok(bytes)
}

pub(super) fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub(super) fn check_user(peer: u32, own: u32) -> Result<()> {
    if peer == own {
        return Ok(());
    }
    Err(HandoverError::Refused(format!("the other process belongs to user {peer}, not to {own}")))
}

async fn in_time<T>(time: Duration, what: &str, work: impl Future<Output = io::Result<T>>) -> Result<T> {
    match timeout(time, work).await {
        Ok(result) => result.map_err(io_error(what)),
        Err(_) => Err(HandoverError::Timeout),
    }
}

pub(super) fn next_message(buffer: &mut BytesMut) -> io::Result<Option<String>> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if rest.len() < length {
        return Ok(None);
    }
    buffer.advance(4);
    let text = buffer.split_to(length);
    match std::str::from_utf8(&text) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn write(stream: &UnixStream, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

fn read(stream: &UnixStream, buffer: &mut BytesMut, fds: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut bytes = [0u8; READ];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut bytes)];
    let received = recvmsg(stream, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    // More descriptors than belong to any message of ours: some are lost already.
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    buffer.extend_from_slice(bytes.get(..received.bytes).unwrap_or_default());
    Ok(received.bytes)
}
