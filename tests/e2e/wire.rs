//! HTTP/1 on the wire: forms of the target, versions, pipelining, and framing that is refused.

use crate::{
    client::{Origin, head},
    harness::Gateway,
};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const RAW: &str = "
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes: {all: {paths: [/*], upstream: raw}}
";
const ECHO: &str = "routes: {echo: {paths: [/echo/*], upstream: demo}}";

#[test]
fn absolute_form_names_the_host_and_reaches_the_origin_as_a_path() {
    let gateway = Gateway::start("routes: {echo: {hosts: [shop.test], paths: [/echo/*], upstream: demo}}");
    let answer = gateway.request("GET", "http://shop.test/echo/a?b=c", &["Host: shop.test"]).expect(200);
    assert_eq!(answer.json()["target"], "/echo/a?b=c");
    let differs = gateway.request("GET", "http://other.test/echo/a", &["Host: shop.test"]).expect(400);
    assert_eq!(differs.reason(), "host_mismatch");
    gateway.request("GET", "http://other.test/echo/a", &["Host: other.test"]).expect(404);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let gateway = Gateway::start(ECHO);
    let mut client = gateway.connect();
    let requests: String = (0..5).map(|n| head("GET", &format!("/echo/{n}"), &[])).collect();
    client.send(requests);
    for n in 0..5 {
        assert_eq!(client.response().expect(200).json()["target"], format!("/echo/{n}"));
    }
    client.request("GET", "/echo/more", &[]).expect(200);
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let gateway = Gateway::start(ECHO);
    let mut client = gateway.connect();
    client.send("GET /echo/old HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let answer = client.response().expect(200);
    assert_eq!(answer.json()["target"], "/echo/old");
    assert!(answer.header("transfer-encoding").is_none());
    assert!(client.is_closed());
}

#[test]
fn http_1_0_gets_what_has_no_length_until_the_end() {
    for answer in [
        "HTTP/1.0 200 OK\r\n\r\nno length",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nno \r\n6\r\nlength\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nno length",
    ] {
        let origin = Origin::start(answer);
        let gateway = Gateway::start(&RAW.replace("ORIGIN", &origin.address.to_string()));
        for fields in ["", "Connection: keep-alive\r\n"] {
            let mut client = gateway.connect();
            client.send(format!("GET / HTTP/1.0\r\nHost: a.test\r\n{fields}\r\n"));
            let text = if answer.contains("Content-Length") {
                String::from_utf8(client.response().expect(200).body).unwrap()
            } else {
                let text = client.rest();
                assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && !text.contains("chunked"), "{text}");
                text.split_once("\r\n\r\n").unwrap().1.to_owned()
            };
            assert_eq!(text, "no length");
        }
        // Others get chunks, and the gateway's own version.
        let mut client = gateway.connect();
        client.send(head("GET", "/", &[])).wait_for("HTTP/1.1 200 OK\r\n");
    }
}

#[test]
fn what_can_be_framed_in_two_ways_is_refused_and_recorded_once() {
    let origin = Origin::start(OK);
    let gateway = Gateway::start(&RAW.replace("ORIGIN", &origin.address.to_string()));
    let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases = [
        ("Host: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n", 400),
        ("Host: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n", 400),
        ("Host: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n", 400),
        ("Host: a\r\nContent-Length: 4, 4\r\n", 400),
        ("Host: a\r\nContent-Length: +4\r\n", 400),
        ("Host: a\r\nContent-Length: 0x4\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: xchunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Host: a\r\nTransfer-Encoding : chunked\r\n", 400),
        ("Host: a\r\nX: a\r\n Transfer-Encoding: chunked\r\n", 400),
        ("Host: a\r\nContent_Length: 4\r\n", 400),
        ("Host: a\r\nX: a\rb\r\n", 400),
        ("Host: a\nContent-Length: 4\r\n", 400),
        ("Host: a\r\nHost: b\r\n", 400),
        ("Host: a@b\r\n", 400),
        ("", 400),
        ("Host: a\r\nExpect: something\r\n", 417),
    ];
    for (fields, status) in &cases {
        let mut client = gateway.connect();
        client.send(format!("POST /x HTTP/1.1\r\n{fields}\r\n{smuggled}"));
        let answer = client.response();
        assert_eq!(answer.status, *status, "{fields:?}");
        answer.reason();
        assert!(client.is_closed(), "{fields:?}");
    }
    let lines = gateway.audit(cases.len());
    for line in &lines {
        assert_eq!(line["route"], "_none", "{line}");
        assert!(line["reason"].is_string(), "{line}");
    }
    assert!(origin.is_untouched());
}

#[test]
fn heads_have_their_limits() {
    let gateway =
        Gateway::start(&format!("limits: {{header_bytes: 4KiB, header_count: 20, uri_bytes: 1KiB}}\n{ECHO}"));
    gateway.get(&format!("/echo/{}", "a".repeat(1000))).expect(200);
    gateway.get(&format!("/echo/{}", "a".repeat(1024))).expect(414);
    let many: Vec<String> = (0..20).map(|n| format!("x-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    gateway.request("GET", "/echo/", &many[..19]).expect(200);
    gateway.request("GET", "/echo/", &many).expect(431);
    gateway.request("GET", "/echo/", &[&format!("x: {}", "a".repeat(4096))]).expect(431);
    gateway.request("CONNECT", "a.test:443", &[]).expect(405);
}

#[test]
fn a_slow_head_is_answered_with_408() {
    let gateway = Gateway::start(&format!("limits: {{header_timeout: 200ms}}\n{ECHO}"));
    let mut client = gateway.connect();
    client.send("GET /echo/ HTTP/1.1\r\nHost: a\r\n");
    client.response().expect(408);
    assert!(client.is_closed());
}
