//! What can be the name of something, and of a group.

/// What is said of a name that cannot be one.
pub(crate) const NAMES: &str =
    "names have 1 to 128 letters, digits, `-`, `_` and `.`, and do not begin with `_`";
/// What is said of a group that cannot be one.
pub(crate) const GROUPS: &str = "groups have 1 to 128 visible ASCII characters and no comma";

/// Names become metric labels, header values and file names.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=128).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('_')
}

/// Groups go to the origin as a list in a header.
pub(crate) fn is_group(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
