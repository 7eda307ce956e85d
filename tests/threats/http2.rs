//! HTTP/2 (RFC 9113 §8): what is malformed is a stream error, or a refusal with a reason; nothing of it is forwarded.

mod pseudo;

use crate::{
    frames::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, block, frame},
    gate::{Gate, Http2, Outcome, get, request},
};
use std::sync::Arc;

const PROTOCOL_ERROR: u8 = 1;

/// An ordinary request with these fields behind it.
fn with(path: &str, more: &[(&str, &str)]) -> Vec<(String, String)> {
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    get(path).into_iter().chain(more).collect()
}

/// An ordinary request without one of its fields.
fn without(path: &str, name: &str) -> Vec<(String, String)> {
    get(path).into_iter().filter(|(found, _)| found != name).collect()
}

/// An ordinary request with another value of a field.
fn changed(path: &str, name: &str, value: &str) -> Vec<(String, String)> {
    let change = |(found, old): (String, String)| {
        let value = if found == name { value.to_owned() } else { old };
        (found, value)
    };
    get(path).into_iter().map(change).collect()
}

/// Asserts that nothing of the request reaches the origin, and how it ends.
#[track_caller]
fn ends(wire: impl Fn(&str) -> Vec<u8>, check: impl Fn(&Outcome) -> bool) -> Arc<Gate> {
    let gate = Gate::shared();
    let (outcome, mark) = gate.http2(|mark| wire(&format!("/{mark}")));
    assert!(check(&outcome), "{outcome:?}");
    assert_eq!(gate.seen(&mark), Vec::<String>::new());
    gate
}

/// h2 resets the stream; where a field cannot be one, the connection.
#[track_caller]
fn reset(wire: impl Fn(&str) -> Vec<u8>) {
    ends(wire, |outcome| matches!(outcome, Outcome::Reset(PROTOCOL_ERROR) | Outcome::Goaway(PROTOCOL_ERROR)));
}

/// We answer, with the reason.
#[track_caller]
fn refused(reason: &str, wire: impl Fn(&str) -> Vec<u8>) {
    ends(wire, |outcome| outcome.reason().as_deref() == Some(reason));
}

#[test]
fn an_ordinary_request_works() {
    let gate = Gate::shared();
    let (outcome, mark) = gate.http2(|mark| request(&get(&format!("/{mark}"))));
    assert_eq!(outcome, Outcome::Answer { ok: true, body: "ok".into() });
    assert_eq!(gate.seen(&mark).len(), 1);
}

#[test]
fn upper_case_in_a_name_is_refused() {
    reset(|path| request(&with(path, &[("X-Upper", "1")])));
}

#[test]
fn a_line_break_or_nul_in_a_value_is_refused() {
    for value in ["a\rb", "a\nb", "a\r\nx-injected: 1", "a\0b"] {
        reset(|path| request(&with(path, &[("x", value)])));
    }
}

#[test]
fn a_line_break_a_nul_or_a_colon_in_a_name_is_refused() {
    for name in ["x\r", "x\n", "x\r\ny", "x\0", "x:y", "x y", ""] {
        reset(|path| request(&with(path, &[(name, "1")])));
    }
}

#[test]
fn connection_specific_fields_are_refused() {
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
    ] {
        reset(|path| request(&with(path, &[(name, value)])));
    }
}

#[test]
fn te_trailers_works() {
    let (outcome, _) =
        Gate::shared().http2(|mark| request(&with(&format!("/{mark}"), &[("te", "trailers")])));
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
}

/// A POST of this declared length and with this body.
fn post(path: &str, length: &str, body: &str) -> Vec<u8> {
    let mut fields = changed(path, ":method", "POST");
    fields.push(("content-length".into(), length.into()));
    [frame(HEADERS, END_HEADERS, 1, &block(&fields)), frame(DATA, END_STREAM, 1, body.as_bytes())].concat()
}

#[test]
fn more_data_than_the_content_length_is_refused() {
    reset(|path| post(path, "3", "hello"));
}

#[test]
fn less_data_than_the_content_length_is_refused() {
    reset(|path| post(path, "7", "hello"));
}

#[test]
fn a_content_length_without_data_is_refused() {
    reset(|path| request(&with(path, &[("content-length", "5")])));
}

#[test]
fn a_content_length_that_is_not_digits_is_refused() {
    for length in ["+5", "5, 5", "0x5", "", "5.0", "99999999999999999999999"] {
        ends(|path| post(path, length, "hello"), |outcome| *outcome == Outcome::Reset(PROTOCOL_ERROR));
    }
}

