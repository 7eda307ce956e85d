//! The predecessor's side of a handover.

use super::{
    HandoverError, MAX_STATE_BYTES, MAX_STATES, PREPARE, Result, VERSION,
    channel::{Channel, MAX_MESSAGE, PROMPT, check_user, own_user},
    io_error,
    launch::{Launch, Launched},
    make_private, socket_path,
};
use std::{
    fs, io,
    net::TcpListener,
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::UnixListener;

/// For a new binary to compile its configuration and ask for the sockets.
const START: Duration = Duration::from_secs(120);

/// What a running process hands over.
pub trait Predecessor: Sync {
    /// Duplicates of the listening sockets, by name.
    ///
    /// # Errors
    /// Those of the system.
    fn sockets(&self) -> io::Result<Vec<(String, TcpListener)>>;

    /// What is known in memory, by name.
    fn state(&self) -> Vec<(String, Vec<u8>)>;

    /// How this process starts its successor; none where it cannot.
    fn launch(&self) -> Option<&Launch>;
}

/// A socket that a successor may connect to. Its file goes when this does.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    pub(super) path: PathBuf,
    /// Device and inode: the file may be a successor's by the time this goes.
    file: (u64, u64),
}

/// A successor serves: this process is to accept nothing more, and to drain.
#[derive(Debug)]
pub struct Takeover {
    /// Who asked for the upgrade, and the successor's process id.
    asked: Option<(Channel, u32)>,
}

impl Takeover {
    /// This process accepts nothing any more: tells whoever asked for the upgrade.
    pub async fn stopped(self) {
        if let Some((channel, id)) = self.asked {
            // Whoever asked may have stopped waiting.
            let _ = channel.send(&format!("upgraded {id}"), None).await;
        }
    }
}

impl Control {
    /// Listens for a successor. Makes `run_dir` where it is missing, open to this user alone. Runs within tokio.
    ///
    /// # Errors
    /// `run_dir` belongs to another user or cannot be made; another process already runs on `conf_dir`.
    pub fn bind(run_dir: &Path, conf_dir: &Path) -> Result<Self> {
        let path = socket_path(run_dir, conf_dir)?;
        if super::answers(&path) {
            return Err(HandoverError::Refused(format!(
                "another process runs on `{}`: stop it, or replace it with `palisade upgrade`",
                conf_dir.display()
            )));
        }
        Control::replace(run_dir, conf_dir)
    }

    /// The same, and takes the place of a predecessor that has said that it is ours.
    ///
    /// # Errors
    /// `run_dir` belongs to another user or cannot be made.
    pub fn replace(run_dir: &Path, conf_dir: &Path) -> Result<Self> {
        let path = socket_path(run_dir, conf_dir)?;
        make_private(run_dir)?;
        Control::listen(path)
    }

