//! How errors are shown: place, path and message, the line with a caret, what to write instead.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::{self, Write},
    fs,
    path::Path,
    sync::Arc,
};

use super::{
    ConfigError, ConfigErrors, Node, Place,
    mask::{mask_line, mask_message},
    words::count,
};
use crate::Secret;

/// Longer lines are cut around the caret.
const MAX_WIDTH: usize = 160;

/// The texts of the files that were read, to show the lines that errors are about. Its debug print names the
/// files alone: the texts may hold secrets.
#[derive(Clone, Default)]
pub struct Sources(pub BTreeMap<Arc<Path>, String>, HashMap<Place, Secret>);

impl Sources {
    /// Adds a file under the name that its places bear.
    pub fn add(&mut self, file: impl Into<Arc<Path>>, text: impl Into<String>) {
        self.0.insert(file.into(), text.into());
    }

    /// Remembers where the secrets of a document stand, so that errors about them do not show them.
    pub fn add_secrets(&mut self, root: &Node) {
        let secrets = root.secret_nodes().into_iter();
        self.1.extend(secrets.map(|(place, text)| (place.clone(), Secret::new(text))));
    }

    fn secret(&self, place: Option<&Place>) -> Option<&Secret> {
        self.1.get(place?)
    }

    /// A line of a file. One that the configuration only names, such as rules of a firewall, is read for this; not one of
    /// consumers, where anything may stand by mistake, a key too.
    fn line(&self, place: &Place) -> Option<Cow<'_, str>> {
        let index = usize::try_from(place.line.checked_sub(1)?).ok()?;
        match self.0.get(&place.file) {
            Some(text) => text.lines().nth(index).map(Cow::Borrowed),
            None if place.file.extension().is_some_and(|ending| ending == "jsonl") => None,
            None => {
                fs::read_to_string(&place.file).ok()?.lines().nth(index).map(|line| line.to_owned().into())
            }
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl ConfigErrors {
    /// Takes what a reference gave out of the errors about it. [`ConfigErrors::render`] does so too.
    #[must_use]
    pub fn without_secrets(mut self, sources: &Sources) -> Self {
        for error in &mut self.0 {
            let Some(secret) = sources.secret(error.place.as_ref()) else { continue };
            error.message = mask_message(&error.message, &[secret.expose()]);
            error.help = error.help.take().map(|help| mask_message(&help, &[secret.expose()]));
        }
        self
    }

    /// All errors in the order of their places, and a line that counts them. Literal secrets are hidden.
    pub fn render(&self, sources: &Sources) -> String {
        let masked = self.clone().without_secrets(sources);
        let mut errors: Vec<&ConfigError> = masked.0.iter().collect();
        errors.sort_by_key(|error| {
            let place = error.place.as_ref().map(|place| (&place.file, place.line, place.column));
            (place, &error.path, &error.message)
        });
        // What each entry of a plugin says about the same credential is said once.
        errors.dedup();
        let mut shown = String::new();
        for error in &errors {
            // Writing to a string cannot fail.
            let _ = render_one(&mut shown, error, sources);
            shown.push('\n');
        }
        let files: BTreeSet<_> =
            errors.iter().filter_map(|error| Some(&error.place.as_ref()?.file)).collect();
        let _ = writeln!(shown, "{} in {}", count(errors.len(), "error"), count(files.len(), "file"));
        shown
    }
}

fn render_one(shown: &mut String, error: &ConfigError, sources: &Sources) -> fmt::Result {
    if let Some(place) = &error.place {
        write!(shown, "{place}: ")?;
    }
    if !error.path.is_empty() {
        write!(shown, "{}: ", printable(&error.path))?;
    }
    writeln!(shown, "{}", printable(&error.message))?;
    if let Some(place) = &error.place {
        excerpt(shown, place, sources)?;
    }
    if let Some((label, place)) = &error.other {
        writeln!(shown, "{label}: {place}")?;
        excerpt(shown, place, sources)?;
    }
    if let Some(help) = &error.help {
        writeln!(shown, "help: {}", printable(help))?;
    }
    Ok(())
}

fn excerpt(shown: &mut String, place: &Place, sources: &Sources) -> fmt::Result {
    let Some(line) = sources.line(place) else { return Ok(()) };
    let column = usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1);
    let (line, column) = mask_line(line.strip_prefix('\u{feff}').unwrap_or(&line), column);
    let cut = if line.chars().count() > MAX_WIDTH { column.saturating_sub(MAX_WIDTH / 2) } else { 0 };
    let line: String = line.chars().skip(cut).take(MAX_WIDTH).collect();
    let number = place.line.to_string();
    writeln!(shown, " {number} | {}", printable(line.trim_end()))?;
    writeln!(shown, " {:width$} | {:caret$}^", "", "", width = number.len(), caret = column - cut)
}

/// What a user wrote may hold characters that move the cursor or turn the direction of writing.
fn printable(text: &str) -> String {
    let hidden = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    text.chars().map(|c| if hidden(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_twice_is_shown_once() {
        let place = Place { file: Arc::from(Path::new("a.yaml")), line: 1, column: 3 };
        let error = |message: &str| ConfigError::at("x", message).place(place.clone());
        let errors = ConfigErrors(vec![error("one"), error("two"), error("one"), error("two")]);
        let shown = errors.render(&Sources::default());
        assert_eq!(shown, "a.yaml:1:3: x: one\n\na.yaml:1:3: x: two\n\n2 errors in 1 file\n");
    }
}
