//! The normal form of a path, and its fold.

use palisade::{
    conf::model::Paths,
    fold::fold,
    path::{is_relaxed, normalize, normalize_by},
};

/// Normalises a path.
///
/// # Panics
/// Where the result is not in normal form, or is another path than RFC 3986 makes of it.
pub fn run(data: &[u8]) {
    // The query is not part of it.
    let data = data.split(|byte| *byte == b'?').next().unwrap_or_default();
    relaxed(data);
    let Ok(normal) = normalize(data) else { return };
    assert_eq!(normalize(normal.as_bytes()).as_deref(), Ok(&*normal), "the normal form is its own");
    assert!(normal.starts_with('/') && normal.is_ascii());
    assert!(!normal.contains("//"), "{normal}");
    assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."), "{normal}");
    for (at, byte) in normal.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=:@".contains(&byte);
        assert!(plain || byte == b'%', "{normal}");
        if byte == b'%' {
            let pair = &normal[at + 1..at + 3];
            let value = u8::from_str_radix(pair, 16).expect("two digits");
            assert_eq!(pair.to_uppercase(), pair, "{normal}");
            let unreserved = value.is_ascii_alphanumeric() || b"-._~".contains(&value);
            assert!(!unreserved && !value.is_ascii_control() && !b"/\\".contains(&value), "{normal}");
        }
    }
    // An encoded slash is refused, so that decoding first and resolving then gives the same path.
    assert_eq!(decode(normal.as_bytes()), resolve(&decode(data)), "{normal}");
    let folded = fold(&normal);
    assert!(folded.starts_with('/') && !folded.contains("//"), "{folded}");
    assert_eq!(
        fold(&normal.to_ascii_uppercase()).trim_end_matches('/'),
        folded.trim_end_matches('/'),
        "{normal}"
    );
}

/// Relaxed rules are strict but for separators that are encoded, and those hide nothing from whoever decodes them.
fn relaxed(data: &[u8]) {
    let Ok(normal) = normalize_by(data, Paths::Relaxed) else {
        assert!(normalize(data).is_err());
        return;
    };
    assert_eq!(normalize_by(normal.as_bytes(), Paths::Relaxed).as_deref(), Ok(&*normal));
    assert_eq!(is_relaxed(&normal), normalize(data).is_err(), "{normal}");
    let decoded = decode(normal.as_bytes());
    let separated: Vec<u8> = decoded.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
    assert_eq!(resolve(&separated), separated, "{normal}");
}

fn decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let [first, after @ ..] = rest {
        let pair = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.filter(|_| *first == b'%').and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => {
                out.push(value);
                rest = &after[2..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// RFC 3986 §5.2.4 over segments, slashes merged.
fn resolve(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut last: &[u8] = b"";
    for segment in path.split(|byte| *byte == b'/') {
        last = segment;
        match segment {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let mut out: Vec<u8> = kept.iter().flat_map(|name| [b"/", *name].concat()).collect();
    if out.is_empty() || matches!(last, b"" | b"." | b"..") {
        out.push(b'/');
    }
    out
}
