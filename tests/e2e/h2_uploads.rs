//! Bodies on their way to an origin that speaks HTTP/2: what is late, what only takes long, and who shares a connection.

use crate::{
    client::head,
    h2c::Stream,
    harness::Gateway,
    http2::{block_on, json},
};
use bytes::Bytes;
use h2::server;
use http::Response;
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

const SHORT: Duration = Duration::from_millis(400);

/// What the origin has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    /// Bodies that came to their end.
    whole: AtomicUsize,
}

/// An origin that reads a body to its end before it says a word: how long it was. To `/hang` it says nothing.
async fn origin() -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, seen) = (listener.local_addr().unwrap(), Arc::<Seen>::default());
    let shared = seen.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let seen = shared.clone();
            tokio::spawn(async move {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                seen.open.fetch_add(1, Ordering::SeqCst);
                let mut connection = server::handshake(tcp).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    tokio::spawn(read(request, answer, seen.clone()));
                }
                seen.open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (address, seen)
}

async fn read(
    request: http::Request<h2::RecvStream>,
    mut answer: server::SendResponse<Bytes>,
    seen: Arc<Seen>,
) -> Option<()> {
    let hangs = request.uri().path() == "/hang";
    let (mut body, mut length) = (request.into_body(), 0);
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        length += piece.len();
    }
    seen.whole.fetch_add(1, Ordering::SeqCst);
    if hangs {
        // It is not answered, and the request is kept until the other side gives it up.
        std::future::poll_fn(|cx| answer.poll_reset(cx)).await.ok()?;
        return None;
    }
    let mut out = answer.send_response(Response::new(()), false).ok()?;
    out.send_data(format!("{length}").into(), true).ok()
}

/// A gateway in front of that origin.
fn gateway(origin: SocketAddr, limits: &str, timeouts: &str) -> Gateway {
    Gateway::start(&format!(
        "
listeners: {{h2: {{address: 127.0.0.1:0, http2: true}}}}
limits: {{{limits}}}
upstreams: {{h2: {{targets: [{{address: '{origin}'}}], protocol: http2, timeouts: {{{timeouts}}}}}}}
routes: {{h2: {{paths: [/*], upstream: h2}}}}
"
    ))
}

/// Waits for something; a test that waits too long fails.
async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < crate::harness::PATIENCE, "waited for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn reason(body: &[u8]) -> Value {
    serde_json::from_slice::<Value>(body).unwrap()["reason"].clone()
}

#[test]
fn a_late_body_is_answered() {
    block_on(async {
        let (address, seen) = origin().await;
        let gateway = gateway(address, "body_timeout: 300ms", "read: 30s, total: 30s");
        let h2 = gateway.at("listener h2");
        // One that waits for its answer all the while, on a connection to the origin that is shared.
        let mut other = Stream::open(h2, "/hang", None).await;
        until("the origin", || seen.whole.load(Ordering::SeqCst) == 1).await;
        for length in [None, Some(1000)] {
            let mut request = http::Request::post("http://gateway.test/late");
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let mut stream = Stream::send(h2, request.body(()).unwrap(), false).await;
            stream.piece("a part");
            let (status, body, _) = stream.answer().await;
            assert_eq!((status, reason(&body)), (408, "body_timeout".into()), "{length:?}");
            assert_eq!(stream.again("/next").await, 200, "the connection lives on");
        }
        assert_eq!(seen.whole.load(Ordering::SeqCst), 3, "the origin has taken a part for the whole");
        until("connections of late requests to end", || seen.open.load(Ordering::SeqCst) == 1).await;
        other.reset();
        let lines = tokio::task::block_in_place(|| gateway.audit(5));
        let late: Vec<_> = lines.iter().filter(|line| line["status"] == 408).collect();
        assert_eq!(late.len(), 2, "{lines:#?}");
        assert!(late.iter().all(|line| line["reason"] == "body_timeout"), "{lines:#?}");
    });
}

/// It is the end of the request that its origin may take time from, whatever one read may take.
#[test]
fn a_body_may_take_longer_than_a_read() {
    block_on(async {
        let (address, _) = origin().await;
        let gateway = gateway(address, "body_timeout: 30s", "read: 400ms, total: 30s");
        let mut stream = Stream::open(gateway.at("listener h2"), "/", Some("0123456789")).await;
        let mut client = tokio::task::block_in_place(|| {
            let mut client = gateway.connect();
            client.send(head("POST", "/", &["Content-Length: 100"]) + "0123456789");
            client
        });
        for _ in 0..9 {
            sleep(SHORT / 4).await;
            stream.piece("0123456789");
            tokio::task::block_in_place(|| client.send("0123456789"));
        }
        stream.end();
        let (status, body, _) = stream.answer().await;
        assert_eq!((status, &*body), (200, &b"100"[..]));
        let answer = tokio::task::block_in_place(|| client.response());
        assert_eq!(answer.expect(200).body, b"100");
    });
}

#[test]
fn an_origin_that_is_silent_after_a_long_body_is_not_waited_for() {
    block_on(async {
        let (address, seen) = origin().await;
        let gateway = gateway(address, "body_timeout: 30s", "read: 30s, total: 400ms");
        let mut stream = Stream::open(gateway.at("listener h2"), "/hang", Some("a part")).await;
        sleep(2 * SHORT).await;
        stream.end();
        let (status, body, _) = stream.answer().await;
        assert_eq!((status, reason(&body)), (504, "upstream_total_timeout".into()));
        assert_eq!(seen.whole.load(Ordering::SeqCst), 1);
    });
}

/// What is still on its way has a connection to the origin for itself, that is used again; the rest share one.
#[test]
fn uploads_have_connections_of_their_own() {
    block_on(async {
        let (address, seen) = origin().await;
        let gateway = gateway(address, "body_timeout: 30s", "read: 30s, total: 30s");
        let h2 = gateway.at("listener h2");
        let client = crate::http2::h2c();
        let get = || client.get(format!("http://{h2}/")).send();
        for round in 1..=4 {
            for _ in 0..3 {
                assert_eq!(json(get().await.unwrap()).await, 0);
            }
            let mut uploads = Vec::new();
            for _ in 0..2 {
                uploads.push(Stream::open(h2, "/", Some("a part")).await);
            }
            until("the uploads", || seen.connections.load(Ordering::SeqCst) >= 3).await;
            for mut upload in uploads {
                upload.end();
                assert_eq!(upload.answer().await.0, 200, "round {round}");
            }
        }
        // Who gives up his own is no trouble for others.
        let mut given_up = Stream::open(h2, "/", Some("a part")).await;
        given_up.reset();
        assert_eq!(json(get().await.unwrap()).await, 0);
        let connections = seen.connections.load(Ordering::SeqCst);
        assert!(connections < 9, "none was used again: {connections}");
    });
}
