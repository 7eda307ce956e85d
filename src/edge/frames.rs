//! The frames of an HTTP/2 connection as they pass by: what costs more to take than to send is counted here, before
//! h2 decodes or answers it.
//!
//! Only frame headers are looked at, and of header blocks where a field begins (RFC 9113 §4.1, RFC 7541 §6); what is
//! malformed is left to h2, which refuses it.

mod fields;
mod open;
mod sent;

use super::framing::Refusal;
use fields::Fields;
use open::Open;
pub(super) use sent::Refused;
use sent::Sent;
use std::time::Duration;
use tokio::time::Instant;

/// The client's preface comes before the first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;
const HEADER: usize = 9;
/// The time in which frames are counted together.
const WINDOW: Duration = Duration::from_secs(10);
/// PING, SETTINGS, PRIORITY, unknown and empty frames in that time, besides two for each request.
const CONTROL: u32 = 500;
/// WINDOW_UPDATE in that time, besides those that what was sent explains.
const UPDATES: u32 = 2000;
/// Bytes sent that explain another WINDOW_UPDATE.
const UPDATE_BYTES: usize = 64;
/// Streams that a client may reset in that time, whatever it does else. Beyond that it may reset half of its streams.
const RESETS: u32 = 200;
/// So many fields are decoded before it is counted what is held of them.
const AT_ONCE: usize = 250;
/// A block of so many times the fields that a request may have is no mistake. Up to that the request is answered.
const FIELDS_FACTOR: usize = 2;

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

/// Where in the frames the connection stands, and what was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    preface: usize,
    header: [u8; HEADER],
    /// Bytes of the header that are here.
    have: usize,
    /// Bytes of the payload that are still to come.
    left: usize,
    /// Of a block: bytes before it (padding's length, priority), and padding after it.
    before: usize,
    padding: usize,
    fields: Fields,
    most_fields: usize,
    /// A block of fields has begun whose last frame is not complete.
    block: bool,
    /// It is the head of this stream.
    head: Option<u32>,
    /// How many heads have come whole, and the stream of the last one.
    heads: (usize, u32),
    unfinished: Option<Instant>,
    /// Fields of whole blocks since the last of them was taken.
    fresh: usize,
    since: Option<Instant>,
    counts: Counts,
    open: Open,
    /// Bytes that came.
    received: u64,
    sent: Sent,
}

/// Frames of the current window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Counts {
    streams: u32,
    resets: u32,
    control: u32,
    updates: u32,
    /// Updates that what was sent explains.
    explained: u32,
}

const fn calm(reason: &'static str) -> Refusal {
    Refusal { status: 400, reason }
}

impl Frames {
    /// A connection from its preface on; a request may have so many fields.
    pub fn new(header_count: usize) -> Self {
        Frames {
            preface: PREFACE,
            header: [0; HEADER],
            have: 0,
            left: 0,
            before: 0,
            padding: 0,
            fields: Fields::default(),
            most_fields: header_count.saturating_mul(FIELDS_FACTOR),
            block: false,
            head: None,
            heads: (0, 0),
            unfinished: None,
            fresh: 0,
            since: None,
            counts: Counts::default(),
            open: Open::default(),
            received: 0,
            sent: Sent::default(),
        }
    }

    /// These bytes went to the client.
    pub fn sent(&mut self, bytes: &[u8]) {
        let more = u32::try_from(bytes.len() / UPDATE_BYTES).unwrap_or(u32::MAX).saturating_add(1);
        self.counts.explained = self.counts.explained.saturating_add(more);
        self.sent.advance(bytes);
    }

    /// What was refused below us since the last call.
    pub(super) fn take_refused(&mut self) -> Refused {
        self.sent.take()
    }

    /// How many bytes the client has sent, where it has begun requests that it has not ended.
    pub(super) fn unfinished_requests(&self) -> Option<u64> {
        (!self.open.is_empty()).then_some(self.received)
    }

    /// The stream whose head has come last, where all heads so far are these `taken` ones: they are taken in order, and
    /// what h2 has refused is not among them.
    pub(super) fn last_taken(&self, taken: usize) -> Option<u32> {
        let (heads, last) = self.heads;
        (heads == taken).then_some(last)
    }

    /// True where nothing but whole frames has gone to the client.
    pub(super) fn is_between_frames(&self) -> bool {
        self.sent.is_between_frames()
    }

    /// The stream whose head has begun and not ended, where nothing but whole frames has gone to the client.
    pub(super) fn unfinished_head(&self) -> Option<u32> {
        self.head.filter(|_| self.sent.is_between_frames())
    }

    /// Since when something is incomplete that is to be had at once: the preface, a frame's header, a block of fields,
    /// any frame but DATA. While it is, no other stream of the connection gets any further.
    pub fn unfinished(&self) -> Option<Instant> {
        self.unfinished
    }

    /// Looks at what the client sent.
    ///
    /// # Errors
    /// It is too much: nothing of these bytes is to be taken.
    pub fn advance(&mut self, mut data: &[u8]) -> Result<(), Refusal> {
        while !data.is_empty() {
            let taken = self.advance_some(data)?;
            data = data.get(taken..).unwrap_or_default();
            self.resume();
        }
        Ok(())
    }

