//! The demo API over real sockets.

use futures::{SinkExt, StreamExt};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::Message;

use super::*;

struct Shop {
    demo: Demo,
    client: Client,
}

impl Shop {
    fn open() -> Shop {
        // Another test may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Shop { demo: start().unwrap(), client: Client::builder().no_proxy().build().unwrap() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.demo.address()))
    }

    async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    async fn as_consumer(&self, name: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let request = self.request(method, path).header("x-consumer-id", name).body(body.to_string());
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), document(answer).await)
    }
}

async fn document(answer: Response) -> Value {
    let bytes = answer.bytes().await.unwrap();
    if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() }
}

#[tokio::test]
async fn a_cart_becomes_an_order_of_its_consumer_alone() {
    let shop = Shop::open();
    let (status, answer) = shop.as_consumer("alice", Method::POST, "/orders", json!(null)).await;
    assert_eq!((status, &answer["reason"]), (409, &json!("cart_empty")));
    let item = json!({ "product": 4, "quantity": 3 });
    assert_eq!(shop.as_consumer("alice", Method::POST, "/cart", item).await.0, 201);
    let (status, cart) = shop.as_consumer("alice", Method::POST, "/cart", json!({ "product": 8 })).await;
    assert_eq!((status, &cart["total_cents"]), (201, &json!(3 * 290 + 1290)));
    assert_eq!(shop.as_consumer("alice", Method::DELETE, "/cart/8", json!(null)).await.0, 204);
    assert_eq!(shop.as_consumer("alice", Method::DELETE, "/cart/8", json!(null)).await.0, 404);
    assert_eq!(shop.as_consumer("bob", Method::GET, "/cart", json!(null)).await.1["items"], json!([]));

    let (status, order) = shop.as_consumer("alice", Method::POST, "/orders", json!(null)).await;
    assert_eq!((status, &order["items"], &order["total_cents"]), (201, &json!({ "4": 3 }), &json!(870)));
    assert_eq!(shop.as_consumer("alice", Method::GET, "/cart", json!(null)).await.1["items"], json!([]));
    let path = format!("/orders/{}", order["id"]);
    assert_eq!(shop.as_consumer("alice", Method::GET, &path, json!(null)).await, (200, order.clone()));
    assert_eq!(shop.as_consumer("bob", Method::GET, &path, json!(null)).await.0, 404);
    let own = shop.as_consumer("alice", Method::GET, "/orders", json!(null)).await.1;
    assert_eq!(own, json!({ "orders": [order] }));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_a_problem() {
    let shop = Shop::open();
    let long = "x".repeat(BODY_BYTES + 1);
    let name = "n".repeat(257);
    for (method, path, consumer, body, status, reason) in [
        (Method::POST, "/cart", "a", "{}", 400, "invalid_body"),
        (Method::POST, "/cart", "a", r#"{"product":1,"free":true}"#, 400, "invalid_body"),
        (Method::POST, "/cart", "a", r#"{"product":0}"#, 404, "no_such_product"),
        (Method::POST, "/cart", "a", r#"{"product":1,"quantity":0}"#, 400, "invalid_quantity"),
        (Method::POST, "/cart", "a", r#"{"product":1,"quantity":4294967295}"#, 400, "invalid_quantity"),
        (Method::POST, "/cart", "a", &long, 413, "unreadable_body"),
        (Method::POST, "/cart", &name, r#"{"product":1}"#, 400, "invalid_consumer"),
        (Method::GET, "/products/-1", "a", "", 404, "no_such_product"),
        (Method::GET, "/slow?ms=60001", "a", "", 400, "out_of_range"),
        (Method::GET, "/slow?ms=soon", "a", "", 400, "invalid_query"),
        (Method::GET, "/stream?chunks=601&ms=100", "a", "", 400, "out_of_range"),
        (Method::GET, "/stream?chunks=2&ms=18446744073709551615", "a", "", 400, "out_of_range"),
        (Method::GET, "/stream?bytes=65537", "a", "", 400, "out_of_range"),
        (Method::GET, "/bytes/16777217", "a", "", 400, "out_of_range"),
        (Method::GET, "/sse?events=1001", "a", "", 400, "out_of_range"),
        (Method::GET, "/status/100", "a", "", 400, "invalid_status"),
        (Method::GET, "/status/600", "a", "", 400, "invalid_status"),
        (Method::PUT, "/profiles/alice", "bob", r#"{"display_name":"x"}"#, 403, "not_your_profile"),
        (Method::GET, "/profiles/nobody", "a", "", 404, "no_such_profile"),
        (Method::GET, "/ws", "a", "", 400, "not_a_websocket"),
        (Method::GET, "/nowhere", "a", "", 404, "not_found"),
        (Method::DELETE, "/products", "a", "", 405, "method_not_allowed"),
    ] {
        let request = shop.request(method, path).header("x-consumer-id", consumer).body(body.to_owned());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        assert_eq!(document(answer).await["reason"], reason, "{path}");
    }
    let answer = shop.request(Method::DELETE, "/products").send().await.unwrap();
    assert_eq!(answer.headers()["allow"], "GET,HEAD");
}

#[tokio::test]
async fn a_profile_is_changed_by_its_owner() {
    let shop = Shop::open();
    let change = json!({ "display_name": "Alice E." });
    let (status, profile) = shop.as_consumer("alice", Method::PUT, "/profiles/alice", change).await;
    assert_eq!((status, &profile["changed_by"]), (200, &json!("alice")));
    assert_eq!(document(shop.get("/profiles/alice").await).await, profile);
}

/// The raw request stands in a socket's bytes, so that no client tidies it up first.
async fn raw(address: SocketAddr, request: &[u8]) -> Value {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let start = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    serde_json::from_slice(&answer[start..]).unwrap()
}

#[tokio::test]
async fn echo_shows_exactly_what_was_received() {
    let shop = Shop::open();
    let request = b"PATCH /echo/a%2Fb/..;x?q=%20&q HTTP/1.1\r\nHost: shop\r\nX-A: 1\r\nX-B: \xe9\r\nX-A: 2\r\n\
        Connection: close\r\nTransfer-Encoding: chunked\r\nTrailer: x-t\r\n\r\n3\r\nab\n\r\n0\r\nX-T: end\r\n\r\n";
    let echo = raw(shop.demo.address(), request).await;
    let expected = json!({
        "method": "PATCH",
        "target": "/echo/a%2Fb/..;x?q=%20&q",
        "authority": null,
        "version": "HTTP/1.1",
        "headers": [
            ["host", "shop"], ["x-a", "1"], ["x-a", "2"], ["x-b", "\u{e9}"], ["connection", "close"],
            ["transfer-encoding", "chunked"], ["trailer", "x-t"],
        ],
        "trailers": [["x-t", "end"]],
        "body": { "length": 3, "sha256": hex::encode(Sha256::digest("ab\n")), "text": "ab\n" },
    });
    assert_eq!(echo, expected);
    let absolute = b"GET http://other:81/echo HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";
    let echo = raw(shop.demo.address(), absolute).await;
    assert_eq!((&echo["target"], &echo["authority"]), (&json!("http://other:81/echo"), &json!("other:81")));
}

#[tokio::test]
async fn echo_holds_no_long_body() {
    let shop = Shop::open();
    for (length, shown) in [(0, true), (4096, true), (4097, false), (3_000_000, false)] {
        let body = "a".repeat(length);
        let echo = shop.request(Method::POST, "/echo").body(body.clone()).send().await.unwrap();
        let echo = document(echo).await;
        assert_eq!(echo["body"]["length"], length);
        assert_eq!(echo["body"]["sha256"], hex::encode(Sha256::digest(&body)));
        assert_eq!(echo["body"]["text"].as_str(), shown.then_some(body.as_str()), "{length}");
    }
    let binary = shop.request(Method::POST, "/echo").body(vec![0xff]).send().await.unwrap();
    assert_eq!(document(binary).await["body"]["text"], Value::Null);
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let shop = Shop::open();
    let h2 = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    let url = format!("http://{}/echo/x?y=1", shop.demo.address());
    let answer = h2.post(url).body("hello").send().await.unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    let echo = document(answer).await;
    assert_eq!((&echo["version"], &echo["target"]), (&json!("HTTP/2.0"), &json!("/echo/x?y=1")));
    assert_eq!(echo["authority"], shop.demo.address().to_string());
    assert_eq!(echo["body"]["text"], "hello");
    assert_eq!(document(shop.get("/echo").await).await["version"], "HTTP/1.1");
}

#[tokio::test]
async fn an_echo_origin_answers_every_path() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = start_echo().unwrap();
    let echo = raw(demo.address(), b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(echo["target"], "*");
    let echo =
        raw(demo.address(), b"GET /public//a%20b/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(echo["target"], "/public//a%20b/");
}

#[tokio::test]
async fn bytes_and_streams_are_always_the_same() {
    let shop = Shop::open();
    for n in [0, 1, 65_511, 65_512, 200_000] {
        let answer = shop.get(&format!("/bytes/{n}")).await;
        assert_eq!(answer.headers()["content-length"], n.to_string().as_str());
        let bytes = answer.bytes().await.unwrap();
        assert_eq!(bytes.len(), n);
        assert!(bytes.iter().enumerate().all(|(i, byte)| usize::from(*byte) == i % PERIOD), "{n}");
    }
    let answer = shop.get("/stream?chunks=3&bytes=1000&ms=1").await;
    assert_eq!(answer.headers()["transfer-encoding"], "chunked");
    assert_eq!(answer.bytes().await.unwrap().len(), 3000);
}

const PERIOD: usize = 251;

#[tokio::test]
async fn statuses_waits_events_and_compression() {
    let shop = Shop::open();
    for status in [200, 204, 205, 304, 404, 418, 503, 599] {
        assert_eq!(shop.get(&format!("/status/{status}")).await.status(), status);
    }
    assert_eq!(document(shop.get("/slow?ms=20").await).await, json!({ "waited_ms": 20 }));
    let answer = shop.get("/sse?events=2&ms=1").await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let expected = "event: tick\ndata: tick 0\nid: 0\n\nevent: tick\ndata: tick 1\nid: 1\n\n";
    assert_eq!(answer.text().await.unwrap(), expected);
    let answer = shop.get("/gzip").await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let packed = answer.bytes().await.unwrap();
    let plain = crate::coding::decode(&[b"gzip".to_vec()], &packed, 100_000, &mut |_| true).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&plain).unwrap()["compressed"], true);
    assert_eq!(shop.get("/health").await.status(), 200);
}

#[tokio::test]
async fn a_websocket_sends_back_what_it_gets_until_the_demo_stops() {
    let shop = Shop::open();
    let url = format!("ws://{}/ws", shop.demo.address());
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![0, 255])] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }
    shop.demo.stop().await;
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
}
