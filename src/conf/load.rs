//! From a directory to a configuration: how files merge, and all that is wrong with them.

use super::{entries, files, model::Config, raw, routes, sections, upstreams};
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
const MAPS: [&str; 6] = ["listeners", "upstreams", "routes", "plugins", "consumers", "errors"];
/// Sections that stand in one file only; `version` may stand in each.
const SINGLES: [&str; 8] =
    ["version", "limits", "client_ip", "admin", "watch", "demo", "state_dir", "run_dir"];

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

/// Reads a directory. `environment` looks up what `${env:NAME}` stands for.
///
/// # Errors
/// Everything that is wrong, not only the first.
pub fn load(
    dir: &Path,
    registry: &[Descriptor],
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, LoadError> {
    let mut errors = Vec::new();
    let mut sources = Sources::default();
    let mut whole = Sections::default();
    let mut watched = Vec::new();
    for file in files::find(dir, &mut errors) {
        match files::read(&file) {
            Ok(text) => {
                let Parsed { root, errors: found, files } = parse_all(&file, &text, environment);
                errors.extend(found);
                watched.extend(files);
                sources.add(file.as_path(), text);
                if let Some(root) = root {
                    sources.add_secrets(&root);
                    whole.add(&root, &mut errors);
                }
            }
            Err(error) => errors.push(error),
        }
        watched.push(file);
    }
    let sources = Arc::new(sources);
    // A file that could not be read makes what stands in it look missing: say only what is certain.
    let certain = errors.is_empty();
    // A reference that did not resolve left nothing in its place, which is no second error.
    let known: HashSet<Place> = errors.iter().filter_map(|error| error.place.clone()).collect();
    let mut found = Vec::new();
    let config = build(dir, watched, &whole, registry, environment, sources.clone(), &mut found, certain);
    errors.extend(found.into_iter().filter(|error| error.place.as_ref().is_none_or(|p| !known.contains(p))));
    if errors.is_empty() {
        return Ok(config);
    }
    Err(LoadError { errors: ConfigErrors(errors).without_secrets(&sources), sources })
}

#[allow(clippy::too_many_arguments, reason = "one call, right above")]
fn build(
    dir: &Path,
    files: Vec<PathBuf>,
    whole: &Sections,
    registry: &[Descriptor],
    environment: &dyn Fn(&str) -> Option<String>,
    sources: Arc<Sources>,
    errors: &mut Vec<ConfigError>,
    certain: bool,
) -> Config {
    let single = |name: &str| whole.singles.get(name).map(|(_, node)| node);
    sections::version(&whole.versions, dir, certain, errors);
    let limits = sections::limits(single("limits"), &super::model::Limits::default(), errors);
    let given = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state_dir = directory(single("state_dir"), errors)
        .or_else(|| given("STATE_DIRECTORY"))
        .unwrap_or_else(|| PathBuf::from("var"));
    let run_dir = directory(single("run_dir"), errors)
        .or_else(|| given("RUNTIME_DIRECTORY"))
        .unwrap_or_else(|| state_dir.join("run"));
    let (consumers, credentials) = entries::consumers(whole.map("consumers"), registry, errors);
    Config {
        dir: dir.to_owned(),
        listeners: sections::listeners(whole.map("listeners"), &limits, errors),
        client_ip: sections::client_ip(single("client_ip"), errors),
        admin: sections::admin(single("admin"), errors),
        watch: sections::flag(single("watch"), errors),
        demo: sections::flag(single("demo"), errors),
        upstreams: upstreams::upstreams(whole.map("upstreams"), errors),
        routes: routes::routes(whole.map("routes"), registry, errors),
        plugins: entries::entries(whole.map("plugins"), registry, errors),
        errors: routes::error_bodies(whole.map("errors"), errors),
        limits,
        state_dir,
        run_dir,
        consumers,
        credentials,
        files,
        sources,
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
