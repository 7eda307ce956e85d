//! JSON, read once and without recursion; each scalar becomes an argument.

use crate::{
    bytes::{at, hex},
    engine::Store,
    variable::{List, Origin},
};

/// An open object or array.
struct Container {
    /// Where its name ends in the path.
    path: usize,
    /// The number of the next element, of an array.
    array: Option<usize>,
}

/// What is read next.
enum State {
    /// A value; after `[` the array may end instead.
    Value { may_end: bool },
    /// A name; after `{` the object may end instead.
    Name { may_end: bool },
    /// A comma or the end of a container.
    After,
}

/// Adds `json.a.array_0.b` and so on. What was read before an error stays.
pub(super) fn parse(store: &mut Store, text: &[u8], deepest: usize, most: usize) -> Result<(), String> {
    let mut parser = Parser { text, place: 0, path: b"json".to_vec(), open: Vec::new(), key: 4, names: 0 };
    parser.run(store, deepest, most)
}

struct Parser<'a> {
    text: &'a [u8],
    place: usize,
    /// The name of the value that is read.
    path: Vec<u8>,
    open: Vec<Container>,
    /// Where the path of the innermost container ends.
    key: usize,
    /// The lengths of all paths so far.
    names: usize,
}

/// How many times as long as the text all paths together may be.
const NAMES: usize = 16;

