//! The fields of a head: which are refused, and which frame the message.

use super::{
    Chunks, Framing, Head, HeadLimits, Refusal, bad,
    text::{authority, decimal, is_authority, is_name, is_text, is_token},
};

/// What a head has said so far.
#[derive(Default)]
pub(super) struct Fields {
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

impl Fields {
    pub(super) fn request_line(&mut self, line: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
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

    pub(super) fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let end = line.iter().position(|byte| !is_name(*byte)).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        let Some(value) = rest.strip_prefix(b":").filter(|_| !name.is_empty()) else {
            return Err(misnamed(line));
        };
        if !is_text(value) {
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
                // Of several it is not known which one an origin would take.
                self.websocket = !self.upgrade && value.eq_ignore_ascii_case(b"websocket");
                self.upgrade = true;
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

    pub(super) fn finish(self, length: usize) -> Result<Head, Refusal> {
        if self.hosts == 0 {
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

/// Why a line is not a field.
#[cold]
fn misnamed(line: &[u8]) -> Refusal {
    let Some(colon) = memchr::memchr(b':', line) else {
        let folded = line.starts_with(b" ") || line.starts_with(b"\t");
        return bad(if folded { "header_folded" } else { "header_malformed" });
    };
    let name = line.get(..colon).unwrap_or_default();
    match name.first() {
        Some(b' ' | b'\t') => bad("header_folded"),
        Some(_) if name.iter().all(|byte| is_token(*byte)) => bad("header_underscore"),
        _ => bad("header_name"),
    }
}

/// Origin-form, absolute-form with http(s), or `*` for OPTIONS. No control characters, no fragment.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    let (mut control, mut fragment, mut unusual) = (false, false, false);
    for byte in target {
        control |= (*byte <= b' ') | (*byte == 0x7f);
        fragment |= *byte == b'#';
        unusual |= matches!(*byte, b'"' | b'<' | b'>' | b'`' | 0x80..);
    }
    if control {
        return Err(bad("target_control_character"));
    }
    if fragment {
        return Err(bad("target_fragment"));
    }
    if unusual && !is_read(target) {
        return Err(bad("target_malformed"));
    }
    if target.first() == Some(&b'/') || (target == b"*" && method == b"OPTIONS") {
        return Ok(());
    }
    let scheme = target.get(..memchr::memmem::find(target, b"://").unwrap_or(0)).unwrap_or_default();
    let http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    if http && authority(target).is_some_and(is_authority) { Ok(()) } else { Err(bad("target_malformed")) }
}

/// False for a target that has what no URI has, and that Pingora does not read: it would say so by itself, and nobody
/// would hear of it.
#[cold]
fn is_read(target: &[u8]) -> bool {
    let (path, query) = target.split_at(memchr::memchr(b'?', target).unwrap_or(target.len()));
    std::str::from_utf8(target).is_ok()
        && !target.iter().any(|byte| matches!(byte, b'<' | b'>'))
        && !path.contains(&b'`')
        && !query.contains(&b'"')
}