#[test]
fn two_content_lengths_are_refused() {
    let two = |path: &str, second: &str| {
        let mut fields = changed(path, ":method", "POST");
        fields.extend([("content-length".into(), "5".into()), ("content-length".into(), second.into())]);
        [frame(HEADERS, END_HEADERS, 1, &block(&fields)), frame(DATA, END_STREAM, 1, b"hello")].concat()
    };
    refused("framing_length_repeated", |path| two(path, "5"));
    reset(|path| two(path, "6"));
}

#[test]
fn an_authority_and_a_host_that_differ_are_refused() {
    ends(
        |path| request(&with(path, &[("host", "other.test")])),
        |outcome| matches!(outcome, Outcome::Answer { ok: false, .. }),
    );
}

#[test]
fn an_authority_and_the_same_host_work() {
    let gate = Gate::shared();
    let (outcome, _) = gate.http2(|mark| request(&with(&format!("/{mark}"), &[("host", "gateway.test")])));
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
}

#[test]
fn two_hosts_are_refused() {
    ends(
        |path| request(&with(path, &[("host", "gateway.test"), ("host", "gateway.test")])),
        |outcome| matches!(outcome, Outcome::Answer { ok: false, .. }),
    );
}

#[test]
fn a_user_in_the_authority_is_refused() {
    ends(
        |path| request(&changed(path, ":authority", "user@gateway.test")),
        |outcome| !matches!(outcome, Outcome::Answer { ok: true, .. }),
    );
}

#[test]
fn connect_is_refused() {
    let fields = [(":method", "CONNECT"), (":authority", "gateway.test:443")];
    ends(|_| request(&fields), |outcome| !matches!(outcome, Outcome::Answer { ok: true, .. }));
}

#[test]
fn extended_connect_is_refused() {
    reset(|path| {
        let mut fields = changed(path, ":method", "CONNECT");
        fields.push((":protocol".into(), "websocket".into()));
        request(&fields)
    });
}

#[test]
fn a_body_on_trace_is_refused() {
    refused("framing_trace_body", |path| {
        [
            frame(HEADERS, END_HEADERS, 1, &block(&changed(path, ":method", "TRACE"))),
            frame(DATA, END_STREAM, 1, b"hello"),
        ]
        .concat()
    });
}

#[test]
fn an_underscore_in_a_name_is_refused() {
    refused("header_underscore", |path| request(&with(path, &[("x_real_ip", "10.0.0.1")])));
}

#[test]
fn an_expectation_that_is_not_known_is_refused() {
    refused("expectation_unknown", |path| request(&with(path, &[("expect", "magic")])));
}

/// Whoever does not wait for a word is served as well; who does is in `tests/e2e/expects.rs`.
#[test]
fn an_expectation_to_continue_works() {
    let gate = Gate::shared();
    let (outcome, mark) = gate.http2(|mark| {
        let mut fields = changed(&format!("/{mark}"), ":method", "POST");
        fields.push(("expect".into(), "100-continue".into()));
        [frame(HEADERS, END_HEADERS, 1, &block(&fields)), frame(DATA, END_STREAM, 1, b"hello")].concat()
    });
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
    assert!(gate.seen(&mark)[0].contains("hello"));
}

#[test]
fn too_many_fields_are_refused() {
    refused("header_count", |path| {
        let mut fields = get(path);
        fields.extend((0..21).map(|n| (format!("x-{n}"), "1".into())));
        request(&fields)
    });
}

/// A name of which nothing is left but an index costs as much as any.
#[test]
fn pieces_of_a_cookie_are_counted_singly() {
    for (count, works) in [(20, true), (21, false)] {
        let gate = Gate::shared();
        let (outcome, mark) = gate.http2(|mark| {
            let mut fields = get(&format!("/{mark}"));
            fields.extend((0..count).map(|n| ("cookie".to_owned(), format!("c{n}=1"))));
            request(&fields)
        });
        assert_eq!(gate.seen(&mark).len(), usize::from(works), "{count}: {outcome:?}");
        assert_eq!(outcome.reason().as_deref(), (!works).then_some("header_count"), "{count}: {outcome:?}");
    }
}

