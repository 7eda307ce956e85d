//! Where lines go.

pub(super) mod file;
pub(super) mod http;
pub(super) mod syslog;

use super::queue::Bounds;
use palisade_contract::Host;
use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use syslog::Target;

/// Where lines go. Entries with equal sinks share a writer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Sink {
    File(PathBuf),
    Stdout,
    Syslog(Target),
    Http(http::Target),
}

/// How lines are written; a reload may change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) bounds: Bounds,
    /// Each batch is made durable before it counts as written.
    pub(super) sync: bool,
    /// Of a file.
    pub(super) rotate: Option<Rotate>,
}

/// When a file is put aside, and how many of those are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rotate {
    pub(super) size: Option<u64>,
    pub(super) every: Option<Duration>,
    pub(super) keep: u32,
}

/// An open sink. Called by its writing thread alone.
pub(super) trait Out: Send {
    /// Before `next` bytes are written.
    fn prepare(&mut self, settings: &Settings, next: usize) -> io::Result<()> {
        let _ = (settings, next);
        Ok(())
    }

    /// Writes some of the lines; how many bytes are done with.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize>;

    /// Makes durable what was written.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Opens it again under its name.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// Opens it, or says for an operator what is wrong.
    pub(super) fn open(&self, host: &Arc<dyn Host>) -> io::Result<Box<dyn Out>> {
        Ok(match self {
            Sink::Stdout => Box::new(Stdout),
            Sink::File(path) => Box::new(file::FileOut::open(path)?),
            Sink::Syslog(target) => Box::new(syslog::SyslogOut::open(target)?),
            Sink::Http(target) => Box::new(http::HttpOut::open(target, host)?),
        })
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::File(path) => write!(f, "`{}`", path.display()),
            Sink::Stdout => f.write_str("standard output"),
            Sink::Syslog(target) => write!(f, "syslog at `{}`", target.to),
            Sink::Http(target) => write!(f, "`{}`", target.url),
        }
    }
}

struct Stdout;

impl Out for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout();
        out.write_all(lines)?;
        // Whole lines stand in its buffer: it empties to the last one.
        out.flush()?;
        Ok(lines.len())
    }
}
