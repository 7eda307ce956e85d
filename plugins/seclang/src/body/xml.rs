//! XML: the text of the document and the values of its attributes. No external entity is ever fetched.

use super::xpath::{Follower, Path};
use crate::{
    bytes::{Span, at, cut, is_space, tail},
    engine::Store,
    variable::{List, Origin},
};

/// The most elements that may be open at once.
const DEEPEST: usize = 256;
/// The most entities that a document may declare, and the most bytes that they may add.
const MOST_ENTITIES: usize = 100;
const MOST_EXPANDED: usize = 64 << 10;

/// Reads a document. What was read before an error stays.
pub(super) fn parse(store: &mut Store, text: &[u8], paths: &[Path]) -> Result<(), String> {
    let mut parser = Parser {
        text,
        place: 0,
        open: Vec::new(),
        content: Vec::new(),
        entities: Vec::new(),
        expanded: 0,
        root: false,
        follower: Follower::new(paths, text.len()),
    };
    let result = parser.run(store);
    if parser.root {
        let value = store.keep(&parser.content);
        store.add(List::XmlText, Span::default(), value, Origin::Any);
    }
    result.map_err(|error| format!("{error} at byte {}", parser.place))
}

struct Parser<'a> {
    text: &'a [u8],
    place: usize,
    open: Vec<&'a [u8]>,
    content: Vec<u8>,
    entities: Vec<(&'a [u8], &'a [u8])>,
    expanded: usize,
    /// Whether the root has been opened.
    root: bool,
    follower: Follower<'a>,
}

