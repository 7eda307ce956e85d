//! Clients that leave in the middle, and clients that only seem to.

use crate::{
    client::{Client, head},
    h2c::Stream,
    harness::{Gateway, PATIENCE, until},
    http2::block_on,
};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

const LATE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";

/// An origin whose requests the test takes and answers itself.
fn origin() -> (TcpListener, String) {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let conf = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
limits: {buffered_bytes: 1MiB}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes:
  raw: {paths: [/raw], upstream: raw}
  whole: {paths: [/whole], upstream: raw, plugins: {test-request-body: {deny: evil}}}
"
    .replace("ORIGIN", &origin.local_addr().unwrap().to_string());
    (origin, conf)
}

/// Takes a connection and reads the head of its request, byte by byte.
fn take(origin: &TcpListener) -> TcpStream {
    let (mut tcp, _) = origin.accept().unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    tcp
}

/// Reads on until the gateway lets go of the connection.
fn released(mut tcp: TcpStream) {
    let mut rest = Vec::new();
    // A reset is an end as well; being late is not.
    if let Err(error) = tcp.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
}

fn is_499(gateway: &Gateway, count: usize) {
    for line in gateway.audit(count) {
        assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_closed".into()), "{line}");
    }
}

#[test]
fn a_half_closed_client_gets_its_answer() {
    let (origin, conf) = origin();
    let gateway = Gateway::start_with_test_plugins(&conf);
    for (sent, body) in
        [(head("GET", "/raw", &[]), ""), (head("POST", "/raw", &["Content-Length: 4"]), "body")]
    {
        let mut client = gateway.connect();
        client.send(sent).send(body).half_close();
        let mut waiting = take(&origin);
        waiting.write_all(LATE).unwrap();
        assert_eq!(client.response().expect(200).text(), "late");
        assert!(client.is_closed(), "nothing more can come");
    }
    // Pipelined requests are all answered.
    let mut client = gateway.connect();
    client.send(head("GET", "/none", &[]).repeat(3)).half_close();
    for _ in 0..3 {
        client.response().expect(404);
    }
    assert!(client.is_closed());
}

#[test]
fn an_answer_that_has_begun_comes_whole_to_a_half_closed_client() {
    let (origin, conf) = origin();
    let gateway = Gateway::start_with_test_plugins(&conf);
    let mut client = gateway.connect();
    client.send(head("GET", "/raw", &[])).half_close();
    let mut waiting = take(&origin);
    waiting.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n").unwrap();
    // Longer than a client is believed that is not answered at all.
    for _ in 0..9 {
        std::thread::sleep(std::time::Duration::from_millis(450));
        waiting.write_all(&[b'x'; 1000]).unwrap();
    }
    assert_eq!(client.response().expect(200).body.len(), 9000);
}

#[test]
fn an_http1_client_that_leaves_releases_the_origin() {
    let (origin, conf) = origin();
    let gateway = Gateway::start_with_test_plugins(&conf);
    let leave: [fn(Client); 2] = [Client::reset, Client::abort];
    for (count, leave) in leave.into_iter().enumerate() {
        let mut waiting = gateway.connect();
        waiting.send(head("GET", "/raw", &[]));
        let taken = take(&origin);
        leave(waiting);
        released(taken);
        is_499(&gateway, 2 * count + 1);
        let mut sending = gateway.connect();
        sending.send(head("POST", "/raw", &["Content-Length: 100"])).send("a part");
        let taken = take(&origin);
        leave(sending);
        released(taken);
        is_499(&gateway, 2 * count + 2);
    }
}

#[test]
fn an_http2_client_that_leaves_releases_the_origin() {
    let (origin, conf) = origin();
    let gateway = Gateway::start_with_test_plugins(&conf);
    let (mut left, mut all) = (0, 0);
    for connection_too in [false, true] {
        for body in [None, Some("a part")] {
            (left, all) = (left + 1, all + 1);
            block_on(async {
                let mut stream = Stream::open(gateway.at("listener h2"), "/raw", body).await;
                let taken = tokio::task::block_in_place(|| take(&origin));
                if connection_too {
                    drop(stream);
                    return tokio::task::block_in_place(|| released(taken));
                }
                stream.reset();
                tokio::task::block_in_place(|| released(taken));
                assert_eq!(stream.again("/none").await, 404, "the connection is as good as before");
                all += 1;
            });
            let lines = gateway.audit(all);
            let gone = lines.iter().filter(|line| line["status"] == 499 && line["reason"] == "client_closed");
            assert_eq!(gone.count(), left, "{lines:#?}");
        }
    }
}

/// A request whose body is refused where there is room for it.
fn probe(gateway: &Gateway) -> String {
    let mut client = gateway.connect();
    client.send(head("POST", "/whole", &["Content-Length: 4"])).send("evil");
    let answer = client.response();
    assert_eq!(answer.status, if answer.reason() == "evil_request" { 403 } else { 503 });
    answer.reason()
}

#[test]
fn clients_that_leave_give_their_buffers_back() {
    let (_origin, conf) = origin();
    let gateway = Gateway::start_with_test_plugins(&conf);
    // Twice this is all that may be held: as it came, and decoded.
    let half = 1 << 19;
    let freed = || until("room", || (probe(&gateway) == "evil_request").then_some(()));
    assert_eq!(probe(&gateway), "evil_request");
    let leave: [fn(Client); 2] = [Client::reset, Client::abort];
    for leave in leave {
        let mut client = gateway.connect();
        let fields = [&*format!("Content-Length: {half}"), "Expect: 100-continue"];
        client.send(head("POST", "/whole", &fields));
        client.response().expect(100);
        assert_eq!(probe(&gateway), "buffers_full");
        leave(client);
        freed();
    }
    for connection_too in [false, true] {
        block_on(async {
            // Nothing tells when a stream has its share, and a probe on its way could keep it from getting one.
            let mut stream = loop {
                let mut stream = Stream::open_long(gateway.at("listener h2"), "/whole", half).await;
                assert_eq!(stream.again("/none").await, 404);
                if tokio::task::block_in_place(|| probe(&gateway)) == "buffers_full" {
                    break stream;
                }
            };
            if connection_too {
                drop(stream);
            } else {
                stream.reset();
            }
            tokio::task::block_in_place(freed);
        });
    }
}
