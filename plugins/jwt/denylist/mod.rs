//! Tokens that are denied although they are good: by their id, their subject, or when they were issued.

mod file;
mod list;

use super::verify::Verified;
use crate::tokens::{claims::Claims, identity::Identity, refusal::Refusal};
use file::Watched;
use list::{Facts, List};
use palisade_contract::{Answer, BuildEnv, Command, ConfigError, Fault, Store};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

/// How long a store's answer holds, in milliseconds.
const HOLDS: i64 = 1000;
const REVOKED: Refusal = Refusal::Revoked("it is on the denylist");

/// Where denied tokens are written: in a file or in a store.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A JSON file: `{"deny": [{"jti": "…"}, {"sub": "alice", "issued_before": 1767225600}]}`; `iss` may stand in each
    /// entry as well, and all that an entry says must hold. It is read again within a second after it changed. One that is
    /// gone or broken is an error at load; later what it said before stays, which the log and the event
    /// `denylist_failed` say.
    file: Option<String>,
    /// A store. Its keys are `PREFIXjti:ISS|JTI`, with any value; `PREFIXsub:ISS|SUB` and `PREFIXiss:ISS`, whose value is the
    /// second before which issued tokens are denied, or anything else for all of them. It is asked about each token once
    /// in a second; where it does not answer, requests are refused.
    store: Option<String>,
    /// What the keys in the store begin with. The braces keep them on one node of a cluster.
    prefix: Option<String>,
}

/// The default of `prefix`.
const PREFIX: &str = "{palisade:jwt:denied}:";

/// A denylist.
pub(super) enum Denylist {
    File(Arc<Watched>),
    Store {
        store: Arc<dyn Store>,
        prefix: String,
    },
    /// The configuration is only checked: it is read once.
    Read(Arc<List>),
}

/// A verified token, and what was last looked up of it.
pub(super) struct Known {
    pub(super) verified: Verified<Identity>,
    /// The number of the list that it is not on, or when a store said so.
    cleared: AtomicI64,
}

impl Known {
    pub(super) fn new(verified: Verified<Identity>) -> Self {
        Known { verified, cleared: AtomicI64::new(i64::MIN) }
    }

    fn claims(&self) -> &Claims {
        &self.verified.value().principal.claims
    }
}

/// What a denylist says at once.
pub(super) enum Verdict<'d> {
    Clear,
    Denied(Refusal),
    /// A store must be asked.
    Ask(&'d Arc<dyn Store>, &'d str),
}

impl Denylist {
    pub(super) fn new(config: &Config, env: &BuildEnv<'_>) -> Result<Self, ConfigError> {
        let at = |field: &str, message: String, help: &str| {
            Err(ConfigError::at(format!("denylist{field}"), message).help(help))
        };
        match (&config.file, &config.store, &config.prefix) {
            (Some(_), None, Some(_)) => at(".prefix", "a file has no keys".to_owned(), "remove it"),
            (Some(file), None, None) => {
                // Not by `path_to_read`: a denied token is no reason to read the configuration again.
                let path = env.entry.place.file.parent().unwrap_or(Path::new("")).join(file);
                let list = match file::read(&path) {
                    Ok(list) => list,
                    Err(error) => {
                        let help = "write `{\"deny\": []}` for a list on which nothing stands yet";
                        return at(".file", format!("`{}`: {error}", path.display()), help);
                    }
                };
                if env.dry_run {
                    return Ok(Denylist::Read(Arc::new(list)));
                }
                let failed = env.counter("denylist_failed");
                let watched = env.share(&format!("denylist {}", path.display()), || {
                    Ok::<_, ConfigError>(Watched::start(env.host, path.clone(), list, failed))
                })?;
                Ok(Denylist::File(watched))
            }
            (None, Some(name), prefix) => {
                let store = env.store(name, "denylist.store")?;
                Ok(Denylist::Store { store, prefix: prefix.as_deref().unwrap_or(PREFIX).to_owned() })
            }
            _ => at("", "it is in exactly one place".to_owned(), "write `file` or `store`"),
        }
    }

    /// Asked of each request, also about tokens that were verified before. `now` is in milliseconds.
    pub(super) fn look(&self, known: &Known, now: i64) -> Verdict<'_> {
        let cleared = known.cleared.load(Relaxed);
        match self {
            Denylist::Read(list) => of_list(list, known),
            Denylist::File(watched) if watched.number() == cleared => Verdict::Clear,
            Denylist::File(watched) => of_list(&watched.list(), known),
            Denylist::Store { .. }
                if now.checked_sub(cleared).is_some_and(|since| (0..HOLDS).contains(&since)) =>
            {
                Verdict::Clear
            }
            Denylist::Store { store, prefix } => Verdict::Ask(store, prefix),
        }
    }
}

fn of_list(list: &List, known: &Known) -> Verdict<'static> {
    if list.denies(&Facts::of(known.claims())) {
        return Verdict::Denied(REVOKED);
    }
    known.cleared.store(list.number, Relaxed);
    Verdict::Clear
}

/// Asks a store. No answer, or one that makes no sense, is a fault.
pub(super) async fn ask(
    store: &Arc<dyn Store>,
    prefix: &str,
    known: &Known,
    now: i64,
) -> Result<Result<(), Refusal>, Fault> {
    let facts = Facts::of(known.claims());
    let iss = facts.iss;
    let mut command = Command::new("MGET").key(format!("{prefix}iss:{iss}"));
    for (kind, value) in [("jti", facts.jti), ("sub", facts.sub)] {
        if let Some(value) = value {
            command = command.key(format!("{prefix}{kind}:{iss}|{value}"));
        }
    }
    let asked = command.args().len();
    let Answer::List(answers) = store.run(command).await? else {
        return Err(Fault::bad_dependency("store_refused"));
    };
    if answers.len() != asked {
        return Err(Fault::bad_dependency("store_refused"));
    }
    for (index, answer) in answers.iter().enumerate() {
        let value = match answer {
            Answer::Nil => continue,
            Answer::Bytes(value) => value,
            _ => return Err(Fault::bad_dependency("store_refused")),
        };
        // The second one names the token itself, where it has an id.
        let is_jti = index == 1 && facts.jti.is_some();
        let limit = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse::<i64>().ok());
        if is_jti || limit.is_none_or(|limit| facts.is_before(limit)) {
            return Ok(Err(REVOKED));
        }
    }
    known.cleared.store(now, Relaxed);
    Ok(Ok(()))
}
