//! What is refused before anything is served.

use super::{sign::*, *};
use serde_json::json;

fn refused(yaml: &str, words: &str) {
    let error = kit().build(yaml).map(drop).unwrap_err();
    assert!(error.contains(words), "{yaml}:\n{error}");
    assert!(!error.contains(SECRET), "{error}");
}

#[test]
fn keys_come_from_one_place_and_are_strong() {
    let pem_of = |text: &str| {
        let text: String = text.lines().map(|line| format!("  {line}\n")).collect();
        format!("public_key: |\n{text}")
    };
    for (yaml, words) in [
        ("{}", "exactly one of `secret`"),
        (&*format!("{{secret: '{SECRET}', jwks: a.json}}"), "exactly one of `secret`"),
        (&*format!("{{secret: '{SECRET}', public_key: a.pem}}"), "exactly one of `secret`"),
        ("secret: short", "the secret has 5 bytes"),
        ("secret: base64:c2hvcnQ=", "the secret has 5 bytes"),
        ("secret: base64:***", "is not base64"),
        ("public_key: none-such.pem", "cannot read"),
        ("public_key: none-such.pem", "help: a path counts from the directory"),
        ("jwks: none-such.json", "cannot read"),
        ("jwks: none-such.json", "help: a path counts from the directory"),
        ("jwks: '-----BEGIN PUBLIC KEY-----'", "help: write it as `public_key`"),
        (&*pem_of(include_str!("rsa.pem")), "it is a private key"),
        (&*pem_of(include_str!("weak.pub.pem")), "the RSA key has 1024 bits; 2048 to 8192 are taken"),
        ("public_key: '-----BEGIN PUBLIC KEY-----'", "it is not PEM"),
        (
            &*pem_of("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
            "its content cannot be read",
        ),
        (&*pem_of("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"), "it is a `X509 CRL`"),
        (&*pem_of(&format!("{RSA_PUBLIC}{RSA_PUBLIC}")), "more than one block"),
    ] {
        refused(yaml, words);
    }
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    kit().build(&pem_of(&certificate)).unwrap();
}

#[test]
fn sets_of_keys_are_looked_through() {
    let dir = tempfile::tempdir().unwrap();
    let load = |text: &str| {
        std::fs::write(dir.path().join("k.json"), text).unwrap();
        kit().build(&format!("jwks: {}", dir.path().join("k.json").display())).map(drop)
    };
    let es = Signer::p256();
    let with = |name: &str, value: Value| {
        let mut key = es.jwk("a");
        key[name] = value;
        json!({"keys": [key]}).to_string()
    };
    load(&with("use", json!("sig"))).unwrap();
    let mut weak = Signer::Rsa.jwk("r");
    weak["n"] = json!(b64([0xff; 128]));
    let mut odd = Signer::Rsa.jwk("r");
    odd["e"] = json!(b64([1]));
    for (text, words) in [
        ("", "is not a JSON object"),
        ("", "help: a JWK Set is a JSON document"),
        (RSA_PUBLIC, "k.json` is PEM, not a JWK Set"),
        (RSA_PUBLIC, "help: write it as `public_key`"),
        ("{}", "no list `keys`"),
        ("{\"keys\": {}}", "no list `keys`"),
        (&*es.jwk("a").to_string(), "it is one key, not a set: write `{\"keys\": [ … ]}` around it"),
        ("{\"keys\": []}", "no key that could be used"),
        ("{\"keys\": [], \"keys\": []}", "stands in it twice"),
        ("{\"keys\": [1, {}, {\"kty\": \"XY\"}]}", "no key that could be used"),
        (&*with("d", json!("AAAA")), "it is a private key"),
        (&*with("d", json!("AAAA")), "help: remove what is private of it"),
        (&*with("y", Value::Null), "keys[0]: a key of type EC has a text `y`"),
        ("{\"keys\": [{\"kty\": \"RSA\", \"n\": \"AAAA\"}]}", "keys[0]: a key of type RSA has a text `e`"),
        (&*with("alg", json!("RS256")), "its `alg` is `RS256`"),
        (&*with("x", json!("AAAA")), "has not the size of its curve"),
        (&*with("x", json!(b64([1; 32]))), "keys[0]: its point is not on its curve"),
        (&*with("y", json!(b64([0; 32]))), "keys[0]: its point is not on its curve"),
        (&*with("x", json!("=")), "is not base64url"),
        (&*with("crv", json!("P-521")), "no key that could be used"),
        (&*with("use", json!("enc")), "no key that could be used"),
        (&*json!({"keys": [weak]}).to_string(), "keys[0]: the RSA key has 1024 bits"),
        (&*json!({"keys": [odd]}).to_string(), "public exponent below 65537"),
        (&*json!({"keys": [Signer::Secret("short".into()).jwk("s")]}).to_string(), "the secret has 5 bytes"),
        (&*json!({"keys": vec![es.jwk("a"); 101]}).to_string(), "100 are the most"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.contains(words), "{text}:\n{error}");
    }
}

#[test]
fn a_file_of_keys_is_not_read_without_end() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let set = json!({"keys": [Signer::p256().jwk("a")]}).to_string();
    for (more, is_read) in [(0, true), ((1 << 20) + 1, false)] {
        std::fs::write(file.path(), format!("{set}{}", " ".repeat(more))).unwrap();
        let built = kit().build(&format!("jwks: {}", file.path().display())).map(drop);
        match is_read {
            true => built.unwrap(),
            false => assert!(built.unwrap_err().contains("more than a mebibyte")),
        }
    }
}

