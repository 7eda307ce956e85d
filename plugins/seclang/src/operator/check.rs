//! Checks of bytes and encodings.

use crate::bytes::{at, hex_pair};

/// The bytes that are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByteRange {
    allowed: [bool; 256],
}

impl ByteRange {
    /// Reads numbers and ranges, such as `32-126,9`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut allowed = [false; 256];
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u8>().map_err(|_| part.to_string());
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(part.to_string());
            }
            for byte in first..=last {
                if let Some(slot) = allowed.get_mut(usize::from(byte)) {
                    *slot = true;
                }
            }
        }
        Ok(Self { allowed })
    }

    pub(crate) fn allows(&self, byte: u8) -> bool {
        self.allowed.get(usize::from(byte)).copied().unwrap_or(false)
    }

    /// Whether all bytes but NUL are allowed.
    pub(crate) fn only_nul(&self) -> bool {
        !self.allows(0) && (1..=255).all(|byte| self.allows(byte))
    }

    /// Whether a value has a byte that is not allowed.
    pub(crate) fn violated(&self, value: &[u8]) -> bool {
        value.iter().any(|byte| !self.allows(*byte))
    }
}

pub(super) fn bad_url_encoding(value: &[u8]) -> bool {
    memchr::memchr_iter(b'%', value)
        .any(|place| hex_pair(at(value, place + 1), at(value, place + 2)).is_none())
}

pub(super) fn bad_utf8(value: &[u8]) -> bool {
    // Surrogates, overlong forms and what is above U+10FFFF are errors to both.
    std::str::from_utf8(value).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_encodings() {
        let range = ByteRange::parse("9,10,13,32-126").unwrap();
        assert!(!range.violated(b"plain\ttext\r\n"));
        assert!(range.violated(b"caf\xc3\xa9"));
        assert_eq!(ByteRange::parse("1-300").unwrap_err(), "1-300");
        assert_eq!(ByteRange::parse("9-3").unwrap_err(), "9-3");
        assert!(ByteRange::parse("1-255").unwrap().only_nul());
        assert!(!bad_url_encoding(b"a%20b") && bad_url_encoding(b"%zz") && bad_url_encoding(b"a%2"));
        assert!(!bad_utf8("é".as_bytes()) && bad_utf8(b"\xc0\xaf") && bad_utf8(b"\xed\xa0\x80"));
    }
}
