//! Classes of bytes, and small pieces of text.

/// Bytes of a token (RFC 9110 §5.6.2).
const TOKEN: [bool; 256] = table(b"_");
/// The same but for `_`, which some origins cannot tell from `-`.
const NAME: [bool; 256] = table(b"");

#[expect(clippy::indexing_slicing, reason = "the compiler runs it")]
const fn table(more: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut rest: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^`|~";
    let mut more = more;
    while let [byte, after @ ..] = rest {
        table[*byte as usize] = true;
        rest = after;
        if rest.is_empty() {
            (rest, more) = (more, b"");
        }
    }
    table
}

/// True for a byte of a token.
pub(super) fn is_token(byte: u8) -> bool {
    TOKEN.get(usize::from(byte)).copied().unwrap_or(false)
}

/// True for a byte of a field's name.
pub(super) fn is_name(byte: u8) -> bool {
    NAME.get(usize::from(byte)).copied().unwrap_or(false)
}

/// True where there are no control characters but tabs. Looks at all bytes without leaving early, so that many
/// are looked at at once.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    !bytes.iter().fold(false, |control, byte| control | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f))
}

/// `1*DIGIT`, without overflow.
pub(super) fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    // 19 digits fit into 64 bits.
    value
        .iter()
        .try_fold(0u64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(byte - b'0')))
}

/// The authority of an absolute-form target (RFC 9112 §3.2.2); none in the other forms.
pub fn authority(target: &[u8]) -> Option<&[u8]> {
    if target.first() == Some(&b'/') {
        return None;
    }
    let scheme_end = memchr::memmem::find(target, b"://")?;
    target.get(scheme_end + 3..)?.split(|byte| matches!(byte, b'/' | b'?')).next()
}

/// A host and an optional port; no user information.
pub fn is_authority(value: &[u8]) -> bool {
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let (address, after) = rest.split_at(end);
            let valid =
                std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
            if !valid {
                return false;
            }
            (&b"v6"[..], after.get(1..).unwrap_or_default())
        }
        None => value.split_at(memchr::memchr(b':', value).unwrap_or(value.len())),
    };
    let port = match port.strip_prefix(b":") {
        Some(digits) => {
            !digits.is_empty() && digits.len() <= 5 && decimal(digits).is_some_and(|port| port <= 65_535)
        }
        None => port.is_empty(),
    };
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    port && !host.is_empty() && host.len() <= 253 && host.iter().all(name)
}
