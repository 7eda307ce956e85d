//! Strings and numbers as JSON writes them (RFC 8259).

use super::json::Broken;
use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// Where the string ends that begins at `at`: the place of its last quote. Where it does not end, how far it was read.
pub(super) fn string_end(input: &[u8], at: usize, resume: usize) -> Result<usize, usize> {
    let mut from = at + 1 + resume;
    loop {
        let Some(found) = input.get(from..).and_then(|rest| memchr2(b'"', b'\\', rest)) else {
            return Err(input.len().saturating_sub(at + 1).max(resume));
        };
        match input.get(from + found) {
            Some(b'"') => return Ok(from + found),
            _ if from + found + 2 > input.len() => return Err(from + found - at - 1),
            _ => from += found + 2,
        }
    }
}

/// The text of a string; `raw` is what stands between its quotes.
pub(super) fn decode(raw: &[u8]) -> Result<Cow<'_, str>, Broken> {
    if raw.iter().fold(false, |any, byte| any | (*byte < 0x20)) {
        return Err(Broken("a control character stands in a string"));
    }
    let text = std::str::from_utf8(raw).map_err(|_| Broken("a string is not UTF-8"))?;
    if memchr(b'\\', raw).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let (mut plain, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let mut characters = after.chars();
        let one = match characters.next() {
            Some(one @ ('"' | '\\' | '/')) => one,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (one, left) = unicode(characters.as_str()).ok_or(Broken("an escape is none"))?;
                plain.push(one);
                rest = left;
                continue;
            }
            _ => return Err(Broken("an escape is none")),
        };
        plain.push(one);
        rest = characters.as_str();
    }
    plain.push_str(rest);
    Ok(Cow::Owned(plain))
}

/// What stands behind `\u`. Half a pair is the replacement character: it is none, and hides nothing.
fn unicode(text: &str) -> Option<(char, &str)> {
    let unit = |text: &str| {
        let digits = text.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (high, rest) = (unit(text)?, text.get(4..)?);
    if let (0xd800..=0xdbff, Some(after)) = (high, rest.strip_prefix("\\u")) {
        let low = unit(after)?;
        if (0xdc00..=0xdfff).contains(&low) {
            let both = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            return Some((char::from_u32(both)?, after.get(4..)?));
        }
    }
    Some((char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

/// Writes a string.
pub(super) fn encode(text: &str, out: &mut Vec<u8>) {
    // A vector takes what it is given.
    _ = serde_json::to_writer(out, text);
}

/// Where the number ends that begins at `at`; none where it may go on behind the input.
pub(super) fn number_end(input: &[u8], at: usize, end: bool) -> Option<usize> {
    let rest = input.get(at..)?;
    let is_number = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    match rest.iter().position(|byte| !is_number(byte)) {
        Some(length) => Some(at + length),
        None => end.then_some(input.len()),
    }
}

/// True for a number as the grammar has it.
pub(super) fn is_number(raw: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = |text: &mut &[u8], count: usize| *text = text.get(count..).unwrap_or_default();
    let mut rest = raw.strip_prefix(b"-").unwrap_or(raw);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest.first() == Some(&b'0')) {
        return false;
    }
    behind(&mut rest, whole);
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        rest = fraction;
        behind(&mut rest, count);
        if count == 0 {
            return false;
        }
    }
    if matches!(rest.first(), Some(b'e' | b'E')) {
        behind(&mut rest, 1);
        if matches!(rest.first(), Some(b'+' | b'-')) {
            behind(&mut rest, 1);
        }
        let count = digits(rest);
        behind(&mut rest, count);
        if count == 0 {
            return false;
        }
    }
    rest.is_empty()
}

/// The digits of a number, where it is a whole one: `4111111111111111`, `4.111111111111111e15`.
pub(super) fn whole(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    if raw.iter().all(u8::is_ascii_digit) {
        return Some(Cow::Borrowed(raw));
    }
    let number: f64 = std::str::from_utf8(raw).ok()?.parse().ok()?;
    let is_whole = number.fract() == 0.0 && (0.0..1e19).contains(&number);
    is_whole.then(|| Cow::Owned(format!("{number:.0}").into_bytes()))
}
