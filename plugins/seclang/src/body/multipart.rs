//! `multipart/form-data`: arguments and files, and a flag for everything that parsers disagree on.

use crate::{
    bytes::{Span, at, cut, is_space, tail},
    config::Config,
    engine::Store,
    variable::{List, Origin, Variable},
};

mod disposition;
mod flags;
mod mark;
mod part;

use flags::Flags;
use mark::{count_of_boundary, valid_boundary};
use part::{Part, trim_line};

/// The longest line of a part's header.
const LONGEST_LINE: usize = 4096;
/// The longest `Content-Type`.
const LONGEST_TYPE: usize = 1024;

/// Reads a body, sets all `MULTIPART_…` flags, and says how many bytes it has without files.
pub(super) fn parse(store: &mut Store, body: &[u8], config: &Config) -> Result<usize, String> {
    let kind = store.first(List::Headers, b"content-type").map(<[u8]>::to_vec).unwrap_or_default();
    let mut parser = Parser { contents: config.file_contents, ..Parser::default() };
    let result = match parser.boundary(&kind) {
        Ok(()) => parser.body(body).and_then(|()| parser.end(body)),
        Err(error) => Err(error),
    };
    parser.flags.error |= result.is_err();
    let files = parser.parts.iter().filter(|part| part.is_file()).count();
    parser.flags.file_limit_exceeded = files > config.upload_file_limit;
    parser.flags.set(store);
    // A part that came whole is inspected even where the body broke off after it.
    parser.collect(store, config.arguments_limit);
    result.map(|()| parser.without_files)
}

#[derive(Debug, Default)]
struct Parser {
    boundary: Vec<u8>,
    flags: Flags,
    part: Option<Part>,
    parts: Vec<Part>,
    names: Vec<Vec<u8>>,
    filenames: Vec<Vec<u8>>,
    boundaries: usize,
    complete: bool,
    without_files: usize,
    /// What stands after the last line end.
    rest_from: usize,
    /// Whether the line before ended in a bare LF.
    lf_before: bool,
    contents: bool,
}

impl Parser {
    /// Reads the boundary from the content type.
    fn boundary(&mut self, kind: &[u8]) -> Result<(), String> {
        let error = |what: &str| Err(format!("Multipart: Invalid boundary in C-T ({what})."));
        if kind.is_empty() {
            return Err("Multipart: Content-Type header not available.".into());
        }
        if kind.len() > LONGEST_TYPE {
            return error("length");
        }
        if !cut(kind, 0, 19).eq_ignore_ascii_case(b"multipart/form-data") {
            return Err("Multipart: Invalid MIME type.".into());
        }
        if count_of_boundary(kind) > 1 {
            return Err("Multipart: Multiple boundary parameters in C-T.".into());
        }
        let Some(start) = memchr::memmem::find(kind, b"boundary") else {
            if count_of_boundary(kind) > 0 {
                return error("case sensitivity");
            }
            return Err("Multipart: Boundary not found in C-T.".into());
        };
        let mut semicolon = false;
        for byte in cut(kind, 19, start) {
            match byte {
                b';' if !semicolon => semicolon = true,
                byte if is_space(*byte) => {}
                _ => return error("malformed"),
            }
        }
        self.flags.missing_semicolon = !semicolon;
        let rest = tail(kind, start + 8);
        let Some(equals) = memchr::memchr(b'=', rest) else { return error("malformed") };
        if cut(rest, 0, equals).iter().any(|byte| !is_space(*byte)) {
            return error("parameter name");
        }
        let value = tail(rest, equals + 1);
        self.flags.boundary_whitespace = equals > 0 || is_space(at(value, 0));
        let quoted = |byte: Option<&u8>| byte == Some(&b'"');
        let mut boundary = match value {
            [b'"', inside @ .., b'"'] => {
                self.flags.boundary_quoted = true;
                inside
            }
            _ if quoted(value.first()) || (value.len() >= 2 && quoted(value.last())) => {
                return error("quote");
            }
            _ => value,
        };
        if count_of_boundary(boundary) > 0 {
            return error("content");
        }
        if !valid_boundary(boundary) {
            // Some clients put a charset after it.
            boundary = cut(boundary, 0, memchr::memchr(b';', boundary).unwrap_or(boundary.len()));
        }
        if boundary.is_empty() {
            return error("empty");
        }
        if !valid_boundary(boundary) {
            return error("characters");
        }
        self.boundary = boundary.to_vec();
        Ok(())
    }

