//! Seeing that files of the configuration change: those of the conf directory, and those that it names elsewhere.

mod names;

use crate::{
    conf::model::{Config, ConsumerSource},
    gateway::Snapshot,
};
use names::names;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    fs::Metadata,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::sync::mpsc;

/// Editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// The clock of a file system may be so much behind.
const TICK: Duration = Duration::from_millis(50);
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

/// Everything that a configuration was read from.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Files {
    dir: PathBuf,
    /// Below the directory, and no configuration: what is written there is our own.
    own: Vec<PathBuf>,
    /// Files elsewhere, and links on the way to any.
    names: BTreeSet<PathBuf>,
}

impl Files {
    pub(super) fn of(config: &Config, snapshot: &Snapshot) -> Self {
        let mut files = Files::default();
        files.dir = files.add(&config.dir);
        let own = [&config.state_dir, &config.run_dir].map(|dir| names(dir).pop().unwrap_or_default());
        // A directory of consumers is looked at by itself.
        let consumers = config.consumer_source.as_ref().and_then(|at| match &at.value {
            ConsumerSource::Directory { path, watch: true } => names(path).pop(),
            _ => None,
        });
        files.own = own
            .into_iter()
            .chain(consumers)
            .filter(|own| own.starts_with(&files.dir) && *own != files.dir)
            .collect();
        for file in config.files.iter().chain(&snapshot.files).chain(named(config)) {
            files.add(file);
        }
        files
    }

    /// Adds a file and the links on the way to it; gives where that leads.
    fn add(&mut self, path: &Path) -> PathBuf {
        let mut names = names(path);
        let end = names.last().cloned().unwrap_or_default();
        if end == self.dir || self.dir.as_os_str().is_empty() {
            names.pop();
        }
        self.names.extend(names);
        end
    }

    /// The folders to look at besides the directory itself.
    fn folders(&self) -> BTreeSet<PathBuf> {
        let parents = self.names.iter().filter_map(|name| name.parent());
        parents.filter(|parent| !parent.starts_with(&self.dir)).map(Path::to_owned).collect()
    }

    fn has(&self, changed: &Path) -> bool {
        let in_dir = changed.starts_with(&self.dir) && !self.own.iter().any(|own| changed.starts_with(own));
        in_dir || self.names.contains(changed)
    }

    /// True where one of them may have changed after `then`.
    fn changed_since(&self, then: SystemTime, but: &Files) -> bool {
        let then = then.checked_sub(TICK).and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
        let mut new = self.names.iter().filter(|name| !but.names.contains(*name));
        new.any(|name| {
            let Ok(found) = std::fs::symlink_metadata(name) else { return true };
            then.is_none_or(|then| changed_at(&found) >= then)
        })
    }
}

fn changed_at(found: &Metadata) -> Duration {
    let seconds = u64::try_from(found.ctime()).unwrap_or_default();
    Duration::new(seconds, u32::try_from(found.ctime_nsec()).unwrap_or_default())
}

/// Files that the configuration names, besides those that plugins read.
fn named(config: &Config) -> Vec<&PathBuf> {
    let mut all: Vec<&PathBuf> = Vec::new();
    for tls in config.listeners.values().filter_map(|listener| listener.value.tls.as_ref()) {
        all.extend(tls.certificates.iter().flat_map(|at| [&at.value.certificate, &at.value.key]));
        if let Some(auth) = &tls.client_auth {
            all.extend([&auth.ca].into_iter().chain(&auth.crl).map(|at| &at.value));
        }
    }
    for tls in config.upstreams.values().filter_map(|upstream| upstream.value.tls.as_ref()) {
        all.extend(tls.ca.as_ref().map(|at| &at.value));
        all.extend(tls.identity.iter().flat_map(|at| [&at.value.certificate, &at.value.key]));
    }
    let routes = config.routes.values().flat_map(|route| route.value.errors.values());
    all.extend(config.errors.values().chain(routes).filter_map(|body| body.file.as_ref()));
    all
}

/// The files of the configuration that serves, and who looks at them.
pub(super) struct Watched {
    changed: mpsc::Sender<()>,
    changes: Mutex<Option<mpsc::Receiver<()>>>,
    watching: Mutex<Option<Watching>>,
}

struct Watching {
    watcher: RecommendedWatcher,
    /// What it looks at, as it knows it too.
    files: Arc<Mutex<Files>>,
}

impl Watched {
    pub(super) fn new() -> Self {
        let (changed, changes) = mpsc::channel(1);
        Watched { changed, changes: Mutex::new(Some(changes)), watching: Mutex::new(None) }
    }

    /// Who wants to be told of changes; the first one is.
    pub(super) fn changes(&self) -> Option<Changes> {
        self.changes.lock().take().map(Changes)
    }

    /// Looks at these files from now on; at none where there are none. What has changed since `then`, when reading
    /// them began, counts as a change, as far as they were not looked at before.
    pub(super) fn follow(&self, files: Option<Files>, then: SystemTime) -> notify::Result<()> {
        let mut watching = self.watching.lock();
        let Some(files) = files else {
            *watching = None;
            return Ok(());
        };
        let before = watching.as_ref().map(|watching| watching.files.lock().clone());
        if before.as_ref() == Some(&files) {
            return Ok(());
        }
        let before = before.unwrap_or_default();
        let mut next = match watching.take() {
            Some(watching) => watching,
            None => self.watch(&files)?,
        };
        let (old, new) = (before.folders(), files.folders());
        let added = new.difference(&old).map(|folder| (folder, RecursiveMode::NonRecursive));
        let dir = Some((&files.dir, RecursiveMode::Recursive)).filter(|_| before.dir != files.dir);
        // Where one cannot be looked at, the others still can.
        let watch = |(folder, mode): (&PathBuf, _)| next.watcher.watch(folder, mode);
        let failed = added.chain(dir).map(watch).filter_map(Result::err).last();
        // Folders that have gone are not looked at any more anyway.
        for folder in old.difference(&new).chain(Some(&before.dir).filter(|dir| **dir != files.dir)) {
            let _ = next.watcher.unwatch(folder);
        }
        let missed = files.changed_since(then, &before);
        *next.files.lock() = files;
        *watching = Some(next);
        if missed {
            self.tell();
        }
        failed.map_or(Ok(()), Err)
    }

    /// As if something had changed.
    pub(super) fn tell(&self) {
        // A full queue means that a reload is on its way already.
        let _ = self.changed.try_send(());
    }

    fn watch(&self, files: &Files) -> notify::Result<Watching> {
        let files = Arc::new(Mutex::new(files.clone()));
        let (changed, known) = (self.changed.clone(), files.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let files = known.lock();
            // One that names nothing says that some were missed.
            let ours = event.paths.is_empty() || event.paths.iter().any(|path| files.has(path));
            if ours && !event.kind.is_access() {
                let _ = changed.try_send(());
            }
        })?;
        Ok(Watching { watcher, files })
    }
}

/// Says that files have changed.
pub(super) struct Changes(mpsc::Receiver<()>);

impl Changes {
    /// Waits for a change, and until a burst of them is over.
    pub(super) async fn next(&mut self) -> Option<()> {
        self.0.recv().await?;
        while tokio::time::timeout(QUIET, self.0.recv()).await.is_ok_and(|change| change.is_some()) {}
        Some(())
    }
}

#[cfg(test)]
mod tests;
