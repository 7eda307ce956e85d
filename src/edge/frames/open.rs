//! Requests that the client has begun and not ended.

/// So many are told apart; h2 refuses more streams than that long before.
const MOST: usize = 256;

/// The streams whose end is still to come, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Open {
    last: u32,
    streams: Vec<u32>,
}

impl Open {
    /// A block of fields on a stream: true where it is its head. A second one is its trailers.
    pub(super) fn head(&mut self, stream: u32, ends: bool) -> bool {
        let new = stream > self.last;
        if new {
            self.last = stream;
            if !ends {
                if self.streams.len() >= MOST {
                    self.streams.remove(0);
                }
                self.streams.push(stream);
            }
        } else if ends {
            self.end(stream);
        }
        new
    }

    /// Nothing more comes on a stream.
    pub(super) fn end(&mut self, stream: u32) {
        if let Ok(place) = self.streams.binary_search(&stream) {
            self.streams.remove(place);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}
