//! Starting the binary that is to take over.

use std::{
    ffi::OsString,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// How often a process is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// For a new binary to check the configuration.
const CHECK: Duration = Duration::from_secs(60);
/// How much of what a check says is told.
const WORDS: usize = 6 * 1024;

/// How this process was started.
#[derive(Debug, Clone)]
pub struct Launch {
    arguments: Vec<OsString>,
    conf_dir: PathBuf,
}

impl Launch {
    /// The command line without the binary, and the conf directory in it.
    pub fn new(arguments: impl IntoIterator<Item = OsString>, conf_dir: &Path) -> Self {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        if !arguments.iter().any(|argument| argument == "--upgrade") {
            arguments.push("--upgrade".into());
        }
        Launch { arguments, conf_dir: conf_dir.to_owned() }
    }

    /// Lets a binary check the configuration in the environment of this process.
    ///
    /// # Errors
    /// What is wrong with it, in the binary's words.
    pub(super) async fn check(&self, binary: &Path) -> Result<(), String> {
        let shown = binary.display();
        let mut command = Command::new(binary);
        command.arg("check").arg("--conf").arg(&self.conf_dir);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start `{shown}`: {error}"))?;
        let (said, words) = tokio::sync::oneshot::channel();
        if let Some(mut stderr) = child.stderr.take() {
            // A thread of its own: whoever else holds the pipe may hold it for ever.
            std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.by_ref().take(WORDS as u64).read_to_end(&mut text);
                let _ = said.send(String::from_utf8_lossy(&text).trim().to_owned());
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            });
        }
        let mut checking = Launched(Some(child));
        let Ok(status) = tokio::time::timeout(CHECK, checking.ended()).await else {
            return Err(format!("`{shown} check` does not come to an end"));
        };
        if status == "exit status: 0" {
            return Ok(());
        }
        let words = tokio::time::timeout(Duration::from_secs(1), words).await;
        let words = words.ok().and_then(Result::ok).filter(|words| !words.is_empty());
        Err(words.unwrap_or_else(|| format!("`{shown} check` says nothing and ends with {status}")))
    }

    /// Starts a binary as this process was started, to take over.
    pub(super) fn start(&self, binary: &Path) -> Result<Launched, String> {
        let child = Command::new(binary).args(&self.arguments).stdin(Stdio::null()).spawn();
        let child = child.map_err(|error| format!("cannot start `{}`: {error}", binary.display()))?;
        log::info!("started `{}` as process {}", binary.display(), child.id());
        Ok(Launched(Some(child)))
    }
}

/// A process that was started. It is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Launched(Option<Child>);

impl Launched {
    /// Waits for its end, and says how it ended.
    pub(super) async fn ended(&mut self) -> String {
        loop {
            match self.0.as_mut().map(Child::try_wait) {
                None => return "gone".to_owned(),
                Some(Ok(None)) => tokio::time::sleep(LOOK).await,
                Some(Ok(Some(status))) => {
                    self.0 = None;
                    return ExitStatus::to_string(&status);
                }
                Some(Err(error)) => return error.to_string(),
            }
        }
    }

    /// Lets it go on by itself; its process id.
    pub(super) fn release(mut self) -> u32 {
        self.0.take().map_or(0, |child| child.id())
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        let Some(mut child) = self.0.take() else { return };
        let _ = child.kill();
        // It ends at once; nobody waits for it here.
        let begun = Instant::now();
        std::thread::spawn(move || {
            while begun.elapsed() < CHECK && matches!(child.try_wait(), Ok(None)) {
                std::thread::sleep(LOOK);
            }
        });
    }
}
