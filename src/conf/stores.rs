//! Stores that several gateways share: from what is written to the model.

use super::{
    model::At,
    sections::{at, check_name, read, to_read, wrong},
};
use palisade_contract::{
    ConfigError, Node, Secret,
    conf::{HumanDuration, node::Key},
};
use palisade_stores::{Sentinel, Settings, Written};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const TIMEOUT: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);
const POOL: u16 = 4;
const LARGEST_POOL: u16 = 64;

/// State that several gateways share, in Redis: where a plugin says `store: NAME`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStore {
    /// `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`; `rediss://` for TLS. With `sentinel` the host is the name that
    /// the sentinels know the primary by.
    #[schemars(extend("examples" = ["redis://127.0.0.1:6379"]))]
    redis: Secret,
    /// The server is one of a Redis Cluster.
    #[serde(default)]
    cluster: bool,
    /// More nodes of the cluster, `HOST:PORT`, to be asked at the start where the first is down.
    #[serde(default)]
    nodes: Vec<String>,
    /// Who knows the primary.
    sentinel: Option<RawSentinel>,
    /// The longest that a request waits for a command, from 1ms to 5s. Where the store is known to be gone, it does not
    /// wait.
    #[schemars(extend("default" = "50ms"))]
    timeout: Option<HumanDuration>,
    /// Connections, from 1 to 64, which all commands share. A cluster has one to each node.
    #[schemars(extend("default" = 4))]
    pool: Option<u16>,
    /// Who may have signed the server's certificate: a PEM file, relative to this file. Without it the system's.
    ca: Option<String>,
}

/// Sentinels, which know the primary.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSentinel {
    /// Their addresses: `HOST`, `HOST:PORT`. The port is 26379 by default.
    nodes: Vec<String>,
    /// The user that they know this gateway by.
    username: Option<String>,
    /// The password that they ask for.
    password: Option<Secret>,
}

/// All stores, and whether something is wrong with any.
pub(super) fn stores(
    written: &[(Key, Node)],
    errors: &mut Vec<ConfigError>,
) -> (BTreeMap<Arc<str>, At<Settings>>, bool) {
    let before = errors.len();
    let mut all = BTreeMap::new();
    for (key, node) in written {
        check_name(key, &node.path, errors);
        let Some(raw) = read::<RawStore>(node, errors) else { continue };
        if let Some(settings) = settings(node, raw, errors) {
            all.insert(key.text.as_str().into(), at(node, "", settings));
        }
    }
    (all, errors.len() > before)
}

fn settings(node: &Node, raw: RawStore, errors: &mut Vec<ConfigError>) -> Option<Settings> {
    let timeout = raw.timeout.map_or(TIMEOUT, |time| time.0);
    if timeout.is_zero() || timeout > LONGEST {
        let shown = HumanDuration(timeout);
        let error = wrong(node, "timeout", format!("`{shown}` is out of range"));
        errors.push(error.help("write a time from `1ms` to `5s`: each request waits for it"));
    }
    let pool = raw.pool.unwrap_or(POOL);
    if !(1..=LARGEST_POOL).contains(&pool) {
        let error = wrong(node, "pool", format!("`{pool}` is out of range"));
        errors.push(error.help(format!("write from `1` to `{LARGEST_POOL}`")));
    }
    let RawStore { redis, cluster, nodes, sentinel, ca, .. } = raw;
    let sentinel =
        sentinel.map(|RawSentinel { nodes, username, password }| Sentinel { nodes, username, password });
    let settings = Settings::parse(Written {
        redis: &redis,
        cluster,
        nodes: &nodes,
        sentinel,
        timeout,
        pool: pool.into(),
        ca: ca.map(|file| to_read(node, &file)),
    });
    settings.map_err(|bad| errors.push(wrong(node, bad.field, bad.message).help(bad.help))).ok()
}
