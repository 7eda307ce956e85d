//! Reading bytes without a chance to panic.

use std::ops::Range;

/// The byte at `at`, or NUL past the end: the parsers here were made for NUL-terminated text.
#[inline]
pub(crate) fn at(text: &[u8], at: usize) -> u8 {
    text.get(at).copied().unwrap_or(0)
}

/// `text[from..to]`, as much of it as there is.
#[inline]
pub(crate) fn cut(text: &[u8], from: usize, to: usize) -> &[u8] {
    let to = to.min(text.len());
    text.get(from.min(to)..to).unwrap_or_default()
}

/// `text[from..]`, or nothing.
#[inline]
pub(crate) fn tail(text: &[u8], from: usize) -> &[u8] {
    text.get(from..).unwrap_or_default()
}

/// The value of a hexadecimal digit.
#[inline]
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The value of two hexadecimal digits.
#[inline]
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    Some(hex(high)? << 4 | hex(low)?)
}

/// White space as C's `isspace` has it.
#[inline]
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

pub(crate) fn trim_start(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(*first)
    {
        text = rest;
    }
    text
}

pub(crate) fn trim_end(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., last] = text
        && is_space(*last)
    {
        text = rest;
    }
    text
}

pub(crate) fn trim(text: &[u8]) -> &[u8] {
    trim_start(trim_end(text))
}

/// The integer that a text begins with, as C's `strtol` reads it; zero where there is none.
pub(crate) fn integer(text: &[u8]) -> i64 {
    let text = trim_start(text);
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let mut value: i64 = 0;
    for digit in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        value = value.saturating_mul(10).saturating_add(i64::from(digit - b'0'));
    }
    if negative { -value } else { value }
}

/// Writes an integer in decimal digits.
pub(crate) fn push_integer(out: &mut Vec<u8>, value: i64) {
    let mut digits = [0u8; 20];
    let mut rest = value.unsigned_abs();
    let mut count = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(tail(&digits, digits.len() - count));
}

/// A piece of a transaction's buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Span {
    pub(crate) fn new(range: Range<usize>) -> Self {
        let bound = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self { from: bound(range.start), to: bound(range.end) }
    }

    #[inline]
    pub(crate) fn of(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.from as usize..self.to as usize).unwrap_or_default()
    }

    pub(crate) fn len(self) -> usize {
        self.to.saturating_sub(self.from) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_read_as_c_does() {
        let table: [(&[u8], i64); 9] = [
            (b"5", 5),
            (b"  12x", 12),
            (b"-3", -3),
            (b"+4", 4),
            (b"", 0),
            (b"x1", 0),
            (b"99999999999999999999", i64::MAX),
            (b"0x10", 0),
            (b"- 1", 0),
        ];
        for (text, value) in table {
            assert_eq!(integer(text), value, "{}", text.escape_ascii());
        }
        let mut out = Vec::new();
        push_integer(&mut out, i64::MIN);
        assert_eq!(out, b"-9223372036854775808");
        out.clear();
        push_integer(&mut out, 0);
        assert_eq!(out, b"0");
    }

    #[test]
    fn cutting_never_panics() {
        assert_eq!(cut(b"abc", 2, 9), b"c");
        assert_eq!(cut(b"abc", 9, 2), b"");
        assert_eq!(tail(b"abc", 4), b"");
        assert_eq!(trim(b" \t a b\r\n"), b"a b");
    }
}
