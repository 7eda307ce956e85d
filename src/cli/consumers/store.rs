//! Consumers in a store.

use super::{Kept, entry::Entry};
use crate::{
    consumers::record::{self, Record},
    host::Tokio,
};
use futures::future::try_join_all;
use palisade_contract::{Answer, Command, Host, Store, StoreError};
use palisade_stores::{RedisStore, Settings};
use serde::Serialize;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// How long the store, and another command, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// A lock of a command that was killed is over after this, in seconds; a command takes far less.
const LOCKED: &str = "60";
/// Records that are asked for at once.
const BATCH: usize = 64;

/// The records of a store, locked as long as this is there.
pub(super) struct Records {
    runtime: Runtime,
    store: RedisStore,
    name: String,
    prefix: Arc<str>,
    lock: Option<String>,
}

impl Records {
    pub(super) fn open(
        name: &str,
        settings: Settings,
        prefix: Arc<str>,
        change: bool,
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
        // A person waits longer than a request.
        let settings = settings.patient(Duration::from_secs(2));
        let store = runtime.block_on(async {
            // TLS needs a process-wide provider; there may be one already.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let host: Arc<dyn Host> = Arc::new(Tokio::current());
            let store = RedisStore::open(&name.into(), settings, &host)?;
            let begun = Instant::now();
            while !store.health().up {
                if begun.elapsed() >= PATIENCE {
                    let health = store.health();
                    return Err(format!(
                        "the store `{name}` at {} is down: {}",
                        health.address, health.error
                    ));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(store)
        })?;
        let mut records = Records { runtime, store, name: name.to_owned(), prefix, lock: None };
        if change {
            records.lock()?;
        }
        Ok(records)
    }

    fn run(&self, command: Command) -> Result<Answer, String> {
        self.runtime.block_on(self.store.run(command)).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &StoreError) -> String {
        format!("the store `{}`: {error}", self.name)
    }

    fn lock(&mut self) -> Result<(), String> {
        let token = hex::encode(crate::cli::key::random::<16>()?);
        let begun = Instant::now();
        loop {
            let command = Command::new("SET").key(record::of_lock(&self.prefix)).arg(token.clone());
            if self.run(command.arg("NX").arg("EX").arg(LOCKED))? != Answer::Nil {
                self.lock = Some(token);
                return Ok(());
            }
            if begun.elapsed() >= PATIENCE {
                return Err(format!("another command changes the consumers of the store `{}`", self.name));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn read(&self, name: &str, answer: Answer) -> Result<Option<Entry>, String> {
        let nonsense = || format!("the store `{}`: the record of `{name}` makes no sense", self.name);
        match answer {
            Answer::Nil => Ok(None),
            Answer::Bytes(bytes) => {
                let entry: Entry = serde_json::from_slice(&bytes).map_err(|_| nonsense())?;
                if entry.name == name { Ok(Some(entry)) } else { Err(nonsense()) }
            }
            _ => Err(nonsense()),
        }
    }

    /// The names of one page of the set, and where the next one begins.
    fn page(&self, cursor: &[u8]) -> Result<(Vec<String>, Vec<u8>), String> {
        let command = Command::new("SSCAN").key(record::of_all(&self.prefix)).arg(cursor.to_vec());
        let answer = self.run(command.arg("COUNT").arg("1000"))?;
        let bytes = |answer: &Answer| match answer {
            Answer::Bytes(bytes) => Some(bytes.to_vec()),
            _ => None,
        };
        let read = || {
            let Answer::List(parts) = &answer else { return None };
            let [next, Answer::List(names)] = parts.as_slice() else { return None };
            let name = |name: &Answer| String::from_utf8(bytes(name)?).ok();
            Some((names.iter().map(name).collect::<Option<_>>()?, bytes(next)?))
        };
        read().ok_or_else(|| self.failed(&StoreError::Nonsense))
    }

    fn forget_key(&self, hash: &str) -> Result<(), String> {
        self.run(Command::new("DEL").key(record::of_key(&self.prefix, hash))).map(drop)
    }
}

impl Kept for Records {
    fn find(&mut self, name: &str) -> Result<Option<Entry>, String> {
        let answer = self.run(Command::new("GET").key(record::of_consumer(&self.prefix, name)))?;
        self.read(name, answer)
    }

    fn all(&mut self) -> Result<Vec<Entry>, String> {
        let (mut all, mut cursor) = (Vec::new(), b"0".to_vec());
        loop {
            let (names, next) = self.page(&cursor)?;
            for names in names.chunks(BATCH) {
                let get = |name: &String| {
                    self.store.run(Command::new("GET").key(record::of_consumer(&self.prefix, name)))
                };
                let answers = self.runtime.block_on(async { try_join_all(names.iter().map(get)).await });
                let answers = answers.map_err(|error| self.failed(&error))?;
                for (name, answer) in names.iter().zip(answers) {
                    all.extend(self.read(name, answer)?);
                }
            }
            if next == b"0" {
                break;
            }
            cursor = next;
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        // A page may show again what another one has shown.
        all.dedup_by(|one, other| one.name == other.name);
        Ok(all)
    }

    fn put(&mut self, entry: &Entry, before: Option<&Entry>) -> Result<(), String> {
        let hash = |hash: &str| hash.to_ascii_lowercase();
        for key in before.into_iter().flat_map(|before| &before.keys) {
            if !entry.keys.iter().any(|kept| hash(&kept.key_sha256) == hash(&key.key_sha256)) {
                self.forget_key(&hash(&key.key_sha256))?;
            }
        }
        let text = json(entry)?;
        self.run(Command::new("SET").key(record::of_consumer(&self.prefix, &entry.name)).arg(text))?;
        self.run(Command::new("SADD").key(record::of_all(&self.prefix)).arg(entry.name.clone()))?;
        // Last, so that no key works that nobody could revoke.
        for key in &entry.keys {
            let record = Record {
                name: entry.name.clone(),
                groups: entry.groups.clone(),
                id: key.id.clone(),
                expires: key.expires.clone(),
            };
            let command = Command::new("SET").key(record::of_key(&self.prefix, &hash(&key.key_sha256)));
            self.run(command.arg(json(&record)?))?;
        }
        Ok(())
    }

    fn remove(&mut self, entry: &Entry) -> Result<(), String> {
        for key in &entry.keys {
            self.forget_key(&key.key_sha256.to_ascii_lowercase())?;
        }
        self.run(Command::new("DEL").key(record::of_consumer(&self.prefix, &entry.name)))?;
        self.run(Command::new("SREM").key(record::of_all(&self.prefix)).arg(entry.name.clone())).map(drop)
    }
}

fn json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

impl Drop for Records {
    fn drop(&mut self) {
        let Some(token) = self.lock.take() else { return };
        let lock = || record::of_lock(&self.prefix);
        // Only its own: that of a command that was slow may be another's by now. Where this fails it ends by itself.
        if self.run(Command::new("GET").key(lock())) == Ok(Answer::Bytes(token.into())) {
            let _ = self.run(Command::new("DEL").key(lock()));
        }
    }
}
