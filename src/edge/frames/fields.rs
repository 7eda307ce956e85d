//! Where the fields of a header block begin (RFC 7541 §6), without decoding any.

/// Counts the fields of one block, in however many pieces it comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    at: At,
    count: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// A representation begins.
    #[default]
    Start,
    /// In an index that goes on; so many strings follow.
    Index { strings: u8 },
    /// The length of a string begins.
    Length { strings: u8 },
    /// In a length that goes on.
    LengthMore { strings: u8, length: usize, shift: u32 },
    /// In a string.
    Text { strings: u8, left: usize },
}

/// After an index, or a string: so many strings are still to come.
fn then(strings: u8) -> At {
    if strings == 0 { At::Start } else { At::Length { strings } }
}

fn text(strings: u8, left: usize) -> At {
    if left == 0 { then(strings - 1) } else { At::Text { strings, left } }
}

impl Fields {
    /// Fields that have begun, and changes of the table's size.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn advance(&mut self, mut data: &[u8]) {
        while let Some((byte, rest)) = data.split_first() {
            if let At::Text { strings, left } = self.at {
                let taken = left.min(data.len());
                data = data.get(taken..).unwrap_or_default();
                self.at = text(strings, left - taken);
                continue;
            }
            data = rest;
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        self.at = match self.at {
            At::Start => {
                self.count += 1;
                let (prefix, literal) = match byte {
                    0x80.. => (0x7f, false),
                    0x40.. => (0x3f, true),
                    0x20.. => (0x1f, false),
                    _ => (0x0f, true),
                };
                let index = byte & prefix;
                // Without an index the name is written out, and then the value.
                let strings = u8::from(literal) + u8::from(literal && index == 0);
                if index == prefix { At::Index { strings } } else { then(strings) }
            }
            At::Index { strings } if byte & 0x80 != 0 => At::Index { strings },
            At::Index { strings } => then(strings),
            At::Length { strings } => match byte & 0x7f {
                0x7f => At::LengthMore { strings, length: 0x7f, shift: 0 },
                length => text(strings, usize::from(length)),
            },
            At::LengthMore { strings, length, shift } => {
                let more = usize::from(byte & 0x7f).checked_shl(shift).unwrap_or(usize::MAX);
                let length = length.saturating_add(more);
                if byte & 0x80 == 0 {
                    text(strings, length)
                } else {
                    At::LengthMore { strings, length, shift: shift.saturating_add(7) }
                }
            }
            at @ At::Text { .. } => at,
        };
    }
}
