//! Sets of phrases, matched in any case.

use super::Captures;
use crate::bytes::{at, hex_pair};
use aho_corasick::{AhoCorasick, BuildError};

/// The phrases of `@pm` or of a file, and an automaton for all of them.
#[derive(Debug)]
pub(crate) struct Phrases {
    automaton: AhoCorasick,
    /// What the automaton looks for, for automata over several rules.
    pub(crate) phrases: Vec<Vec<u8>>,
}

impl Phrases {
    pub(crate) fn new(phrases: Vec<Vec<u8>>) -> Result<Self, BuildError> {
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .kind(Some(aho_corasick::AhoCorasickKind::ContiguousNFA))
            .build(&phrases)?;
        Ok(Self { automaton, phrases })
    }

    /// The words of a parameter; `|41 42|` inside one gives bytes.
    pub(crate) fn words(text: &str) -> Vec<Vec<u8>> {
        let bytes = text.as_bytes();
        let mut words = vec![Vec::new()];
        let mut place = 0;
        let mut inside = false;
        while place < bytes.len() {
            let byte = at(bytes, place);
            place += 1;
            match (byte, inside) {
                (b'|', false) if crate::bytes::tail(bytes, place).contains(&b'|') => inside = true,
                (b'|', true) => inside = false,
                (b' ' | b'\t' | b'\n', false) => words.push(Vec::new()),
                (b' ', true) => {}
                (byte, true) => {
                    if let (Some(code), Some(word)) = (hex_pair(byte, at(bytes, place)), words.last_mut()) {
                        word.push(code);
                        place += 1;
                    }
                }
                (byte, false) => {
                    if let Some(word) = words.last_mut() {
                        word.push(byte);
                    }
                }
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// The lines of a file, without comments and white space at their ends.
    pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
        text.split(|byte| *byte == b'\n')
            .map(crate::bytes::trim)
            .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
            .map(<[u8]>::to_vec)
    }

    pub(crate) fn find(&self, value: &[u8], captures: Option<&mut Captures>) -> bool {
        match captures {
            None => self.automaton.is_match(value),
            Some(captures) => match self.automaton.find(value) {
                Some(found) => {
                    captures.set(0, value.get(found.range()).unwrap_or_default());
                    true
                }
                None => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_match_in_any_case() {
        assert_eq!(Phrases::words("a  b|41 42|c\td"), [b"a".to_vec(), b"bABc".to_vec(), b"d".to_vec()]);
        assert_eq!(Phrases::words("a|b"), [b"a|b".to_vec()]);
        let lines: Vec<_> = Phrases::lines(b"# no\n one two \r\n\nthree").collect();
        assert_eq!(lines, [b"one two".to_vec(), b"three".to_vec()]);
        let phrases = Phrases::new(vec![b"sqlmap".to_vec(), b"nikto".to_vec()]).unwrap();
        let mut captures = Captures::default();
        assert!(phrases.find(b"this is SQLMap/1.0", Some(&mut captures)));
        assert_eq!(
            captures.iter().map(|(number, text)| (number, text.to_vec())).collect::<Vec<_>>(),
            [(0, b"SQLMap".to_vec())]
        );
        assert!(!phrases.find(b"curl", None));
    }
}
