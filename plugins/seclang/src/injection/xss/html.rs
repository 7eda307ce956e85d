//! Tokens of HTML as browsers read it, kind or not.

use crate::bytes::{at, cut, tail};

/// Where a value would stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    Data,
    NoQuote,
    SingleQuote,
    DoubleQuote,
    BackQuote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Doctype,
    TagOpen,
    AttributeName,
    AttributeValue,
    Comment,
    Other,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum State {
    End,
    Data,
    TagOpen,
    TagNameClose,
    SelfClosing,
    BeforeName,
    AfterName,
    BeforeValue,
    Quoted(u8),
    AfterQuoted,
}

pub(super) struct Tokens<'a> {
    text: &'a [u8],
    place: usize,
    state: State,
    closing: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a [u8], context: Context) -> Self {
        let state = match context {
            Context::Data => State::Data,
            Context::NoQuote => State::BeforeName,
            Context::SingleQuote => State::Quoted(b'\''),
            Context::DoubleQuote => State::Quoted(b'"'),
            Context::BackQuote => State::Quoted(b'`'),
        };
        Self { text, place: 0, state, closing: false }
    }

    /// A token up to `end`; the next begins at `next`.
    fn token(&mut self, kind: Kind, end: usize, next: usize, state: State) -> Option<Token<'a>> {
        let text = cut(self.text, self.place, end);
        self.place = next;
        self.state = state;
        Some(Token { kind, text })
    }

    fn rest_as(&mut self, kind: Kind) -> Option<Token<'a>> {
        let end = self.text.len();
        self.token(kind, end, end, State::End)
    }

    fn seek(&self, byte: u8) -> Option<usize> {
        memchr::memchr(byte, tail(self.text, self.place)).map(|at| self.place + at)
    }

    /// The byte at the place, unless the text ends there.
    fn here(&self) -> Option<u8> {
        self.text.get(self.place).copied()
    }

    fn skip_white(&mut self) -> Option<u8> {
        while let Some(byte) = self.here() {
            if !matches!(byte, 0 | b' ' | 0x09..=0x0d) {
                return Some(byte);
            }
            self.place += 1;
        }
        None
    }

    fn data(&mut self) -> Option<Token<'a>> {
        match self.seek(b'<') {
            None if self.place >= self.text.len() => None,
            None => self.rest_as(Kind::Other),
            Some(mark) if mark == self.place => {
                self.place += 1;
                self.tag_open()
            }
            Some(mark) => self.token(Kind::Other, mark, mark + 1, State::TagOpen),
        }
    }

    fn tag_open(&mut self) -> Option<Token<'a>> {
        match self.here()? {
            b'!' => {
                self.place += 1;
                self.markup()
            }
            b'/' => {
                self.place += 1;
                self.closing = true;
                match self.here()? {
                    b'>' => self.data(),
                    byte if byte.is_ascii_alphabetic() => self.tag_name(),
                    _ => {
                        self.closing = false;
                        self.bogus_comment()
                    }
                }
            }
            b'?' => {
                self.place += 1;
                self.bogus_comment()
            }
            b'%' => {
                self.place += 1;
                let end = memchr::memmem::find(tail(self.text, self.place), b"%>").map(|at| self.place + at);
                match end {
                    Some(end) => self.token(Kind::Comment, end, end + 2, State::Data),
                    None => self.rest_as(Kind::Comment),
                }
            }
            byte if byte.is_ascii_alphabetic() || byte == 0 => self.tag_name(),
            _ => {
                self.place -= 1;
                let next = self.place + 1;
                self.token(Kind::Other, next, next, State::Data)
            }
        }
    }

    fn tag_name(&mut self) -> Option<Token<'a>> {
        let name = tail(self.text, self.place);
        let Some(length) = name.iter().position(|byte| matches!(byte, b' ' | 0x09..=0x0d | b'/' | b'>'))
        else {
            return self.rest_as(Kind::TagOpen);
        };
        let end = self.place + length;
        match at(name, length) {
            b'/' => self.token(Kind::TagOpen, end, end + 1, State::SelfClosing),
            b'>' if self.closing => {
                self.closing = false;
                self.token(Kind::Other, end, end + 1, State::Data)
            }
            b'>' => self.token(Kind::TagOpen, end, end, State::TagNameClose),
            _ => self.token(Kind::TagOpen, end, end + 1, State::BeforeName),
        }
    }

    fn tag_name_close(&mut self) -> Option<Token<'a>> {
        self.closing = false;
        let next = self.place + 1;
        let state = if next < self.text.len() { State::Data } else { State::End };
        self.token(Kind::Other, next, next, state)
    }

    /// Before a name; a loop stands where libinjection recurses, as `////…` would overflow a stack.
    fn before_name(&mut self) -> Option<Token<'a>> {
        loop {
            match self.skip_white()? {
                b'/' => {
                    self.place += 1;
                    if self.here()? == b'>' {
                        let next = self.place + 1;
                        return self.token(Kind::Other, next, next, State::Data);
                    }
                }
                b'>' => {
                    let next = self.place + 1;
                    return self.token(Kind::Other, next, next, State::Data);
                }
                _ => return self.attribute_name(),
            }
        }
    }

    fn self_closing(&mut self) -> Option<Token<'a>> {
        if self.here()? == b'>' {
            let next = self.place + 1;
            return self.token(Kind::Other, next, next, State::Data);
        }
        self.before_name()
    }

    fn attribute_name(&mut self) -> Option<Token<'a>> {
        let rest = tail(self.text, self.place + 1);
        let stop = |byte: &u8| matches!(byte, 0 | b' ' | 0x09..=0x0d | b'/' | b'=' | b'>');
        let Some(length) = rest.iter().position(stop) else { return self.rest_as(Kind::AttributeName) };
        let end = self.place + 1 + length;
        let (next, state) = match at(rest, length) {
            b'/' => (end + 1, State::SelfClosing),
            b'=' => (end + 1, State::BeforeValue),
            b'>' => (end, State::TagNameClose),
            _ => (end + 1, State::AfterName),
        };
        self.token(Kind::AttributeName, end, next, state)
    }

    fn after_name(&mut self) -> Option<Token<'a>> {
        match self.skip_white()? {
            b'/' => {
                self.place += 1;
                self.self_closing()
            }
            b'=' => {
                self.place += 1;
                self.before_value()
            }
            b'>' => self.tag_name_close(),
            _ => self.attribute_name(),
        }
    }

    fn before_value(&mut self) -> Option<Token<'a>> {
        match self.skip_white()? {
            quote @ (b'"' | b'\'' | b'`') => self.quoted(quote),
            _ => self.no_quote_value(),
        }
    }

    fn quoted(&mut self, quote: u8) -> Option<Token<'a>> {
        // At the very start the quote is thought to be before the value.
        if self.place > 0 {
            self.place += 1;
        }
        match self.seek(quote) {
            Some(end) => self.token(Kind::AttributeValue, end, end + 1, State::AfterQuoted),
            None => self.rest_as(Kind::AttributeValue),
        }
    }

    fn no_quote_value(&mut self) -> Option<Token<'a>> {
        let rest = tail(self.text, self.place);
        match rest.iter().position(|byte| matches!(byte, 0 | b' ' | 0x09..=0x0d | b'>')) {
            None => self.rest_as(Kind::AttributeValue),
            Some(length) => {
                let end = self.place + length;
                if at(rest, length) == b'>' {
                    self.token(Kind::AttributeValue, end, end, State::TagNameClose)
                } else {
                    self.token(Kind::AttributeValue, end, end + 1, State::BeforeName)
                }
            }
        }
    }

    fn after_quoted(&mut self) -> Option<Token<'a>> {
        match self.here()? {
            b'/' => {
                self.place += 1;
                self.self_closing()
            }
            b'>' => {
                let next = self.place + 1;
                self.token(Kind::Other, next, next, State::Data)
            }
            _ => self.before_name(),
        }
    }

    fn bogus_comment(&mut self) -> Option<Token<'a>> {
        match self.seek(b'>') {
            Some(end) => self.token(Kind::Comment, end, end + 1, State::Data),
            None => self.rest_as(Kind::Comment),
        }
    }

    fn markup(&mut self) -> Option<Token<'a>> {
        let rest = tail(self.text, self.place);
        if cut(rest, 0, 7).eq_ignore_ascii_case(b"DOCTYPE") {
            return match self.seek(b'>') {
                Some(end) => self.token(Kind::Doctype, end, end + 1, State::Data),
                None => self.rest_as(Kind::Doctype),
            };
        }
        if rest.starts_with(b"[CDATA[") {
            self.place += 7;
            return match memchr::memmem::find(tail(self.text, self.place), b"]]>").map(|at| self.place + at) {
                Some(end) => self.token(Kind::Other, end, end + 3, State::Data),
                None => self.rest_as(Kind::Other),
            };
        }
        if rest.starts_with(b"--") {
            self.place += 2;
            return self.comment();
        }
        self.bogus_comment()
    }

    /// A comment ends in `-->` or `-!>`, NULs after the first dash aside.
    fn comment(&mut self) -> Option<Token<'a>> {
        for found in memchr::memchr_iter(b'-', tail(self.text, self.place)) {
            let mark = self.place + found;
            if mark + 3 > self.text.len() {
                break;
            }
            let nulls = tail(self.text, mark + 1).iter().take_while(|byte| **byte == 0).count();
            let second = mark + 1 + nulls;
            if matches!(at(self.text, second), b'-' | b'!') && at(self.text, second + 1) == b'>' {
                return self.token(Kind::Comment, mark, second + 2, State::Data);
            }
        }
        self.rest_as(Kind::Comment)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        match self.state {
            State::End => None,
            State::Data => self.data(),
            State::TagOpen => self.tag_open(),
            State::TagNameClose => self.tag_name_close(),
            State::SelfClosing => self.self_closing(),
            State::BeforeName => self.before_name(),
            State::AfterName => self.after_name(),
            State::BeforeValue => self.before_value(),
            State::Quoted(quote) => self.quoted(quote),
            State::AfterQuoted => self.after_quoted(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_moves_on() {
        let marks = b"<>/!-=\"'`%?a \0[";
        for number in 0..15usize.pow(4) {
            let value: Vec<u8> = (0..4).map(|place| marks[number / 15usize.pow(place) % 15]).collect();
            for context in [
                Context::Data,
                Context::NoQuote,
                Context::SingleQuote,
                Context::DoubleQuote,
                Context::BackQuote,
            ] {
                assert!(Tokens::new(&value, context).take(20).count() < 20, "{}", value.escape_ascii());
            }
        }
    }

    #[test]
    fn comments_with_many_nulls_take_linear_time() {
        let mut value = b"<!--".to_vec();
        value.extend(b"-\0".repeat(200_000));
        assert_eq!(Tokens::new(&value, Context::Data).count(), 1);
    }
}
