//! The admin API over real sockets, in front of a gateway that only pretends.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures::FutureExt;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

#[derive(Default)]
struct Fake {
    token: Option<&'static str>,
    draining: AtomicBool,
    broken: AtomicBool,
    reloads: AtomicUsize,
    ended: std::sync::Mutex<Vec<Whom>>,
}

impl AdminState for Fake {
    fn ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    fn token(&self) -> Option<Secret> {
        self.token.map(Secret::new)
    }

    fn metrics(&self) -> String {
        "palisade_up 1\n".to_owned()
    }

    fn routes_json(&self) -> Value {
        json!({ "routes": ["shop"] })
    }

    fn upstreams_json(&self) -> Value {
        json!({ "upstreams": ["origin"] })
    }

    fn stores_json(&self) -> Value {
        json!({ "stores": ["main"] })
    }

    fn lockouts_json(&self) -> Value {
        json!({ "lockouts": [] })
    }

    fn end_lockouts(&self, whom: Whom) -> BoxFuture<'_, usize> {
        self.ended.lock().unwrap().push(whom);
        async { 3 }.boxed()
    }

    fn status_json(&self) -> Value {
        json!({ "generation": 1 })
    }

    fn reload(&self) -> BoxFuture<'_, Result<Value, String>> {
        let count = self.reloads.fetch_add(1, Ordering::Relaxed) + 1;
        let broken = self.broken.load(Ordering::Relaxed);
        async move {
            if broken {
                Err("shop.yaml:3:7: no upstream".to_owned())
            } else {
                Ok(json!({ "generation": count + 1 }))
            }
        }
        .boxed()
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn reason(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json"), "{}", self.head);
        let document: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(document["status"], self.status);
        document["reason"].as_str().unwrap().to_owned()
    }
}

/// `request` is a request line with, after `|`, further header fields.
async fn ask(address: SocketAddr, request: &str) -> Answer {
    let mut parts = request.split('|');
    let mut head = format!("{} HTTP/1.1\r\nconnection: close\r\n", parts.next().unwrap());
    for field in parts {
        head += &format!("{field}\r\n");
    }
    raw(address, &format!("{head}\r\n")).await
}

async fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // The server may close with some of a refused body unread: what it said until then counts.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn fake(token: Option<&'static str>) -> Arc<Fake> {
    Arc::new(Fake { token, ..Fake::default() })
}

