//! Starting, reloading, the admin API, and stopping.

use crate::{
    client::{Client, Response, head},
    harness::Gateway,
    http2::{block_on, h2c},
    successors::executable,
};
use rustix::process::Signal;
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
};

const ONE: &str = "routes: {one: {paths: [/one], plugins: {request-termination: {status_code: 201}}}}";
const TWO: &str = "routes: {two: {paths: [/two], plugins: {request-termination: {status_code: 202}}}}";
const SERVING: &str = "is serving";
const KEPT: &str = "was not reloaded";

#[test]
fn sighup_swaps_all_or_nothing() {
    let gateway = Gateway::start(ONE);
    gateway.get("/one").expect(201);
    gateway.rewrite(TWO);
    gateway.get("/one").expect(201);
    gateway.hangup(SERVING);
    gateway.get("/one").expect(404);
    gateway.get("/two").expect(202);
    gateway.rewrite(
        "routes: {three: {paths: [/three], upstream: nowhere}, four: {paths: [/four], upstream: demo}}",
    );
    gateway.hangup(KEPT);
    gateway.get("/two").expect(202);
    assert!(gateway.log().contains("nowhere"), "{}", gateway.log());
    gateway.rewrite("listeners: {more: {address: 127.0.0.1:0}}");
    gateway.hangup(KEPT);
    gateway.get("/two").expect(202);
    gateway.rewrite(ONE);
    gateway.hangup(SERVING);
    gateway.get("/one").expect(201);
}

/// Takes one request at an origin that answers when the test says so.
fn take(origin: &TcpListener) -> TcpStream {
    let (tcp, _) = origin.accept().unwrap();
    let mut lines = BufReader::new(tcp.try_clone().unwrap());
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0);
    }
    tcp
}