    fn listen(path: PathBuf) -> Result<Self> {
        // Bound under another name and moved: a file that is there is replaced in one step.
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

    /// Waits until a successor serves: it has the sockets, what is known, and the control socket's place. Starts one
    /// where that is asked for. Attempts that fail are logged, and the wait goes on. After this, stop accepting and
    /// drain. May be dropped at any time: a successor whose attempt is under way is told that nothing comes of it.
    pub async fn successor(mut self, own: &impl Predecessor) -> Takeover {
        loop {
            let channel = self.accept().await;
            match self.attend(channel, own).await {
                Ok(Some(takeover)) => return takeover,
                Ok(None) => {}
                Err(error) => log::warn!("a successor did not take over: {error}"),
            }
        }
    }

    async fn accept(&self) -> Channel {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return Channel::new(stream),
                Err(error) => {
                    log::warn!("cannot take a successor's connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn attend(&mut self, mut channel: Channel, own: &impl Predecessor) -> Result<Option<Takeover>> {
        let first = first_words(&mut channel).await?;
        match first.strip_prefix("upgrade ") {
            Some(binary) => Ok(self.upgrade(channel, Path::new(binary), own).await),
            None => {
                self.hand_over(channel, &first, own).await?;
                Ok(Some(Takeover { asked: None }))
            }
        }
    }

    /// Starts a new binary and hands over to it; where nothing comes of that, whoever asked is told why.
    async fn upgrade(&mut self, channel: Channel, binary: &Path, own: &impl Predecessor) -> Option<Takeover> {
        log::info!("an upgrade to `{}` was asked for", binary.display());
        let done = match own.launch() {
            None => Err(HandoverError::Refused("this process cannot start another one".to_owned())),
            Some(_) if std::process::id() == 1 => Err(HandoverError::Refused(
                "it is the first process of a container, which would end with it: start another container beside it"
                    .to_owned(),
            )),
            Some(launch) => self.replaced(launch, binary, own).await,
        };
        match done {
            Ok(id) => Some(Takeover { asked: Some((channel, id)) }),
            Err(error) => {
                log::warn!("nothing came of the upgrade, this process goes on: {error}");
                let why = format!("kept {error}");
                let most = why.floor_char_boundary(MAX_MESSAGE);
                let _ = channel.send(why.get(..most).unwrap_or_default(), None).await;
                None
            }
        }
    }

    /// The process id of the new binary, which serves.
    async fn replaced(&mut self, launch: &Launch, binary: &Path, own: &impl Predecessor) -> Result<u32> {
        launch.check(binary).await.map_err(HandoverError::Refused)?;
        let mut launched = launch.start(binary).map_err(HandoverError::Refused)?;
        let result = tokio::select! {
            biased;
            result = tokio::time::timeout(START, self.greeted()) => match result {
                Ok((channel, hello)) => self.hand_over(channel, &hello, own).await,
                Err(_) => Err(HandoverError::Refused(format!("`{}` does not ask for the sockets", binary.display()))),
            },
            status = launched.ended() => Err(HandoverError::Refused(format!(
                "`{}` ended before it took over ({status}); the log of the running process has its last words",
                binary.display()
            ))),
        };
        result.map(|()| Launched::release(launched))
    }

    /// The first successor that says `hello`.
    async fn greeted(&self) -> (Channel, String) {
        loop {
            let mut channel = self.accept().await;
            match first_words(&mut channel).await {
                Ok(words) if words.starts_with("upgrade ") => {
                    let _ = channel.send("kept another upgrade is under way", None).await;
                }
                Ok(words) => return (channel, words),
                // Somebody who only looks whether anybody is here.
                Err(error) => log::debug!("a connection to the control socket: {error}"),
            }
        }
    }

    async fn hand_over(&mut self, channel: Channel, hello: &str, own: &impl Predecessor) -> Result<()> {
        let mut attempt = Attempt { channel, over: false };
        let result = self.hand_over_to(&mut attempt.channel, hello, own).await;
        attempt.over = true;
        result
    }

    async fn hand_over_to(
        &mut self,
        channel: &mut Channel,
        hello: &str,
        own: &impl Predecessor,
    ) -> Result<()> {
        check_user(channel.peer()?, own_user())?;
        if hello != format!("hello {VERSION}") {
            let why = format!("refused this process speaks version {VERSION}");
            channel.send(&why, None).await?;
            return Err(HandoverError::Refused(format!("a successor says `{}`", hello.escape_debug())));
        }
        let sockets = own.sockets().map_err(io_error("duplicate the listening sockets"))?;
        for (name, socket) in &sockets {
            channel.send(&format!("socket {name}"), Some(socket.as_fd())).await?;
        }
        channel.send(&format!("sockets {}", sockets.len()), None).await?;
        said(channel, "state").await?;
        tell(channel, own.state()).await?;
        said(channel, "ready").await?;
        channel.send("yours", None).await?;
        let serving = said(channel, "serving").await;
        if serving.is_err() {
            self.renew();
        }
        serving
    }

    /// The successor is gone, and may have taken the place of the control socket before.
    fn renew(&mut self) {
        if self.is_ours() {
            return;
        }
        match Control::listen(self.path.clone()) {
            Ok(fresh) => *self = fresh,
            Err(error) => log::error!("no successor can reach this process any more: {error}"),
        }
    }

    fn is_ours(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.file)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.is_ours() {
            // A file that stays is replaced by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A handover that is under way. A process that is told to end in the middle of it says so: its successor would take
/// silence for its death, and go on alone.
struct Attempt {
    channel: Channel,
    over: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.over {
            self.channel.try_send("refused this process was told to end");
        }
    }
}

/// What a peer of this user, or root, says first.
async fn first_words(channel: &mut Channel) -> Result<String> {
    let peer = channel.peer()?;
    let words = channel.receive(PROMPT).await?;
    // Root may have this process do what it could do itself; it does not get the sockets.
    if !(words.starts_with("upgrade ") && peer == 0) {
        check_user(peer, own_user())?;
    }
    Ok(words)
}

/// Waits for a successor's word.
async fn said(channel: &mut Channel, word: &str) -> Result<()> {
    match channel.receive(PREPARE).await?.as_str() {
        said if said == word => Ok(()),
        other => Err(HandoverError::Refused(match other.strip_prefix("refused ") {
            Some(why) => why.to_owned(),
            None => format!("a successor says `{}`", other.escape_debug()),
        })),
    }
}

/// Tells what is known in memory, as much as is within bounds.
async fn tell(channel: &Channel, state: Vec<(String, Vec<u8>)>) -> Result<()> {
    let (mut count, mut bytes) = (0, 0);
    for (name, known) in &state {
        bytes += known.len();
        if count >= MAX_STATES || bytes > MAX_STATE_BYTES || name.len() > MAX_MESSAGE / 2 {
            log::warn!("{name}: there is too much to be carried over: it begins anew");
            bytes -= known.len();
            continue;
        }
        count += 1;
        channel.send_bytes(&format!("state {} {name}", known.len()), known).await?;
    }
    channel.send(&format!("states {count}"), None).await
}
