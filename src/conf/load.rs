//! From a directory to a configuration: how files merge, and all that is wrong with them.

use super::{
    addresses, consumer_source, entries, files,
    model::{Broken, Config},
    raw, routes, sections, stores, upstreams,
};
use palisade_contract::{
    ConfigError, ConfigErrors, Descriptor, Node, Place, Value,
    conf::{Parsed, Sources, node::Key, parse_all},
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Sections whose entries merge across files.
const MAPS: [&str; 7] = ["listeners", "stores", "upstreams", "routes", "plugins", "consumers", "errors"];
/// Sections that stand in one file only; `version` may stand in each.
const SINGLES: [&str; 10] = [
    "version",
    "limits",
    "client_ip",
    "admin",
    "watch",
    "demo",
    "drain_timeout",
    "state_dir",
    "run_dir",
    "consumer_source",
];

/// Everything that is wrong with a configuration, with the files it was read from.
#[derive(Debug)]
pub struct LoadError {
    /// What is wrong.
    pub errors: ConfigErrors,
    /// The files, to show the lines that errors are in.
    pub sources: Arc<Sources>,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.errors.render(&self.sources))
    }
}

impl std::error::Error for LoadError {}

/// What was read of a directory: everything that is right, and everything that is wrong.
#[derive(Debug)]
pub struct Read {
    /// What is right; [`Config::broken`] tells what is missing in it.
    pub config: Config,
    /// What is wrong.
    pub errors: Vec<ConfigError>,
}

/// Reads a directory. `environment` looks up what `${env:NAME}` stands for.
///
/// # Errors
/// Everything that is wrong, not only the first.
pub fn load(
    dir: &Path,
    registry: &[Descriptor],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, LoadError> {
    let Read { config, errors } = read(dir, registry, environment);
    if errors.is_empty() {
        return Ok(config);
    }
    let sources = config.sources;
    Err(LoadError { errors: ConfigErrors(errors).without_secrets(&sources), sources })
}

/// Reads what can be read of a directory, for who wants to judge that too.
pub fn read(dir: &Path, registry: &[Descriptor], environment: &dyn Fn(&str) -> Option<String>) -> Read {
    let mut errors = Vec::new();
    let mut sources = Sources::default();
    let mut whole = Sections::default();
    let (mut watched, mut uncertain) = (Vec::new(), false);
    let files = files::find(dir, &mut errors);
    uncertain |= !errors.is_empty();
    for file in files {
        match files::read(&file) {
            Ok(text) => {
                let Parsed { root, errors: found, files } = parse_all(&file, &text, environment);
                errors.extend(found);
                watched.extend(files);
                sources.add(file.as_path(), text);
                if let Some(root) = root {
                    sources.add_secrets(&root);
                    let before = errors.len();
                    whole.add(&root, &mut errors);
                    // Of what is written twice the first holds: nothing is missing.
                    uncertain |= errors.iter().skip(before).any(|error| error.other.is_none());
                } else {
                    uncertain = true;
                }
            }
            Err(error) => {
                uncertain = true;
                errors.push(error);
            }
        }
        watched.push(file);
    }
    let mut made = Making {
        dir,
        registry,
        environment,
        // A file that could not be read makes what stands in it look missing: say only what is certain.
        certain: errors.is_empty(),
        errors: Vec::new(),
    };
    let mut config = made.build(watched, &whole, Arc::new(sources));
    config.broken.uncertain = uncertain;
    // A reference that did not resolve left nothing in its place, which is no second error.
    let known: HashSet<Place> = errors.iter().filter_map(|error| error.place.clone()).collect();
    let found = made.errors.into_iter();
    errors.extend(found.filter(|error| error.place.as_ref().is_none_or(|place| !known.contains(place))));
    Read { config, errors }
}

/// What a configuration is made with.
struct Making<'a> {
    dir: &'a Path,
    registry: &'a [Descriptor],
    environment: &'a dyn Fn(&str) -> Option<String>,
    certain: bool,
    errors: Vec<ConfigError>,
}

impl Making<'_> {
    fn build(&mut self, files: Vec<PathBuf>, whole: &Sections, sources: Arc<Sources>) -> Config {
        let (registry, errors) = (self.registry, &mut self.errors);
        let single = |name: &str| whole.singles.get(name).map(|(_, node)| node);
        sections::version(&whole.versions, self.dir, self.certain, errors);
        let limits = sections::limits(single("limits"), &super::model::Limits::default(), errors);
        let given =
            |name: &str| (self.environment)(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let state_dir = directory(single("state_dir"), errors)
            .or_else(|| given("STATE_DIRECTORY"))
            .unwrap_or_else(|| PathBuf::from("var"));
        let run_dir = directory(single("run_dir"), errors)
            .or_else(|| given("RUNTIME_DIRECTORY"))
            .unwrap_or_else(|| state_dir.join("run"));
        let (consumers, credentials, no_consumers) =
            entries::consumers(whole.map("consumers"), registry, errors);
        let (source, no_source) = consumer_source::source(single("consumer_source"), self.dir, errors);
        let (stores, no_stores) = stores::stores(whole.map("stores"), errors);
        let (upstreams, mut no_upstreams) = upstreams::upstreams(whole.map("upstreams"), errors);
        let (routes, no_routes) = routes::routes(whole.map("routes"), registry, errors);
        let before = errors.len();
        let demo = sections::flag(single("demo"), errors);
        if errors.len() > before {
            no_upstreams.insert("demo".into());
        }
        let client_ip = sections::client_ip(single("client_ip"), errors);
        let listeners = sections::listeners(whole.map("listeners"), &limits, &client_ip, errors);
        let admin = sections::admin(single("admin"), errors);
        let none = (self.certain && whole.map("listeners").is_empty()).then_some(self.dir);
        addresses::check(&listeners, admin.as_ref(), none, errors);
        Config {
            dir: self.dir.to_owned(),
            listeners,
            client_ip,
            admin,
            watch: sections::flag(single("watch"), errors),
            demo,
            drain_timeout: sections::drain_timeout(single("drain_timeout"), errors),
            stores,
            upstreams,
            routes,
            plugins: entries::entries(whole.map("plugins"), registry, errors),
            errors: routes::error_bodies(whole.map("errors"), errors),
            limits,
            state_dir,
            run_dir,
            consumers,
            credentials,
            consumer_source: source,
            files,
            sources,
            broken: Broken {
                uncertain: false,
                stores: no_stores,
                consumer_source: no_source,
                upstreams: no_upstreams,
                consumers: no_consumers,
                routes: no_routes,
            },
        }
    }
}

