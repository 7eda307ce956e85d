//! Words in text.

use crate::bytes::at;

/// Whether `word` is in `text` with nothing of a word beside it.
pub(super) fn contains(text: &[u8], word: &[u8]) -> bool {
    if word.is_empty() {
        return true;
    }
    let of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut from = 0;
    while let Some(found) = memchr::memmem::find(crate::bytes::tail(text, from), word) {
        let start = from + found;
        let end = start + word.len();
        let free_before = start == 0 || !of_word(at(text, start - 1));
        let free_after = end == text.len() || !of_word(at(text, end));
        if free_before && free_after {
            return true;
        }
        from = start + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let table: [(&[u8], &[u8], bool); 6] = [
            (b"x or y", b"or", true),
            (b"for", b"or", false),
            (b"or", b"or", true),
            (b"ore or", b"or", true),
            (b"", b"or", false),
            (b"x", b"", true),
        ];
        for (text, word, found) in table {
            assert_eq!(contains(text, word), found, "{}", text.escape_ascii());
        }
    }
}
