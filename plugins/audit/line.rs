//! One request as one JSON line.

use super::text;
use palisade_contract::{Decision, Exchange};

/// The longest line, its line break included.
pub(super) const LONGEST: usize = 8 << 10;
/// The part of a line that is kept for what has a length of its own: numbers, addresses, the end.
const MARGIN: usize = 1 << 10;

/// Appends the line, its line break included.
pub(super) fn write(out: &mut Vec<u8>, ex: &Exchange, query: bool) {
    let mut line = Line { start: out.len(), out, cut: false };
    request(&mut line, ex, query);
    client(&mut line, ex);
    outcome(&mut line, ex);
    decisions(&mut line, ex);
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

fn request(line: &mut Line<'_>, ex: &Exchange, query: bool) {
    line.quoted(quote!("time"), |out| text::time(out, ex.started()));
    line.text(quote!("id"), ex.id());
    line.text(quote!("route"), ex.route().map_or("_none", |route| route));
    line.optional(quote!("upstream"), ex.upstream().map(|name| &**name));
    line.text(quote!("method"), ex.method().as_str());
    line.text(quote!("host"), ex.host());
    line.text(quote!("path"), ex.path());
    if query {
        line.optional(quote!("query"), ex.query());
    }
}

fn client(line: &mut Line<'_>, ex: &Exchange) {
    let client = ex.client();
    line.quoted(quote!("client"), |out| text::ip(out, client.ip));
    line.quoted(quote!("peer"), |out| text::socket(out, client.peer));
    line.text(quote!("listener"), &client.listener);
    if let Some(tls) = &client.tls {
        line.text(quote!("tls"), &tls.version);
    }
    if let Some(principal) = ex.principal() {
        line.text(quote!("principal"), &principal.id);
        line.optional(quote!("consumer"), principal.consumer.as_ref().map(|consumer| &*consumer.name));
        line.optional(quote!("credential"), principal.credential.as_deref());
        if principal.anonymous {
            line.raw(b",\"anonymous\":true");
        }
    }
}

fn outcome(line: &mut Line<'_>, ex: &Exchange) {
    let outcome = ex.outcome();
    line.number(name!("status"), outcome.status);
    line.optional(quote!("reason"), outcome.reason);
    line.number(name!("request_bytes"), outcome.request_bytes);
    line.number(name!("response_bytes"), outcome.response_bytes);
    line.number(name!("duration_us"), outcome.duration.as_micros() as u64);
    if let Some(address) = outcome.upstream_address {
        line.quoted(quote!("upstream_address"), |out| text::socket(out, address));
        line.number(name!("attempts"), outcome.attempts);
    }
    if let Some(time) = outcome.upstream_time {
        line.number(name!("upstream_us"), time.as_micros() as u64);
    }
    line.optional(quote!("error"), outcome.error.as_deref());
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
    line.optional(quote!("reason"), decision.reason);
    line.optional(quote!("detail"), decision.detail.as_deref());
    line.number(name!("ns"), decision.nanos);
    line.out.push(b'}');
}

/// A line that is being made. Fields begin with a comma; the first one becomes the bracket.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
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

    fn quoted(&mut self, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        self.raw(name);
        value(self.out);
        self.out.push(b'"');
    }

    fn number(&mut self, name: &[u8], value: impl itoa::Integer) {
        self.raw(name);
        text::number(self.out, value);
    }

    /// Text of any length: none may take more than a quarter of the line, and all together leave the margin.
    fn text(&mut self, name: &[u8], value: &str) {
        let room = self.room();
        if room < name.len() {
            self.cut = true;
            return;
        }
        self.raw(name);
        let whole = text::string(self.out, value.as_bytes(), (room - name.len()).min(LONGEST / 4));
        self.cut |= !whole;
    }

    fn optional(&mut self, name: &[u8], value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    fn end(self) {
        if let Some(first) = self.out.get_mut(self.start) {
            *first = b'{';
        }
        if self.cut {
            self.out.extend_from_slice(b",\"truncated\":true");
        }
        self.out.extend_from_slice(b"}\n");
    }
}
