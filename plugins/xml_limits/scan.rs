//! Reads an XML document once, as a stream: nothing of it is kept but the names of open elements.

use super::Config;
use quick_xml::{
    Reader,
    escape::resolve_predefined_entity,
    events::{BytesRef, BytesStart, Event},
};

/// Why a document does not pass.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) over: Over,
    /// For the operator: what, and where.
    pub(super) detail: String,
}

/// What a document has that it may not have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Over {
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

const MALFORMED: Over = Over { reason: "xml_malformed", message: "The body is not well-formed XML in UTF-8" };
const DOCTYPE: Over = Over { reason: "xml_doctype", message: "The document may not declare a document type" };
const ENTITY: Over = Over { reason: "xml_entity", message: "The document may not name entities of its own" };
const INCLUDE: Over = Over { reason: "xml_include", message: "The document may not include others" };
const INSTRUCTION: Over =
    Over { reason: "xml_instruction", message: "The document may not have processing instructions" };
const DEPTH: Over = Over { reason: "xml_depth", message: "The document is nested too deeply" };
const ELEMENTS: Over = Over { reason: "xml_elements", message: "The document has too many elements" };
const ATTRIBUTES: Over = Over { reason: "xml_attributes", message: "An element has too many attributes" };
const NAME: Over = Over { reason: "xml_name_length", message: "A name is too long" };
const ATTRIBUTE: Over = Over { reason: "xml_attribute_length", message: "An attribute is too long" };
const TEXT: Over = Over { reason: "xml_text_length", message: "A piece of text is too long" };

/// The namespace of XInclude 1.0 and 1.1.
const XINCLUDE: &str = "http://www.w3.org/2001/XInclude";

/// Reads all of a document.
pub(super) fn scan(document: &[u8], limits: &Config) -> Result<(), Refused> {
    let malformed = |detail: String| Refused { over: MALFORMED, detail };
    let text = std::str::from_utf8(document).map_err(|error| malformed(error.to_string()))?;
    if let Some(at) = text.find(|one| !is_char(one)) {
        return Err(malformed(format!("at byte {at} stands what is no character of XML")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut state = State { limits, depth: 0, elements: 0, had_root: false };
    loop {
        let at = reader.buffer_position();
        let event = reader.read_event().map_err(|error| malformed(format!("at byte {at}: {error}")))?;
        if matches!(event, Event::Eof) {
            break;
        }
        state.event(&event, at == 0).map_err(|over| Refused { over, detail: format!("at byte {at}") })?;
    }
    if state.depth > 0 || !state.had_root {
        return Err(malformed("it ends before its root does".to_owned()));
    }
    Ok(())
}

/// `Char` of XML 1.0 §2.2.
fn is_char(one: char) -> bool {
    matches!(one, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
        && !matches!(one, '\u{fffe}' | '\u{ffff}')
}

struct State<'l> {
    limits: &'l Config,
    depth: usize,
    elements: usize,
    had_root: bool,
}

impl State<'_> {
    fn event(&mut self, event: &Event<'_>, is_first: bool) -> Result<(), Over> {
        match event {
            Event::Start(start) => self.element(start).map(|()| self.depth += 1),
            Event::Empty(start) => self.element(start),
            Event::End(_) => {
                self.depth = self.depth.checked_sub(1).ok_or(MALFORMED)?;
                Ok(())
            }
            // The end of what never began (XML 1.0 §2.4).
            Event::Text(text) if text.windows(3).any(|piece| piece == b"]]>") => Err(MALFORMED),
            Event::Text(text) => self.text(text, text.iter().all(u8::is_ascii_whitespace)),
            Event::CData(text) => self.text(text, false),
            Event::Comment(text) => self.length(text.len(), self.limits.max_text_length, TEXT),
            Event::GeneralRef(name) if self.depth > 0 => reference(name),
            Event::GeneralRef(_) | Event::Eof => Err(MALFORMED),
            Event::Decl(_) if !is_first => Err(MALFORMED),
            Event::Decl(declaration) => match declaration.encoding() {
                None => Ok(()),
                Some(Ok(encoding)) if encoding.eq_ignore_ascii_case(b"utf-8") => Ok(()),
                Some(_) => Err(MALFORMED),
            },
            Event::PI(_) => Err(INSTRUCTION),
            Event::DocType(_) => Err(DOCTYPE),
        }
    }

    fn length(&self, length: usize, most: usize, over: Over) -> Result<(), Over> {
        if length > most { Err(over) } else { Ok(()) }
    }

    /// Outside of the root there is nothing but white space.
    fn text(&self, text: &[u8], is_blank: bool) -> Result<(), Over> {
        if self.depth == 0 && !is_blank {
            return Err(MALFORMED);
        }
        self.length(text.len(), self.limits.max_text_length, TEXT)
    }

    fn element(&mut self, start: &BytesStart<'_>) -> Result<(), Over> {
        if self.depth == 0 && std::mem::replace(&mut self.had_root, true) {
            return Err(MALFORMED);
        }
        self.elements += 1;
        self.length(self.elements, self.limits.max_elements, ELEMENTS)?;
        self.length(self.depth + 1, self.limits.max_depth, DEPTH)?;
        self.name(start.name().as_ref())?;
        let mut count = 0;
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| MALFORMED)?;
            count += 1;
            self.length(count, self.limits.max_attributes, ATTRIBUTES)?;
            self.name(attribute.key.as_ref())?;
            self.length(attribute.value.len(), self.limits.max_attribute_length, ATTRIBUTE)?;
            let value = std::str::from_utf8(&attribute.value).map_err(|_| MALFORMED)?;
            if value.contains('<') {
                return Err(MALFORMED);
            }
            let value = quick_xml::escape::unescape(value).map_err(|_| ENTITY)?;
            if value.trim() == XINCLUDE {
                return Err(INCLUDE);
            }
        }
        Ok(())
    }

    fn name(&self, name: &[u8]) -> Result<(), Over> {
        self.length(name.len(), self.limits.max_name_length, NAME)?;
        let is_start = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':' || byte >= 0x80;
        let is_inside = |byte: u8| is_start(byte) || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
        match name.split_first() {
            Some((first, rest)) if is_start(*first) && rest.iter().all(|byte| is_inside(*byte)) => Ok(()),
            _ => Err(MALFORMED),
        }
    }
}

/// One of the five entities that every parser knows, or a character's number.
fn reference(name: &BytesRef<'_>) -> Result<(), Over> {
    match name.resolve_char_ref() {
        Ok(Some(one)) if is_char(one) => Ok(()),
        Ok(None) => {
            let text = std::str::from_utf8(name).map_err(|_| MALFORMED)?;
            resolve_predefined_entity(text).map(drop).ok_or(ENTITY)
        }
        _ => Err(MALFORMED),
    }
}
