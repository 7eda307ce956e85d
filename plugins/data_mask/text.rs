//! Masks text that comes in pieces. What comes out does not depend on where the pieces end: a line is looked at when it is
//! whole, and one that is too long for that in views that its own length decides.

use super::{
    finder::{Finder, Hit, KEY_END, key_end},
    rules::{REMOVED, Rule, Tally},
    tokens::is_token,
};
use memchr::{memchr, memrchr};

/// The most bytes of a line that are looked at together.
pub(super) const LINE: usize = 64 << 10;
/// What begins in so many bytes at the end of a view is left for the next one. Whatever is found is shorter, or goes on as
/// a token or a key does.
pub(super) const WINDOW: usize = 8 << 10;
/// Bytes before a view that say whether it begins within a word.
const CONTEXT: usize = 8;

/// What is looked for, and what was found so far.
pub(super) struct Work<'w> {
    pub(super) finder: &'w Finder,
    pub(super) rules: &'w [Rule],
    pub(super) tally: &'w mut Tally,
    /// Used again and again.
    pub(super) hits: Vec<Hit>,
}

/// What goes on over the ends of lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Block {
    #[default]
    None,
    Key,
    Trace,
}

/// A text that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// What is not yet decided, behind `context` bytes that are.
    held: Vec<u8>,
    context: usize,
    /// The line has begun in an earlier view.
    within_line: bool,
    /// A token goes on.
    swallow: bool,
    block: Block,
}

/// A part of a line.
struct View {
    /// Where it begins in what is held, behind what says whether it begins within a word.
    from: usize,
    to: usize,
    /// There is more of the line.
    goes_on: bool,
}

impl Text {
    /// Takes a piece, and gives what is decided.
    pub(super) fn push(&mut self, work: &mut Work<'_>, piece: &[u8], end: bool, out: &mut Vec<u8>) {
        if self.held.is_empty() {
            // Whole lines need not be held.
            let lines = if end { piece.len() } else { memrchr(b'\n', piece).map_or(0, |at| at + 1) };
            let (now, later) = piece.split_at_checked(lines).unwrap_or((piece, &[]));
            self.lines(work, now, 0, out);
            self.held.extend_from_slice(later);
        } else {
            let searched = self.held.len();
            self.held.extend_from_slice(piece);
            let new = self.held.get(searched..).unwrap_or_default();
            let lines =
                if end { Some(self.held.len()) } else { memrchr(b'\n', new).map(|at| searched + at + 1) };
            if let Some(lines) = lines {
                let held = std::mem::take(&mut self.held);
                let context = std::mem::take(&mut self.context);
                self.lines(work, held.get(..lines).unwrap_or_default(), context, out);
                self.held.extend_from_slice(held.get(lines..).unwrap_or_default());
            }
        }
        while self.held.len() - self.context >= LINE {
            let held = std::mem::take(&mut self.held);
            let view = View { from: self.context, to: self.context + LINE, goes_on: true };
            let done = self.view(work, &held, &view, out).0;
            self.context = done.min(CONTEXT);
            self.held.extend_from_slice(held.get(done - self.context..).unwrap_or_default());
        }
    }

    /// Whole lines, of which the first one begins at `from`. The last one may have no end.
    fn lines(&mut self, work: &mut Work<'_>, text: &[u8], mut from: usize, out: &mut Vec<u8>) {
        let fresh = self.block == Block::None && !self.swallow && !self.within_line;
        if fresh && !work.finder.may_find(text) {
            out.extend_from_slice(text.get(from..).unwrap_or_default());
            return;
        }
        while from < text.len() {
            let newline = text.get(from..).and_then(|rest| memchr(b'\n', rest)).map(|at| from + at);
            let end = newline.unwrap_or(text.len());
            // What begins a view says nothing of the line before.
            let mut start = if self.within_line { 0 } else { from };
            let drop_newline = loop {
                let goes_on = end - from >= LINE;
                let to = if goes_on { from + LINE } else { end };
                let line = text.get(start..to).unwrap_or_default();
                let view = View { from: from - start, to: to - start, goes_on };
                let (done, dropped) = self.view(work, line, &view, out);
                from = start + done;
                if !goes_on {
                    break dropped;
                }
                start = from - CONTEXT.min(from - start);
            };
            self.within_line = false;
            if let Some(newline) = newline {
                self.swallow = false;
                if !drop_newline {
                    out.push(b'\n');
                }
                from = newline + 1;
            }
        }
    }

    /// A line, or what is seen of it. Where it is done with, and whether nothing of the line is left.
    fn view(&mut self, work: &mut Work<'_>, text: &[u8], view: &View, out: &mut Vec<u8>) -> (usize, bool) {
        let (mut from, to) = (view.from, view.to);
        let line = text.get(..to).unwrap_or(text);
        let whole = !self.within_line && !view.goes_on;
        self.within_line = true;
        if self.swallow {
            let rest = line.get(from..).unwrap_or_default();
            from += rest.iter().position(|byte| !is_token(*byte)).unwrap_or(rest.len());
            self.swallow = from == to;
        }
        let mut dropped = false;
        if self.block == Block::Key {
            let Some(end) = key_end(line, from).filter(|end| !view.goes_on || *end < to) else {
                return (if view.goes_on { from.max(to - KEY_END * 2) } else { to }, true);
            };
            (self.block, from) = (Block::None, end);
            dropped = end == to;
        }
        if whole && from == view.from {
            let body = line.get(from..).unwrap_or_default();
            if self.block == Block::Trace && work.finder.trace_goes_on(body) {
                return (to, true);
            }
            self.block = Block::None;
            if let Some(rule) = work.finder.trace(body) {
                work.tally.note(work.rules, rule);
                self.block = Block::Trace;
                out.extend_from_slice(REMOVED.as_bytes());
                return (to, false);
            }
        } else if self.block == Block::Trace {
            self.block = Block::None;
        }
        let mut hits = std::mem::take(&mut work.hits);
        work.finder.inline(line, from, view.goes_on, &mut hits);
        let zone = if view.goes_on { to - WINDOW } else { to };
        hits.retain(|hit| !view.goes_on || hit.start < zone);
        let mut done = from.max(zone);
        if let Some(last) = hits.last() {
            done = done.max(last.end);
            if last.opens {
                self.block = Block::Key;
            } else if view.goes_on && last.end == to {
                self.swallow = true;
            }
        }
        apply(work, line.get(..done).unwrap_or(line), from, &hits, out);
        work.hits = hits;
        (done, dropped)
    }
}

/// Writes a text from `from` on, with what was found replaced.
pub(super) fn apply(work: &mut Work<'_>, text: &[u8], from: usize, hits: &[Hit], out: &mut Vec<u8>) {
    let mut at = from;
    for hit in hits {
        out.extend_from_slice(text.get(at..hit.start).unwrap_or_default());
        let value = text.get(hit.start..hit.end).unwrap_or_default();
        out.extend_from_slice(work.tally.replacement(work.rules, hit.rule, value).as_bytes());
        at = hit.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
}
