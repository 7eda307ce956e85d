//! The framing guard against the strict reading, whole and cut in two at every place.

use super::strict::{self, Body, Message};
use palisade::edge::framing::{Framing, HeadLimits, MAX_EMPTY_LINES, scan};

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, count: 20, target: 1024 };
/// Messages of one connection that are looked at.
const MESSAGES: usize = 4;
/// Longer inputs are not cut at each place.
const CUT: usize = 600;

/// Reads a connection's bytes both ways.
///
/// # Panics
/// Where they differ, or where it matters how the bytes are cut.
pub fn run(data: &[u8]) {
    let wanted = strictly(data);
    let whole = in_pieces(&[data]);
    assert_eq!(whole, wanted, "the guard, and the strict reading");
    if data.len() > CUT {
        return;
    }
    for cut in 0..=data.len() {
        let (one, other) = data.split_at(cut);
        assert_eq!(in_pieces(&[one, other]), wanted, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(in_pieces(&bytes), wanted, "byte by byte");
}

fn strictly(mut data: &[u8]) -> Vec<Message> {
    let limits = strict::Limits { bytes: LIMITS.bytes, count: LIMITS.count, target: LIMITS.target };
    let mut messages = Vec::new();
    while messages.len() < MESSAGES {
        data = strict::skip_empty_lines(data, MAX_EMPTY_LINES);
        let Some(message) = strict::read(data, &limits) else { break };
        let next = match (&message.body, message.close) {
            (Body::Whole(taken, _), false) => data.get(message.head + taken..),
            _ => None,
        };
        messages.push(message);
        let Some(rest) = next else { break };
        data = rest;
    }
    messages
}

/// What the gateway reads, as a connection does that gets these pieces one after the other.
fn in_pieces(pieces: &[&[u8]]) -> Vec<Message> {
    let mut reader = Reader::default();
    for piece in pieces {
        reader.buffer.extend_from_slice(piece);
        while reader.step() {}
    }
    reader.messages
}

#[derive(Default)]
struct Reader {
    buffer: Vec<u8>,
    empty: usize,
    /// The body being read, and what it holds so far.
    body: Option<(Framing, usize, Vec<u8>)>,
    messages: Vec<Message>,
    over: bool,
}

impl Reader {
    /// True where there may be more to do with what is here.
    fn step(&mut self) -> bool {
        if self.over || self.messages.len() > MESSAGES {
            return false;
        }
        if self.body.is_some() { self.content() } else { self.head() }
    }

    fn head(&mut self) -> bool {
        if self.messages.len() == MESSAGES {
            return false;
        }
        while self.buffer.starts_with(b"\r\n") && self.empty < MAX_EMPTY_LINES {
            self.buffer.drain(..2);
            self.empty += 1;
        }
        if self.buffer.len() < 2 {
            return false;
        }
        match scan(&self.buffer, &LIMITS) {
            Ok(None) => return false,
            Ok(Some(head)) => {
                self.buffer.drain(..head.length);
                self.empty = 0;
                let tunnel = head.framing == Framing::Raw;
                let body = if tunnel { Body::Tunnel } else { Body::Bad };
                self.messages.push(Message { head: head.length, close: head.close, body });
                self.over = tunnel;
                self.body = Some((head.framing, 0, Vec::new()));
            }
            Err(_) => self.over = true,
        }
        true
    }

    fn content(&mut self) -> bool {
        let Some((framing, taken, content)) = &mut self.body else { return false };
        match framing.advance(&self.buffer, &mut |piece| content.extend_from_slice(piece)) {
            Ok(count) => {
                self.buffer.drain(..count);
                *taken += count;
            }
            Err(_) => {
                self.over = true;
                return false;
            }
        }
        if !framing.is_done() {
            return false;
        }
        let Some((_, taken, content)) = self.body.take() else { return false };
        if let Some(message) = self.messages.last_mut() {
            message.body = Body::Whole(taken, content);
            self.over = message.close;
        }
        true
    }
}
