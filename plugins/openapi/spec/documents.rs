//! The files of a description, and what references in them lead to.

use crate::schema::{self, file};
use palisade_contract::{BuildEnv, ConfigError, ConfigErrors, Node, Place, Value};
use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

/// The most files of one description.
const MAX_FILES: usize = 200;
/// How many references may lead from one to the next.
const MAX_HOPS: usize = 32;

/// A place in a description: which file, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Spot {
    pub(super) file: usize,
    /// A JSON pointer.
    pub(super) pointer: String,
}

impl Spot {
    /// The place of a member of the object here.
    pub(super) fn member(&self, name: &str) -> Spot {
        Spot { file: self.file, pointer: format!("{}/{}", self.pointer, schema::escape(name)) }
    }

    /// The place of an item of the array here.
    pub(super) fn item(&self, index: usize) -> Spot {
        Spot { file: self.file, pointer: format!("{}/{index}", self.pointer) }
    }
}

/// A part of a description, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Part<'d> {
    pub(super) node: &'d Node,
    pub(super) spot: Spot,
}

impl<'d> Part<'d> {
    /// The member of this name, where there is one.
    pub(super) fn get(&self, name: &str) -> Option<Part<'d>> {
        self.node.get(name).map(|node| Part { node, spot: self.spot.member(name) })
    }

    /// The members, where this is an object.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'d str, Part<'d>)> + use<'d> {
        let spot = self.spot.clone();
        self.node
            .entries()
            .iter()
            .map(move |(key, node)| (key.text.as_str(), Part { node, spot: spot.member(&key.text) }))
    }

    /// The items, where this is an array.
    pub(super) fn items(&self) -> impl Iterator<Item = Part<'d>> + use<'d> {
        let items: &'d [Node] = if let Value::List(items) = &self.node.value { items } else { &[] };
        let spot = self.spot.clone();
        items.iter().enumerate().map(move |(index, node)| Part { node, spot: spot.item(index) })
    }

    /// The text of a member.
    pub(super) fn text(&self, name: &str) -> Option<&'d str> {
        self.node.get(name).filter(|node| !node.is_null()).and_then(Node::text)
    }

    /// True where a member is `true`.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.node.get(name).is_some_and(|node| is_true(&node.value))
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// Something is wrong here.
    pub(super) fn error(&self, what: impl Into<String>) -> ConfigError {
        schema::error_at(&self.node.place, &self.spot.pointer, what)
    }
}

pub(super) fn is_true(value: &Value) -> bool {
    matches!(value, Value::Scalar { text, plain: true, .. } if text.eq_ignore_ascii_case("true"))
}

/// The files of a description. The first is the one that the configuration names.
#[derive(Debug)]
pub(super) struct Documents {
    files: Vec<(PathBuf, Node)>,
    by_path: HashMap<PathBuf, usize>,
    anchors: HashMap<(usize, String), String>,
    /// What was read, and its hash then.
    pub(super) read: Vec<(PathBuf, file::Hash)>,
}

impl Documents {
    /// Reads a description and all files that it refers to.
    ///
    /// # Errors
    /// One of them cannot be read. It stands where it is referred to.
    pub(super) fn read(path: &str, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut documents = Documents {
            files: Vec::new(),
            by_path: HashMap::new(),
            anchors: HashMap::new(),
            read: Vec::new(),
        };
        documents.add(Path::new(path), env)?;
        let mut next = 0;
        while let Some((own, root)) = documents.files.get(next) {
            let mut wanted = Vec::new();
            collect(root, "", &mut wanted, &mut |pointer, anchor| {
                documents.anchors.insert((next, anchor.to_owned()), pointer.to_owned());
            });
            let own = own.clone();
            for (reference, place, pointer) in wanted {
                let error = |what: String| {
                    ConfigErrors::from(schema::error_at(&place, &pointer, what).help(
                        "references lead into the same file (`#/components/…`) or a local one (`common.yaml#/…`)",
                    ))
                };
                let target = target_of(&own, &reference).map_err(&error)?;
                let Some(target) = target.filter(|target| !documents.by_path.contains_key(target)) else {
                    continue;
                };
                if documents.files.len() >= MAX_FILES {
                    return Err(error(format!("the description has more than {MAX_FILES} files")));
                }
                documents.add(&target, env).map_err(|errors| {
                    let unread = errors
                        .0
                        .first()
                        .is_some_and(|first| first.place.as_ref().is_none_or(|place| place.line == 0));
                    let message = errors.0.first().map_or("", |first| &first.message);
                    if unread { error(format!("`{}`: {message}", target.display())) } else { errors }
                })?;
            }
            next += 1;
        }
        Ok(documents)
    }