/// Outside of HTTP/2 there is one field (RFC 9113 §8.2.3): of several origins read the first, or the last.
#[test]
fn a_cookie_in_pieces_reaches_the_origin_as_one() {
    let gate = Gate::shared();
    let (outcome, mark) = gate.http2(|mark| {
        request(&with(&format!("/{mark}"), &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2; c=3")]))
    });
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
    let seen = gate.seen(&mark).remove(0).to_lowercase();
    assert!(seen.contains("\r\ncookie: a=1; b=2; c=3\r\n"), "{seen}");
    assert_eq!(seen.matches("cookie:").count(), 1, "{seen}");
}

/// By the library, with a bare 431: the list is longer than what SETTINGS allow.
#[test]
fn too_many_bytes_of_fields_are_refused() {
    ends(
        |path| request(&with(path, &[("x", &"a".repeat(5000))])),
        |outcome| matches!(outcome, Outcome::Answer { ok: false, .. }),
    );
}

#[test]
fn a_target_that_is_too_long_is_refused() {
    refused("uri_too_long", |path| request(&get(&format!("{path}{}", "a".repeat(600)))));
}

#[test]
fn an_ambiguous_path_is_refused() {
    refused("path_encoded_slash", |path| request(&get(&format!("{path}/..%2fadmin"))));
}

#[test]
fn trailers_do_not_reach_the_origin() {
    let gate = Gate::shared();
    let (outcome, mark) = gate.http2(|mark| {
        [
            frame(HEADERS, END_HEADERS, 1, &block(&changed(&format!("/{mark}"), ":method", "POST"))),
            frame(DATA, 0, 1, b"hello"),
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                1,
                &block(&[("x-consumer-id", "admin"), ("x-sum", "1")]),
            ),
        ]
        .concat()
    });
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
    let seen = &gate.seen(&mark)[0];
    assert!(seen.contains("hello") && !seen.contains("x-consumer-id") && !seen.contains("x-sum"), "{seen}");
}

#[test]
fn a_block_in_pieces_is_one_head() {
    let gate = Gate::shared();
    let (outcome, _) = gate.http2(|mark| {
        let block = block(&get(&format!("/{mark}")));
        let (first, rest) = block.split_at(7);
        [frame(HEADERS, END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat()
    });
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
}

#[test]
fn another_frame_within_a_block_ends_the_connection() {
    ends(
        |path| {
            let block = block(&get(path));
            [frame(HEADERS, END_STREAM, 1, &block[..7]), frame(DATA, 0, 1, b"x")].concat()
        },
        |outcome| *outcome == Outcome::Goaway(PROTOCOL_ERROR),
    );
}

#[test]
fn a_block_that_cannot_be_decoded_ends_the_connection() {
    ends(
        // An index beyond both tables.
        |_| frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0x80, 0x01]),
        |outcome| matches!(outcome, Outcome::Goaway(_)),
    );
}

/// Even where the library itself refuses: on the route `_none`, with a metric.
#[test]
fn what_is_refused_has_a_record_and_a_metric() {
    let gate = Gate::start(
        "
admin: {address: 127.0.0.1:0}
listeners: {h2: {address: 127.0.0.1:0, http2: true, limits: {header_bytes: 4KiB}}}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes: {open: {paths: [/*], upstream: raw}}
",
    );
    let mut connection = Http2::connect(&gate);
    let closing = with("/closing", &[("connection", "close")]);
    // One that the library resets, one that Pingora resets, one that Pingora answers.
    assert_eq!(connection.send(&request(&closing)), Outcome::Reset(PROTOCOL_ERROR));
    let lengths = with("/lengths", &[("content-length", "0"), ("content-length", "1")]);
    assert_eq!(connection.send(&request(&lengths)), Outcome::Reset(PROTOCOL_ERROR));
    // The connection goes on.
    assert!(matches!(connection.send(&request(&get("/fine"))), Outcome::Answer { ok: true, .. }));
    let other = connection.send(&request(&with("/other", &[("host", "other.test")])));
    assert!(matches!(other, Outcome::Answer { ok: false, .. }), "{other:?}");
    // One that the library answers, twice.
    for _ in 0..2 {
        let large = connection.send(&request(&with("/large", &[("x", &"a".repeat(5000))])));
        assert!(matches!(large, Outcome::Answer { ok: false, .. }), "{large:?}");
    }
    // The last one ends the connection.
    let block = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0x80, 0x01]);
    assert!(matches!(connection.send(&block), Outcome::Goaway(_)));
    let lines = gate.gateway.audit(7);
    let malformed: Vec<_> = lines.iter().filter(|line| line["reason"] == "http2_malformed").collect();
    assert_eq!(malformed.len(), 4, "{lines:#?}");
    assert!(malformed.iter().all(|line| line["route"] == "_none" && line["status"] == 400), "{lines:#?}");
    let large = lines.iter().filter(|line| line["reason"] == "header_bytes" && line["status"] == 431);
    assert_eq!(large.count(), 2, "{lines:#?}");
    assert_eq!(gate.metric("palisade_edge_refused_total{reason=\"http2_malformed\"}"), 4);
}
