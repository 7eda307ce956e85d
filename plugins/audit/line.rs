//! One request as one JSON line.

use super::{
    fields::{Field, Fields},
    mask::{self, Masks},
    text,
};
use http::{HeaderName, Version};
use palisade_contract::{Decision, Exchange, Finding};
use serde_json::Value;

/// The longest line, its line break included.
pub(super) const LONGEST: usize = 8 << 10;
/// The part of a line that is kept for what has a length of its own: numbers, addresses, the end.
const MARGIN: usize = 1 << 10;

/// The least room for a part of a value.
const LEAST: usize = 64;
/// How deep a value may be.
const DEEPEST: usize = 8;

/// What a line holds.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) fields: Fields,
    /// Header fields of the request that are added.
    pub(super) headers: Vec<HeaderName>,
    pub(super) masks: Masks,
}

/// Appends the line, its line break included.
pub(super) fn write(out: &mut Vec<u8>, ex: &Exchange, layout: &Layout) {
    let mut line = Line { start: out.len(), out, fields: layout.fields, cut: false };
    request(&mut line, ex, layout);
    client(&mut line, ex);
    principal(&mut line, ex);
    outcome(&mut line, ex);
    if line.fields.has(Field::Decisions) {
        decisions(&mut line, ex);
    }
    if line.fields.has(Field::Findings) && !ex.findings().is_empty() {
        findings(&mut line, ex.findings());
    }
    if !layout.headers.is_empty() {
        headers(&mut line, ex, layout);
    }
    line.end();
}

/// A name as it stands before a number.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":").as_bytes()
    };
}

/// A name as it stands before text, whose first quote is part of it.
macro_rules! quote {
    ($name:literal) => {
        concat!(",\"", $name, "\":\"").as_bytes()
    };
}

fn request(line: &mut Line<'_>, ex: &Exchange, layout: &Layout) {
    line.quoted(Field::Time, quote!("time"), |out| text::time(out, ex.started()));
    line.text(Field::Id, quote!("id"), ex.id());
    if line.fields.has(Field::Trace) {
        trace(line, ex.id());
    }
    line.text(Field::Route, quote!("route"), ex.route().map_or("_none", |route| route));
    line.optional(Field::Upstream, quote!("upstream"), ex.upstream().map(|name| &**name));
    line.text(Field::Method, quote!("method"), ex.method().as_str());
    line.text(Field::Host, quote!("host"), ex.host());
    let params = ex.path_params();
    if layout.masks.has_params() {
        let hidden = params.iter().filter(|(name, _)| layout.masks.masks_param(name));
        let hidden: Vec<&str> = hidden.map(|(_, value)| value.as_str()).collect();
        line.text(Field::Path, quote!("path"), &layout.masks.path(ex.path(), &hidden));
    } else {
        line.text(Field::Path, quote!("path"), ex.path());
    }
    if line.fields.has(Field::Query)
        && let Some(query) = ex.query()
    {
        line.text(Field::Query, quote!("query"), &layout.masks.query(query));
    }
    if !params.is_empty() && line.fields.has(Field::Params) {
        line.map(name!("params"), params, |line, (name, value)| {
            let shown = if layout.masks.masks_param(name) { mask::MASKED } else { value };
            line.pair(name, |out, room| text::string(out, shown.as_bytes(), room));
        });
    }
    line.text(Field::Protocol, quote!("protocol"), protocol(ex.request.version));
}

