//! What is declared passes, the rest does not: bodies of the types and sizes that were written, callers that a table or
//! what they own lets pass. Over HTTP/1.1 with a length and in chunks, and over HTTP/2 without one.

use crate::{
    bodies::chunked,
    client::{Client, Response, head},
    harness::Gateway,
    http2::{block_on, h2c, json, streamed},
};
use sha2::{Digest, Sha256};
use std::io::Write;

/// The answers to one body in every framing: they are the same. What the origin got of it, where it got anything.
pub fn framed(
    gateway: &Gateway,
    target: &str,
    headers: &[&str],
    body: &[u8],
) -> (u16, Result<serde_json::Value, String>) {
    let send = |framing: &str, body: &[u8]| -> Response {
        let mut client = gateway.connect();
        client.send(head("POST", target, &[headers, &[framing]].concat())).send(body);
        client.response()
    };
    let length = send(&format!("Content-Length: {}", body.len()), body);
    let chunks = send("Transfer-Encoding: chunked", &chunked(body));
    let (status, found) = block_on(async {
        let url = format!("http://{}{target}", gateway.at("listener h2"));
        let mut request = h2c().post(url).body(streamed(body.to_vec()));
        for (name, value) in headers.iter().filter_map(|header| header.split_once(": ")) {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), json(answer).await)
    });
    assert_eq!((length.status, chunks.status), (status, status), "{target} {headers:?}");
    if status == 200 {
        let got = |found: &serde_json::Value| found["body"]["sha256"].clone();
        assert_eq!((got(&length.json()), got(&chunks.json())), (got(&found), got(&found)));
        return (status, Ok(found));
    }
    let reason = found["reason"].as_str().unwrap().to_owned();
    assert_eq!((length.reason(), chunks.reason()), (reason.clone(), reason.clone()));
    (status, Err(reason))
}