fn directory(node: Option<&Node>, errors: &mut Vec<ConfigError>) -> Option<PathBuf> {
    let node = node?;
    let path = sections::read::<PathBuf>(node, errors)?;
    if path.as_os_str().is_empty() {
        errors.push(sections::wrong(node, "", "this is not a directory").help("write a path"));
        return None;
    }
    Some(path)
}

/// All sections of all files.
#[derive(Default)]
struct Sections {
    versions: Vec<Node>,
    singles: BTreeMap<&'static str, (Key, Node)>,
    maps: BTreeMap<&'static str, Merged>,
}

/// A section whose entries merge across files.
#[derive(Default)]
struct Merged {
    entries: Vec<(Key, Node)>,
    /// Where each name was first written.
    first: HashMap<String, Key>,
}

impl Sections {
    fn map(&self, name: &str) -> &[(Key, Node)] {
        self.maps.get(name).map_or(&[], |merged| &merged.entries)
    }

    fn add(&mut self, node: &Node, errors: &mut Vec<ConfigError>) {
        if !matches!(node.value, Value::Map(_)) {
            let error = ConfigError::new("a configuration file is a mapping of sections");
            errors.push(error.help("begin with `version: 1`").place(node.place.clone()));
            return;
        }
        if let Some(error) = foreign(node) {
            errors.push(error);
            return;
        }
        for (key, value) in node.entries() {
            let name = key.text.as_str();
            if name == "version" {
                self.versions.push(value.clone());
            } else if let Some(name) = MAPS.iter().find(|known| **known == name) {
                self.maps.entry(name).or_default().add(name, value, errors);
            } else if let Some(name) = SINGLES.iter().find(|known| **known == name) {
                match self.singles.get(name) {
                    Some((first, _)) => {
                        let error = twice(name, key, first);
                        errors.push(error.help("this section stands in one file: put all of it there"));
                    }
                    None => {
                        self.singles.insert(name, (key.clone(), value.clone()));
                    }
                }
            } else {
                errors.push(unknown_section(key));
            }
        }
    }
}

impl Merged {
    fn add(&mut self, name: &'static str, value: &Node, errors: &mut Vec<ConfigError>) {
        for (key, node) in sections::mapping(value, errors) {
            if let Some(first) = self.first.get(&key.text) {
                let error = twice(&format!("{name}.{}", key.text), key, first);
                errors
                    .push(error.help("maps of all files merge: give one of them another name, or remove it"));
            } else {
                self.first.insert(key.text.clone(), key.clone());
                self.entries.push((key.clone(), node.clone()));
            }
        }
    }
}

fn twice(path: &str, key: &Key, first: &Key) -> ConfigError {
    ConfigError::at(path, format!("`{}` is written twice", key.text))
        .place(key.place.clone())
        .other("the first one is here", first.place.clone())
}

/// What is data and stands among the configuration: said once, and not of each of its sections.
fn foreign(node: &Node) -> Option<ConfigError> {
    const DATA: [(&str, &str, &str); 3] = [
        ("openapi", "this is a description of an API and no configuration", "specs"),
        ("swagger", "this is a description of an API and no configuration", "specs"),
        ("cases", "these are policy tests and no configuration", "tests"),
    ];
    let (key, what, folder) = node.entries().iter().find_map(|(key, value)| {
        // A mapping may be meant for the plugin of that name.
        let is_plugin = matches!(value.value, Value::Map(_));
        let (_, what, folder) = DATA.iter().find(|(name, ..)| *name == key.text && !is_plugin)?;
        Some((key, what, folder))
    })?;
    let error = ConfigError::at(&key.text, *what).place(key.place.clone());
    Some(error.help(format!(
        "files in this folder are configuration: put it into a folder of its own, such as `{folder}/`"
    )))
}

fn unknown_section(key: &Key) -> ConfigError {
    let error =
        ConfigError::at(&key.text, format!("unknown section `{}`", key.text)).place(key.place.clone());
    match raw::not_yet(&key.text) {
        Some(why) => error.help(why),
        None => {
            error.help(super::suggest(&key.text, SINGLES.iter().chain(&MAPS).copied(), "the sections are"))
        }
    }
}
