//! Masks values of JSON that comes in pieces. All that is not changed stays as it was written; what comes out is JSON where
//! what comes in is, and what is none is an error.

use super::{
    fate::{Fate, by_rule, judge, number},
    json_text::{decode, encode, is_number, number_end, string_end},
    paths::{Paths, Set, To},
    rules::Action,
    text::Work,
};

/// How deep arrays and objects may stand in each other.
const DEPTH: usize = 256;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// What makes a text no JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken(pub(super) &'static str);

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Start,
    Value,
    FirstItem,
    FirstKey,
    Key,
    Colon,
    Next,
    Done,
}

/// An array or object that is open.
#[derive(Debug)]
struct Frame {
    is_object: bool,
    /// Something of it was written, so that what follows has a comma before it.
    written: bool,
    set: Set,
    /// All in it is masked by this rule.
    rule: Option<usize>,
}

/// A JSON text, or several with line ends between them.
#[derive(Debug)]
pub(super) struct Json {
    lines: bool,
    max: usize,
    expect: Expect,
    frames: Vec<Frame>,
    /// What stands before the next value: blanks, a comma, a name.
    pending: Vec<u8>,
    comma: Option<usize>,
    /// What the next value's name says: parts of paths that fit, a rule, and whether it goes.
    member: (Set, Option<usize>, bool),
    /// The depth of the value that is being left out.
    skip: Option<usize>,
    /// The begin of a string, number or word, and how far it was read.
    held: Vec<u8>,
    resume: usize,
}

impl Json {
    /// One text, or with `lines` one on each line. No string may have more than `max` bytes where it comes in pieces.
    pub(super) fn new(lines: bool, max: usize) -> Self {
        Json {
            lines,
            max,
            expect: Expect::Start,
            frames: Vec::new(),
            pending: Vec::new(),
            comma: None,
            member: (0, None, false),
            skip: None,
            held: Vec::new(),
            resume: 0,
        }
    }

    /// Takes a piece, and gives what is decided.
    ///
    /// # Errors
    /// It is not JSON. What was given so far is the begin of what it would have been.
    pub(super) fn push(
        &mut self,
        work: &mut Work<'_>,
        paths: &Paths,
        piece: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        if self.held.is_empty() {
            let used = self.read(work, paths, piece, end, out)?;
            self.held.extend_from_slice(piece.get(used..).unwrap_or_default());
        } else {
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(piece);
            let used = self.read(work, paths, &held, end, out)?;
            held.drain(..used);
            self.held = held;
        }
        if self.held.len() + self.pending.len() > self.max {
            return Err(Broken("a string is too long"));
        }
        if !end {
            return Ok(());
        }
        let over = match self.expect {
            Expect::Done => true,
            Expect::Start => self.lines || self.pending.iter().all(u8::is_ascii_whitespace),
            _ => false,
        };
        if !over || !self.held.is_empty() {
            return Err(Broken("it ends in the middle"));
        }
        out.append(&mut self.pending);
        Ok(())
    }

