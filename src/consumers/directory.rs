//! A directory of files with consumers, looked at again and again.

use super::{Reserved, View, files::Files, table::Table};
use arc_swap::ArcSwap;
use palisade_contract::{ConfigError, ConsumerSource, Held, Host, Step, Task};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// From one look to the next.
const EVERY: Duration = Duration::from_millis(500);
/// As many errors are said while it runs.
const SAID: usize = 20;

/// The consumers of a directory. Nobody looks at it any more when this is dropped.
pub struct Directory {
    shared: Arc<Shared>,
    watching: Mutex<Option<Task>>,
}

struct Shared {
    path: PathBuf,
    reserved: Reserved,
    table: ArcSwap<Table>,
    state: Mutex<State>,
}

struct State {
    files: Files,
    /// What clashes among the files as they are.
    clash: Vec<ConfigError>,
    error: String,
    loaded_at: SystemTime,
    loads: u64,
    failures: u64,
}

impl Directory {
    /// Reads a directory. Files that `previous` has read of the same directory, and that have not changed since, are
    /// not read again.
    ///
    /// # Errors
    /// Everything that is wrong: at the start, and at a reload, nothing of it is served.
    pub fn open(
        path: &Path,
        reserved: Reserved,
        previous: Option<&Directory>,
    ) -> Result<Self, Vec<ConfigError>> {
        let previous = previous.filter(|previous| previous.shared.path == path);
        let known = previous.map(|previous| {
            let state = previous.shared.state.lock();
            (state.files.clone(), state.loads, state.failures)
        });
        let (mut files, loads, failures) = known.unwrap_or_default();
        let mut looked = files.look(path);
        if looked.errors.is_empty() {
            let same = previous.filter(|one| !looked.changed && one.shared.reserved == reserved);
            let same = same.filter(|one| one.shared.state.lock().clash.is_empty());
            let table = match same {
                Some(previous) => Ok(previous.shared.table.load_full()),
                None => Table::new(files.parts(), &reserved).map(Arc::new),
            };
            match table {
                Ok(table) => {
                    let state = State {
                        files,
                        clash: Vec::new(),
                        error: String::new(),
                        loaded_at: SystemTime::now(),
                        loads: loads + 1,
                        failures,
                    };
                    let shared = Shared {
                        path: path.to_owned(),
                        reserved,
                        table: ArcSwap::new(table),
                        state: Mutex::new(state),
                    };
                    return Ok(Directory { shared: Arc::new(shared), watching: Mutex::default() });
                }
                Err(errors) => looked.errors = errors,
            }
        }
        Err(looked.errors)
    }

    /// Looks from now on whether something has changed.
    pub fn watch(&self, host: &Arc<dyn Host>) {
        let (shared, inner) = (self.shared.clone(), host.clone());
        let name = format!("the consumers of `{}`", shared.path.display());
        let work = async move {
            loop {
                let shared = shared.clone();
                // Reading is not for the threads that serve.
                inner.compute(Box::new(move || shared.look())).await;
                inner.sleep(EVERY).await;
            }
        };
        *self.watching.lock() = Some(host.spawn(&name, Box::pin(work)));
    }

    /// Nobody looks any more.
    pub fn stop(&self) {
        self.watching.lock().take();
    }

    /// Looks once.
    pub fn look(&self) {
        self.shared.look();
    }

    /// How it is.
    pub fn view(&self) -> View {
        let (state, table) = (self.shared.state.lock(), self.shared.table.load());
        View {
            kind: "directory",
            at: self.shared.path.display().to_string(),
            ok: state.error.is_empty(),
            error: state.error.clone(),
            loaded_at: Some(state.loaded_at),
            sizes: Some((table.consumers(), table.credentials())),
            events: BTreeMap::from([("loaded", state.loads), ("failed", state.failures)]),
        }
    }

    /// What all of it takes of memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.shared.table.load().bytes()
    }
}

impl ConsumerSource for Directory {
    fn find_key(&self, hash: &[u8; 32]) -> Step<'static, Option<Held>> {
        Step::Now(Ok(self.shared.table.load().find(hash)))
    }
}

impl Shared {
    /// Reads what has changed. Of a file with an error what was read before goes on to hold; where consumers of several
    /// files clash, all of what was read before.
    fn look(&self) {
        let mut state = self.state.lock();
        let looked = state.files.look(&self.path);
        let mut errors = looked.errors;
        let mut news = false;
        // Where files clashed they are put together again, whatever has changed: a file may have gone.
        if looked.changed {
            match Table::new(state.files.parts(), &self.reserved) {
                Ok(table) => {
                    news = true;
                    self.table.store(Arc::new(table));
                    state.loads += 1;
                    state.loaded_at = SystemTime::now();
                    state.clash.clear();
                }
                Err(clash) => state.clash = clash,
            }
        }
        errors.extend(state.clash.iter().cloned());
        let error = said(&errors);
        if error == state.error {
            if news {
                self.tell();
            }
            return;
        }
        if error.is_empty() {
            self.tell();
        } else {
            state.failures += 1;
            log::error!(
                "consumers of `{}`: what was read before goes on to hold:\n{error}",
                self.path.display()
            );
        }
        state.error = error;
    }

    fn tell(&self) {
        let table = self.table.load();
        let (consumers, credentials) = (table.consumers(), table.credentials());
        log::info!("`{}` holds {consumers} consumers with {credentials} keys", self.path.display());
    }
}

/// Errors for the log and the admin API: each on a line.
fn said(errors: &[ConfigError]) -> String {
    let line = |error: &ConfigError| {
        let place = error.place.as_ref().map_or_else(String::new, |place| format!("{place}: "));
        let other =
            error.other.as_ref().map_or_else(String::new, |(what, place)| format!(" ({what}: {place})"));
        format!("{place}{}{other}", error.message)
    };
    let mut said: Vec<String> = errors.iter().take(SAID).map(line).collect();
    if errors.len() > SAID {
        said.push(format!("and {} more", errors.len() - SAID));
    }
    said.join("\n")
}

#[cfg(test)]
mod tests;
