//! What is wrong with a configuration, and where.

use std::{fmt, path::Path, sync::Arc};

use super::{Node, mask::mask_message, path};

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

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

impl ConfigErrors {
    /// Gives errors without a place the place of the field that they name, below `node`, and makes their path
    /// one in the whole document. What references gave is taken out of their messages.
    #[must_use]
    pub fn locate(mut self, node: &Node) -> Self {
        let secrets = node.secrets();
        for error in &mut self.0 {
            error.message = mask_message(&error.message, &secrets);
            error.help = error.help.take().map(|help| mask_message(&help, &secrets));
            if error.place.is_none() {
                error.place = Some(node.find(&error.path).place.clone());
                error.path = path::join(&node.path, &error.path);
            }
        }
        self
    }

    /// True where nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
