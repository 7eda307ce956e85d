//! A strict reading of HTTP/1 heads and chunk framing (RFC 9112), before Pingora's parser sees a byte.
//!
//! What can be read in two ways is refused, so that what passes can only be read in one. Linear in the input,
//! without an allocation for each byte.

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
}

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

/// Leading empty lines that are passed over (RFC 9112 §2.2).
pub const MAX_EMPTY_LINES: usize = 4;
const MAX_EXTENSION: u32 = 1024;
const MAX_TRAILERS: u32 = 8192;
/// Bytes of a request line besides the target: the method and the version.
const REQUEST_LINE: usize = 48;

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

/// What a head has said so far.
#[derive(Default)]
struct Fields {
    /// Of an absolute-form target: the host that it names.
    authority: Option<Box<[u8]>>,
    http10: bool,
    get: bool,
    trace: bool,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    websocket: bool,
    upgrade: bool,
    connection_upgrade: bool,
    close: bool,
    keep_alive: bool,
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

impl Fields {
    fn request_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
        let mut parts = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad("request_line"));
        };
        if method.is_empty() || method.len() > 32 || !method.iter().all(|byte| is_token(*byte)) {
            return Err(bad("method_malformed"));
        }
        if target.len() > limits.target {
            return Err(Refusal { status: 414, reason: "uri_too_long" });
        }
        self.http10 = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ if version.starts_with(b"HTTP/") => {
                return Err(Refusal { status: 505, reason: "http_version" });
            }
            _ => return Err(bad("request_line")),
        };
        self.get = method == b"GET";
        self.trace = method == b"TRACE";
        if method == b"CONNECT" {
            return Err(Refusal { status: 405, reason: "connect_refused" });
        }
        check_target(method, target)?;
        self.authority = authority(target).map(Box::from);
        Ok(())
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(bad("header_folded"));
        }
        let Some(colon) = memchr::memchr(b':', line) else { return Err(bad("header_malformed")) };
        let (name, rest) = line.split_at(colon);
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(bad("header_name"));
        }
        if name.contains(&b'_') {
            return Err(bad("header_underscore"));
        }
        let value = rest.get(1..).unwrap_or_default();
        if value.iter().any(|byte| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f) {
            return Err(bad("header_control_character"));
        }
        self.known(name, value.trim_ascii())
    }

    /// Fields that frame the message, by length first: most names are settled by one comparison.
    fn known(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                if self.hosts > 1 {
                    return Err(bad("host_repeated"));
                }
                if !is_authority(value) {
                    return Err(bad("host_malformed"));
                }
                // One would choose the route, the other the host at an origin.
                if self.authority.as_deref().is_some_and(|target| !target.eq_ignore_ascii_case(value)) {
                    return Err(bad("host_mismatch"));
                }
            }
            6 if name.eq_ignore_ascii_case(b"expect") && !value.eq_ignore_ascii_case(b"100-continue") => {
                return Err(Refusal { status: 417, reason: "expectation_unknown" });
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                self.upgrade = true;
                self.websocket = value.eq_ignore_ascii_case(b"websocket");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
                    self.connection_upgrade |= token.eq_ignore_ascii_case(b"upgrade");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.length.is_some() {
                    return Err(bad("framing_length_repeated"));
                }
                self.length = Some(decimal(value).ok_or(bad("framing_length_malformed"))?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(bad("framing_coding_repeated"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(bad("framing_coding_unknown"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, length: usize) -> Result<Head, Refusal> {
        if self.hosts == 0 && !self.http10 {
            return Err(bad("host_missing"));
        }
        if self.chunked && self.length.is_some() {
            return Err(bad("framing_length_and_coding"));
        }
        if self.chunked && self.http10 {
            return Err(bad("framing_coding_http10"));
        }
        let body = self.chunked || self.length.is_some_and(|length| length > 0);
        if body && self.trace {
            return Err(bad("framing_trace_body"));
        }
        if body && self.upgrade {
            return Err(bad("framing_upgrade_body"));
        }
        let tunnel = self.websocket && self.connection_upgrade && self.get && !self.http10;
        let framing = match (self.chunked, self.length) {
            (true, _) => Framing::Chunked(Chunks::new()),
            (false, Some(length)) if length > 0 => Framing::Length(length),
            _ if tunnel => Framing::Raw,
            _ => Framing::Length(0),
        };
        let close = self.close || (self.http10 && !self.keep_alive);
        Ok(Head { length, framing, close })
    }
}

/// `1*DIGIT`, without overflow.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Origin-form, absolute-form with http(s), or `*` for OPTIONS. No control characters, no fragment.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        return Err(bad("target_control_character"));
    }
    if target.contains(&b'#') {
        return Err(bad("target_fragment"));
    }
    if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
        return Ok(());
    }
    let scheme = target.get(..memchr::memmem::find(target, b"://").unwrap_or(0)).unwrap_or_default();
    let http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    if http && authority(target).is_some_and(is_authority) { Ok(()) } else { Err(bad("target_malformed")) }
}

/// The authority of an absolute-form target (RFC 9112 §3.2.2); none in the other forms.
pub(super) fn authority(target: &[u8]) -> Option<&[u8]> {
    let scheme_end = memchr::memmem::find(target, b"://").filter(|_| target.first() != Some(&b'/'))?;
    target.get(scheme_end + 3..)?.split(|byte| matches!(byte, b'/' | b'?')).next()
}

/// A host and an optional port; no user information.
pub fn is_authority(value: &[u8]) -> bool {
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            let (address, after) = rest.split_at(end);
            let valid =
                std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
            if !valid {
                return false;
            }
            (&b"v6"[..], after.get(1..).unwrap_or_default())
        }
        None => value.split_at(memchr::memchr(b':', value).unwrap_or(value.len())),
    };
    let port = match port.strip_prefix(b":") {
        Some(digits) => {
            !digits.is_empty() && digits.len() <= 5 && decimal(digits).is_some_and(|port| port <= 65_535)
        }
        None => port.is_empty(),
    };
    let name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    port && !host.is_empty() && host.len() <= 253 && host.iter().all(name)
}

impl Framing {
    /// True where the body has been read to its end.
    pub fn is_done(&self) -> bool {
        matches!(self, Framing::Length(0) | Framing::Chunked(Chunks { at: At::Done, .. }))
    }

    /// Follows the framing through `data`: returns how many bytes of it belong to this body. What is content
    /// (not framing) goes to `content`.
    pub fn advance(&mut self, data: &[u8], content: &mut dyn FnMut(&[u8])) -> Result<usize, Refusal> {
        match self {
            Framing::Raw => {
                content(data);
                Ok(data.len())
            }
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

impl Chunks {
    /// At the first chunk's size.
    pub fn new() -> Self {
        Chunks { at: At::Size { value: 0, digits: 0 }, line: 0, trailer: Vec::new() }
    }

    fn advance(&mut self, data: &[u8], content: &mut dyn FnMut(&[u8])) -> Result<usize, Refusal> {
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
                if digits >= 16 || value >> 60 != 0 {
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

/// Fields that must not stand in a trailer (RFC 9110 §6.5.1): framing, routing, authentication, and those that
/// only the gateway writes.
fn check_trailer(line: &[u8]) -> Result<(), Refusal> {
    let mut fields = Fields::default();
    fields.field(line)?;
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase();
    let name = std::str::from_utf8(&name).unwrap_or_default();
    const FORBIDDEN: [&str; 16] = [
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
        "proxy-authorization",
    ];
    if FORBIDDEN.contains(&name) || super::headers::is_owned(name) {
        Err(bad("trailer_forbidden"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
