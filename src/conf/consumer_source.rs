//! Where consumers are that stand outside of the configuration.

use super::{
    files::FOLDERS,
    model::{At, ConsumerSource},
    sections::{at, read, to_read, wrong},
};
use palisade_contract::{ConfigError, Node, conf::HumanDuration};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{path::Path, time::Duration};

const STALENESS: Duration = Duration::from_secs(5);
const MOST_STALENESS: Duration = Duration::from_secs(3600);
const PREFIX: &str = "palisade:";
/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 128;

/// Consumers beside those of the configuration, up to millions of them, which come and go without a reload: in a
/// `directory` or in a `store`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConsumerSource {
    /// A directory of files `NAME.jsonl`, relative to this file; each line of them is a consumer.
    directory: Option<String>,
    /// With `directory`: see changes within a second, without a reload.
    #[schemars(extend("default" = true))]
    watch: Option<bool>,
    /// The name of a store.
    store: Option<String>,
    /// With `store`: what the keys of its records begin with.
    #[schemars(extend("default" = PREFIX))]
    prefix: Option<String>,
    /// With `store`: for how long what it said of a credential holds, up to 1h: a credential that was revoked so long
    /// ago is refused.
    #[schemars(extend("default" = "5s"))]
    staleness: Option<HumanDuration>,
}

/// The source, where there is one, and whether something is wrong with it.
pub(super) fn source(
    node: Option<&Node>,
    dir: &Path,
    errors: &mut Vec<ConfigError>,
) -> (Option<At<ConsumerSource>>, bool) {
    let found = node.and_then(|node| read_source(node, dir, errors));
    let wrong = node.is_some() && found.is_none();
    (found, wrong)
}

fn read_source(node: &Node, dir: &Path, errors: &mut Vec<ConfigError>) -> Option<At<ConsumerSource>> {
    let raw = read::<RawConsumerSource>(node, errors)?;
    let before = errors.len();
    let found = match (&raw.directory, &raw.store) {
        (Some(path), None) => directory(node, path, &raw, dir, errors),
        (None, Some(name)) => store(node, name, &raw, errors),
        (Some(_), Some(_)) => {
            let error = wrong(node, "store", "`directory` and `store` stand beside each other");
            errors.push(error.help("remove one of them: consumers come from one source"));
            return None;
        }
        (None, None) => {
            let error = wrong(node, "", "it says neither `directory` nor `store`");
            errors.push(error.help("write `directory: PATH`, or `store: NAME`"));
            return None;
        }
    };
    (errors.len() == before).then(|| at(node, "", found))
}

fn foreign(node: &Node, field: &str, of: &str, errors: &mut Vec<ConfigError>) {
    let error = wrong(node, field, format!("`{field}` belongs to `{of}`"));
    errors.push(error.help("remove it"));
}

fn directory(
    node: &Node,
    path: &str,
    raw: &RawConsumerSource,
    dir: &Path,
    errors: &mut Vec<ConfigError>,
) -> ConsumerSource {
    for (field, given) in [("prefix", raw.prefix.is_some()), ("staleness", raw.staleness.is_some())] {
        if given {
            foreign(node, field, "store", errors);
        }
    }
    let found = to_read(node, path);
    // The same folder may be named in many ways; what does not exist is no folder of the configuration.
    let is = |other: &Path| match (found.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => found == other,
    };
    if path.is_empty() {
        errors.push(wrong(node, "directory", "this is not a directory").help("write a path"));
    } else if is(dir) || FOLDERS.iter().any(|folder| is(&dir.join(folder))) {
        let error = wrong(node, "directory", format!("`{path}` holds the configuration itself"));
        errors.push(error.help("name a directory of its own, such as `keys`"));
    }
    ConsumerSource::Directory { path: found, watch: raw.watch.unwrap_or(true) }
}

fn store(node: &Node, name: &str, raw: &RawConsumerSource, errors: &mut Vec<ConfigError>) -> ConsumerSource {
    if raw.watch.is_some() {
        foreign(node, "watch", "directory", errors);
    }
    let prefix = raw.prefix.as_deref().unwrap_or(PREFIX);
    // Braces would choose the part of a cluster that everything is in.
    let plain = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b'{' | b'}' | b'*' | b'?' | b'[' | b']' | b'\\')
    };
    if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(plain) {
        let error = wrong(node, "prefix", "this cannot be a prefix");
        errors.push(error.help(format!(
            "write 1 to {MAX_PREFIX} letters, digits and signs, without spaces, brackets, `*`, `?` and `\\`"
        )));
    }
    let staleness = raw.staleness.map_or(STALENESS, |time| time.0);
    if staleness > MOST_STALENESS {
        let error = wrong(node, "staleness", format!("`{}` is out of range", HumanDuration(staleness)));
        errors.push(error.help("write a time up to `1h`: a revoked key is good for so long"));
    }
    ConsumerSource::Store { name: at(node, "store", name.to_owned()), prefix: prefix.into(), staleness }
}