    /// Reads all whole lines.
    fn body(&mut self, body: &[u8]) -> Result<(), String> {
        let mut from = 0;
        while let Some(length) = memchr::memchr(b'\n', tail(body, from)) {
            let to = from + length + 1;
            self.line(cut(body, from, to))?;
            from = to;
            self.rest_from = from;
            if self.complete && from < body.len() {
                self.flags.data_after = true;
                self.rest_from = body.len();
                return Ok(());
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let bare_lf = !line.ends_with(b"\r\n");
        let mut was_boundary = false;
        if line.starts_with(b"--") && line.len() > 3 {
            let rest = tail(line, 2);
            if rest.starts_with(&self.boundary) {
                if self.lf_before {
                    self.flags.lf_line = true;
                }
                let waits_for_data = !self.part.as_ref().is_some_and(|part| part.data_seen);
                if waits_for_data && self.boundaries > 0 {
                    self.flags.invalid_part = true;
                } else {
                    self.boundary_line(tail(rest, self.boundary.len()), line)?;
                    was_boundary = true;
                }
            } else {
                self.almost_boundary(rest)?;
            }
        } else if self.resembles_boundary(cut(line, 0, LONGEST_LINE)) {
            self.flags.unmatched_boundary = 1;
        }
        if !was_boundary {
            self.content(line)?;
        }
        self.lf_before = bare_lf;
        Ok(())
    }

    fn resembles_boundary(&self, line: &[u8]) -> bool {
        memchr::memmem::find(line, &[b"--", self.boundary.as_slice()].concat()).is_some()
    }

    fn boundary_line(&mut self, after: &[u8], line: &[u8]) -> Result<(), String> {
        if self.boundaries > 0 {
            self.flags.unmatched_boundary = 2;
        }
        let last = after.starts_with(b"--");
        match if last { tail(after, 2) } else { after } {
            b"\r\n" => self.flags.crlf_line = true,
            b"\n" => self.flags.lf_line = true,
            _ => return Err(format!("Multipart: Invalid boundary: {}", cut(line, 0, 100).escape_ascii())),
        }
        self.finish_part(last);
        self.complete = last;
        self.boundaries += 1;
        Ok(())
    }

    /// A line that begins like a boundary and is none.
    fn almost_boundary(&mut self, rest: &[u8]) -> Result<(), String> {
        if self.flags.boundary_quoted && at(rest, 0) == b'"' && tail(rest, 1).starts_with(&self.boundary) {
            return Err("Multipart: Invalid boundary (quotes).".into());
        }
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        if spaces > 0 && tail(rest, spaces).starts_with(&self.boundary) {
            return Err("Multipart: Invalid boundary (whitespace).".into());
        }
        self.flags.unmatched_boundary = 1;
        Ok(())
    }

    fn content(&mut self, line: &[u8]) -> Result<(), String> {
        match &mut self.part {
            None => {
                self.flags.data_before = true;
                Ok(())
            }
            Some(part) if part.in_data => {
                self.without_files += if part.is_file() { 0 } else { line.len() };
                part.data(line, self.contents);
                Ok(())
            }
            Some(_) => self.header_line(line),
        }
    }

    fn header_line(&mut self, line: &[u8]) -> Result<(), String> {
        if line.len() > LONGEST_LINE {
            return Err(format!("Multipart: Part header line over {LONGEST_LINE} bytes long"));
        }
        if line.contains(&0) {
            return Err("Multipart: Nul byte in part headers.".into());
        }
        self.without_files += line.len();
        if line.ends_with(b"\r\n") {
            self.flags.crlf_line = true;
        } else {
            self.flags.lf_line = true;
        }
        let Some(part) = &mut self.part else { return Ok(()) };
        let text = trim_line(line);
        if text.is_empty() {
            return self.header_end();
        }
        if is_space(at(text, 0)) {
            return self.folded(text);
        }
        let Some(colon) = memchr::memchr(b':', text) else {
            return Err(format!("Multipart: Invalid part header (colon missing): {}", text.escape_ascii()));
        };
        if colon == 0 {
            return Err("Multipart: Invalid part header (header name missing).".into());
        }
        let name = cut(text, 0, colon);
        let value = tail(text, colon + 1);
        let spaces = value.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if part.fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err("Multipart: Duplicate part header.".into());
        }
        part.fields.push((name.to_vec(), tail(value, spaces).to_vec()));
        part.lines.push(text.to_vec());
        Ok(())
    }

    fn folded(&mut self, text: &[u8]) -> Result<(), String> {
        self.flags.header_folding = true;
        let spaces = text.iter().take_while(|byte| is_space(**byte)).count();
        if cut(text, 0, spaces).iter().any(|byte| !matches!(byte, b' ' | b'\t')) {
            self.flags.invalid_header_folding = true;
        }
        let Some(part) = &mut self.part else { return Ok(()) };
        let (Some((name, value)), Some(line)) = (part.fields.last_mut(), part.lines.last_mut()) else {
            return Err("Multipart: Invalid part header (folding error).".into());
        };
        value.push(b' ');
        value.extend_from_slice(tail(text, spaces));
        if value.len() > LONGEST_LINE {
            return Err("Multipart: Part header too long.".into());
        }
        *line = [name.as_slice(), b": ", value].concat();
        Ok(())
    }

    /// The empty line after a part's header.
    fn header_end(&mut self) -> Result<(), String> {
        let Some(part) = &mut self.part else { return Ok(()) };
        let field = part.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"content-disposition"));
        let Some(value) = field.map(|(_, value)| value.clone()) else {
            return Err("Multipart: Part missing Content-Disposition header.".into());
        };
        let mut read = disposition::Disposition::default();
        let result = read.parse(&value);
        self.flags.invalid_quoting |= read.invalid_quoting;
        self.names.extend(read.names.iter().cloned());
        self.filenames.extend(read.filenames.iter().cloned());
        result.map_err(|code| {
            format!(
                "Multipart: Invalid Content-Disposition header ({code}): {}",
                cut(&value, 0, 100).escape_ascii()
            )
        })?;
        part.name = read.names.into_iter().next().unwrap_or_default();
        part.filename = read.filenames.into_iter().next().unwrap_or_default();
        if part.name.is_empty() {
            return Err("Multipart: Content-Disposition header missing name field.".into());
        }
        if part.is_file() && memchr::memmem::find(&value, b"filename=").is_none() {
            return Err("Multipart: Invalid Content-Disposition header (filename).".into());
        }
        part.in_data = true;
        Ok(())
    }

    fn finish_part(&mut self, last: bool) {
        if let Some(part) = self.part.take() {
            if part.name.is_empty() {
                self.flags.invalid_part = true;
            } else {
                self.parts.push(part);
            }
        }
        if !last {
            self.part = Some(Part::default());
        }
    }

    /// Looks at what stands after the last line end, which may be the last boundary.
    fn end(&mut self, body: &[u8]) -> Result<(), String> {
        if self.complete || body.is_empty() {
            return Ok(());
        }
        let rest = tail(body, self.rest_from);
        if self.boundaries == 0 {
            return Err("Multipart: No boundaries found in payload.".into());
        }
        let is_last = rest.starts_with(b"--")
            && tail(rest, 2).starts_with(&self.boundary)
            && tail(rest, 2 + self.boundary.len()) == b"--";
        if !is_last {
            if let (Some(part), false) = (&mut self.part, rest.is_empty())
                && part.in_data
            {
                part.data(rest, self.contents);
            }
            return Err("Multipart: Final boundary missing.".into());
        }
        if self.lf_before {
            self.flags.lf_line = true;
        }
        if !self.part.as_ref().is_some_and(|part| part.data_seen) {
            self.flags.invalid_part = true;
        }
        self.finish_part(true);
        self.complete = true;
        Ok(())
    }

    /// Turns parts into arguments and files.
    fn collect(&mut self, store: &mut Store, most: usize) {
        for name in &self.names {
            store.add_copied(List::PartNames, name, name);
        }
        for name in &self.filenames {
            store.add_copied(List::PartFilenames, name, name);
        }
        // What is read of a part that broke off counts as an argument.
        let broken = self.part.take().filter(|part| part.in_data);
        let mut sum = 0;
        let mut any_file = false;
        for part in self.parts.iter().chain(&broken) {
            let name = store.keep(&part.name);
            for line in &part.lines {
                let line = store.keep(line);
                store.add(List::PartHeaders, name, line, Origin::Any);
            }
            if part.is_file() {
                any_file = true;
                sum += part.length;
                let filename = store.keep(&part.filename);
                store.add(List::Files, name, filename, Origin::Any);
                let size = store.keep_with(|out| {
                    crate::bytes::push_integer(out, i64::try_from(part.length).unwrap_or(i64::MAX));
                });
                store.add(List::FileSizes, name, size, Origin::Any);
                if self.contents {
                    let content = store.keep(&part.value);
                    store.add(List::FileContents, name, content, Origin::Any);
                }
            } else if store.list(List::Args).len() < most {
                let value: Span = store.keep(&part.value);
                store.add(List::Args, name, value, Origin::Form);
            }
        }
        if any_file {
            store.set_number(Variable::FilesCombinedSize, sum);
        }
    }
}

#[cfg(test)]
mod tests;
