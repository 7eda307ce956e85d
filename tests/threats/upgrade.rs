//! Upgrades: a WebSocket passes every plugin that a GET passes, and nothing else leaves HTTP.
//!
//! Case: CVE-2026-58055 (an upgrade beside a length: `framing`), and plugins of other gateways that are skipped by whoever
//! asks for an upgrade.

use crate::{
    client::{Client, Response, head},
    gate::{Http2, Outcome, get, request},
    harness::Gateway,
    origin::Origin,
};
use parking_lot::Mutex;
use std::sync::Arc;

const WEBSOCKET: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

const CONF: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams:
  raw: {targets: [{address: ORIGIN}]}
  timed: {targets: [{address: ORIGIN}], timeouts: {total: 1s, read: 30s}}
  longer: {targets: [{address: ORIGIN}], timeouts: {total: 3s, read: 30s}}
routes:
  open: {paths: [/*], upstream: raw}
  timed: {paths: [/hang], upstream: timed}
  longer: {paths: [/slow], upstream: longer}
  closed: {paths: [/closed/*], strip_prefix: /closed, upstream: raw, plugins: {key-auth: {}}}
  empty: {paths: [/empty/*], strip_prefix: /empty, upstream: raw, plugins: {test-request-body: {deny: ''}}}
  request: {paths: [/request/*], strip_prefix: /request, upstream: raw, plugins: {test-request-body: {deny: evil}}}
  filled: {paths: [/filled/*], strip_prefix: /filled, upstream: raw, plugins: {test-request-body: {replace: '', with: x}}}
  response: {paths: [/response/*], strip_prefix: /response, upstream: raw, plugins: {test-response-body: {deny: evil}}}
  pieces: {paths: [/pieces/*], strip_prefix: /pieces, upstream: raw, plugins: {test-pieces: {deny: evil}}}
";

/// A gateway before an origin that says and does what its path is called after.
struct Tunnel {
    gateway: Gateway,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Tunnel {
    fn start() -> Tunnel {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let kept = seen.clone();
        let origin = Origin::start(move |request| {
            kept.lock().push(request.text.to_lowercase());
            let switch = |upgrade: &str| {
                format!("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\n{upgrade}\r\nhello")
            };
            match request.path() {
                "/ws" => {
                    request.send(switch("Upgrade: websocket\r\n"));
                    request.wait_for_close()
                }
                "/slow" => {
                    request.send(switch("Upgrade: websocket\r\n"));
                    std::thread::sleep(std::time::Duration::from_secs(4));
                    request.send("later");
                    false
                }
                "/h2c" => request.send(switch("Upgrade: h2c\r\n")) && request.wait_for_close(),
                "/both" => {
                    request.send(switch("Upgrade: websocket\r\nUpgrade: h2c\r\n")) && request.wait_for_close()
                }
                "/bare" => request.send("HTTP/1.1 101 Switching\r\n\r\nhello") && request.wait_for_close(),
                "/hang" => request.wait_for_close(),
                "/evil" => request.answer(200, "evil"),
                _ => request.answer(200, "fine"),
            }
        });
        let conf = CONF.replace("ORIGIN", &origin.address.to_string());
        Tunnel { gateway: Gateway::start_with_test_plugins(&conf), seen }
    }

    fn ask(&self, method: &str, path: &str, lines: &[&str]) -> Response {
        self.gateway.request(method, path, lines)
    }

    fn upgrade(&self, path: &str) -> (u16, Client) {
        let mut client = self.gateway.connect();
        client.send(head("GET", path, &WEBSOCKET));
        // The head alone: what follows a 101 has no length.
        (client.response_to("HEAD").status, client)
    }

    /// What the last request looked like at the origin.
    fn last(&self) -> String {
        self.seen.lock().last().cloned().unwrap_or_default()
    }
}

#[test]
fn a_websocket_works_and_outlasts_the_time_of_an_exchange() {
    let tunnel = Tunnel::start();
    let (status, mut client) = tunnel.upgrade("/ws");
    assert_eq!(status, 101);
    client.wait_for("hello");
    let (status, mut client) = tunnel.upgrade("/slow");
    assert_eq!(status, 101);
    client.wait_for("hello");
    client.wait_for("later");
    for path in ["/response/ws", "/request/ws", "/pieces/ws"] {
        let (status, mut client) = tunnel.upgrade(path);
        assert_eq!(status, 101, "{path}");
        client.wait_for("hello");
    }
}

#[test]
fn an_upgrade_passes_every_plugin_that_a_get_passes() {
    let tunnel = Tunnel::start();
    assert_eq!(tunnel.ask("GET", "/closed/ws", &WEBSOCKET).expect(401).reason(), "credential_missing");
    // The body of a GET is judged, empty as it is.
    assert_eq!(tunnel.ask("GET", "/empty/x", &[]).expect(403).reason(), "evil_request");
    assert_eq!(tunnel.ask("GET", "/empty/ws", &WEBSOCKET).expect(403).reason(), "evil_request");
    // One that gets a body is no upgrade any more.
    tunnel.ask("GET", "/filled/ws", &WEBSOCKET).expect(500);
    assert!(tunnel.seen.lock().is_empty());
}

#[test]
fn an_answer_that_is_no_upgrade_is_judged_or_refused() {
    let tunnel = Tunnel::start();
    assert_eq!(tunnel.ask("GET", "/response/evil", &[]).expect(502).reason(), "evil_response");
    let refused = tunnel.ask("GET", "/response/evil", &WEBSOCKET).expect(502);
    assert_eq!(refused.reason(), "upstream_upgrade_refused");
    assert!(!refused.text().contains("evil"));
    // By the piece there is no need to refuse what is fine.
    assert_eq!(tunnel.ask("GET", "/pieces/x", &WEBSOCKET).expect(200).text(), "fine");
    let mut client = tunnel.gateway.connect();
    client.send(head("GET", "/pieces/evil", &WEBSOCKET));
    assert!(!client.rest().contains("evil\r\n"));
    assert_eq!(tunnel.ask("GET", "/x", &WEBSOCKET).expect(200).text(), "fine");
}

#[test]
fn what_only_looks_like_an_upgrade_is_a_request_like_any() {
    let tunnel = Tunnel::start();
    let without: [&[&str]; 4] = [
        &["Upgrade: websocket"],
        &["Connection: close", "Upgrade: websocket"],
        &["Connection: Upgrade", "Upgrade: h2c"],
        &["Connection: Upgrade", "Upgrade: websocket", "Upgrade: websocket"],
    ];
    for lines in without {
        let answer = tunnel.ask("GET", "/response/evil", lines).expect(502);
        assert_eq!(answer.reason(), "evil_response", "{lines:?}");
        assert!(!tunnel.last().contains("upgrade"), "{lines:?}: {}", tunnel.last());
    }
    assert_eq!(tunnel.ask("POST", "/response/evil", &WEBSOCKET).expect(502).reason(), "evil_response");
    assert!(!tunnel.last().contains("upgrade"), "{}", tunnel.last());
}

#[test]
fn who_asks_for_an_upgrade_is_not_exempt_from_the_time_of_an_exchange() {
    let tunnel = Tunnel::start();
    let nothing: &[&str] = &[];
    for (method, lines) in
        [("GET", nothing), ("GET", &WEBSOCKET), ("GET", &["Upgrade: websocket"]), ("POST", &WEBSOCKET)]
    {
        let answer = tunnel.ask(method, "/hang", lines).expect(504);
        assert_eq!(answer.reason(), "upstream_total_timeout", "{method} {lines:?}");
    }
}

#[test]
fn an_unrequested_101_is_a_502() {
    let tunnel = Tunnel::start();
    for path in ["/ws", "/h2c", "/bare", "/pieces/ws", "/request/ws", "/response/ws"] {
        let answer = tunnel.ask("GET", path, &[]).expect(502);
        assert_eq!(answer.reason(), "upstream_unrequested_upgrade", "{path}");
        assert!(!answer.text().contains("hello"), "{path}");
    }
    let lines = tunnel.gateway.audit(6);
    assert!(lines.iter().all(|line| line["attempts"] == 1), "{lines:#?}");
}

#[test]
fn an_unrequested_101_is_a_502_over_http2() {
    let tunnel = Tunnel::start();
    for path in ["/ws", "/bare", "/response/ws"] {
        let mut connection = Http2::connect_to(tunnel.gateway.at("listener h2"));
        let outcome: Outcome = connection.send(&request(&get(path)));
        assert_eq!(outcome.reason().as_deref(), Some("upstream_unrequested_upgrade"), "{path}: {outcome:?}");
    }
}

#[test]
fn a_101_for_something_else_than_a_websocket_is_a_502() {
    let tunnel = Tunnel::start();
    for path in ["/h2c", "/bare", "/both"] {
        let answer = tunnel.ask("GET", path, &WEBSOCKET).expect(502);
        assert_eq!(answer.reason(), "upstream_unrequested_upgrade", "{path}");
    }
}
