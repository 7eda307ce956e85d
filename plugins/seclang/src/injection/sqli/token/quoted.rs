//! Strings in the quotes of several dialects.

use super::{Token, Tokens, kind};
use crate::{
    bytes::{at, cut, tail},
    injection::sqli::words::LONGEST,
};

impl<'a> Tokens<'a> {
    /// A string whose text begins `skip` bytes ahead.
    pub(super) fn string(&mut self, quote: u8, skip: usize) -> Token<'a> {
        let text = tail(self.value, self.place + skip);
        let open = if skip > 0 { quote } else { 0 };
        let mut from = 0;
        while let Some(found) = memchr::memchr(quote, tail(text, from)) {
            let end = from + found;
            let escapes =
                text.get(..end).unwrap_or_default().iter().rev().take_while(|byte| **byte == b'\\').count();
            if escapes % 2 == 1 {
                from = end + 1;
            } else if at(text, end + 1) == quote {
                from = end + 2;
            } else {
                self.place += skip + end + 1;
                return Token {
                    kind: kind::STRING,
                    text: cut(text, 0, end.min(LONGEST)),
                    open,
                    close: quote,
                };
            }
        }
        self.place = self.value.len();
        Token { kind: kind::STRING, text: cut(text, 0, LONGEST), open, close: 0 }
    }

    pub(super) fn escaped_string(&mut self) -> Token<'a> {
        let rest = tail(self.value, self.place);
        if rest.len() <= 2 || at(rest, 1) != b'\'' {
            return self.word();
        }
        self.string(b'\'', 2)
    }

    /// Oracle's `q'[…]'`, after `skip` bytes.
    pub(super) fn oracle_string(&mut self, skip: usize) -> Token<'a> {
        let rest = tail(self.value, self.place + skip);
        let delimiter = at(rest, 2);
        if at(rest, 0) | 0x20 != b'q'
            || rest.len() <= 2
            || at(rest, 1) != b'\''
            || !(33..128).contains(&delimiter)
        {
            return self.word();
        }
        let closing = match delimiter {
            b'(' => b')',
            b'[' => b']',
            b'{' => b'}',
            b'<' => b'>',
            other => other,
        };
        let text = tail(rest, 3);
        let (length, consumed, close) = match memchr::memmem::find(text, &[closing, b'\'']) {
            Some(end) => (end, end + 2, b'q'),
            None => (text.len(), text.len(), 0),
        };
        self.place += skip + 3 + consumed;
        Token { kind: kind::STRING, text: cut(text, 0, length.min(LONGEST)), open: b'q', close }
    }
}
