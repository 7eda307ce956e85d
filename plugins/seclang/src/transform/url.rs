//! Percent encoding.

use super::unicode::Mapping;
use crate::bytes::{at, hex, hex_pair};

/// Decodes `%HH` and `+`; what is not valid stays as it is.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) {
    decode_form(value, out);
}

/// Decodes a name or value of a form, and says whether all of it was valid.
pub(crate) fn decode_form(value: &[u8], out: &mut Vec<u8>) -> bool {
    let mut valid = true;
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        match byte {
            b'%' => {
                if let Some(decoded) = hex_pair(at(value, place + 1), at(value, place + 2)) {
                    out.push(decoded);
                    place += 3;
                    continue;
                }
                valid = false;
                out.push(b'%');
            }
            b'+' => out.push(b' '),
            byte => out.push(*byte),
        }
        place += 1;
    }
    valid
}

/// Decodes `%HH` only, as in a path.
pub(crate) fn decode_path(value: &[u8], out: &mut Vec<u8>) {
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        if *byte == b'%'
            && let Some(decoded) = hex_pair(at(value, place + 1), at(value, place + 2))
        {
            out.push(decoded);
            place += 3;
        } else {
            out.push(*byte);
            place += 1;
        }
    }
}

/// Decodes `%uHHHH` as well, by the mapping of a code page where there is one.
pub(super) fn decode_unicode(value: &[u8], out: &mut Vec<u8>, mapping: Option<&Mapping>) {
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        match byte {
            b'%' if at(value, place + 1) | 0x20 == b'u' => {
                if let Some(decoded) = four_digits(value, place + 2) {
                    out.push(narrow(decoded, mapping));
                    place += 6;
                } else {
                    out.extend_from_slice(crate::bytes::cut(value, place, place + 2));
                    place += 2;
                }
            }
            b'%' => {
                if let Some(decoded) = hex_pair(at(value, place + 1), at(value, place + 2)) {
                    out.push(decoded);
                    place += 3;
                } else {
                    out.push(b'%');
                    place += 1;
                }
            }
            b'+' => {
                out.push(b' ');
                place += 1;
            }
            byte => {
                out.push(*byte);
                place += 1;
            }
        }
    }
}

fn four_digits(value: &[u8], place: usize) -> Option<u16> {
    (0..4).try_fold(0u16, |code, offset| Some(code << 4 | u16::from(hex(at(value, place + offset))?)))
}

/// One byte for a code unit: by the mapping, else its low byte, and full-width forms of ASCII as ASCII.
fn narrow(code: u16, mapping: Option<&Mapping>) -> u8 {
    if let Some(mapped) = mapping.and_then(|mapping| mapping.get(code)) {
        return mapped;
    }
    let [high, low] = code.to_be_bytes();
    if high == 0xff && low > 0 && low < 0x5f { low + 0x20 } else { low }
}

/// Encodes everything but letters, digits and `*`, `-`, `.`, `_`; a space becomes `+`.
pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b' ' => out.push(b'+'),
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => out.push(*byte),
            _ => {
                out.push(b'%');
                out.push(at(b"0123456789abcdef", usize::from(byte >> 4)));
                out.push(at(b"0123456789abcdef", usize::from(byte & 15)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::transform::tests::check;

    #[test]
    fn percent_encoding() {
        check("urlDecode", &[(b"a%20b+c%zz%4", b"a b c%zz%4"), (b"%u0041", b"%u0041"), (b"%00", b"\0")]);
        check(
            "urlDecodeUni",
            &[
                (b"%u0041%uff1c%U0042", b"A<B"),
                (b"%u00", b"%u00"),
                (b"%41+%4", b"A %4"),
                (b"%uzzzz%41", b"%uzzzzA"),
            ],
        );
        check("urlEncode", &[(b"a b/\xff", b"a+b%2f%ff")]);
    }
}
