//! A file: opened again when it is renamed, rotated by size and by time, its last line made whole after a crash.

use super::{
    super::{queue::BATCH, text},
    Out, Rotate, Settings,
};
use rustix::fs::{FlockOperation, OFlags, flock};
use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

/// How long a pipe that is full is waited for before that is a failure.
const PIPE_PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts to put a file aside that cannot be.
const ROTATE_RETRY: Duration = Duration::from_secs(60);

/// An open file.
pub(in super::super) struct FileOut {
    path: PathBuf,
    file: File,
    /// A pipe or a device is neither rotated nor looked for.
    regular: bool,
    id: (u64, u64),
    size: u64,
    /// When it was last written to, before now.
    written: SystemTime,
    /// The last line is not whole yet.
    mid_line: bool,
    reopen: bool,
    rotate_after: Option<Instant>,
}

impl FileOut {
    /// Opens it, with the directories it stands in.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| {
                explain(&error, &format!("the directory `{}` cannot be made", parent.display()))
            })?;
        }
        FileOut::open_again(path)
    }

    /// Opens it where its directory is there: one that went away, perhaps with its disk, is not made anew.
    fn open_again(path: &Path) -> io::Result<Self> {
        let file = append(path).map_err(|error| {
            let what = match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::NXIO) => "nobody reads this pipe: start its reader first",
                _ => "the file cannot be opened",
            };
            explain(&error, what)
        })?;
        let metadata = file.metadata()?;
        let kind = metadata.file_type();
        let mut out = FileOut {
            path: path.to_owned(),
            regular: kind.is_file() && !kind.is_fifo(),
            id: id(&metadata),
            size: metadata.len(),
            written: metadata.modified().unwrap_or_else(|_| SystemTime::now()),
            file,
            mid_line: false,
            reopen: false,
            rotate_after: None,
        };
        if out.regular {
            out.own()?;
        }
        Ok(out)
    }

    /// Every process that writes the file holds a shared lock. Who gets it alone knows that a line without an end
    /// was left by a crash.
    fn own(&mut self) -> io::Result<()> {
        if flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            self.size = mend(&self.path, &self.file)?;
        }
        // Some file systems have no locks; nothing is mended there.
        let _ = flock(&self.file, FlockOperation::NonBlockingLockShared);
        Ok(())
    }

    /// True where the name stands for another file now, or for none.
    fn is_moved(&self) -> bool {
        std::fs::metadata(&self.path).map_or(true, |metadata| id(&metadata) != self.id)
    }

    fn is_due(&self, rotate: &Rotate, next: usize) -> bool {
        let full = rotate.size.is_some_and(|size| self.size + next as u64 > size);
        let old =
            rotate.every.is_some_and(|every| period(self.written, every) < period(SystemTime::now(), every));
        self.size > 0 && (full || old) && self.rotate_after.is_none_or(|after| Instant::now() >= after)
    }

    /// `x` becomes `x.1`, that `x.2`, and so on; the last one goes.
    fn rotate(&mut self, keep: u32) {
        let name = |number: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let shift = || {
            for number in (1..keep).rev() {
                match std::fs::rename(name(number), name(number + 1)) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            std::fs::rename(&self.path, name(1))
        };
        // Nothing may be lost over it: where it cannot be put aside, it grows.
        if let Err(error) = shift().and_then(|()| self.replace()) {
            log::error!("`{}` cannot be rotated: {error}", self.path.display());
            self.rotate_after = Some(Instant::now() + ROTATE_RETRY);
        }
    }

    fn replace(&mut self) -> io::Result<()> {
        *self = FileOut::open_again(&self.path)?;
        Ok(())
    }
}

impl Out for FileOut {
    fn prepare(&mut self, settings: &Settings, next: usize) -> io::Result<()> {
        // A line that was begun ends where it began.
        if self.mid_line || !self.regular {
            return Ok(());
        }
        if self.reopen || self.is_moved() {
            self.replace()?;
        }
        if let Some(rotate) = &settings.rotate
            && self.is_due(rotate, next)
        {
            self.rotate(rotate.keep);
        }
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let count = loop {
            match self.file.write(lines) {
                // A pipe whose reader is slow.
                Err(error) if error.kind() == ErrorKind::WouldBlock && begun.elapsed() < PIPE_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                done => break done?,
            }
        };
        self.size += count as u64;
        self.written = SystemTime::now();
        if let Some(last) = count.checked_sub(1).and_then(|last| lines.get(last)) {
            self.mid_line = *last != b'\n';
        }
        Ok(count)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.regular { self.file.sync_data() } else { Ok(()) }
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.reopen = self.regular;
        if self.regular && !self.mid_line { self.replace() } else { Ok(()) }
    }
}

