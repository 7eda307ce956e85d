//! SQL injection.

mod fold;
mod kind;
mod token;
mod words;

use fold::{Folded, fold};
use token::Quote;

pub(crate) use words::warm;

/// What a value looks like in SQL: up to five types of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    types: [u8; 5],
    length: usize,
}

impl Fingerprint {
    pub(crate) fn text(&self) -> &[u8] {
        self.types.get(..self.length).unwrap_or_default()
    }
}

/// The fingerprint of a value that is an injection: as it is, within single quotes, or within double quotes.
pub(crate) fn sqli(value: &[u8]) -> Option<Fingerprint> {
    if value.is_empty() || is_one_word(value) {
        return None;
    }
    let (single, double) = (memchr::memchr(b'\'', value).is_some(), memchr::memchr(b'"', value).is_some());
    let as_it_is = [(Quote::None, true)].into_iter();
    let quoted = single.then_some((Quote::Single, true)).into_iter();
    for (quote, reparse) in as_it_is.chain(quoted) {
        let (found, again) = check(value, quote, false);
        if found.is_some() {
            return found;
        }
        if reparse && again {
            let (found, _) = check(value, quote, true);
            if found.is_some() {
                return found;
            }
        }
    }
    if double { check(value, Quote::Double, true).0 } else { None }
}

/// Whether a value is one word or number, which alone is no injection.
fn is_one_word(value: &[u8]) -> bool {
    match value {
        // What may begin a string literal or a number with an exponent is looked at.
        [b'a'..=b'z' | b'A'..=b'Z' | b'_', rest @ ..] => {
            rest.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        }
        _ => value.iter().all(u8::is_ascii_digit),
    }
}

/// Checks a value in one context and dialect, and says whether another dialect may read it differently.
fn check(value: &[u8], quote: Quote, mysql: bool) -> (Option<Fingerprint>, bool) {
    let mut folded = fold(value, quote, mysql);
    let again = folded.seen.dashes || folded.seen.hashes;
    let fingerprint = fingerprint(&mut folded);
    let found = words::is_fingerprint(fingerprint.text()) && !is_harmless(value, &fingerprint, &folded);
    (found.then_some(fingerprint), again)
}

fn fingerprint(folded: &mut Folded<'_>) -> Fingerprint {
    let length = folded.length;
    if length > 2
        && let Some(last) = folded.tokens.get_mut(length - 1)
        && last.kind == kind::BAREWORD
        && last.open == b'`'
        && last.text.is_empty()
        && last.close == 0
    {
        // PHP's back-quote that comments out the rest.
        last.kind = kind::COMMENT;
    }
    let mut types = [0; 5];
    for (slot, token) in types.iter_mut().zip(folded.tokens.iter().take(length)) {
        *slot = token.kind;
    }
    if types.contains(&kind::EVIL) {
        return Fingerprint { types: [kind::EVIL, 0, 0, 0, 0], length: 1 };
    }
    Fingerprint { types, length: length.min(5) }
}

/// What has the fingerprint of an injection and is text that people write.
fn is_harmless(value: &[u8], fingerprint: &Fingerprint, folded: &Folded<'_>) -> bool {
    let types = fingerprint.text();
    if types.len() > 1
        && types.last() == Some(&kind::COMMENT)
        && memchr::memmem::find(value, b"sp_password").is_some()
    {
        return false;
    }
    match types.len() {
        2 => is_harmless_pair(value, types, folded),
        3 => is_harmless_triple(types, folded),
        _ => false,
    }
}

fn is_harmless_pair(value: &[u8], types: &[u8], folded: &Folded<'_>) -> bool {
    let [first, second, ..] = &folded.tokens;
    if types.get(1) == Some(&kind::UNION) {
        // A number and `union` alone is text; more was folded away in an injection.
        return folded.seen.tokens == 2;
    }
    let mark = second.text.first().copied().unwrap_or(0);
    if mark == b'#' {
        return true;
    }
    if first.kind == kind::BAREWORD && second.kind == kind::COMMENT && mark != b'/' {
        return true;
    }
    if first.kind == kind::NUMBER && second.kind == kind::COMMENT {
        if mark == b'/' || folded.seen.tokens > 2 {
            return false;
        }
        let after = |offset: usize| crate::bytes::at(value, first.text.len() + offset);
        let stops = after(0) <= 32
            || after(0) > 127
            || (after(0) == b'/' && after(1) == b'*')
            || (after(0) == b'-' && after(1) == b'-');
        return !stops;
    }
    second.text.len() > 2 && mark == b'-'
}

fn is_harmless_triple(types: &[u8], folded: &Folded<'_>) -> bool {
    let [first, second, third, ..] = &folded.tokens;
    match types {
        b"sos" | b"s&s" => !(first.open == 0 && third.close == 0 && first.close == third.open),
        b"s&n" | b"n&1" | b"1&1" | b"1&v" | b"1&s" => folded.seen.tokens == 3,
        _ if second.kind == kind::KEYWORD => {
            second.text.len() < 5 || !crate::bytes::cut(second.text, 0, 4).eq_ignore_ascii_case(b"INTO")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injections_are_found() {
        for value in [
            "1' or '1'='1",
            "' or 1=1 -- ",
            "1 UNION SELECT password FROM users",
            "1; DROP TABLE users",
            "\" or \"\"=\"",
            "1' AND SLEEP(5)#",
            "admin'--",
            "-1 union all select 1,2,3--",
            "1 OR 1=1",
            "' OR SLEEP(5) OR '",
            "1/**/union/**/select/**/1",
            "/*!50000select*/ 1",
            "'; exec master..xp_cmdshell 'dir'--",
            "1) or (1=1",
        ] {
            assert!(sqli(value.as_bytes()).is_some(), "{value}");
        }
    }

    #[test]
    fn text_is_not() {
        for value in [
            "",
            "hello",
            "12345",
            "user@example.com",
            "O'Reilly",
            "it's a nice day",
            "2026-11-30T10:00:00Z",
            "a b c d e f g",
            "select",
            "1.5",
            "the union of states",
            "drop me a line",
            "C# and F#",
            "foo--bar",
            "https://example.com/a?b=c",
            "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
            "550e8400-e29b-41d4-a716-446655440000",
        ] {
            assert_eq!(
                sqli(value.as_bytes()).map(|found| String::from_utf8_lossy(found.text()).into_owned()),
                None,
                "{value}"
            );
        }
    }

    #[test]
    fn one_token_is_no_fingerprint() {
        // Words and numbers alone are passed over before tokens are made: none of their types is an injection.
        for kind in b"1nkUBEtfvoAT&" {
            assert!(!words::is_fingerprint(&[*kind]), "{}", char::from(*kind));
        }
    }
}
