//! What may be recorded of a value.

/// The most characters of a piece.
const PIECE: usize = 96;

/// Names whose values are secrets.
const SECRET: [&str; 12] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "auth",
    "cookie",
    "session",
    "sid",
    "api-key",
    "apikey",
    "api_key",
    "credential",
];

/// A bounded piece of a value: control and non-ASCII bytes escaped, long runs of digits blanked, and nothing at all of what is
/// called like a secret.
pub(super) fn piece(name: &str, value: &[u8]) -> String {
    let lower = name.to_ascii_lowercase();
    if SECRET.iter().any(|secret| lower.contains(secret)) {
        return format!("({} bytes)", value.len());
    }
    bounded(value, PIECE)
}

/// The beginning of a text, made fit for a log.
pub(super) fn bounded(value: &[u8], most: usize) -> String {
    let head = crate::bytes::cut(value, 0, most);
    let mut out = String::with_capacity(head.len() + 4);
    let mut digits = 0;
    for byte in head {
        digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
        match byte {
            _ if digits > 4 => out.push('*'),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => out.extend(byte.escape_ascii().map(char::from)),
        }
    }
    if value.len() > most {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_recorded() {
        assert_eq!(piece("ARGS:password", b"hunter2"), "(7 bytes)");
        assert_eq!(piece("REQUEST_COOKIES:x", b"abc"), "(3 bytes)");
        assert_eq!(piece("ARGS:q", b"1 or 1=1\n\xff"), "1 or 1=1\\n\\xff");
        assert_eq!(piece("ARGS:card", b"4111111111111111"), "4111************");
        assert_eq!(piece("ARGS:q", &[b'a'; 500]).chars().count(), PIECE + 1);
    }
}
