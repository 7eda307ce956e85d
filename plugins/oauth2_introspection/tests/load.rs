//! What an operator may write wrong.

use super::*;

fn told(fields: &str) -> String {
    Kit::of(DESCRIPTOR).build(fields).map(drop).unwrap_err()
}

#[test]
fn mistakes_are_refused() {
    for (fields, words) in [
        ("{}", "nothing says where tokens are asked about"),
        (
            "{introspection_endpoint: 'http://login.example/i', client_id: a, client_secret: b}",
            "not called over TLS",
        ),
        (
            "{introspection_endpoint: 'ftp://login.example/i', client_id: a, client_secret: b}",
            "is not an `https` address",
        ),
        (
            "{introspection_endpoint: 'https://a:b@login.example/i', client_id: a, client_secret: b}",
            "does not hold a password",
        ),
        ("{introspection_endpoint: 'https://l.example/i'}", "nothing proves to the issuer who is asking"),
        ("{introspection_endpoint: 'https://l.example/i', client_secret: b}", "nothing says who is asking"),
        (
            "{introspection_endpoint: 'https://l.example/i', client_id: a, introspection_endpoint_auth_method: private_key_jwt}",
            "needs other fields",
        ),
        (
            "{introspection_endpoint: 'https://l.example/i', client_id: a, client_secret: b, private_key: c}",
            "needs other fields",
        ),
        (
            "{introspection_endpoint: 'https://l.example/i', client_id: a, client_secret: b, authorization_value: c}",
            "in the place of another proof",
        ),
        (
            "{introspection_endpoint: 'https://l.example/i', authorization_value: \"a\\nb\"}",
            "cannot be the value of a header",
        ),
        (
            "{introspection_endpoint: 'https://l.example/i', client_id: a, certificate: c.pem}",
            "it has no key",
        ),
        (
            "{introspection_endpoint: 'https://l.example/i', client_id: a, client_secret: b, key: k.pem}",
            "it has no certificate",
        ),
        (
            "{introspection_endpoint: 'https://l.example/i', client_id: a, private_key: none.pem}",
            "cannot be read",
        ),
        (
            "{introspection_endpoint: 'https://l.example/i', client_id: a, private_key: '-----BEGIN X-----'}",
            "it is not PEM",
        ),
        ("{introspection_url: 'https://l.example/i'}", "unknown"),
    ] {
        let error = told(fields);
        assert!(error.contains(words), "{fields}: {error}");
    }
    for (field, words) in [
        ("timeout: 0s", "between nothing and a minute"),
        ("timeout: 2m", "between nothing and a minute"),
        ("ttl: 2d", "more than a day"),
        ("negative_ttl: 2m", "more than a minute"),
        ("cache_size: 0", "between one and ten million"),
        ("max_calls: 0", "between one and ten thousand"),
        ("leeway: 2m", "more than a minute"),
        ("leeway: 500ms", "whole seconds"),
        ("issuer: ''", "it is empty"),
        ("audience: []", "names nobody"),
        ("required_scopes: ['a b']", "is not a scope"),
        ("realm: 'a\"b'", "characters that a challenge cannot have"),
        ("header_names: []", "looked for nowhere"),
        ("consumer_optional: true", "no claim names a consumer"),
        ("claims_to_headers: {sub: x-consumer-id}", "means something else"),
        ("private_key_id: k", "nothing is signed"),
        ("assertion_audience: a", "nothing is signed"),
        ("jwt_tokens: refuse", "jwt_tokens"),
    ] {
        let error = told(&format!("{{{FIELDS}, {field}}}"));
        assert!(error.contains(words), "{field}: {error}");
    }
}

#[test]
fn keys_are_looked_at_and_not_shown() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.pem");
    let with = |text: &str, more: &str| {
        std::fs::write(&file, text).unwrap();
        let fields = format!(
            "{{introspection_endpoint: '{URL}', client_id: gw, private_key: '{}'{more}}}",
            file.display()
        );
        Kit::of(DESCRIPTOR).build(&fields).map(drop)
    };
    with(&pair.serialize_pem(), "").unwrap();
    for (text, more, words) in [
        (pair.serialize_pem(), ", private_key_algorithm: RS256", "cannot sign with RS256"),
        (pair.serialize_pem(), ", private_key_algorithm: ES384", "cannot sign with ES384"),
        (pair.public_key_pem(), "", "is not a `PRIVATE KEY`"),
        (pair.serialize_pem().repeat(2), "", "more than one block"),
        ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n".to_owned(), "", "neither RSA"),
        ("x".repeat(100_000), "", "it is not PEM"),
        (String::new(), "", "it is not PEM"),
    ] {
        let error = with(&text, more).unwrap_err();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("c2VjcmV0"), "{error}");
    }
    let config: crate::oauth2_introspection::Config = serde_json::from_value(json!({
        "introspection_endpoint": URL, "client_secret": "hunter2", "private_key": "hunter2",
        "authorization_value": "hunter2",
    }))
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
