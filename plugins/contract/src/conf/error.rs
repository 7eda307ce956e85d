//! What is wrong with a configuration, and where.

use std::{fmt, path::Path, sync::Arc};

use super::Node;

/// A place in a configuration file.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The file, as it was named to the loader.
    pub file: Arc<Path>,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// A place that stands for a whole file.
    pub fn of_file(file: impl Into<Arc<Path>>) -> Self {
        Place { file: file.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 { write!(f, ":{}:{}", self.line, self.column) } else { Ok(()) }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One thing that is wrong with a configuration.
///
/// A plugin makes one with [`ConfigError::new`] or [`ConfigError::at`] and does not name itself or its file:
/// the loader adds the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The path relative to the plugin's own configuration (`allow[2]`), then in the whole document.
    pub path: String,
    /// Lower case, no final period, what the user wrote in backticks.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Where it stands; added by the loader.
    pub place: Option<Place>,
    /// Another place that it has to do with (the first of two that clash).
    pub other: Option<(String, Place)>,
}

impl ConfigError {
    /// An error about a whole entry.
    pub fn new(message: impl Into<String>) -> Self {
        ConfigError::at("", message)
    }

    /// An error about one field, by its path in the plugin's own configuration: `allow[2]`.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        ConfigError { path: path.into(), message: message.into(), help: None, place: None, other: None }
    }

    /// What to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Where it stands.
    #[must_use]
    pub fn place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Another place that it has to do with.
    #[must_use]
    pub fn other(mut self, label: impl Into<String>, place: Place) -> Self {
        self.other = Some((label.into(), place));
        self
    }
}

/// Everything that is wrong, not only the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    /// Gives errors without a place the place of the field that they name, below `node`, and makes their path
    /// one in the whole document.
    #[must_use]
    pub fn locate(mut self, node: &Node) -> Self {
        for error in &mut self.0 {
            if error.place.is_none() {
                let target = node.find(&error.path);
                error.place = Some(target.place.clone());
                error.path = join(&node.path, &error.path);
            }
        }
        self
    }
}

/// The files that a configuration was read from, to show the lines that errors are in.
#[derive(Debug, Default, Clone)]
pub struct Sources(pub std::collections::BTreeMap<Arc<Path>, String>);

impl ConfigErrors {
    /// All errors in the order of files and lines, each with its line and a caret.
    pub fn render(&self, sources: &Sources) -> String {
        let mut errors: Vec<&ConfigError> = self.0.iter().collect();
        errors.sort_by(|a, b| {
            let key = |error: &ConfigError| {
                error.place.as_ref().map(|place| (place.file.clone(), place.line, place.column))
            };
            key(a).cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
        });
        errors.dedup();
        let mut out = String::new();
        for error in &errors {
            error.render(sources, &mut out);
        }
        let files: std::collections::BTreeSet<_> =
            errors.iter().filter_map(|error| Some(&error.place.as_ref()?.file)).collect();
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        out.push_str(&format!(
            "{} error{} in {} file{}\n",
            errors.len(),
            plural(errors.len()),
            files.len(),
            plural(files.len())
        ));
        out
    }
}

impl ConfigError {
    fn render(&self, sources: &Sources, out: &mut String) {
        if let Some(place) = &self.place {
            out.push_str(&format!("{place}: "));
        }
        if !self.path.is_empty() {
            out.push_str(&format!("{}: ", self.path));
        }
        out.push_str(&format!("{}\n", self.message));
        if let Some(place) = &self.place {
            excerpt(place, sources, out);
        }
        if let Some((label, place)) = &self.other {
            out.push_str(&format!("  {place}: {label}\n"));
            excerpt(place, sources, out);
        }
        if let Some(help) = &self.help {
            out.push_str(&format!("  help: {help}\n"));
        }
        out.push('\n');
    }
}

/// The line of a place with a caret under its column. Values of keys that name a secret are not shown.
fn excerpt(place: &Place, sources: &Sources, out: &mut String) {
    const WIDTH: usize = 160;
    let Some(text) = sources.0.get(&place.file) else { return };
    let Some(line) = (place.line as usize).checked_sub(1).and_then(|index| text.lines().nth(index)) else {
        return;
    };
    let shown: String =
        masked(line).chars().map(|c| if c.is_control() { ' ' } else { c }).take(WIDTH).collect();
    let number = place.line.to_string();
    let margin = " ".repeat(number.len());
    let column = (place.column as usize).saturating_sub(1).min(shown.chars().count());
    out.push_str(&format!("  {number} | {shown}\n  {margin} | {}^\n", " ".repeat(column)));
}

/// A line as it may be shown: what follows `token:`, `password:`, `secret:` and `key:` is masked, but for a reference.
fn masked(line: &str) -> String {
    for name in ["token:", "password:", "secret:", "key:"] {
        let Some((before, after)) = line.split_once(name) else { continue };
        let value = after.trim();
        let starts_word = before.is_empty() || before.ends_with([' ', '{', ',', '_', '-']);
        if starts_word && !value.is_empty() && !value.starts_with("${") && !value.starts_with(['{', '[']) {
            return format!("{before}{name} …");
        }
    }
    line.to_owned()
}

fn join(base: &str, path: &str) -> String {
    match (base.is_empty(), path.is_empty()) {
        (_, true) => base.to_owned(),
        (true, false) => path.to_owned(),
        (false, false) if path.starts_with('[') => format!("{base}{path}"),
        (false, false) => format!("{base}.{path}"),
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        ConfigErrors(vec![error])
    }
}

impl From<Vec<ConfigError>> for ConfigErrors {
    fn from(errors: Vec<ConfigError>) -> Self {
        ConfigErrors(errors)
    }
}