pub fn refused(status: u16, reason: &str) -> (u16, Result<serde_json::Value, String>) {
    (status, Err(reason.to_owned()))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const BODIES: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  typed:
    paths: [/echo/typed]
    upstream: demo
    plugins: {content-type: {allow: [application/json], encodings: [gzip], max_body_size: 64KiB}}
  json: {paths: [/echo/json], upstream: demo, plugins: {json-limits: {max_body_size: 64KiB, max_container_depth: 3}}}
  xml: {paths: [/echo/xml], upstream: demo, plugins: {xml-limits: {max_body_size: 64KiB}}}
";

#[test]
fn bodies_are_of_the_types_that_are_written() {
    let gateway = Gateway::start(BODIES);
    let ask = |headers: &[&str], body: &[u8]| framed(&gateway, "/echo/typed", headers, body);
    let typed = "Content-Type: application/json";
    assert_eq!(ask(&[typed], b"{\"a\":1}").0, 200);
    assert_eq!(ask(&["Content-Type: text/plain"], b"{\"a\":1}"), refused(415, "content_type_refused"));
    assert_eq!(ask(&[], b"{\"a\":1}"), refused(415, "content_type_missing"));
    assert_eq!(ask(&[typed], b"a=1"), refused(400, "content_type_lies"));
    assert_eq!(ask(&[typed], &[b' '; (64 << 10) + 1]), refused(413, "body_too_large"));
    assert_eq!(ask(&[typed, "Content-Encoding: br"], b"x"), refused(415, "encoding_refused"));
    assert_eq!(ask(&[typed, "Content-Encoding: gzip"], b"{}"), refused(400, "encoding_malformed"));
    assert_eq!(
        ask(&[typed, "Content-Encoding: gzip"], &gzip(&[b' '; 100_000])),
        refused(413, "encoding_bomb")
    );
    // What was decoded goes on decoded.
    let (_, echo) = ask(&[typed, "Content-Encoding: gzip"], &gzip(b"{\"a\": [1]}"));
    let echo = echo.unwrap();
    assert_eq!(echo["body"]["sha256"], hex::encode(Sha256::digest(b"{\"a\": [1]}")));
    assert!(!echo["headers"].to_string().contains("content-encoding"), "{echo}");
    gateway.get("/echo/typed").expect(200);
}

#[test]
fn json_and_xml_are_read_in_one_way() {
    let gateway = Gateway::start(BODIES);
    let typed = "Content-Type: application/json";
    let json = |headers: &[&str], body: &[u8]| framed(&gateway, "/echo/json", headers, body);
    assert_eq!(json(&[typed], b"{\"a\":[1]}").0, 200);
    assert_eq!(json(&[typed], b"{\"a\":1,\"a\":2}"), refused(400, "json_name_twice"));
    assert_eq!(json(&[typed], b"[[[[]]]]"), refused(400, "json_depth"));
    assert_eq!(json(&[typed], b"{} {}"), refused(400, "json_malformed"));
    assert_eq!(json(&[typed], &[b' '; (64 << 10) + 1]), refused(413, "body_too_large"));
    // What is decoded to be read goes on as it came.
    let twice = gzip(b"{\"a\":1,\"a\":2}");
    assert_eq!(json(&[typed, "Content-Encoding: gzip"], &twice), refused(400, "json_name_twice"));
    let (_, echo) = json(&[typed, "Content-Encoding: gzip"], &gzip(b"[1]"));
    assert_eq!(echo.unwrap()["body"]["sha256"], hex::encode(Sha256::digest(gzip(b"[1]"))));
    let typed = "Content-Type: application/xml";
    let xml = |body: &[u8]| framed(&gateway, "/echo/xml", &[typed], body);
    assert_eq!(xml(b"<a>&amp;</a>").0, 200);
    assert_eq!(
        xml(b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>"),
        refused(400, "xml_doctype")
    );
    assert_eq!(xml(b"<a>&x;</a>"), refused(400, "xml_entity"));
    assert_eq!(xml(b"<a><b></a>"), refused(400, "xml_malformed"));
}

const CALLERS: &str = "
admin: {address: 127.0.0.1:0}
routes:
  table:
    paths: [/echo/table/*]
    upstream: demo
    plugins:
      key-auth: {}
      rbac:
        grants:
          - {methods: [GET], paths: [/echo/table/*], anyone: true}
          - {methods: [DELETE], paths: ['/echo/table/{id}'], groups: [gold]}
  own:
    paths: ['/echo/own/{user}']
    upstream: demo
    plugins:
      key-auth: {}
      ownership: {object: path.user, owner: consumer, enumeration: {distinct: 3, lockout: 1h}}
  body:
    paths: [/echo/body]
    upstream: demo
    plugins: {key-auth: {}, ownership: {object: 'body.ids[]', owner: consumer}}
  page:
    paths: [/echo/page]
    upstream: demo
    plugins: {csrf: {token: {secret: 0123456789abcdef0123456789abcdef, cookie: token}}}
";

#[test]
fn callers_do_what_a_table_grants_and_nothing_else() {
    let gateway = Gateway::start(CALLERS);
    let ask =
        |method: &str, target: &str, key: &str| gateway.request(method, target, &[&format!("apikey: {key}")]);
    ask("GET", "/echo/table/7", "bob-key").expect(200);
    ask("DELETE", "/echo/table/7", "alice-key").expect(200);
    assert_eq!(ask("DELETE", "/echo/table/7", "bob-key").expect(403).reason(), "rbac_denied");
    assert_eq!(ask("DELETE", "/echo/table/7/lines", "alice-key").expect(403).reason(), "rbac_denied");
    assert_eq!(ask("POST", "/echo/table/7", "alice-key").expect(403).reason(), "rbac_denied");
    gateway.request("DELETE", "/echo/table/7", &[]).expect(401);
}

#[test]
fn callers_reach_what_is_theirs() {
    let gateway = Gateway::start(CALLERS);
    let ask = |user: &str| gateway.request("GET", &format!("/echo/own/{user}"), &["apikey: alice-key"]);
    ask("alice").expect(200);
    for user in ["bob", "Alice"] {
        assert_eq!(ask(user).expect(403).reason(), "ownership_denied");
    }
    assert_eq!(ask("carol").expect(403).reason(), "ownership_enumeration");
    assert_eq!(ask("alice").expect(429).reason(), "ownership_lockout");
    gateway.request("GET", "/echo/own/bob", &["apikey: bob-key"]).expect(200);
    let post = |body: &str| {
        let mut client = gateway.connect();
        let framing = format!("Content-Length: {}", body.len());
        let headers = ["apikey: alice-key", "Content-Type: application/json", &framing];
        client.send(head("POST", "/echo/body", &headers)).send(body);
        client.response()
    };
    post(r#"{"ids":["alice","alice"]}"#).expect(200);
    assert_eq!(post(r#"{"ids":["alice","bob"]}"#).expect(403).reason(), "ownership_denied");
    assert_eq!(post(r#"{"ids":["alice"],"ids":["bob"]}"#).expect(400).reason(), "ownership_unreadable");
    let admin = ["Host: 127.0.0.1"];
    let metrics = Client::connect(gateway.at("admin")).request("GET", "/metrics", &admin).text();
    assert!(metrics.lines().any(|line| line.contains("enumeration") && line.ends_with(" 1")), "{metrics}");
}

#[test]
fn pages_of_others_change_nothing() {
    let gateway = Gateway::start(CALLERS);
    let page = gateway.request("GET", "/echo/page", &["Cookie: session=1"]).expect(200);
    let cookie = page.header("set-cookie").unwrap();
    let token = cookie.strip_prefix("token=").unwrap().split(';').next().unwrap().to_owned();
    let post = |headers: &[&str]| {
        let cookies = format!("Cookie: session=1; token={token}");
        gateway.request("POST", "/echo/page", &[&[&*cookies, "Content-Length: 0"], headers].concat())
    };
    let sent = format!("x-csrf-token: {token}");
    post(&["Sec-Fetch-Site: same-origin", &sent]).expect(200);
    assert_eq!(post(&["Sec-Fetch-Site: same-origin"]).expect(403).reason(), "csrf_token");
    assert_eq!(post(&["Sec-Fetch-Site: cross-site", &sent]).expect(403).reason(), "csrf_cross_site");
    assert_eq!(post(&["Origin: https://evil.example", &sent]).expect(403).reason(), "csrf_origin");
    assert_eq!(post(&[&sent]).expect(403).reason(), "csrf_origin");
}
