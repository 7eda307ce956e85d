//! HTTP/2 from clients and to origins, and WebSockets.

use crate::{
    bodies::{SIZES, pattern},
    h2c::{Stream, grpc_origin},
    harness::Gateway,
};
use futures::{SinkExt, StreamExt, stream};
use reqwest::{Body, Client, Version};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{convert::Infallible, future::Future};
use tokio_tungstenite::tungstenite::{Error, Message, client::IntoClientRequest};

const CONF: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  all: {paths: [/*], upstream: demo}
  key: {paths: [/echo/key, /ws], upstream: demo, plugins: {key-auth: {}}}
";

/// Runs a future on a runtime of its own.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A client that speaks HTTP/2 from the first byte.
pub fn h2c() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().http2_prior_knowledge().timeout(crate::harness::PATIENCE).build().unwrap()
}

/// The body of a response as JSON.
pub async fn json(response: reqwest::Response) -> Value {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// A body without a declared length.
pub fn streamed(bytes: Vec<u8>) -> Body {
    let pieces: Vec<Result<Vec<u8>, Infallible>> =
        bytes.chunks(30_000).map(|piece| Ok(piece.to_vec())).collect();
    Body::wrap_stream(stream::iter(pieces))
}

#[test]
fn bodies_arrive_whole_over_http2() {
    let gateway = Gateway::start(CONF);
    let url = format!("http://{}/echo/", gateway.at("listener h2"));
    block_on(async {
        let client = h2c();
        for size in SIZES {
            let body = pattern(size);
            let digest = hex::encode(Sha256::digest(&body));
            for sent in [Body::from(body.clone()), streamed(body)] {
                let answer = client.post(&url).body(sent).send().await.unwrap();
                assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
                let echo = json(answer).await;
                assert_eq!(echo["body"]["length"], size);
                assert_eq!(echo["body"]["sha256"], digest);
            }
        }
        for sent in [Body::from(pattern((1 << 20) + 1)), streamed(pattern(2 << 20))] {
            let answer = client.post(&url).body(sent).send().await.unwrap();
            assert_eq!(answer.status(), 413);
        }
        assert_eq!(client.get(&url).send().await.unwrap().status(), 200, "the connection lives on");
    });
    gateway.audit(2 * SIZES.len() + 3);
}

#[test]
fn requests_over_http2_obey_the_same_rules() {
    let gateway = Gateway::start(CONF);
    let base = format!("http://{}", gateway.at("listener h2"));
    block_on(async {
        let client = h2c();
        assert_eq!(client.get(format!("{base}/echo/key")).send().await.unwrap().status(), 401);
        let early = client.post(format!("{base}/echo/key")).body(pattern(900_000)).send().await.unwrap();
        assert_eq!(early.status(), 401);
        let passed = client
            .get(format!("{base}/echo/key"))
            .header("apikey", "alice-key")
            .header("x-consumer-id", "root")
            .header("x-forwarded-for", "10.9.9.9")
            .send()
            .await
            .unwrap();
        assert_eq!(passed.status(), 200);
        let echo = json(passed).await.to_string();
        assert!(echo.contains(r#"["x-consumer-id","alice"]"#), "{echo}");
        assert!(
            !echo.contains("root") && !echo.contains("10.9.9.9") && !echo.contains("alice-key"),
            "{echo}"
        );
        let ambiguous = client.get(format!("{base}/ECHO/key")).send().await.unwrap();
        assert_eq!(ambiguous.status(), 400);
        let many = (0..20).map(|_| client.get(format!("{base}/echo/")).send());
        for answer in futures::future::join_all(many).await {
            assert_eq!(answer.unwrap().status(), 200);
        }
    });
}

#[test]
fn a_plain_listener_speaks_http1_alone() {
    let gateway = Gateway::start(CONF);
    let url = format!("http://{}/echo/", gateway.address());
    assert!(block_on(async { h2c().get(url).send().await }).is_err());
}

#[test]
fn origins_are_spoken_to_in_http2_where_that_is_written() {
    block_on(async {
        let demo = palisade::demo::start().unwrap();
        let conf = "
upstreams:
  h2: {targets: [{address: ORIGIN}], protocol: http2}
  grpc: {targets: [{address: ORIGIN}], protocol: grpc}
routes:
  h2: {paths: [/echo/*], upstream: h2}
  grpc: {paths: [/echo/grpc], upstream: grpc}
"
        .replace("ORIGIN", &demo.address().to_string());
        tokio::task::spawn_blocking(move || {
            let gateway = Gateway::start(&conf);
            for path in ["/echo/", "/echo/grpc"] {
                for size in SIZES {
                    let mut client = gateway.connect();
                    let body = pattern(size);
                    let length = format!("Content-Length: {size}");
                    client.send(crate::client::head("POST", path, &[&length])).send(&body);
                    let echo = client.response().expect(200).json();
                    assert_eq!(echo["version"], "HTTP/2.0");
                    assert_eq!(echo["body"]["sha256"], hex::encode(Sha256::digest(&body)));
                }
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn websockets_authenticate_like_any_get() {
    let gateway = Gateway::start(CONF);
    block_on(async {
        let url = format!("ws://{}/ws", gateway.address());
        let connect = |key: Option<&'static str>| {
            let mut request = url.as_str().into_client_request().unwrap();
            if let Some(key) = key {
                request.headers_mut().insert("apikey", key.parse().unwrap());
            }
            async {
                let tcp = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
                tokio_tungstenite::client_async(request, tcp).await
            }
        };
        for key in [None, Some("wrong")] {
            match connect(key).await {
                Err(Error::Http(answer)) => assert_eq!(answer.status(), 401),
                other => panic!("{other:?}"),
            }
        }
        let (mut socket, answer) = connect(Some("alice-key")).await.unwrap();
        assert_eq!(answer.status(), 101);
        for size in [0, 1, 70_000] {
            let message = Message::binary(pattern(size));
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
    });
    let lines = gateway.audit(3);
    let tunnel = lines.iter().find(|line| line["status"] == 101).unwrap();
    assert_eq!(tunnel["consumer"], "alice");
}

#[test]
fn a_slow_body_over_http2_ends_in_time() {
    let conf = "
limits: {body_timeout: 1h}
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {grpc: {targets: [{address: ORIGIN}], protocol: grpc}}
routes:
  echo: {paths: [/echo/*], upstream: demo, limits: {body_timeout: 2s}}
  whole: {paths: [/whole], upstream: demo, limits: {body_timeout: 2s}, plugins: {test-request-body: {}}}
  grpc: {paths: [/grpc], upstream: grpc, limits: {body_timeout: 2s}}
  late: {paths: [/slow], upstream: demo, limits: {body_timeout: 3s}}
";
    // Long enough for the connection to the origin to be there: a request that still waits for one is reset instead.
    block_on(async {
        let (origin, serving) = grpc_origin().await;
        let gateway = Gateway::start_with_test_plugins(&conf.replace("ORIGIN", &origin.to_string()));
        let address = gateway.at("listener h2");
        for drip in [false, true] {
            let mut stream = Stream::open(address, "/echo/", Some("a part")).await;
            let begun = std::time::Instant::now();
            if drip {
                while begun.elapsed() < std::time::Duration::from_millis(1900) && stream.try_piece("more") {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
            let (status, body, _) = stream.answer().await;
            assert!(status == 408 && String::from_utf8_lossy(&body).contains("body_timeout"));
            assert_eq!(stream.again("/none").await, 404, "the connection lives on");
        }
        let mut stream = Stream::open(address, "/whole", Some("a part")).await;
        assert_eq!(stream.answer().await.0, 408);
        // A stream may go on for as long as it likes, and a body that has ended has no clock any more.
        let mut call = Stream::open(address, "/grpc", Some("one")).await;
        let mut waiting = Stream::open(address, "/slow?ms=4000", Some("body")).await;
        waiting.end();
        assert_eq!(waiting.answer().await.0, 200);
        call.piece("two");
        call.end();
        let (status, body, _) = call.answer().await;
        assert_eq!((status, &*body), (200, &b"onetwo"[..]));
        let lines = tokio::task::block_in_place(|| gateway.audit(7));
        let late = lines.iter().filter(|line| line["reason"] == "body_timeout");
        let late: Vec<_> = late.map(|line| (line["status"].clone(), line["path"].clone())).collect();
        assert_eq!(late.len(), 3, "{lines:#?}");
        assert!(late.iter().all(|(status, path)| status == 408 && path != "/"), "{late:?}");
        serving.abort();
    });
}

#[test]
fn grpc_reaches_the_origin_with_its_trailers() {
    block_on(async {
        let (origin, serving) = grpc_origin().await;
        let conf = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {grpc: {targets: [{address: ORIGIN}], protocol: grpc}}
routes: {grpc: {paths: [/shop.Cart/Add], methods: [POST], upstream: grpc, plugins: {key-auth: {}}}}
"
        .replace("ORIGIN", &origin.to_string());
        let gateway = Gateway::start(&conf);
        let call = |key: &'static str| {
            let request = http::Request::post("http://gateway.test/shop.Cart/Add")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("apikey", key);
            Stream::send(gateway.at("listener h2"), request.body(()).unwrap(), false)
        };
        let mut stream = call("alice-key").await;
        let mut sent = Vec::new();
        for number in 0..50 {
            let piece = format!("message {number}").repeat(100);
            stream.piece(&piece);
            sent.extend_from_slice(piece.as_bytes());
        }
        stream.end();
        let (status, body, trailers) = stream.answer().await;
        assert_eq!((status, body == sent), (200, true));
        assert_eq!(trailers["grpc-status"], "7");
        assert_eq!(trailers["grpc-message"], "not today");
        assert_eq!(trailers["x-te"], "trailers");
        let mut refused = call("wrong").await;
        assert_eq!(refused.answer().await.0, 401);
        serving.abort();
    });
}