#[tokio::test]
async fn on_loopback_everybody_reads() {
    let server = start(listener(), fake(None)).unwrap();
    for (path, body) in [
        ("/healthz", r#"{"status":"alive"}"#),
        ("/readyz", r#"{"status":"ready"}"#),
        ("/metrics", "palisade_up 1\n"),
        ("/routes", r#"{"routes":["shop"]}"#),
        ("/upstreams", r#"{"upstreams":["origin"]}"#),
        ("/config/status", r#"{"generation":1}"#),
    ] {
        let answer = ask(server.address(), &format!("GET {path}|host: localhost")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
        assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
        assert!(answer.head.contains("x-content-type-options: nosniff"), "{}", answer.head);
        assert!(!answer.head.contains("access-control-"), "{}", answer.head);
    }
    let answer = ask(server.address(), "GET /metrics|host: localhost").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    assert_eq!(ask(server.address(), "HEAD /routes|host: localhost").await.status, 200);
}

#[tokio::test]
async fn a_rebound_name_reads_nothing() {
    let server = start(listener(), fake(Some("sesame"))).unwrap();
    for fields in [
        "host: evil.example",
        "host: localhost|host: localhost",
        "x-forwarded-host: localhost",
        "host: evil.example|authorization: Bearer sesame",
    ] {
        for request in ["GET /routes", "GET /healthz", "POST /reload", "GET /nowhere"] {
            let answer = ask(server.address(), &format!("{request}|{fields}")).await;
            assert_eq!((answer.status, answer.reason().as_str()), (403, "host_not_allowed"), "{fields}");
        }
    }
    let answer = ask(server.address(), "GET http://evil.example/routes|host: localhost").await;
    assert_eq!(answer.reason(), "host_not_allowed");
    let host = format!("GET /routes|host: {}", server.address());
    assert_eq!(ask(server.address(), &host).await.status, 200);
}

#[tokio::test]
async fn nothing_changes_without_the_token() {
    let state = fake(Some("sesame"));
    let server = start(listener(), state.clone()).unwrap();
    for (fields, reason, challenge) in [
        ("", "admin_token_missing", "bearer realm=\"palisade admin\"\r\n"),
        ("|authorization: Bearer wrong", "admin_token_wrong", "error=\"invalid_token\""),
        ("|authorization: Basic c2VzYW1l", "admin_token_wrong", "error=\"invalid_token\""),
        ("|cookie: token=sesame", "admin_token_missing", "bearer realm"),
    ] {
        let answer = ask(server.address(), &format!("POST /reload|host: localhost{fields}")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (401, reason), "{fields}");
        let head = format!("{}\r\n", answer.head);
        assert!(head.contains("www-authenticate: ") && head.contains(challenge), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
    }
    assert_eq!(ask(server.address(), "POST /reload?token=sesame|host: localhost").await.status, 401);
    assert_eq!(state.reloads.load(Ordering::Relaxed), 0);

    let right = "POST /reload|host: localhost|authorization: Bearer sesame";
    let answer = ask(server.address(), right).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"generation":2}"#));
    state.broken.store(true, Ordering::Relaxed);
    let answer = ask(server.address(), right).await;
    assert_eq!((answer.status, answer.reason().as_str()), (422, "configuration_refused"));
    assert!(answer.body.contains("shop.yaml:3:7"), "{}", answer.body);
}

#[tokio::test]
async fn without_a_configured_token_nothing_can_be_changed() {
    for token in [None, Some("")] {
        let state = fake(token);
        let server = start(listener(), state.clone()).unwrap();
        for fields in ["", "|authorization: Bearer ", "|authorization: Bearer sesame"] {
            let answer = ask(server.address(), &format!("POST /reload|host: localhost{fields}")).await;
            assert_eq!((answer.status, answer.reason().as_str()), (403, "admin_token_not_set"));
            assert!(answer.body.contains("admin.token"), "{}", answer.body);
        }
        assert_eq!(state.reloads.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn only_loopback_is_this_machines_own() {
    for (address, exposed) in [
        ("127.0.0.1", false),
        ("127.8.8.8", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
        ("0.0.0.0", true),
        ("::", true),
        ("10.0.0.1", true),
        ("::ffff:10.0.0.1", true),
        ("fe80::1", true),
    ] {
        assert_eq!(is_exposed(address.parse().unwrap()), exposed, "{address}");
    }
}

#[tokio::test]
async fn off_loopback_only_probes_are_free() {
    let server = start_as(listener(), fake(Some("sesame")), true).unwrap();
    for path in PATHS {
        let free = ["/healthz", "/readyz"].contains(&path);
        let answer = ask(server.address(), &format!("GET {path}|host: gateway.example")).await;
        assert_eq!(answer.status, if free { 200 } else { 401 }, "{path}");
        let fields = "host: gateway.example|authorization: Bearer sesame";
        let answer = ask(server.address(), &format!("GET {path}|{fields}")).await;
        assert_eq!(answer.status, if path == "/nowhere" { 404 } else { 200 }, "{path}");
    }
    let server = start_as(listener(), fake(None), true).unwrap();
    for path in PATHS {
        let free = ["/healthz", "/readyz"].contains(&path);
        let answer = ask(server.address(), &format!("GET {path}|host: gateway.example")).await;
        assert_eq!(answer.status, if free { 200 } else { 403 }, "{path}");
    }
}

const PATHS: [&str; 7] =
    ["/healthz", "/readyz", "/metrics", "/routes", "/upstreams", "/config/status", "/nowhere"];

#[tokio::test]
async fn lockouts_are_for_who_has_the_token_on_loopback_too() {
    let state = fake(Some("sesame"));
    let server = start(listener(), state.clone()).unwrap();
    for request in ["GET /lockouts", "HEAD /lockouts", "DELETE /lockouts?all=true", "DELETE /lockouts"] {
        assert_eq!(ask(server.address(), &format!("{request}|host: localhost")).await.status, 401);
    }
    let token = "host: localhost|authorization: Bearer sesame";
    let answer = ask(server.address(), &format!("GET /lockouts|{token}")).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"lockouts":[]}"#));
    for query in ["", "?", "?ip=", "?ip=x", "?all=false", "?ip=::1&all=true", "?ip=::1&ip=::2", "?name=x"] {
        let answer = ask(server.address(), &format!("DELETE /lockouts{query}|{token}")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (400, "lockouts_of_whom"), "{query}");
    }
    assert_eq!(*state.ended.lock().unwrap(), []);
    for query in ["ip=2001:db8::1", "account=a%20b", "all=true"] {
        let answer = ask(server.address(), &format!("DELETE /lockouts?{query}|{token}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"ended":3}"#));
    }
    let ip = "2001:db8::1".parse().unwrap();
    let ended = [Whom::Ip(ip), Whom::Account("a b".to_owned()), Whom::All];
    assert_eq!(*state.ended.lock().unwrap(), ended);
}

#[tokio::test]
async fn probes_have_a_listener_of_their_own() {
    let state = fake(Some("sesame"));
    let server = start_probes(listener(), state.clone()).unwrap();
    assert_eq!(ask(server.address(), "GET /healthz|host: 10.0.0.9").await.status, 200);
    assert_eq!(ask(server.address(), "GET /readyz|host: 10.0.0.9").await.status, 200);
    let token = "host: localhost|authorization: Bearer sesame";
    for request in ["GET /metrics", "GET /routes", "GET /config/status", "POST /reload"] {
        let answer = ask(server.address(), &format!("{request}|{token}")).await;
        assert_eq!((answer.status, answer.reason().as_str()), (404, "not_found"), "{request}");
    }
    state.draining.store(true, Ordering::Relaxed);
    let answer = ask(server.address(), "GET /readyz|host: 10.0.0.9").await;
    assert_eq!((answer.status, answer.reason().as_str()), (503, "not_ready"));
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    assert_eq!(ask(server.address(), "GET /healthz|host: 10.0.0.9").await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let server = start(listener(), fake(Some("sesame"))).unwrap();
    let answer = ask(server.address(), "GET /nowhere|host: localhost").await;
    assert_eq!((answer.status, answer.reason().as_str()), (404, "not_found"));
    let token = "host: localhost|authorization: Bearer sesame";
    let answer = ask(server.address(), &format!("DELETE /routes|{token}")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (405, "method_not_allowed"));
    assert!(answer.head.contains("allow: get,head"), "{}", answer.head);
    let answer = ask(server.address(), &format!("GET /reload|{token}")).await;
    assert_eq!((answer.status, answer.reason().as_str()), (405, "method_not_allowed"));
    assert!(answer.head.contains("allow: post"), "{}", answer.head);
}

#[tokio::test]
async fn a_body_is_bounded() {
    let state = fake(Some("sesame"));
    let server = start(listener(), state.clone()).unwrap();
    for (length, status) in [(0, 200), (65_536, 200), (65_537, 413)] {
        let body = "x".repeat(length);
        let request = format!(
            "POST /reload HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer sesame\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        assert_eq!(raw(server.address(), &request).await.status, status, "{length}");
    }
    assert_eq!(state.reloads.load(Ordering::Relaxed), 2);
}
