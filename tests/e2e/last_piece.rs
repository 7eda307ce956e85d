//! The end of a body on its way to an origin whose connections are shared: what follows it is read as the next
//! request, whoever sends that.

use crate::{
    client::head,
    h2c::Stream,
    harness::{Gateway, until},
    http2::block_on,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

const CONF: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes:
  raw: {paths: [/raw], upstream: raw}
  pieces: {paths: [/pieces], upstream: raw, plugins: {test-pieces: {deny: evil}}}
";

/// An origin that keeps its connections, and what came over each.
struct Origin {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Origin {
    fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Vec<String>>>>::default();
        let shared = seen.clone();
        std::thread::spawn(move || {
            for (number, tcp) in listener.incoming().map_while(Result::ok).enumerate() {
                let seen = shared.clone();
                seen.lock().unwrap().push(Vec::new());
                std::thread::spawn(move || while serve(&tcp, &seen, number).is_some() {});
            }
        });
        Origin { address, seen }
    }
}

/// Answers one request: a head and, of a POST, chunks.
fn serve(tcp: &TcpStream, seen: &Mutex<Vec<Vec<String>>>, number: usize) -> Option<()> {
    let mut request = String::new();
    while !request.ends_with(if request.starts_with("POST") { "\r\n0\r\n\r\n" } else { "\r\n\r\n" }) {
        let mut byte = [0];
        let mut tcp = tcp;
        tcp.read_exact(&mut byte).ok()?;
        request.push(char::from(byte[0]));
    }
    seen.lock().unwrap()[number].push(request);
    (&*tcp).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()
}

#[test]
fn a_body_ends_once() {
    let origin = Origin::start();
    let conf = CONF.replace("ORIGIN", &origin.address.to_string());
    let gateway = Gateway::start_with_test_plugins(&conf);
    let http2: fn(&Gateway, &str) = |gateway, path| {
        block_on(async {
            let mut stream = Stream::open(gateway.at("listener h2"), path, Some("piece")).await;
            stream.end();
            assert_eq!(stream.answer().await.0, 200);
        });
    };
    let http1: fn(&Gateway, &str) = |gateway, path| {
        let mut client = gateway.connect();
        client.send(head("POST", path, &["Transfer-Encoding: chunked"]));
        client.send("5\r\npiece\r\n").send("0\r\n\r\n");
        client.response().expect(200);
    };
    for (send, path) in [(http1, "/raw"), (http1, "/pieces"), (http2, "/raw"), (http2, "/pieces")] {
        send(&gateway, path);
        // A connection is free again a moment after its answer.
        let seen = until("a request on the same connection", || {
            gateway.get("/raw").expect(200);
            let seen = origin.seen.lock().unwrap().clone();
            seen.into_iter().find_map(|mut seen| {
                let posted = seen.iter().position(|request| request.starts_with("POST"))?;
                (posted + 1 < seen.len()).then(|| seen.split_off(posted))
            })
        });
        assert!(seen[0].ends_with("\r\n\r\n5\r\npiece\r\n0\r\n\r\n"), "{}", seen[0]);
        assert!(seen[1].starts_with("GET /raw HTTP/1.1\r\n"), "{}", seen[1]);
        for seen in &mut *origin.seen.lock().unwrap() {
            seen.clear();
        }
    }
}
