//! What the edge refuses is a request like any: answered as the operator says, seen by the entries that are everywhere,
//! and recorded on the route `_none`.

use crate::{client::Response, gate::Gate, harness::until};

const CONF: &str = "
admin: {address: 127.0.0.1:0}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes: {open: {paths: [/*], upstream: raw, limits: {body_bytes: 10B}, plugins: {key-auth: {}}}}
plugins:
  correlation-id: {header_name: x-correlation-id}
  response-headers: {set: {x-frame-options: DENY}}
  ip-restriction: {deny: [127.0.0.9]}
";

/// Each of the places that refuse: the guard, the canonical form, the router.
const REFUSED: [(&str, u16, &str); 5] = [
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_repeated"),
    ("GET /\r\n\r\n", 400, "request_line"),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n", 417, "expectation_unknown"),
    ("GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path_control_character"),
    ("GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", 400, "path_encoded_slash"),
];

fn answers(gate: &Gate) -> Vec<Response> {
    REFUSED.iter().map(|(request, ..)| gate.answer(request).0).collect()
}

#[test]
fn every_refusal_is_a_problem_document_with_the_id_of_its_record() {
    let gate = Gate::start(CONF);
    for (answer, (request, status, reason)) in answers(&gate).into_iter().zip(REFUSED) {
        assert_eq!((answer.status, &*answer.reason()), (status, reason), "{request:?}");
        let id = answer.json()["request_id"].as_str().unwrap().to_owned();
        let record = gate.record(&id);
        assert_eq!((&record["route"], &record["reason"]), (&"_none".into(), &reason.into()), "{record}");
        assert_eq!(record["status"], status);
    }
}

#[test]
fn every_refusal_has_a_metric() {
    let gate = Gate::start(CONF);
    answers(&gate);
    let counted = || gate.metric("palisade_requests_total{route=\"_none\",status=\"4xx\"}");
    until("all to be counted", || (counted() == 5).then_some(()));
    for (_, _, reason) in REFUSED {
        assert_eq!(
            gate.metric(&format!("palisade_edge_refused_total{{reason=\"{reason}\"}}")),
            1,
            "{reason}"
        );
    }
}

#[test]
fn response_hooks_that_are_everywhere_see_every_refusal() {
    let gate = Gate::start(CONF);
    for (answer, (request, ..)) in answers(&gate).into_iter().zip(REFUSED) {
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{request:?}");
        assert!(answer.header("x-correlation-id").is_some(), "{request:?}: {:?}", answer.headers);
        assert_eq!(answer.header("connection"), Some("close"), "{request:?}");
    }
}

#[test]
fn the_operators_own_bodies_are_sent() {
    let gate = Gate::start(&format!(
        "{CONF}\nerrors: {{400: {{content_type: text/plain, body: 'not like that'}}}}\n"
    ));
    for (answer, (request, status, _)) in answers(&gate).into_iter().zip(REFUSED) {
        assert_eq!(answer.status, status);
        assert_eq!(answer.text() == "not like that", status == 400, "{request:?}");
    }
}

#[test]
fn entries_of_screen_that_are_everywhere_judge_what_is_refused() {
    let gate = Gate::start(&CONF.replace("127.0.0.9", "127.0.0.1"));
    for (answer, (request, ..)) in answers(&gate).into_iter().zip(REFUSED) {
        assert_eq!((answer.status, &*answer.reason()), (403, "ip_denied"), "{request:?}");
    }
}

#[test]
fn entries_of_observe_that_are_everywhere_see_what_is_refused() {
    let gate = Gate::start_with_test_plugins(&format!("{CONF}  test-observing: {{}}\n"));
    for request in [
        "GET / HTTP/1.1\r\nX-Observe: 1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /a%00 HTTP/1.1\r\nX-Observe: 1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(gate.answer(request).0.expect(403).reason(), "observed", "{request:?}");
    }
}

#[test]
fn a_body_that_says_it_is_too_long_is_screened_first() {
    let gate = Gate::start(CONF);
    let request =
        |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n{lines}\r\nhello world");
    assert_eq!(gate.answer(request("")).0.expect(401).reason(), "credential_missing");
    assert_eq!(gate.answer(request("apikey: alice-key\r\n")).0.expect(413).reason(), "body_too_large");
    let gate = Gate::start(&CONF.replace("127.0.0.9", "127.0.0.1"));
    assert_eq!(gate.answer(request("apikey: alice-key\r\n")).0.expect(403).reason(), "ip_denied");
}

#[test]
fn the_answer_to_a_head_request_has_no_body() {
    let gate = Gate::start(CONF);
    let mut client = gate.gateway.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert!(client.rest().ends_with("\r\n\r\n"));
}
