//! Consumers in the files of a directory. A file is written beside itself and takes its own place, so that whoever reads
//! it sees all of a change or nothing.

use super::{Kept, entry::Entry};
use crate::consumers::{ENDING, Line};
use memchr::memmem;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long another command is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Who may read a new file: its owner.
const MODE: u32 = 0o600;

/// A directory, locked as long as this is there.
pub(super) struct Files {
    dir: PathBuf,
    _lock: Option<File>,
}

impl Files {
    /// Opens a directory; one that is to be changed is made where it is not there.
    pub(super) fn open(dir: &Path, change: bool) -> Result<Self, String> {
        let dir = dir.to_owned();
        if !change {
            return Ok(Files { dir, _lock: None });
        }
        let failed = |error: io::Error| format!("cannot make `{}`: {error}", dir.display());
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        }
        let lock = lock(&dir.join(".lock"))?;
        Ok(Files { dir, _lock: Some(lock) })
    }

    /// All files, in name order.
    fn files(&self) -> Result<Vec<PathBuf>, String> {
        let cannot = |error: io::Error| format!("cannot read `{}`: {error}", self.dir.display());
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(cannot)? {
            let path = entry.map_err(cannot)?.path();
            let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
            if !hidden && path.extension().is_some_and(|ending| ending == ENDING) {
                all.push(path);
            }
        }
        all.sort();
        Ok(all)
    }

    /// The file that a consumer stands in.
    fn file_of(&self, name: &str) -> Result<Option<(PathBuf, Entry)>, String> {
        let quoted = memmem::Finder::new(name);
        for path in self.files()? {
            let text = read(&path)?;
            // Most files do not even have the word.
            if quoted.find(&text).is_none() {
                continue;
            }
            for (number, line) in lines(&text) {
                if quoted.find(line).is_some()
                    && let Some(entry) = entry(&path, number, line)?.filter(|entry| entry.name == name)
                {
                    return Ok(Some((path, entry)));
                }
            }
        }
        Ok(None)
    }

    /// Writes a file anew, with other words in the place of a consumer's line; none takes the line out.
    fn rewrite(&self, path: &Path, name: &str, line: Option<&str>) -> Result<(), String> {
        let text = if path.exists() { read(path)? } else { Vec::new() };
        if !text.is_empty() && text.last() != Some(&b'\n') {
            return Err(format!("`{}`: the last line has no line break", path.display()));
        }
        let mut next = Vec::with_capacity(text.len() + 256);
        let mut new = line;
        for (number, old) in lines(&text) {
            // All of them are read, since the gateway would take no file with an error.
            if entry(path, number, old)?.is_none_or(|entry| entry.name != name) {
                next.extend_from_slice(old);
                next.push(b'\n');
            } else if let Some(line) = new.take() {
                next.extend_from_slice(line.as_bytes());
                next.push(b'\n');
            }
        }
        if let Some(line) = new {
            next.extend_from_slice(line.as_bytes());
            next.push(b'\n');
        }
        self.replace(path, &next).map_err(|error| format!("cannot write `{}`: {error}", path.display()))
    }

    /// Puts a file in the place of another one: whole, and on the disk, or not at all.
    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let old = fs::metadata(path).ok();
        let temporary = self.dir.join(format!(".new-{}", std::process::id()));
        let written = write(&temporary, text, &fs::metadata(&self.dir)?, old.as_ref())
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // It may not be there.
            let _ = fs::remove_file(&temporary);
        }
        written?;
        File::open(&self.dir)?.sync_all()
    }
}

impl Kept for Files {
    fn find(&mut self, name: &str) -> Result<Option<Entry>, String> {
        Ok(self.file_of(name)?.map(|(_, entry)| entry))
    }

    fn all(&mut self) -> Result<Vec<Entry>, String> {
        let mut all = Vec::new();
        for path in self.files()? {
            let text = read(&path)?;
            for (number, line) in lines(&text) {
                all.extend(entry(&path, number, line)?);
            }
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    fn put(&mut self, entry: &Entry, before: Option<&Entry>) -> Result<(), String> {
        let line = serde_json::to_string(entry).map_err(|error| error.to_string())?;
        Line::read(line.as_bytes()).map_err(|problem| problem.message)?;
        let found = before.map(|before| self.file_of(&before.name)).transpose()?.flatten();
        let path = found.map_or_else(|| self.dir.join(shard(&entry.name)), |(path, _)| path);
        self.rewrite(&path, &entry.name, Some(&line))
    }

    fn remove(&mut self, entry: &Entry) -> Result<(), String> {
        match self.file_of(&entry.name)? {
            Some((path, _)) => self.rewrite(&path, &entry.name, None),
            None => Ok(()),
        }
    }
}

/// New consumers are spread over 256 files, so that a change of one of a million writes and reads little.
fn shard(name: &str) -> String {
    let first = Sha256::digest(name).first().copied().unwrap_or_default();
    format!("consumers-{first:02x}.{ENDING}")
}

fn lock(path: &Path) -> Result<File, String> {
    let failed = |error: io::Error| format!("cannot lock `{}`: {error}", path.display());
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(path);
    let file = file.map_err(failed)?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= PATIENCE => {
                return Err(format!(
                    "another command changes the same consumers: `{}` is locked",
                    path.display()
                ));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Writes a file whose owner is that of the one before it, else that of the directory: the gateway must be able to read
/// it, whoever runs this.
fn write(path: &Path, text: &[u8], dir: &fs::Metadata, old: Option<&fs::Metadata>) -> io::Result<()> {
    // One of a process that was killed.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(MODE).open(path)?;
    let (own, owner) = (file.metadata()?, old.unwrap_or(dir));
    if (own.uid(), own.gid()) != (owner.uid(), owner.gid()) {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    if let Some(old) = old {
        // Nobody gets more rights than there were, and others none.
        file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o640 | 0o600))?;
    }
    file.write_all(text)?;
    file.sync_all()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.strip_suffix(b"\n").unwrap_or(text).split(|byte| *byte == b'\n');
    (1..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty())
}

/// The consumer of a line. What the gateway would not take is an error here too.
fn entry(path: &Path, number: usize, line: &[u8]) -> Result<Option<Entry>, String> {
    let wrong = |column: u32, what: &str| format!("{}:{number}:{column}: {what}", path.display());
    Line::read(line).map_err(|problem| wrong(problem.column, &problem.message))?;
    serde_json::from_slice(line).map(Some).map_err(|_| wrong(1, "a field that this command does not know"))
}
