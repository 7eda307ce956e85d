//! What an origin may do to a request: the time it takes, and the connections to it.

use crate::{
    client::head,
    h2c::Stream,
    harness::{Gateway, until},
    health::states,
    http2::block_on,
    origin::Origin,
};
use std::{
    sync::{Mutex, mpsc::channel},
    time::{Duration, Instant},
};

/// The time of an exchange: enough for the head of an answer that comes at once, on a busy machine as well.
const TOTAL: Duration = Duration::from_secs(1);
/// Less than a read may take, which must not be what ends an exchange.
const LATE: Duration = Duration::from_secs(25);

fn conf(origin: &Origin, upstream: &str) -> String {
    format!(
        "
upstreams: {{raw: {{targets: [{{address: '{}'}}], {upstream}}}}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
        origin.address
    )
}

/// Hangs, drips its head, drips its body, or streams as long as the test says, by the path.
fn slow(stream: std::sync::mpsc::Receiver<()>) -> Origin {
    let stream = Mutex::new(stream);
    Origin::start(move |request| {
        let drip = |request: &mut crate::origin::Request<'_>, bytes: &mut dyn Iterator<Item = u8>| {
            for byte in bytes {
                if !request.send([byte]) {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            true
        };
        match request.path() {
            "/hang" => request.wait_for_close(),
            "/head" => {
                request.send("HTTP/1.1 200 OK\r\nx-long: ") && drip(request, &mut std::iter::repeat(b'x'))
            }
            "/body" => {
                request.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    && drip(request, &mut std::iter::repeat_n(b'x', 100_000))
            }
            "/stream" => {
                let sent =
                    request.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
                stream.lock().unwrap().recv().unwrap();
                let _ = sent && request.send("data: 2\n\n");
                false
            }
            "/chunks" => {
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
                let begun = Instant::now();
                let mut ok = request.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                while ok && begun.elapsed() < 2 * TOTAL {
                    ok = request.send(&chunk);
                    std::thread::sleep(Duration::from_millis(5));
                }
                ok && request.send("0\r\n\r\n")
            }
            _ => request.answer(200, "ok"),
        }
    })
}

#[test]
fn an_exchange_ends_in_its_time() {
    let (release, held) = channel();
    let origin = slow(held);
    let gateway = Gateway::start(&conf(&origin, "timeouts: {total: 1s, read: 30s}"));
    let mut stream = gateway.connect();
    stream.send(head("GET", "/stream", &[]));
    stream.wait_for("data: 1\n\n");
    for path in ["/hang", "/head"] {
        let begun = Instant::now();
        let answer = gateway.get(path).expect(504);
        assert_eq!(answer.reason(), "upstream_total_timeout");
        assert_eq!(answer.header("connection"), Some("close"));
        let elapsed = begun.elapsed();
        assert!(elapsed >= TOTAL && elapsed < LATE, "{path}: {elapsed:?}");
    }
    // A trickle is cut, and a transfer that was cut is not to be taken for a whole one.
    let mut client = gateway.connect();
    client.send(head("GET", "/body", &[]));
    let received = client.rest();
    assert!(received.starts_with("HTTP/1.1 200") && received.len() < 50_000, "{}", received.len());
    // The time of the stream was over long ago.
    release.send(()).unwrap();
    stream.wait_for("data: 2\n\n");
    // What flows is not cut.
    assert!(gateway.get("/chunks").expect(200).body.len() > 4096);
    let lines = gateway.audit(5);
    let outcome = |path: &str| {
        let line = lines.iter().find(|line| line["path"] == path).unwrap();
        (line["status"].as_u64().unwrap(), line["reason"].clone())
    };
    for (path, status, over) in [
        ("/hang", 504, true),
        ("/head", 504, true),
        ("/body", 200, true),
        ("/stream", 200, false),
        ("/chunks", 200, false),
    ] {
        let reason = if over { "upstream_total_timeout".into() } else { serde_json::Value::Null };
        assert_eq!(outcome(path), (status, reason), "{path}");
    }
    // Connections that were given up are not used again, and the next request is not late.
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.request("GET", "/", &[]).expect(200);
    }
}

#[test]
fn no_more_connections_are_kept_than_written() {
    let (release, held) = channel::<()>();
    let held = Mutex::new(held);
    let origin = Origin::start(move |request| {
        if request.path() == "/held" {
            held.lock().unwrap().recv().unwrap();
        }
        request.answer(200, "ok")
    });
    let gateway = Gateway::start(&conf(&origin, "keepalive: 2"));
    let mut clients: Vec<_> = (0..5).map(|_| gateway.connect()).collect();
    for (count, client) in clients.iter_mut().enumerate() {
        client.send(head("GET", "/held", &[]));
        until("the request at the origin", || (origin.requests() == count + 1).then_some(()));
    }
    for _ in &clients {
        release.send(()).unwrap();
    }
    for client in &mut clients {
        client.response().expect(200);
    }
    assert_eq!(origin.opened(), 5);
    until("the surplus to be closed", || (origin.closed() == 3).then_some(()));
    // Two at once find the two that were kept.
    for (count, client) in clients.iter_mut().take(2).enumerate() {
        client.send(head("GET", "/held", &[]));
        until("the request at the origin", || (origin.requests() == count + 6).then_some(()));
    }
    for client in clients.iter_mut().take(2) {
        release.send(()).unwrap();
        client.response().expect(200);
    }
    assert_eq!((origin.opened(), origin.closed()), (5, 3));
}

#[test]
fn nothing_is_kept_where_nothing_may_be() {
    let origin = Origin::start(|request| request.answer(200, "ok"));
    let gateway = Gateway::start(&conf(&origin, "keepalive: 0"));
    let mut client = gateway.connect();
    for count in 1..4 {
        client.request("GET", "/", &[]).expect(200);
        until("the connection to be closed", || (origin.closed() == count).then_some(()));
        assert_eq!(origin.opened(), count);
    }
}

/// Sends a request over HTTP/2 and gives what came of it: a status, or why its stream was reset.
async fn over_http2(gateway: &Gateway, method: &str, path: &str) -> Result<u16, h2::Reason> {
    let body = (method == "POST").then_some("a body");
    let mut stream = Stream::open(gateway.at("listener h2"), path, body).await;
    if body.is_some() {
        stream.end();
    }
    stream.outcome().await
}

#[test]
fn an_exchange_over_http2_ends_in_its_time() {
    let (release, held) = channel();
    let origin = slow(held);
    let conf = conf(&origin, "timeouts: {total: 1s, read: 30s}").replace(
        "routes: {",
        "listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes: {judged: {paths: [/judged/*], strip_prefix: /judged, upstream: raw, plugins: {test-request-body: {}}}, ",
    );
    let gateway = Gateway::start_with_test_plugins(&conf);
    block_on(async {
        let mut stream = Stream::open(gateway.at("listener h2"), "/stream", None).await;
        let begun = Instant::now();
        for (method, path, outcome) in [
            ("GET", "/hang", Ok(504)),
            ("POST", "/hang", Ok(504)),
            ("POST", "/head", Ok(504)),
            ("GET", "/head", Ok(504)),
            ("GET", "/body", Err(h2::Reason::CANCEL)),
            ("GET", "/chunks", Ok(200)),
            // What has sent the whole body waits for an answer of its own.
            ("POST", "/judged/hang", Ok(504)),
            ("POST", "/judged/head", Ok(504)),
        ] {
            let begun = Instant::now();
            assert_eq!(over_http2(&gateway, method, path).await, outcome, "{method} {path}");
            let elapsed = begun.elapsed();
            assert!(elapsed >= TOTAL && elapsed < LATE, "{path}: {elapsed:?}");
        }
        // The time of the stream was over long ago, and that of an upload begins with its end.
        assert!(begun.elapsed() > 2 * TOTAL);
        release.send(()).unwrap();
        assert_eq!(stream.answer().await.1, b"data: 1\n\ndata: 2\n\n");
        let mut upload = Stream::open(gateway.at("listener h2"), "/", Some("a part")).await;
        tokio::time::sleep(2 * TOTAL).await;
        upload.end();
        assert_eq!(upload.answer().await.0, 200);
    });
    let lines = gateway.audit(10);
    let mut over: Vec<_> = lines.iter().filter(|line| line["reason"] == "upstream_total_timeout").collect();
    over.sort_by_key(|line| (line["path"].to_string(), line["method"].to_string()));
    let over: Vec<_> = over
        .iter()
        .map(|line| {
            let text = |key: &str| line[key].as_str().unwrap_or_default();
            format!("{} {} {}", text("method"), text("path"), line["status"])
        })
        .collect();
    assert_eq!(
        over,
        [
            "GET /body 200",
            "GET /hang 504",
            "POST /hang 504",
            "GET /head 504",
            "POST /head 504",
            "POST /judged/hang 504",
            "POST /judged/head 504"
        ]
    );
    // Nothing is left behind at the origin's end either.
    until("the origin's connections to end", || (origin.opened() - origin.closed() <= 1).then_some(()));
}

#[test]
fn a_head_that_drips_is_answered_over_http2_whatever_a_read_may_take() {
    let origin = slow(channel().1);
    let conf = conf(&origin, "timeouts: {total: 1s, read: 1s}")
        .replace("routes: {", "listeners: {h2: {address: 127.0.0.1:0, http2: true}}\nroutes: {");
    let gateway = Gateway::start(&conf);
    block_on(async {
        for _ in 0..2 {
            for method in ["GET", "POST"] {
                assert_eq!(over_http2(&gateway, method, "/head").await, Ok(504), "{method}");
            }
            // The connections that were ended serve nobody else.
            assert_eq!(over_http2(&gateway, "GET", "/").await, Ok(200));
        }
    });
    let lines = gateway.audit(6);
    assert_eq!(lines.iter().filter(|line| line["reason"] == "upstream_total_timeout").count(), 4);
    until("the origin's connections to end", || (origin.opened() - origin.closed() <= 1).then_some(()));
}

#[test]
fn a_body_that_is_late_is_no_failure_of_its_target() {
    let (one, two) = (slow(channel().1), slow(channel().1));
    let conf = format!(
        "
admin: {{address: 127.0.0.1:0}}
listeners: {{h2: {{address: 127.0.0.1:0, http2: true}}}}
upstreams:
  raw:
    targets: [{{address: '{}'}}, {{address: '{}'}}]
    timeouts: {{total: 1s, read: 30s}}
    outlier: {{consecutive_failures: 1, eject: 1h}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
        one.address, two.address
    );
    let gateway = Gateway::start(&conf);
    // How long a body takes is up to the client as well, and targets are not to be put aside by clients.
    for _ in 0..2 {
        let mut client = gateway.connect();
        client.send(head("GET", "/body", &[]));
        assert!(client.rest().starts_with("HTTP/1.1 200"));
    }
    block_on(async {
        for _ in 0..2 {
            assert_eq!(over_http2(&gateway, "GET", "/body").await, Err(h2::Reason::CANCEL));
        }
    });
    assert_eq!(states(&gateway), ["up", "up"]);
    block_on(async {
        assert_eq!(over_http2(&gateway, "GET", "/head").await, Ok(504));
    });
    until("a target to be put aside", || states(&gateway).contains(&"ejected".to_owned()).then_some(()));
}
