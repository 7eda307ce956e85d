//! HTTP/1: request after request, and what never reaches an origin.

use crate::support::{Client, Edge, PATIENCE, chunked, limits, received};
use std::time::Duration;
use tokio::{io::AsyncWriteExt, time::timeout};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_request_after_another() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    for path in ["/a", "/b?c=d", "/e"] {
        let answer = client.get(path).await;
        assert_eq!((answer.status, answer.text()), (200, &*received("GET", path, b"")));
        assert_ne!(answer.header("connection"), Some("close"));
        assert_eq!(answer.header("x-peer"), Some(&*client.0.local_addr().unwrap().to_string()));
        assert_eq!(answer.header("x-sni"), Some("none"));
    }
    client.send("GET /last HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(client.answer().await.header("connection"), Some("close"));
    assert!(client.rest().await.is_empty());
    client = edge.client().await;
    client.send("GET /old HTTP/1.0\r\nhost: a\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 200);
    assert!(client.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    let post =
        [&b"POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"[..], &chunked(b"hello", 2)];
    client
        .send(
            [
                &b"\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n"[..],
                &post.concat(),
                b"POST /c HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nxyz",
                b"GET /d HTTP/1.1\r\nhost: a\r\n\r\n",
            ]
            .concat(),
        )
        .await;
    for (method, path, body) in
        [("GET", "/a", ""), ("POST", "/b", "hello"), ("POST", "/c", "xyz"), ("GET", "/d", "")]
    {
        let answer = client.answer().await;
        assert_eq!(answer.text(), received(method, path, body.as_bytes()));
    }
    assert!(client.is_open());
    assert_eq!(edge.origin.requests(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_in_single_bytes_is_one_request() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    client.0.set_nodelay(true).unwrap();
    for byte in
        b"\r\nPOST /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx: y\r\n\r\n"
    {
        client.send([*byte]).await;
    }
    assert_eq!(client.answer().await.text(), received("POST", "/a", b"abc"));
    assert_eq!(client.get("/b").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ambiguous_is_answered_and_closed() {
    let edge = Edge::start(limits()).await;
    let mut count = 0;
    for (request, status, reason) in [
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "framing_length_and_coding",
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
            400,
            "framing_length_repeated",
        ),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: y\n\r\n", 400, "framing_bare_lf"),
        ("GET / HTTP/1.1\r\nhost: a\r\n x: y\r\n\r\n", 400, "header_folded"),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "host_repeated"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "host_missing"),
        ("GET admin/x HTTP/1.1\r\nhost: a\r\n\r\n", 400, "target_malformed"),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: magic\r\n\r\n", 417, "expectation_unknown"),
    ] {
        // What comes behind must not be taken for a request.
        let mut client = edge.client().await;
        client.send([request.as_bytes(), b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"].concat()).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, status, "{request:?}");
        assert_eq!(
            answer.header("connection").map(str::to_ascii_lowercase).as_deref(),
            Some("close"),
            "{request:?}"
        );
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((&problem["status"], &problem["reason"]), (&status.into(), &reason.into()), "{request:?}");
        assert!(client.rest().await.is_empty(), "{request:?} is answered twice");
        count += 1;
        assert_eq!(edge.refused().len(), count);
        assert_eq!(edge.refused().last(), Some(&reason));
        let head = edge.refused_heads().pop().unwrap();
        assert!(head.starts_with(&request.as_bytes()[..10]), "{request:?}");
    }
    assert_eq!(edge.origin.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stays_after_a_refusal_is_not_waited_for() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client.answer().await.status, 400);
    assert!(client.rest().await.is_empty());
    eventually_gone(&edge).await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_their_size() {
    let edge = Edge::start(limits()).await;
    for (request, status) in [
        (format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(5000)), 414),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000)), 431),
        (format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(60)), 431),
        (format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}", "x".repeat(20_000)), 431),
        ("x".repeat(5000), 414),
    ] {
        let mut client = edge.client().await;
        client.send(&request).await;
        assert_eq!(client.answer().await.status, status, "{}", &request[..30]);
        assert!(client.rest().await.is_empty());
    }
    assert_eq!(edge.origin.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_answered_408() {
    let edge =
        Edge::start(palisade::conf::model::Limits { header_timeout: Duration::from_millis(300), ..limits() })
            .await;
    let mut client = edge.client().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\nx: ").await;
    // Bytes do not buy time.
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if client.0.write_all(b"y").await.is_err() || !client.is_open() {
                return;
            }
        }
    };
    timeout(PATIENCE, drip).await.expect("the head is given up");
    let answer = client.rest().await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert_eq!(edge.refused(), ["header_timeout"], "{answer}");
    eventually_gone(&edge).await;
}

async fn eventually_gone(edge: &Edge) {
    crate::support::eventually("an empty registry", || edge.registry.live() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_408_can_be_read() {
    let edge =
        Edge::start(palisade::conf::model::Limits { header_timeout: Duration::from_millis(100), ..limits() })
            .await;
    let mut client = edge.client().await;
    client.send("GET / HTTP/1.1\r\n").await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 408);
    assert!(answer.text().contains("header_timeout"), "{}", answer.text());
    assert!(client.rest().await.is_empty());
}

/// Not only the first one: later ones have the time of a head from their first byte on.
#[tokio::test(flavor = "multi_thread")]
async fn every_head_has_its_deadline() {
    let limits = palisade::conf::model::Limits { header_timeout: Duration::from_millis(1500), ..limits() };
    let edge = Edge::start(limits).await;
    let mut client = edge.client().await;
    for count in 1..=3 {
        assert_eq!(client.get("/a").await.status, 200, "{count}");
    }
    // It may wait longer than a head may take.
    tokio::time::sleep(Duration::from_millis(1600)).await;
    assert_eq!(client.get("/a").await.status, 200);
    client.send("GET / HTTP/1.1\r\nhost: a\r\n").await;
    assert_eq!(client.answer().await.status, 408);
    assert!(client.rest().await.is_empty());
    assert_eq!(edge.refused(), ["header_timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_empty_lines_are_passed_over_and_no_more() {
    let edge = Edge::start(limits()).await;
    for (lines, status) in [(0, 200), (4, 200), (5, 400), (5000, 400)] {
        let mut client = edge.client().await;
        client.send("\r\n".repeat(lines) + "GET /a HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(client.answer().await.status, status, "{lines}");
    }
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    client.send(UPGRADE).await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 101, "{}", answer.head);
    for piece in
        [&b"\x81\x85\0\0\0\0hello"[..], b"GET /x HTTP/1.1\r\n\r\n", &crate::support::pattern(100_000)]
    {
        let (mut read, mut write) = client.0.split();
        let (sent, echoed) = tokio::join!(write.write_all(piece), async {
            let mut echo = vec![0; piece.len()];
            timeout(PATIENCE, tokio::io::AsyncReadExt::read_exact(&mut read, &mut echo))
                .await
                .unwrap()
                .unwrap();
            echo
        });
        sent.unwrap();
        assert!(echoed == piece);
    }
    assert_eq!(edge.origin.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_is_a_request_like_any_other() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    // The origin does not upgrade here. The next request is already there: it must be served as one.
    client
        .send([UPGRADE.replace("/ws", "/no").as_bytes(), b"GET /next HTTP/1.1\r\nhost: a\r\n\r\n"].concat())
        .await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.text()), (200, &*received("GET", "/no", b"")));
    assert_eq!(client.answer().await.text(), received("GET", "/next", b""));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_goodbye_is_noticed() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    client.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    crate::support::eventually("the request at the origin", || edge.origin.requests() == 1).await;
    drop(client);
    eventually_gone(&edge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_one_machine_do_not_wait_for_each_other() {
    let edge = Edge::start(limits()).await;
    let mut waiting = edge.client().await;
    waiting.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(Client::connect(edge.address).await.get("/a").await.status, 200);
    edge.origin.release();
    assert_eq!(waiting.answer().await.status, 200);
}