fn held() -> (TcpListener, String) {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let conf = "
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes: {raw: {paths: [/*], upstream: raw}}
"
    .replace("ORIGIN", &origin.local_addr().unwrap().to_string());
    (origin, conf)
}

const LATE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate";

#[test]
fn a_request_in_flight_ends_by_the_configuration_it_began_with() {
    let (origin, conf) = held();
    let gateway = Gateway::start(&conf);
    let mut client = gateway.connect();
    client.send(head("GET", "/slow", &[]));
    let mut waiting = take(&origin);
    gateway.rewrite(ONE);
    gateway.hangup(SERVING);
    gateway.get("/slow").expect(404);
    waiting.write_all(LATE).unwrap();
    assert_eq!(client.response().expect(200).text(), "late");
    client.request("GET", "/one", &[]).expect(201);
}

#[test]
fn sigterm_and_sigint_let_a_request_in_flight_end() {
    for signal in [Signal::TERM, Signal::INT] {
        ends(signal);
    }
}

fn ends(signal: Signal) {
    let (origin, conf) = held();
    let mut gateway = Gateway::start(&format!("admin: {{address: 127.0.0.1:0}}\n{conf}"));
    admin(&gateway, "GET", "/readyz", None).expect(200);
    let mut client = gateway.connect();
    client.send(head("GET", "/slow", &[]));
    let mut waiting = take(&origin);
    gateway.signal(signal);
    gateway.wait_for_log("draining", 1);
    crate::harness::until("the listener to close", || {
        TcpStream::connect(gateway.address()).is_err().then_some(())
    });
    admin(&gateway, "GET", "/readyz", None).expect(503);
    assert_eq!(admin(&gateway, "GET", "/config/status", None).expect(200).json()["draining"], true);
    waiting.write_all(LATE).unwrap();
    let answer = client.response().expect(200);
    assert_eq!(answer.text(), "late");
    assert!(client.is_closed());
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(gateway.audit(1)[0]["status"], 200, "the record is whole before the process ends");
}

#[test]
fn what_is_in_flight_is_cut_at_the_limit_that_serves() {
    let (origin, conf) = held();
    let mut gateway = Gateway::start(&format!("drain_timeout: 1h\n{conf}"));
    gateway.rewrite(&format!("drain_timeout: 300ms\n{conf}"));
    gateway.hangup(SERVING);
    // What is said of a reload is said before listeners have what it says: the next one begins after that.
    gateway.hangup(SERVING);
    let mut client = gateway.connect();
    client.send(head("GET", "/slow", &[]));
    let _waiting = take(&origin);
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(gateway.log().contains(", 1 connections cut"), "{}", gateway.log());
    assert!(client.is_closed());
}

#[test]
fn a_reload_changes_the_limits_of_listeners() {
    let limited = |limits: &str, http2: bool| {
        format!("listeners: {{own: {{address: 127.0.0.1:0, http2: {http2}, limits: {limits}}}}}\n{ONE}")
    };
    let gateway = Gateway::start(&limited("{uri_bytes: 64B, connections: 20}", false));
    let long = format!("/one?{}", "x".repeat(100));
    let own = || Client::connect(gateway.at("listener own"));
    own().request("GET", &long, &[]).expect(414);
    assert!(!speaks_http2(&gateway));
    gateway.rewrite(&limited("{uri_bytes: 1KiB, connections: 1}", true));
    gateway.hangup(SERVING);
    gateway.hangup(SERVING);
    own().request("GET", &long, &[]).expect(201);
    assert!(speaks_http2(&gateway));
    let mut first = own();
    first.request("GET", "/one", &[]).expect(201);
    own().request("GET", "/one", &[]).expect(201);
    assert!(first.is_closed(), "there is room for one");
    assert!(!gateway.log().contains("encoded slashes"));
    gateway.rewrite(&format!("limits: {{connections: 1}}\n{}", limited("{paths: relaxed}", true)));
    gateway.hangup(SERVING);
    gateway.hangup(SERVING);
    assert!(gateway.log().contains("listener `own` takes paths with encoded slashes"), "{}", gateway.log());
    let mut first = own();
    first.request("GET", "/one", &[]).expect(201);
    gateway.get("/one").expect(201);
    assert!(first.is_closed(), "there is room for one, whichever listener it is of");
}

/// True where the listener answers to the preface of HTTP/2.
fn speaks_http2(gateway: &Gateway) -> bool {
    let url = format!("http://{}/one", gateway.at("listener own"));
    block_on(async { h2c().get(url).send().await.is_ok_and(|answer| answer.status() == 201) })
}

pub fn admin(gateway: &Gateway, method: &str, target: &str, token: Option<&str>) -> Response {
    let mut headers = vec!["Host: localhost".to_owned(), "Connection: close".to_owned()];
    headers.extend(token.map(|token| format!("Authorization: Bearer {token}")));
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    Client::connect(gateway.at("admin")).request(method, target, &headers)
}

#[test]
fn the_admin_api_tells_and_reloads() {
    let base = "admin: {address: 127.0.0.1:0, token: admin-token-0123456789, probes: 127.0.0.1:0}\n";
    let gateway = Gateway::start(&format!("{base}{ONE}"));
    gateway.get("/one").expect(201);
    gateway.get("/nothing").expect(404);
    gateway.audit(2);
    let metrics = admin(&gateway, "GET", "/metrics", None).expect(200).text();
    for name in ["palisade_requests_total", "route=\"one\"", "palisade_build_info"] {
        assert!(metrics.contains(name), "`{name}` is not in {metrics}");
    }
    assert!(metrics.lines().filter(|line| !line.starts_with('#')).any(|line| line.starts_with("palisade_")));
    let routes = admin(&gateway, "GET", "/routes", None).expect(200).text();
    assert!(
        routes.contains("one") && routes.contains("/one") && !routes.contains("admin-token-0123456789"),
        "{routes}"
    );
    let upstreams = admin(&gateway, "GET", "/upstreams", None).expect(200).json();
    assert_eq!((&upstreams[0]["name"], &upstreams[0]["balance"]), (&"demo".into(), &"round_robin".into()));
    assert_eq!((&upstreams[0]["targets"][0]["weight"], upstreams.as_array().unwrap().len()), (&1.into(), 1));
    let status = admin(&gateway, "GET", "/config/status", None).expect(200).json();
    assert_eq!(status["generation"], 1);
    assert_eq!(status["last_load"]["ok"], true);
    for probe in ["/healthz", "/readyz"] {
        admin(&gateway, "GET", probe, None).expect(200);
        Client::connect(gateway.at("probes")).request("GET", probe, &[]).expect(200);
    }
    Client::connect(gateway.at("probes")).request("GET", "/metrics", &[]).expect(404);
    Client::connect(gateway.at("admin")).request("GET", "/routes", &["Host: evil.test"]).expect(403);

    gateway.rewrite(&format!("{base}{TWO}"));
    admin(&gateway, "POST", "/reload", None).expect(401);
    admin(&gateway, "POST", "/reload", Some("wrong")).expect(401);
    assert!(gateway.log().contains("a wrong token was shown to the admin API"), "{}", gateway.log());
    gateway.get("/one").expect(201);
    assert_eq!(
        admin(&gateway, "POST", "/reload", Some("admin-token-0123456789")).expect(200).json()["generation"],
        2
    );
    gateway.get("/two").expect(202);
    gateway.rewrite(&format!("{base}routes: {{a: {{paths: [/], upstream: nowhere}}}}"));
    let refused = admin(&gateway, "POST", "/reload", Some("admin-token-0123456789")).expect(422);
    assert!(refused.text().contains("nowhere"));
    gateway.get("/two").expect(202);
    let status = || admin(&gateway, "GET", "/config/status", None).expect(200).json();
    let refused = status();
    assert_eq!((&refused["generation"], &refused["last_load"]["ok"]), (&2.into(), &false.into()));
    assert!(refused["last_load"]["error"].as_str().unwrap().contains("nowhere"), "{refused}");
    assert_eq!((&refused["failed_loads"], &refused["dir"]), (&1.into(), &"conf".into()));
    assert_eq!(
        (&refused["draining"], &refused["version"]),
        (&false.into(), &env!("CARGO_PKG_VERSION").into())
    );
    let at = |field: &serde_json::Value| field.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(at(&refused["last_load"]["at"]) > at(&refused["loaded_at"]), "{refused}");
    // The token is that of the configuration that serves.
    gateway.rewrite(&format!("{base}{ONE}").replace("admin-token", "other-token"));
    admin(&gateway, "POST", "/reload", Some("other-token-0123456789")).expect(401);
    admin(&gateway, "POST", "/reload", Some("admin-token-0123456789")).expect(200);
    admin(&gateway, "POST", "/reload", Some("admin-token-0123456789")).expect(401);
    admin(&gateway, "POST", "/reload", Some("other-token-0123456789")).expect(200);
    let well = status();
    assert_eq!((&well["generation"], &well["failed_loads"]), (&4.into(), &1.into()), "{well}");
    assert_eq!(
        (&well["last_load"]["ok"], &well["last_load"]["error"]),
        (&true.into(), &serde_json::Value::Null)
    );
}

#[test]
fn a_shortage_of_descriptors_is_said_when_it_changes() {
    let most = |connections: u64| format!("limits: {{connections: {connections}}}\n{ONE}");
    let few = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let script = format!("#!/bin/sh\nulimit -n 1000\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_palisade"));
    executable(&few, &script);
    let gateway = Gateway::prepare(&most(900)).start(&few);
    let said = || gateway.log().matches("of which this process has").count();
    assert_eq!(said(), 1, "{}", gateway.log());
    gateway.hangup(SERVING);
    gateway.rewrite(&most(800));
    gateway.hangup(SERVING);
    // What is said of a reload is said after it serves: the next one begins after that.
    gateway.hangup(SERVING);
    assert_eq!(said(), 2, "{}", gateway.log());
}

#[test]
fn the_log_is_written_as_it_is_asked_for() {
    let started = |more: &[&str], level: &str| {
        let binary = env!("CARGO_BIN_EXE_palisade").as_ref();
        let gateway = Gateway::prepare(ONE).start_with(binary, more, &[("PALISADE_LOG", level)]);
        gateway.get("/one").expect(201);
        gateway.log()
    };
    let log = started(&["--log-format", "json"], "info");
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
    assert!(log.contains("listening: listener public"), "{log}");
    // Less than usual by the environment, and more again by an argument.
    assert_eq!(started(&[], "error"), "");
    assert!(started(&["--log-level", "info"], "error").contains("INFO"));
}

#[test]
fn a_second_process_is_told_of_upgrade() {
    let gateway = Gateway::start(ONE);
    // As somebody would have written it; the first one does not read it again.
    let address = gateway.address();
    gateway.put(
        "base.yaml",
        &format!("version: 1\nstate_dir: STATE\nlisteners: {{public: {{address: '{address}'}}}}\n"),
    );
    let (code, text) = gateway.second();
    assert_eq!(code, 1);
    let place = format!("conf/base.yaml:3:31: listeners.public.address: cannot listen on {address}");
    assert!(text.contains(&place), "{text}");
    assert!(text.contains("runs on this directory already: `palisade upgrade` replaces it"), "{text}");
    gateway.get("/one").expect(201);
}

#[test]
fn what_cannot_be_served_is_said_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, text) =
        Gateway::prepare(&format!("listeners: {{taken: {{address: '{address}'}}}}\n{ONE}")).refused();
    assert_eq!(code, 1);
    assert!(text.contains("cannot listen on") && text.contains(&address), "{text}");
    assert!(text.contains("conf/test.yaml:1:30: listeners.taken.address: "), "{text}");
    assert!(text.contains("`ss -ltnp` shows it"), "{text}");

    // All of them, not the first; 192.0.2.1 is for documents alone (RFC 5737).
    let (code, text) = Gateway::prepare(&format!(
        "listeners:\n  a: {{address: '{address}'}}\n  b: {{address: 192.0.2.1:80}}\nadmin: {{address: 192.0.2.1:81}}\n{ONE}"
    ))
    .refused();
    assert_eq!(code, 1);
    for part in ["listeners.a.address: ", "listeners.b.address: ", "admin.address: ", "3 errors in 1 file"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    assert_eq!(text.matches("help: no interface of this machine has the address").count(), 2, "{text}");

    let wrong = "routes:\n  one: {pahts: [/one], upstream: demo}\n  two: {paths: [two], upstream: demo}\n";
    let (code, text) = Gateway::prepare(wrong).refused();
    assert_eq!(code, 1);
    for part in ["test.yaml:2:", "`pahts`", "test.yaml:3:", "`two`"] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    let (code, _) = crate::harness::Prepared::empty().refused();
    assert_eq!(code, 1);
}
