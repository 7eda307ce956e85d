//! Where schemas come from: the configuration, files, and files that references in them name.

use crate::schema::{self, Schema, SchemaErrors, Settings, file};
use jsonschema::{Retrieve, Uri};
use palisade_contract::{BuildEnv, ConfigError, ConfigErrors, Node};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The most files that one schema refers to.
const MAX_FILES: usize = 200;

/// What is known of all schemas of an entry.
pub(super) struct Sources<'a> {
    settings: Settings,
    resources: BTreeMap<String, PathBuf>,
    env: &'a BuildEnv<'a>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(formats: bool, resources: &BTreeMap<String, String>, env: &'a BuildEnv<'a>) -> Self {
        let resources = resources.iter().map(|(uri, path)| (uri.clone(), env.path_to_read(path))).collect();
        Sources { settings: Settings { formats }, resources, env }
    }

    /// Compiles the schema that stands in the configuration, or in a file.
    pub(super) fn compile(
        &self,
        side: &str,
        written: Option<&Node>,
        path: Option<&str>,
    ) -> Result<Schema, ConfigErrors> {
        let at = |field: &str, error: ConfigError| {
            ConfigErrors::from(ConfigError { path: format!("{side}{field}"), ..error })
        };
        let (node, base) = match (written, path) {
            (Some(node), None) => (node.clone(), self.env.entry.place.file.to_path_buf()),
            (None, Some(path)) => {
                let path = self.env.path_to_read(path);
                let (node, _) = file::read(&path).map_err(|errors| {
                    let unread =
                        |error: &ConfigError| error.place.as_ref().is_none_or(|place| place.line == 0);
                    match errors.0.first().filter(|error| unread(error)) {
                        Some(first) => {
                            let error = ConfigError::new(format!("`{}`: {}", path.display(), first.message));
                            let help =
                                "name a file that can be read, relative to the one that this stands in";
                            at(".file", error.help(help))
                        }
                        None => errors,
                    }
                })?;
                (node, path)
            }
            (Some(_), Some(_)) => {
                return Err(at(
                    "",
                    ConfigError::new("it has both `schema` and `file`").help("keep one of them"),
                ));
            }
            (None, None) => {
                let error = ConfigError::new("there is no schema");
                return Err(at("", error.help("write `schema: {…}` or `file: order.json`")));
            }
        };
        let document = file::value(&node)?;
        let files = Files { resources: self.resources.clone(), read: Arc::default() };
        let read = files.read.clone();
        let base = std::path::absolute(&base).ok().map(|path| uri_of(&path));
        let compiled = Schema::compile(&document, self.settings, base, files);
        for path in read.lock().iter() {
            self.env.path_to_read(&path.to_string_lossy());
        }
        compiled.map_err(|errors| located(&node, errors))
    }
}

fn located(node: &Node, errors: SchemaErrors) -> ConfigErrors {
    let locate = |error: schema::SchemaError| {
        let (found, pointer) = schema::find(node, &error.at);
        let help = match error.what.contains("reference") {
            true => "references lead to local files, or to what `resources` names",
            false => {
                "see json-schema.org for what a schema may say; patterns may not look around (`(?=…)`) or back (`\\1`)"
            }
        };
        schema::error_at(&found.place, &pointer, error.what).help(help)
    };
    errors.0.into_iter().map(locate).collect::<Vec<_>>().into()
}

/// Gives what references name: local files alone.
struct Files {
    resources: BTreeMap<String, PathBuf>,
    read: Arc<Mutex<Vec<PathBuf>>>,
}

impl Retrieve for Files {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        let text = uri.as_str();
        let whole = text.split('#').next().unwrap_or(text);
        let path = match self.resources.get(whole) {
            Some(path) => path.clone(),
            None => {
                path_of(whole).ok_or("it is not a local file, nor one of `resources`: nothing is fetched")?
            }
        };
        let mut read = self.read.lock();
        if read.len() >= MAX_FILES {
            return Err(format!("it refers to more than {MAX_FILES} files").into());
        }
        read.push(path.clone());
        drop(read);
        let first = |errors: ConfigErrors| {
            errors.0.first().map_or_else(String::new, |error| match &error.place {
                Some(place) => format!("{place}: {}", error.message),
                None => error.message.clone(),
            })
        };
        let (node, _) = file::read(&path).map_err(first)?;
        Ok(file::value(&node).map_err(first)?)
    }
}

fn uri_of(path: &Path) -> String {
    use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
    const PATH: AsciiSet = CONTROLS
        .add(b' ')
        .add(b'"')
        .add(b'#')
        .add(b'%')
        .add(b'<')
        .add(b'>')
        .add(b'?')
        .add(b'[')
        .add(b']')
        .add(b'\\')
        .add(b'^')
        .add(b'`')
        .add(b'{')
        .add(b'|')
        .add(b'}');
    format!("file://{}", utf8_percent_encode(&path.to_string_lossy(), &PATH))
}

fn path_of(uri: &str) -> Option<PathBuf> {
    let path = uri.strip_prefix("file://").filter(|path| path.starts_with('/'))?;
    Some(PathBuf::from(percent_encoding::percent_decode_str(path).decode_utf8().ok()?.into_owned()))
}
