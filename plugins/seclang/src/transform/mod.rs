//! Transformations: what is done to a value before an operator sees it.

pub(crate) mod class;
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

macro_rules! transformations {
    ($($name:ident $($text:literal)|+;)*) => {
        /// A transformation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
            Self::SqlHexDecode => HEX,
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
        for (transformation, after) in chain.iter().zip(1..) {
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
            if after < chain.len() {
                classes = class::of(&self.front) | class::ALWAYS;
            }
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
