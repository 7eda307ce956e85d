//! The mark between parts, as the content type gives it.

use crate::bytes::tail;

/// How often a text names a boundary.
pub(super) fn count_of_boundary(text: &[u8]) -> usize {
    let lower = text.to_ascii_lowercase();
    memchr::memmem::find_iter(&lower, b"boundary")
        .filter(|place| tail(&lower, place + 8).contains(&b'='))
        .count()
}

/// Whether a boundary may be that.
pub(super) fn valid_boundary(text: &[u8]) -> bool {
    !text.is_empty()
        && text.last() != Some(&b' ')
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b" '()+_,-./:=?".contains(byte))
}
