//! A description of an API, compiled.

mod convert;
mod documents;
mod families;
mod inspect;
mod media;
mod operations;
mod parameters;
mod security;
mod shape;
mod words;

pub(super) use convert::{Direction, STRIP, Unknown};
pub(super) use media::{Encoding, Media, choose};
pub(super) use operations::{Response, Rules};
pub(super) use parameters::{Format, Location, Parameter, Style};
pub(super) use shape::Shape;

use super::paths::{Captures, Paths};
use crate::schema::{self, Id, Schemas, Settings, file};
use convert::{Converter, Version};
use documents::{Documents, Part};
use http::Method;
use palisade_contract::{BuildEnv, ConfigError, ConfigErrors, Operation};
use serde_json::Value;
use std::{collections::HashMap, path::PathBuf, sync::Arc};

/// The dialect of descriptions in 3.1 and, as far as schemas go, of all that is compiled.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// The dialect that 3.1 says where it says none.
const OWN_DIALECT: &str = "https://spec.openapis.org/oas/3.1/dialect/base";
/// More errors than these are not looked for.
const MAX_ERRORS: usize = 50;

/// What is compiled of a description. Entries that want the same share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) request: Option<Unknown>,
    pub(super) response: Option<Unknown>,
    /// What stands before all paths, in place of what `servers` say.
    pub(super) base_path: Option<String>,
    /// Types of bodies that pass by their type.
    pub(super) opaque: Vec<String>,
    pub(super) security: bool,
}

/// A compiled description.
#[derive(Debug)]
pub(super) struct Spec {
    pub(super) schemas: Schemas,
    /// What it declares, in its order.
    pub(super) operations: Vec<Operation>,
    rules: Vec<Rules>,
    paths: Paths,
    /// The methods of each template.
    methods: Vec<Vec<(Method, usize)>>,
    /// What it was read from.
    files: Vec<(PathBuf, file::Hash)>,
}

/// What a request is for.
#[derive(Debug)]
pub(super) enum Found<'s, 'p> {
    Operation(usize, &'s Rules, Captures<'p>),
    /// The path has other methods.
    Method(&'s [(Method, usize)]),
    Nothing,
}

impl Spec {
    /// Reads and compiles a description.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn load(path: &str, wanted: &Wanted, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let documents = Documents::read(path, env)?;
        let Some(root) = documents.root() else { return Err(ConfigErrors::default()) };
        let version = version(&root)?;
        let mut reader = Reader {
            documents: &documents,
            converter: Converter::new(&documents, version),
            roots: Vec::new(),
            ids: HashMap::new(),
            wanted,
            errors: Vec::new(),
        };
        let read = operations::read(&mut reader, &root);
        let Reader { converter, roots, mut errors, .. } = reader;
        errors.extend(converter.errors.iter().cloned());
        if !errors.is_empty() {
            errors.truncate(MAX_ERRORS);
            for error in &mut errors {
                error.help.get_or_insert_with(|| {
                    "see what OpenAPI lets stand here: spec.openapis.org/oas".to_owned()
                });
            }
            return Err(errors.into());
        }
        let sources = |wrong: schema::SchemaErrors| located(&converter, wrong);
        let settings = Settings { formats: true };
        let schemas = Schemas::compile(converter.defs.clone(), roots, settings).map_err(sources)?;
        let operations::Read { operations, rules, paths, methods } = read;
        Ok(Spec { schemas, operations, rules, paths, methods, files: documents.read })
    }

    /// True while the files are as they were.
    pub(super) fn is_current(&self) -> bool {
        self.files.iter().all(|(path, hash)| file::hash(path).as_ref() == Some(hash))
    }

    /// The files that it was read from.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().map(|(path, _)| path)
    }

    /// What a request is for. `HEAD` is what `GET` is, where it is not declared apart (RFC 9110 §9.3.2).
    pub(super) fn find<'s, 'p>(&'s self, method: &Method, path: &'p str) -> Found<'s, 'p> {
        let Some((template, taken)) = self.paths.find(path) else { return Found::Nothing };
        let methods = self.methods.get(template).map_or(&[][..], Vec::as_slice);
        let of =
            |method: &Method| methods.iter().find(|(known, _)| known == method).map(|(_, number)| *number);
        let number = of(method).or_else(|| (*method == Method::HEAD).then(|| of(&Method::GET)).flatten());
        match number.and_then(|number| Some((number, self.rules.get(number)?))) {
            Some((number, rules)) => Found::Operation(number, rules, taken),
            None => Found::Method(methods),
        }
    }

    /// What an operation declares of its answers.
    pub(super) fn rules(&self, number: usize) -> Option<&Rules> {
        self.rules.get(number)
    }
}

