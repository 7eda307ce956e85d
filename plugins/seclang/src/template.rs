//! Text with macros, such as `tx.score=+%{tx.critical}`, parsed once.

use crate::variable::{Source, Variable};
use std::collections::HashMap;

/// The names that rules use in `TX`, each with a number, so that `TX` is an array and no map.
#[derive(Debug)]
pub(crate) struct TxNames {
    numbers: HashMap<Box<[u8]>, u16>,
    names: Vec<Box<[u8]>>,
}

impl TxNames {
    /// The number of a name in any case. The captures `0` to `9` have the numbers 0 to 9.
    pub(crate) fn intern(&mut self, name: &[u8]) -> u16 {
        let name = name.to_ascii_lowercase().into_boxed_slice();
        if let Some(number) = self.numbers.get(&name) {
            return *number;
        }
        let number = u16::try_from(self.names.len()).unwrap_or(u16::MAX);
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }

    /// The number of a name that is already lower case.
    pub(crate) fn number(&self, lower: &[u8]) -> Option<u16> {
        self.numbers.get(lower).copied()
    }

    pub(crate) fn name(&self, number: u16) -> &[u8] {
        self.names.get(usize::from(number)).map_or(&[], |name| name)
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

impl Default for TxNames {
    fn default() -> Self {
        let mut names = Self { numbers: HashMap::new(), names: Vec::new() };
        for digit in b'0'..=b'9' {
            names.intern(&[digit]);
        }
        names
    }
}

/// One piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text as it is.
    Text(Box<[u8]>),
    /// A value of `TX`.
    Tx(u16),
    /// The first value of a variable, or of the entry of that name.
    Variable(Variable, Option<Box<[u8]>>),
}

/// Text with macros.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Template {
    pub(crate) pieces: Vec<Piece>,
}

impl Template {
    /// Parses text. What looks like a macro and names no variable is an error with the name.
    pub(crate) fn parse(text: &str, names: &mut TxNames) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("%{") {
            let Some((inside, behind)) = after.split_once('}') else { break };
            plain.extend_from_slice(before.as_bytes());
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into_boxed_slice()));
            }
            pieces.push(macro_piece(inside, names)?);
            rest = behind;
        }
        plain.extend_from_slice(rest.as_bytes());
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into_boxed_slice()));
        }
        Ok(Self { pieces })
    }

    /// The text, where there is no macro in it.
    pub(crate) fn constant(&self) -> Option<&[u8]> {
        match self.pieces.as_slice() {
            [] => Some(b""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The text that every value of this template begins with.
    pub(crate) fn prefix(&self) -> &[u8] {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => b"",
        }
    }
}

fn macro_piece(inside: &str, names: &mut TxNames) -> Result<Piece, String> {
    let inside = inside.trim();
    let (name, key) = match inside.split_once(['.', ':']) {
        Some((name, key)) => (name, Some(key)),
        None => (inside, None),
    };
    let variable = Variable::find(name).ok_or_else(|| name.to_string())?;
    match (variable.source(), key) {
        (Source::Tx, Some(key)) => Ok(Piece::Tx(names.intern(key.as_bytes()))),
        (_, key) => Ok(Piece::Variable(variable, key.map(|key| key.as_bytes().into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_parsed_once() {
        let mut names = TxNames::default();
        let parsed =
            Template::parse("a %{tx.Score}/%{REQUEST_HEADERS.Host} %{matched_var}", &mut names).unwrap();
        let score = names.number(b"score").unwrap();
        assert_eq!(
            parsed.pieces,
            [
                Piece::Text(b"a ".as_slice().into()),
                Piece::Tx(score),
                Piece::Text(b"/".as_slice().into()),
                Piece::Variable(Variable::RequestHeaders, Some(b"Host".as_slice().into())),
                Piece::Text(b" ".as_slice().into()),
                Piece::Variable(Variable::MatchedVar, None),
            ]
        );
        assert_eq!(Template::parse("50%", &mut names).unwrap().constant(), Some(b"50%".as_slice()));
        assert_eq!(Template::parse("%{open", &mut names).unwrap().constant(), Some(b"%{open".as_slice()));
        assert_eq!(Template::parse("%{nothing.x}", &mut names), Err("nothing".into()));
        assert_eq!(names.number(b"7"), Some(7));
    }
}
