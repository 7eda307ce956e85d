//! Transformations: what is done to a value before an operator sees it.

mod codec;
mod comments;
mod escape;
mod html;
mod path;
mod space;
mod unicode;
mod url;

pub(crate) use unicode::Mapping;
pub(crate) use url::{decode_form, decode_path};

/// Byte classes of a value: a transformation that has none of its classes in a value leaves it as it is.
pub(crate) mod class {
    /// `%`.
    pub(crate) const PERCENT: u32 = 1;
    /// `+`.
    pub(crate) const PLUS: u32 = 1 << 1;
    /// `&`.
    pub(crate) const AMPERSAND: u32 = 1 << 2;
    /// `\`.
    pub(crate) const BACKSLASH: u32 = 1 << 3;
    /// NUL.
    pub(crate) const NUL: u32 = 1 << 4;
    /// A byte of 0x80 and above.
    pub(crate) const HIGH: u32 = 1 << 5;
    /// A space.
    pub(crate) const SPACE: u32 = 1 << 6;
    /// White space that is no space.
    pub(crate) const OTHER_SPACE: u32 = 1 << 7;
    /// White space after white space.
    pub(crate) const SPACES: u32 = 1 << 8;
    /// `/`.
    pub(crate) const SLASH: u32 = 1 << 9;
    /// `.`.
    pub(crate) const DOT: u32 = 1 << 10;
    /// `*`.
    pub(crate) const STAR: u32 = 1 << 11;
    /// `-`.
    pub(crate) const DASH: u32 = 1 << 12;
    /// `#`.
    pub(crate) const HASH: u32 = 1 << 13;
    /// A capital letter.
    pub(crate) const UPPER: u32 = 1 << 14;
    /// A small letter.
    pub(crate) const LOWER: u32 = 1 << 15;
    /// A digit.
    pub(crate) const DIGIT: u32 = 1 << 16;
    /// `"` or `'`.
    pub(crate) const QUOTE: u32 = 1 << 17;
    /// `^`, `,`, `;`.
    pub(crate) const SHELL: u32 = 1 << 18;
    /// `(`.
    pub(crate) const PAREN: u32 = 1 << 19;
    /// `<`.
    pub(crate) const LESS: u32 = 1 << 20;
    /// `=`.
    pub(crate) const EQUALS: u32 = 1 << 21;
    /// Any other byte.
    pub(crate) const OTHER: u32 = 1 << 22;
    /// Not of a value: what a transformation says that changes every value, or may change the empty one.
    pub(crate) const ALWAYS: u32 = 1 << 31;

    const fn table() -> [u32; 256] {
        let mut table = [OTHER; 256];
        let mut byte = 0usize;
        while byte < 256 {
            #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, and below 256")]
            {
                table[byte] = match byte as u8 {
                    b'%' => PERCENT,
                    b'+' => PLUS,
                    b'&' => AMPERSAND,
                    b'\\' => BACKSLASH,
                    0 => NUL,
                    0x80..=0xff => HIGH,
                    b' ' => SPACE,
                    b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => OTHER_SPACE,
                    b'/' => SLASH,
                    b'.' => DOT,
                    b'*' => STAR,
                    b'-' => DASH,
                    b'#' => HASH,
                    b'A'..=b'Z' => UPPER,
                    b'a'..=b'z' => LOWER,
                    b'0'..=b'9' => DIGIT,
                    b'"' | b'\'' => QUOTE,
                    b'^' | b',' | b';' => SHELL,
                    b'(' => PAREN,
                    b'<' => LESS,
                    b'=' => EQUALS,
                    _ => OTHER,
                };
            }
            byte += 1;
        }
        table
    }

    static TABLE: [u32; 256] = table();

    /// The classes of a value's bytes, in one pass.
    pub(crate) fn of(value: &[u8]) -> u32 {
        let mut found = 0;
        let mut before = 0;
        for byte in value {
            let class = TABLE.get(usize::from(*byte)).copied().unwrap_or(OTHER);
            found |= class;
            let white = class & (SPACE | OTHER_SPACE);
            if white != 0 && before != 0 {
                found |= SPACES;
            }
            before = white;
        }
        found
    }
}

