//! What h2 and Pingora refuse by themselves, and tell nobody but the client: seen in the frames that go to it.

use super::{END_STREAM, HEADER, HEADERS, RST_STREAM, take};

const GOAWAY: u8 = 7;
/// `:status 400`, of HPACK's static table (RFC 7541 appendix A).
const BAD_REQUEST: u8 = 0x8c;
/// A `:status` that is written out: a literal with the name of index 8.
const STATUS: u8 = 0x48;

/// The first field that is not of the static table.
const TABLE: u8 = 0xbe;

/// Requests that were refused before there was a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::edge) struct Refused {
    /// Streams that were reset, connections that were ended, heads that got a bare 400: the protocol was broken.
    pub(in crate::edge) malformed: usize,
    /// Heads that got a bare 431.
    pub(in crate::edge) too_large: usize,
}

/// Where in the frames we stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sent {
    header: [u8; HEADER],
    /// Bytes of the header that went, and then of the payload.
    have: usize,
    /// Bytes of the payload that are still to go.
    left: usize,
    /// The first two bytes of the payload, and the last four so far.
    first: [u8; 2],
    last: u32,
    refused: Refused,
}

impl Sent {
    pub(super) fn take(&mut self) -> Refused {
        std::mem::take(&mut self.refused)
    }

    /// True where no frame has gone in part.
    pub(super) fn is_between_frames(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    pub(super) fn advance(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            if self.left > 0 {
                self.payload(&mut data);
                continue;
            }
            let Some((byte, rest)) = data.split_first() else { break };
            if let Some(place) = self.header.get_mut(self.have) {
                *place = *byte;
            }
            (self.have, data) = (self.have + 1, rest);
            if self.have == HEADER {
                let [a, b, c, ..] = self.header;
                self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                (self.have, self.last) = (0, 0);
            }
        }
    }

    fn payload(&mut self, data: &mut &[u8]) {
        let [.., length, kind, flags, _, _, _, _] = self.header;
        let taken = take(data, &mut self.left);
        match kind {
            // A GOAWAY may go on, with words for people; its code is looked at in its place.
            RST_STREAM | GOAWAY => {
                for byte in taken {
                    self.have += 1;
                    self.last = self.last << 8 | u32::from(*byte);
                    let end = if kind == RST_STREAM { 4 } else { 8 };
                    self.refused.malformed += usize::from(self.have == end && blames(self.last));
                }
            }
            HEADERS if flags & END_STREAM != 0 => {
                for byte in taken {
                    if let Some(place) = self.first.get_mut(self.have) {
                        *place = *byte;
                    }
                    self.have = self.have.saturating_add(1);
                }
                let whole = self.left == 0 && self.have == usize::from(length);
                match (self.first, length) {
                    ([BAD_REQUEST, _], 1) if whole => self.refused.malformed += 1,
                    // Written out the first time, and out of the table from then on.
                    ([TABLE..=0xff, _], 1) if whole => self.refused.too_large += 1,
                    ([STATUS, text], 3..) if whole && text & 0x7f == length - 2 => {
                        self.refused.too_large += 1
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        if self.left == 0 {
            self.have = 0;
        }
    }
}

/// True for codes that say that the client has broken the protocol (RFC 9113 §7). What it did too much of is counted
/// elsewhere.
fn blames(code: u32) -> bool {
    const PROTOCOL: u32 = 1;
    const FLOW_CONTROL: u32 = 3;
    const FRAME_SIZE: u32 = 6;
    const COMPRESSION: u32 = 9;
    matches!(code, PROTOCOL | FLOW_CONTROL | FRAME_SIZE | COMPRESSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn seen<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
        let mut sent = Sent::default();
        pieces.for_each(|piece| sent.advance(piece));
        let refused = sent.take();
        assert_eq!(sent.take(), Refused::default());
        (refused.malformed, refused.too_large)
    }

    #[test]
    fn what_is_refused_is_seen_however_it_is_cut() {
        let goaway = |code: u8| frame(GOAWAY, 0, &[0, 0, 0, 3, 0, 0, 0, code, b'w', b'h', b'y', b'?', 1]);
        let frames = [
            (frame(RST_STREAM, 0, &[0, 0, 0, 1]), (1, 0)),
            (frame(RST_STREAM, 0, &[0, 0, 0, 8]), (0, 0)),
            (frame(RST_STREAM, 0, &[0, 0, 1, 1]), (0, 0)),
            (frame(0, 0, &[0, 0, 0, 1]), (0, 0)),
            (frame(4, 1, &[]), (0, 0)),
            (goaway(9), (1, 0)),
            (goaway(0), (0, 0)),
            (goaway(11), (0, 0)),
            (frame(HEADERS, 5, &[0x8c]), (1, 0)),
            (frame(HEADERS, 4, &[0x8c]), (0, 0)),
            (frame(HEADERS, 5, &[0x8c, 0xbf]), (0, 0)),
            (frame(HEADERS, 5, &[0x48, 0x83, 0x68, 0xcb, 0xff]), (0, 1)),
            (frame(HEADERS, 5, &[0x48, 3, b'4', b'3', b'1', 0xbf]), (0, 0)),
            (frame(HEADERS, 5, &[0xbe]), (0, 1)),
            (frame(HEADERS, 5, &[0x89, 0xbe]), (0, 0)),
            (frame(HEADERS, 5, &[0x88; 257]), (0, 0)),
            (frame(RST_STREAM, 0, &[0, 0, 0, 1]), (1, 0)),
        ];
        let all: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
        for size in [1, 2, 7, 9, 13, all.len()] {
            assert_eq!(seen(all.chunks(size)), (4, 2), "in pieces of {size}");
        }
        for (frame, expected) in frames {
            assert_eq!(seen(std::iter::once(&*frame)), expected, "{frame:?}");
        }
    }
}