impl<'a> Parser<'a> {
    fn run(&mut self, store: &mut Store) -> Result<(), &'static str> {
        if self.text.starts_with(b"\xef\xbb\xbf") {
            self.place = 3;
        }
        loop {
            let rest = tail(self.text, self.place);
            if rest.is_empty() {
                let whole = self.root && self.open.is_empty();
                return if whole { Ok(()) } else { Err("the document ends too early") };
            }
            if self.open.is_empty() && at(rest, 0) != b'<' {
                if !is_space(at(rest, 0)) {
                    return Err("text outside of the root element");
                }
                self.place += 1;
            } else if rest.starts_with(b"<!--") {
                self.follower.end_text(store, &self.content)?;
                self.skip_past(4, b"-->", "a comment that does not end")?;
            } else if rest.starts_with(b"<![CDATA[") && !self.open.is_empty() {
                let start = self.place + 9;
                self.skip_past(9, b"]]>", "a CDATA section that does not end")?;
                self.content.extend_from_slice(cut(self.text, start, self.place - 3));
            } else if rest.starts_with(b"<?") {
                self.skip_past(2, b"?>", "an instruction that does not end")?;
            } else if rest.starts_with(b"<!DOCTYPE") && !self.root {
                self.doctype()?;
            } else if rest.starts_with(b"</") {
                self.end_tag(store)?;
            } else if at(rest, 0) == b'<' {
                self.start_tag(store)?;
            } else {
                self.characters()?;
            }
        }
    }

    fn skip_past(&mut self, skip: usize, mark: &[u8], error: &'static str) -> Result<(), &'static str> {
        let inside = tail(self.text, self.place + skip);
        let end = memchr::memmem::find(inside, mark).ok_or(error)?;
        self.place += skip + end + mark.len();
        Ok(())
    }

    fn name(&mut self) -> Result<&'a [u8], &'static str> {
        let rest = tail(self.text, self.place);
        let of_name =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.' | 0x80..);
        let length = rest.iter().take_while(|byte| of_name(byte)).count();
        let name = cut(rest, 0, length);
        match name.first() {
            None | Some(b'-' | b'.' | b'0'..=b'9') => Err("a name is wanted"),
            Some(_) => {
                self.place += length;
                Ok(name)
            }
        }
    }

    fn skip_space(&mut self) -> bool {
        let from = self.place;
        while is_space(at(self.text, self.place)) {
            self.place += 1;
        }
        self.place > from
    }

    fn start_tag(&mut self, store: &mut Store) -> Result<(), &'static str> {
        self.place += 1;
        let name = self.name()?;
        if self.open.is_empty() && self.root {
            return Err("a second root element");
        }
        self.root = true;
        let mut attributes = Vec::new();
        loop {
            let space = self.skip_space();
            match at(self.text, self.place) {
                b'>' => {
                    self.place += 1;
                    if self.open.len() >= DEEPEST {
                        return Err("too many open elements");
                    }
                    self.open.push(name);
                    return self.follower.open(store, name, &attributes, &self.content);
                }
                b'/' if at(self.text, self.place + 1) == b'>' => {
                    self.place += 2;
                    self.follower.open(store, name, &attributes, &self.content)?;
                    return self.follower.close(store, &self.content);
                }
                _ if space => self.attribute(store, &mut attributes)?,
                _ => return Err("a tag that does not end"),
            }
        }
    }

    fn attribute(
        &mut self,
        store: &mut Store,
        all: &mut Vec<(&'a [u8], Vec<u8>)>,
    ) -> Result<(), &'static str> {
        let name = self.name()?;
        self.skip_space();
        if at(self.text, self.place) != b'=' {
            return Err("`=` is wanted after the name of an attribute");
        }
        self.place += 1;
        self.skip_space();
        let quote = at(self.text, self.place);
        if quote != b'"' && quote != b'\'' {
            return Err("the value of an attribute is not quoted");
        }
        let inside = tail(self.text, self.place + 1);
        let length = memchr::memchr(quote, inside).ok_or("the value of an attribute does not end")?;
        let written = cut(inside, 0, length);
        self.place += length + 2;
        if written.contains(&b'<') {
            return Err("`<` in the value of an attribute");
        }
        let mut value = Vec::with_capacity(written.len());
        self.decode(written, &mut value)?;
        if name != b"xmlns" && !name.starts_with(b"xmlns:") {
            let kept = store.keep(&value);
            store.add(List::XmlAttributes, Span::default(), kept, Origin::Any);
        }
        if !self.follower.is_idle() {
            all.push((name, value));
        }
        Ok(())
    }

    fn end_tag(&mut self, store: &mut Store) -> Result<(), &'static str> {
        self.place += 2;
        let name = self.name()?;
        self.skip_space();
        if at(self.text, self.place) != b'>' {
            return Err("a tag that does not end");
        }
        self.place += 1;
        if self.open.pop() != Some(name) {
            return Err("an end tag without its start tag");
        }
        self.follower.close(store, &self.content)
    }

    fn characters(&mut self) -> Result<(), &'static str> {
        let rest = tail(self.text, self.place);
        let length = memchr::memchr(b'<', rest).unwrap_or(rest.len());
        self.place += length;
        let mut content = std::mem::take(&mut self.content);
        let result = self.decode(cut(rest, 0, length), &mut content);
        self.content = content;
        result
    }

    /// Replaces references.
    fn decode(&mut self, written: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let mut rest = written;
        while let Some(mark) = memchr::memchr(b'&', rest) {
            out.extend_from_slice(cut(rest, 0, mark));
            let inside = tail(rest, mark + 1);
            let end = memchr::memchr(b';', cut(inside, 0, 64)).ok_or("a reference that does not end")?;
            let name = cut(inside, 0, end);
            rest = tail(inside, end + 1);
            match name {
                b"lt" => out.push(b'<'),
                b"gt" => out.push(b'>'),
                b"amp" => out.push(b'&'),
                b"quot" => out.push(b'"'),
                b"apos" => out.push(b'\''),
                [b'#', digits @ ..] => {
                    let letter =
                        number(digits).and_then(char::from_u32).ok_or("a reference to no character")?;
                    let mut buffer = [0; 4];
                    out.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
                }
                name => {
                    let (_, value) = self
                        .entities
                        .iter()
                        .find(|(known, _)| *known == name)
                        .ok_or("an entity that is not declared")?;
                    self.expanded += value.len();
                    if self.expanded > MOST_EXPANDED {
                        return Err("entities that expand too far");
                    }
                    out.extend_from_slice(value);
                }
            }
        }
        out.extend_from_slice(rest);
        Ok(())
    }

    /// Passes over a document type and keeps the texts of entities that it declares.
    fn doctype(&mut self) -> Result<(), &'static str> {
        self.place += 9;
        let mut inside = false;
        loop {
            let rest = tail(self.text, self.place);
            if rest.starts_with(b"<!--") {
                self.skip_past(4, b"-->", "a comment that does not end")?;
                continue;
            }
            if inside && rest.starts_with(b"<!ENTITY") {
                self.entity()?;
                continue;
            }
            match at(rest, 0) {
                b'"' | b'\'' => self.skip_past(1, cut(rest, 0, 1), "a literal that does not end")?,
                b'[' => {
                    inside = true;
                    self.place += 1;
                }
                b']' => {
                    inside = false;
                    self.place += 1;
                }
                b'>' if !inside => {
                    self.place += 1;
                    return Ok(());
                }
                0 if rest.is_empty() => return Err("a document type that does not end"),
                _ => self.place += 1,
            }
        }
    }

    fn entity(&mut self) -> Result<(), &'static str> {
        self.place += 8;
        self.skip_space();
        let parameter = at(self.text, self.place) == b'%';
        if parameter {
            self.place += 1;
            self.skip_space();
        }
        let name = self.name()?;
        self.skip_space();
        let external = !matches!(at(self.text, self.place), b'"' | b'\'');
        let mut value: &[u8] = b"";
        loop {
            let rest = tail(self.text, self.place);
            match at(rest, 0) {
                quote @ (b'"' | b'\'') => {
                    let literal = tail(rest, 1);
                    let length = memchr::memchr(quote, literal).ok_or("a literal that does not end")?;
                    if !external {
                        value = cut(literal, 0, length);
                    }
                    self.place += length + 2;
                }
                b'>' => break,
                0 if rest.is_empty() => return Err("a declaration that does not end"),
                _ => self.place += 1,
            }
        }
        self.place += 1;
        if !parameter {
            if self.entities.len() >= MOST_ENTITIES {
                return Err("too many entities");
            }
            self.entities.push((name, value));
        }
        Ok(())
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    match text.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>, bool) {
        let mut store = Store::default();
        let valid = parse(&mut store, text.as_bytes(), &[]).is_ok();
        let show = |list| {
            store
                .list(list)
                .iter()
                .map(|entry| String::from_utf8_lossy(store.text(entry.value)).into_owned())
                .collect()
        };
        (show(List::XmlText), show(List::XmlAttributes), valid)
    }

    #[test]
    fn documents_become_text_and_attributes() {
        let table: [(&str, &[&str], &[&str], bool); 13] = [
            ("<a x='1' y=\"&lt;&#65;\">b<c>d</c><![CDATA[<e>]]></a>", &["bd<e>"], &["1", "<A"], true),
            ("<?xml version='1.0'?><!-- c --><a xmlns:b='u' b:c='v'/>\n", &[""], &["v"], true),
            (
                "<!DOCTYPE a [<!ENTITY x \"evil\"><!ENTITY y SYSTEM 'file:///x'>]><a>&x;&y;</a>",
                &["evil"],
                &[],
                true,
            ),
            ("<a>&nope;</a>", &[""], &[], false),
            ("<a><b></a></b>", &[""], &[], false),
            ("<a>", &[""], &[], false),
            ("text", &[], &[], false),
            ("<a/><b/>", &[""], &[], false),
            ("<a b=c>", &[""], &[], false),
            ("<a b='c", &[""], &[], false),
            ("", &[], &[], false),
            ("<a>&#x110000;</a>", &[""], &[], false),
            ("<!DOCTYPE a [", &[], &[], false),
        ];
        for (text, content, attributes, valid) in table {
            let expected = |list: &[&str]| list.iter().map(|text| (*text).to_string()).collect::<Vec<_>>();
            assert_eq!(read(text), (expected(content), expected(attributes), valid), "{text}");
        }
        assert!(!read(&"<a>".repeat(300)).2);
    }
}
