//! Which files are configuration, and how they merge.

use super::{entries, model::Config, raw, routes, sections};
use palisade_contract::{
    ConfigError, ConfigErrors, Descriptor, Node, Place, Value,
    conf::{Sources, node::Key},
};
use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The folders below the directory whose files are configuration; every other folder is data.
const FOLDERS: [&str; 5] = ["listeners", "upstreams", "routes", "plugins", "consumers"];
/// Sections whose entries merge across files.
const MAPS: [&str; 6] = ["listeners", "upstreams", "routes", "plugins", "consumers", "errors"];
/// Sections that stand in one file only.
const SINGLES: [&str; 7] = ["version", "limits", "client_ip", "admin", "watch", "demo", "state_dir"];
const MAX_FILES: usize = 10_000;
const MAX_FOLDERS: usize = 16;

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
    let files = find(dir, &mut errors);
    let mut whole = Sections::default();
    for file in &files {
        match std::fs::read(file).map(String::from_utf8) {
            Ok(Ok(text)) => {
                match palisade_contract::conf::parse(file, &text, environment) {
                    Ok(node) => whole.add(&node, &mut errors),
                    Err(found) => errors.extend(found.0),
                }
                sources.0.insert(Arc::from(file.as_path()), text);
            }
            Ok(Err(_)) => {
                errors.push(ConfigError::new("the file is not UTF-8").place(Place::of_file(file.as_path())))
            }
            Err(error) => errors.push(
                ConfigError::new(format!("cannot read the file: {error}"))
                    .place(Place::of_file(file.as_path())),
            ),
        }
    }
    let sources = Arc::new(sources);
    // A file that could not be read makes every name in it look missing: say only what is certain.
    let certain = errors.is_empty();
    let config = build(dir, files, &whole, registry, environment, sources.clone(), &mut errors, certain);
    if errors.is_empty() { Ok(config) } else { Err(LoadError { errors: errors.into(), sources }) }
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
    sections::version(single("version"), dir, certain, errors);
    let limits = sections::limits(single("limits"), &super::model::Limits::default(), errors);
    let state_dir = state_dir(single("state_dir"), environment, errors);
    let run_dir = environment("RUNTIME_DIRECTORY").map_or_else(|| state_dir.join("run"), PathBuf::from);
    let (consumers, credentials) = entries::consumers(whole.map("consumers"), registry, errors);
    Config {
        dir: dir.to_owned(),
        listeners: sections::listeners(whole.map("listeners"), &limits, errors),
        client_ip: sections::client_ip(single("client_ip"), errors),
        admin: sections::admin(single("admin"), errors),
        watch: sections::flag(single("watch"), errors),
        demo: sections::flag(single("demo"), errors),
        upstreams: sections::upstreams(whole.map("upstreams"), errors),
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

fn state_dir(
    node: Option<&Node>,
    environment: &dyn Fn(&str) -> Option<String>,
    errors: &mut Vec<ConfigError>,
) -> PathBuf {
    let written =
        node.and_then(|node| node.deserialize::<String>().map_err(|found| errors.extend(found.0)).ok());
    written.or_else(|| environment("STATE_DIRECTORY")).map_or_else(|| PathBuf::from("var"), PathBuf::from)
}

/// All sections of all files.
#[derive(Default)]
struct Sections {
    singles: BTreeMap<&'static str, (Key, Node)>,
    maps: BTreeMap<&'static str, Vec<(Key, Node)>>,
}

impl Sections {
    fn map(&self, name: &str) -> &[(Key, Node)] {
        self.maps.get(name).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, node: &Node, errors: &mut Vec<ConfigError>) {
        if !matches!(node.value, Value::Map(_)) {
            errors.push(ConfigError::new("a configuration file is a mapping").place(node.place.clone()));
            return;
        }
        for (key, value) in node.entries() {
            let name = key.text.as_str();
            if let Some(name) = MAPS.iter().find(|known| **known == name) {
                self.add_map(name, value, errors);
            } else if let Some(name) = SINGLES.iter().find(|known| **known == name) {
                if let Some((first, _)) = self.singles.get(name) {
                    errors.push(twice(name, key, first));
                } else {
                    self.singles.insert(name, (key.clone(), value.clone()));
                }
            } else {
                errors.push(unknown_section(key));
            }
        }
    }

    fn add_map(&mut self, name: &'static str, value: &Node, errors: &mut Vec<ConfigError>) {
        if !matches!(value.value, Value::Map(_)) && !value.is_null() {
            errors.push(
                ConfigError::at(name, format!("`{name}` is a mapping of names")).place(value.place.clone()),
            );
        }
        let all = self.maps.entry(name).or_default();
        for (key, node) in value.entries() {
            match all.iter().find(|(known, _)| known.text == key.text) {
                Some((first, _)) => errors.push(twice(&format!("{name}.{}", key.text), key, first)),
                None => all.push((key.clone(), node.clone())),
            }
        }
    }
}

fn twice(path: &str, key: &Key, first: &Key) -> ConfigError {
    ConfigError::at(path, format!("`{}` is written twice", key.text))
        .help("maps of all files merge; give one of them another name, or remove it")
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

/// The files of a configuration, in name order.
fn find(dir: &Path, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if !dir.is_dir() {
        let error = ConfigError::new("there is no such directory");
        errors.push(
            error
                .help("name the directory that holds the configuration: `--conf DIR`")
                .place(Place::of_file(dir)),
        );
        return files;
    }
    collect(dir, false, 0, &mut files, errors);
    for folder in FOLDERS {
        let folder = dir.join(folder);
        if folder.is_dir() {
            collect(&folder, true, 0, &mut files, errors);
        }
    }
    if files.is_empty() && errors.is_empty() {
        let error = ConfigError::new("the directory holds no `.yaml` file");
        errors.push(
            error
                .help("`palisade init DIR` writes a small configuration to begin with")
                .place(Place::of_file(dir)),
        );
    }
    files
}

fn collect(dir: &Path, deep: bool, depth: usize, files: &mut Vec<PathBuf>, errors: &mut Vec<ConfigError>) {
    let refuse = |path: &Path, why: String| ConfigError::new(why).place(Place::of_file(path));
    if depth > MAX_FOLDERS {
        errors.push(refuse(
            dir,
            format!("folders are nested deeper than {MAX_FOLDERS} levels (a link in a circle?)"),
        ));
        return;
    }
    let mut names: Vec<PathBuf> = match std::fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
        Err(error) => {
            errors.push(refuse(dir, format!("cannot read the directory: {error}")));
            return;
        }
    };
    names.sort();
    for path in names {
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        if hidden {
            continue;
        }
        if path.is_dir() {
            if deep {
                collect(&path, deep, depth + 1, files, errors);
            }
        } else if extension == "yml" {
            errors.push(
                refuse(&path, "configuration files end in `.yaml`; this one would be passed over".to_owned())
                    .help("rename it to `.yaml`"),
            );
        } else if extension == "yaml" {
            if files.len() >= MAX_FILES {
                errors.push(refuse(&path, format!("more than {MAX_FILES} files")));
                return;
            }
            files.push(path);
        }
    }
}
