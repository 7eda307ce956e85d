//! What a plugin is given while it is built.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::{
    carry::{Carried, Carry},
    conf::{ConfigError, Place},
    counters::{Counter, Counters, Event},
    credentials::CredentialPlaces,
    decision::EntryInfo,
    host::Host,
    lockouts::{Lockouts, LockoutsOf},
    principal::Consumer,
    source::ConsumerSource,
    store::{Store, Stores},
};

/// A consumer's credential, with where it is written.
pub struct CredentialEntry {
    /// Whose it is.
    pub consumer: Arc<Consumer>,
    /// The value, of the type that the plugin's descriptor names.
    pub value: Box<dyn Any + Send + Sync>,
    /// Where it is written.
    pub place: Place,
}

impl fmt::Debug for CredentialEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialEntry({} at {})", self.consumer.name, self.place)
    }
}

/// All consumers' credentials, by plugin name.
pub type Credentials = HashMap<&'static str, Vec<CredentialEntry>>;

/// What a plugin is given while it is built: where its entry stands, the consumers' credentials, and things
/// that outlive a reload.
pub struct BuildEnv<'a> {
    /// The entry: its key, scope and place.
    pub entry: &'a EntryInfo,
    /// The route it is built for; none for an everywhere-entry and a consumer's.
    pub route: Option<&'a str>,
    /// All consumers, by name.
    pub consumers: &'a HashMap<Arc<str>, Arc<Consumer>>,
    /// The groups that consumers are in; none where not all consumers are known, so that nothing can be said to be
    /// missing.
    pub groups: Option<&'a BTreeSet<Arc<str>>>,
    /// All consumers' credentials.
    pub all_credentials: &'a Credentials,
    /// Consumers outside of the configuration.
    pub source: Option<&'a Arc<dyn ConsumerSource>>,
    /// Where files are written.
    pub state_dir: &'a Path,
    /// What outlives a reload.
    pub keep: &'a Keep,
    /// HTTP calls, background work and time.
    pub host: &'a Arc<dyn Host>,
    /// State that several gateways share.
    pub stores: &'a Stores,
    /// Where the snapshot's authenticators look for credentials; complete when the first request comes.
    pub credential_places: &'a CredentialPlaces,
    /// What plugins read: with `watch` a change of it is a reason to read the configuration again.
    pub files: &'a FilesRead,
    /// True where the configuration is only checked: open no file for writing, start nothing.
    pub dry_run: bool,
    /// True where requests are only tried (`palisade test`, `palisade explain`): decide as ever, and reach nobody but
    /// through `host` and `stores`, which are mocked; write nothing.
    pub trial: bool,
}

impl BuildEnv<'_> {
    /// The credentials that consumers hold for this plugin, of the type given to
    /// [`Descriptor::with_credentials`](crate::Descriptor::with_credentials).
    pub fn credentials<C: 'static>(&self) -> impl Iterator<Item = (&Arc<Consumer>, &C, &Place)> {
        self.all_credentials
            .get(self.entry.plugin)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some((&entry.consumer, entry.value.downcast_ref::<C>()?, &entry.place)))
    }

    /// The count of an event of this entry, shown in the metrics. `event` is a word of the plugin's code, or one of a few
    /// that its configuration gives. It survives a reload.
    pub fn counter(&self, event: impl Into<Event>) -> Counter {
        self.keep.counters.get(&self.entry.key, event)
    }

    /// The store that `field` of the configuration names.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn store(&self, name: &str, field: &str) -> Result<Arc<dyn Store>, ConfigError> {
        self.stores.get(name, field)
    }

    /// Consumers outside of the configuration, where there are any: to be asked after those of [`BuildEnv::credentials`].
    pub fn source(&self) -> Option<Arc<dyn ConsumerSource>> {
        self.source.cloned()
    }

    /// A path to read, relative to the file that the entry stands in. With `watch` the configuration is read again
    /// when the file changes.
    pub fn path_to_read(&self, path: &str) -> PathBuf {
        let path = self.entry.place.file.parent().unwrap_or(Path::new("")).join(path);
        self.files.0.lock().push(path.clone());
        path
    }

    /// A path to write, relative to `state_dir`.
    pub fn path_to_write(&self, path: &str) -> PathBuf {
        self.state_dir.join(path)
    }

    /// Something of this entry that outlives a reload (counts, an open file): made by `init` the first time,
    /// found again as long as scope, entry key and `name` stay the same.
    pub fn keep<T: Any + Send + Sync>(&self, name: &str, init: impl FnOnce() -> T) -> Arc<T> {
        self.keep.get(&self.kept_as(name), init)
    }

    /// The same, and it goes along where another process takes over: [`Carry`].
    pub fn keep_carried<T: Carry>(&self, name: &str, init: impl FnOnce() -> T) -> Arc<T> {
        let kept = self.keep(name, init);
        self.keep.carried.add(&self.kept_as(name), &kept);
        kept
    }

    /// Shows the lockouts of something that [`keep`](BuildEnv::keep) keeps in the admin API, where they may be ended.
    pub fn show_lockouts(&self, kept: &Arc<impl Lockouts>) {
        let weak: Weak<dyn Lockouts> = Arc::downgrade(kept) as Weak<dyn Lockouts>;
        self.keep.lockouts.lock().insert((self.route.map(Arc::from), self.entry.key.clone()), weak);
    }

    fn kept_as(&self, name: &str) -> String {
        let route = self.route.unwrap_or("");
        format!("{}/{route}/{}/{name}", self.entry.scope.as_str(), self.entry.key)
    }

    /// Something that all entries of all snapshots share under one `name` (what is fetched from one address): made
    /// by `init` the first time, found again as long as anybody holds it, gone with the last snapshot that does.
    pub fn share<T: Any + Send + Sync, E>(
        &self,
        name: &str,
        init: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        self.keep.share(&format!("{}/{name}", self.entry.plugin), init)
    }

    /// The same, and it goes along where another process takes over: [`Carry`].
    pub fn share_carried<T: Carry, E>(
        &self,
        name: &str,
        init: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let shared = self.share(name, init)?;
        self.keep.carried.add(&format!("shared {}/{name}", self.entry.plugin), &shared);
        Ok(shared)
    }
}

