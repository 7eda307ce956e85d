//! Tokens of SQL, in the dialects that differ.

mod quoted;

use super::{
    kind,
    words::{self, LONGEST},
};
use crate::bytes::{at, cut, tail};

/// In what a value is thought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    None,
    Single,
    Double,
}

/// A token. Its text is that of the value, or of the table of words.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Token<'a> {
    pub(super) kind: u8,
    pub(super) text: &'a [u8],
    /// The quotes of a string; zero where there are none.
    pub(super) open: u8,
    pub(super) close: u8,
}

impl Token<'_> {
    pub(super) fn is_unary(&self) -> bool {
        self.kind == kind::OPERATOR
            && (matches!(self.text, b"+" | b"-" | b"!" | b"~" | b"!!")
                || self.text.eq_ignore_ascii_case(b"NOT"))
    }

    pub(super) fn is_arithmetic(&self) -> bool {
        self.kind == kind::OPERATOR && matches!(self.text, b"*" | b"/" | b"-" | b"+" | b"%")
    }

    pub(super) fn is_one_of(&self, words: &[&[u8]]) -> bool {
        words.iter().any(|word| word.eq_ignore_ascii_case(self.text))
    }
}

/// What was met on the way.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) tokens: usize,
    /// `--` that is a comment in one dialect alone.
    pub(super) dashes: bool,
    /// `#`, which is a comment in one dialect alone.
    pub(super) hashes: bool,
}

pub(super) struct Tokens<'a> {
    value: &'a [u8],
    place: usize,
    quote: Quote,
    mysql: bool,
    pub(super) seen: Seen,
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' | 0xa0 | 0)
}

/// Whether a byte ends a word.
fn ends_word(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'['
            | b']'
            | b'{'
            | b'}'
            | b'<'
            | b'>'
            | b':'
            | b'\\'
            | b'?'
            | b'='
            | b'@'
            | b'!'
            | b'#'
            | b'~'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'&'
            | b'|'
            | b'^'
            | b'%'
            | b'('
            | b')'
            | b','
            | b'\''
            | b';'
            | b'\t'
            | b'\n'
            | 0x0b
            | 0x0c
            | b'\r'
            | b'"'
            | 0xa0
            | 0
    )
}

fn ends_variable(byte: u8) -> bool {
    byte == b'`' || (ends_word(byte) && !matches!(byte, b'[' | b']' | b'{' | b'}' | 0xa0))
}

fn span(text: &[u8], accept: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !accept(*byte)).unwrap_or(text.len())
}

impl<'a> Tokens<'a> {
    pub(super) fn new(value: &'a [u8], quote: Quote, mysql: bool) -> Self {
        Self { value, place: 0, quote, mysql, seen: Seen::default() }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let simulated = match self.quote {
            Quote::None => None,
            Quote::Single => Some(b'\''),
            Quote::Double => Some(b'"'),
        };
        let token = match simulated.filter(|_| self.place == 0) {
            Some(quote) => self.string(quote, 0),
            None => {
                self.place +=
                    span(tail(self.value, self.place), |byte| byte <= 32 || byte == 127 || byte == 0xa0);
                let first = *self.value.get(self.place)?;
                self.read(first)
            }
        };
        self.seen.tokens += 1;
        Some(token)
    }

