//! Handing listening sockets to a successor, so that an upgrade loses no request.
//!
//! The running process listens on a control socket in `run_dir`. A successor connects, says `hello`, gets the
//! listening sockets (`SCM_RIGHTS`), binds what it lacks, and says `ready` once it accepts on all of them. Only
//! then does the predecessor stop accepting and drain. A successor that goes away earlier changes nothing.
//!
//! Messages are short texts behind a length of 16 bits:
//!
//! | from | message | with |
//! |---|---|---|
//! | successor | `hello 1` | |
//! | predecessor | `socket NAME`, for each | the descriptor |
//! | predecessor | `sockets COUNT` | |
//! | successor | `ready` | |
//! | predecessor | `draining` | |
//! | either | `refused REASON` | |
//!
//! The directory is open to our user alone, and both sides look at the other's user id.

mod channel;

use channel::{Channel, PROMPT};
use sha2::{Digest, Sha256};
use std::{
    fmt, fs, io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::AsFd,
        unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::{UnixListener, UnixStream};

const VERSION: &str = "1";
/// For a successor to compile its configuration and bind what it lacks.
const PREPARE: Duration = Duration::from_secs(120);
/// Sockets that are handed over.
const MAX_SOCKETS: usize = 256;

/// Why a handover failed.
#[derive(Debug)]
pub enum HandoverError {
    /// The system's error, and what was being done.
    Io(String, io::Error),
    /// The other side did not keep to the protocol, is another user's, or refused.
    Refused(String),
    /// The other side did not answer in time.
    Timeout,
}

impl fmt::Display for HandoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandoverError::Io(what, error) => write!(f, "cannot {what}: {error}"),
            HandoverError::Refused(why) => f.write_str(why),
            HandoverError::Timeout => f.write_str("the other process does not answer"),
        }
    }
}

impl std::error::Error for HandoverError {}

type Result<T, E = HandoverError> = std::result::Result<T, E>;

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> HandoverError {
    let what = what.into();
    move |error| HandoverError::Io(what, error)
}

/// The control socket of the process that runs on `conf_dir`: one for each directory, whatever way it is named.
///
/// # Errors
/// `conf_dir` does not exist, or the path is too long for a socket.
pub fn socket_path(run_dir: &Path, conf_dir: &Path) -> Result<PathBuf> {
    let canonical = conf_dir.canonicalize().map_err(io_error(format!("resolve `{}`", conf_dir.display())))?;
    let digest = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
    let name = hex::encode(digest.get(..8).unwrap_or(&digest));
    let path = run_dir.join(format!("{name}.sock"));
    // 108 bytes with the final NUL, and room for the name it is bound under first.
    if path.as_os_str().len() > 100 {
        return Err(HandoverError::Refused(format!(
            "`{}` is too long for a socket: choose a shorter `run_dir`",
            path.display()
        )));
    }
    Ok(path)
}

/// True where a process of this user runs on `conf_dir`.
pub fn runs(run_dir: &Path, conf_dir: &Path) -> bool {
    socket_path(run_dir, conf_dir).is_ok_and(|path| answers(&path))
}

fn answers(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

/// The predecessor's side: a socket that a successor may connect to. Its file goes when this does.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: the file may be a successor's by the time this goes.
    file: (u64, u64),
}

impl Control {
    /// Listens for a successor. Makes `run_dir` where it is missing, open to this user alone. Runs within tokio.
    ///
    /// # Errors
    /// `run_dir` belongs to another user or cannot be made; another process already runs on `conf_dir`.
    pub fn bind(run_dir: &Path, conf_dir: &Path) -> Result<Self> {
        let path = socket_path(run_dir, conf_dir)?;
        make_private(run_dir)?;
        if answers(&path) {
            return Err(HandoverError::Refused(format!(
                "another process runs on `{}`: stop it, or start this one with `--upgrade`",
                conf_dir.display()
            )));
        }
        // Bound under another name and moved: the file of a process that died is replaced in one step.
        let fresh = path.with_extension(format!("{:x}", std::process::id()));
        let what = || io_error(format!("listen on `{}`", path.display()));
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(what()(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&fresh).map_err(what())?;
        let metadata = fs::symlink_metadata(&fresh).map_err(what())?;
        fs::rename(&fresh, &path).map_err(what())?;
        Ok(Control { listener, file: (metadata.dev(), metadata.ino()), path })
    }

    /// Waits until a successor has taken the sockets and accepts on them; `sockets` gives duplicates, by name.
    /// Attempts that fail are logged, and the wait goes on. After this, stop accepting and drain.
    /// May be dropped at any time: a successor whose attempt is under way then gets no answer.
    pub async fn successor<F>(self, sockets: F)
    where
        F: Fn() -> io::Result<Vec<(String, TcpListener)>>,
    {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    log::warn!("cannot take a successor's connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            match self.serve(Channel::new(stream), &sockets).await {
                Ok(()) => return,
                Err(error) => log::warn!("a successor did not take over: {error}"),
            }
        }
    }

