//! Expressions that look around or back, which no automaton can be made of.
//!
//! Older rules have a few. An engine that goes back and forth runs them, within bounds: a linear expression that matches wherever
//! they do says where to begin, and from each of these places the engine may go back so many times. What is over a bound is not
//! decided, and a rule takes that as what makes it fire.

use super::{Captures, build};
use crate::bytes::at;
use fancy_regex::{BytesMode, Regex, RegexBuilder, RegexInput};

/// How often the engine may go back from one place where a match may begin.
const MOST_BACK: usize = 1000;
/// The most such places in a value.
const MOST_PLACES: usize = 10_000;
/// How many times the length of a value may be read in search of such places, on top of some bytes.
const MOST_READ: usize = 16;
const FREE: usize = 64 << 10;

/// An expression with what says where it may match.
#[derive(Debug)]
pub(super) struct Bounded {
    full: Regex,
    gate: regex::bytes::Regex,
    /// The source of `gate`.
    pub(super) wide: String,
}

/// Whether an expression has what only the bounded engine runs.
pub(super) fn is_wanted(source: &str) -> bool {
    ["(?=", "(?!", "(?<=", "(?<!", "(?>"].iter().any(|mark| source.contains(mark))
        || source.as_bytes().windows(2).any(|pair| matches!(pair, [b'\\', b'1'..=b'9']))
}

impl Bounded {
    pub(super) fn new(source: &str) -> Result<Self, String> {
        let full = RegexBuilder::new(source)
            .bytes_mode(BytesMode::Ascii)
            .multi_line(true)
            .dot_matches_new_line(true)
            .backtrack_limit(MOST_BACK)
            .delegate_size_limit(super::SIZE_LIMIT)
            .delegate_dfa_size_limit(super::CACHE_LIMIT)
            .build()
            .map_err(|error| super::reason(&error.to_string()))?;
        let wide = widen(source);
        let gate = build(&wide, false).map_err(|error| super::reason(&error.to_string()))?;
        Ok(Self { full, gate, wide })
    }

    /// Whether a value matches; `None` where a bound was met before that was decided.
    pub(super) fn find(&self, value: &[u8], mut captures: Option<&mut Captures>) -> Option<bool> {
        let mut from = 0;
        let mut left = value.len().saturating_mul(MOST_READ).saturating_add(FREE);
        for _ in 0..MOST_PLACES {
            let Some(place) = self.gate.find_at(value, from) else { return Some(false) };
            left = left.checked_sub(place.end() - from)?;
            let input = RegexInput::new(value).from_pos(place.start()).anchored(true);
            if let Some(groups) = self.full.captures_input(input).ok()? {
                if let Some(captures) = captures.take() {
                    for number in 0..groups.len() {
                        if let Some(group) = groups.get(number) {
                            captures.set(number, group.as_bytes());
                        }
                    }
                }
                return Some(true);
            }
            from = place.start() + 1;
            if from > value.len() {
                return Some(false);
            }
        }
        None
    }
}

/// An expression without what looks around or back, that matches from every place from which the given one does.
fn widen(source: &str) -> String {
    let text = source.as_bytes();
    let mut wide =
        Wide { out: String::with_capacity(source.len()), open: Vec::new(), groups: vec![String::new()] };
    let mut place = 0;
    while place < text.len() {
        let rest = source.get(place..).unwrap_or_default();
        let length = match at(text, place) {
            b'\\' if matches!(at(text, place + 1), b'1'..=b'9') => wide.back(rest),
            b'(' => wide.begin(rest),
            b')' => wide.end(),
            plain => {
                let length = match plain {
                    b'\\' => 2,
                    b'[' => class_end(text, place) - place,
                    _ => 1,
                };
                wide.out.push_str(rest.get(..length).unwrap_or_default());
                length
            }
        };
        place += length;
    }
    wide.out
}

/// What is written of an expression so far.
struct Wide {
    out: String,
    /// For each open group: where it begins, its number where it captures, and whether it is left out.
    open: Vec<(usize, Option<usize>, bool)>,
    /// The groups that capture, by number.
    groups: Vec<String>,
}

impl Wide {
    /// A reference to what a group matched. This and the next two say how many bytes of the source they took.
    fn back(&mut self, rest: &str) -> usize {
        let digits = rest.bytes().skip(1).take(2).take_while(u8::is_ascii_digit).count();
        let number = rest.get(1..=digits).and_then(|text| text.parse::<usize>().ok());
        let group = number.and_then(|number| self.groups.get(number));
        self.out.push_str(&repeated(group));
        1 + digits
    }

    fn begin(&mut self, rest: &str) -> usize {
        let look = ["(?<=", "(?<!", "(?=", "(?!"].iter().find(|mark| rest.starts_with(**mark));
        let named = rest.starts_with("(?P<") || (rest.starts_with("(?<") && look.is_none());
        let captures = named || !rest.starts_with("(?");
        let number = captures.then_some(self.groups.len());
        if captures {
            self.groups.push(String::new());
        }
        // A named group is not kept: what refers to it is taken as anything.
        self.open.push((self.out.len(), number.filter(|_| !named), look.is_some()));
        let atomic = rest.starts_with("(?>");
        self.out.push_str(if captures || look.is_some() || atomic { "(?:" } else { "(" });
        match look {
            Some(mark) => mark.len(),
            None if atomic => 3,
            None if named => rest.find('>').map_or(1, |end| end + 1),
            None => 1,
        }
    }

