//! A chunked body (RFC 9112 §7.1), byte by byte.

use super::{Refusal, bad, head::Fields};
use crate::owned::is_owned;

const MAX_EXTENSION: u32 = 1024;
const MAX_TRAILERS: u32 = 8192;

/// Where in a chunked body the reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    /// Bytes of the line being read: chunk extensions and trailers are bounded.
    line: u32,
    /// The trailer field being read; empty unless there is one.
    trailer: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size { value: u64, digits: u8 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    Done,
}

impl Chunks {
    /// At the first chunk's size.
    pub fn new() -> Self {
        Chunks { at: At::Size { value: 0, digits: 0 }, line: 0, trailer: Vec::new() }
    }

    /// True at the end of the body.
    pub(super) fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// Follows the framing through `data`, as [`super::Framing::advance`].
    pub(super) fn advance(&mut self, data: &[u8], content: &mut dyn FnMut(&[u8])) -> Result<usize, Refusal> {
        let mut index = 0;
        while let Some(byte) = data.get(index).copied() {
            if let At::Data { left } = self.at {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(data.len() - index);
                content(data.get(index..index + taken).unwrap_or_default());
                index += taken;
                let left = left - taken as u64;
                self.at = if left == 0 { At::DataCr } else { At::Data { left } };
                continue;
            }
            if self.at == At::Done {
                break;
            }
            index += 1;
            self.step(byte)?;
        }
        Ok(index)
    }

    fn step(&mut self, byte: u8) -> Result<(), Refusal> {
        self.at = match (self.at, byte) {
            (At::Size { value, digits }, byte) if byte.is_ascii_hexdigit() => {
                // 16 digits fit; a size beyond what any limit allows is refused there.
                if digits >= 16 {
                    return Err(bad("chunk_size"));
                }
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                At::Size { value: value << 4 | digit, digits: digits + 1 }
            }
            (At::Size { value, digits: 1.. }, b'\r') => At::SizeLf { value },
            (At::Size { value, digits: 1.. }, b';') => {
                self.line = 0;
                At::Extension { value }
            }
            (At::Size { .. }, _) => return Err(bad("chunk_size")),
            (At::Extension { value }, b'\r') => At::SizeLf { value },
            (At::Extension { value }, byte) if (byte >= b' ' && byte != 0x7f) || byte == b'\t' => {
                self.line += 1;
                if self.line > MAX_EXTENSION {
                    return Err(bad("chunk_extension"));
                }
                At::Extension { value }
            }
            (At::Extension { .. }, _) => return Err(bad("chunk_extension")),
            (At::SizeLf { value: 0 }, b'\n') => {
                self.line = 0;
                At::Trailer
            }
            (At::SizeLf { value }, b'\n') => At::Data { left: value },
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { value: 0, digits: 0 },
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Trailer, b'\n') => return Err(bad("framing_bare_lf")),
            (At::Trailer, byte) => {
                self.line += 1;
                if self.line > MAX_TRAILERS {
                    return Err(Refusal { status: 431, reason: "trailer_bytes" });
                }
                self.trailer.push(byte);
                At::Trailer
            }
            (At::TrailerLf, b'\n') if self.trailer.is_empty() => At::Done,
            (At::TrailerLf, b'\n') => {
                check_trailer(&self.trailer)?;
                self.trailer.clear();
                At::Trailer
            }
            _ => return Err(bad("chunk_framing")),
        };
        Ok(())
    }
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks::new()
    }
}

/// Fields that must not stand in a trailer (RFC 9110 §6.5.1): framing, routing, request modifiers, authentication,
/// content format, and those that only the gateway writes.
fn check_trailer(line: &[u8]) -> Result<(), Refusal> {
    let mut fields = Fields::default();
    fields.field(line)?;
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
    let name = std::str::from_utf8(&name).unwrap_or_default();
    const FORBIDDEN: [&str; 19] = [
        "content-length",
        "transfer-encoding",
        "host",
        "authorization",
        "cookie",
        "set-cookie",
        "content-type",
        "content-encoding",
        "content-range",
        "trailer",
        "te",
        "connection",
        "upgrade",
        "expect",
        "cache-control",
        "pragma",
        "max-forwards",
        "range",
        "proxy-authorization",
    ];
    let refused = FORBIDDEN.contains(&name) || name.starts_with("if-") || is_owned(name);
    if refused { Err(bad("trailer_forbidden")) } else { Ok(()) }
}