    async fn serve<F>(&self, mut channel: Channel, sockets: &F) -> Result<()>
    where
        F: Fn() -> io::Result<Vec<(String, TcpListener)>>,
    {
        channel.check_peer()?;
        let hello = channel.receive(PROMPT).await?;
        if hello != format!("hello {VERSION}") {
            let why = format!("refused this process speaks version {VERSION}");
            channel.send(&why, None).await?;
            return Err(HandoverError::Refused(format!("a successor says `{}`", hello.escape_debug())));
        }
        let sockets = sockets().map_err(io_error("duplicate the listening sockets"))?;
        for (name, socket) in &sockets {
            channel.send(&format!("socket {name}"), Some(socket.as_fd())).await?;
        }
        channel.send(&format!("sockets {}", sockets.len()), None).await?;
        match channel.receive(PREPARE).await?.as_str() {
            "ready" => {}
            other => {
                return Err(HandoverError::Refused(format!("a successor says `{}`", other.escape_debug())));
            }
        }
        // It accepts: from here on this process is the one that goes, whether or not it hears of that.
        self.unlink();
        let _ = channel.send("draining", None).await;
        Ok(())
    }

    /// Removes the file, where it is still ours.
    fn unlink(&self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file);
        if ours {
            // A file that stays is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// The successor's side: sockets that were handed over, by the names that the predecessor gave them.
#[derive(Debug)]
pub struct Taken {
    sockets: Vec<(String, TcpListener)>,
    channel: Channel,
}

/// Asks the process that runs on `conf_dir` for its sockets; none where no process listens for successors.
/// It goes on serving until [`Taken::ready`].
///
/// # Errors
/// It is another user's, refuses, breaks the protocol or does not answer.
pub async fn take(run_dir: &Path, conf_dir: &Path) -> Result<Option<Taken>> {
    let path = socket_path(run_dir, conf_dir)?;
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(io_error(format!("connect to `{}`", path.display()))(error)),
    };
    let mut channel = Channel::new(stream);
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
            Some(("refused", why)) => {
                return Err(HandoverError::Refused(format!(
                    "the running process refuses: {}",
                    why.escape_debug()
                )));
            }
            _ => return Err(broken()),
        }
    }
    Ok(Some(Taken { sockets, channel }))
}

impl Taken {
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

    /// Tells the predecessor that this process accepts on all its sockets. Sockets that nobody claimed are
    /// closed here. After this, [`Control::bind`] finds its place free.
    ///
    /// # Errors
    /// The predecessor is gone or does not answer; it may go on accepting beside this process.
    pub async fn ready(self) -> Result<()> {
        let mut channel = self.channel;
        channel.send("ready", None).await?;
        match channel.receive(PROMPT).await?.as_str() {
            "draining" => Ok(()),
            _ => Err(broken()),
        }
    }
}

fn broken() -> HandoverError {
    HandoverError::Refused("the other process does not keep to the protocol".to_owned())
}

/// A directory that only this user can enter.
fn make_private(dir: &Path) -> Result<()> {
    let what = || io_error(format!("use the directory `{}`", dir.display()));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(what())?;
    let metadata = fs::metadata(dir).map_err(what())?;
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own {
        return Err(HandoverError::Refused(format!(
            "`{}` belongs to user {}, not to {own}: choose another `run_dir`",
            dir.display(),
            metadata.uid()
        )));
    }
    if metadata.mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(what())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
