//! Regular expressions: the language that rules write, on an engine that takes linear time, or on a bounded one.

mod bounded;

use super::Captures;
use crate::bytes::{at, cut, hex_pair};
use bounded::Bounded;
use regex::bytes::{Regex, RegexBuilder};
use std::sync::OnceLock;

/// The most bytes that one compiled expression may take.
const SIZE_LIMIT: usize = 32 << 20;
/// The most bytes that the cache of one lazy automaton may take.
const CACHE_LIMIT: usize = 2 << 20;

/// A regular expression over bytes: `.` matches line ends, `^` and `$` match at lines, as ModSecurity sets its engine.
#[derive(Debug)]
pub(crate) struct Pattern {
    source: String,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Linear(OnceLock<Option<Regex>>),
    /// For what looks around or back.
    Bounded(Box<Bounded>),
}

impl Pattern {
    /// Checks an expression. It is compiled by [`Pattern::compile`], or when it is first used.
    pub(crate) fn parse(written: &str) -> Result<Self, String> {
        let source = translate(written)?;
        if bounded::is_wanted(&source) {
            let bounded = Bounded::new(&source)?;
            return Ok(Self { source, engine: Engine::Bounded(Box::new(bounded)) });
        }
        Self::linear(written)
    }

    /// As [`Pattern::parse`], of expressions that neither look around nor back.
    pub(crate) fn linear(written: &str) -> Result<Self, String> {
        let source = translate(written)?;
        if bounded::is_wanted(&source) {
            return Err("only `@rx` may look around or back".into());
        }
        parser().build().parse(&source).map_err(|error| reason(&error.to_string()))?;
        Ok(Self { source, engine: Engine::Linear(OnceLock::new()) })
    }

    /// Compiles, so that no request has to.
    pub(crate) fn compile(&self) -> Result<(), String> {
        let Engine::Linear(regex) = &self.engine else { return Ok(()) };
        match build(&self.source, false) {
            Ok(built) => {
                let _ = regex.set(Some(built));
                Ok(())
            }
            Err(error) => {
                let _ = regex.set(None);
                Err(reason(&error.to_string()))
            }
        }
    }

    /// An expression for an automaton over several that matches wherever this one does; `None` where it cannot be part of one.
    pub(crate) fn scannable(&self) -> Option<regex_syntax::hir::Hir> {
        let source = match &self.engine {
            Engine::Linear(_) => &self.source,
            Engine::Bounded(bounded) => &bounded.wide,
        };
        let hir = parser().build().parse(source).ok()?;
        (!hir.properties().look_set().contains_word_unicode()).then_some(hir)
    }

    fn regex(&self) -> Option<&Regex> {
        match &self.engine {
            Engine::Linear(regex) => regex.get_or_init(|| build(&self.source, false).ok()).as_ref(),
            Engine::Bounded(_) => None,
        }
    }

    /// Whether a value matches, or may; what the groups matched goes to `captures`.
    pub(crate) fn find(&self, value: &[u8], captures: Option<&mut Captures>) -> bool {
        self.decide(value, captures).unwrap_or(true)
    }

    /// As `find`; `None` where a bound was met before that was decided.
    pub(crate) fn decide(&self, value: &[u8], captures: Option<&mut Captures>) -> Option<bool> {
        match &self.engine {
            Engine::Linear(_) => Some(self.regex().is_some_and(|regex| find(regex, value, captures))),
            Engine::Bounded(bounded) => bounded.find(value, captures),
        }
    }

    /// As `find`, and numbers the groups of all matches on.
    pub(crate) fn find_all(&self, value: &[u8], captures: Option<&mut Captures>) -> bool {
        let Some(regex) = self.regex() else { return false };
        let Some(captures) = captures else { return regex.is_match(value) };
        let mut number = 0;
        for found in regex.captures_iter(value) {
            for group in found.iter() {
                if let Some(group) = group {
                    captures.set(number, group.as_bytes());
                }
                number += 1;
            }
            if number >= 10 {
                return true;
            }
        }
        number > 0
    }

    /// Whether there is a match of which `check` approves.
    pub(crate) fn any(
        &self,
        value: &[u8],
        captures: Option<&mut Captures>,
        check: fn(&[u8]) -> bool,
    ) -> bool {
        let Some(regex) = self.regex() else { return false };
        let Some(found) = regex.find_iter(value).find(|found| check(found.as_bytes())) else { return false };
        if let Some(captures) = captures {
            captures.set(0, found.as_bytes());
        }
        true
    }
}

