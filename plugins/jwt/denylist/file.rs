//! A list in a file, which is looked at twice in a second.

use super::list::List;
use arc_swap::ArcSwap;
use palisade_contract::{Counter, Host, Task};
use parking_lot::Mutex;
use std::{
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// The most bytes of a file.
const MAX_FILE: u64 = 64 << 20;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// A file that has changed so lately may change again without showing it: it is read again.
const YOUNG: Duration = Duration::from_secs(2);

/// A list that follows its file as long as this is held.
pub(in crate::jwt) struct Watched {
    shared: Arc<Shared>,
    _looking: Task,
}

struct Shared {
    list: ArcSwap<List>,
    path: PathBuf,
    /// How the file looked when it was read last.
    seen: Mutex<Option<Seen>>,
    told: Mutex<bool>,
    failed: Counter,
}

/// What changes with a file's content.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Seen {
    fn of(found: &Metadata) -> Self {
        Seen {
            inode: found.ino(),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    fn is_young(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.changed.0.unsigned_abs().saturating_add(YOUNG.as_secs()) >= now
    }
}

/// Reads a list.
pub(super) fn read(path: &Path) -> Result<List, String> {
    let size = fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?.len();
    if size > MAX_FILE {
        return Err("it has more than 64 mebibytes".to_owned());
    }
    List::read(&fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?)
}

impl Watched {
    /// Begins with a list that was read already.
    pub(super) fn start(host: &Arc<dyn Host>, path: PathBuf, list: List, failed: Counter) -> Self {
        let shared = Arc::new(Shared {
            list: ArcSwap::from_pointee(list),
            path,
            // What was read before this began is read once more.
            seen: Mutex::default(),
            told: Mutex::default(),
            failed,
        });
        let (work, name) = (shared.clone(), shared.path.display().to_string());
        let clock = host.clone();
        let task = host.spawn(
            &format!("the denylist {name}"),
            Box::pin(async move {
                loop {
                    clock.sleep(LOOK).await;
                    let work = work.clone();
                    clock.compute(Box::new(move || work.look())).await;
                }
            }),
        );
        Watched { shared, _looking: task }
    }

    /// The list as it was last good.
    pub(super) fn list(&self) -> Arc<List> {
        self.shared.list.load_full()
    }

    /// Its number: whoever has asked a list of this number needs not ask again.
    pub(super) fn number(&self) -> i64 {
        self.shared.list.load().number
    }
}

impl Shared {
    fn look(&self) {
        // Before it is read: what is written meanwhile is seen by the next look.
        let seen = fs::metadata(&self.path).ok().map(|found| Seen::of(&found));
        if seen.as_ref().is_some_and(|seen| !seen.is_young()) && *self.seen.lock() == seen {
            return;
        }
        let mut told = self.told.lock();
        match read(&self.path) {
            Ok(list) => {
                self.list.store(Arc::new(list));
                *self.seen.lock() = seen;
                if std::mem::take(&mut *told) {
                    log::info!("the denylist {} is good again", self.path.display());
                }
            }
            Err(error) => {
                self.failed.add(1);
                if !std::mem::replace(&mut *told, true) {
                    log::warn!("the denylist {}: {error}; what it said before stays", self.path.display());
                }
            }
        }
    }
}