/// The trace that the origin is told of is the id, where that is one.
fn trace(line: &mut Line<'_>, id: &str) {
    let digits = id.bytes().filter(|byte| *byte != b'-');
    if digits.clone().count() == 32 && digits.clone().all(|byte| byte.is_ascii_hexdigit()) {
        line.quoted(Field::Trace, quote!("trace"), |out| out.extend(digits));
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

fn client(line: &mut Line<'_>, ex: &Exchange) {
    let client = ex.client();
    line.quoted(Field::Client, quote!("client"), |out| text::ip(out, client.ip));
    line.quoted(Field::Peer, quote!("peer"), |out| text::socket(out, client.peer));
    line.text(Field::Listener, quote!("listener"), &client.listener);
    if let Some(tls) = &client.tls {
        line.text(Field::Tls, quote!("tls"), &tls.version);
        line.text(Field::TlsCipher, quote!("tls_cipher"), &tls.cipher);
        line.optional(Field::TlsAlpn, quote!("tls_alpn"), tls.alpn);
        line.optional(Field::TlsServerName, quote!("tls_server_name"), tls.server_name.as_deref());
    }
}

fn principal(line: &mut Line<'_>, ex: &Exchange) {
    let Some(principal) = ex.principal() else { return };
    line.text(Field::Principal, quote!("principal"), &principal.id);
    let consumer = principal.consumer.as_ref().map(|consumer| &*consumer.name);
    line.optional(Field::Consumer, quote!("consumer"), consumer);
    line.optional(Field::Credential, quote!("credential"), principal.credential.as_deref());
    if principal.anonymous && line.fields.has(Field::Anonymous) {
        line.raw(b",\"anonymous\":true");
    }
}

fn outcome(line: &mut Line<'_>, ex: &Exchange) {
    let outcome = ex.outcome();
    line.number(Field::Status, name!("status"), outcome.status);
    line.optional(Field::Reason, quote!("reason"), outcome.reason);
    line.number(Field::RequestBytes, name!("request_bytes"), outcome.request_bytes);
    line.number(Field::ResponseBytes, name!("response_bytes"), outcome.response_bytes);
    line.number(Field::DurationUs, name!("duration_us"), outcome.duration.as_micros() as u64);
    if let Some(address) = outcome.upstream_address {
        line.quoted(Field::UpstreamAddress, quote!("upstream_address"), |out| text::socket(out, address));
        line.number(Field::Attempts, name!("attempts"), outcome.attempts);
    }
    if let Some(time) = outcome.upstream_time {
        line.number(Field::UpstreamUs, name!("upstream_us"), time.as_micros() as u64);
    }
    line.optional(Field::Error, quote!("error"), outcome.error.as_deref());
}

fn headers(line: &mut Line<'_>, ex: &Exchange, layout: &Layout) {
    let present = layout.headers.iter().filter(|name| ex.request.headers.contains_key(*name));
    line.map(name!("headers"), present, |line, name| {
        line.pair(name.as_str(), |out, room| {
            if layout.masks.masks_header(name) {
                text::string(out, mask::MASKED.as_bytes(), room)
            } else {
                mask::joined(out, ex.request.headers.get_all(name), room)
            }
        });
    });
}

fn decisions(line: &mut Line<'_>, ex: &Exchange) {
    line.raw(b",\"decisions\":[");
    for (index, decision) in ex.decisions().iter().enumerate() {
        let record = decision.entry.as_ref().map_or("{\"plugin\":\"palisade\"", |entry| &*entry.record);
        if line.room() < record.len() {
            line.cut = true;
            break;
        }
        if index > 0 {
            line.out.push(b',');
        }
        line.raw(record.as_bytes());
        effect(line, decision);
    }
    line.out.push(b']');
}

fn effect(line: &mut Line<'_>, decision: &Decision) {
    line.raw(b",\"effect\":\"");
    line.raw(decision.effect.as_str().as_bytes());
    line.out.push(b'"');
    line.optional(Field::Decisions, quote!("reason"), decision.reason);
    line.optional(Field::Decisions, quote!("detail"), decision.detail.as_deref());
    line.number(Field::Decisions, name!("ns"), decision.nanos);
    line.out.push(b'}');
}

fn findings(line: &mut Line<'_>, findings: &[Finding]) {
    line.raw(b",\"findings\":[");
    for (index, finding) in findings.iter().enumerate() {
        if index > 0 {
            line.out.push(b',');
        }
        line.raw(b"{\"plugin\":\"");
        text::string(line.out, finding.plugin.as_bytes(), LONGEST / 4);
        line.raw(b",\"found\":");
        line.value(&finding.what, 0);
        line.out.push(b'}');
        if line.cut {
            break;
        }
    }
    line.out.push(b']');
}

/// A line that is being made. Fields begin with a comma; the first one becomes the bracket.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    fields: Fields,
    /// Something did not fit.
    cut: bool,
}

impl Line<'_> {
    /// What text may still take.
    fn room(&self) -> usize {
        (LONGEST - MARGIN).saturating_sub(self.out.len() - self.start)
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn quoted(&mut self, field: Field, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        if self.fields.has(field) {
            self.raw(name);
            value(self.out);
            self.out.push(b'"');
        }
    }

    fn number(&mut self, field: Field, name: &[u8], value: impl itoa::Integer) {
        if self.fields.has(field) {
            self.raw(name);
            text::number(self.out, value);
        }
    }

    /// Text of any length: none may take more than a quarter of the line, and all together leave the margin.
    fn text(&mut self, field: Field, name: &[u8], value: &str) {
        if !self.fields.has(field) {
            return;
        }
        let room = self.room();
        if room < name.len() {
            self.cut = true;
            return;
        }
        self.raw(name);
        let whole = text::string(self.out, value.as_bytes(), (room - name.len()).min(LONGEST / 4));
        self.cut |= !whole;
    }

    fn optional(&mut self, field: Field, name: &[u8], value: Option<&str>) {
        if let Some(value) = value {
            self.text(field, name, value);
        }
    }

    /// An object whose members `each` writes with [`Line::pair`].
    fn map<T>(&mut self, name: &[u8], items: impl IntoIterator<Item = T>, each: impl Fn(&mut Self, T)) {
        self.raw(name);
        let first = self.out.len();
        items.into_iter().for_each(|item| each(self, item));
        match self.out.get_mut(first) {
            Some(comma) => *comma = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
    }

    fn pair(&mut self, name: &str, value: impl FnOnce(&mut Vec<u8>, usize) -> bool) {
        let room = self.room();
        if room < name.len() + 8 {
            self.cut = true;
            return;
        }
        self.raw(b",\"");
        self.cut |= !text::string(self.out, name.as_bytes(), room);
        self.raw(b":\"");
        let room = self.room().min(LONGEST / 4);
        self.cut |= !value(self.out, room);
    }

    /// A value of any form: what does not fit is left out, and what is open is closed all the same.
    fn value(&mut self, value: &Value, depth: usize) {
        match value {
            Value::String(text) => {
                self.out.push(b'"');
                let room = self.room().min(LONGEST / 4);
                self.cut |= !text::string(self.out, text.as_bytes(), room);
            }
            Value::Array(items) => {
                self.out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if !self.has_room(depth) {
                        break;
                    }
                    self.raw(if index > 0 { b"," } else { b"" });
                    self.value(item, depth + 1);
                }
                self.out.push(b']');
            }
            Value::Object(members) => {
                self.out.push(b'{');
                for (index, (name, member)) in members.iter().enumerate() {
                    if !self.has_room(depth) {
                        break;
                    }
                    self.raw(if index > 0 { b",\"" } else { b"\"" });
                    text::string(self.out, name.as_bytes(), LEAST);
                    self.out.push(b':');
                    self.value(member, depth + 1);
                }
                self.out.push(b'}');
            }
            Value::Number(number) => self.raw(number.to_string().as_bytes()),
            Value::Bool(true) => self.raw(b"true"),
            Value::Bool(false) => self.raw(b"false"),
            Value::Null => self.raw(b"null"),
        }
    }

    /// Whether another part of a value may begin. What is open at this depth is closed within the margin.
    fn has_room(&mut self, depth: usize) -> bool {
        let enough = self.room() > 2 * LEAST && depth < DEEPEST;
        self.cut |= !enough;
        enough
    }

    fn end(self) {
        if self.cut {
            self.out.extend_from_slice(b",\"truncated\":true");
        }
        match self.out.get_mut(self.start) {
            Some(first) => *first = b'{',
            // None of the chosen fields was there.
            None => self.out.push(b'{'),
        }
        self.out.extend_from_slice(b"}\n");
    }
}
