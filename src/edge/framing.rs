//! A strict reading of HTTP/1 heads and chunk framing (RFC 9112), before Pingora's parser sees a byte.
//!
//! What can be read in two ways is refused, so that what passes can only be read in one. Linear in the input,
//! without an allocation for each byte.

mod chunks;
mod head;
mod text;

pub use chunks::Chunks;
pub(super) use text::authority;
pub use text::is_authority;

use super::frames::Frames;
use head::Fields;
use std::fmt;

/// What a head may use.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of the whole head.
    pub bytes: usize,
    /// Header fields.
    pub count: usize,
    /// Bytes of the request target.
    pub target: usize,
}

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// The stable reason code.
    pub reason: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.reason)
    }
}

#[cold]
const fn bad(reason: &'static str) -> Refusal {
    Refusal { status: 400, reason }
}

/// A complete head.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Its bytes, the empty line included.
    pub length: usize,
    /// How the body that follows is framed.
    pub framing: Framing,
    /// True where the client closes after this request.
    pub close: bool,
}

/// How a body is framed, and how far it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks.
    Chunked(Chunks),
    /// A tunnel: everything that comes belongs to it.
    Raw,
    /// The frames of HTTP/2.
    Http2(Box<Frames>),
}

/// Leading empty lines that are passed over (RFC 9112 §2.2).
pub const MAX_EMPTY_LINES: usize = 4;
/// Bytes of a request line besides the target: the method and the version.
const REQUEST_LINE: usize = 48;

/// False where [`scan`] would say of the buffer what it said of its first `seen` bytes. A head that comes byte by byte is
/// not read from its beginning at each of them.
pub fn says_more(buffer: &[u8], seen: usize, limits: &HeadLimits) -> bool {
    let passes = |limit: usize| seen <= limit && buffer.len() > limit;
    seen == 0
        || buffer.len() >= limits.bytes
        || passes(limits.target + REQUEST_LINE)
        || memchr::memchr(b'\n', buffer.get(seen..).unwrap_or(buffer)).is_some()
}

/// Reads a head. `Ok(None)`: more bytes are needed. The buffer begins at the request line.
pub fn scan(buffer: &[u8], limits: &HeadLimits) -> Result<Option<Head>, Refusal> {
    let mut start = 0usize;
    let mut fields = Fields::default();
    // Before anything else, so that it does not matter how the line was cut on its way.
    let line = buffer.get(..limits.target + REQUEST_LINE + 1).unwrap_or(buffer);
    if line.len() > limits.target + REQUEST_LINE && memchr::memchr(b'\n', line).is_none() {
        return Err(Refusal { status: 414, reason: "uri_too_long" });
    }
    for (lines, end) in memchr::memchr_iter(b'\n', buffer).enumerate() {
        if end >= limits.bytes {
            break;
        }
        let line = buffer.get(start..end).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else { return Err(bad("framing_bare_lf")) };
        if lines == 0 {
            fields.request_line(line, limits)?;
        } else if line.is_empty() {
            return fields.finish(end + 1).map(Some);
        } else {
            if lines > limits.count {
                return Err(Refusal { status: 431, reason: "header_count" });
            }
            fields.field(line)?;
        }
        start = end + 1;
    }
    if buffer.len() >= limits.bytes {
        return Err(Refusal { status: 431, reason: "header_bytes" });
    }
    Ok(None)
}

impl Framing {
    /// True where no request ends with what is read: a tunnel, or HTTP/2.
    pub fn is_endless(&self) -> bool {
        matches!(self, Framing::Raw | Framing::Http2(_))
    }

    /// True where the body has been read to its end.
    pub fn is_done(&self) -> bool {
        match self {
            Framing::Length(left) => *left == 0,
            Framing::Chunked(chunks) => chunks.is_done(),
            Framing::Raw | Framing::Http2(_) => false,
        }
    }

    /// Follows the framing through `data`: returns how many bytes of it belong to this body. What is content
    /// (not framing) goes to `content`.
    pub fn advance(&mut self, data: &[u8], content: &mut dyn FnMut(&[u8])) -> Result<usize, Refusal> {
        match self {
            Framing::Raw => {
                content(data);
                Ok(data.len())
            }
            Framing::Http2(frames) => frames.advance_some(data),
            Framing::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                *left -= taken as u64;
                content(data.get(..taken).unwrap_or_default());
                Ok(taken)
            }
            Framing::Chunked(chunks) => chunks.advance(data, content),
        }
    }
}

#[cfg(test)]
mod tests;
