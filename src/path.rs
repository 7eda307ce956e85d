//! One normal form of a path: what the router, the plugins, the record and the origin see.
//!
//! Unreserved characters are decoded once, hex is upper case, dot segments are removed and slashes merged
//! (RFC 3986 §6.2.2). What some origin might read as another path is refused, with a reason code.

use crate::{fold::is_blank, unicode};
use std::borrow::Cow;

/// Which paths a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paths {
    /// Those that can be read in one way.
    #[default]
    Strict,
    /// Encoded slashes and backslashes as well: whether they separate is left to the origin.
    Relaxed,
}

/// The normal form of a path (without its query), or why it is refused.
pub fn normalize(path: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    normalize_by(path, Paths::Strict)
}

/// The same by a listener's rules. Relaxed ones leave `%2F` and `%5C` in a segment as they are, where none of the parts
/// between them is empty, a dot segment, or what some make one of.
pub fn normalize_by(path: &[u8], rules: Paths) -> Result<Cow<'_, str>, &'static str> {
    if path.first() != Some(&b'/') {
        return Err("path_relative");
    }
    // Nearly all paths are in normal form already: then nothing is copied.
    let simple = |byte: &u8| {
        is_unreserved(*byte)
            || matches!(
                byte,
                b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@'
            )
    };
    if path.iter().all(simple)
        && !path.windows(2).any(|pair| matches!(pair, b"//" | b"/."))
        && let Ok(text) = std::str::from_utf8(path)
    {
        return Ok(Cow::Borrowed(text));
    }
    let decoded = decode(path, rules)?;
    remove_dots(&decoded).map(Cow::Owned)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// True where a normal form has what only relaxed rules let through.
pub fn is_relaxed(normal: &str) -> bool {
    parts(normal).nth(1).is_some()
}

/// The parts of a segment between its encoded slashes and backslashes.
fn parts(segment: &str) -> impl Iterator<Item = &str> {
    segment.split("%2F").flat_map(|part| part.split("%5C"))
}

/// Decodes unreserved characters once and writes everything else in upper-case hex.
fn decode(path: &[u8], rules: Paths) -> Result<String, &'static str> {
    let mut out = String::with_capacity(path.len() + 8);
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        let byte = *byte;
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else { return Err("path_percent") };
                let value = hex(*high, *low).ok_or("path_percent")?;
                check_decoded(value, rules)?;
                if is_unreserved(value) {
                    out.push(char::from(value))
                } else {
                    push_hex(&mut out, value)
                }
                plain.push(value);
                rest = after;
            }
            0..=0x1f | 0x7f => return Err("path_control_character"),
            b'\\' => return Err("path_backslash"),
            b'#' => return Err("path_fragment"),
            0x80.. | b' ' | b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                push_hex(&mut out, byte);
                plain.push(byte);
            }
            _ => {
                out.push(char::from(byte));
                plain.push(byte);
            }
        }
    }
    check_text(&plain, "path_utf8", "path_lookalike")?;
    check_hidden(&plain)?;
    Ok(out)
}

fn push_hex(out: &mut String, byte: u8) {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    out.push('%');
    out.extend([byte >> 4, byte & 15].map(|nibble| DIGITS.get(usize::from(nibble)).copied().unwrap_or('0')));
}

/// What must not hide behind an encoding.
fn check_decoded(value: u8, rules: Paths) -> Result<(), &'static str> {
    match value {
        0..=0x1f | 0x7f => Err("path_control_character"),
        b'/' | b'\\' if rules == Paths::Strict => Err("path_encoded_slash"),
        _ => Ok(()),
    }
}

/// What must not hide behind a second encoding: `%252e` is `%2e` for whoever decodes once, and `.` for whoever
/// decodes twice. Looked for in what was decoded, because the digits may be encoded as well, or look-alikes.
fn check_hidden(plain: &[u8]) -> Result<(), &'static str> {
    const REASON: &str = "path_double_encoding";
    let seen = if plain.is_ascii() { None } else { Some(unicode::seen(&String::from_utf8_lossy(plain))) };
    let (mut twice, mut rest) = (Vec::new(), seen.as_ref().map_or(plain, String::as_bytes));
    let mut hidden = false;
    while let Some((byte, after)) = rest.split_first() {
        let pair = if let (b'%', [high, low, ..]) = (byte, after) { hex(*high, *low) } else { None };
        let syntax = |value: u8| matches!(value, b'/' | b'\\' | b'%' | b';' | 0..=0x1f | 0x7f);
        if pair.is_some_and(|value| is_unreserved(value) || syntax(value)) {
            return Err(REASON);
        }
        hidden |= pair.is_some();
        twice.push(pair.unwrap_or(*byte));
        rest = if pair.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    if hidden { check_text(&twice, REASON, REASON) } else { Ok(()) }
}