    fn add(&mut self, path: &Path, env: &BuildEnv<'_>) -> Result<(), ConfigErrors> {
        let at = env.path_to_read(&path.to_string_lossy());
        let (root, hash) = file::read(&at)?;
        self.by_path.insert(path.to_owned(), self.files.len());
        self.read.push((at, hash));
        self.files.push((path.to_owned(), root));
        Ok(())
    }

    /// All of the file that the configuration names.
    pub(super) fn root(&self) -> Option<Part<'_>> {
        let (_, node) = self.files.first()?;
        Some(Part { node, spot: Spot { file: 0, pointer: String::new() } })
    }

    /// What a reference in a file leads to, one step.
    pub(super) fn target(&self, file: usize, reference: &str) -> Option<Part<'_>> {
        let (own, _) = self.files.get(file)?;
        let file = match target_of(own, reference).ok()? {
            Some(path) => *self.by_path.get(&path)?,
            None => file,
        };
        let (_, root) = self.files.get(file)?;
        let fragment = reference.split_once('#').map_or("", |(_, fragment)| fragment);
        let fragment = percent_encoding::percent_decode_str(fragment).decode_utf8().ok()?;
        let pointer = match self.anchors.get(&(file, fragment.to_string())) {
            Some(pointer) => pointer.clone(),
            None => fragment.into_owned(),
        };
        let (node, found) = schema::find(root, &pointer);
        // An index or an escape may be written in two ways; one of them is what a place is known by.
        (found == pointer).then_some(Part { node, spot: Spot { file, pointer } })
    }

    /// The object itself, where a reference to it stands in its place.
    ///
    /// # Errors
    /// The reference leads nowhere, or in a circle.
    pub(super) fn follow<'d>(&'d self, part: Part<'d>) -> Result<Part<'d>, ConfigError> {
        let mut at = part.clone();
        for _ in 0..MAX_HOPS {
            let Some(reference) = at.text("$ref") else { return Ok(at) };
            at = self.target(at.spot.file, reference).ok_or_else(|| nowhere(&at, reference))?;
        }
        Err(part.error("the reference leads in a circle").help("let it lead to the thing itself"))
    }
}

/// A reference that leads nowhere.
pub(super) fn nowhere(at: &Part<'_>, reference: &str) -> ConfigError {
    let at = at.get("$ref").unwrap_or_else(|| at.clone());
    at.error(format!("the reference `{reference}` leads nowhere"))
        .help("references lead into the same file (`#/components/…`) or a local one (`common.yaml#/…`)")
}

/// The file that a reference names, as a path beside the one that it stands in; none for the same file.
fn target_of(own: &Path, reference: &str) -> Result<Option<PathBuf>, String> {
    let path = reference.split_once('#').map_or(reference, |(path, _)| path);
    if path.is_empty() {
        return Ok(None);
    }
    if path.contains("://") || path.starts_with("//") {
        return Err(format!("`{path}` is not a local file: nothing is fetched"));
    }
    let path = percent_encoding::percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| "the name of the file is not UTF-8")?;
    let joined = own.parent().unwrap_or(Path::new("")).join(&*path);
    let mut clean = PathBuf::new();
    for part in joined.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if clean
                    .components()
                    .next_back()
                    .is_some_and(|last| matches!(last, Component::Normal(_))) =>
            {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    Ok(Some(clean))
}

/// References and anchors below a node; what is only an example has none.
fn collect(
    node: &Node,
    pointer: &str,
    references: &mut Vec<(String, Place, String)>,
    anchor: &mut dyn FnMut(&str, &str),
) {
    match &node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let at = format!("{pointer}/{}", schema::escape(&key.text));
                match (key.text.as_str(), value.text()) {
                    ("$ref", Some(reference)) => {
                        references.push((reference.to_owned(), value.place.clone(), at));
                    }
                    ("$anchor", Some(name)) => anchor(pointer, name),
                    // Here keys are names, whatever they are.
                    ("properties" | "patternProperties", _) => {
                        for (name, value) in value.entries() {
                            let at = format!("{at}/{}", schema::escape(&name.text));
                            collect(value, &at, references, anchor);
                        }
                    }
                    ("example" | "examples" | "enum" | "const", _) => {}
                    _ => collect(value, &at, references, anchor),
                }
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{pointer}/{index}"), references, anchor);
            }
        }
        Value::Scalar { .. } => {}
    }
}
