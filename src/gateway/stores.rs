//! The stores of a snapshot. One whose settings stay the same stays connected through a reload.

use super::{CompileEnv, Snapshot};
use crate::conf::model::Config;
use palisade_contract::{ConfigError, Store, Stores};
use palisade_stores::RedisStore;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

/// By name.
pub(super) type All = BTreeMap<Arc<str>, Arc<RedisStore>>;

pub(super) fn compile(config: &Config, env: &CompileEnv<'_>, errors: &mut Vec<ConfigError>) -> (All, Stores) {
    let mut all = All::new();
    let mut missing = config.broken.uncertain || config.broken.stores;
    if let Some(mocked) = env.stores {
        let named = config.stores.keys().map(|name| (name.clone(), mocked(name)));
        return (all, Stores::new(named.collect(), missing));
    }
    for (name, written) in &config.stores {
        let previous = env.previous.and_then(|snapshot| snapshot.stores.get(name));
        if let Some(store) = previous.filter(|store| *store.settings() == written.value) {
            all.insert(name.clone(), store.clone());
            continue;
        }
        match RedisStore::open(name, written.value.clone(), env.host) {
            Ok(store) => {
                all.insert(name.clone(), Arc::new(store));
            }
            Err(error) => {
                missing = true;
                errors.push(
                    ConfigError::at(format!("{}.ca", written.path), error)
                        .help("name a PEM file of authorities, or leave `ca` out for the system's")
                        .place(written.place.clone()),
                );
            }
        }
    }
    let named = all.iter().map(|(name, store)| (name.clone(), store.clone() as Arc<dyn Store>));
    let stores = Stores::new(named.collect(), missing);
    (all, stores)
}

/// A store, as the admin API shows it. No credential is in it.
#[derive(Debug, Serialize)]
pub struct StoreView<'a> {
    name: &'a str,
    kind: &'static str,
    address: String,
    up: bool,
    error: String,
    #[serde(skip)]
    since: SystemTime,
    commands: BTreeMap<&'static str, u64>,
}

impl StoreView<'_> {
    /// Since when it is as it is.
    pub fn since(&self) -> SystemTime {
        self.since
    }
}

/// All stores, by name.
pub fn views(snapshot: &Snapshot) -> impl Iterator<Item = StoreView<'_>> {
    snapshot.stores.iter().map(|(name, store)| {
        let health = store.health();
        StoreView {
            name,
            kind: health.kind,
            address: health.address,
            up: health.up,
            error: health.error,
            since: health.since,
            commands: health.commands.into_iter().collect(),
        }
    })
}
