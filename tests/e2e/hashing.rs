//! `balance: hash`: what a request is hashed by.

use crate::{harness::Gateway, origin::Origin};
use std::collections::BTreeSet;

const NAMES: [&str; 4] = ["one", "two", "three", "four"];
/// Keys of each kind.
const KEYS: usize = 12;

/// Requests with key number so-and-so go to the origin that this names.
fn check(hash_on: &str, request: impl Fn(&Gateway, usize, usize) -> String) {
    let origins = NAMES.map(|name| Origin::start(move |request| request.answer(200, name)));
    let targets: Vec<_> = origins.iter().map(|origin| format!("{{address: '{}'}}", origin.address)).collect();
    let consumers: String =
        (0..KEYS).map(|key| format!("  c{key}: {{key-auth: [{{key_sha256: KEY(k{key})}}]}}\n")).collect();
    let gateway = Gateway::start(&format!(
        "
client_ip: {{trusted_proxies: [127.0.0.0/8], header: x-forwarded-for}}
upstreams: {{raw: {{targets: [{}], balance: hash, hash_on: '{hash_on}'}}}}
routes:
  raw: {{paths: [/*], upstream: raw}}
  closed: {{paths: [/closed/*], upstream: raw, plugins: {{key-auth: {{}}}}}}
consumers:
{consumers}",
        targets.join(", ")
    ));
    let mut chosen = BTreeSet::new();
    for key in 0..KEYS {
        let first = request(&gateway, key, 0);
        // Whatever else is different.
        for other in 1..4 {
            assert_eq!(request(&gateway, key, other), first, "{hash_on} {key}");
        }
        chosen.insert(first);
    }
    assert!(chosen.len() > 1, "{hash_on}: everything goes to {chosen:?}");
}

fn ask(gateway: &Gateway, path: &str, headers: &[String]) -> String {
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    gateway.request("GET", path, &headers).expect(200).text()
}

#[test]
fn by_address() {
    check("ip", |gateway, key, other| {
        ask(
            gateway,
            &format!("/{other}"),
            &[format!("x-forwarded-for: 192.0.2.{key}"), format!("x-user: {other}")],
        )
    });
}

#[test]
fn by_header_else_by_address() {
    check("header:x-user", |gateway, key, other| {
        ask(
            gateway,
            &format!("/{other}"),
            &[format!("x-user: u{key}"), format!("x-forwarded-for: 192.0.2.{other}")],
        )
    });
    check("header:x-user", |gateway, key, other| {
        ask(gateway, &format!("/{other}"), &[format!("x-forwarded-for: 192.0.2.{key}")])
    });
}

#[test]
fn by_cookie_else_by_address() {
    check("cookie:sid", |gateway, key, other| {
        let cookie = format!("cookie: a={other}; sid=s{key}; xsid={other}");
        ask(gateway, "/", &[cookie, format!("x-forwarded-for: 192.0.2.{other}")])
    });
    check("cookie:sid", |gateway, key, other| {
        ask(gateway, "/", &[format!("cookie: xsid={other}"), format!("x-forwarded-for: 192.0.2.{key}")])
    });
}

#[test]
fn by_consumer_else_by_address() {
    check("consumer", |gateway, key, other| {
        let from = format!("x-forwarded-for: 192.0.2.{other}");
        ask(gateway, &format!("/closed/{other}"), &[format!("apikey: k{key}"), from])
    });
    check("consumer", |gateway, key, other| {
        ask(gateway, &format!("/{other}"), &[format!("x-forwarded-for: 192.0.2.{key}")])
    });
}

#[test]
fn by_path_without_its_query() {
    check("path", |gateway, key, other| {
        ask(gateway, &format!("/p{key}?q={other}"), &[format!("x-forwarded-for: 192.0.2.{other}")])
    });
}
