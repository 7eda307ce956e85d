//! Tokens: each trick gets a 401 with a problem document, never a 5xx. The tables with all forms of each stand beside the
//! plugin; here is one of each kind over the network.
//!
//! Cases: CVE-2026-25537 (a string for `exp` taken for none), RS→HS confusion, `kid` injection, embedded keys.

mod rsa;

use crate::{client::Response, harness::Gateway, signer::Signer};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use parking_lot::Mutex;
use ring::hmac;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock, Weak};

struct Issued {
    gateway: Gateway,
    signer: Signer,
}

fn issued() -> Arc<Issued> {
    static SHARED: LazyLock<Mutex<Weak<Issued>>> = LazyLock::new(Mutex::default);
    let mut shared = SHARED.lock();
    shared.upgrade().unwrap_or_else(|| {
        let signer = Signer::new();
        let prepared = Gateway::prepare(
            "routes: {any: {paths: [/echo/*], upstream: demo, plugins: {jwt: {public_key: key.pem, audience: shop}}}}",
        );
        prepared.write("key.pem", &signer.pem());
        let issued =
            Arc::new(Issued { gateway: prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref()), signer });
        *shared = Arc::downgrade(&issued);
        issued
    })
}

fn claims() -> Value {
    json!({"iss": "i", "sub": "alice", "aud": "shop", "exp": Signer::now() + 600})
}

fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

impl Issued {
    fn ask(&self, token: &str) -> Response {
        self.gateway.request("GET", "/echo/", &[&format!("authorization: Bearer {token}")])
    }

    #[track_caller]
    fn refuses(&self, token: &str) {
        let answer = self.ask(token);
        assert_eq!(answer.status, 401, "{token}: {}", answer.text());
        assert!(answer.reason().starts_with("token_"), "{token}: {}", answer.reason());
        assert!(answer.header("www-authenticate").unwrap().contains("invalid_token"), "{token}");
    }

    /// A good token but for what is in its header.
    fn headed(&self, header: &Value) -> String {
        let message = format!("{}.{}", part(header), part(&claims()));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.signer.sign(&message)))
    }

    fn refuses_claims(&self, claims: &Value) {
        self.refuses(&self.signer.token("k", claims));
    }
}

#[test]
fn a_good_token_works() {
    let issued = issued();
    assert_eq!(issued.ask(&issued.signer.token("k", &claims())).status, 200);
    assert_eq!(issued.ask(&issued.headed(&json!({"alg": "ES256", "typ": "JWT"}))).status, 200);
}

#[test]
fn the_algorithm_none_is_refused() {
    let issued = issued();
    for name in ["none", "None", "NONE", "nOnE", ""] {
        issued.refuses(&format!("{}.{}.", part(&json!({"alg": name})), part(&claims())));
    }
}

#[test]
fn a_public_key_as_a_secret_is_refused() {
    let issued = issued();
    let pem = issued.signer.pem();
    let der = pem.lines().filter(|line| !line.starts_with("---")).collect::<String>();
    let der = base64::engine::general_purpose::STANDARD.decode(der).unwrap();
    for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &der] {
        let message = format!("{}.{}", part(&json!({"alg": "HS256"})), part(&claims()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        issued.refuses(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag)));
    }
}

#[test]
fn another_algorithm_than_the_keys_is_refused() {
    let issued = issued();
    for name in ["RS256", "PS256", "ES384", "HS256", "EdDSA", "es256", "ES256 "] {
        issued.refuses(&issued.headed(&json!({"alg": name})));
    }
}

#[test]
fn keys_that_a_token_brings_are_not_used() {
    let issued = issued();
    let own = Signer::new();
    for header in [
        json!({"alg": "ES256", "jwk": own.jwk("k")}),
        json!({"alg": "ES256", "jku": "http://127.0.0.1:1/keys"}),
        json!({"alg": "ES256", "x5u": "http://127.0.0.1:1/cert"}),
        json!({"alg": "ES256", "x5c": ["MIIB"]}),
        json!({"alg": "ES256", "kid": "../../dev/null"}),
        json!({"alg": "ES256", "kid": "' OR 1=1 --"}),
    ] {
        let message = format!("{}.{}", part(&header), part(&claims()));
        issued.refuses(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(own.sign(&message))));
    }
}

