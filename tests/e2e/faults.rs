//! Origins that misbehave, one fault a test. Clients of HTTP/1 and HTTP/2 get a clean answer in the configured time, or
//! a transfer that nobody can take for a whole one; the next request is served as if nothing had been.

use crate::{
    client::{Client, head},
    h2c::Stream,
    harness::{Gateway, until},
    http2::block_on,
    origin::{Origin, Request},
    ports::Port,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

/// The longest that anything of an exchange may take, and what a busy machine may add to it.
pub const TOTAL: Duration = Duration::from_secs(4);
pub const SLOW: Duration = Duration::from_secs(30);

pub fn conf(address: SocketAddr, more: &str) -> String {
    format!(
        "
listeners: {{h2: {{address: 127.0.0.1:0, http2: true}}}}
upstreams:
  raw:
    targets: [{{address: '{address}'}}]
    timeouts: {{connect: 2s, read: 2s, total: 4s}}
    {more}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
"
    )
}

/// An origin that does this for `/fault` and answers everything else.
pub fn faulty(fault: impl Fn(&mut Request<'_>) -> bool + Send + Sync + 'static) -> (Origin, Gateway) {
    let origin = Origin::start(move |request| match request.path() {
        "/fault" => fault(request),
        path => {
            let text = format!("good {path}");
            request.answer(200, &text)
        }
    });
    let gateway = Gateway::start(&conf(origin.address, ""));
    (origin, gateway)
}

/// One that answers `/fault` with these bytes and then does nothing more, or closes.
fn saying(bytes: &'static [u8], close: bool) -> (Origin, Gateway) {
    faulty(move |request| request.send(bytes) && !close && request.wait_for_close())
}

/// What a client makes of the answer.
enum Expected {
    /// A problem document with this status and reason.
    Clean(u16, &'static str),
    /// The beginning of an answer, which does not come to an end that looks like one.
    Broken,
}
use Expected::{Broken, Clean};

/// Asks for `/fault` over HTTP/1 and HTTP/2, with other requests before, between and behind.
fn check(gateway: &Gateway, expected: &Expected) {
    let mut other = gateway.connect();
    good(&mut other, "/before");
    for _ in 0..2 {
        let begun = Instant::now();
        let mut client = gateway.connect();
        client.send(head("GET", "/fault", &[]));
        match expected {
            Clean(status, reason) => assert_eq!(client.response().expect(*status).reason(), *reason),
            Broken => broken(&client.rest()),
        }
        let elapsed = begun.elapsed();
        assert!(elapsed < TOTAL + SLOW, "{elapsed:?}");
        good(&mut other, "/between");
        good(&mut gateway.connect(), "/new");
    }
    block_on(async {
        let begun = Instant::now();
        let mut stream = Stream::open(gateway.at("listener h2"), "/fault", None).await;
        let outcome = stream.outcome().await;
        match expected {
            Clean(status, _) => assert_eq!(outcome, Ok(*status)),
            Broken => assert!(outcome.is_err(), "{outcome:?}"),
        }
        assert!(begun.elapsed() < TOTAL + SLOW, "{:?}", begun.elapsed());
        assert_eq!(stream.again("/over-h2").await, 200, "the connection is as good as before");
    });
    for number in 0..5 {
        good(&mut other, &format!("/after/{number}"));
    }
}

pub fn good(client: &mut Client, path: &str) {
    assert_eq!(client.request("GET", path, &[]).expect(200).text(), format!("good {path}"));
}

/// The connection has ended, and what came on it is not a whole answer.
fn broken(received: &str) {
    let (head, body) = received.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => assert!(body.len() < length.parse().unwrap(), "{received}"),
        None => {
            assert!(head.contains("transfer-encoding: chunked"), "the end of it would be the end: {head}");
            assert!(!body.ends_with("0\r\n\r\n"), "{body}");
        }
    }
}

#[test]
fn refused() {
    let port = Port::free();
    let address = port.address();
    let gateway = Gateway::start(&conf(address, ""));
    assert_eq!(gateway.get("/fault").expect(502).reason(), "upstream_unreachable");
    block_on(async {
        let mut stream = Stream::open(gateway.at("listener h2"), "/fault", None).await;
        assert_eq!(stream.outcome().await, Ok(502));
    });
    // Once somebody listens there, nothing is remembered of it.
    let _origin = Origin::on(&address.to_string(), |request| {
        let text = format!("good {}", request.path());
        request.answer(200, &text)
    });
    good(&mut gateway.connect(), "/after");
}

#[test]
fn reset_before_the_answer() {
    let (_origin, gateway) = faulty(|request| request.reset());
    check(&gateway, &Clean(502, "upstream_broken"));
}

#[test]
fn closed_before_the_answer() {
    let (_origin, gateway) = faulty(|_| false);
    check(&gateway, &Clean(502, "upstream_broken"));
}

#[test]
fn hang() {
    let (_origin, gateway) = faulty(|request| request.wait_for_close());
    check(&gateway, &Clean(504, "upstream_timeout"));
}

#[test]
fn drip_of_the_head() {
    let (_origin, gateway) = faulty(|request| drip(request, b"HTTP/1.1 200 OK\r\nx-long: ", b'x'));
    check(&gateway, &Clean(504, "upstream_total_timeout"));
}

#[test]
fn drip_of_the_body() {
    let (_origin, gateway) =
        faulty(|request| drip(request, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b'x'));
    check(&gateway, &Broken);
}

fn drip(request: &mut Request<'_>, first: &[u8], byte: u8) -> bool {
    let mut goes_on = request.send(first);
    while goes_on {
        std::thread::sleep(Duration::from_millis(20));
        goes_on = request.send([byte]);
    }
    false
}

#[test]
fn half_a_head_and_the_end() {
    let (_origin, gateway) = saying(b"HTTP/1.1 200 OK\r\nContent-Le", true);
    check(&gateway, &Clean(502, "upstream_broken"));
}

#[test]
fn half_a_head_and_silence() {
    let (_origin, gateway) = saying(b"HTTP/1.1 200 OK\r\nContent-Le", false);
    check(&gateway, &Clean(504, "upstream_timeout"));
}

#[test]
fn short_body() {
    let (_origin, gateway) = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", true);
    check(&gateway, &Broken);
}

#[test]
fn short_body_and_silence() {
    let (_origin, gateway) = saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", false);
    check(&gateway, &Broken);
}

#[test]
fn chunks_without_the_last_one() {
    let (_origin, gateway) =
        saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", true);
    check(&gateway, &Broken);
}

#[test]
fn bad_chunk_size() {
    for chunk in ["xyz\r\nshort\r\n0\r\n\r\n", "-5\r\nshort\r\n0\r\n\r\n", "fffffffffffffffff\r\nshort"] {
        let (_origin, gateway) = faulty(move |request| {
            request
                .send(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n{chunk}"))
                && request.wait_for_close()
        });
        check(&gateway, &Broken);
    }
}

#[test]
fn reset_in_a_body_without_a_length() {
    let (_origin, gateway) = faulty(|request| {
        // The end of such a body is the end of the connection; a reset is none. It takes with it what has not been read:
        // there is more than any buffer holds, so that the beginning has been.
        request.send("HTTP/1.1 200 OK\r\n\r\nfirst") && request.send(vec![b'x'; 16 << 20]) && request.reset()
    });
    check(&gateway, &Broken);
}

#[test]
fn garbage() {
    for text in
        [&b"\x16\x03\x01\x00\xa5garbage\r\n\r\n"[..], b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"]
    {
        let (_origin, gateway) = faulty(move |request| request.send(text) && request.wait_for_close());
        check(&gateway, &Clean(502, "upstream_broken"));
    }
}

#[test]
fn oversize_head() {
    // A field that never ends, and fields that never end.
    for (begin, piece) in [
        ("HTTP/1.1 200 OK\r\nx-long: ", "x".repeat(8192)),
        ("HTTP/1.1 200 OK\r\n", "x-y: z\r\n".repeat(1024)),
    ] {
        let (_origin, gateway) = faulty(move |request| {
            let mut goes_on = request.send(begin);
            for _ in 0..8192 {
                goes_on = goes_on && request.send(&piece);
            }
            goes_on && request.wait_for_close()
        });
        check(&gateway, &Clean(502, "upstream_broken"));
    }
}

#[test]
fn two_content_lengths() {
    for fields in [
        "Content-Length: 5\r\nContent-Length: 4",
        "Content-Length: 5, 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: +5",
        "Content-Length: 5 5",
    ] {
        let (_origin, gateway) = faulty(move |request| {
            request.send(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello")) && request.wait_for_close()
        });
        check(&gateway, &Clean(502, "upstream_broken"));
    }
}

#[test]
fn content_length_beside_chunks() {
    // RFC 9112 §6.3: chunks count, and whoever gets the answer sees one of the two.
    let (_origin, gateway) = faulty(|request| {
        request.send(
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        )
    });
    for _ in 0..3 {
        let answer = gateway.get("/fault").expect(200);
        assert_eq!(answer.text(), "hello");
        assert_eq!(
            (answer.header("content-length"), answer.header("transfer-encoding")),
            (None, Some("chunked"))
        );
        good(&mut gateway.connect(), "/after");
    }
}

#[test]
fn slow_tls() {
    // It takes connections and says nothing, or says half of what a handshake needs.
    for hello in [&b""[..], &[0x16, 3, 3, 0, 80, 2, 0, 0]] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut tcp in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let _ = tcp.write_all(hello);
                    while tcp.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
                });
            }
        });
        let gateway = Gateway::start(&conf(address, "tls: {server_name: origin.test}"));
        for _ in 0..2 {
            let begun = Instant::now();
            let answer = gateway.get("/fault").expect(504);
            assert!(answer.reason().starts_with("upstream_"), "{}", answer.reason());
            assert!(begun.elapsed() < TOTAL + SLOW, "{:?}", begun.elapsed());
        }
    }
}

#[test]
fn tls_that_is_none() {
    let (origin, _) = saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", true);
    let gateway = Gateway::start(&conf(origin.address, "tls: {server_name: origin.test}"));
    let answer = gateway.get("/fault");
    assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
    assert!(answer.reason().starts_with("upstream_"));
}

#[test]
fn a_client_that_vanishes_is_499_and_its_origin_released() {
    let origin = Origin::start(|request| match request.path() {
        "/fault" => request.wait_for_close(),
        path => {
            let text = format!("good {path}");
            request.answer(200, &text)
        }
    });
    let conf = conf(origin.address, "").replace("read: 2s, total: 4s", "read: 300s, total: 300s");
    let gateway = Gateway::start(&conf);
    let mut client = gateway.connect();
    client.send(head("GET", "/fault", &[]));
    until("the request at the origin", || (origin.requests() == 1).then_some(()));
    client.abort();
    let line = &gateway.audit(1)[0];
    assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_closed".into()), "{line}");
    until("the origin to be released", || (origin.closed() == 1).then_some(()));
    good(&mut gateway.connect(), "/after");
}
