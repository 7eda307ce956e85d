//! The form of a path in which look-alikes are the same.
//!
//! An origin may ignore case, cut `;parameters`, or trim trailing dots and spaces; what it would take for
//! another path must not slip past the rules for that path. Both patterns and paths are folded, so that
//! `/Admin/x`, `/admin;a=b/x`, `/admin./x` and `/admin%20/x` all meet the rules for `/admin/*`.

use crate::unicode;
use percent_encoding::percent_decode;
use std::borrow::Cow;

/// Folds a path in normal form: percent sequences decoded twice, without case, compatibility and ignorable characters
/// (by Unicode's rules), in each segment everything from the first `;`, `?` or `#` and then trailing dots and spaces
/// cut, segments that are left empty dropped.
///
/// The result is for comparing alone: it is no path to send. It has no trailing slash, but for `/` itself and
/// for a path that was its own fold anyway.
pub fn fold(path: &str) -> Cow<'_, str> {
    if is_folded(path) {
        return Cow::Borrowed(path);
    }
    let mut folded = String::with_capacity(path.len());
    for segment in path.split('/') {
        push_segment(&mut folded, segment);
    }
    if folded.is_empty() {
        folded.push('/');
    }
    Cow::Owned(folded)
}

/// True where folding would change nothing but perhaps drop a trailing slash: decided in one pass, without
/// allocating. Most paths are like this.
pub fn is_folded(path: &str) -> bool {
    let mut previous = 0;
    for (index, &byte) in path.as_bytes().iter().enumerate() {
        let changes = match byte {
            b'A'..=b'Z' | b'%' | b';' | b'\\' | 0x80.. => true,
            b'/' => matches!(previous, b'.' | b' ' | b'/'),
            _ => index == 0,
        };
        if changes {
            return false;
        }
        previous = byte;
    }
    !matches!(previous, 0 | b'.' | b' ')
}

/// True where folding leaves nothing of a segment.
pub fn is_blank(segment: &str) -> bool {
    let mut folded = String::new();
    push_segment(&mut folded, segment);
    folded.is_empty()
}

/// Appends the fold of one segment, with a slash before it; nothing where nothing is left of it.
fn push_segment(folded: &mut String, segment: &str) {
    if segment.bytes().all(|byte| byte.is_ascii() && !matches!(byte, b'%' | b'\\')) {
        if let Some(name) = cut(segment) {
            folded.push('/');
            folded.extend(name.chars().map(|c| c.to_ascii_lowercase()));
        }
        return;
    }
    // What decodes twice is an origin behind another proxy. Look-alikes may stand for the digits of the second time.
    let text = decode(&decode(segment));
    let text = text.replace(char::is_control, "");
    // A separator that was encoded is one here: no origin is known to be safe from it.
    for name in text.split(['/', '\\']).filter_map(cut) {
        folded.push('/');
        folded.push_str(name);
    }
}

/// Percent sequences decoded, without case, compatibility and what is ignorable.
fn decode(text: &str) -> String {
    let bytes: Cow<'_, [u8]> = percent_decode(text.as_bytes()).into();
    let text = String::from_utf8_lossy(&bytes);
    if text.is_ascii() { text.to_ascii_lowercase() } else { unicode::caseless(&text) }
}

/// A segment without its parameters and trailing dots and spaces; none where nothing is left.
fn cut(segment: &str) -> Option<&str> {
    let name = segment.split([';', '?', '#']).next().unwrap_or_default().trim_end_matches(['.', ' ']);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_fold_to_one_form() {
        let table = [
            ("/", "/"),
            ("/admin/x", "/admin/x"),
            ("/admin/", "/admin/"),
            ("/Admin/x", "/admin/x"),
            ("/ADMIN/", "/admin"),
            ("/admin;a=b/x", "/admin/x"),
            ("/admin%3Ba=b/x", "/admin/x"),
            ("/admin;/x", "/admin/x"),
            ("/;a/admin", "/admin"),
            ("/admin./x", "/admin/x"),
            ("/admin.. ./x", "/admin/x"),
            ("/admin%20/x", "/admin/x"),
            ("/admin%20.;v=1/x", "/admin/x"),
            ("/admin.;v=1", "/admin"),
            ("/admin ", "/admin"),
            ("/.../admin", "/admin"),
            ("/%20/admin", "/admin"),
            ("//admin", "/admin"),
            ("/public%2Fadmin", "/public/admin"),
            ("/public%5Cadmin", "/public/admin"),
            ("/public\\admin", "/public/admin"),
            ("/%E2%84%AAey", "/key"),
            ("/adm%C4%B1n", "/admin"),
            ("/u%C5%BFer", "/user"),
            ("/%C3%89t%C3%A9", "/été"),
            ("/100%25", "/100%"),
            ("/%2541", "/a"),
            ("/admin%2520/x", "/admin/x"),
            ("/admin%3Fx/y", "/admin/y"),
            ("/admin%23", "/admin"),
            ("/%F0%9D%92%B6dmin", "/admin"),
            ("/adm%C4%B0n", "/admin"),
            ("/ad%EF%B8%8Fmin", "/admin"),
            ("/admin%252%F0%9C%B3%B0/x", "/admin/x"),
            ("/a.b..c", "/a.b..c"),
            ("/.well-known/x", "/.well-known/x"),
            ("/~u/@v1:x,y/(z)!*'", "/~u/@v1:x,y/(z)!*'"),
            ("/%FF", "/\u{fffd}"),
            ("/...", "/"),
            ("", "/"),
        ];
        for (path, expected) in table {
            assert_eq!(fold(path), expected, "{path}");
            let unchanged = path == expected;
            assert_eq!(is_folded(path), unchanged, "{path}");
        }
    }

    #[test]
    fn a_long_path_folds_in_one_pass() {
        let path = "/A;".repeat(2_800);
        assert_eq!(fold(&path), "/a".repeat(2_800));
    }
}