fn find(regex: &Regex, value: &[u8], captures: Option<&mut Captures>) -> bool {
    let Some(captures) = captures else { return regex.is_match(value) };
    // Groups cost more than a match, which is rare.
    if regex.captures_len() == 1 {
        let Some(found) = regex.find(value) else { return false };
        captures.set(0, found.as_bytes());
        return true;
    }
    if !regex.is_match(value) {
        return false;
    }
    let Some(groups) = regex.captures(value) else { return false };
    for (number, group) in groups.iter().enumerate() {
        if let Some(group) = group {
            captures.set(number, group.as_bytes());
        }
    }
    true
}

/// Matches an expression that macros gave; one that is not valid matches nothing.
pub(super) fn find_macro(written: &[u8], value: &[u8], captures: Option<&mut Captures>) -> bool {
    let Ok(written) = std::str::from_utf8(written) else { return false };
    let Ok(source) = translate(written) else { return false };
    build(&source, false).is_ok_and(|regex| find(&regex, value, captures))
}

/// An expression that selects names, in any case.
pub(crate) fn selector(written: &str) -> Result<Regex, String> {
    build(&translate(written)?, true).map_err(|error| reason(&error.to_string()))
}

fn build(source: &str, any_case: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source)
        .unicode(false)
        .dot_matches_new_line(true)
        .multi_line(true)
        .case_insensitive(any_case)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(CACHE_LIMIT)
        .build()
}

/// A parser set as the expressions are compiled.
pub(crate) fn parser() -> regex_syntax::ParserBuilder {
    let mut parser = regex_syntax::ParserBuilder::new();
    parser.unicode(false).utf8(false).dot_matches_new_line(true).multi_line(true);
    parser
}

/// The last line of a parser's many, which says what is wrong.
fn reason(error: &str) -> String {
    let line = error.lines().next_back().unwrap_or(error);
    line.trim().trim_start_matches("error: ").to_string()
}

