//! Which files a directory holds, each read again where it has changed.

use super::{
    part::{Part, Sets},
    slots::MAX_PARTS,
};
use palisade_contract::{ConfigError, Place};
use std::{
    collections::BTreeMap,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// How the name of a file of consumers ends.
pub const ENDING: &str = "jsonl";
const MAX_FILES: usize = 4096;
const _: () = assert!(MAX_FILES <= MAX_PARTS);
/// What was written so short a while ago may be written again without a trace: clocks of file systems have ticks.
const TICK: Duration = Duration::from_millis(100);

/// What the file system tells of a file without reading it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Print([i64; 6]);

impl Print {
    #[allow(clippy::cast_possible_wrap, reason = "only compared")]
    fn of(found: &Metadata) -> Self {
        let (changed, written) = (found.ctime(), found.mtime());
        Print([
            found.ino() as i64,
            found.size() as i64,
            changed,
            found.ctime_nsec(),
            written,
            found.mtime_nsec(),
        ])
    }

    /// True where a later change would be seen.
    fn is_settled(&self, now: SystemTime) -> bool {
        let Print([_, _, seconds, nanos, ..]) = *self;
        let changed = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
        let changed = changed.map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos));
        changed.and_then(|changed| now.duration_since(changed).ok()).is_some_and(|since| since > TICK)
    }
}

/// A file, and what was read of it last without an error.
#[derive(Debug, Clone)]
struct Known {
    print: Print,
    settled: bool,
    part: Option<Arc<Part>>,
    errors: Vec<ConfigError>,
}

/// The files of a directory.
#[derive(Debug, Default, Clone)]
pub(super) struct Files {
    known: BTreeMap<PathBuf, Known>,
    sets: Sets,
}

/// What looking at the directory came to.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// True where a file came, went or was read again.
    pub(super) changed: bool,
    /// What is wrong. Of a file with errors holds what was read of it before.
    pub(super) errors: Vec<ConfigError>,
}

impl Files {
    /// Looks at the directory, and reads what has changed.
    pub(super) fn look(&mut self, dir: &Path) -> Looked {
        let mut looked = Looked::default();
        let names = match names(dir, &mut looked.errors) {
            Ok(names) => names,
            Err(error) => {
                // As it was: a directory that cannot be read says nothing about its files.
                looked.errors.push(error);
                return looked;
            }
        };
        let mut before = std::mem::take(&mut self.known);
        for path in names {
            let known = before.remove(&path);
            let known = match std::fs::metadata(&path).map(|found| Print::of(&found)) {
                Ok(print) => match known {
                    Some(known) if known.settled && known.print == print => known,
                    known => {
                        let again = read(&path, print, known, &mut self.sets);
                        looked.changed |= again.errors.is_empty();
                        again
                    }
                },
                // It has gone since its name was read.
                Err(_) if is_gone(&path) => {
                    looked.changed = true;
                    continue;
                }
                Err(error) => Known {
                    print: Print::default(),
                    settled: false,
                    part: known.and_then(|known| known.part),
                    errors: vec![cannot(&path, &error)],
                },
            };
            looked.errors.extend(known.errors.iter().cloned());
            self.known.insert(path, known);
        }
        looked.changed |= !before.is_empty();
        drop(before);
        self.sets.sweep();
        looked
    }

    /// What is known of all files, in the order of their names.
    pub(super) fn parts(&self) -> Vec<Arc<Part>> {
        self.known.values().filter_map(|known| known.part.clone()).collect()
    }
}

fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn cannot(path: &Path, error: &std::io::Error) -> ConfigError {
    let error = ConfigError::new(format!("cannot read the file: {error}"));
    error.help("make it readable, or remove it").place(Place::of_file(path))
}

fn read(path: &Path, print: Print, known: Option<Known>, sets: &mut Sets) -> Known {
    // Before it is read: what is written meanwhile is a change.
    let settled = print.is_settled(SystemTime::now());
    match Part::read(path, sets) {
        Ok(part) => Known { print, settled, part: Some(Arc::new(part)), errors: Vec::new() },
        Err(errors) => Known { print, settled, part: known.and_then(|known| known.part), errors },
    }
}

/// The files, in name order. One that would be passed over is an error; names with a dot in front are not looked at.
fn names(dir: &Path, errors: &mut Vec<ConfigError>) -> Result<Vec<PathBuf>, ConfigError> {
    let refuse = |path: &Path, message: String, help: &str| {
        ConfigError::new(message).help(help).place(Place::of_file(path))
    };
    let names = std::fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>());
    let mut names = names.map_err(|error| {
        let help = "make it, readable for the gateway; `palisade consumers add` makes it too";
        refuse(dir, format!("cannot read the directory of consumers: {error}"), help)
    })?;
    names.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    names.sort();
    let ours = |path: &PathBuf| path.extension().is_some_and(|ending| ending == ENDING);
    if let Some(other) = names.iter().find(|path| !ours(path)) {
        let help = "rename it, or move it away; what begins with `.` is passed over";
        errors.push(refuse(other, format!("files of consumers end in `.{ENDING}`"), help));
    }
    names.retain(ours);
    if names.len() > MAX_FILES {
        return Err(refuse(dir, format!("more than {MAX_FILES} files"), "put more consumers into each"));
    }
    Ok(names)
}
