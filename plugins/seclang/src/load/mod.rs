//! From text to rules: everything that is wrong is collected, with its place.

mod actions;
mod control;
mod directive;
mod include;
mod operator;
mod rule;
mod source;
mod targets;
mod update;

pub use include::files as expand;

use crate::{
    config::Config,
    error::{LoadError, LoadErrors},
    rule::{Chain, Disruption, Transforms},
    ruleset::RuleSet,
    template::TxNames,
    transform::Transformation,
};
use source::{Directive, Source, Word};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How deep files may include files.
const DEEPEST: usize = 20;

/// An error at a byte of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fail {
    at: usize,
    width: usize,
    message: String,
    help: Option<String>,
}

impl Fail {
    /// The same, in text that begins later.
    fn after(mut self, offset: usize) -> Self {
        self.at += offset;
        self
    }
}

fn fail(at: usize, width: usize, message: String) -> Fail {
    Fail { at, width, message, help: None }
}

/// What rules of a phase inherit.
#[derive(Debug, Clone, Default)]
struct Defaults {
    disruption: Disruption,
    status: Option<u16>,
    transforms: Transforms,
    log: Option<bool>,
}

/// What a phase's list holds, in the order of the files.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Rule(usize),
    Marker(String),
}

/// Everything that files gave.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) chains: Vec<Chain>,
    pub(crate) items: Vec<Item>,
    pub(crate) transforms: Vec<Transforms>,
    pub(crate) names: TxNames,
    /// The files that were read, those with data included.
    pub(crate) files: Vec<PathBuf>,
}

/// Collects files and text, and compiles them to a [`RuleSet`].
///
/// ```
/// let rules = seclang::RuleSet::builder()
///     .text("mine.conf", r#"SecRule ARGS "@contains evil" "id:1,phase:2,deny,status:403""#)
///     .build()
///     .unwrap();
/// assert_eq!(rules.len(), 1);
/// ```
#[derive(Debug, Default)]
pub struct Builder {
    loaded: Loaded,
    errors: Vec<LoadError>,
    defaults: [Defaults; 5],
    ids: HashMap<u64, (PathBuf, usize)>,
    /// A chain whose next rule is to come, with the phase's raw actions of its head.
    open: Option<rule::Open>,
    updates: Vec<update::Update>,
    transforms: HashMap<Vec<Transformation>, usize>,
    reference: bool,
    tolerated: Vec<u64>,
}

impl Builder {
    /// Reads a file and all that it includes.
    #[must_use]
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        self.read(path.as_ref(), 0);
        self
    }

    /// Reads the files that a pattern stands for, such as `rules/*.conf`, in the order of their names.
    #[must_use]
    pub fn files(mut self, pattern: &str) -> Self {
        match include::files(Path::new(""), pattern) {
            Ok(files) if files.is_empty() => {
                self.errors.push(LoadError::of_file(Path::new(pattern), "no file has such a name".into()));
            }
            Ok(files) => files.iter().for_each(|file| self.read(file, 0)),
            Err(error) => self.errors.push(LoadError::of_file(Path::new(pattern), error.to_string())),
        }
        self
    }

    /// Reads text as a file of the given name; files that it names are looked for beside that name.
    #[must_use]
    pub fn text(mut self, name: impl AsRef<Path>, text: &str) -> Self {
        self.directives(name.as_ref(), text, 0);
        self
    }

    /// Evaluates rule by rule and value by value, with nothing decided beforehand: slow, and what the fast way is compared
    /// with.
    #[must_use]
    pub fn reference(mut self) -> Self {
        self.reference = true;
        self
    }

    /// Leaves out rules of these ids where they do not load, such as those of an old rule set that need a database of places.
    /// What was left out is in [`RuleSet::left_out`]; it is the host's to show.
    #[must_use]
    pub fn tolerate(mut self, ids: &[u64]) -> Self {
        self.tolerated.extend_from_slice(ids);
        self
    }

    /// The files that were read so far or could not be, those with data included: a host that watches or shares rule sets
    /// wants to know.
    #[must_use]
    pub fn files_read(&self) -> &[PathBuf] {
        &self.loaded.files
    }

    /// The ids of the rules that were read so far, those among them that a directive takes away again.
    pub fn rule_ids(&self) -> impl Iterator<Item = u64> {
        self.ids.keys().copied()
    }

    /// Compiles what was read.
    ///
    /// # Errors
    /// Everything that is wrong with the rules, in the order of the files.
    pub fn build(mut self) -> Result<Arc<RuleSet>, LoadErrors> {
        if let Some(open) = self.open.take() {
            let error = open.error();
            self.errors.push(error);
        }
        self.apply_updates();
        let tolerated = |error: &LoadError| error.rule.is_some_and(|rule| self.tolerated.contains(&rule));
        let (left_out, errors): (Vec<_>, Vec<_>) = self.errors.into_iter().partition(tolerated);
        if !errors.is_empty() {
            return Err(LoadErrors(errors));
        }
        let mut rules = RuleSet::compile(self.loaded, self.reference).map_err(LoadErrors)?;
        rules.left_out = left_out;
        Ok(Arc::new(rules))
    }

    fn read(&mut self, path: &Path, depth: usize) {
        self.loaded.files.push(path.to_path_buf());
        match fs::read(path).map(String::from_utf8) {
            Ok(Ok(text)) => self.directives(path, &text, depth),
            Ok(Err(_)) => self.errors.push(LoadError::of_file(path, "the file is not in UTF-8".into())),
            Err(error) => self.errors.push(LoadError::of_file(path, format!("cannot be read: {error}"))),
        }
    }

    fn directives(&mut self, path: &Path, text: &str, depth: usize) {
        let source = Source::new(path, text);
        for directive in source.directives() {
            match directive.words() {
                Ok(words) => self.directive(&directive, &words, depth),
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn include(&mut self, directive: &Directive, word: &Word, depth: usize, optional: bool) {
        if depth >= DEEPEST {
            self.complain(
                directive,
                word,
                fail(0, word.text.len(), "files include files too deeply".into()),
                None,
            );
            return;
        }
        let base = directive.path().parent().unwrap_or(Path::new("")).to_path_buf();
        match include::files(&base, &word.text) {
            Ok(files) if files.is_empty() && !optional => {
                let message = format!("no file has a name like `{}`", word.text);
                self.complain(directive, word, fail(0, word.text.len(), message), None);
            }
            Ok(files) => {
                for file in files.iter().filter(|file| !optional || file.exists()) {
                    self.read(file, depth + 1);
                }
            }
            Err(error) => self.complain(directive, word, fail(0, word.text.len(), error.to_string()), None),
        }
    }

    /// Records an error at a place of a word.
    fn complain(&mut self, directive: &Directive, word: &Word, fail: Fail, rule: Option<u64>) {
        let mut error = directive.error(word.place(fail.at), fail.width, fail.message);
        error.help = fail.help;
        error.rule = rule;
        self.errors.push(error);
    }

    /// The number of a chain of transformations.
    fn transforms(&mut self, chain: Vec<Transformation>) -> usize {
        let next = self.loaded.transforms.len();
        match self.transforms.get(&chain) {
            Some(number) => *number,
            None => {
                self.loaded.transforms.push(chain.clone());
                self.transforms.insert(chain, next);
                next
            }
        }
    }
}
