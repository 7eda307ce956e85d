//! The successor's side of a handover.

use super::{
    HandoverError, MAX_SOCKETS, MAX_STATE_BYTES, MAX_STATES, PREPARE, Result, VERSION, broken,
    channel::{Channel, MAX_MESSAGE, PROMPT},
    io_error, socket_path,
};
use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};
use tokio::net::UnixStream;

/// Sockets that were handed over, by the names that the predecessor gave them.
#[derive(Debug)]
pub struct Taken {
    pub(super) sockets: Vec<(String, TcpListener)>,
    channel: Channel,
}

/// Asks the process that runs on `conf_dir` for its sockets; none where no process listens for successors.
/// It goes on serving until [`Taken::serving`].
///
/// # Errors
/// It is another user's, refuses, breaks the protocol or does not answer.
pub async fn take(run_dir: &Path, conf_dir: &Path) -> Result<Option<Taken>> {
    let path = socket_path(run_dir, conf_dir)?;
    let Some(mut channel) = connect(&path).await? else { return Ok(None) };
    channel.check_peer()?;
    channel.send(&format!("hello {VERSION}"), None).await?;
    let mut sockets = Vec::new();
    loop {
        let message = channel.receive(PROMPT).await?;
        match message.split_once(' ') {
            Some(("socket", name)) if sockets.len() < MAX_SOCKETS => {
                sockets.push((name.to_owned(), channel.listener()?));
            }
            Some(("sockets", count)) if count.parse() == Ok(sockets.len()) && channel.fds.is_empty() => break,
            _ => return Err(refusal(&message)),
        }
    }
    Ok(Some(Taken { sockets, channel }))
}

/// A connection to a running process; none where there is none.
pub(super) async fn connect(path: &Path) -> Result<Option<Channel>> {
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(Some(Channel::new(stream))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(io_error(format!("connect to `{}`", path.display()))(error)),
    }
}

fn refusal(message: &str) -> HandoverError {
    match message.strip_prefix("refused ") {
        Some(why) => HandoverError::Refused(format!("the running process refuses: {}", why.escape_debug())),
        None => broken(),
    }
}

impl Taken {
    /// Without any socket.
    #[cfg(test)]
    pub(super) fn over(channel: Channel) -> Self {
        Taken { sockets: Vec::new(), channel }
    }

    /// The socket that is bound to `address`, the one of this name first. A port of 0 asks for the socket of
    /// this name on any port of that address. None: bind it.
    pub fn claim(&mut self, name: &str, address: SocketAddr) -> Option<TcpListener> {
        let bound = |socket: &TcpListener| socket.local_addr().ok();
        let same = |(given, socket): &(String, TcpListener)| match address.port() {
            0 => given == name && bound(socket).is_some_and(|found| found.ip() == address.ip()),
            _ => bound(socket) == Some(address),
        };
        let of_name = self.sockets.iter().position(|entry| entry.0 == name && same(entry));
        let index = of_name.or_else(|| self.sockets.iter().position(same))?;
        Some(self.sockets.swap_remove(index).1)
    }

    /// What the predecessor knows in memory, by name. Ask for it as late as may be: it counts on meanwhile.
    ///
    /// # Errors
    /// The predecessor is gone, refuses, or breaks the protocol.
    pub async fn state(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut message = self.ask("state", PROMPT).await?;
        let (mut state, mut bytes) = (Vec::new(), 0usize);
        loop {
            let words: Vec<&str> = message.splitn(3, ' ').collect();
            match words.as_slice() {
                ["state", length, name] if state.len() < MAX_STATES => {
                    let length: usize = length.parse().map_err(|_| broken())?;
                    bytes = bytes.saturating_add(length);
                    if bytes > MAX_STATE_BYTES {
                        return Err(broken());
                    }
                    state.push(((*name).to_owned(), self.channel.receive_bytes(length).await?));
                }
                ["states", count] if count.parse() == Ok(state.len()) => return Ok(state),
                _ => return Err(refusal(&message)),
            }
            message = self.channel.receive(PROMPT).await?;
        }
    }

    /// Tells the predecessor that this process accepts on all its sockets. Sockets that nobody claimed are closed
    /// here. After this the place of the control socket is ours: [`Control::replace`](super::Control::replace).
    ///
    /// # Errors
    /// The predecessor is gone, refuses, or does not answer; it may go on accepting beside this process.
    pub async fn ready(&mut self) -> Result<()> {
        self.sockets.clear();
        match self.ask("ready", PREPARE).await?.as_str() {
            "yours" => Ok(()),
            other => Err(refusal(other)),
        }
    }

    /// What the predecessor says to this. One that ends says so before it closes.
    async fn ask(&mut self, word: &str, time: Duration) -> Result<String> {
        let sent = self.channel.send(word, None).await;
        self.channel.receive(time).await.map_err(|error| sent.err().unwrap_or(error))
    }

    /// Tells the predecessor that everything is in its place: it stops accepting, and drains.
    ///
    /// # Errors
    /// The predecessor is gone.
    pub async fn serving(self) -> Result<()> {
        self.channel.send("serving", None).await
    }

    /// Tells the predecessor why nothing comes of it.
    pub async fn refuse(self, why: &str) {
        let most = why.floor_char_boundary(MAX_MESSAGE - 100);
        // It finds out anyway.
        let _ = self.channel.send(&format!("refused {}", why.get(..most).unwrap_or_default()), None).await;
    }
}
