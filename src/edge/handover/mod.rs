//! Handing listening sockets to a successor, so that an upgrade loses no request.
//!
//! The running process listens on a control socket in `run_dir`. A successor connects, says `hello`, gets the
//! listening sockets (`SCM_RIGHTS`), binds what it lacks, takes over what is known in memory, and says `ready` once it
//! accepts on all of them. It takes the control socket's place, tells its supervisor, and says `serving`; only then does
//! the predecessor stop accepting and drain. A successor that goes away earlier changes nothing.
//!
//! Messages are short texts behind a length of 32 bits:
//!
//! | from | message | with |
//! |---|---|---|
//! | successor | `hello 2` | |
//! | predecessor | `socket NAME`, for each | the descriptor |
//! | predecessor | `sockets COUNT` | |
//! | successor | `state` | |
//! | predecessor | `state LENGTH NAME`, for each | so many bytes behind it |
//! | predecessor | `states COUNT` | |
//! | successor | `ready` | |
//! | predecessor | `yours` | |
//! | successor | `serving` | |
//! | either | `refused REASON` | |
//!
//! `palisade upgrade` asks for a successor on the same socket. The running process starts it itself: so it has the same
//! environment, working directory, log, user, limits and supervisor.
//!
//! | from | message | |
//! |---|---|---|
//! | `palisade upgrade` | `upgrade PATH` | the new binary |
//! | running process | `upgraded PID` | the successor serves, and this process accepts nothing any more |
//! | running process | `kept REASON` | nothing has changed |
//!
//! The directory is open to our user alone, and both sides look at the other's user id; root may ask for an upgrade.

mod channel;
mod control;
mod launch;
mod request;
mod successor;

pub use control::{Control, Predecessor, Takeover};
pub use launch::Launch;
pub use request::{Upgraded, upgrade};
pub use successor::{Taken, take};

use sha2::{Digest, Sha256};
use std::{
    fmt, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

const VERSION: &str = "2";
/// For a successor to bind what it lacks, and to take its place.
const PREPARE: Duration = Duration::from_secs(60);
/// Sockets that are handed over.
const MAX_SOCKETS: usize = 256;
/// Things known in memory that are handed over, and their bytes together.
const MAX_STATES: usize = 4096;
const MAX_STATE_BYTES: usize = 64 << 20;

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

impl HandoverError {
    /// True where the other process is not there any more.
    pub fn is_gone(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, UnexpectedEof};
        matches!(self, HandoverError::Io(_, error)
            if matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected | UnexpectedEof))
    }
}

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
