//! Seeing that files of the conf directory change.

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

/// Editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// Folders below folders that are looked at; links can make circles.
const DEPTH: usize = 16;

/// What a directory holds, as far as the file system tells without reading: two that are equal were taken while
/// nothing changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<(PathBuf, [i64; 6])>);

impl Fingerprint {
    pub(super) fn of(dir: &Path) -> Self {
        let mut all = Vec::new();
        collect(dir, DEPTH, &mut all);
        all.sort();
        Fingerprint(all)
    }
}

fn collect(dir: &Path, depth: usize, all: &mut Vec<(PathBuf, [i64; 6])>) {
    // What cannot be read now is no part of it; where that changes, so does the fingerprint.
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(found) = std::fs::metadata(&path) else { continue };
        if found.is_dir() && depth > 0 {
            collect(&path, depth - 1, all);
        } else if !found.is_dir() {
            all.push((path, print(&found)));
        }
    }
}

#[allow(clippy::cast_possible_wrap, reason = "only compared")]
fn print(found: &Metadata) -> [i64; 6] {
    let (changed, written) = (found.ctime(), found.mtime());
    [found.ino() as i64, found.size() as i64, changed, found.ctime_nsec(), written, found.mtime_nsec()]
}

/// Says that files have changed.
pub(super) struct Changes {
    seen: mpsc::Receiver<()>,
    /// Watches for as long as it lives.
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Watches a directory. What has changed since `before` was taken counts as seen: the configuration was read
    /// after that, and before anybody watched.
    pub(super) fn since(dir: &Path, before: &Fingerprint) -> notify::Result<Self> {
        let (changed, seen) = mpsc::channel::<()>(1);
        let missed = changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // A full queue means that a reload is on its way already.
                let _ = changed.try_send(());
            }
        })?;
        watcher.watch(dir, RecursiveMode::Recursive)?;
        if Fingerprint::of(dir) != *before {
            let _ = missed.try_send(());
        }
        Ok(Changes { seen, _watcher: watcher })
    }

    /// Waits for a change, and until a burst of them is over.
    pub(super) async fn next(&mut self) -> Option<()> {
        self.seen.recv().await?;
        while tokio::time::timeout(QUIET, self.seen.recv()).await.is_ok_and(|change| change.is_some()) {}
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_changes_before_anybody_watches_is_seen() {
        let changes: [fn(&Path); 5] = [
            |dir| fs::write(dir.join("a.yaml"), "version: 2").unwrap(),
            |dir| fs::write(dir.join("routes/b.yaml"), "").unwrap(),
            |dir| fs::remove_file(dir.join("a.yaml")).unwrap(),
            |dir| fs::rename(dir.join("a.yaml"), dir.join("z.yaml")).unwrap(),
            |dir| {
                fs::write(dir.join("new"), "version: 1").unwrap();
                fs::rename(dir.join("new"), dir.join("a.yaml")).unwrap();
            },
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("routes")).unwrap();
            fs::write(dir.path().join("a.yaml"), "version: 1").unwrap();
            let before = Fingerprint::of(dir.path());
            let mut unchanged = Changes::since(dir.path(), &before).unwrap();
            assert!(unchanged.seen.try_recv().is_err(), "{index}: nothing has changed");
            drop(unchanged);
            change(dir.path());
            let mut changes = Changes::since(dir.path(), &before).unwrap();
            assert!(changes.seen.try_recv().is_ok(), "{index}: it was missed");
        }
    }
}
