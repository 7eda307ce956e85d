//! What all bodies together may take: requests' and responses', as they came and decoded.

use crate::{
    client::{Client, Origin, Response, head},
    harness::{Gateway, until},
    life::admin,
};
use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
};

const CONF: &str = "
admin: {address: 127.0.0.1:0}
limits: {buffered_bytes: 1MiB}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes:
  raw: {paths: [/raw], upstream: raw, plugins: {test-response-body: {deny: nothing}}}
  response: {paths: ['/bytes/{n}', /stream], upstream: demo, plugins: {test-response-body: {deny: nothing}}}
  request: {paths: [/echo/*], upstream: demo, plugins: {test-request-body: {deny: nothing, replace: SWAP, with: x, times: 900000}}}
";

fn start(origin: &str) -> Gateway {
    Gateway::start_with_test_plugins(&CONF.replace("ORIGIN", origin))
}

/// Holds twice so many bytes, as a body that was announced and let in does.
fn hold(gateway: &Gateway, bytes: usize) -> Client {
    let length = format!("Content-Length: {bytes}");
    // The one before gives back what it held after its client has the answer.
    until("room", || {
        let mut client = gateway.connect();
        client.send(head("POST", "/echo/", &[&length, "Expect: 100-continue"]));
        (client.response().status == 100).then_some(client)
    })
}

/// What came before gives back what it held after its client has the answer.
fn passes(mut ask: impl FnMut() -> Response) -> Response {
    until("room", || Some(ask()).filter(|answer| answer.status == 200))
}

/// How much bodies hold now.
fn held(gateway: &Gateway) -> usize {
    let metrics = admin(gateway, "GET", "/metrics", None).expect(200).text();
    metrics.lines().find_map(|line| line.strip_prefix("palisade_buffered_bytes ")?.parse().ok()).unwrap()
}

fn refused(gateway: &Gateway, target: &str) {
    // Not only because of what came before.
    for _ in 0..3 {
        assert_eq!(gateway.get(target).expect(503).reason(), "buffers_full", "{target}");
    }
}

#[test]
fn responses_take_from_it_by_what_they_announce_and_by_what_comes() {
    let gateway = start("127.0.0.1:1");
    let held = hold(&gateway, 300_000);
    passes(|| gateway.get("/bytes/440000"));
    passes(|| gateway.get("/stream?chunks=40&bytes=10000"));
    refused(&gateway, "/bytes/460000");
    refused(&gateway, "/stream?chunks=60&bytes=10000");
    held.abort();
    passes(|| gateway.get("/stream?chunks=60&bytes=10000"));
    passes(|| gateway.get("/bytes/460000"));
}

#[test]
fn a_response_is_held_until_the_client_has_it() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = start(&origin.local_addr().unwrap().to_string());
    let mut client = gateway.connect();
    client.send(head("GET", "/raw", &[]));
    let (mut tcp, _) = origin.accept().unwrap();
    let mut lines = BufReader::new(tcp.try_clone().unwrap()).lines();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n").unwrap();
    // Not seen by a request that has no room: it would take that of the answer, where it comes first.
    until("the announced length to count", || (held(&gateway) >= 900_000).then_some(()));
    refused(&gateway, "/bytes/200000");
    passes(|| gateway.get("/bytes/100000"));
    tcp.write_all(&[b'x'; 900_000]).unwrap();
    assert_eq!(client.response().expect(200).body.len(), 900_000);
    passes(|| gateway.get("/bytes/200000"));
}

#[test]
fn what_a_compressed_response_becomes_counts_as_well() {
    // 700 000 bytes of nothing.
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 700_000]).unwrap();
    let body = encoder.finish().unwrap();
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: {length}\r\n\r\n");
    let answer = [head.into_bytes(), body].concat();
    let origin = Origin::start(answer);
    let gateway = start(&origin.address.to_string());
    assert_eq!(gateway.get("/raw").expect(200).body.len(), length);
    let held = hold(&gateway, 200_000);
    refused(&gateway, "/raw");
    held.abort();
    passes(|| gateway.get("/raw"));
}

#[test]
fn requests_count_twice_and_what_takes_their_place_once() {
    let gateway = start("127.0.0.1:1");
    let held = hold(&gateway, 300_000);
    let post = |fields: &[&str], body: &str| {
        let mut client = gateway.connect();
        client.send(head("POST", "/echo/", fields));
        client.try_send(body);
        client.response()
    };
    passes(|| post(&["Content-Length: 220000"], &"a".repeat(220_000)));
    assert_eq!(post(&["Content-Length: 230000"], "").expect(503).reason(), "buffers_full");
    let chunk = |size: usize| format!("{size:x}\r\n{}\r\n0\r\n\r\n", "a".repeat(size));
    passes(|| post(&["Transfer-Encoding: chunked"], &chunk(100_000)));
    assert_eq!(post(&["Transfer-Encoding: chunked"], &chunk(230_000)).expect(503).reason(), "buffers_full");
    assert_eq!(post(&["Content-Length: 4"], "SWAP").expect(503).reason(), "buffers_full");
    held.abort();
    passes(|| post(&["Content-Length: 4"], "SWAP"));
}
