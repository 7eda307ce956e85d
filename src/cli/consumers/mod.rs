//! `palisade consumers`: consumers outside of the configuration.

mod directory;
mod entry;
mod show;
mod store;

use super::{Conf, print};
use crate::{
    conf::{
        self,
        model::{Config, ConsumerSource},
        names,
    },
    gateway::consumers::reserved,
    server::environment,
};
use clap::Subcommand;
use entry::{Entry, NewKey};
use palisade_contract::{Descriptor, conf::HumanDuration};
use palisade_plugins::{is_key_id, key_expiry};
use show::Shown;
use std::path::PathBuf;

const ALL: &str = "\
Example:
  palisade consumers add alice --group gold
  palisade consumers rotate alice --overlap 24h
  palisade consumers revoke alice
  palisade consumers list

They change the directory or the store that `consumer_source` of the configuration names. A running gateway sees it \
within a second where the directory is watched, within `staleness` with a store, else with the next reload.
`palisade consumers COMMAND --help` shows more.";

const ADD: &str = "\
Example:
  palisade consumers add alice
  palisade consumers add alice --group gold --group eu --id laptop --expires 2027-01-31 --json

Makes a consumer with a key of 256 random bits. The key is shown this once: what is kept is its SHA-256.";

const ROTATE: &str = "\
Example:
  palisade consumers rotate alice                     # the keys that alice has stop at once
  palisade consumers rotate alice --overlap 24h       # they stop in a day
  palisade consumers rotate alice --id laptop-2 --overlap 7d

Gives a consumer another key, which is shown this once. Keys that have expired are taken out.";

const REVOKE: &str = "\
Example:
  palisade consumers revoke alice                     # all keys, and the consumer
  palisade consumers revoke alice --id laptop         # one key; `list` shows the ids";

const LIST: &str = "\
Example:
  palisade consumers list
  palisade consumers list alice
  palisade consumers list --json

Shows consumers, their groups, and the ids of their keys with their ends. No key is shown: nobody knows them.";

#[derive(Debug, clap::Args)]
#[command(after_help = ALL)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add a consumer with a new key, which is shown once.
    #[command(after_help = ADD)]
    Add(Add),
    /// Give a consumer a new key, which is shown once; the old ones end now or a while later.
    #[command(after_help = ROTATE)]
    Rotate(Rotate),
    /// Take a consumer's keys away, or one of them.
    #[command(after_help = REVOKE)]
    Revoke(Revoke),
    /// Show consumers and the ids of their keys.
    #[command(after_help = LIST)]
    List(List),
}