macro_rules! transformations {
    ($($name:ident $($text:literal)|+;)*) => {
        /// A transformation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Transformation { $($name,)* }

        /// All names, for suggestions.
        pub(crate) const NAMES: &[&str] = &["none", $($($text,)+)*];

        impl Transformation {
            /// The transformation of a name in any case.
            pub(crate) fn find(name: &str) -> Option<Self> {
                $($(if name.eq_ignore_ascii_case($text) { return Some(Self::$name); })+)*
                None
            }

            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

transformations! {
    Base64Decode "base64Decode";
    Base64DecodeExt "base64DecodeExt";
    Base64Encode "base64Encode";
    CmdLine "cmdLine";
    CompressWhitespace "compressWhitespace";
    CssDecode "cssDecode";
    EscapeSeqDecode "escapeSeqDecode";
    HexDecode "hexDecode";
    HexEncode "hexEncode";
    HtmlEntityDecode "htmlEntityDecode";
    JsDecode "jsDecode";
    Length "length";
    Lowercase "lowercase";
    Md5 "md5";
    NormalizePath "normalizePath" | "normalisePath";
    NormalizePathWin "normalizePathWin" | "normalisePathWin";
    ParityEven7bit "parityEven7bit";
    ParityOdd7bit "parityOdd7bit";
    ParityZero7bit "parityZero7bit";
    RemoveComments "removeComments";
    RemoveCommentsChar "removeCommentsChar";
    RemoveNulls "removeNulls";
    RemoveWhitespace "removeWhitespace";
    ReplaceComments "replaceComments";
    ReplaceNulls "replaceNulls";
    Sha1 "sha1";
    SqlHexDecode "sqlHexDecode";
    Trim "trim";
    TrimLeft "trimLeft";
    TrimRight "trimRight";
    Uppercase "uppercase";
    UrlDecode "urlDecode";
    UrlDecodeUni "urlDecodeUni";
    UrlEncode "urlEncode";
    Utf8ToUnicode "utf8toUnicode";
}

impl Transformation {
    /// The classes of which a value must have one for the transformation to change it. A value without them is left as
    /// it is, byte by byte.
    pub(crate) fn needs(self) -> u32 {
        use class::*;
        match self {
            Self::UrlDecode | Self::UrlDecodeUni => PERCENT | PLUS,
            Self::HtmlEntityDecode => AMPERSAND,
            Self::JsDecode | Self::CssDecode | Self::EscapeSeqDecode => BACKSLASH,
            Self::RemoveNulls | Self::ReplaceNulls => NUL,
            Self::Utf8ToUnicode | Self::ParityZero7bit => HIGH,
            Self::RemoveWhitespace => SPACE | OTHER_SPACE | HIGH,
            Self::CompressWhitespace => OTHER_SPACE | SPACES | HIGH,
            Self::Trim | Self::TrimLeft | Self::TrimRight => SPACE | OTHER_SPACE,
            Self::NormalizePath => SLASH | DOT,
            Self::NormalizePathWin => SLASH | DOT | BACKSLASH,
            Self::CmdLine => QUOTE | BACKSLASH | SHELL | OTHER_SPACE | SPACES | UPPER | SLASH | PAREN,
            Self::ReplaceComments => SLASH,
            Self::RemoveComments | Self::RemoveCommentsChar => SLASH | STAR | DASH | HASH | LESS,
            Self::Lowercase => UPPER,
            Self::Uppercase => LOWER,
            Self::SqlHexDecode => DIGIT | NUL,
            _ => ALWAYS,
        }
    }

    /// Writes the transformed value to `out`, which is cleared first.
    pub(crate) fn apply(self, value: &[u8], out: &mut Vec<u8>, mapping: Option<&Mapping>) {
        out.clear();
        match self {
            Self::Base64Decode => codec::base64_decode(value, out),
            Self::Base64DecodeExt => codec::base64_decode_forgiving(value, out),
            Self::Base64Encode => codec::base64_encode(value, out),
            Self::CmdLine => space::cmd_line(value, out),
            Self::CompressWhitespace => space::compress(value, out),
            Self::CssDecode => escape::css(value, out),
            Self::EscapeSeqDecode => escape::ansi_c(value, out),
            Self::HexDecode => codec::hex_decode(value, out),
            Self::HexEncode => codec::hex_encode(value, out),
            Self::HtmlEntityDecode => html::decode(value, out),
            Self::JsDecode => escape::javascript(value, out),
            Self::Length => crate::bytes::push_integer(out, i64::try_from(value.len()).unwrap_or(i64::MAX)),
            Self::Lowercase => out.extend(value.iter().map(u8::to_ascii_lowercase)),
            Self::Md5 => codec::md5(value, out),
            Self::NormalizePath => path::normalize(value, false, out),
            Self::NormalizePathWin => path::normalize(value, true, out),
            Self::ParityEven7bit => codec::parity(value, Some(0), out),
            Self::ParityOdd7bit => codec::parity(value, Some(1), out),
            Self::ParityZero7bit => codec::parity(value, None, out),
            Self::RemoveComments => comments::remove(value, out),
            Self::RemoveCommentsChar => comments::remove_marks(value, out),
            Self::RemoveNulls => out.extend(value.iter().filter(|byte| **byte != 0)),
            Self::RemoveWhitespace => space::remove(value, out),
            Self::ReplaceComments => comments::replace(value, out),
            Self::ReplaceNulls => out.extend(value.iter().map(|byte| if *byte == 0 { b' ' } else { *byte })),
            Self::Sha1 => codec::sha1(value, out),
            Self::SqlHexDecode => codec::sql_hex_decode(value, out),
            Self::Trim => out.extend_from_slice(crate::bytes::trim(value)),
            Self::TrimLeft => out.extend_from_slice(crate::bytes::trim_start(value)),
            Self::TrimRight => out.extend_from_slice(crate::bytes::trim_end(value)),
            Self::Uppercase => out.extend(value.iter().map(u8::to_ascii_uppercase)),
            Self::UrlDecode => url::decode(value, out),
            Self::UrlDecodeUni => url::decode_unicode(value, out, mapping),
            Self::UrlEncode => url::encode(value, out),
            Self::Utf8ToUnicode => unicode::utf8_to_unicode(value, out),
        }
    }
}

/// Two buffers that a chain of transformations writes to in turn.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    front: Vec<u8>,
    back: Vec<u8>,
}

impl Buffers {
    /// Runs all of a chain, one transformation after the other.
    pub(crate) fn run<'a>(
        &'a mut self,
        chain: &[Transformation],
        value: &'a [u8],
        mapping: Option<&Mapping>,
    ) -> &'a [u8] {
        let Some((first, rest)) = chain.split_first() else { return value };
        first.apply(value, &mut self.front, mapping);
        for transformation in rest {
            transformation.apply(&self.front, &mut self.back, mapping);
            std::mem::swap(&mut self.front, &mut self.back);
        }
        &self.front
    }

    /// The same result, without the transformations that leave a value with these classes as it is.
    pub(crate) fn run_needed<'a>(
        &'a mut self,
        chain: &[Transformation],
        value: &'a [u8],
        classes: u32,
        mapping: Option<&Mapping>,
    ) -> &'a [u8] {
        let mut classes = classes | class::ALWAYS;
        let mut changed = false;
        for transformation in chain {
            if transformation.needs() & classes == 0 {
                continue;
            }
            if changed {
                transformation.apply(&self.front, &mut self.back, mapping);
                std::mem::swap(&mut self.front, &mut self.back);
            } else {
                transformation.apply(value, &mut self.front, mapping);
                changed = true;
            }
            classes = class::of(&self.front) | class::ALWAYS;
        }
        if changed { &self.front } else { value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn check(name: &str, table: &[(&[u8], &[u8])]) {
        let transformation = Transformation::find(name).unwrap();
        for (value, expected) in table {
            let mut out = Vec::new();
            transformation.apply(value, &mut out, None);
            assert_eq!(
                out.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{name} of {}",
                value.escape_ascii()
            );
        }
    }

    /// Values made of bytes that mean something to some transformation, the same ones each time.
    fn values() -> Vec<Vec<u8>> {
        let pieces: [&[u8]; 36] = [
            b"a",
            b"B",
            b"7",
            b"%",
            b"%41",
            b"%u0041",
            b"+",
            b"&",
            b"&lt;",
            b"&#65;",
            b"\\",
            b"\\x41",
            b"\\u0041",
            b"\0",
            b"\xc3\xa9",
            b"\xff",
            b" ",
            b"  ",
            b"\t",
            b"\n",
            b"/",
            b"//",
            b".",
            b"..",
            b"/../",
            b"/*",
            b"*/",
            b"--",
            b"#",
            b"\"",
            b"^",
            b";",
            b"(",
            b"0x41",
            b"\xa0",
            b"<!--",
        ];
        let mut state = 7u64;
        let mut values = vec![Vec::new()];
        for length in 1..6 {
            for _ in 0..700 {
                let mut value = Vec::new();
                for _ in 0..length {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    value.extend_from_slice(pieces[(state >> 33) as usize % pieces.len()]);
                }
                values.push(value);
            }
        }
        values
    }

    #[test]
    fn a_transformation_without_its_classes_changes_nothing() {
        for value in values() {
            let classes = class::of(&value);
            for transformation in Transformation::ALL {
                let mut out = Vec::new();
                transformation.apply(&value, &mut out, None);
                if transformation.needs() & (classes | class::ALWAYS) == 0 {
                    assert_eq!(out, value, "{transformation:?} changes {}", value.escape_ascii());
                }
            }
        }
    }

    #[test]
    fn skipping_gives_what_running_all_gives() {
        use Transformation::*;
        let chains: [&[Transformation]; 5] = [
            &[UrlDecodeUni, JsDecode, HtmlEntityDecode, Lowercase],
            &[Utf8ToUnicode, UrlDecodeUni, HtmlEntityDecode, CmdLine],
            &[Base64Decode, Lowercase],
            &[NormalizePathWin, RemoveNulls, CompressWhitespace],
            &[],
        ];
        for value in values() {
            for chain in chains {
                let all = Buffers::default().run(chain, &value, None).to_vec();
                let needed = Buffers::default().run_needed(chain, &value, class::of(&value), None).to_vec();
                assert_eq!(all, needed, "{chain:?} of {}", value.escape_ascii());
            }
        }
    }
}
