//! Several issuers on one route, and good tokens that are denied: by a file and by a store.

use crate::{
    client::Response,
    harness::{Gateway, until},
    issuers::Issuer,
    signed::{PASSWORD, Redis},
    signer::Signer,
};
use serde_json::{Value, json};
use std::{fs, process::Command};

fn send(gateway: &Gateway, path: &str, token: &str) -> Response {
    gateway.request("GET", path, &[&format!("authorization: Bearer {token}")])
}

fn token(signer: &Signer, claims: &Value) -> String {
    let mut all = json!({"iss": "i", "sub": "alice", "iat": Signer::now() - 100, "exp": Signer::now() + 600});
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    signer.token("k", &all)
}

#[test]
fn each_issuer_has_its_own_keys() {
    let (one, two) = (Signer::new(), Signer::new());
    let (first, second) = (Issuer::start(None), Issuer::start(None));
    first.has(&[one.jwk("k")]);
    second.has(&[two.jwk("k")]);
    let gateway = Gateway::start(&format!(
        "
routes:
  any:
    paths: [/echo/*]
    upstream: demo
    plugins:
      jwt:
        refetch_interval: 1s
        issuers: [{{issuer: '{}', audience: shop}}, {{issuer: '{}', audience: [cart]}}]
",
        first.name(),
        second.name()
    ));
    let of = |signer: &Signer, issuer: &Issuer, aud: &str| {
        token(signer, &json!({"iss": issuer.name(), "aud": aud}))
    };
    for (signer, issuer, aud) in [(&one, &first, "shop"), (&two, &second, "cart")] {
        let good = of(signer, issuer, aud);
        until("the keys", || (send(&gateway, "/echo/", &good).status == 200).then_some(()));
    }
    for (token, reason) in [
        (of(&one, &second, "cart"), "token_signature"),
        (of(&two, &first, "shop"), "token_signature"),
        (of(&one, &first, "cart"), "token_audience"),
        (token(&one, &json!({"iss": "https://nobody.test", "aud": "shop"})), "token_issuer"),
    ] {
        assert_eq!(send(&gateway, "/echo/", &token).expect(401).reason(), reason);
    }
    // One that is down takes nobody else along.
    let calls = first.calls();
    second.falls_silent();
    one_rotates(&gateway, &first, &second);
    assert!(first.calls() > calls);
}

/// The first issuer rotates while the second one is silent.
fn one_rotates(gateway: &Gateway, first: &Issuer, second: &Issuer) {
    let new = Signer::new();
    first.has(&[new.jwk("k2")]);
    let claims = json!({"iss": first.name(), "sub": "a", "aud": "shop", "exp": Signer::now() + 600});
    let by_new = new.token("k2", &claims);
    until("the new key", || (send(gateway, "/echo/", &by_new).status == 200).then_some(()));
    let unknown = json!({"iss": second.name(), "sub": "a", "aud": "shop", "exp": Signer::now() + 600});
    assert_eq!(send(gateway, "/echo/", &new.token("k2", &unknown)).expect(401).reason(), "token_key_unknown");
}

#[test]
fn a_file_denies_and_stays_in_force() {
    let signer = Signer::new();
    let conf = "
admin: {address: 127.0.0.1:0}
routes: {any: {paths: [/echo/*], upstream: demo, plugins: {jwt: {public_key: key.pem, denylist: {file: denied.json}}}}}
";
    let prepared = Gateway::prepare(conf);
    prepared.write("key.pem", &signer.pem());
    let (code, told) = prepared.refused();
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("denied.json") && told.contains("cannot be read"), "{told}");
    prepared.write("denied.json", "{\"deny\": [{\"jti\": \"j0\"}]}");
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let status = |claims: Value| send(&gateway, "/echo/", &token(&signer, &claims)).status;
    assert_eq!((status(json!({"jti": "j0"})), status(json!({"jti": "j1"}))), (401, 200));
    let remembered = token(&signer, &json!({"jti": "j1", "sub": "bob"}));
    send(&gateway, "/echo/", &remembered).expect(200);
    gateway.put(
        "denied.json",
        &json!({"deny": [{"sub": "bob", "issued_before": Signer::now() - 50}]}).to_string(),
    );
    until("the list", || (send(&gateway, "/echo/", &remembered).status == 401).then_some(()));
    assert_eq!(send(&gateway, "/echo/", &remembered).reason(), "token_revoked");
    let again = token(&signer, &json!({"sub": "bob", "iat": Signer::now() - 20}));
    send(&gateway, "/echo/", &again).expect(200);
    assert_eq!(status(json!({"jti": "j0"})), 200);
    // It vanishes: what it said stays, and a reload is refused.
    fs::remove_file(gateway.dir().join("conf/denied.json")).unwrap();
    gateway.wait_for_log("what it said before stays", 1);
    send(&gateway, "/echo/", &remembered).expect(401);
    gateway.hangup("the old one goes on serving");
    let mut admin = crate::client::Client::connect(gateway.at("admin"));
    let metrics = admin.request("GET", "/metrics", &["Host: localhost"]).expect(200).text();
    assert!(metrics.contains("event=\"denylist_failed\",plugin=\"jwt\""), "{metrics}");
    gateway.put("denied.json", "{\"deny\": []}");
    until("the list", || (send(&gateway, "/echo/", &remembered).status == 200).then_some(()));
    gateway.wait_for_log("is good again", 1);
    assert!(!gateway.log().contains(&remembered));
}

fn redis(port: u16, command: &[&str]) {
    let done = Command::new("redis-cli")
        .args(["-p", &port.to_string(), "-a", PASSWORD, "--no-auth-warning"])
        .args(command)
        .output()
        .expect("redis-cli: apt-get install redis-tools");
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn a_store_denies_and_nothing_passes_without_it() {
    let signer = Signer::new();
    let mut store = Redis::start(None);
    let port = store.1;
    let prepared = Gateway::prepare(&format!(
        "
stores: {{main: {{redis: 'redis://:{PASSWORD}@127.0.0.1:{port}', timeout: 5s}}}}
routes: {{any: {{paths: [/echo/*], upstream: demo, plugins: {{jwt: {{public_key: key.pem, denylist: {{store: main}}}}}}}}}}
"
    ));
    prepared.write("key.pem", &signer.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let good = token(&signer, &json!({"jti": "j1"}));
    until("the store", || (send(&gateway, "/echo/", &good).status == 200).then_some(()));
    redis(port, &["SET", "{palisade:jwt:denied}:jti:i|j1", "1", "EX", "600"]);
    until("the denial", || (send(&gateway, "/echo/", &good).status == 401).then_some(()));
    assert_eq!(send(&gateway, "/echo/", &good).reason(), "token_revoked");
    let other = token(&signer, &json!({"jti": "j2", "sub": "bob"}));
    send(&gateway, "/echo/", &other).expect(200);
    let since = (Signer::now() - 50).to_string();
    redis(port, &["SET", "{palisade:jwt:denied}:sub:i|bob", &since]);
    until("the denial", || (send(&gateway, "/echo/", &other).status == 401).then_some(()));
    let newer = token(&signer, &json!({"jti": "j3", "sub": "bob", "iat": Signer::now() - 20}));
    send(&gateway, "/echo/", &newer).expect(200);
    store.0.kill().unwrap();
    store.0.wait().unwrap();
    until("the end of what is remembered", || (send(&gateway, "/echo/", &newer).status == 503).then_some(()));
    assert_eq!(send(&gateway, "/echo/", &newer).expect(503).reason(), "store_unavailable");
    send(&gateway, "/echo/", "x.y.z").expect(401);
    let again = Redis::start(Some(port));
    until("the store", || (send(&gateway, "/echo/", &newer).status == 200).then_some(()));
    drop(again);
}