    /// The same up to where enough fields have come for now: says how much was looked at. Nothing is until
    /// [`Frames::resume`], so that what they become is counted before there are more of them.
    ///
    /// # Errors
    /// The same.
    pub fn advance_some(&mut self, mut data: &[u8]) -> Result<usize, Refusal> {
        let whole = data.len();
        take(&mut data, &mut self.preface);
        let left = self.follow(data)?;
        self.received += (whole - left) as u64;
        let [.., kind, _, _, _, _, _] = self.header;
        let unfinished = self.preface > 0 || self.have > 0 || self.block || (self.left > 0 && kind != DATA);
        // The clock is read only where a read ends in the middle of something.
        self.unfinished = unfinished.then(|| self.unfinished.unwrap_or_else(Instant::now));
        Ok(whole - left)
    }

    /// True where enough fields have come for now.
    pub fn is_held(&self) -> bool {
        self.fresh >= AT_ONCE
    }

    /// What has come was taken; true where more was held back.
    pub fn resume(&mut self) -> bool {
        let held = self.is_held();
        self.fresh = 0;
        held
    }

    /// Says how much is left.
    fn follow(&mut self, mut data: &[u8]) -> Result<usize, Refusal> {
        while !data.is_empty() && !self.is_held() {
            if self.left > 0 {
                self.payload(&mut data)?;
                if self.left == 0 {
                    self.end();
                }
                continue;
            }
            let Some((byte, rest)) = data.split_first() else { break };
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *byte;
            }
            self.have += 1;
            data = rest;
            if self.have == HEADER {
                self.have = 0;
                self.begin()?;
                if self.left == 0 {
                    self.end();
                }
            }
        }
        Ok(data.len())
    }

    /// A frame is complete.
    fn end(&mut self) {
        let [.., kind, flags, _, _, _, _] = self.header;
        if matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
            if let Some(stream) = self.head.take() {
                self.heads = (self.heads.0 + 1, stream);
            }
            self.block = false;
            self.fresh += self.fields.count();
        }
        if !self.block {
            self.unfinished = None;
        }
    }

    /// A frame's header is complete.
    fn begin(&mut self) -> Result<(), Refusal> {
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (self.before, self.padding) = (0, 0);
        match kind {
            HEADERS => self.head = self.open.head(stream, flags & END_STREAM != 0).then_some(stream),
            DATA if flags & END_STREAM != 0 => self.open.end(stream),
            RST_STREAM => self.open.end(stream),
            _ => {}
        }
        let counts = &mut self.counts;
        match kind {
            HEADERS => {
                counts.streams = counts.streams.saturating_add(1);
                self.fields = Fields::default();
                self.block = true;
                let (padded, priority) = (flags & PADDED != 0, flags & PRIORITY != 0);
                self.before = usize::from(padded) + if priority { 5 } else { 0 };
            }
            DATA | CONTINUATION if self.left > 0 || (kind == DATA && flags & END_STREAM != 0) => {}
            RST_STREAM => counts.resets += 1,
            WINDOW_UPDATE => counts.updates += 1,
            _ => counts.control += 1,
        }
        // The clock is read for the first frame, and when a limit is reached.
        let since = *self.since.get_or_insert_with(Instant::now);
        let Some(refusal) = self.counts.exceeded() else { return Ok(()) };
        if since.elapsed() < WINDOW {
            return Err(refusal);
        }
        (self.since, self.counts) = (None, Counts::default());
        Ok(())
    }

    /// Follows a payload; of a block, its fields are counted.
    fn payload(&mut self, data: &mut &[u8]) -> Result<(), Refusal> {
        let [.., kind, flags, _, _, _, _] = self.header;
        if kind != HEADERS && kind != CONTINUATION {
            take(data, &mut self.left);
            return Ok(());
        }
        if self.before > 0 {
            let Some((byte, rest)) = data.split_first() else { return Ok(()) };
            let first = self.before == if flags & PRIORITY != 0 { 6 } else { 1 };
            if flags & PADDED != 0 && first {
                self.padding = usize::from(*byte);
            }
            (self.before, self.left) = (self.before - 1, self.left - 1);
            *data = rest;
            return Ok(());
        }
        let mut block = self.left.saturating_sub(self.padding);
        if block == 0 {
            take(data, &mut self.left);
            return Ok(());
        }
        let whole = block;
        self.fields.advance(take(data, &mut block));
        self.left -= whole - block;
        if self.fields.count() > self.most_fields { Err(calm("http2_header_count")) } else { Ok(()) }
    }
}

impl Counts {
    fn exceeded(&self) -> Option<Refusal> {
        if self.control > CONTROL.saturating_add(self.streams.saturating_mul(2)) {
            return Some(calm("http2_control_frames"));
        }
        if self.updates > UPDATES.saturating_add(self.explained) {
            return Some(calm("http2_window_updates"));
        }
        (self.resets > RESETS && self.resets > self.streams / 2).then_some(calm("http2_resets"))
    }
}

/// Takes up to `left` bytes off the front.
fn take<'d>(data: &mut &'d [u8], left: &mut usize) -> &'d [u8] {
    let count = data.len().min(*left);
    let (taken, rest) = data.split_at_checked(count).unwrap_or((data, &[]));
    (*data, *left) = (rest, *left - count);
    taken
}

#[cfg(test)]
mod tests;
