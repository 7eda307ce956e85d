//! UTF-8 as `%uHHHH`, and mappings of code pages.

use crate::bytes::at;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

/// What a code page makes of code units, as `SecUnicodeMapFile` gives it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mapping {
    codes: HashMap<u16, u8>,
}

impl Mapping {
    /// Reads the section of one code page: a line with its number, then `unit:byte` pairs in hexadecimal digits.
    pub(crate) fn parse(text: &str, page: u32) -> Option<Self> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let number = |line: &str| line.split_whitespace().next().and_then(|word| word.parse::<u32>().ok());
        lines.find(|line| !line.contains(':') && number(line) == Some(page))?;
        let pairs = lines.find(|line| !line.is_empty())?;
        let pair = |pair: &str| {
            let (unit, byte) = pair.split_once(':')?;
            Some((u16::from_str_radix(unit, 16).ok()?, u8::from_str_radix(byte, 16).ok()?))
        };
        Some(Self { codes: pairs.split_whitespace().filter_map(pair).collect() })
    }

    /// The best fit of US-ASCII, which holds where no directive names another.
    pub(crate) fn best_fit() -> Arc<Self> {
        static BEST_FIT: LazyLock<Arc<Mapping>> = LazyLock::new(|| {
            Arc::new(
                Mapping::parse(include_str!("../../data/best_fit_ascii.mapping"), 20127).unwrap_or_default(),
            )
        });
        BEST_FIT.clone()
    }

    pub(crate) fn get(&self, unit: u16) -> Option<u8> {
        self.codes.get(&unit).copied()
    }
}

/// Writes each well-formed sequence of two to four bytes as `%u` and at least four digits, and copies the rest.
pub(super) fn utf8_to_unicode(value: &[u8], out: &mut Vec<u8>) {
    let mut place = 0;
    while let Some(byte) = value.get(place) {
        let next = |offset: usize| {
            let byte = at(value, place + offset);
            (byte & 0xc0 == 0x80).then_some(u32::from(byte & 0x3f))
        };
        let two = |lead: u32| Some(lead << 6 | next(1)?);
        let three = |lead: u32| Some(lead << 12 | next(1)? << 6 | next(2)?);
        let four = |lead: u32| Some(lead << 18 | next(1)? << 12 | next(2)? << 6 | next(3)?);
        let (code, length) = match byte {
            0xc0..=0xdf => (two(u32::from(byte & 0x1f)), 2),
            0xe0..=0xef => (three(u32::from(byte & 0x0f)), 3),
            0xf0..=0xf7 => (four(u32::from(byte & 0x07)), 4),
            _ => (None, 1),
        };
        match code {
            Some(code) => {
                out.extend_from_slice(b"%u");
                let digits = if code > 0xf_ffff {
                    6
                } else if code > 0xffff {
                    5
                } else {
                    4
                };
                for digit in (0..digits).rev() {
                    out.push(at(b"0123456789abcdef", (code >> (4 * digit) & 15) as usize));
                }
                place += length;
            }
            None => {
                out.push(*byte);
                place += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transform::tests::check;

    #[test]
    fn sequences() {
        check(
            "utf8toUnicode",
            &[
                (b"a\xc3\xa9", b"a%u00e9"),
                ("\u{20ac}".as_bytes(), b"%u20ac"),
                ("\u{1f600}".as_bytes(), b"%u1f600"),
                (b"\xc3", b"\xc3"),
                (b"\xff\xe2\x82", b"\xff\xe2\x82"),
                (b"\xc0\xbc", b"%u003c"),
            ],
        );
    }

    #[test]
    fn a_code_page_is_found() {
        let text = "# comment\n\n437 (OEM)\n00a1:21\n\n20127 (US-ASCII)\n00c0:41 ff1c:3c\n";
        let mapping = Mapping::parse(text, 20127).unwrap();
        assert_eq!((mapping.get(0xc0), mapping.get(0xff1c), mapping.get(1)), (Some(0x41), Some(0x3c), None));
        assert!(Mapping::parse(text, 1).is_none());
        assert_eq!(
            (Mapping::best_fit().get(0x2019), Mapping::best_fit().get(0xff1c)),
            (Some(b'\''), Some(b'<'))
        );
    }
}
