//! Byte classes of a value: a transformation that has none of its classes in a value leaves it as it is.

/// `%`.
pub(crate) const PERCENT: u32 = 1;
/// `+`.
pub(crate) const PLUS: u32 = 1 << 1;
/// `&`.
pub(crate) const AMPERSAND: u32 = 1 << 2;
/// `\`.
pub(crate) const BACKSLASH: u32 = 1 << 3;
/// NUL.
pub(crate) const NUL: u32 = 1 << 4;
/// A byte of 0x80 and above.
pub(crate) const HIGH: u32 = 1 << 5;
/// A space.
pub(crate) const SPACE: u32 = 1 << 6;
/// White space that is no space.
pub(crate) const OTHER_SPACE: u32 = 1 << 7;
/// White space after white space.
pub(crate) const SPACES: u32 = 1 << 8;
/// `/`.
pub(crate) const SLASH: u32 = 1 << 9;
/// `.` at the beginning.
pub(crate) const DOT: u32 = 1 << 10;
/// `*`.
pub(crate) const STAR: u32 = 1 << 11;
/// `-`.
pub(crate) const DASH: u32 = 1 << 12;
/// `#`.
pub(crate) const HASH: u32 = 1 << 13;
/// A capital letter.
pub(crate) const UPPER: u32 = 1 << 14;
/// A small letter.
pub(crate) const LOWER: u32 = 1 << 15;
/// `x` after `0`.
pub(crate) const HEX: u32 = 1 << 16;
/// `"` or `'`.
pub(crate) const QUOTE: u32 = 1 << 17;
/// `^`, `,`, `;`.
pub(crate) const SHELL: u32 = 1 << 18;
/// `(`.
pub(crate) const PAREN: u32 = 1 << 19;
/// `<`.
pub(crate) const LESS: u32 = 1 << 20;
/// `=`.
pub(crate) const EQUALS: u32 = 1 << 21;
/// Any other byte.
pub(crate) const OTHER: u32 = 1 << 22;
/// `0`, and `x` in any case: of use for [`HEX`] alone.
const ZERO: u32 = 1 << 23;
const X: u32 = 1 << 24;
/// Not of a value: what a transformation says that changes every value, or may change the empty one.
pub(crate) const ALWAYS: u32 = 1 << 31;

const fn table() -> [u32; 256] {
    let mut table = [OTHER; 256];
    let mut byte = 0usize;
    while byte < 256 {
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, and below 256")]
        {
            table[byte] = match byte as u8 {
                b'%' => PERCENT,
                b'+' => PLUS,
                b'&' => AMPERSAND,
                b'\\' => BACKSLASH,
                0 => NUL,
                0x80..=0xff => HIGH,
                b' ' => SPACE,
                b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => OTHER_SPACE,
                b'/' => SLASH,
                b'*' => STAR,
                b'-' => DASH,
                b'#' => HASH,
                b'X' => UPPER | X,
                b'x' => LOWER | X,
                b'0' => ZERO,
                b'A'..=b'Z' => UPPER,
                b'a'..=b'z' => LOWER,
                b'"' | b'\'' => QUOTE,
                b'^' | b',' | b';' => SHELL,
                b'(' => PAREN,
                b'<' => LESS,
                b'=' => EQUALS,
                _ => OTHER,
            };
        }
        byte += 1;
    }
    table
}

static TABLE: [u32; 256] = table();

/// The classes of a value's bytes, in one pass.
pub(crate) fn of(value: &[u8]) -> u32 {
    let lead = if value.first() == Some(&b'.') { DOT } else { 0 };
    lead | inside(value)
}

/// The classes of a value of which those of so many bytes at its beginning are known.
pub(crate) fn continued(value: &[u8], (from, known): (usize, u32)) -> u32 {
    match from.checked_sub(1) {
        Some(last) => known | inside(crate::bytes::tail(value, last)),
        None => of(value),
    }
}

/// Several bytes at a time, each of them without waiting for the one before: what pairs of bytes say is looked for only
/// where both are there.
fn inside(value: &[u8]) -> u32 {
    const WHITE: u32 = SPACE | OTHER_SPACE;
    let class = |byte: &u8| TABLE.get(usize::from(*byte)).copied().unwrap_or(OTHER);
    let chunks = value.chunks_exact(4);
    let rest = chunks.remainder().iter().map(class).fold(0, |all, one| all | one);
    let mut lanes = [rest, 0, 0, 0];
    for chunk in chunks {
        for (lane, byte) in lanes.iter_mut().zip(chunk) {
            *lane |= class(byte);
        }
    }
    let mut found = lanes.iter().fold(0, |all, lane| all | lane);
    if found & WHITE != 0 && pair(value, is_white, is_white) {
        found |= SPACES;
    }
    if found & ZERO != 0 && found & X != 0 && pair(value, |byte| byte == b'0', |byte| byte | 0x20 == b'x') {
        found |= HEX;
    }
    found
}

fn is_white(byte: u8) -> bool {
    byte == b' ' || byte.wrapping_sub(b'\t') < 5
}

/// Whether some byte is the one and the byte after it the other.
fn pair(value: &[u8], one: impl Fn(u8) -> bool, other: impl Fn(u8) -> bool) -> bool {
    // Without a branch for each byte, so that the compiler compares many of them at once.
    const CHUNK: usize = 256;
    let after = value.get(1..).unwrap_or_default();
    value.chunks(CHUNK).zip(after.chunks(CHUNK)).any(|(before, after)| {
        before.iter().zip(after).fold(false, |all, (before, after)| all | (one(*before) & other(*after)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_two_bytes_are_seen_wherever_a_value_is_cut() {
        for (value, classes) in [
            (&b". a"[..], DOT | SPACE | LOWER),
            (b"a.  b", SPACE | SPACES | LOWER),
            (b"A0X1", UPPER | HEX),
            (b"x0", LOWER),
            (b"a\t ", LOWER | OTHER_SPACE | SPACE | SPACES),
        ] {
            let seen = of(value) & !(OTHER | ZERO | X);
            assert_eq!(seen, classes, "{}", value.escape_ascii());
            for from in 0..=value.len() {
                let known = (from, of(value.get(..from).unwrap_or_default()));
                assert_eq!(continued(value, known), of(value), "{} at {from}", value.escape_ascii());
            }
        }
    }
}
