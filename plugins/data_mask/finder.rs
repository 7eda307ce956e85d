//! Finds what must not be shown in a line of text, and tells quickly where there can be nothing.

use super::{
    checks, iban,
    numbers::{Id, Numbers},
    stack::{self, Frames},
    tokens::{self, Token},
};
use aho_corasick::AhoCorasick;
use memchr::{memchr, memchr_iter, memmem};
use regex::bytes::Regex;
use std::collections::BTreeSet;

const KEY_BEGINS: &str = "-----BEGIN ";
pub(super) const KEY_ENDS: &[u8] = b"-----END";
/// The most bytes of a key's last line.
pub(super) const KEY_END: usize = 80;
/// A French number with Corsica in it.
const CORSICAN: &str =
    r"[1-478][ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?2[ABab][ -]?[0-9]{3}[ -]?[0-9]{3}[ -]?[0-9]{2}";

/// What stands in all of them.
const CORSICA: [&str; 4] = ["2A", "2B", "2a", "2b"];

/// What was found in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) rule: usize,
    /// It is a private key that goes on behind the line.
    pub(super) opens: bool,
}

/// What a literal that is looked for says.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Token(Token, usize, usize),
    Key(usize),
}

/// All that is looked for in texts.
#[derive(Debug, Default)]
pub(super) struct Finder {
    numbers: Numbers,
    corsican: Option<(AhoCorasick, Regex, usize)>,
    iban: Option<usize>,
    email: Option<usize>,
    custom: Vec<(Regex, usize)>,
    frames: Option<(Frames, usize)>,
    literals: Vec<(&'static str, Mark)>,
    marks: Option<AhoCorasick>,
    /// What makes a text worth a closer look: the literals, and for JSON names of fields.
    text_gate: Option<AhoCorasick>,
    json_gate: Option<AhoCorasick>,
}

/// An automaton that cannot be made: what is looked for is too large.
pub(super) type TooLarge = Box<dyn std::error::Error + Send + Sync>;

impl Finder {
    pub(super) fn number(&mut self, id: Id, rule: usize) {
        self.numbers.add(id, rule);
    }

    /// French numbers, those with a letter among them.
    pub(super) fn french(&mut self, rule: usize) -> Result<(), TooLarge> {
        self.numbers.add(Id::FrNir, rule);
        self.corsican = Some((AhoCorasick::new(CORSICA)?, Regex::new(CORSICAN)?, rule));
        Ok(())
    }

    pub(super) fn iban(&mut self, rule: usize) {
        self.iban = Some(rule);
    }

    pub(super) fn email(&mut self, rule: usize) {
        self.email = Some(rule);
    }

    pub(super) fn custom(&mut self, regex: Regex, rule: usize) {
        self.custom.push((regex, rule));
    }

    pub(super) fn token(&mut self, token: Token, rule: usize) {
        let prefixes = token.prefixes().into_iter().enumerate();
        self.literals.extend(prefixes.map(|(index, prefix)| (prefix, Mark::Token(token, index, rule))));
    }

    pub(super) fn key(&mut self, rule: usize) {
        self.literals.push((KEY_BEGINS, Mark::Key(rule)));
    }

    pub(super) fn frames(&mut self, rule: usize) -> Result<(), TooLarge> {
        self.frames = Some((Frames::new()?, rule));
        Ok(())
    }

    /// Makes the automata; `names` are those of fields that JSON is looked at for.
    pub(super) fn finish(&mut self, names: &BTreeSet<String>) -> Result<(), TooLarge> {
        let literals: Vec<&str> = self.literals.iter().map(|(literal, _)| *literal).collect();
        let automaton = |words: &[&str]| {
            if words.is_empty() { Ok(None) } else { AhoCorasick::new(words).map(Some) }
        };
        self.marks = automaton(&literals)?;
        let traces = if self.frames.is_some() { stack::MARKS } else { &[] };
        let text = [&literals, traces].concat();
        self.text_gate = automaton(&text)?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.json_gate = automaton(&[text, names].concat())?;
        Ok(())
    }

    /// False where nothing can be found in a text, whatever its lines are.
    pub(super) fn may_find(&self, text: &[u8]) -> bool {
        self.custom.iter().any(|(regex, _)| regex.is_match(text)) || self.gate(text, self.text_gate.as_ref())
    }

    /// False where nothing can be found in JSON as it is written, escapes and all.
    pub(super) fn may_find_in_json(&self, raw: &[u8]) -> bool {
        // What an operator has written may begin where a string does, or with what JSON escapes.
        !self.custom.is_empty() || self.gate(raw, self.json_gate.as_ref()) || hides(raw)
    }

    fn gate(&self, text: &[u8], gate: Option<&AhoCorasick>) -> bool {
        let mut found = false;
        let mut seen = |_, _, _| {
            found = true;
            false
        };
        if self.email.is_some() && memchr(b'@', text).is_some() {
            return true;
        }
        self.numbers.find(text, false, &mut seen);
        if self.iban.is_some() {
            iban::find(text, false, &mut |start, end| seen(start, end, 0));
        }
        found
            || gate.is_some_and(|gate| gate.is_match(text))
            || self
                .corsican
                .as_ref()
                .is_some_and(|(mark, regex, _)| mark.is_match(text) && regex.is_match(text))
    }