impl fmt::Debug for BuildEnv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildEnv")
            .field("entry", &self.entry)
            .field("route", &self.route)
            .finish_non_exhaustive()
    }
}

/// Files that plugins read while they are built.
#[derive(Debug, Default)]
pub struct FilesRead(Mutex<Vec<PathBuf>>);

impl FilesRead {
    /// The files so far, which are forgotten here.
    pub fn take(&self) -> Vec<PathBuf> {
        std::mem::take(&mut self.0.lock())
    }
}

type Shared = dyn Any + Send + Sync;

/// What outlives a reload: values by key and type. What no snapshot uses any more goes with [`Keep::sweep`], what is
/// only shared goes with its last holder.
#[derive(Default)]
pub struct Keep {
    kept: Mutex<HashMap<String, Arc<Shared>>>,
    shared: Mutex<HashMap<String, Weak<Shared>>>,
    counters: Counters,
    carried: Carried,
    lockouts: Mutex<BTreeMap<Locks, Weak<dyn Lockouts>>>,
}

/// Whose lockouts: the route, where the entry stands in one, and the entry's key.
type Locks = (Option<Arc<str>>, Arc<str>);

impl Keep {
    /// The value under `key`, made by `init` where there is none of this type.
    pub fn get<T: Any + Send + Sync>(&self, key: &str, init: impl FnOnce() -> T) -> Arc<T> {
        let mut kept = self.kept.lock();
        if let Some(value) = kept.get(key).cloned().and_then(|value| value.downcast::<T>().ok()) {
            return value;
        }
        let value = Arc::new(init());
        kept.insert(key.to_owned(), value.clone());
        value
    }

    /// The value under `key` where somebody still holds it, else a new one; it is not kept here.
    pub fn share<T: Any + Send + Sync, E>(
        &self,
        key: &str,
        init: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let mut shared = self.shared.lock();
        let held = shared.get(key).and_then(Weak::upgrade).and_then(|value| value.downcast::<T>().ok());
        if let Some(value) = held {
            return Ok(value);
        }
        let value = Arc::new(init()?);
        let weak: Weak<T> = Arc::downgrade(&value);
        shared.insert(key.to_owned(), weak);
        Ok(value)
    }

    /// Lets go of what is kept for entries: the next snapshot begins anew. What is shared stays with its holders.
    pub fn forget(&self) {
        self.kept.lock().clear();
    }

    /// Lets go of what nobody else holds. Called after the old snapshot is gone.
    pub fn sweep(&self) {
        self.kept.lock().retain(|_, value| Arc::strong_count(value) > 1);
        self.shared.lock().retain(|_, value| value.strong_count() > 0);
        self.counters.sweep();
        self.carried.sweep();
        self.lockouts.lock().retain(|_, value| value.strong_count() > 0);
    }

    /// For the admin API: all that locks callers out, by route and entry.
    pub fn lockouts(&self) -> Vec<LockoutsOf> {
        let lockouts = self.lockouts.lock();
        let held = lockouts.iter().filter_map(|((route, key), weak)| {
            Some(LockoutsOf { route: route.clone(), entry: key.clone(), lockouts: weak.upgrade()? })
        });
        held.collect()
    }

    /// What goes along when another process takes over.
    pub fn carried(&self) -> &Carried {
        &self.carried
    }

    /// What plugins count.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keep")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_lives_as_long_as_somebody_holds_it() {
        let keep = Keep::default();
        let share = |value: u8| keep.share::<u8, ()>("x", || Ok(value)).unwrap();
        let first = share(1);
        assert_eq!(*share(2), 1);
        keep.sweep();
        assert_eq!(*share(2), 1);
        drop(first);
        assert_eq!(*share(3), 3);
        assert_eq!(keep.share::<u8, &str>("y", || Err("no")), Err("no"));
    }
}