/// The decoded bytes must be UTF-8 without characters that compatibility normalisation turns into path syntax.
fn check_text(plain: &[u8], malformed: &'static str, lookalike: &'static str) -> Result<(), &'static str> {
    if plain.is_ascii() {
        return Ok(());
    }
    let text = std::str::from_utf8(plain).map_err(|_| malformed)?;
    let looks_alike = |c: char| {
        !c.is_ascii()
            && (unicode::is_path_syntax(c)
                || matches!(c,
                    '\u{ff01}'..='\u{ff5e}' | '\u{fe50}'..='\u{fe6f}' | '\u{2044}' | '\u{2215}' | '\u{29f8}'
                    | '\u{2216}' | '\u{29f5}' | '\u{212a}' | '\u{017f}'
                    // Blanks, controls and marks that are seen by nobody and dropped by some.
                    | '\u{0080}'..='\u{00a0}' | '\u{00ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}'))
    };
    if text.chars().any(looks_alike) { Err(lookalike) } else { Ok(()) }
}

/// Removes `.` and `..` (RFC 3986 §5.2.4) and empty segments; a slash at the end stays.
fn remove_dots(path: &str) -> Result<String, &'static str> {
    let mut kept: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split('/').skip(1) {
        open = true;
        match segment {
            "." => {}
            // Who merges slashes first, goes up from another segment than who removes dot segments first.
            ".." => match kept.pop() {
                Some("") => return Err("path_empty_segment"),
                // Nor do those agree who decode before and after.
                Some(left) if is_relaxed(left) => return Err("path_encoded_slash"),
                _ => {}
            },
            "" => kept.push(segment),
            _ if is_blank(segment) => return Err(blank(segment)),
            _ if is_relaxed(segment) && parts(segment).any(is_blank) => return Err("path_encoded_slash"),
            _ => {
                kept.push(segment);
                open = false;
            }
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept.into_iter().filter(|segment| !segment.is_empty()) {
        out.push('/');
        out.push_str(segment);
    }
    if open || out.is_empty() {
        out.push('/');
    }
    Ok(out)
}

/// A segment of which some leave nothing, or a dot segment, is one that others go up from.
fn blank(segment: &str) -> &'static str {
    if segment.contains(';') || segment.contains("%3B") { "path_dot_parameter" } else { "path_blank_segment" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("//a///b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/../../a", "/a"),
            ("/.", "/"),
            ("/%61dmin", "/admin"),
            ("/a%2Eb", "/a.b"),
            ("/%2e%2e/admin", "/admin"),
            ("/public/%2e%2e/admin", "/admin"),
            ("/public/a%20b", "/public/a%20b"),
            ("/public/%E2%9C%93", "/public/%E2%9C%93"),
            ("/public/%e2%9c%93", "/public/%E2%9C%93"),
            ("/public/\u{2713}", "/public/%E2%9C%93"),
            ("/public/100%25", "/public/100%25"),
            ("/public/a;v=1/b", "/public/a;v=1/b"),
            ("/public/a.b..c", "/public/a.b..c"),
            ("/public/~u/@v1:x,y/(z)!*'", "/public/~u/@v1:x,y/(z)!*'"),
            ("/a|b", "/a%7Cb"),
            ("/a[0]", "/a%5B0%5D"),
            ("/a%2520b", "/a%2520b"),
            ("/%25C3%25A9", "/%25C3%25A9"),
            ("/..a/.b/c..", "/..a/.b/c.."),
            ("/a//", "/a/"),
            ("/a/../..//b", "/b"),
            ("/%E2%9D%A4%EF%B8%8F", "/%E2%9D%A4%EF%B8%8F"),
        ] {
            assert_eq!(normalize(path.as_bytes()).as_deref(), Ok(normal), "{path}");
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (path, reason) in [
            (&b"a"[..], "path_relative"),
            (b"", "path_relative"),
            (b"/a%", "path_percent"),
            (b"/a%2", "path_percent"),
            (b"/a%zz", "path_percent"),
            (b"/a%u002e", "path_percent"),
            (b"/a%00", "path_control_character"),
            (b"/a%0d%0a", "path_control_character"),
            (b"/a\x00", "path_control_character"),
            (b"/a%7f", "path_control_character"),
            (b"/a\\b", "path_backslash"),
            (b"/a%5cb", "path_encoded_slash"),
            (b"/a%2fb", "path_encoded_slash"),
            (b"/..%2fadmin", "path_encoded_slash"),
            (b"/%252e%252e/admin", "path_double_encoding"),
            (b"/a%252fb", "path_double_encoding"),
            (b"/a%255cb", "path_double_encoding"),
            (b"/%2561dmin", "path_double_encoding"),
            (b"/%25252e", "path_double_encoding"),
            (b"/%25%32%65%25%32%65/admin", "path_double_encoding"),
            (b"/a%25%32f", "path_double_encoding"),
            (b"/%25EF%25BC%258Fadmin", "path_double_encoding"),
            (b"/%25FF", "path_double_encoding"),
            (b"/%25%f0%9c%b3%b6E", "path_double_encoding"),
            (b"/%25%ef%b8%8f6E", "path_double_encoding"),
            (b"/a/..;/admin", "path_dot_parameter"),
            (b"/a/..;x=1/admin", "path_dot_parameter"),
            (b"/a/.;/admin", "path_dot_parameter"),
            (b"/a/;/admin", "path_dot_parameter"),
            (b"/a/..%3b/admin", "path_dot_parameter"),
            (b"/a/..%20;x/admin", "path_dot_parameter"),
            (b"/a/..%20/admin", "path_blank_segment"),
            (b"/a/%20/../admin", "path_blank_segment"),
            (b"/a/%2520/../admin", "path_blank_segment"),
            (b"/a/.../admin", "path_blank_segment"),
            (b"/a/..%ef%b8%8f/admin", "path_blank_segment"),
            (b"/a//../admin", "path_empty_segment"),
            (b"/a//./../admin", "path_empty_segment"),
            (b"/a%c0%ae", "path_utf8"),
            (b"/a%ff", "path_utf8"),
            (b"/a%ed%a0%80", "path_utf8"),
            (b"/%ef%bc%8fadmin", "path_lookalike"),
            (b"/%ef%bc%8e%ef%bc%8e/admin", "path_lookalike"),
            (b"/%e2%80%a4", "path_lookalike"),
            (b"/%ef%b8%b0/admin", "path_lookalike"),
            (b"/%e3%8f%82", "path_lookalike"),
            (b"/%e3%80%80", "path_lookalike"),
            (b"/a%cd%be", "path_lookalike"),
            (b"/a%ef%b8%94", "path_lookalike"),
            (b"/ad%c2%admin", "path_percent"),
            (b"/a#b", "path_fragment"),
        ] {
            let found = normalize(path);
            if path == b"/ad%c2%admin" {
                // `%c2%ad` is a soft hyphen: invisible, and dropped by some.
                assert_eq!(found, Err("path_lookalike"));
                continue;
            }
            assert_eq!(found, Err(reason), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn relaxed_rules_let_encoded_separators_be() {
        for (path, normal) in [
            ("/a%2fb", Ok("/a%2Fb")),
            ("/a%5cb/c", Ok("/a%5Cb/c")),
            ("/x/../a%2Fb", Ok("/a%2Fb")),
            ("/a%2Fb/../d", Err("path_encoded_slash")),
            ("/a%2F.b", Ok("/a%2F.b")),
            ("/..%2fadmin", Err("path_encoded_slash")),
            ("/a%2f..%2fadmin", Err("path_encoded_slash")),
            ("/a%5c%2e%2e%5cadmin", Err("path_encoded_slash")),
            ("/a%2f.", Err("path_encoded_slash")),
            ("/a%2f..;x", Err("path_encoded_slash")),
            ("/a%2f..%20/x", Err("path_encoded_slash")),
            ("/%2fadmin", Err("path_encoded_slash")),
            ("/a%2f", Err("path_encoded_slash")),
            ("/a%2f%5cb", Err("path_encoded_slash")),
            ("/a\\b", Err("path_backslash")),
            ("/a%252fb", Err("path_double_encoding")),
            ("/a%2fb%00", Err("path_control_character")),
            ("/%ef%bc%8fadmin", Err("path_lookalike")),
        ] {
            let found = normalize_by(path.as_bytes(), Paths::Relaxed);
            assert_eq!(found.as_deref().map_err(|reason| *reason), normal, "{path}");
            assert!(normalize(path.as_bytes()).is_err(), "{path} is not for everybody");
            if let Ok(normal) = found {
                assert!(is_relaxed(&normal));
                assert_eq!(normalize_by(normal.as_bytes(), Paths::Relaxed).as_deref(), Ok(&*normal));
            }
        }
        assert!(!is_relaxed("/a/b%20c%25"));
    }

    proptest::proptest! {
        /// The normal form is its own normal form, and has nothing left to resolve.
        #[test]
        fn normal_forms_are_stable(path in "/[a-c./%;2356eE\\\\]{0,24}") {
            if let Ok(normal) = normalize(path.as_bytes()) {
                let again = normalize(normal.as_bytes());
                proptest::prop_assert_eq!(again.as_deref(), Ok(&*normal));
                let dots = normal.split('/').any(|segment| segment == "." || segment == "..");
                proptest::prop_assert!(!dots && !normal.contains("//"));
            }
        }
    }
}
