//! Backslash escapes of JavaScript, CSS and C.

use crate::bytes::{at, hex, hex_pair, is_space};

/// Decodes `\uHHHH`, `\xHH`, octal and one-letter escapes.
pub(super) fn javascript(value: &[u8], out: &mut Vec<u8>) {
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        if *byte != b'\\' {
            out.push(*byte);
            place += 1;
            continue;
        }
        let next = at(value, place + 1);
        let pair = |from: usize| hex_pair(at(value, place + from), at(value, place + from + 1));
        if let (b'u', Some(high), Some(low)) = (next, pair(2), pair(4)) {
            out.push(if high == 0xff && low > 0 && low < 0x5f { low + 0x20 } else { low });
            place += 6;
        } else if let (b'x', Some(code)) = (next, pair(2)) {
            out.push(code);
            place += 4;
        } else if is_octal(next) && place + 1 < value.len() {
            let (code, length) = octal(value, place + 1, true);
            out.push(code);
            place += 1 + length;
        } else if place + 1 < value.len() {
            out.push(one_letter(next).unwrap_or(next));
            place += 2;
        } else {
            out.push(b'\\');
            place += 1;
        }
    }
}

fn is_octal(byte: u8) -> bool {
    (b'0'..=b'7').contains(&byte)
}

/// Up to three octal digits, two where three would not fit in a byte and `fit` is asked for.
fn octal(value: &[u8], from: usize, fit: bool) -> (u8, usize) {
    let mut length = (0..3).take_while(|offset| is_octal(at(value, from + offset))).count();
    if fit && length == 3 && at(value, from) > b'3' {
        length = 2;
    }
    let code = (0..length).fold(0u16, |code, offset| code << 3 | u16::from(at(value, from + offset) - b'0'));
    ((code & 0xff) as u8, length)
}

fn one_letter(letter: u8) -> Option<u8> {
    Some(match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        _ => return None,
    })
}

/// Decodes escapes of up to six hexadecimal digits, of which two count.
pub(super) fn css(value: &[u8], out: &mut Vec<u8>) {
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        if *byte != b'\\' {
            out.push(*byte);
            place += 1;
            continue;
        }
        place += 1;
        if place >= value.len() {
            return;
        }
        let digits = (0..6).take_while(|offset| hex(at(value, place + offset)).is_some()).count();
        if digits > 0 {
            out.push(css_code(value, place, digits));
            place += digits;
            if is_space(at(value, place)) && place < value.len() {
                place += 1;
            }
        } else if at(value, place) == b'\n' {
            place += 1;
        } else {
            out.push(at(value, place));
            place += 1;
        }
    }
}

fn css_code(value: &[u8], place: usize, digits: usize) -> u8 {
    if digits == 1 {
        return hex(at(value, place)).unwrap_or(0);
    }
    let low = hex_pair(at(value, place + digits - 2), at(value, place + digits - 1)).unwrap_or(0);
    let zeros = match digits {
        4 => true,
        5 => at(value, place) == b'0',
        6 => at(value, place) == b'0' && at(value, place + 1) == b'0',
        _ => false,
    };
    let full_width = zeros
        && at(value, place + digits - 3) | 0x20 == b'f'
        && at(value, place + digits - 4) | 0x20 == b'f'
        && low > 0
        && low < 0x5f;
    if full_width { low + 0x20 } else { low }
}

/// Decodes escapes of C strings; the backslash of an unknown one goes.
pub(super) fn ansi_c(value: &[u8], out: &mut Vec<u8>) {
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        if *byte != b'\\' || place + 1 >= value.len() {
            out.push(*byte);
            place += 1;
            continue;
        }
        let next = at(value, place + 1);
        let simple = one_letter(next).or(matches!(next, b'\\' | b'?' | b'\'' | b'"').then_some(next));
        if let Some(code) = simple {
            out.push(code);
            place += 2;
        } else if next | 0x20 == b'x'
            && let Some(code) = hex_pair(at(value, place + 2), at(value, place + 3))
        {
            out.push(code);
            place += 4;
        } else if is_octal(next) {
            let (code, length) = octal(value, place + 1, false);
            out.push(code);
            place += 1 + length;
        } else {
            out.push(next);
            place += 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::tests::check;

    #[test]
    fn escapes() {
        check(
            "jsDecode",
            &[
                (b"\\x41\\u0042\\101\\n", b"ABA\n"),
                (b"\\uff1c", b"<"),
                (b"\\q\\", b"q\\"),
                (b"\\x4", b"x4"),
                (b"\\777", b"?7"),
            ],
        );
        check(
            "cssDecode",
            &[
                (b"\\41 b", b"Ab"),
                (b"\\000041b", b"Ab"),
                (b"\\a", b"\n"),
                (b"\\ff1c", b"<"),
                (b"a\\\nb", b"ab"),
                (b"ja\\vascript\\", b"javascript"),
            ],
        );
        check(
            "escapeSeqDecode",
            &[(b"\\x41\\101\\t\\\\\\q\\", b"AA\t\\q\\"), (b"\\xz", b"xz"), (b"\\8", b"8")],
        );
    }
}