    fn end(&mut self) -> usize {
        match self.open.pop() {
            Some((start, _, true)) => {
                self.out.truncate(start);
                self.out.push_str("(?:)");
            }
            Some((start, number, false)) => {
                self.out.push(')');
                if let Some(group) = number.and_then(|number| self.groups.get_mut(number)) {
                    *group = self.out.get(start..).unwrap_or_default().to_string();
                }
            }
            None => self.out.push(')'),
        }
        1
    }
}

/// What a group may have matched, in any case; anything where that is not plain.
fn repeated(group: Option<&String>) -> String {
    match group {
        Some(group) if !group.is_empty() && !group.contains("[^") => format!("(?:{group}|(?i:{group}))"),
        _ => "(?:.*)".to_string(),
    }
}

/// Where a class ends that begins here.
fn class_end(text: &[u8], start: usize) -> usize {
    let mut place = start + 1;
    if at(text, place) == b'^' {
        place += 1;
    }
    while place < text.len() {
        match at(text, place) {
            b'\\' => place += 2,
            b'[' if at(text, place + 1) == b':' => {
                let end = memchr::memmem::find(crate::bytes::tail(text, place), b":]");
                place += end.map_or(1, |end| end + 2);
            }
            b']' => return place + 1,
            _ => place += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_around_and_back_is_found() {
        for (source, value, found) in [
            (r"<\?(?!xml)", &b"<?php"[..], Some("<?")),
            (r"<\?(?!xml)", b"<?xml <?xm", Some("<?")),
            (r"<\?(?!xml)", b"<?xml version", None),
            (r"<\?(?!xml)", b"<?", Some("<?")),
            (r#"(?<!&(?:[aou]uml)|&(?:amp));|['"=]"#, b"a&auml;b&amp;", None),
            (r#"(?<!&(?:[aou]uml)|&(?:amp));|['"=]"#, b"a&auml;b;", Some(";")),
            (r#"(?<!&(?:[aou]uml)|&(?:amp));|['"=]"#, b"a&auml;b=", Some("=")),
            (r"(?i:\b(\w+)\b\s*=\s*\b\1\b)", b"x = 1 or ABC =abc", Some("ABC =abc")),
            (r"(?i:\b(\w+)\b\s*=\s*\b\1\b)", b"abc = abcd", None),
            (r"(?i:\b(\w+)\b\s*!=\s*(?!\b\1\b)\w+)", b"a != a or a != b", Some("a != b")),
            (r"(?>a+)b", b"xaab", Some("aab")),
            (r"(?>a+)ab", b"aaab", None),
            (r"(?<=\xff)\xe9", b"\xfe\xe9\xff\xe9", Some("\\xe9")),
            (r"([^a])(?=x)\1", b"bx bb", None),
            (r"^(?!a).", b"a\nb", Some("b")),
        ] {
            let pattern = Bounded::new(source).unwrap();
            let mut captures = Captures::default();
            let matches = pattern.find(value, Some(&mut captures)).unwrap();
            let text = captures.iter().find(|(number, _)| *number == 0);
            let text = text.map(|(_, text)| text.escape_ascii().to_string());
            assert_eq!(
                (matches, text.as_deref()),
                (found.is_some(), found),
                "{source} {}",
                value.escape_ascii()
            );
        }
    }

    #[test]
    fn the_wide_expression_matches_wherever_the_full_one_does() {
        assert_eq!(widen(r"a(?!b)c"), "a(?:)c");
        assert_eq!(
            widen(r"(?i:(x[)]\))(?<=y(z)) \2\1)"),
            r"(?i:(?:x[)]\))(?:) (?:(?:z)|(?i:(?:z)))(?:(?:x[)]\))|(?i:(?:x[)]\)))))"
        );
        assert_eq!(widen(r"(?>a)(?P<n>b)\3"), "(?:a)(?:b)(?:.*)");
        assert_eq!(widen(r"(?<n>a)(b)\2"), "(?:a)(?:b)(?:(?:b)|(?i:(?:b)))");
    }

    #[test]
    fn what_goes_back_too_often_is_not_decided() {
        let started = std::time::Instant::now();
        for (source, value) in [
            (r"(a*)*(?!b)\1c|(?=x)y", vec![b'a'; 100_000]),
            (r"(?=(a+)+$)\1b", [vec![b'a'; 5000], b"!b".to_vec()].concat()),
        ] {
            let pattern = Bounded::new(source).unwrap();
            assert_ne!(pattern.find(&value, None), Some(true), "{source}");
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(60));
        let many = Bounded::new(r"a(?!a)b").unwrap();
        assert_eq!(many.find(&[b"ab".repeat(3), b"a".to_vec()].concat(), None), Some(true));
        assert_eq!(Bounded::new(r"(?!b)a(?!a)").unwrap().find(&vec![b'a'; 20_000], None), None);
    }
}
