//! Headers that name another method or path, on a route that asks for them: whichever way one comes, nobody is served what a
//! request that is written that way would not be.

use crate::{
    frames::{DATA, END_HEADERS, END_STREAM, HEADERS, block, frame},
    gate::{Gate, Outcome, get},
    harness::{Gateway, Prepared},
    origin::Origin,
};
use parking_lot::Mutex;
use std::sync::Arc;

const CONF: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes:
  items:
    paths: [/items/*]
    methods: [GET, POST, PUT]
    upstream: raw
    pass_headers: [x-http-method-override, x-http-method]
    plugins: {cors: {origins: ['https://shop.test']}}
  staff: {paths: [/items/*], methods: [DELETE], upstream: raw, plugins: {key-auth: {}}}
  closed: {paths: [/items/closed/*], upstream: raw, plugins: {key-auth: {}}}
";

/// The status, the reason of a refusal, and what the origin got.
fn ask(gate: &Gate, request: &str) -> (u16, String, Vec<String>) {
    let (answer, _, mark) = gate.answer(request);
    let reason = if answer.status < 400 { String::new() } else { answer.reason() };
    (answer.status, reason, gate.seen(&mark))
}

/// Asserts that this is refused, and that the origin has got nothing of it.
#[track_caller]
fn refused(gate: &Gate, request: &str, status: u16, reason: &str) {
    assert_eq!(ask(gate, request), (status, reason.to_owned(), Vec::new()), "{request}");
}

fn post(path: &str, lines: &str) -> String {
    format!("POST {path}/MARK HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{lines}\r\n")
}

/// A POST over HTTP/2 with these fields, and with these behind its body.
fn post2(path: &str, fields: &[(&str, &str)], trailers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = get(path);
    head[0].1 = "POST".into();
    head.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let head = block(&head);
    if trailers.is_empty() {
        return frame(HEADERS, END_HEADERS | END_STREAM, 1, &head);
    }
    let end = frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers));
    [frame(HEADERS, END_HEADERS, 1, &head), frame(DATA, 0, 1, b"x"), end].concat()
}

#[test]
fn over_http2_the_same_holds() {
    let gate = Gate::start(CONF);
    let send = |fields: &[(&str, &str)]| gate.http2(|mark| post2(&format!("/items/{mark}"), fields, &[]));
    let (outcome, mark) = send(&[("x-http-method-override", "PUT")]);
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
    assert!(gate.seen(&mark)[0].starts_with("PUT /items/"), "{:?}", gate.seen(&mark));
    for fields in [
        &[("x-http-method-override", "DELETE")][..],
        &[("x-http-method-override", "put")],
        &[("x-http-method-override", "PUT"), ("x-http-method-override", "PUT")],
    ] {
        let (outcome, mark) = send(fields);
        assert_eq!(outcome.reason().as_deref(), Some("method_override"), "{fields:?}: {outcome:?}");
        assert_eq!(gate.seen(&mark), Vec::<String>::new(), "{fields:?}");
    }
}

#[test]
fn two_headers_that_name_a_method_are_refused() {
    let gate = Gate::start(CONF);
    for (one, other) in [("PUT", "DELETE"), ("PUT", "PUT"), ("POST", "PUT"), ("PUT", "POST")] {
        for names in
            [["X-HTTP-Method-Override", "X-HTTP-Method"], ["X-HTTP-Method", "X-HTTP-Method-Override"]]
        {
            let lines = format!("{}: {one}\r\n{}: {other}\r\n", names[0], names[1]);
            refused(&gate, &post("/items", &lines), 400, "method_override");
        }
    }
}

#[test]
fn in_trailers_it_reaches_nobody() {
    let gate = Gate::start(CONF);
    let chunked = "POST /items/MARK HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                   0\r\nX-HTTP-Method-Override: DELETE\r\n\r\n";
    refused(&gate, chunked, 400, "trailer_forbidden");
    let (outcome, mark) =
        gate.http2(|mark| post2(&format!("/items/{mark}"), &[], &[("x-http-method-override", "DELETE")]));
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
    let seen = gate.seen(&mark).remove(0).to_lowercase();
    assert!(seen.starts_with("post /items/") && !seen.contains("delete"), "{seen}");
}

/// What a page may ask for beforehand is no way to have something done.
#[test]
fn a_preflight_names_no_other_method() {
    let gate = Gate::start(CONF);
    let preflight = |asked: &str, lines: &str| {
        format!(
            "OPTIONS /items/MARK HTTP/1.1\r\nHost: a\r\nOrigin: https://shop.test\r\n\
             Access-Control-Request-Method: {asked}\r\n{lines}\r\n"
        )
    };
    let (status, _, seen) = ask(&gate, &preflight("PUT", ""));
    assert_eq!((status, seen.len()), (204, 0));
    for method in ["PUT", "DELETE", "GET"] {
        let line = format!("X-HTTP-Method-Override: {method}\r\n");
        refused(&gate, &preflight("PUT", &line), 400, "method_override");
    }
    // Of a route that does not ask for the header it is not there.
    refused(&gate, &preflight("DELETE", "X-HTTP-Method-Override: PUT\r\n"), 405, "method_not_allowed");
}

#[test]
fn a_protected_prefix_is_not_reached() {
    let gate = Gate::start(CONF);
    let line = "X-HTTP-Method-Override: PUT\r\n";
    for path in ["/items/closed", "/items/x/../closed", "/items/%63losed"] {
        refused(&gate, &post(path, line), 401, "credential_missing");
    }
    refused(&gate, &post("/items/Closed", line), 400, "path_ambiguous");
    // Whoever may go there is not believed either: its route has not asked for the header.
    let (status, _, seen) = ask(&gate, &post("/items/closed", &format!("apikey: alice-key\r\n{line}")));
    assert_eq!(status, 200);
    let seen = seen[0].to_lowercase();
    assert!(seen.starts_with("post /items/closed/") && !seen.contains("method-override"), "{seen}");
}

#[test]
fn what_may_be_sent_again_is_what_the_method_is_that_was_named() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let kept = seen.clone();
    let origin = Origin::start(move |request| {
        let mut kept = kept.lock();
        kept.push(request.text.to_lowercase());
        request.answer(if kept.len() % 2 == 1 { 503 } else { 200 }, "x")
    });
    let gateway = Gateway::start(&format!(
        "
upstreams: {{raw: {{targets: [{{address: '{}'}}], retries: {{attempts: 2, on: ['503'], budget: 100%}}}}}}
routes: {{items: {{paths: [/items/*], upstream: raw, pass_headers: [x-http-method-override]}}}}
",
        origin.address
    ));
    let named = |name: &str| {
        let lines = [format!("X-HTTP-Method-Override: {name}"), "Content-Length: 0".to_owned()];
        gateway.request("POST", "/items/x", &[&lines[0], &lines[1]]).status
    };
    // What is POST, whatever says so, is not.
    assert_eq!((named("POST"), seen.lock().len()), (503, 1));
    seen.lock().clear();
    assert_eq!(named("PUT"), 200);
    let seen = seen.lock();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(
        seen.iter().all(|one| one.starts_with("put /items/x ") && one.contains("override: put")),
        "{seen:?}"
    );
}

#[test]
fn the_record_has_the_method_that_was_named_and_says_what_was_written() {
    let gate = Gate::start(CONF);
    let (_, _, mark) = gate.answer(post("/items", "X-HTTP-Method-Override: PUT\r\n"));
    let record = gate.record(&mark);
    assert_eq!(record["method"], "PUT", "{record}");
    let decisions = record["decisions"].to_string();
    assert!(decisions.contains("method_overridden") && decisions.contains("POST"), "{record}");
}

/// The entries that are everywhere see what is refused, and not what no client may say.
#[test]
fn of_what_is_refused_nobody_believes_it() {
    let conf = |name: &str| {
        let when = format!("'has(request.headers[\"{name}\"])'");
        format!("{CONF}plugins: {{ip-restriction: {{deny: [127.0.0.1], when: {when}}}}}\n")
    };
    let hosts = "POST /items/MARK HTTP/1.1\r\nX-HTTP-Method: DELETE\r\nX-Consumer-Id: root\r\nX-Other: 1\r\n\
                 Host: a\r\nHost: b\r\n\r\n";
    for (name, seen) in [("x-other", true), ("x-http-method", false), ("x-consumer-id", false)] {
        let gate = Gate::start(&conf(name));
        for (request, reason) in [
            (hosts.to_owned(), "host_repeated"),
            (
                post("/none%00", "X-HTTP-Method: DELETE\r\nX-Consumer-Id: root\r\nX-Other: 1\r\n"),
                "path_control_character",
            ),
        ] {
            let (status, reason) = if seen { (403, "ip_denied") } else { (400, reason) };
            refused(&gate, &request, status, reason);
        }
    }
}

#[test]
fn a_route_that_lets_clients_name_a_path_is_warned_of() {
    for (name, warns) in [("x-original-url", true), ("x-http-method-override", false)] {
        let prepared = Prepared::empty();
        prepared.write(
            "all.yaml",
            &format!(
                "version: 1\nlisteners: {{public: {{address: 127.0.0.1:0}}}}\n\
                 upstreams: {{raw: {{targets: [{{address: 127.0.0.1:1}}]}}}}\n\
                 routes: {{old: {{paths: [/*], upstream: raw, public: true, pass_headers: [{name}]}}}}\n"
            ),
        );
        let (code, _, err) = prepared.check();
        let said = err.contains(&format!("clients of route `old` may send `{name}`"));
        assert_eq!((code, said), (0, warns), "{err}");
    }
}
