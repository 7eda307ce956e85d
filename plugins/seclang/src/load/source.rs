//! Rule files as lines and words that know their places.

use crate::error::LoadError;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file, or text that was given as one.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    lines: Vec<String>,
}

/// A directive with its continuation lines, joined.
#[derive(Debug)]
pub(super) struct Directive {
    source: Arc<Source>,
    pub(super) text: String,
    /// Where a physical line begins in the text, its number from 0.
    starts: Vec<(usize, usize)>,
}

/// A word of a directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Without its quotes and with `\"` as `"`.
    pub(super) text: String,
    /// Where it begins in the directive's text, without the quote.
    pub(super) at: usize,
}

impl Source {
    pub(super) fn new(path: &Path, text: &str) -> Arc<Self> {
        let lines =
            text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line).to_string()).collect();
        Arc::new(Self { path: path.to_path_buf(), lines })
    }

    /// All directives, without comments and empty lines.
    pub(super) fn directives(self: &Arc<Self>) -> Vec<Directive> {
        let mut directives: Vec<Directive> = Vec::new();
        let mut open: Option<Directive> = None;
        for (number, line) in self.lines.iter().enumerate() {
            let directive = match open.take() {
                Some(mut directive) => {
                    directive.starts.push((directive.text.len(), number));
                    directive.text.push_str(line);
                    directive
                }
                None if line.trim().is_empty() || line.trim_start().starts_with('#') => continue,
                None => Directive { source: self.clone(), text: line.clone(), starts: vec![(0, number)] },
            };
            let mut directive = directive;
            if directive.text.ends_with('\\') {
                directive.text.pop();
                open = Some(directive);
            } else {
                directives.push(directive);
            }
        }
        directives.extend(open);
        directives
    }
}

impl Directive {
    /// The words, of which the first is the directive's name.
    pub(super) fn words(&self) -> Result<Vec<Word>, LoadError> {
        let mut words = Vec::new();
        let mut letters = self.text.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            if letter.is_whitespace() {
                continue;
            }
            if letter != '"' && letter != '\'' {
                let mut text = String::from(letter);
                while let Some((_, letter)) = letters.next_if(|(_, letter)| !letter.is_whitespace()) {
                    text.push(letter);
                }
                words.push(Word { text, at });
                continue;
            }
            let mut text = String::new();
            let mut closed = false;
            while let Some((_, inside)) = letters.next() {
                if inside == '\\' {
                    match letters.next_if(|(_, next)| *next == letter) {
                        Some(_) => text.push(letter),
                        None => {
                            text.push('\\');
                            // The letter after a backslash never ends the word.
                            if let Some((_, next)) = letters.next() {
                                text.push(next);
                            }
                        }
                    }
                } else if inside == letter {
                    closed = true;
                    break;
                } else {
                    text.push(inside);
                }
            }
            if !closed {
                return Err(self.error(at, 1, "a quote that is not closed".into()));
            }
            words.push(Word { text, at: at + 1 });
        }
        Ok(words)
    }

    /// An error at a place of the text.
    pub(super) fn error(&self, at: usize, width: usize, message: String) -> LoadError {
        let (line, column) = self.place(at);
        LoadError {
            file: self.source.path.clone(),
            line: line + 1,
            column: column + 1,
            rule: None,
            message,
            help: None,
            text: self.source.lines.get(line).cloned().unwrap_or_default(),
            width: width.max(1),
        }
    }

    /// The line and column of a place, from 0.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let after = self.starts.partition_point(|(start, _)| *start <= at);
        match after.checked_sub(1).and_then(|index| self.starts.get(index)) {
            Some((start, line)) => (*line, at - start),
            None => (0, at),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.source.path
    }
}

impl Word {
    /// The place of a byte of the text in the directive; escapes before it make this a little early.
    pub(super) fn place(&self, offset: usize) -> usize {
        self.at + offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_keep_their_places() {
        let text = "# comment\nSecRule ARGS \"@rx a\\\"b\\d\" \\\n  \"id:1,\\\n  deny\"\n\nSecMarker 'x y'\n";
        let directives = Source::new(Path::new("a.conf"), text).directives();
        assert_eq!(directives.len(), 2);
        let words = directives[0].words().unwrap();
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(texts, ["SecRule", "ARGS", "@rx a\"b\\d", "id:1,  deny"]);
        let error = directives[0].error(words[3].place(7), 4, "wrong".into());
        assert_eq!((error.line, error.column, error.text.as_str()), (4, 3, "  deny\""));
        assert_eq!(directives[1].words().unwrap()[1].text, "x y");
    }

    #[test]
    fn an_open_quote_is_an_error() {
        let directives = Source::new(Path::new("a.conf"), "SecRule ARGS \"open").directives();
        let error = directives[0].words().unwrap_err();
        assert_eq!((error.line, error.column), (1, 14));
    }
}