/// Rewrites what PCRE and the compiler here write differently: `\x{41}`, `\<`, `[` in classes, `{` that repeats nothing.
pub(crate) fn translate(written: &str) -> Result<String, String> {
    let text = written.as_bytes();
    let mut out = Vec::with_capacity(text.len() + 8);
    let mut place = 0;
    while place < text.len() {
        match at(text, place) {
            b'\\' => place = escape(text, place, &mut out, false)?,
            b'[' => place = class(text, place, &mut out)?,
            b'{' if !is_counted(text, place) => {
                out.extend_from_slice(b"\\{");
                place += 1;
            }
            // A letter beyond ASCII is its bytes, and what repeats it repeats the last of them.
            byte @ 0x80.. => {
                out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
                place += 1;
            }
            byte => {
                out.push(byte);
                place += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|error| error.to_string())
}

fn is_counted(text: &[u8], place: usize) -> bool {
    let inside = crate::bytes::tail(text, place + 1);
    let Some(end) = memchr::memchr(b'}', inside) else { return false };
    let inside = cut(inside, 0, end);
    let (first, rest) = match memchr::memchr(b',', inside) {
        Some(comma) => (cut(inside, 0, comma), crate::bytes::tail(inside, comma + 1)),
        None => (inside, &[][..]),
    };
    !first.is_empty() && first.iter().chain(rest).all(u8::is_ascii_digit)
}

fn escape(text: &[u8], place: usize, out: &mut Vec<u8>, in_class: bool) -> Result<usize, String> {
    let next = at(text, place + 1);
    let plain = |out: &mut Vec<u8>| {
        out.extend_from_slice(cut(text, place, place + 2));
        Ok(place + 2)
    };
    match next {
        b'x' if at(text, place + 2) == b'{' => {
            let inside = crate::bytes::tail(text, place + 3);
            let end = memchr::memchr(b'}', inside).ok_or("`\\x{` without `}`")?;
            let code = match *cut(inside, 0, end) {
                [digit] => hex_pair(b'0', digit),
                [high, low] => hex_pair(high, low),
                [b'0', b'0', high, low] => hex_pair(high, low),
                _ => None,
            };
            let code = code.ok_or("`\\x{…}` above 255: values are bytes")?;
            out.extend_from_slice(format!("\\x{code:02x}").as_bytes());
            Ok(place + 4 + end)
        }
        b'<' | b'>' => {
            out.push(next);
            Ok(place + 2)
        }
        b'e' => {
            out.extend_from_slice(b"\\x1b");
            Ok(place + 2)
        }
        b'h' => {
            out.extend_from_slice(if in_class { b"\\t\\x20\\xa0" } else { b"[\\t\\x20\\xa0]" });
            Ok(place + 2)
        }
        b'0' => {
            out.extend_from_slice(b"\\x00");
            Ok(place + 2)
        }
        b'Z' if !in_class => {
            out.extend_from_slice(b"\\n?\\z");
            Ok(place + 2)
        }
        b'b' if in_class => {
            out.extend_from_slice(b"\\x08");
            Ok(place + 2)
        }
        b'Q' | b'K' | b'G' | b'R' | b'X' | b'C' => Err(format!("`\\{}` is not supported", char::from(next))),
        _ => plain(out),
    }
}

/// Copies a class; inside, `[` is a letter unless it opens `[:name:]`, and there are no operations on sets.
fn class(text: &[u8], start: usize, out: &mut Vec<u8>) -> Result<usize, String> {
    let mut place = start + 1;
    out.push(b'[');
    if at(text, place) == b'^' {
        out.push(b'^');
        place += 1;
    }
    let mut first = true;
    while place < text.len() {
        match at(text, place) {
            b']' if !first => {
                out.push(b']');
                return Ok(place + 1);
            }
            b'[' if at(text, place + 1) == b':' => {
                let inside = crate::bytes::tail(text, place);
                let end = memchr::memmem::find(inside, b":]").ok_or("`[:` without `:]`")?;
                out.extend_from_slice(cut(inside, 0, end + 2));
                place += end + 2;
            }
            b'\\' => place = escape(text, place, out, true)?,
            byte @ (b'[' | b']' | b'&' | b'~') => {
                out.extend_from_slice(&[b'\\', byte]);
                place += 1;
            }
            byte @ 0x80.. => {
                out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
                place += 1;
            }
            b'-' if at(text, place + 1) == b'-' && at(text, place + 2) != 0 => {
                // At the start the first is a letter, elsewhere it makes a range that ends in the second.
                out.extend_from_slice(if first { b"\\-" } else { b"-\\-" });
                place += if first { 1 } else { 2 };
            }
            byte => {
                out.push(byte);
                place += 1;
            }
        }
        first = false;
    }
    Err("`[` without `]`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_pcre_are_translated() {
        let table = [
            (r"\x{41}[\x{42}]", r"\x41[\x42]"),
            (r"\<a\>", "<a>"),
            (r"[a[b]", r"[a\[b]"),
            (r"[]a]", r"[\]a]"),
            (r"[^]a]", r"[^\]a]"),
            (r"a{2,}b{x}{", r"a{2,}b\{x}\{"),
            (r"[[:alpha:]&&]", r"[[:alpha:]\&\&]"),
            (r"[!--]", r"[!-\-]"),
            (r"[\--9]", r"[\--9]"),
            (r"\e\0", r"\x1b\x00"),
            ("é?[é]", r"\xc3\xa9?[\xc3\xa9]"),
        ];
        for (written, expected) in table {
            assert_eq!(translate(written).unwrap(), expected);
            Pattern::parse(written).unwrap().compile().unwrap();
        }
    }

    #[test]
    fn what_cannot_run_is_said() {
        for written in ["(?=a", r"(a)\2", "[a", "(", r"\x{100}", "a{9999999}", r"a\Kb", "(?1)"] {
            let result = Pattern::parse(written).and_then(|pattern| pattern.compile());
            assert!(result.is_err(), "{written}");
        }
        assert!(Pattern::linear("(?=a)").is_err() && Pattern::parse("(?=a)").is_ok());
    }

    #[test]
    fn bytes_match_and_groups_are_captured() {
        let pattern = Pattern::parse(r"(?i)a(.)?(\xff+)$").unwrap();
        let mut captures = Captures::default();
        assert!(pattern.find(b"xA\xff\xff\n", Some(&mut captures)));
        assert_eq!(
            captures.iter().map(|(number, text)| (number, text.to_vec())).collect::<Vec<_>>(),
            [(0, b"A\xff\xff".to_vec()), (1, b"\xff".to_vec()), (2, b"\xff".to_vec())]
        );
        let pattern = Pattern::parse(r"(\d)").unwrap();
        let mut captures = Captures::default();
        assert!(pattern.find_all(b"1 2", Some(&mut captures)));
        assert_eq!(captures.iter().count(), 4);
    }
}