impl Parser<'_> {
    fn run(&mut self, store: &mut Store, deepest: usize, most: usize) -> Result<(), String> {
        let mut state = State::Value { may_end: false };
        loop {
            self.skip_space();
            state = match state {
                State::Value { may_end } => match at(self.text, self.place) {
                    b']' if may_end => {
                        self.close();
                        State::After
                    }
                    open @ (b'{' | b'[') => {
                        if self.open.len() >= deepest {
                            return Err("depth limit exceeded".into());
                        }
                        self.place += 1;
                        self.name_element();
                        let array = (open == b'[').then_some(0);
                        self.open.push(Container { path: self.path.len(), array });
                        if open == b'[' {
                            State::Value { may_end: true }
                        } else {
                            State::Name { may_end: true }
                        }
                    }
                    _ => {
                        self.scalar(store, most)?;
                        State::After
                    }
                },
                State::Name { may_end } => match at(self.text, self.place) {
                    b'}' if may_end => {
                        self.close();
                        State::After
                    }
                    b'"' => {
                        self.name()?;
                        State::Value { may_end: false }
                    }
                    _ => return Err(self.error("a name is wanted")),
                },
                State::After => match self.after()? {
                    Some(state) => state,
                    None => return Ok(()),
                },
            };
        }
    }

    /// What comes after a value; `None` at the end of the document.
    fn after(&mut self) -> Result<Option<State>, String> {
        let Some(container) = self.open.last() else {
            return if self.place >= self.text.len() {
                Ok(None)
            } else {
                Err(self.error("trailing garbage"))
            };
        };
        let is_array = container.array.is_some();
        self.path.truncate(container.path);
        match (at(self.text, self.place), is_array) {
            (b',', true) => {
                self.place += 1;
                Ok(Some(State::Value { may_end: false }))
            }
            (b',', false) => {
                self.place += 1;
                Ok(Some(State::Name { may_end: false }))
            }
            (b']', true) | (b'}', false) => {
                self.close();
                Ok(Some(State::After))
            }
            _ => Err(self.error("a comma or the end of a container is wanted")),
        }
    }

    fn close(&mut self) {
        self.place += 1;
        self.open.pop();
        if let Some(container) = self.open.last() {
            self.path.truncate(container.path);
        }
    }

    /// Completes the path of an element of an array with its number.
    fn name_element(&mut self) {
        if let Some(container) = self.open.last_mut()
            && let Some(number) = &mut container.array
        {
            self.path.truncate(container.path);
            self.path.extend_from_slice(b".array_");
            crate::bytes::push_integer(&mut self.path, i64::try_from(*number).unwrap_or(i64::MAX));
            *number += 1;
        }
        self.key = self.path.len();
    }

    /// Reads `"name":`.
    fn name(&mut self) -> Result<(), String> {
        let start = self.open.last().map_or(4, |container| container.path);
        self.path.truncate(start);
        self.path.push(b'.');
        let mut path = std::mem::take(&mut self.path);
        let result = self.string(&mut path);
        self.path = path;
        result?;
        if self.path.len() == start + 1 {
            self.path.extend_from_slice(b"empty-key");
        }
        self.skip_space();
        if at(self.text, self.place) != b':' {
            return Err(self.error("`:` is wanted"));
        }
        self.place += 1;
        Ok(())
    }

    fn scalar(&mut self, store: &mut Store, most: usize) -> Result<(), String> {
        self.name_element();
        // A long name above many values is written for each of them.
        self.names += self.path.len();
        if self.names > self.text.len() * NAMES + (1 << 16) {
            return Err("the names are too long".into());
        }
        let name = store.keep(&self.path);
        let from = store.buffer.len();
        match at(self.text, self.place) {
            b'"' => {
                let mut buffer = std::mem::take(&mut store.buffer);
                let result = self.string(&mut buffer);
                store.buffer = buffer;
                result?;
            }
            b't' => self.word(b"true", b"true", store)?,
            b'f' => self.word(b"false", b"false", store)?,
            b'n' => self.word(b"null", b"", store)?,
            b'-' | b'0'..=b'9' => self.number(store)?,
            _ => return Err(self.error("a value is wanted")),
        }
        if store.list(List::Args).len() >= most {
            return Err("too many arguments".into());
        }
        let value = crate::bytes::Span::new(from..store.buffer.len());
        store.add(List::Args, name, value, Origin::Any);
        Ok(())
    }

    fn word(&mut self, word: &[u8], value: &[u8], store: &mut Store) -> Result<(), String> {
        if !crate::bytes::tail(self.text, self.place).starts_with(word) {
            return Err(self.error("a value is wanted"));
        }
        self.place += word.len();
        store.keep(value);
        Ok(())
    }

    fn number(&mut self, store: &mut Store) -> Result<(), String> {
        let start = self.place;
        let digits = |parser: &mut Self| {
            let from = parser.place;
            while at(parser.text, parser.place).is_ascii_digit() {
                parser.place += 1;
            }
            parser.place > from
        };
        if at(self.text, self.place) == b'-' {
            self.place += 1;
        }
        let zero = at(self.text, self.place) == b'0';
        if zero {
            self.place += 1;
        } else if !digits(self) {
            return Err(self.error("a digit is wanted"));
        }
        if at(self.text, self.place) == b'.' {
            self.place += 1;
            if !digits(self) {
                return Err(self.error("a digit is wanted"));
            }
        }
        if at(self.text, self.place) | 0x20 == b'e' {
            self.place += 1;
            if matches!(at(self.text, self.place), b'+' | b'-') {
                self.place += 1;
            }
            if !digits(self) {
                return Err(self.error("a digit is wanted"));
            }
        }
        store.keep(crate::bytes::cut(self.text, start, self.place));
        Ok(())
    }

    /// Appends a string's text, without its quotes and escapes.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.place += 1;
        let start = out.len();
        loop {
            let rest = crate::bytes::tail(self.text, self.place);
            let plain =
                rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len());
            out.extend_from_slice(crate::bytes::cut(rest, 0, plain));
            self.place += plain;
            match rest.get(plain) {
                Some(b'"') => {
                    self.place += 1;
                    break;
                }
                Some(b'\\') => self.escape(out)?,
                Some(_) => return Err(self.error("a control character in a string")),
                None => return Err(self.error("the document ends within a string")),
            }
        }
        match std::str::from_utf8(crate::bytes::tail(out, start)) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.error("invalid bytes in UTF-8 string")),
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let letter = at(self.text, self.place + 1);
        self.place += 2;
        out.push(match letter {
            b'"' | b'\\' | b'/' => letter,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let code = self.unit()?;
                let letter = match code {
                    0xd800..=0xdbff if crate::bytes::tail(self.text, self.place).starts_with(b"\\u") => {
                        self.place += 2;
                        let low = self.unit()?;
                        let joined = 0x10000 + ((code - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                        if (0xdc00..0xe000).contains(&low) { char::from_u32(joined) } else { None }
                    }
                    code => char::from_u32(code),
                };
                let mut buffer = [0; 4];
                out.extend_from_slice(letter.unwrap_or('?').encode_utf8(&mut buffer).as_bytes());
                return Ok(());
            }
            _ => return Err(self.error("an unknown escape in a string")),
        });
        Ok(())
    }

    fn unit(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = hex(at(self.text, self.place))
                .ok_or_else(|| self.error("four hexadecimal digits are wanted"))?;
            code = code << 4 | u32::from(digit);
            self.place += 1;
        }
        Ok(code)
    }

    fn skip_space(&mut self) {
        while matches!(at(self.text, self.place), b' ' | b'\t' | b'\n' | b'\r') {
            self.place += 1;
        }
    }

    fn error(&self, what: &str) -> String {
        format!("{what} at byte {}", self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (Vec<(String, String)>, bool) {
        let mut store = Store::default();
        let result = parse(&mut store, text, 20, 100);
        let show = |span| store.text(span).escape_ascii().to_string();
        (
            store.list(List::Args).iter().map(|entry| (show(entry.name), show(entry.value))).collect(),
            result.is_ok(),
        )
    }

    #[test]
    fn documents_become_arguments() {
        type Row<'a> = (&'a [u8], &'a [(&'a str, &'a str)], bool);
        let table: [Row<'_>; 14] = [
            (br#"{"a":1,"b":{"c":"x"}}"#, &[("json.a", "1"), ("json.b.c", "x")], true),
            (
                br#"{"a":[1,{"b":true},[null]],"c":-1.5e3}"#,
                &[
                    ("json.a.array_0", "1"),
                    ("json.a.array_1.b", "true"),
                    ("json.a.array_2.array_0", ""),
                    ("json.c", "-1.5e3"),
                ],
                true,
            ),
            (br#"[[],{},"x"]"#, &[("json.array_2", "x")], true),
            (br#"  "top" "#, &[("json", "top")], true),
            (br#"{"":"e"}"#, &[("json.empty-key", "e")], true),
            (br#"{"a":"\u0041\ud83d\ude00\ud800\n"}"#, &[("json.a", "A\\xf0\\x9f\\x98\\x80?\\n")], true),
            (br#"{"a":1,}"#, &[("json.a", "1")], false),
            (br#"{"a":1} x"#, &[("json.a", "1")], false),
            (br#"{"a""#, &[], false),
            (b"{\"a\":\"\xff\"}", &[], false),
            (b"[1,2", &[("json.array_0", "1"), ("json.array_1", "2")], false),
            (b"01", &[("json", "0")], false),
            (b"", &[], false),
            (b"[\"\x01\"]", &[], false),
        ];
        for (text, expected, valid) in table {
            let expected: Vec<_> =
                expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            assert_eq!(read(text), (expected, valid), "{}", text.escape_ascii());
        }
        assert!(!read(&[b'['; 21]).1);
    }
}