fn explain(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Only the gateway's own user may read who called what. A pipe without a reader must not make us wait.
fn append(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(flags).open(path)
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Which of the spans of time since 1970 a time is in.
fn period(time: SystemTime, every: Duration) -> u128 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis() / every.as_millis().max(1)
}

/// Makes the last line whole where a crash has left a part of it; the size of the file then. What is left of the
/// line becomes the text of a line of its own, so that every line of the file is JSON.
fn mend(path: &Path, file: &File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    // Appending ignores positions, so that another handle is needed.
    let mut whole = match OpenOptions::new().read(true).write(true).open(path) {
        Ok(whole) => whole,
        // It may be written, not read: then it cannot be looked at.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(size),
        Err(error) => return Err(error),
    };
    let from = size.saturating_sub(BATCH as u64);
    whole.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    whole.take(BATCH as u64).read_to_end(&mut end)?;
    let torn = end.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    if torn.is_empty() {
        return Ok(size);
    }
    let mut line = b"{\"time\":\"".to_vec();
    text::time(&mut line, SystemTime::now());
    line.extend_from_slice(b"\",\"event\":\"line_torn\",\"text\":\"");
    text::string(&mut line, torn, usize::MAX);
    line.extend_from_slice(b"}\n");
    let start = size - torn.len() as u64;
    OpenOptions::new().write(true).open(path)?.write_all_at(&line, start)?;
    log::warn!("the last line of `{}` was torn, by a crash or a full disk: it is marked", path.display());
    Ok(start + line.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(size: Option<u64>, every: Option<Duration>, keep: u32) -> Settings {
        let bounds = super::super::Bounds { capacity: 1 << 20, flush: Duration::from_millis(1) };
        Settings { bounds, sync: true, rotate: Some(Rotate { size, every, keep }) }
    }

    fn put(out: &mut FileOut, settings: &Settings, line: &str) {
        out.prepare(settings, line.len()).unwrap();
        assert_eq!(out.write(line.as_bytes()).unwrap(), line.len());
        out.sync().unwrap();
    }

    fn read(path: &Path) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }

    #[test]
    fn rotation_by_size_keeps_so_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut out = FileOut::open(&path).unwrap();
        let settings = settings(Some(10), None, 2);
        // The last one is longer than a file may be: it gets one for itself.
        for line in ["one\n", "two\n", "three\n", "four\n", "longer than that\n", "x\n"] {
            put(&mut out, &settings, line);
        }
        let found = ["a", "a.1", "a.2", "a.3"].map(|name| read(&dir.path().join(name)));
        let expected = [Some("x\n"), Some("longer than that\n"), Some("four\n"), None];
        assert_eq!(found, expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn rotation_by_time_looks_at_the_last_line_that_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "old\n").unwrap();
        let hour = Duration::from_secs(3600);
        File::open(&path).unwrap().set_modified(SystemTime::now() - 2 * hour).unwrap();
        let mut out = FileOut::open(&path).unwrap();
        let settings = settings(None, Some(hour), 1);
        put(&mut out, &settings, "new\n");
        assert_eq!(read(&dir.path().join("a.1")).unwrap(), "old\n");
        out.written = SystemTime::now() - 2 * hour;
        put(&mut out, &settings, "newer\n");
        assert_eq!(read(&dir.path().join("a.1")).unwrap(), "new\n");
        assert_eq!(read(&path).unwrap(), "newer\n");
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::create_dir_all(dir.path().join("a.1/in the way")).unwrap();
        let mut out = FileOut::open(&path).unwrap();
        let settings = settings(Some(4), None, 1);
        put(&mut out, &settings, "one\n");
        put(&mut out, &settings, "two\n");
        assert_eq!(read(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_renamed_file_is_opened_again_and_a_line_ends_where_it_began() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("a"), dir.path().join("b"));
        let mut out = FileOut::open(&path).unwrap();
        let settings = settings(None, None, 1);
        put(&mut out, &settings, "one\n");
        put(&mut out, &settings, "tw");
        std::fs::rename(&path, &moved).unwrap();
        out.reopen().unwrap();
        put(&mut out, &settings, "o\n");
        put(&mut out, &settings, "three\n");
        assert_eq!((read(&moved).unwrap(), read(&path).unwrap()), ("one\ntwo\n".into(), "three\n".into()));
        std::fs::remove_file(&path).unwrap();
        put(&mut out, &settings, "four\n");
        assert_eq!(read(&path).unwrap(), "four\n");
    }

    #[test]
    fn a_directory_that_went_away_is_a_failure_until_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log/a");
        let mut out = FileOut::open(&path).unwrap();
        let settings = settings(None, None, 1);
        put(&mut out, &settings, "one\n");
        std::fs::remove_dir_all(dir.path().join("log")).unwrap();
        assert!(out.prepare(&settings, 1).is_err());
        std::fs::create_dir(dir.path().join("log")).unwrap();
        put(&mut out, &settings, "two\n");
        assert_eq!(read(&path).unwrap(), "two\n");
    }

    #[test]
    fn what_a_crash_has_left_becomes_a_line_unless_somebody_is_writing_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        for torn in ["{\"path\":\"/x\\", "half", "\"\u{1}"] {
            std::fs::write(&path, format!("{{}}\n{torn}")).unwrap();
            let mut other = FileOut::open(&path).unwrap();
            let text = read(&path).unwrap();
            let last: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
            assert_eq!((&last["event"], &last["text"]), (&"line_torn".into(), &torn.into()));
            assert!(text.ends_with('\n'));
            assert_eq!(other.size, text.len() as u64);
            other.write(b"ha").unwrap();
            let _second = FileOut::open(&path).unwrap();
            other.write(b"lf\n").unwrap();
            assert_eq!(read(&path).unwrap(), text + "half\n");
        }
    }

    #[test]
    fn a_pipe_without_a_reader_is_refused_and_does_not_hang() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        let error = FileOut::open(&path).err().unwrap();
        assert!(error.to_string().contains("nobody reads this pipe"), "{error}");
        let mut reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut out = FileOut::open(&path).unwrap();
        put(&mut out, &settings(Some(1), None, 1), "one\n");
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\n");
    }
}
