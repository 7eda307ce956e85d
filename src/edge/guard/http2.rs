//! What a guard knows of an HTTP/2 connection by its frames.

use super::Guard;
use crate::edge::{
    frames::{Frames, Refused},
    framing::Framing,
    http2::farewell,
};
use std::io::IoSlice;
use tokio::time::Instant;

impl Guard {
    /// The connection speaks HTTP/2 from here on; a request may have so many fields.
    pub(in crate::edge) fn set_http2(&self, header_count: usize) {
        self.lock().framing = Framing::Http2(Box::new(Frames::new(header_count)));
    }

    /// What was refused below us since the last call.
    pub(in crate::edge) fn take_refused(&self) -> Refused {
        match &mut self.lock().framing {
            Framing::Http2(frames) => frames.take_refused(),
            _ => Refused::default(),
        }
    }

    /// All requests that have come over HTTP/2 were taken; true where more was held back.
    pub(in crate::edge) fn resume(&self) -> bool {
        match &mut self.lock().framing {
            Framing::Http2(frames) => frames.resume(),
            _ => false,
        }
    }

    /// How many bytes have come over HTTP/2, where requests have begun that have not ended.
    pub(in crate::edge) fn unfinished_requests(&self) -> Option<u64> {
        match &self.lock().framing {
            Framing::Http2(frames) => frames.unfinished_requests(),
            _ => None,
        }
    }

    /// The HTTP/2 stream whose head has begun and not ended, where an answer can be written between two frames.
    pub(in crate::edge) fn unfinished_head(&self) -> Option<u32> {
        match &self.lock().framing {
            Framing::Http2(frames) => frames.unfinished_head(),
            _ => None,
        }
    }

    /// The HTTP/2 stream of the last request, where that can be told: `taken` is how many were taken so far.
    pub(in crate::edge) fn last_taken(&self, taken: usize) -> Option<u32> {
        match &self.lock().framing {
            Framing::Http2(frames) => frames.last_taken(taken),
            _ => None,
        }
    }

    /// Tells the client of an HTTP/2 stream that has no answer yet to go on (RFC 9110 §15.2.1). It goes out when the
    /// connection is flushed next. False where it cannot be: in the middle of a frame of h2's, or behind much else.
    pub(in crate::edge) fn go_on(&self, stream: u32) -> bool {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let Framing::Http2(frames) = &mut inner.framing else { return false };
        let frame = farewell::go_on(stream);
        if !frames.is_between_frames() || !inner.held.take(&[IoSlice::new(&frame)]) {
            return false;
        }
        frames.sent(&frame);
        true
    }

    /// Since when a frame or a block of fields of HTTP/2 is incomplete.
    pub(in crate::edge) fn unfinished(&self) -> Option<Instant> {
        match &self.lock().framing {
            Framing::Http2(frames) => frames.unfinished(),
            _ => None,
        }
    }
}