#[test]
fn a_point_off_its_curve_is_no_key() {
    for signer in [Signer::p256(), Signer::p384()] {
        let mut der = pem_body(&signer.pem());
        kit().build(&pem(&signer)).unwrap();
        *der.last_mut().unwrap() ^= 1;
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
        refused(
            &format!("public_key: |\n  -----BEGIN PUBLIC KEY-----\n  {text}\n  -----END PUBLIC KEY-----\n"),
            "its point is not on its curve",
        );
    }
}

#[test]
fn algorithms_fit_the_keys() {
    for (yaml, words) in [
        ("algorithms: [none]".to_owned(), "none"),
        ("algorithms: []".to_owned(), "the list is empty"),
        ("algorithms: [HS256, RS256]".to_owned(), "do not mix"),
        ("algorithms: [RS256]".to_owned(), "no key of `secret`"),
    ] {
        refused(&format!("secret: '{SECRET}'\n{yaml}"), words);
    }
    refused(&format!("{}algorithms: [HS256]", pem(&Signer::Rsa)), "no key of `public_key`");
    refused(&format!("{}algorithms: [ES256]", pem(&Signer::Rsa)), "no key of `public_key`");
    refused("{issuer: 'https://a.example', algorithms: [HS256]}", "a secret that is published is none");
    refused("{jwks: 'https://a.example/k', algorithms: [HS256]}", "a secret that is published is none");
}

#[test]
fn addresses_are_fetched_from_over_tls() {
    for (yaml, words) in [
        ("jwks: http://login.example/k", "is not fetched over TLS"),
        ("jwks: http://127.0.0.1.example/k", "is not fetched over TLS"),
        ("jwks: http://10.0.0.1/k", "is not fetched over TLS"),
        ("jwks: ftp://login.example/k", "is not an `https` address"),
        ("jwks: 'https://'", "is not an"),
        ("jwks: https://a:b@login.example/k", "does not hold a password"),
        ("issuer: login", "is not an address"),
        ("issuer: http://login.example", "is not fetched over TLS"),
        ("issuer: ''", "it is empty"),
    ] {
        refused(yaml, words);
    }
    for yaml in [
        "jwks: http://127.0.0.1:1/k",
        "jwks: http://[::1]:1/k",
        "jwks: http://localhost:1/k",
        "issuer: https://a.example",
    ] {
        kit().build(yaml).unwrap();
    }
}

#[test]
fn mistakes_are_refused() {
    for (fields, words) in [
        ("leeway: 61s", "differ by more than a minute"),
        ("maximum_lifetime: 0s", "no token lives that short"),
        ("leeway: 500ms", "the times of tokens are whole seconds"),
        ("leeway: 1500ms", "help: write `2s`"),
        ("maximum_lifetime: 1500ms", "the times of tokens are whole seconds"),
        ("audience: []", "it names nobody"),
        ("audience: ''", "it names nobody"),
        ("audience: {a: b}", "neither a name nor a list"),
        ("refetch_interval: 10ms", "not asked that often"),
        ("refresh_interval: 5s", "shorter than `refetch_interval`"),
        ("fetch_timeout: 5m", "between nothing and a minute"),
        ("ca: a.pem", "nothing is fetched"),
        ("header_names: []", "looked for nowhere"),
        ("header_names: ['a b']", "is not a name for a header"),
        ("header_names: [x-a, X-A]", "is named twice"),
        ("header_names: [cookie]", "holds something else"),
        ("header_names: [x_a]", "would never be found"),
        ("claims_to_headers: {sub: 'a b'}", "is not a name for a header"),
        ("claims_to_headers: {sub: x_a}", "has a `_`"),
        ("claims_to_headers: {a: x-a, b: X-A}", "is written twice"),
        ("claims_to_headers: {sub: authorization}", "means something else"),
        ("claims_to_headers: {sub: x-consumer-id}", "means something else"),
        ("header_names: [host]", "holds something else"),
        ("header_names: [connection]", "holds something else"),
        ("header_names: [content-length]", "holds something else"),
        ("consumer_optional: true", "no claim names a consumer"),
        ("realm: 'a\"b'", "a challenge cannot have"),
        ("audence: shop", "did you mean `audience`"),
    ] {
        refused(&format!("secret: '{SECRET}'\n{fields}"), words);
    }
    // Who writes such a header writes the request.
    for name in [
        "authorization",
        "cookie",
        "host",
        "connection",
        "content-length",
        "content-type",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "x-consumer-groups",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-credential-identifier",
        "x-real-ip",
        "x-request-id",
    ] {
        let written = format!("secret: '{SECRET}'\nclaims_to_headers: {{sub: {name}}}");
        refused(&written, "means something else");
    }
    let twice = kit().consumer("first", &[], &["key: x"]).consumer("second", &[], &["key: x"]);
    let error = twice.build(&format!("secret: '{SECRET}'")).map(drop).unwrap_err();
    assert!(error.contains("`x` is the consumer `first` already"), "{error}");
}
