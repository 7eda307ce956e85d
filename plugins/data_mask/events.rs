//! Server-sent events: what the `data` lines of an event say together is JSON or text.

use super::{
    json::{Broken, Json},
    paths::Paths,
    text::{Text, Work},
};
use memchr::memchr2;
use serde::de::IgnoredAny;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Events that come in pieces. One is held until it is whole.
#[derive(Debug, Default)]
pub(super) struct Events {
    held: Vec<u8>,
    /// Where the line begins that is not whole, and how far it was looked at.
    line: usize,
    looked: usize,
}

impl Events {
    /// Takes a piece, and gives the events that are whole.
    ///
    /// # Errors
    /// An event has more than `max` bytes, or should be JSON and is none.
    pub(super) fn push(
        &mut self,
        work: &mut Work<'_>,
        paths: &Paths,
        (piece, end): (&[u8], bool),
        max: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        self.held.extend_from_slice(piece);
        let held = std::mem::take(&mut self.held);
        let mut from = 0;
        while let Some((text, next)) = line(&held, self.line, self.looked, end) {
            let is_blank = text.is_empty();
            (self.line, self.looked) = (next, next);
            if is_blank {
                event(work, paths, held.get(from..next).unwrap_or_default(), max, out)?;
                from = next;
            }
        }
        if end {
            event(work, paths, held.get(from..).unwrap_or_default(), max, out)?;
            return Ok(());
        }
        self.held.extend_from_slice(held.get(from..).unwrap_or_default());
        self.line -= from;
        // A carriage return at the end may have its line feed still to come.
        self.looked = self.held.len().saturating_sub(1).max(self.line);
        if self.held.len() > max { Err(Broken("an event is too long")) } else { Ok(()) }
    }
}

/// The line that begins at `from`, and where the next one does; none where it is not whole.
fn line(text: &[u8], from: usize, looked: usize, end: bool) -> Option<(&[u8], usize)> {
    let looked = looked.max(from);
    let at = looked + memchr2(b'\r', b'\n', text.get(looked..)?)?;
    let next = match (text.get(at), text.get(at + 1)) {
        (Some(b'\r'), Some(b'\n')) => at + 2,
        (Some(b'\r'), None) if !end => return None,
        _ => at + 1,
    };
    Some((text.get(from..at)?, next))
}

/// The lines of an event.
fn lines(mut event: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if event.is_empty() {
            return None;
        }
        let (text, next) = line(event, 0, 0, true).unwrap_or((event, event.len()));
        event = event.get(next..).unwrap_or_default();
        Some(text)
    })
}

/// What a line of the field `data` says.
fn data(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data").filter(|rest| matches!(rest.first(), None | Some(b':')))?;
    let value = value.strip_prefix(b":").unwrap_or(value);
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

fn event(
    work: &mut Work<'_>,
    paths: &Paths,
    whole: &[u8],
    max: usize,
    out: &mut Vec<u8>,
) -> Result<(), Broken> {
    let (mark, event) = match whole.strip_prefix(BOM) {
        Some(rest) => (BOM, rest),
        None => (&[][..], whole),
    };
    let before = work.tally.total;
    let all: Vec<&[u8]> = lines(event).filter_map(data).collect();
    let said = masked(work, paths, &all.join(&b'\n'), max)?;
    let mut written = mark.to_vec();
    let mut said = Some(said);
    for line in lines(event) {
        match data(line) {
            None => {
                Text::default().push(work, line, true, &mut written);
                written.push(b'\n');
            }
            Some(_) => {
                for line in said.take().iter().flat_map(|said| said.split(|byte| *byte == b'\n')) {
                    written.extend_from_slice(b"data: ");
                    written.extend_from_slice(line);
                    written.push(b'\n');
                }
            }
        }
    }
    out.extend_from_slice(if work.tally.total == before { whole } else { &written });
    Ok(())
}

fn masked(work: &mut Work<'_>, paths: &Paths, said: &[u8], max: usize) -> Result<Vec<u8>, Broken> {
    let mut out = Vec::with_capacity(said.len());
    if serde_json::from_slice::<IgnoredAny>(said).is_ok() {
        Json::new(false, max).push(work, paths, said, true, &mut out)?;
    } else if said.trim_ascii_start().starts_with(b"{") && !paths.is_empty() {
        // Fields could not be told from others.
        return Err(Broken("an event is not JSON"));
    } else {
        Text::default().push(work, said, true, &mut out);
    }
    Ok(out)
}
