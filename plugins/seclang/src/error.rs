//! What is wrong with rules that do not load, and where.

use std::{
    fmt,
    path::{Path, PathBuf},
};

/// One thing that is wrong with a rule file.
///
/// `Display` writes the place, the message, the line with a caret under it, and help where there is any:
///
/// ```text
/// rules/mine.conf:3:15: rule 1001: unknown operator `@rxx`
///     SecRule ARGS "@rxx evil" "id:1001,phase:2,deny"
///                   ^^^^
///   help: `@rx` is close to it
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// The file, or the name under which text was given.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// The rule's id, where it is known.
    pub rule: Option<u64>,
    /// What is wrong, with the user's words in backticks.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// The line as it is written.
    pub text: String,
    /// How many bytes the caret covers, at least 1.
    pub width: usize,
}

impl LoadError {
    /// An error about a whole file, such as one that cannot be read.
    pub(crate) fn of_file(file: &Path, message: String) -> Self {
        Self {
            file: file.to_path_buf(),
            line: 1,
            column: 1,
            rule: None,
            message,
            help: None,
            text: String::new(),
            width: 1,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if let Some(rule) = self.rule {
            write!(out, "rule {rule}: ")?;
        }
        write!(out, "{}", self.message)?;
        if !self.text.is_empty() {
            let (text, before) = shortened(&self.text, self.column.saturating_sub(1));
            let width = self.width.clamp(1, text.chars().count().saturating_sub(before).max(1));
            write!(out, "\n    {text}\n    {}{}", " ".repeat(before), "^".repeat(width))?;
        }
        if let Some(help) = &self.help {
            write!(out, "\n  help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// A window of a long line around a byte, without tabs, and how many characters stand before that byte.
fn shortened(text: &str, byte: usize) -> (String, usize) {
    const MOST: usize = 110;
    let before = text.char_indices().take_while(|(at, _)| *at < byte).count();
    let clean = |text: &mut dyn Iterator<Item = char>| -> String {
        text.map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    };
    if text.chars().count() <= MOST {
        return (clean(&mut text.chars()), before);
    }
    let skip = before.saturating_sub(MOST / 2);
    let mut window = clean(&mut text.chars().skip(skip).take(MOST));
    if skip + MOST < text.chars().count() {
        window.push('…');
    }
    if skip > 0 {
        return (format!("…{window}"), before - skip + 1);
    }
    (window, before)
}

/// Everything that is wrong with a rule set; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadErrors(pub Vec<LoadError>);

impl fmt::Display for LoadErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                out.write_str("\n")?;
            }
            write!(out, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadErrors {}

/// The closest of some names to a wrong one, as help.
pub(crate) fn suggestion<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let lower = wrong.to_ascii_lowercase();
    names
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| format!("`{name}` is close to it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_close_are_suggested() {
        let names = ["ARGS", "ARGS_NAMES", "REQUEST_HEADERS"];
        let found = |wrong| suggestion(wrong, names.into_iter());
        assert_eq!(found("ARG").as_deref(), Some("`ARGS` is close to it"));
        assert_eq!(found("request_header").as_deref(), Some("`REQUEST_HEADERS` is close to it"));
        assert_eq!(found("COMPLETELY"), None);
    }

    #[test]
    fn a_long_line_is_cut_around_its_column() {
        let text = format!("{}here{}", "a".repeat(300), "b".repeat(300));
        let (window, before) = shortened(&text, 300);
        assert!(window.chars().skip(before).collect::<String>().starts_with("here"), "{window} {before}");
        assert!(window.chars().count() < 120);
    }
}