/// What is known while a description is read.
struct Reader<'d, 'w> {
    documents: &'d Documents,
    converter: Converter<'d>,
    roots: Vec<Value>,
    ids: HashMap<String, Id>,
    wanted: &'w Wanted,
    errors: Vec<ConfigError>,
}

impl<'d> Reader<'d, '_> {
    /// A schema, to be compiled with all others.
    fn schema(&mut self, part: &Part<'d>, direction: Direction, unknown: Unknown) -> Id {
        let root = self.converter.whole(part, direction, unknown);
        let key = root.to_string();
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let id = Id(u32::try_from(self.roots.len()).unwrap_or(u32::MAX));
        self.roots.push(root);
        self.ids.insert(key, id);
        id
    }

    fn follow(&mut self, part: Part<'d>) -> Option<Part<'d>> {
        self.documents.follow(part).map_err(|error| self.errors.push(error)).ok()
    }

    fn refuse(&mut self, part: &Part<'d>, what: impl Into<String>, help: &str) {
        self.errors.push(part.error(what).help(help));
    }
}

/// Errors of the engine, where they stand in the description.
fn located(converter: &Converter<'_>, wrong: schema::SchemaErrors) -> ConfigErrors {
    let mut errors: Vec<ConfigError> = Vec::new();
    for error in wrong.0 {
        let found = match converter.source(&error.at) {
            Some(part) => part.error(error.what),
            None => ConfigError::at("spec", format!("{}: {}", error.at, error.what)),
        };
        let found = found.help("see json-schema.org for what a schema may say");
        if !errors.contains(&found) {
            errors.push(found);
        }
    }
    errors.into()
}

fn version(root: &Part<'_>) -> Result<Version, ConfigErrors> {
    if let Some(old) = root.get("swagger") {
        return Err(old
            .error("this is a description in Swagger 2.0")
            .help("convert it to OpenAPI 3.0 or 3.1")
            .into());
    }
    let Some(written) = root.get("openapi") else {
        let error = root.error("this is no description in OpenAPI: it has no `openapi`");
        return Err(error.help("write `openapi: 3.1.0`, or name the file that has it").into());
    };
    let text = written.node.text().unwrap_or_default();
    let minor =
        |minor: &str| text == minor || text.strip_prefix(minor).is_some_and(|rest| rest.starts_with('.'));
    let version = match () {
        () if minor("3.0") => Version::V30,
        () if minor("3.1") => Version::V31,
        () => {
            let error = written.error(format!("OpenAPI `{text}` is not known here"));
            return Err(error.help("`3.0.x` and `3.1.x` are").into());
        }
    };
    if let Some(dialect) = root.get("jsonSchemaDialect")
        && !dialect.node.text().is_some_and(|dialect| [DIALECT, OWN_DIALECT].contains(&dialect))
    {
        let error = dialect.error("the only dialect that is known is JSON Schema 2020-12");
        return Err(error.help("leave out `jsonSchemaDialect`").into());
    }
    Ok(version)
}

/// A compiled description, or the one that is in use and was made of the same.
#[derive(Debug, Default)]
pub(super) struct Specs(parking_lot::Mutex<HashMap<(PathBuf, Wanted), std::sync::Weak<Spec>>>);

impl Specs {
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn get(
        &self,
        path: &str,
        wanted: &Wanted,
        env: &BuildEnv<'_>,
    ) -> Result<Arc<Spec>, ConfigErrors> {
        let key = (env.path_to_read(path), wanted.clone());
        let mut known = self.0.lock();
        known.retain(|_, spec| spec.strong_count() > 0);
        if let Some(spec) = known.get(&key).and_then(std::sync::Weak::upgrade)
            && spec.is_current()
        {
            // What it was read from is still a reason to read it again.
            for file in spec.files() {
                let absolute = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                env.path_to_read(&absolute.to_string_lossy());
            }
            return Ok(spec);
        }
        let spec = Arc::new(Spec::load(path, wanted, env)?);
        known.insert(key, Arc::downgrade(&spec));
        Ok(spec)
    }
}
