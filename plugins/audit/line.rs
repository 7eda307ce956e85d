//! One request as one JSON line.

use palisade_contract::Exchange;
use std::{cell::RefCell, io::Write, time::SystemTime};

/// Appends the line, its line break included.
pub(super) fn write(out: &mut Vec<u8>, ex: &Exchange, query: bool) {
    let (client, outcome) = (ex.client(), ex.outcome());
    // Writing to memory does not fail.
    let _ = write!(out, "{{\"time\":\"");
    write_time(out, ex.started());
    let _ = write!(out, "\",\"id\":");
    text(out, ex.id());
    field(out, "route", ex.route().map_or("_none", |route| route));
    optional(out, "upstream", ex.upstream().map(|name| &**name));
    field(out, "method", ex.method().as_str());
    field(out, "host", ex.host());
    field(out, "path", ex.path());
    if query {
        optional(out, "query", ex.query());
    }
    let _ = write!(out, ",\"client\":\"{}\",\"peer\":\"{}\",\"listener\":", client.ip, client.peer);
    text(out, &client.listener);
    if let Some(tls) = &client.tls {
        field(out, "tls", &tls.version);
    }
    let _ = write!(out, ",\"status\":{}", outcome.status);
    optional(out, "reason", outcome.reason);
    if let Some(principal) = ex.principal() {
        field(out, "principal", &principal.id);
        optional(out, "consumer", principal.consumer.as_ref().map(|consumer| &*consumer.name));
        optional(out, "credential", principal.credential.as_deref());
        if principal.anonymous {
            let _ = write!(out, ",\"anonymous\":true");
        }
    }
    let _ = write!(
        out,
        ",\"request_bytes\":{},\"response_bytes\":{},\"duration_us\":{}",
        outcome.request_bytes,
        outcome.response_bytes,
        outcome.duration.as_micros()
    );
    if let Some(address) = outcome.upstream_address {
        let _ = write!(out, ",\"upstream_address\":\"{address}\",\"attempts\":{}", outcome.attempts);
    }
    if let Some(time) = outcome.upstream_time {
        let _ = write!(out, ",\"upstream_us\":{}", time.as_micros());
    }
    optional(out, "error", outcome.error.as_deref());
    decisions(out, ex);
    out.extend_from_slice(b"}\n");
}

fn decisions(out: &mut Vec<u8>, ex: &Exchange) {
    out.extend_from_slice(b",\"decisions\":[");
    for (index, decision) in ex.decisions().iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"plugin\":");
        text(out, decision.entry.as_ref().map_or("palisade", |entry| &*entry.key));
        field(out, "effect", decision.effect.as_str());
        optional(out, "reason", decision.reason);
        optional(out, "detail", decision.detail.as_deref());
        if let Some(entry) = &decision.entry {
            out.extend_from_slice(b",\"place\":");
            text(out, &entry.place.to_string());
        }
        let _ = write!(out, ",\"ns\":{}}}", decision.nanos);
    }
    out.push(b']');
}

fn field(out: &mut Vec<u8>, name: &str, value: &str) {
    let _ = write!(out, ",\"{name}\":");
    text(out, value);
}

fn optional(out: &mut Vec<u8>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        field(out, name, value);
    }
}

/// A JSON string; nearly all values need no escaping.
fn text(out: &mut Vec<u8>, value: &str) {
    if value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\' && byte != 0x7f) {
        out.push(b'"');
        out.extend_from_slice(value.as_bytes());
        out.push(b'"');
    } else {
        // A string cannot fail to serialise.
        let _ = serde_json::to_writer(out, value);
    }
}

/// RFC 3339 with milliseconds; the part down to the second is made once a second.
fn write_time(out: &mut Vec<u8>, time: SystemTime) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, shown)| {
        if *second != since.as_secs() {
            *second = since.as_secs();
            let timestamp = i64::try_from(*second)
                .ok()
                .and_then(|second| jiff::Timestamp::from_second(second).ok())
                .unwrap_or_default();
            *shown = timestamp.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        }
        let _ = write!(out, "{shown}.{:03}Z", since.subsec_millis());
    });
}
