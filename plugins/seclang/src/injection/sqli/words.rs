//! Words of SQL and fingerprints of injections.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    sync::LazyLock,
};

/// The longest token that is looked at.
pub(super) const LONGEST: usize = 31;

/// FNV-1a: keys are short, and their text is fixed.
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

type Hash = BuildHasherDefault<Fnv>;

static WORDS: LazyLock<HashMap<&'static [u8], u8, Hash>> = LazyLock::new(|| {
    let mut words = HashMap::default();
    for line in include_str!("../../../data/sqli_words.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut parts = line.split('\t');
        let kind = parts.next().and_then(|kind| kind.bytes().next()).unwrap_or(0);
        words.extend(parts.map(|word| (word.as_bytes(), kind)));
    }
    words
});

static FINGERPRINTS: LazyLock<HashSet<u64, Hash>> = LazyLock::new(|| {
    let text = include_str!("../../../data/sqli_fingerprints.txt");
    let lines = text.lines().filter(|line| !line.starts_with("# "));
    lines.flat_map(str::split_whitespace).map(|fingerprint| key(fingerprint.as_bytes())).collect()
});

fn key(fingerprint: &[u8]) -> u64 {
    fingerprint.iter().take(8).fold(0, |key, kind| key << 8 | u64::from(kind.to_ascii_uppercase()))
}

/// Builds the tables, so that no request has to.
pub(crate) fn warm() {
    LazyLock::force(&WORDS);
    LazyLock::force(&FINGERPRINTS);
}

/// The type of a word in any case, with its text.
pub(super) fn find(word: &[u8]) -> Option<(u8, &'static [u8])> {
    let mut upper = [0u8; LONGEST + 1];
    let key = upper.get_mut(..word.len())?;
    key.copy_from_slice(word);
    key.make_ascii_uppercase();
    WORDS.get_key_value(&*key).map(|(text, kind)| (*kind, *text))
}

/// The type of two words with a space between them.
pub(super) fn find_pair(first: &[u8], second: &[u8]) -> Option<(u8, &'static [u8])> {
    let length = first.len() + 1 + second.len();
    let mut joined = [0u8; LONGEST + 1];
    if length > LONGEST {
        return None;
    }
    let (head, rest) = joined.split_at_mut_checked(first.len())?;
    head.copy_from_slice(first);
    let (space, rest) = rest.split_first_mut()?;
    *space = b' ';
    rest.get_mut(..second.len())?.copy_from_slice(second);
    find(joined.get(..length)?)
}

/// Whether types of tokens are those of an injection.
pub(super) fn is_fingerprint(types: &[u8]) -> bool {
    !types.is_empty() && FINGERPRINTS.contains(&key(types))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_types() {
        assert_eq!(find(b"select").map(|(kind, _)| kind), Some(b'E'));
        assert_eq!(find(b"||").map(|(kind, _)| kind), Some(b'&'));
        assert_eq!(find_pair(b"union", b"ALL"), Some((b'U', b"UNION ALL".as_slice())));
        assert_eq!(find(b"nothing"), None);
        assert_eq!(find(&[b'a'; 99]), None);
        assert!(is_fingerprint(b"s&sos") && is_fingerprint(b"1UEn") && !is_fingerprint(b"n"));
    }
}
