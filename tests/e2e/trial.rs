//! What is tried without a network (`palisade explain`, `palisade test`) is what a socket gets.

use crate::harness::Gateway;
use palisade::policy::{self, Question};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

const CONF: &str = "
routes:
  echo:
    paths: [/echo/*]
    upstream: demo
    plugins: {key-auth: {anonymous: bob}, request-size-limiting: {allowed_payload_size: 9B}}
  private: {paths: [/private/*], methods: [GET], upstream: demo, plugins: {key-auth: {}}}
  other: {hosts: [other.example], paths: [/echo], upstream: demo}
";

/// What both must agree on, of requests that are refused and of some that pass.
const TARGETS: [&str; 26] = [
    "/echo",
    "/echo/a",
    "/echo//a",
    "/echo/a/./b",
    "/echo/a/../b",
    "/echo/%61",
    "/echo/%2e%2e/a",
    "/echo/..%2fa",
    "/echo/%2e%2e%2fprivate",
    "/echo/a%00b",
    "/echo/a%zzb",
    "/echo\\\\a",
    "/echo/a;b=c",
    "/ECHO/a",
    "/Private/x",
    "/private/x",
    "/private",
    "/private/../echo",
    "/echo/a?b=c&d=%20",
    "/echo/a?b=c#d",
    "/echo/\u{212a}",
    "*",
    "/",
    "/../../x",
    "/echo/%25%32%65",
    "http://other.example/echo",
];

fn tried(question: Question, gateway: &Gateway) -> Value {
    let (config, _) = policy::load(&gateway.dir().join("conf"), palisade_plugins::PLUGINS).unwrap();
    let explained = policy::explain(question, &config, palisade_plugins::PLUGINS).unwrap();
    serde_json::to_value(explained).unwrap()
}

fn question(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Question {
    Question {
        method: Some(method.to_owned()),
        url: target.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.to_owned().into(),
        client_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        listener: None,
        consumer: None,
    }
}

#[test]
fn a_trial_comes_to_what_a_socket_gets() {
    let gateway = Gateway::start(CONF);
    let mut passed = 0;
    for target in TARGETS {
        for (method, headers, body) in [
            ("GET", &[][..], ""),
            ("GET", &[("apikey", "alice-key"), ("x-consumer-id", "root"), ("x-a", "b")], ""),
            ("POST", &[("content-type", "text/plain")], "12345"),
            ("PUT", &[("apikey", "wrong")], "1234567890"),
            ("GET", &[("te", "gzip"), ("connection", "x-a"), ("x-a", "b"), ("content_length", "1")], ""),
        ] {
            let shown = format!("{method} {target} {headers:?}");
            let mut head = format!("{method} {target} HTTP/1.1\r\n");
            let host = if target.contains("other.example") { "other.example" } else { "localhost" };
            head.push_str(&format!("host: {host}\r\n"));
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            if !body.is_empty() {
                head.push_str(&format!("content-length: {}\r\n", body.len()));
            }
            let mut client = gateway.connect();
            let answer = client.send(format!("{head}\r\n{body}")).response_to(method);
            let trial = tried(question(method, target, headers, body), &gateway);
            if trial["answer"].is_null() {
                // Beside `/echo` the demo API has nothing.
                if trial["upstream"]["target"].as_str().unwrap().starts_with("/echo") {
                    passed += 1;
                    compare(&answer.expect(200).json(), &trial["upstream"], &shown);
                }
            } else {
                let expected = (&json!(answer.status), &json!(answer.reason()));
                assert_eq!((&trial["answer"]["status"], &trial["answer"]["reason"]), expected, "{shown}");
            }
        }
    }
    assert!(passed > 20, "{passed}");
}

/// What the origin says that it got, and what it would get.
fn compare(got: &Value, told: &Value, shown: &str) {
    assert_eq!(got["method"], told["method"], "{shown}");
    assert_eq!(got["target"], told["target"], "{shown}");
    // Of each request another one; and what only names the port of the listener.
    let own = ["x-request-id", "traceparent", "x-forwarded-port", "connection"];
    let names = |fields: &Value, name: &dyn Fn(&Value) -> Option<(String, Value)>| -> Vec<(String, Value)> {
        let all = fields.as_array().unwrap().iter().filter_map(name);
        let mut all: Vec<_> = all.filter(|(name, _)| !own.contains(&name.as_str())).collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        all
    };
    let received = names(&got["headers"], &|field| Some((field[0].as_str()?.to_owned(), field[1].clone())));
    let planned = names(&told["headers"], &|field| {
        (field["change"] != "removed")
            .then(|| (field["name"].as_str().unwrap().to_owned(), field["value"].clone()))
    });
    assert_eq!(received, planned, "{shown}");
}
