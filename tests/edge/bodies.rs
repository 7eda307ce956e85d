//! Bodies: streamed, read ahead, too large, too slow, malformed.

use crate::support::{Edge, chunked, limits, pattern, received};
use tokio::io::AsyncWriteExt;

const SIZES: [usize; 8] = [0, 1, 2, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 1];

fn with_length(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn in_chunks(headers: &str, body: &[u8], size: usize) -> Vec<u8> {
    let head = format!("POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{headers}\r\n");
    [head.as_bytes(), &chunked(body, size)].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_reach_the_origin_whole() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    for size in SIZES {
        let body = pattern(size);
        for wire in [with_length("", &body), in_chunks("", &body, 1000), in_chunks("", &body, 70_000)] {
            client.send(&wire).await;
            assert_eq!(client.answer().await.text(), received("POST", "/b", &body), "{size} bytes");
        }
    }
    assert!(client.is_open());
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_read_ahead_whole() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    let mut expected = Vec::new();
    for size in SIZES {
        let body = pattern(size);
        for wire in [
            with_length("x-ahead: 2000000\r\n", &body),
            in_chunks("x-ahead: 2000000\r\n", &body, 1000),
            in_chunks("x-ahead: 2000000\r\n", &body, 70_000),
        ] {
            client.send(&wire).await;
            let answer = client.answer().await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, &*received("POST", "/b", &body)),
                "{size} bytes"
            );
            expected.push(body.clone());
        }
    }
    assert!(edge.ahead() == expected);
    assert!(client.is_open(), "a body that was read ahead does not end the connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_sees_nothing_before_the_body_is_judged() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    client.send("POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\nx-ahead: 100\r\n\r\nabc").await;
    // A second connection goes all the way meanwhile, so the first had its chance.
    assert_eq!(edge.client().await.get("/a").await.status, 200);
    assert_eq!(edge.origin.requests(), 1);
    client.send("def").await;
    assert_eq!(client.answer().await.text(), received("POST", "/b", b"abcdef"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_expects_is_told_to_continue() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    client
        .send("POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\nx-ahead: 100\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 100);
    client.send("abc").await;
    assert_eq!(client.answer().await.text(), received("POST", "/b", b"abc"));
    assert_eq!(client.get("/next").await.status, 200);
}

/// Sends as much as the other side takes, as a client does that reads only when it has sent everything.
async fn upload(edge: &Edge, head: &str, most: usize) -> (String, usize) {
    let mut client = edge.client().await;
    client.send(head).await;
    let piece = pattern(16 * 1024);
    let mut sent = 0;
    while sent < most && client.0.write_all(&piece).await.is_ok() {
        sent += piece.len();
    }
    (String::from_utf8_lossy(&client.rest().await).into_owned(), sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_413_can_be_read() {
    let edge = Edge::start(limits()).await;
    for head in [
        "POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 131072\r\nx-ahead: 1000\r\n\r\n",
        "POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 131072\r\nx-limit: 1000\r\n\r\n",
        "POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nx-ahead: 1000\r\n\r\n20000\r\n",
        "POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nx-limit: 1000\r\n\r\n20000\r\n",
    ] {
        let (answer, _) = upload(&edge, head, 131_072).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{head:?}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_upload_ends() {
    let edge = Edge::start(limits()).await;
    let head = "POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 4294967296\r\nx-ahead: 1000\r\n\r\n";
    // Most of it has only filled the buffers of the system.
    let (_, sent) = upload(&edge, head, 1 << 32).await;
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    crate::support::eventually("an empty registry", || edge.registry.live() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_its_limit_to_the_byte() {
    let edge = Edge::start(limits()).await;
    for (size, status) in [(999, 200), (1000, 200), (1001, 413)] {
        let body = pattern(size);
        for headers in ["x-ahead: 1000\r\n", "x-limit: 1000\r\n"] {
            for wire in [with_length(headers, &body), in_chunks(headers, &body, 100)] {
                let mut client = edge.client().await;
                client.send(&wire).await;
                assert_eq!(client.answer().await.status, status, "{size} bytes, {headers:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_chunks_are_refused() {
    let edge = Edge::start(limits()).await;
    for chunks in
        ["x\r\n", "5 \r\nhello\r\n", "5\r\nhello!\r\n", "5;a\nb\r\nhello\r\n", "\r\n", "0\r\nhost: b\r\n\r\n"]
    {
        for headers in ["x-ahead: 1000\r\n", ""] {
            let mut client = edge.client().await;
            let head = format!("POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n{headers}\r\n");
            client
                .send(
                    [head.as_bytes(), chunks.as_bytes(), b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"]
                        .concat(),
                )
                .await;
            let answer = client.answer().await;
            assert_eq!(answer.status, 400, "{chunks:?} {headers:?}");
            assert!(client.rest().await.is_empty(), "{chunks:?} {headers:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_answered_408() {
    let edge = Edge::start(limits()).await;
    for headers in ["x-ahead: 1000\r\n", ""] {
        let mut client = edge.client().await;
        let head = "POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\nx-time: 200\r\n";
        client.send(format!("{head}{headers}\r\nabc")).await;
        assert_eq!(client.answer().await.status, 408, "{headers:?}");
        client.rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_not_reset_under_an_answer() {
    let edge = Edge::start(limits()).await;
    for (head, status) in [
        ("POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\nx-ahead: 1000\r\n\r\n", 413),
        ("POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 65536\r\nx-limit: 1000\r\n\r\n", 413),
        ("POST /b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nx-limit: 1000\r\n\r\nx\r\n", 400),
        ("POST /b HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", 400),
    ] {
        let mut client = edge.client().await;
        // All of it is there, unread, when the answer is made: a plain close would reset the connection.
        client.send([head.as_bytes(), &pattern(60_000)].concat()).await;
        assert_eq!(client.answer().await.status, status, "{head:?}");
        let mut byte = [0];
        let end = tokio::io::AsyncReadExt::read(&mut client.0, &mut byte);
        let end = tokio::time::timeout(crate::support::PATIENCE, end).await.expect("an end");
        assert_eq!(end.expect("an orderly end"), 0, "{head:?}");
    }
}
