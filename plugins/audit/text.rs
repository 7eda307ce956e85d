//! Values as JSON, appended to bytes. Nothing here formats through `core::fmt` what every request has.

use std::{
    cell::RefCell,
    io::Write,
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

/// What ends a value that was cut.
const CUT: &[u8] = "…".as_bytes();
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A number.
pub(super) fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// An address, without quotes.
pub(super) fn ip(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => {
            for (index, part) in v4.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                number(out, part);
            }
        }
        // Its rules for zeros are not worth writing twice. Writing to memory does not fail.
        IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

/// An address with its port, without quotes.
pub(super) fn socket(out: &mut Vec<u8>, address: SocketAddr) {
    if address.is_ipv6() {
        out.push(b'[');
        ip(out, address.ip());
        out.push(b']');
    } else {
        ip(out, address.ip());
    }
    out.push(b':');
    number(out, address.port());
}

/// True for text that is a JSON string as it stands: nearly all of it.
fn is_plain(text: &[u8]) -> bool {
    // Without an early exit, so that many bytes are compared at once.
    !text.iter().fold(false, |found, byte| {
        found | (*byte < b' ') | (*byte >= 0x7f) | (*byte == b'"') | (*byte == b'\\')
    })
}

/// The rest of a JSON string whose first quote is there, of `room` bytes at most without quotes. False where it
/// had to be cut; it then ends with `…`.
pub(super) fn string(out: &mut Vec<u8>, value: &[u8], room: usize) -> bool {
    let whole = if value.len() <= room && is_plain(value) {
        out.extend_from_slice(value);
        true
    } else {
        escaped(out, value, room)
    };
    out.push(b'"');
    whole
}

fn escaped(out: &mut Vec<u8>, value: &[u8], room: usize) -> bool {
    let end = out.len().saturating_add(room);
    for chunk in value.utf8_chunks() {
        let characters = chunk.valid().chars().map(Ok);
        for piece in characters.chain(chunk.invalid().iter().map(|byte| Err(*byte))) {
            let before = out.len();
            match piece {
                Ok(character) => escape(out, character),
                // Not a character: shown as most languages write it, `\xff`.
                Err(byte) => {
                    out.extend_from_slice(b"\\\\x");
                    hex(out, byte);
                }
            }
            if out.len() > end {
                out.truncate(before);
                // The mark may stand beyond the room: a line keeps a margin.
                out.extend_from_slice(CUT);
                return false;
            }
        }
    }
    true
}

fn escape(out: &mut Vec<u8>, character: char) {
    match character {
        '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        // What a terminal or an editor would obey: controls, line separators, and what turns text around.
        _ if character.is_control()
            || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}') =>
        {
            let code = character as u32;
            out.extend_from_slice(b"\\u");
            for byte in [(code >> 8) as u8, code as u8] {
                hex(out, byte);
            }
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn hex(out: &mut Vec<u8>, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        out.push(HEX.get(usize::from(digit)).copied().unwrap_or(b'0'));
    }
}

/// RFC 3339 with milliseconds, without quotes; the part down to the second is made once a second.
pub(super) fn time(out: &mut Vec<u8>, time: SystemTime) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, shown)| {
        if *second != since.as_secs() {
            *second = since.as_secs();
            let timestamp = i64::try_from(*second)
                .ok()
                .and_then(|second| jiff::Timestamp::from_second(second).ok())
                .unwrap_or_default();
            *shown = timestamp.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        out.extend_from_slice(shown.as_bytes());
    });
    let millis = since.subsec_millis();
    for digit in [millis / 100, millis / 10 % 10, millis % 10] {
        out.push(b'0' + digit as u8);
    }
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn shown(value: &[u8], room: usize) -> (String, bool) {
        let mut out = vec![b'"'];
        let whole = string(&mut out, value, room);
        (String::from_utf8(out).unwrap(), whole)
    }

    #[test]
    fn hostile_text_stays_in_its_string() {
        for (value, expected) in [
            (&b"plain"[..], r#""plain""#),
            (b"", r#""""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (b"a\r\n{\"status\":200}\t", r#""a\r\n{\"status\":200}\t""#),
            (b"\0\x1b[2J\x7f", r#""\u0000\u001b[2J\u007f""#),
            (b"\xff\xfe", r#""\\xff\\xfe""#),
            (b"a\xc3", r#""a\\xc3""#),
            ("\u{85}\u{9b}".as_bytes(), r#""\u0085\u009b""#),
            ("\u{202e}\u{2028}\u{feff}\u{2066}".as_bytes(), r#""\u202e\u2028\ufeff\u2066""#),
            ("naïve ✓ 🙂".as_bytes(), r#""naïve ✓ 🙂""#),
        ] {
            let (text, whole) = shown(value, 100);
            assert_eq!((&*text, whole), (expected, true));
            assert!(serde_json::from_str::<String>(&text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        for (value, room, expected) in [
            (&b"abcdef"[..], 3, r#""abc…""#),
            (b"ab\n\n", 3, r#""ab…""#),
            ("aéé".as_bytes(), 4, r#""aé…""#),
            (b"ab\xff", 3, r#""ab…""#),
            (b"\"\"", 2, r#""\"…""#),
            (b"abc", 0, r#""…""#),
        ] {
            let (text, whole) = shown(value, room);
            assert_eq!((&*text, whole), (expected, false));
            assert!(serde_json::from_str::<String>(&text).is_ok(), "{text}");
        }
        assert_eq!(shown(b"abc", 3), ("\"abc\"".to_owned(), true));
        assert_eq!(shown("é".as_bytes(), 2), ("\"é\"".to_owned(), true));
    }

    #[test]
    fn addresses_are_as_the_standard_library_writes_them() {
        for address in ["192.0.2.1", "0.0.0.0", "255.255.255.255", "::1", "2001:db8::7", "::ffff:1.2.3.4"] {
            let address: IpAddr = address.parse().unwrap();
            let mut out = Vec::new();
            ip(&mut out, address);
            assert_eq!(String::from_utf8(out).unwrap(), address.to_string());
            let socket_address = SocketAddr::from((address, 40_000));
            let mut out = Vec::new();
            socket(&mut out, socket_address);
            assert_eq!(String::from_utf8(out).unwrap(), socket_address.to_string());
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        for (millis, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
            (1_700_000_000_999, "2023-11-14T22:13:20.999Z"),
            (1_700_000_001_000, "2023-11-14T22:13:21.000Z"),
        ] {
            let mut out = Vec::new();
            time(&mut out, SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
