//! Clients that leave in the middle, and clients that only seem to.

use crate::{
    client::{Client, head},
    h2c::Stream,
    harness::{Gateway, PATIENCE, until},
    http2::block_on,
    life::admin,
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

/// An origin that accepts nobody: its queue is full.
struct Busy {
    listener: socket2::Socket,
    _waiting: Vec<TcpStream>,
}

impl Busy {
    fn start() -> Busy {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let mut busy = Busy { listener, _waiting: Vec::new() };
        while let Ok(tcp) = TcpStream::connect_timeout(&busy.address(), std::time::Duration::from_millis(300))
        {
            busy._waiting.push(tcp);
        }
        busy
    }

    fn address(&self) -> std::net::SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }
}

/// Waits until so many requests are on their way to the targets of `raw`.
fn in_flight(gateway: &Gateway, count: u64) {
    until("requests in flight", || {
        let shown = admin(gateway, "GET", "/upstreams", None).expect(200).json();
        let raw =
            shown.as_array().unwrap().iter().find(|upstream| upstream["name"] == "raw").unwrap().clone();
        (raw["targets"][0]["addresses"][0]["in_flight"] == count).then_some(())
    });
}

#[test]
fn who_leaves_while_the_origin_is_connected_to_is_not_waited_for() {
    let origin = Busy::start();
    // Nobody here waits for so long.
    let gateway = Gateway::start(
        &"
admin: {address: 127.0.0.1:0}
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {raw: {targets: [{address: ORIGIN}], timeouts: {connect: 300s, total: 300s}}}
routes: {raw: {paths: [/raw], upstream: raw}}
"
        .replace("ORIGIN", &origin.address().to_string()),
    );
    let leave: [fn(Client); 2] = [Client::reset, Client::abort];
    let mut count = 0;
    for leave in leave {
        for (fields, body) in
            [(&[][..], ""), (&["Content-Length: 100"], ""), (&["Content-Length: 100"], "part")]
        {
            let mut client = gateway.connect();
            client.send(head(if fields.is_empty() { "GET" } else { "POST" }, "/raw", fields)).send(body);
            in_flight(&gateway, 1);
            leave(client);
            in_flight(&gateway, 0);
            count += 1;
            is_499(&gateway, count);
        }
    }
    for body in [None, Some("part")] {
        block_on(async {
            let stream = Stream::open(gateway.at("listener h2"), "/raw", body).await;
            tokio::task::block_in_place(|| in_flight(&gateway, 1));
            drop(stream);
            tokio::task::block_in_place(|| in_flight(&gateway, 0));
        });
        count += 1;
        is_499(&gateway, count);
    }
    // Who only closes the sending side after a whole request may still want the answer: for a while.
    for (fields, body) in [(&[][..], ""), (&["Content-Length: 4"], "body")] {
        let mut client = gateway.connect();
        client.send(head(if body.is_empty() { "GET" } else { "POST" }, "/raw", fields)).send(body);
        in_flight(&gateway, 1);
        let closed = std::time::Instant::now();
        client.half_close();
        in_flight(&gateway, 0);
        assert!(closed.elapsed().as_secs_f64() > 2.5, "{:?}", closed.elapsed());
        count += 1;
        is_499(&gateway, count);
    }
    // What the record says of the request is as whole as ever.
    let lines = gateway.audit(count);
    assert_eq!((&lines[0]["method"], &lines[0]["path"]), (&"GET".into(), &"/raw".into()));
    assert_eq!(lines[0]["upstream"], "raw", "{}", lines[0]);
}

#[test]
fn a_stream_that_is_reset_while_the_origin_is_connected_to_is_not_tried_again() {
    let origin = Busy::start();
    let gateway = Gateway::start(
        &"
admin: {address: 127.0.0.1:0}
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {raw: {targets: [{address: ORIGIN}], timeouts: {connect: 20s}, retries: {attempts: 2, on: [connect_failure]}}}
routes: {raw: {paths: [/raw], upstream: raw}}
"
        .replace("ORIGIN", &origin.address().to_string()),
    );
    block_on(async {
        let mut stream = Stream::open(gateway.at("listener h2"), "/raw", Some("part")).await;
        tokio::task::block_in_place(|| in_flight(&gateway, 1));
        stream.reset();
        assert_eq!(stream.again("/none").await, 404, "the connection is as good as before");
        let lines = tokio::task::block_in_place(|| gateway.audit(2));
        let left = lines.iter().find(|line| line["path"] == "/raw").unwrap();
        assert_eq!((&left["status"], &left["reason"]), (&499.into(), &"client_closed".into()), "{left}");
        assert_eq!(left["attempts"], 1, "{left}");
    });
}

#[test]
fn to_connect_takes_no_longer_than_the_whole_may() {
    let origin = Busy::start();
    let retries = "retries: {attempts: 2, on: [connect_failure]}";
    // The second attempt could last until 20 s are over.
    for (timeouts, attempts, least, most) in
        [("{connect: 300s, total: 1s}", 1, 1.0, 30.0), ("{connect: 10s, total: 12s}", 2, 12.0, 19.5)]
    {
        let gateway = Gateway::start(
            &format!(
                "
upstreams: {{raw: {{targets: [{{address: ORIGIN}}], timeouts: {timeouts}, {retries}}}}}
routes: {{raw: {{paths: [/raw], upstream: raw}}}}
"
            )
            .replace("ORIGIN", &origin.address().to_string()),
        );
        let begun = std::time::Instant::now();
        assert_eq!(gateway.get("/raw").expect(504).reason(), "upstream_timeout");
        let elapsed = begun.elapsed().as_secs_f64();
        assert!(elapsed >= least - 0.1 && elapsed < most, "{timeouts}: {elapsed}");
        assert_eq!(gateway.audit(1)[0]["attempts"], attempts, "{timeouts}");
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
        let fields = [&*format!("Content-Length: {half}"), "Expect: 100-continue"];
        // The share of the last probe may be given back a moment after its answer.
        let client = until("room for all", || {
            let mut client = gateway.connect();
            client.send(head("POST", "/whole", &fields));
            (client.response().status == 100).then_some(client)
        });
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