#[test]
fn an_extension_that_is_critical_is_refused() {
    let issued = issued();
    issued.refuses(&issued.headed(&json!({"alg": "ES256", "crit": ["exp"], "exp": 1})));
    issued.refuses(&issued.headed(&json!({"alg": "ES256", "crit": ["b64"], "b64": false})));
}

#[test]
fn a_signature_of_another_form_is_refused() {
    let issued = issued();
    let message = format!("{}.{}", part(&json!({"alg": "ES256"})), part(&claims()));
    let good = issued.signer.sign(&message);
    let mut padded = good.clone();
    padded.push(0);
    // The same two numbers, as X.509 writes them.
    let mut numbers = Vec::new();
    for number in good.chunks(32) {
        let sign = if number[0] >= 0x80 { &[0][..] } else { &[] };
        numbers.extend([&[2, (sign.len() + 32) as u8], sign, number].concat());
    }
    let der = [&[0x30, numbers.len() as u8][..], &numbers].concat();
    for signature in [vec![0; 64], Vec::new(), good[..63].to_vec(), padded, der] {
        issued.refuses(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)));
    }
}

#[test]
fn times_that_are_no_whole_numbers_are_refused() {
    let issued = issued();
    let later = Signer::now() + 600;
    for value in [
        json!(later.to_string()),
        json!(later as f64 + 0.5),
        json!(-1),
        json!(null),
        json!([later]),
        json!({"exp": later}),
        json!(true),
        json!(1e30),
    ] {
        issued.refuses_claims(&claims_with("exp", value.clone()));
        issued.refuses_claims(&claims_with("nbf", value.clone()));
        issued.refuses_claims(&claims_with("iat", value));
    }
}

#[test]
fn an_expired_token_and_one_without_an_end_are_refused() {
    let issued = issued();
    issued.refuses_claims(&claims_with("exp", json!(Signer::now() - 3600)));
    issued.refuses_claims(&json!({"iss": "i", "sub": "alice", "aud": "shop"}));
    issued.refuses_claims(&claims_with("nbf", json!(Signer::now() + 3600)));
}

#[test]
fn another_audience_is_refused() {
    let issued = issued();
    for aud in [
        json!("cart"),
        json!(["cart"]),
        json!([]),
        json!(""),
        json!(7),
        json!({"shop": true}),
        json!(null),
        json!("shop "),
    ] {
        issued.refuses_claims(&claims_with("aud", aud));
    }
    assert_eq!(issued.ask(&issued.signer.token("k", &claims_with("aud", json!(["x", "shop"])))).status, 200);
}

#[test]
fn a_claim_that_stands_twice_is_refused() {
    let issued = issued();
    let twice = claims().to_string().replacen('{', "{\"sub\":\"admin\",", 1);
    let message = format!("{}.{}", part(&json!({"alg": "ES256"})), URL_SAFE_NO_PAD.encode(twice));
    issued.refuses(&format!("{message}.{}", URL_SAFE_NO_PAD.encode(issued.signer.sign(&message))));
}

#[test]
fn a_token_is_written_in_one_way() {
    let issued = issued();
    let good = issued.signer.token("k", &claims());
    for token in [
        format!("{good}="),
        format!("{good}."),
        format!("{good}.x"),
        format!("{good}.x.y"),
        good.replacen('.', ". ", 1),
        good.replacen('.', "..", 1),
        good[..good.len() - 1].to_owned(),
        good.rsplit_once('.').unwrap().0.to_owned(),
        format!("{}.{good}", "x".repeat(8)),
        "a.b.c.d.e".to_owned(),
        good.replace(['-', '_'], "+") + "+",
    ] {
        let answer = issued.ask(&token);
        assert_eq!(answer.status, 401, "{token}");
        assert!(!answer.reason().is_empty());
    }
}

#[test]
fn an_oversize_token_is_refused() {
    let issued = issued();
    issued.refuses_claims(&claims_with("x", json!("a".repeat(16_000))));
}
