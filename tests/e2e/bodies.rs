//! Request bodies over HTTP/1: every framing and size, refusals in the middle, clients that leave.

use crate::{
    client::{Client, Origin, head},
    harness::Gateway,
    ports::Port,
};
use sha2::{Digest, Sha256};

/// Around what fits into one read, and up to the limit.
pub const SIZES: [usize; 6] = [0, 1, 65_535, 65_536, 65_537, 1 << 20];

const CONF: &str = "
routes:
  echo: {paths: [/echo/*], upstream: demo}
  key: {paths: [/echo/key], upstream: demo, plugins: {key-auth: {}}}
";

/// Bytes that tell a lost, doubled or moved piece.
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

/// In chunks of uneven sizes.
pub fn chunked(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = body;
    let mut size = 1;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        out.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        out.extend(piece);
        out.extend(b"\r\n");
        (rest, size) = (after, (size * 3).min(40_000));
    }
    out.extend(b"0\r\n\r\n");
    out
}

fn post(client: &mut Client, target: &str, body: &[u8], in_chunks: bool) -> crate::client::Response {
    if in_chunks {
        client.send(head("POST", target, &["Transfer-Encoding: chunked"])).send(chunked(body));
    } else {
        client.send(head("POST", target, &[&format!("Content-Length: {}", body.len())])).send(body);
    }
    client.response()
}

#[test]
fn bodies_arrive_whole() {
    let gateway = Gateway::start(CONF);
    let mut client = gateway.connect();
    for in_chunks in [false, true] {
        for size in SIZES {
            let body = pattern(size);
            let echo = post(&mut client, "/echo/", &body, in_chunks).expect(200).json();
            assert_eq!(echo["body"]["length"], size, "{in_chunks} {size}");
            assert_eq!(echo["body"]["sha256"], hex::encode(Sha256::digest(&body)), "{in_chunks} {size}");
        }
    }
    let lines = gateway.audit(2 * SIZES.len());
    let mut counted: Vec<_> = lines.iter().map(|line| line["request_bytes"].as_u64().unwrap()).collect();
    counted.sort_unstable();
    let mut sent: Vec<_> = SIZES.iter().chain(&SIZES).map(|size| *size as u64).collect();
    sent.sort_unstable();
    assert_eq!(counted, sent);
}

#[test]
fn a_body_over_the_limit_is_refused_readably() {
    let gateway = Gateway::start(CONF);
    let mut client = gateway.connect();
    client.send(head("POST", "/echo/", &["Content-Length: 1048577"]));
    assert_eq!(client.response().expect(413).reason(), "body_too_large");
    for in_chunks in [false, true] {
        let mut client = gateway.connect();
        let body = pattern(2 << 20);
        if in_chunks {
            client.send(head("POST", "/echo/", &["Transfer-Encoding: chunked"]));
            client.try_send(chunked(&body));
        } else {
            client.send(head("POST", "/echo/", &["Content-Length: 2097152"]));
            client.try_send(&body);
        }
        assert_eq!(client.response().expect(413).reason(), "body_too_large", "{in_chunks}");
        assert!(client.is_closed());
    }
}

#[test]
fn an_early_refusal_is_readable_while_the_body_still_comes() {
    let gateway = Gateway::start(CONF);
    for _ in 0..5 {
        let mut client = gateway.connect();
        client.send(head("POST", "/echo/key", &["Content-Length: 900000"]));
        client.try_send(pattern(900_000));
        client.response().expect(401);
    }
}

#[test]
fn a_client_that_asks_first_is_told() {
    let gateway = Gateway::start(CONF);
    let mut client = gateway.connect();
    let fields = ["Expect: 100-continue", "Content-Length: 4", "apikey: alice-key"];
    client.send(head("POST", "/echo/key", &fields));
    client.response().expect(100);
    client.send("body");
    assert_eq!(client.response().expect(200).json()["body"]["text"], "body");
    let mut client = gateway.connect();
    client.send(head("POST", "/echo/key", &fields[..2]));
    client.response().expect(401);
}

#[test]
fn broken_chunks_never_become_a_request() {
    for body in [
        "zz\r\n",
        "-1\r\nx\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "1\nx\n0\n\n",
        "fffffffffffffffff\r\n",
    ] {
        let gateway = Gateway::start(CONF);
        let mut client = gateway.connect();
        client.send(head("POST", "/echo/", &["Transfer-Encoding: chunked"])).send(body);
        client.response().expect(400);
        assert!(client.is_closed(), "{body:?}");
        assert_eq!(gateway.audit(1)[0]["status"], 400, "{body:?}");
    }
}

#[test]
fn a_client_that_leaves_is_recorded_as_499() {
    let origin = Origin::start("");
    let gateway = Gateway::start(
        &"
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes: {raw: {paths: [/*], upstream: raw}}
"
        .replace("ORIGIN", &origin.address.to_string()),
    );
    let mut waiting = gateway.connect();
    waiting.send(head("GET", "/", &[]));
    origin.received();
    waiting.abort();
    assert_eq!(gateway.audit(1)[0]["status"], 499);
    let mut sending = gateway.connect();
    sending.send(head("POST", "/", &["Content-Length: 100"])).send("only a part");
    sending.abort();
    assert_eq!(gateway.audit(2)[1]["status"], 499);
}

#[test]
fn responses_arrive_whole() {
    let gateway = Gateway::start("routes: {all: {paths: [/*], upstream: demo}}");
    let mut client = gateway.connect();
    for size in SIZES {
        let answer = client.request("GET", &format!("/bytes/{size}"), &[]).expect(200);
        assert_eq!(answer.body, pattern(size), "{size}");
    }
    assert_eq!(client.request("GET", "/stream?chunks=50&bytes=1000", &[]).body.len(), 50_000);
    assert!(client.request("HEAD", "/bytes/100", &[]).body.is_empty());
    client.request("GET", "/status/204", &[]).expect(204);
    client.request("GET", "/status/304", &[]).expect(304);
    client.request("GET", "/status/503", &[]).expect(503);
}

#[test]
fn an_origin_that_does_not_answer_costs_502_or_504() {
    let closed = Port::free();
    let silent = Origin::start("");
    let broken = Origin::start("nonsense\r\n\r\n");
    let gateway = Gateway::start(
        &"
upstreams:
  closed: {targets: [{address: CLOSED}]}
  silent: {targets: [{address: SILENT}], timeouts: {read: 200ms}}
  broken: {targets: [{address: BROKEN}]}
routes:
  closed: {paths: [/closed], upstream: closed}
  silent: {paths: [/silent], upstream: silent}
  broken: {paths: [/broken], upstream: broken}
"
        .replace("CLOSED", &closed.address().to_string())
        .replace("SILENT", &silent.address.to_string())
        .replace("BROKEN", &broken.address.to_string()),
    );
    assert_eq!(gateway.get("/closed").expect(502).reason(), "upstream_unreachable");
    assert_eq!(gateway.get("/silent").expect(504).reason(), "upstream_timeout");
    gateway.get("/broken").expect(502).reason();
}

const WHOLE: &str = "
routes:
  echo: {paths: [/echo/*], upstream: demo}
  key: {paths: [/key], upstream: demo, plugins: {key-auth: {}}}
  request: {paths: [/request], upstream: demo, plugins: {test-request-body: {deny: evil}}}
  response: {paths: [/response], upstream: demo, plugins: {test-response-body: {deny: '*'}}}
";

#[test]
fn a_denial_keeps_the_connection_where_the_whole_body_has_come() {
    let gateway = Gateway::start_with_test_plugins(WHOLE);
    let mut client = gateway.connect();
    for in_chunks in [false, true] {
        for size in [4, 100_000] {
            let mut body = pattern(size);
            body[..4].copy_from_slice(b"evil");
            let answer = post(&mut client, "/request", &body, in_chunks).expect(403);
            assert_eq!(
                (answer.reason().as_str(), answer.header("connection")),
                ("evil_request", Some("keep-alive"))
            );
        }
        // What came with the head need not be read to be refused.
        let mut sent = match in_chunks {
            true => head("POST", "/key", &["Transfer-Encoding: chunked"]).into_bytes(),
            false => head("POST", "/key", &["Content-Length: 500"]).into_bytes(),
        };
        sent.extend(if in_chunks { chunked(&pattern(500)) } else { pattern(500) });
        client.send(sent);
        client.response().expect(401);
        assert_eq!(
            post(&mut client, "/echo/", b"next", in_chunks).expect(200).json()["body"]["text"],
            "next"
        );
    }
    // The rest of a body that has not come would have to be waited for.
    client.send(head("POST", "/key", &["Content-Length: 500"])).send("a part");
    assert_eq!(client.response().expect(401).header("connection"), Some("close"));
}

#[test]
fn a_slow_body_is_answered_with_408() {
    let gateway = Gateway::start_with_test_plugins(&format!("limits: {{body_timeout: 300ms}}\n{WHOLE}"));
    for path in ["/echo/", "/request"] {
        let mut client = gateway.connect();
        client.send(head("POST", path, &["Content-Length: 100"])).send("a part");
        assert_eq!(client.response().expect(408).reason(), "body_timeout", "{path}");
        assert!(client.is_closed());
    }
    for line in gateway.audit(2) {
        assert_eq!((&line["status"], &line["reason"]), (&408.into(), &"body_timeout".into()), "{line}");
    }
}

#[test]
fn a_route_has_a_time_of_its_own_for_bodies() {
    let own = WHOLE.replace(", upstream", ", limits: {body_timeout: 300ms}, upstream");
    let gateway = Gateway::start_with_test_plugins(&format!("limits: {{body_timeout: 1h}}\n{own}"));
    let late = |path: &str| {
        let (mut client, begun) = (gateway.connect(), std::time::Instant::now());
        client.send(head("POST", path, &["Content-Length: 100"])).send("a part");
        assert_eq!(client.response().expect(408).reason(), "body_timeout", "{path}");
        begun.elapsed()
    };
    for path in ["/echo/", "/request", "/response"] {
        // A client that is as slow is refused in any case, but much later.
        let fastest = (0..3).map(|_| late(path)).min().unwrap();
        assert!(fastest < std::time::Duration::from_secs(20), "{path}: {fastest:?}");
    }
}
