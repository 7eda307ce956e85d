//! Tokens over the network: an issuer that is down, rotates its keys, is slow, lies, or is asked too often.

use crate::{
    client::Response,
    harness::{Gateway, until},
    issuers::Issuer,
    ports::Port,
    signer::Signer,
    tls::certificate,
};
use serde_json::json;

fn route(fields: &str) -> String {
    format!("routes: {{any: {{paths: [/echo/*], upstream: demo, plugins: {{jwt: {{{fields}}}}}}}}}")
}

fn ask(gateway: &Gateway, token: &str) -> Response {
    gateway.request("GET", "/echo/", &[&format!("authorization: Bearer {token}")])
}

fn until_served(gateway: &Gateway, token: &str) {
    until("the new key", || (ask(gateway, token).status == 200).then_some(()));
}

#[test]
fn a_token_gets_its_bearer_in_and_tells_the_origin() {
    let signer = Signer::new();
    let prepared = Gateway::prepare(
        "
routes:
  any:
    paths: [/echo/*]
    upstream: demo
    plugins:
      jwt: {public_key: key.pem, audience: shop, claims_to_headers: {sub: x-user-id}}
      acl: {scopes: ['orders:read']}
  open: {paths: [/echo/open], upstream: demo}
",
    );
    prepared.write("key.pem", &signer.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let token = |aud: &str, scope: &str| {
        let claims = json!({"iss": "i", "sub": "u-1", "aud": aud, "scope": scope, "exp": Signer::now() + 600, "jti": "j1"});
        signer.token("any", &claims)
    };
    let missing = gateway.get("/echo/").expect(401);
    assert_eq!(missing.reason(), "credential_missing");
    assert_eq!(missing.header("www-authenticate").unwrap(), "Bearer realm=\"palisade\"");
    let wrong = ask(&gateway, &token("cart", "orders:read")).expect(401);
    assert_eq!(wrong.reason(), "token_audience");
    let challenge = wrong.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert_eq!(wrong.header("content-type").unwrap(), "application/problem+json");
    let forbidden = ask(&gateway, &token("shop", "profile")).expect(403);
    assert_eq!(forbidden.reason(), "insufficient_scope");
    let challenge = forbidden.header("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer error=\"insufficient_scope\", scope=\"orders:read\"");
    let good = token("shop", "orders:read");
    let bearer = format!("authorization: Bearer {good}");
    let passed = gateway.request("GET", "/echo/", &[&bearer, "x-user-id: admin"]).expect(200);
    assert_eq!(passed.echoed("x-user-id").as_deref(), Some("u-1"));
    assert_eq!(passed.echoed("x-credential-identifier").as_deref(), Some("j1"));
    let open = gateway.request("GET", "/echo/open", &["x-user-id: admin"]).expect(200);
    assert_eq!(open.echoed("x-user-id"), None);
}

#[test]
fn an_issuer_that_is_down_at_the_start_is_waited_for() {
    let signer = Signer::new();
    let port = Port::free();
    let address = port.address();
    let gateway = Gateway::start(&route(&format!("issuer: 'http://{address}', refetch_interval: 1s")));
    gateway.wait_for_log("cannot be fetched", 1);
    let token = signer
        .token("k", &json!({"iss": format!("http://{address}"), "sub": "a", "exp": Signer::now() + 600}));
    assert_eq!(ask(&gateway, &token).expect(503).reason(), "token_keys_unavailable");
    assert_eq!(ask(&gateway, "x.y.z").expect(401).reason(), "token_malformed");
    let issuer = Issuer::start(Some(address));
    issuer.has(&[signer.jwk("k")]);
    until_served(&gateway, &token);
    drop(issuer);
    ask(&gateway, &token).expect(200);
}

#[test]
fn keys_rotate_and_survive_a_reload() {
    let (old, new) = (Signer::new(), Signer::new());
    let issuer = Issuer::start(None);
    issuer.has(&[old.jwk("old")]);
    let conf = route(&format!("jwks: '{}', refetch_interval: 1s", issuer.url()));
    let gateway = Gateway::start(&conf);
    until_served(&gateway, &old.good("old"));
    let remembered = old.good("old");
    ask(&gateway, &remembered).expect(200);
    issuer.has(&[new.jwk("new")]);
    until_served(&gateway, &new.good("new"));
    let calls = issuer.calls();
    assert_eq!(ask(&gateway, &remembered).expect(401).reason(), "token_key_unknown");
    // That has asked for one more fetch, which begins when it may.
    until("the fetch", || (issuer.calls() > calls).then_some(()));
    let calls = issuer.calls();
    issuer.falls_silent();
    gateway.rewrite(&route(&format!("jwks: '{}', refetch_interval: 1s, audience: []", issuer.url())));
    gateway.hangup("the old one goes on serving");
    gateway.rewrite(&route(&format!("jwks: '{}', refetch_interval: 1s, leeway: 5s", issuer.url())));
    gateway.hangup("is serving");
    ask(&gateway, &new.good("new")).expect(200);
    assert_eq!(issuer.calls(), calls, "a reload fetches nothing that is here");
}

#[test]
fn a_flood_of_unknown_keys_is_one_fetch() {
    let signer = Signer::new();
    let issuer = Issuer::start(None);
    issuer.has(&[signer.jwk("k")]);
    let gateway = Gateway::start(&route(&format!(
        "jwks: '{}', refetch_interval: 1h, refresh_interval: 1d",
        issuer.url()
    )));
    until_served(&gateway, &signer.good("k"));
    for count in 0..50 {
        assert_eq!(
            ask(&gateway, &signer.good(&format!("k{count}"))).expect(401).reason(),
            "token_key_unknown"
        );
    }
    assert_eq!(issuer.calls(), 1);
}

#[test]
fn what_is_no_set_of_keys_is_not_taken() {
    let signer = Signer::new();
    let issuer = Issuer::start(None);
    let huge = format!("{{\"keys\":[],\"x\":\"{}\"}}", "x".repeat(300_000));
    let ok = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let elsewhere = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", issuer.url());
    let gateway = {
        issuer.raw(ok(&huge));
        Gateway::start(&route(&format!("jwks: '{}', refetch_interval: 1s", issuer.url())))
    };
    gateway.wait_for_log("the answer is too large", 1);
    let good = json!({"keys": [signer.jwk("k")]}).to_string();
    let failed = ok(&good).replace("200 OK", "500 No");
    let part = ok(&good).replace("200 OK", "206 Partial Content");
    for raw in [ok("{\"keys\": 1}"), elsewhere, failed, part, "no".into()] {
        let calls = issuer.calls();
        issuer.raw(raw);
        until("another try", || (issuer.calls() > calls).then_some(()));
        ask(&gateway, &signer.good("k")).expect(503);
    }
    issuer.has(&[signer.jwk("k")]);
    until_served(&gateway, &signer.good("k"));
}

#[test]
fn a_silent_issuer_delays_nobody_for_long() {
    let signer = Signer::new();
    let issuer = Issuer::start(None);
    issuer.falls_silent();
    let gateway = Gateway::start(&route(&format!(
        "jwks: '{}', refetch_interval: 1s, fetch_timeout: 200ms",
        issuer.url()
    )));
    ask(&gateway, &signer.good("k")).expect(503);
    gateway.wait_for_log("no answer in time", 1);
    issuer.has(&[signer.jwk("k")]);
    until_served(&gateway, &signer.good("k"));
}

#[test]
fn an_issuer_must_prove_who_it_is() {
    let signer = Signer::new();
    let (own, stranger) = (certificate("127.0.0.1"), certificate("127.0.0.1"));
    let other = certificate("login.test");
    let (issuer, misnamed) = (Issuer::start_tls(&own), Issuer::start_tls(&other));
    for issuer in [&issuer, &misnamed] {
        issuer.has(&[signer.jwk("k")]);
    }
    let claims = json!({"iss": issuer.name(), "sub": "alice", "exp": Signer::now() + 600});
    let token = signer.token("k", &claims);
    let start = |fields: &str| {
        let prepared = Gateway::prepare(&route(fields));
        prepared.write("certs/own.pem", &own.cert.pem());
        prepared.write("certs/other.pem", &other.cert.pem());
        prepared.write("certs/stranger.pem", &stranger.cert.pem());
        prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref())
    };
    for fields in [
        format!("jwks: '{}', ca: certs/own.pem", issuer.url()),
        format!("issuer: '{}', ca: certs/own.pem", issuer.name()),
    ] {
        let gateway = start(&fields);
        until_served(&gateway, &token);
    }
    let calls = issuer.calls();
    for fields in [
        // The system's authorities do not know it.
        format!("jwks: '{}'", issuer.url()),
        format!("issuer: '{}'", issuer.name()),
        format!("jwks: '{}', ca: certs/stranger.pem", issuer.url()),
        format!("jwks: '{}', ca: certs/other.pem", misnamed.url()),
    ] {
        let gateway = start(&fields);
        gateway.wait_for_log("cannot be fetched", 1);
        assert_eq!(ask(&gateway, &token).expect(503).reason(), "token_keys_unavailable", "{fields}");
    }
    assert_eq!((issuer.calls(), misnamed.calls()), (calls, 0), "nothing was asked over such a connection");
}