    fn read(&mut self, first: u8) -> Token<'a> {
        let rest = tail(self.value, self.place);
        match first {
            b'"' | b'\'' => self.string(first, 1),
            b'#' => self.hash(),
            b'$' => self.money(),
            b'%' | b'+' | b'^' | b'~' => self.take(kind::OPERATOR, 1),
            b'!' | b'&' | b'*' | b':' | b'<' | b'=' | b'>' | b'|' => self.operator(),
            b'(' | b')' | b',' | b';' | b'{' | b'}' => self.take(first, 1),
            b'-' => self.dash(),
            b'.' | b'0'..=b'9' => self.number(),
            b'/' => self.slash(),
            b'?' | b']' => self.take(kind::UNKNOWN, 1),
            b'@' => self.variable(),
            b'[' => {
                let length = memchr::memchr(b']', rest).map_or(rest.len(), |end| end + 1);
                self.take(kind::BAREWORD, length)
            }
            b'\\' if at(rest, 1) == b'N' => self.take(kind::NUMBER, 2),
            b'\\' => self.take(kind::BACKSLASH, 1),
            b'`' => self.tick(),
            b'b' | b'B' => self.literal(|byte| matches!(byte, b'0' | b'1' | 0)),
            b'x' | b'X' => self.literal(|byte| byte.is_ascii_hexdigit() || byte == 0),
            b'e' | b'E' => self.escaped_string(),
            b'n' | b'N' if rest.len() > 2 && at(rest, 1) == b'\'' => self.escaped_string(),
            b'n' | b'N' => self.oracle_string(1),
            b'q' | b'Q' => self.oracle_string(0),
            b'u' | b'U' if rest.len() > 2 && at(rest, 1) == b'&' && at(rest, 2) == b'\'' => {
                self.place += 2;
                let token = self.string(b'\'', 1);
                let close = if token.close == b'\'' { b'u' } else { token.close };
                Token { open: b'u', close, ..token }
            }
            _ => self.word(),
        }
    }

    /// A token of the next bytes.
    fn take(&mut self, kind: u8, length: usize) -> Token<'a> {
        let text = cut(self.value, self.place, self.place + length);
        self.place += length;
        Token { kind, text: cut(text, 0, LONGEST), open: 0, close: 0 }
    }

    fn line_comment(&mut self) -> Token<'a> {
        let rest = tail(self.value, self.place);
        match memchr::memchr(b'\n', rest) {
            Some(end) => {
                let token = self.take(kind::COMMENT, end);
                self.place += 1;
                token
            }
            None => self.take(kind::COMMENT, rest.len()),
        }
    }

    fn hash(&mut self) -> Token<'a> {
        self.seen.hashes = true;
        if self.mysql { self.line_comment() } else { self.take(kind::OPERATOR, 1) }
    }

    fn dash(&mut self) -> Token<'a> {
        let rest = tail(self.value, self.place);
        if at(rest, 1) != b'-' {
            return self.take(kind::OPERATOR, 1);
        }
        if rest.len() == 2 || is_white(at(rest, 2)) {
            return self.line_comment();
        }
        if self.mysql {
            return self.take(kind::OPERATOR, 1);
        }
        self.seen.dashes = true;
        self.line_comment()
    }

    fn slash(&mut self) -> Token<'a> {
        let rest = tail(self.value, self.place);
        if at(rest, 1) != b'*' {
            return self.take(kind::OPERATOR, 1);
        }
        let inside = tail(rest, 2);
        let end = memchr::memmem::find(inside, b"*/");
        let length = end.map_or(rest.len(), |end| end + 4);
        let nested = end.is_some_and(|end| memchr::memmem::find(cut(inside, 0, end + 1), b"/*").is_some());
        let evil = nested || at(rest, 2) == b'!';
        self.take(if evil { kind::EVIL } else { kind::COMMENT }, length)
    }

    fn operator(&mut self) -> Token<'a> {
        let rest = tail(self.value, self.place);
        if rest.len() > 2 && rest.starts_with(b"<=>") {
            return self.take(kind::OPERATOR, 3);
        }
        if rest.len() > 1 {
            if let Some((kind, _)) = words::find(cut(rest, 0, 2)) {
                return self.take(kind, 2);
            }
            if at(rest, 0) == b':' {
                return self.take(kind::COLON, 1);
            }
        }
        self.take(kind::OPERATOR, 1)
    }

    /// `b'01'` or `x'0f'`.
    fn literal(&mut self, accept: fn(u8) -> bool) -> Token<'a> {
        let rest = tail(self.value, self.place);
        if rest.len() > 2 && at(rest, 1) == b'\'' {
            let length = span(tail(rest, 2), accept);
            if rest.len() > 2 + length && at(rest, 2 + length) == b'\'' {
                return self.take(kind::NUMBER, length + 3);
            }
        }
        self.word()
    }

    fn word(&mut self) -> Token<'a> {
        let rest = tail(self.value, self.place);
        let length = span(rest, |byte| !ends_word(byte));
        let text = cut(rest, 0, length);
        let short = cut(text, 0, LONGEST);
        for (end, byte) in short.iter().enumerate() {
            if matches!(byte, b'.' | b'`')
                && let Some((kind, _)) = words::find(cut(short, 0, end))
                && kind != kind::BAREWORD
            {
                return self.take(kind, end);
            }
        }
        let kind = match words::find(text) {
            Some((kind, _)) if length <= LONGEST => kind,
            _ => kind::BAREWORD,
        };
        self.take(kind, length.max(1))
    }

    fn tick(&mut self) -> Token<'a> {
        let token = self.string(b'`', 1);
        let is_function = words::find(token.text).is_some_and(|(kind, _)| kind == kind::FUNCTION);
        Token { kind: if is_function { kind::FUNCTION } else { kind::BAREWORD }, ..token }
    }

    fn variable(&mut self) -> Token<'a> {
        self.place += if at(self.value, self.place + 1) == b'@' { 2 } else { 1 };
        match at(self.value, self.place) {
            b'`' => Token { kind: kind::VARIABLE, ..self.tick() },
            quote @ (b'\'' | b'"') => Token { kind: kind::VARIABLE, ..self.string(quote, 1) },
            _ => {
                let length = span(tail(self.value, self.place), |byte| !ends_variable(byte));
                self.take(kind::VARIABLE, length)
            }
        }
    }

    fn money(&mut self) -> Token<'a> {
        let rest = tail(self.value, self.place);
        let length = span(tail(rest, 1), |byte| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | 0));
        if rest.len() == 1 {
            return self.take(kind::BAREWORD, 1);
        }
        if length == 1 && at(rest, 1) == b'.' {
            return self.word();
        }
        if length > 0 {
            return self.take(kind::NUMBER, length + 1);
        }
        // `$$…$$` or `$tag$…$tag$`.
        let tag = span(tail(rest, 1), |byte| byte.is_ascii_alphabetic() || byte == 0) + 2;
        if at(rest, tag - 1) != b'$' {
            return self.take(kind::BAREWORD, 1);
        }
        let text = tail(rest, tag);
        let (length, consumed, close) = match memchr::memmem::find(text, cut(rest, 0, tag)) {
            Some(end) => (end, end + tag, b'$'),
            None => (text.len(), text.len(), 0),
        };
        self.place += tag + consumed;
        Token { kind: kind::STRING, text: cut(text, 0, length.min(LONGEST)), open: b'$', close }
    }

    fn number(&mut self) -> Token<'a> {
        let rest = tail(self.value, self.place);
        if at(rest, 0) == b'0' && matches!(at(rest, 1) | 0x20, b'x' | b'b') {
            let digits = if at(rest, 1) | 0x20 == b'x' {
                span(tail(rest, 2), |byte| byte.is_ascii_hexdigit() || byte == 0)
            } else {
                span(tail(rest, 2), |byte| matches!(byte, b'0' | b'1' | 0))
            };
            return self.take(if digits == 0 { kind::BAREWORD } else { kind::NUMBER }, digits + 2);
        }
        let digits = |from: usize| span(tail(rest, from), |byte| byte.is_ascii_digit());
        let mut length = digits(0);
        if at(rest, length) == b'.' {
            length += 1;
            length += digits(length);
            if length == 1 {
                return self.take(kind::DOT, 1);
            }
        }
        let mut exponent_missing = false;
        if at(rest, length) | 0x20 == b'e' {
            length += 1;
            if matches!(at(rest, length), b'+' | b'-') {
                length += 1;
            }
            let count = digits(length);
            exponent_missing = count == 0;
            length += count;
        }
        // Oracle's suffixes, and `1fUNION`.
        if matches!(at(rest, length) | 0x20, b'd' | b'f') {
            let next = at(rest, length + 1);
            if length + 1 == rest.len() || is_white(next) || next == b';' || next | 0x20 == b'u' {
                length += 1;
            }
        }
        self.take(if exponent_missing { kind::BAREWORD } else { kind::NUMBER }, length)
    }
}

#[cfg(test)]
mod tests;