    /// Reads what is whole of the input, and says how much that is.
    fn read(
        &mut self,
        work: &mut Work<'_>,
        paths: &Paths,
        input: &[u8],
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<usize, Broken> {
        let mut at = 0;
        if self.expect == Expect::Start && self.pending.is_empty() && !self.lines {
            if input.starts_with(BOM) {
                out.extend_from_slice(BOM);
                at = BOM.len();
            } else if !end && !input.is_empty() && BOM.starts_with(input) {
                return Ok(0);
            }
        }
        while let Some(&byte) = input.get(at) {
            match (self.expect, byte) {
                (_, b' ' | b'\t' | b'\r' | b'\n') => {
                    self.blank(byte, out);
                    at += 1;
                }
                (Expect::Start | Expect::Value | Expect::FirstItem, _)
                    if (self.expect, byte) != (Expect::FirstItem, b']') =>
                {
                    let Some(next) = self.value(work, paths, input, at, end, out)? else { return Ok(at) };
                    at = next;
                }
                (Expect::FirstKey | Expect::Key, b'"') => {
                    let Some(next) = self.string(input, at, end)? else { return Ok(at) };
                    self.name(work, paths, input.get(at..next).unwrap_or_default())?;
                    at = next;
                }
                (Expect::Colon, b':') => {
                    self.before(byte);
                    self.expect = Expect::Value;
                    at += 1;
                }
                (Expect::Next, b',') => {
                    self.comma = self.comma.or(Some(self.pending.len()));
                    self.before(byte);
                    let in_object = self.frames.last().is_some_and(|frame| frame.is_object);
                    self.expect = if in_object { Expect::Key } else { Expect::Value };
                    at += 1;
                }
                (Expect::FirstItem | Expect::FirstKey | Expect::Next, b']' | b'}') => {
                    self.close(byte, out)?;
                    at += 1;
                }
                (Expect::Done, _) => return Err(Broken("something stands behind the value")),
                _ => return Err(Broken("it is not JSON")),
            }
        }
        Ok(at)
    }

    fn blank(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.before(byte);
        let between = matches!(self.expect, Expect::Done | Expect::Start);
        if between && (self.lines && byte == b'\n' || self.pending.len() > 64) {
            out.append(&mut self.pending);
            if self.lines && byte == b'\n' {
                self.expect = Expect::Start;
            }
        }
    }

    /// Keeps a byte that is written where the next value is.
    fn before(&mut self, byte: u8) {
        if self.skip.is_none() {
            self.pending.push(byte);
        }
    }

    /// The place behind a string that is there whole.
    fn string(&mut self, input: &[u8], at: usize, end: bool) -> Result<Option<usize>, Broken> {
        match string_end(input, at, self.resume) {
            Ok(close) => {
                self.resume = 0;
                Ok(Some(close + 1))
            }
            Err(_) if end => Err(Broken("a string does not end")),
            Err(read) => {
                self.resume = read;
                Ok(None)
            }
        }
    }

    /// The name of a member.
    fn name(&mut self, work: &mut Work<'_>, paths: &Paths, token: &[u8]) -> Result<(), Broken> {
        let name = decode(inner(token))?;
        self.expect = Expect::Colon;
        if self.skip.is_some() {
            return Ok(());
        }
        let set = self.frames.last().map_or(0, |frame| frame.set);
        let (set, rule) = if set == 0 { (0, None) } else { paths.step(set, To::Member(&name)) };
        self.member = (set, rule, false);
        match judge(work, &name) {
            Fate::Stays => self.pending.extend_from_slice(token),
            Fate::Becomes(text) => encode(&text, &mut self.pending),
            Fate::Goes => {
                self.member.2 = true;
                self.pending.extend_from_slice(token);
            }
        }
        Ok(())
    }

    /// A value, or the begin of one; none where it is not there whole.
    fn value(
        &mut self,
        work: &mut Work<'_>,
        paths: &Paths,
        input: &[u8],
        at: usize,
        end: bool,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, Broken> {
        let first = input.get(at).copied().unwrap_or_default();
        let next = match first {
            b'{' | b'[' => Some(at + 1),
            b'"' => self.string(input, at, end)?,
            b'-' | b'0'..=b'9' => number_end(input, at, end),
            _ => word_end(input, at, end)?,
        };
        let Some(next) = next else { return Ok(None) };
        let token = input.get(at..next).unwrap_or_default();
        let (set, rule, goes) = self.place(paths);
        if matches!(first, b'{' | b'[') {
            self.open(work, first == b'{', (set, rule, goes), out)?;
            return Ok(Some(next));
        }
        let text = if first == b'"' { Some(decode(inner(token))?) } else { None };
        if matches!(first, b'-' | b'0'..=b'9') && !is_number(token) {
            return Err(Broken("a number is none"));
        }
        if self.skip.is_none() {
            let fate = match (&text, rule) {
                _ if goes => Fate::Goes,
                (Some(text), Some(rule)) => by_rule(work, rule, text),
                (Some(text), None) => judge(work, text),
                // Nothing is there to be masked or refused; but a member that goes does so whatever it holds.
                (None, Some(rule)) if first == b'n' && !removes(work, rule) => Fate::Stays,
                (None, Some(rule)) => by_rule(work, rule, &String::from_utf8_lossy(token)),
                (None, None) if matches!(first, b't' | b'f' | b'n') => Fate::Stays,
                (None, None) => number(work, token),
            };
            self.write(&fate, token, out);
        }
        self.ended();
        Ok(Some(next))
    }

    /// What is known of the value that comes: from its name, or because it is an item.
    fn place(&mut self, paths: &Paths) -> (Set, Option<usize>, bool) {
        let Some(frame) = self.frames.last() else { return (paths.root(), None, false) };
        let (set, rule, goes) = if frame.is_object {
            self.member
        } else if frame.set == 0 {
            (0, None, false)
        } else {
            let (set, rule) = paths.step(frame.set, To::Item);
            (set, rule, false)
        };
        (set, rule.or(frame.rule), goes)
    }

    fn open(
        &mut self,
        work: &mut Work<'_>,
        is_object: bool,
        (set, rule, goes): (Set, Option<usize>, bool),
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        if self.frames.len() >= DEPTH {
            return Err(Broken("it is nested too deeply"));
        }
        let mut within = None;
        if self.skip.is_none() {
            let own = rule.filter(|_| self.frames.last().is_none_or(|frame| frame.rule != rule));
            let action = own.map(|rule| work.tally.note(work.rules, rule));
            if goes || matches!(action, Some(Action::Remove | Action::Deny)) {
                self.skip = Some(self.frames.len());
                self.forget();
            } else {
                within = rule;
                self.flush(out);
                out.push(if is_object { b'{' } else { b'[' });
            }
        }
        self.frames.push(Frame { is_object, written: false, set, rule: within });
        self.expect = if is_object { Expect::FirstKey } else { Expect::FirstItem };
        Ok(())
    }

    fn close(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), Broken> {
        match self.frames.pop() {
            Some(frame) if frame.is_object == (byte == b'}') => {}
            _ => return Err(Broken("a bracket closes another one")),
        }
        if self.skip == Some(self.frames.len()) {
            self.skip = None;
            self.write(&Fate::Goes, &[], out);
        } else if self.skip.is_none() {
            out.append(&mut self.pending);
            out.push(byte);
        }
        self.ended();
        Ok(())
    }

    fn ended(&mut self) {
        self.expect = if self.frames.is_empty() { Expect::Done } else { Expect::Next };
    }

    fn write(&mut self, fate: &Fate, token: &[u8], out: &mut Vec<u8>) {
        match fate {
            Fate::Stays => {
                self.flush(out);
                out.extend_from_slice(token);
            }
            Fate::Becomes(text) => {
                self.flush(out);
                encode(text, out);
            }
            // The text itself is something where nothing is left of it.
            Fate::Goes if self.frames.is_empty() => {
                self.flush(out);
                out.extend_from_slice(b"null");
            }
            Fate::Goes => self.forget(),
        }
    }

    /// Writes what stands before a value, without a comma where it is the first one that is written.
    fn flush(&mut self, out: &mut Vec<u8>) {
        let written = self.frames.last_mut().is_some_and(|frame| std::mem::replace(&mut frame.written, true));
        if let Some(comma) = self.comma.take().filter(|_| !written) {
            self.pending.remove(comma);
        }
        out.append(&mut self.pending);
    }

    fn forget(&mut self) {
        self.pending.clear();
        self.comma = None;
    }
}

/// What stands between the quotes.
fn inner(token: &[u8]) -> &[u8] {
    token.get(1..token.len().saturating_sub(1)).unwrap_or_default()
}

fn removes(work: &Work<'_>, rule: usize) -> bool {
    work.rules.get(rule).is_some_and(|rule| rule.action == Action::Remove)
}

/// The place behind `true`, `false` or `null`; none where it is not there whole.
fn word_end(input: &[u8], at: usize, end: bool) -> Result<Option<usize>, Broken> {
    let rest = input.get(at..).unwrap_or_default();
    for word in ["true", "false", "null"] {
        if rest.starts_with(word.as_bytes()) {
            return Ok(Some(at + word.len()));
        }
        if !end && word.as_bytes().starts_with(rest) {
            return Ok(None);
        }
    }
    Err(Broken("it is not JSON"))
}
