//! Encodings and digests.

use crate::bytes::{at, hex_pair};
use md5::Md5;
use sha1::{Digest, Sha1};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// Decodes up to the first byte that is no part of the encoding.
pub(super) fn base64_decode(value: &[u8], out: &mut Vec<u8>) {
    decode(value.iter().map_while(|byte| sextet(*byte)), out);
}

/// Decodes and passes over bytes that are no part of the encoding, up to the padding.
pub(super) fn base64_decode_forgiving(value: &[u8], out: &mut Vec<u8>) {
    decode(value.iter().take_while(|byte| **byte != b'=').filter_map(|byte| sextet(*byte)), out);
}

fn decode(sextets: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    let mut bits = 0u32;
    let mut held = 0u32;
    for sextet in sextets {
        bits = bits << 6 | sextet;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
}

pub(super) fn base64_encode(value: &[u8], out: &mut Vec<u8>) {
    for chunk in value.chunks(3) {
        let bits = u32::from(at(chunk, 0)) << 16 | u32::from(at(chunk, 1)) << 8 | u32::from(at(chunk, 2));
        for place in 0..4 {
            if place <= chunk.len() {
                out.push(at(ALPHABET, (bits >> (18 - 6 * place) & 63) as usize));
            } else {
                out.push(b'=');
            }
        }
    }
}

pub(super) fn hex_encode(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        out.push(at(b"0123456789abcdef", usize::from(byte >> 4)));
        out.push(at(b"0123456789abcdef", usize::from(byte & 15)));
    }
}

pub(super) fn hex_decode(value: &[u8], out: &mut Vec<u8>) {
    for pair in value.chunks_exact(2) {
        match hex_pair(at(pair, 0), at(pair, 1)) {
            Some(byte) => out.push(byte),
            None => return,
        }
    }
}

/// Decodes each run of pairs of digits after `0x`.
pub(super) fn sql_hex_decode(value: &[u8], out: &mut Vec<u8>) {
    let mut place = 0;
    while place < value.len() {
        let first = hex_pair(at(value, place + 2), at(value, place + 3));
        if at(value, place) == b'0' && at(value, place + 1) | 0x20 == b'x' && first.is_some() {
            place += 2;
            while let Some(byte) = hex_pair(at(value, place), at(value, place + 1)) {
                out.push(byte);
                place += 2;
            }
        } else {
            out.push(at(value, place));
            place += 1;
        }
    }
}

pub(super) fn md5(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Md5::digest(value));
}

pub(super) fn sha1(value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&Sha1::digest(value));
}

/// Sets the eighth bit of each byte so that its ones are even (0) or odd (1) in number, or clears it.
pub(super) fn parity(value: &[u8], ones: Option<u32>, out: &mut Vec<u8>) {
    out.extend(value.iter().map(|byte| {
        let low = byte & 0x7f;
        match ones {
            Some(ones) if low.count_ones() % 2 != ones => low | 0x80,
            _ => low,
        }
    }));
}

#[cfg(test)]
mod tests {
    use crate::transform::tests::check;

    #[test]
    fn encodings() {
        check(
            "base64Decode",
            &[(b"VGVzdA==", b"Test"), (b"VGV*zdA", b"Te"), (b"", b""), (b"VGVzdDE", b"Test1")],
        );
        check("base64DecodeExt", &[(b"VG V*zdA==", b"Test"), (b"!", b"")]);
        check("base64Encode", &[(b"Test", b"VGVzdA=="), (b"Te", b"VGU="), (b"Tes", b"VGVz"), (b"", b"")]);
        check("hexEncode", &[(b"a\xff", b"61ff")]);
        check("hexDecode", &[(b"61ff", b"a\xff"), (b"616", b"a"), (b"61zz61", b"a")]);
        check(
            "sqlHexDecode",
            &[(b"x 0x4142 y", b"x AB y"), (b"0x4", b"0x4"), (b"00x41", b"0A"), (b"0xZZ", b"0xZZ")],
        );
        check("sha1", &[(b"", b"\xda9\xa3\xee^kK\r2U\xbf\xef\x95`\x18\x90\xaf\xd8\x07\t")]);
        check("md5", &[(b"", b"\xd4\x1d\x8c\xd9\x8f\x00\xb2\x04\xe9\x80\t\x98\xec\xf8B~")]);
        check("parityEven7bit", &[(b"a\x01", b"\xe1\x81")]);
        check("parityOdd7bit", &[(b"a\x01", b"a\x01")]);
        check("parityZero7bit", &[(b"\xe1", b"a")]);
        check("length", &[(b"four", b"4"), (b"", b"0")]);
    }
}
