//! The consumers of a snapshot that stand outside of the configuration.

use super::CompileEnv;
use crate::{
    conf::model::{Config, ConsumerSource},
    consumers::{Directory, Reserved, Source, StoreSource},
};
use palisade_contract::{ConfigError, Host, Stores};
use palisade_plugins::KeyCredential;
use std::sync::Arc;

/// The source that the configuration names.
pub(super) fn compile(
    config: &Config,
    env: &CompileEnv<'_>,
    stores: &Stores,
    errors: &mut Vec<ConfigError>,
) -> Option<Source> {
    let written = config.consumer_source.as_ref()?;
    let reserved = reserved(config);
    let previous = env.previous.and_then(|snapshot| snapshot.consumers.as_ref());
    match &written.value {
        ConsumerSource::Directory { path, .. } => {
            let previous = match previous {
                Some(Source::Directory(previous)) => Some(&**previous),
                _ => None,
            };
            let opened = Directory::open(path, reserved, previous);
            opened
                .map(|opened| Source::Directory(Arc::new(opened)))
                .map_err(|found| errors.extend(found))
                .ok()
        }
        ConsumerSource::Store { name, prefix, staleness } => {
            let missing = |error: ConfigError| errors.push(error.place(name.place.clone()));
            let store = stores.get(&name.value, &name.path).map_err(missing).ok()?;
            // What it has learned from the store goes on to hold.
            let same = previous.filter(|previous| match previous {
                Source::Store(previous) => previous.is(&store, prefix, *staleness, &reserved),
                Source::Directory(_) => false,
            });
            let new = || {
                Source::Store(Arc::new(StoreSource::new(
                    &name.value,
                    store,
                    prefix.clone(),
                    *staleness,
                    reserved,
                )))
            };
            Some(same.cloned().unwrap_or_else(new))
        }
    }
}

/// What looks at a directory again and again, where the configuration says so.
pub(super) fn watched(config: &Config, env: &CompileEnv<'_>) -> Option<Arc<dyn Host>> {
    let written = config.consumer_source.as_ref()?;
    matches!(written.value, ConsumerSource::Directory { watch: true, .. }).then(|| env.host.clone())
}

/// What the configuration itself holds.
pub fn reserved(config: &Config) -> Reserved {
    let names = config.consumers.iter().map(|(name, consumer)| (name.clone(), consumer.place.clone()));
    let keys = config.credentials.get("key-auth").into_iter().flatten().filter_map(|entry| {
        let key = entry.value.downcast_ref::<KeyCredential>()?.read().ok()?;
        Some((key.hash, (entry.consumer.name.clone(), entry.place.clone())))
    });
    Reserved { names: names.collect(), keys: keys.collect() }
}
