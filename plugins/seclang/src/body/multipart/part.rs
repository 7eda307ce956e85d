//! A part of a form.

use crate::bytes::tail;

/// A part that is read, or was.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) name: Vec<u8>,
    pub(super) filename: Vec<u8>,
    /// Lines of the header, as `Name: value`.
    pub(super) lines: Vec<Vec<u8>>,
    /// The names and values of the header's fields.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) in_data: bool,
    pub(super) data_seen: bool,
    pub(super) value: Vec<u8>,
    pub(super) length: usize,
    /// The line end of the last line, which belongs to the next boundary.
    pub(super) reserve: Vec<u8>,
}

impl Part {
    pub(super) fn is_file(&self) -> bool {
        !self.filename.is_empty()
    }
}

impl Part {
    /// Adds a line. Its line end is kept back: it belongs to the boundary if one follows. `contents` is whether what is in
    /// files is kept.
    pub(super) fn data(&mut self, line: &[u8], contents: bool) {
        self.data_seen = true;
        let content = trim_line(line);
        self.length += self.reserve.len() + content.len();
        if contents || !self.is_file() {
            self.value.extend_from_slice(&self.reserve);
            self.value.extend_from_slice(content);
        }
        self.reserve = tail(line, content.len()).to_vec();
    }
}

/// A line without its line end, which is CRLF or LF.
pub(super) fn trim_line(line: &[u8]) -> &[u8] {
    match line {
        [text @ .., b'\r', b'\n'] | [text @ .., b'\n'] => text,
        _ => line,
    }
}
