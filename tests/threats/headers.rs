//! Headers that the gateway owns, and those that concern one connection.
//!
//! Cases: CVE-2024-45410 (Traefik: `Connection` removes what was set), CVE-2025-64484 (oauth2-proxy: `_` for `-`),
//! CVE-2026-31838 (Istio: one of several values), CVE-2026-39998, CVE-2026-44087 and CVE-2026-49231 (APISIX: identity
//! headers that are not cleared).

use crate::gate::{Gate, Outcome, get, request};

const OWNED: [&str; 24] = [
    "x-consumer-id",
    "x-consumer-groups",
    "x-consumer-anything",
    "x-credential-identifier",
    "x-authenticated-userid",
    "x-authenticated-scope",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-scheme",
    "x-forwarded-prefix",
    "x-forwarded-client-cert",
    "client-cert",
    "client-cert-chain",
    "forwarded",
    "x-ssl-client-cert",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-cluster-client-ip",
    "x-request-id",
];

/// What the origin gets of a request with these lines.
#[track_caller]
fn sent(lines: &str) -> String {
    Gate::shared().passes(format!("GET /MARK HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).to_lowercase()
}

#[test]
fn an_owned_header_of_the_client_does_not_reach_the_origin() {
    for name in OWNED {
        let seen = sent(&format!("{name}: evil-value\r\n"));
        assert!(!seen.contains("evil-value"), "{name}: {seen}");
    }
}

#[test]
fn nor_under_another_case() {
    for name in OWNED {
        let seen = sent(&format!("{}: evil-value\r\n", name.to_uppercase()));
        assert!(!seen.contains("evil-value"), "{name}: {seen}");
    }
}

#[test]
fn nor_with_dots() {
    for name in OWNED {
        let seen = sent(&format!("{}: evil-value\r\n", name.replace('-', ".")));
        assert!(!seen.contains("evil-value") || !name.contains('-'), "{name}: {seen}");
    }
}

#[test]
fn nor_with_underscores() {
    let gate = Gate::shared();
    for name in OWNED.iter().filter(|name| name.contains('-')) {
        let request = format!("GET /MARK HTTP/1.1\r\nHost: a\r\n{}: evil\r\n\r\n", name.replace('-', "_"));
        gate.refuses(request, 400, "header_underscore");
    }
}

#[test]
fn nor_over_http2() {
    let gate = Gate::shared();
    for name in OWNED {
        let (outcome, mark) = gate.http2(|mark| {
            let more = [(name.to_owned(), "evil-value".to_owned()), (name.to_owned(), "evil-2".to_owned())];
            request(&get(&format!("/{mark}")).into_iter().chain(more).collect::<Vec<_>>())
        });
        assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{name}: {outcome:?}");
        let seen = gate.seen(&mark);
        assert!(!seen[0].contains("evil"), "{name}: {seen:?}");
    }
}

#[test]
fn nor_repeated() {
    for name in OWNED {
        let seen = sent(&format!("{name}: evil-value\r\n{name}: evil-value2\r\n"));
        assert!(!seen.contains("evil-value"), "{name}: {seen}");
    }
}

#[test]
fn what_connection_names_does_not_go_away() {
    let seen = sent("Connection: X-Api-Key, X-Forwarded-For, X-Request-Id, close\r\nX-Api-Key: judged\r\n");
    assert!(seen.contains("x-api-key: judged"), "{seen}");
    assert!(seen.contains("x-forwarded-for: 127.0.0.1\r\n") && seen.contains("x-request-id: "), "{seen}");
    assert!(!seen.contains("connection: x-api-key"), "{seen}");
}

#[test]
fn the_gateways_own_values_are_the_only_ones() {
    let seen = sent("X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Real-IP: 10.0.0.1\r\n");
    for line in ["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http", "x-real-ip: 127.0.0.1"] {
        assert_eq!(seen.matches(&format!("{line}\r\n")).count(), 1, "{line}: {seen}");
    }
}

#[test]
fn fields_of_one_hop_do_not_go_on() {
    for line in [
        "Proxy: evil-value",
        "Proxy-Authorization: evil-value",
        "Proxy-Connection: evil-value",
        "Keep-Alive: evil-value",
        "TE: evil-value",
        "Upgrade: evil-value",
        "HTTP2-Settings: evil-value",
    ] {
        let seen = sent(&format!("{line}\r\n"));
        assert!(!seen.contains("evil-value"), "{line}: {seen}");
    }
}

#[test]
fn what_would_change_the_path_does_not_go_on() {
    for name in ["X-Original-URL", "X-Rewrite-URL", "X-Original-URI"] {
        let seen = sent(&format!("{name}: /admin/x\r\n"));
        assert!(!seen.contains("/admin/x"), "{name}: {seen}");
    }
}

#[test]
fn what_would_change_the_method_does_not_go_on() {
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let seen = sent(&format!("{name}: DELETE\r\n"));
        assert!(!seen.contains("delete"), "{name}: {seen}");
    }
}

/// What a route asks for goes on there, and nowhere else; a method that is named is the request's for everybody.
#[test]
fn unless_a_route_asks_for_it() {
    let gate = Gate::start(
        "
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes:
  items: {paths: [/items/*], methods: [GET, POST, PUT], upstream: raw, pass_headers: [X-HTTP-Method-Override]}
  staff: {paths: [/items/*], methods: [DELETE], upstream: raw, plugins: {request-termination: {status_code: 401}}}
  legacy: {paths: [/legacy/*], upstream: raw, pass_headers: [x-original-url, x-http-method]}
  other: {paths: [/*], upstream: raw}
",
    );
    let send = |method: &str, path: &str, lines: &str| {
        gate.answer(format!("{method} {path}/MARK HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{lines}\r\n"))
    };
    let passes = |method: &str, path: &str, lines: &str| {
        let (answer, _, mark) = send(method, path, lines);
        assert_eq!(answer.status, 200, "{method} {path} {lines}: {answer:?}");
        gate.seen(&mark).remove(0).to_lowercase()
    };
    let refused = |method: &str, path: &str, lines: &str, status: u16, reason: &str| {
        let (answer, _, mark) = send(method, path, lines);
        let came = (answer.status, answer.reason());
        assert_eq!(came, (status, reason.to_owned()), "{method} {path} {lines}");
        assert!(gate.seen(&mark).is_empty(), "{method} {path} {lines}");
    };
    // It is a PUT, for the origin and before it.
    let seen = passes("POST", "/items", "X-HTTP-Method-Override: PUT\r\n");
    assert!(seen.starts_with("put /items/") && seen.contains("x-http-method-override: put\r\n"), "{seen}");
    let seen = passes("GET", "/items", "X-HTTP-Method-Override: GET\r\n");
    assert!(seen.starts_with("get /items/"), "{seen}");
    // What the route does not take is no way past the route that does, nor into what nobody does.
    refused("POST", "/items", "X-HTTP-Method-Override: DELETE\r\n", 400, "method_override");
    refused("POST", "/items", "X-HTTP-Method-Override: PATCH\r\n", 405, "method_not_allowed");
    for (method, lines) in [
        ("GET", "X-HTTP-Method-Override: PUT\r\n"),
        ("POST", "X-HTTP-Method-Override: put\r\n"),
        ("POST", "X-HTTP-Method-Override: HEAD\r\n"),
        ("POST", "X-HTTP-Method-Override: CONNECT\r\n"),
        ("POST", "X-HTTP-Method-Override: PUT, DELETE\r\n"),
        ("POST", "X-HTTP-Method-Override:\r\n"),
        ("POST", "X-HTTP-Method-Override: PUT\r\nX-HTTP-Method-Override: PUT\r\n"),
    ] {
        refused(method, "/items", lines, 400, "method_override");
    }
    // Another name, or the name written another way, is not what was asked for.
    let seen = passes("POST", "/items", "X-Method-Override: DELETE\r\nX-HTTP-Method: DELETE\r\n");
    assert!(seen.starts_with("post /items/") && !seen.contains("delete"), "{seen}");
    let seen = passes("POST", "/items", "X.HTTP.Method.Override: DELETE\r\n");
    assert!(seen.starts_with("post /items/") && !seen.contains("delete"), "{seen}");
    // Nor anywhere else.
    let seen = passes("POST", "/x", "X-HTTP-Method-Override: DELETE\r\nX-Original-URL: /admin/x\r\n");
    assert!(seen.starts_with("post /x/") && !seen.contains("delete") && !seen.contains("/admin/x"), "{seen}");
    let seen = passes("GET", "/legacy", "X-Original-URL: /admin/x\r\nX-Rewrite-URL: /admin/y\r\n");
    assert!(seen.contains("x-original-url: /admin/x\r\n") && !seen.contains("/admin/y"), "{seen}");
}

#[test]
fn te_trailers_and_ordinary_fields_work() {
    let seen = sent("TE: trailers\r\nAccept: text/html\r\nX-Custom: 1\r\nX-Custom: 2\r\n");
    assert!(
        seen.contains("accept: text/html\r\n") && seen.contains("x-custom: 1\r\nx-custom: 2\r\n"),
        "{seen}"
    );
}

#[test]
fn a_trusted_proxy_is_read_right_to_left_and_rewritten() {
    let gate = Gate::start(
        "
client_ip: {trusted_proxies: [127.0.0.1]}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes: {open: {paths: [/*], upstream: raw}}
",
    );
    let (answer, _, mark) = gate.answer(
        "GET /MARK HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6, 9.9.9.9\r\nX-Consumer-Id: admin\r\n\r\n",
    );
    assert_eq!(answer.status, 200);
    let seen = gate.seen(&mark).remove(0).to_lowercase();
    assert!(seen.contains("x-forwarded-for: 9.9.9.9, 127.0.0.1\r\n"), "{seen}");
    assert!(seen.contains("x-real-ip: 9.9.9.9\r\n") && !seen.contains("6.6.6.6"), "{seen}");
    assert!(!seen.contains("x-consumer-id"), "{seen}");
}