    /// The rule for a number of JSON.
    pub(super) fn number_of_json(&self, digits: &[u8]) -> Option<usize> {
        let custom = || self.custom.iter().find(|(regex, _)| regex.is_match(digits));
        self.numbers.whole(digits).or_else(|| custom().map(|(_, rule)| *rule))
    }

    /// The rule for stack traces, where a line begins one.
    pub(super) fn trace(&self, line: &[u8]) -> Option<usize> {
        self.frames.as_ref().filter(|(frames, _)| frames.begins(line)).map(|(_, rule)| *rule)
    }

    /// True for a line that goes on with a stack trace.
    pub(super) fn trace_goes_on(&self, line: &[u8]) -> bool {
        self.frames.as_ref().is_some_and(|(frames, _)| frames.goes_on(line))
    }

    /// All that begins at `from` or later in a line, in order and without overlaps. `goes_on` says that there is more of
    /// the line than is seen.
    pub(super) fn inline(&self, line: &[u8], from: usize, goes_on: bool, hits: &mut Vec<Hit>) {
        hits.clear();
        let mut add = |start, end, rule| hits.push(Hit { start, end, rule, opens: false });
        self.numbers.find(line, true, &mut |start, end, rule| {
            add(start, end, rule);
            true
        });
        if let Some(rule) = self.iban {
            iban::find(line, true, &mut |start, end| {
                add(start, end, rule);
                true
            });
        }
        if let Some(rule) = self.email {
            let all = memchr_iter(b'@', line).filter_map(|at| tokens::email(line, at));
            all.for_each(|(start, end)| add(start, end, rule));
        }
        if let Some((mark, regex, rule)) = &self.corsican
            && mark.is_match(line)
        {
            let all = regex.find_iter(line).filter(|found| {
                let alone = |at: Option<&u8>| !at.is_some_and(u8::is_ascii_alphanumeric);
                let before = found.start().checked_sub(1).and_then(|at| line.get(at));
                alone(before) && alone(line.get(found.end())) && checks::corsican(found.as_bytes())
            });
            all.for_each(|found| add(found.start(), found.end(), *rule));
        }
        for (regex, rule) in &self.custom {
            regex.find_iter(line).for_each(|found| add(found.start(), found.end(), *rule));
        }
        self.tokens(line, goes_on, hits);
        hits.sort_unstable_by_key(|hit| (hit.start, std::cmp::Reverse(hit.end)));
        let mut end = from;
        for hit in hits.iter_mut() {
            hit.start = hit.start.max(end);
            end = end.max(hit.end);
        }
        hits.retain(|hit| hit.start < hit.end);
    }

    fn tokens(&self, line: &[u8], goes_on: bool, hits: &mut Vec<Hit>) {
        let Some(marks) = &self.marks else { return };
        let mut covered = 0;
        for found in marks.find_overlapping_iter(line) {
            // Nothing begins within a token: a prefix may stand in it again and again.
            if found.start() < covered {
                continue;
            }
            match self.literals.get(found.pattern().as_usize()) {
                Some((_, Mark::Token(token, index, rule))) => {
                    let place = (found.start(), found.end());
                    if let Some((start, end)) = token.within(line, *index, place, goes_on) {
                        covered = end;
                        hits.push(Hit { start, end, rule: *rule, opens: false });
                    }
                }
                Some((_, Mark::Key(rule))) if is_private(line, found.end()) => {
                    let (end, opens) = match key_end(line, found.end()) {
                        Some(end) => (end, false),
                        None => (line.len(), true),
                    };
                    covered = end;
                    hits.push(Hit { start: found.start(), end, rule: *rule, opens });
                }
                _ => {}
            }
        }
    }
}

/// The label behind `-----BEGIN` is one of a private key.
fn is_private(line: &[u8], at: usize) -> bool {
    let label = line.get(at..).unwrap_or_default();
    let label = label.get(..label.len().min(KEY_END)).unwrap_or_default();
    let end = memmem::find(label, b"-----").unwrap_or(label.len());
    memmem::find(label.get(..end).unwrap_or_default(), b"PRIVATE KEY").is_some()
}

/// Where the key ends that has begun before `from`; none where it does not end in the line.
pub(super) fn key_end(line: &[u8], from: usize) -> Option<usize> {
    let rest = line.get(from..)?;
    let end = memmem::find(rest, KEY_ENDS)? + KEY_ENDS.len();
    let label = rest.get(end..rest.len().min(end + KEY_END))?;
    Some(from + end + memmem::find(label, b"-----").map_or(label.len(), |at| at + 5))
}

/// True where escapes may hide something: letters that need none, or what no JSON has.
fn hides(raw: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = raw.get(from..).and_then(|rest| memchr(b'\\', rest)) {
        let at = from + at;
        match raw.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
            Some(b'u') => {
                let plain = raw.get(at + 2..at + 5);
                if plain.is_none_or(|digits| {
                    digits.starts_with(b"00") && matches!(digits.last(), Some(b'2'..=b'7'))
                }) {
                    return true;
                }
            }
            _ => return true,
        }
        from = at + 2;
    }
    false
}