/// Where consumers are.
#[derive(Debug, clap::Args)]
struct At {
    #[command(flatten)]
    conf: Conf,
    /// The directory of consumers, in the place of what the configuration says.
    #[arg(long, value_name = "DIR", conflicts_with = "conf")]
    directory: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Add {
    /// The consumer's name.
    name: String,
    /// A group that it is in; may be given several times.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    at: At,
}

/// What is said of a new key.
#[derive(Debug, clap::Args)]
struct KeyArgs {
    /// A name for the new key, for records and `x-credential-identifier`; by default its hash's first 12 digits.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// From then on the new key is refused: `2027-01-31T00:00:00Z` or `2027-01-31`.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Rotate {
    /// The consumer's name.
    name: String,
    /// How long the keys that it has go on to work: `24h`, `7d`.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    overlap: HumanDuration,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
struct Revoke {
    /// The consumer's name.
    name: String,
    /// The id of the one key that is taken away; the consumer stays.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only this consumer.
    name: Option<String>,
    #[command(flatten)]
    at: At,
}

/// Where consumers are kept, for one command: nobody else changes it meanwhile.
trait Kept {
    /// The consumer of a name.
    fn find(&mut self, name: &str) -> Result<Option<Entry>, String>;
    /// All consumers, by name.
    fn all(&mut self) -> Result<Vec<Entry>, String>;
    /// Puts a consumer in the place of what there was of it. What is taken away of it goes first.
    fn put(&mut self, entry: &Entry, before: Option<&Entry>) -> Result<(), String>;
    /// Takes a consumer away.
    fn remove(&mut self, entry: &Entry) -> Result<(), String>;
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    match &args.command {
        Command::Add(args) => add(args, registry),
        Command::Rotate(args) => rotate(args, registry),
        Command::Revoke(args) => revoke(args, registry),
        Command::List(args) => list(args, registry),
    }
}

fn add(args: &Add, registry: &[Descriptor]) -> Result<(), String> {
    let name = named(&args.name)?;
    if let Some(group) = args.groups.iter().find(|group| !names::is_group(group)) {
        return Err(format!("`{group}` cannot be a group: {}", names::GROUPS));
    }
    let key = new_key(&args.key)?;
    let (mut kept, config) = open(&args.at, registry, true)?;
    let taken = config.is_some_and(|config| reserved(&config).names.contains_key(name));
    if taken {
        return Err(format!("`{name}` is a consumer of the configuration: choose another name"));
    }
    if kept.find(name)?.is_some() {
        return Err(format!(
            "`{name}` is there already: `palisade consumers rotate {name}` gives it another key"
        ));
    }
    let entry = Entry { name: name.to_owned(), groups: args.groups.clone(), keys: vec![key.written.clone()] };
    kept.put(&entry, None)?;
    print(&Shown(args.at.json).made(&entry, &key))
}

fn rotate(args: &Rotate, registry: &[Descriptor]) -> Result<(), String> {
    let name = named(&args.name)?;
    let key = new_key(&args.key)?;
    let (mut kept, _) = open(&args.at, registry, true)?;
    let before = kept.find(name)?.ok_or_else(|| unknown(name))?;
    let entry = before.rotated(&key.written, args.overlap.0)?;
    kept.put(&entry, Some(&before))?;
    print(&Shown(args.at.json).made(&entry, &key))
}

fn revoke(args: &Revoke, registry: &[Descriptor]) -> Result<(), String> {
    let name = named(&args.name)?;
    let (mut kept, _) = open(&args.at, registry, true)?;
    let before = kept.find(name)?.ok_or_else(|| unknown(name))?;
    let done = match &args.id {
        None => {
            kept.remove(&before)?;
            before.keys.len()
        }
        Some(id) => {
            let entry = before.without(id).ok_or_else(|| format!("`{name}` has no key `{id}`"))?;
            kept.put(&entry, Some(&before))?;
            1
        }
    };
    print(&Shown(args.at.json).revoked(name, done))
}

fn list(args: &List, registry: &[Descriptor]) -> Result<(), String> {
    let (mut kept, _) = open(&args.at, registry, false)?;
    let all = match &args.name {
        Some(name) => vec![kept.find(named(name)?)?.ok_or_else(|| unknown(name))?],
        None => kept.all()?,
    };
    print(&Shown(args.at.json).list(&all))
}

fn named(name: &str) -> Result<&str, String> {
    if names::is_name(name) { Ok(name) } else { Err(format!("`{name}` cannot be a name: {}", names::NAMES)) }
}

fn unknown(name: &str) -> String {
    format!("there is no consumer `{name}`: `palisade consumers list` shows those that there are")
}

fn new_key(args: &KeyArgs) -> Result<NewKey, String> {
    if let Some(id) = args.id.as_ref().filter(|id| !is_key_id(id)) {
        return Err(format!("`{id}` cannot be an id: write letters, digits and signs without spaces"));
    }
    if let Some(expires) = &args.expires {
        key_expiry(expires).map_err(|_| {
            format!("`{expires}` is not a time: write `2027-01-31T00:00:00Z` or `2027-01-31`")
        })?;
    }
    NewKey::make(args.id.clone(), args.expires.clone())
}

/// Opens what the configuration names; what else is wrong with the configuration keeps nobody from revoking a key.
fn open(at: &At, registry: &[Descriptor], change: bool) -> Result<(Box<dyn Kept>, Option<Config>), String> {
    if let Some(path) = &at.directory {
        return Ok((Box::new(directory::Files::open(path, change)?), None));
    }
    let dir = &at.conf.conf;
    let read = conf::read(dir, registry, &environment);
    let Some(written) = &read.config.consumer_source else {
        let wrong = read.errors.iter().find(|error| error.path.starts_with("consumer_source"));
        return Err(wrong.or(read.errors.first()).map_or_else(
            || format!("the configuration in `{}` has no `consumer_source`", dir.display()),
            |error| {
                let place = error.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
                format!("`{}` has no good `consumer_source`: {place}{}", dir.display(), error.message)
            },
        ));
    };
    let kept: Box<dyn Kept> = match &written.value {
        ConsumerSource::Directory { path, .. } => Box::new(directory::Files::open(path, change)?),
        ConsumerSource::Store { name, prefix, .. } => {
            let settings = read.config.stores.get(name.value.as_str());
            let settings = settings.ok_or_else(|| format!("there is no good store `{}`", name.value))?;
            Box::new(store::Records::open(&name.value, settings.value.clone(), prefix.clone(), change)?)
        }
    };
    Ok((kept, Some(read.config)))
}
