//! How a body is read where its type does not say so, or lies.

use seclang::{Processor, Transaction};

/// Types of several JSON documents in one body, a line each.
const LINES: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json-seq",
];
/// Types of what is no text; one of them that is text all the same is inspected as such.
const FILES: [&str; 16] = [
    "image/",
    "audio/",
    "video/",
    "font/",
    "application/octet-stream",
    "application/zip",
    "application/gzip",
    "application/pdf",
    "application/protobuf",
    "application/x-protobuf",
    "application/grpc",
    "application/msgpack",
    "application/x-msgpack",
    "application/cbor",
    "application/vnd.",
    "application/x-tar",
];

/// Gives a body to the transaction, and says how it is to be read.
pub(super) fn feed(transaction: &mut Transaction, kind: &[u8], body: &[u8]) {
    let kind = essence(kind);
    if LINES.contains(&&*kind) {
        transaction.set_processor(Processor::Json);
        let _ = transaction.body_chunk(&one_document(body));
        return;
    }
    let declared = transaction.processor();
    let _ = transaction.body_chunk(body);
    if !matches!(declared, None | Some(Processor::Urlencoded)) || body.is_empty() {
        return;
    }
    let start = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    match start.first() {
        // An origin that does not look at the type would take it for what it is.
        Some(b'{' | b'[') if is_json(start) => transaction.set_processor(Processor::Json),
        _ if declared.is_some() => {}
        Some(b'<') if start.starts_with(b"<?xml") => {
            transaction.set_processor(Processor::Xml);
            transaction.body_argument(b"body", body);
        }
        _ => {
            if looks_like_form(start) {
                transaction.set_processor(Processor::Urlencoded);
            }
            if !is_file(&kind, body) {
                transaction.body_argument(b"body", body);
            }
        }
    }
}

fn essence(kind: &[u8]) -> String {
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    String::from_utf8_lossy(essence).to_ascii_lowercase()
}

/// Lines of JSON as one array. What is no JSON stays none.
fn one_document(body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(body.len().saturating_add(2));
    whole.push(b'[');
    // A record separator may stand before each (RFC 7464).
    let lines = body.split(|byte| matches!(byte, b'\n' | 0x1e)).map(<[u8]>::trim_ascii);
    for line in lines.filter(|line| !line.is_empty()) {
        if whole.len() > 1 {
            whole.push(b',');
        }
        whole.extend_from_slice(line);
    }
    whole.push(b']');
    whole
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// True for `a=b&c=d` in one line.
fn looks_like_form(body: &[u8]) -> bool {
    body.contains(&b'=') && body.trim_ascii_end().iter().all(u8::is_ascii_graphic)
}

/// True for what no origin would read as text.
fn is_file(kind: &str, body: &[u8]) -> bool {
    FILES.iter().any(|file| kind.starts_with(file)) && std::str::from_utf8(body).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use seclang::RuleSet;

    #[test]
    fn bodies_are_read_as_what_they_are() {
        let rules =
            RuleSet::builder().text("x", r#"SecRule ARGS "@rx ." "id:1,phase:2,pass,log""#).build().unwrap();
        for (kind, body, names) in [
            ("text/plain", "hello", "ARGS:body"),
            ("", "{\"a\": {\"b\": 1}}", "ARGS:json.a.b"),
            ("image/png", "[\"x\"]", "ARGS:json.array_0"),
            ("application/x-www-form-urlencoded", "{\"a\":\"x\"}", "ARGS:json.a"),
            ("application/x-www-form-urlencoded", "a=x&b=y", "ARGS:a ARGS:b"),
            ("text/plain", "a=x&b=y", "ARGS:a ARGS:b ARGS:body"),
            ("text/plain", "{not json", "ARGS:body"),
            ("application/octet-stream", "\u{e9}", "ARGS:body"),
            ("application/x-ndjson", "{\"a\":1}\n{\"a\":2}\n", "ARGS:json.array_0.a ARGS:json.array_1.a"),
        ] {
            let mut transaction = rules.transaction();
            transaction.request_line(b"POST", b"/", b"HTTP/1.1");
            transaction.header(b"Content-Type", kind.as_bytes());
            let _ = transaction.request_headers();
            feed(&mut transaction, kind.as_bytes(), body.as_bytes());
            let _ = transaction.request_body();
            let found = &transaction.matched()[0].variables;
            let mut found: Vec<_> = found.iter().map(|variable| variable.name.as_str()).collect();
            found.sort_unstable();
            assert_eq!(found.join(" "), names, "{kind} {body}");
        }
        assert!(is_file("image/png", b"\x89PNG\xff"));
        assert!(!is_file("", b"\xff\xfe"));
        assert!(!is_file("text/plain", b"\xff"));
    }
}
