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
    let mut out = String::with_capacity(source.len());
    // For each open group: where it begins, its number where it captures, and whether it is left out.
    let mut open: Vec<(usize, Option<usize>, bool)> = Vec::new();
    let mut groups: Vec<String> = vec![String::new()];
    let mut place = 0;
    let copy = |out: &mut String, from: usize, to: usize| {
        out.push_str(source.get(from..to).unwrap_or_default());
    };
    while place < text.len() {
        match at(text, place) {
            b'\\' => {
                let next = at(text, place + 1);
                let digits =
                    text.iter().skip(place + 1).take(2).take_while(|byte| byte.is_ascii_digit()).count();
                if matches!(next, b'1'..=b'9') {
                    let number = source.get(place + 1..place + 1 + digits).and_then(|text| text.parse().ok());
                    out.push_str(&repeated(number.and_then(|number: usize| groups.get(number))));
                    place += 1 + digits;
                } else {
                    copy(&mut out, place, place + 2);
                    place += 2;
                }
            }
            b'[' => {
                let end = class_end(text, place);
                copy(&mut out, place, end);
                place = end;
            }
            b'(' => {
                let rest = source.get(place..).unwrap_or_default();
                let look = ["(?<=", "(?<!", "(?=", "(?!"].iter().find(|mark| rest.starts_with(**mark));
                let number = (!rest.starts_with("(?") || rest.starts_with("(?P<")).then_some(groups.len());
                if number.is_some() {
                    groups.push(String::new());
                }
                let skip = look.map_or(if rest.starts_with("(?>") { 3 } else { 1 }, |mark| mark.len());
                let start = out.len();
                out.push_str(match (look, number, skip) {
                    (None, None, 1) => "(",
                    _ => "(?:",
                });
                open.push((start, number.filter(|_| !rest.starts_with("(?P<")), look.is_some()));
                place += skip;
                if let (Some(_), Some(end)) = (number, rest.find('>').filter(|_| rest.starts_with("(?P<"))) {
                    place += end;
                }
            }
            b')' => {
                place += 1;
                let Some((start, number, left_out)) = open.pop() else {
                    out.push(')');
                    continue;
                };
                if left_out {
                    out.truncate(start);
                    out.push_str("(?:)");
                    continue;
                }
                out.push(')');
                if let Some(group) = number.and_then(|number| groups.get_mut(number)) {
                    *group = out.get(start..).unwrap_or_default().to_string();
                }
            }
            _ => {
                copy(&mut out, place, place + 1);
                place += 1;
            }
        }
    }
    out
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
