//! How the gateway proves to the issuer who it is.

use super::*;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use rcgen::{KeyPair, PublicKeyData};
use ring::signature::{self, UnparsedPublicKey};

const ENDPOINT: &str = "introspection_endpoint: https://login.example/introspect";

fn asked(fields: &str) -> Request<Bytes> {
    let issuer = Issuer::default();
    issuer.says("t/+=", good());
    let kit = Kit::of(DESCRIPTOR).host(issuer.host());
    let plugin = kit.build(&format!("{ENDPOINT}\n{fields}")).unwrap();
    send(&plugin, "t/+=").authenticated();
    let request = issuer.last();
    assert_eq!((request.method(), request.uri().to_string()), (&http::Method::POST, URL.to_owned()));
    assert_eq!(request.headers()[CONTENT_TYPE], "application/x-www-form-urlencoded");
    assert_eq!(request.headers()[ACCEPT], "application/json");
    assert_eq!(field(request.body(), "token").unwrap(), "t/+=");
    request
}

#[test]
fn by_a_secret() {
    let request = asked("client_id: 'g w'\nclient_secret: 'a:b%&ü'");
    // RFC 6749 §2.3.1: both are encoded as a form's fields are.
    let expected = format!("Basic {}", STANDARD.encode("g%20w:a%3Ab%25%26%C3%BC"));
    assert_eq!(request.headers()[AUTHORIZATION], expected.as_str());
    assert!(request.headers()[AUTHORIZATION].is_sensitive());
    assert_eq!(field(request.body(), "token_type_hint").unwrap(), "access_token");
    assert_eq!(field(request.body(), "client_id"), None);
    let request = asked(
        "client_id: 'g&w'\nclient_secret: 'a=b&c'\nintrospection_endpoint_auth_method: client_secret_post\n\
         token_type_hint: ''",
    );
    assert_eq!(request.headers().get(AUTHORIZATION), None);
    assert_eq!(field(request.body(), "client_id").unwrap(), "g&w");
    assert_eq!(field(request.body(), "client_secret").unwrap(), "a=b&c");
    assert_eq!(field(request.body(), "token_type_hint"), None);
}

#[test]
fn by_something_else_or_nothing() {
    let request = asked("authorization_value: Bearer gateway-token");
    assert_eq!(request.headers()[AUTHORIZATION], "Bearer gateway-token");
    assert!(request.headers()[AUTHORIZATION].is_sensitive());
    let request = asked("introspection_endpoint_auth_method: none");
    assert_eq!(request.headers().get(AUTHORIZATION), None);
    let request = asked("client_id: gw\ncertificate: c.pem\nkey: k.pem");
    assert_eq!(request.headers().get(AUTHORIZATION), None);
    assert_eq!(field(request.body(), "client_id").unwrap(), "gw");
}

/// Header, claims, what is signed, and the signature.
fn statement(request: &Request<Bytes>) -> (Value, Value, String, Vec<u8>) {
    let text = field(request.body(), "client_assertion").unwrap();
    let kind = field(request.body(), "client_assertion_type").unwrap();
    assert_eq!(kind, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let (message, signature) = text.rsplit_once('.').unwrap();
    let (header, claims) = message.split_once('.').unwrap();
    let json = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (json(header), json(claims), message.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

fn pem(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("  {line}\n")).collect();
    format!("client_id: gw\nprivate_key: |\n{lines}")
}

#[test]
fn by_a_private_key() {
    let p256 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let curves: [(&KeyPair, &str, &'static dyn signature::VerificationAlgorithm); 3] = [
        (&p256, "ES256", &signature::ECDSA_P256_SHA256_FIXED),
        (&p384, "ES384", &signature::ECDSA_P384_SHA384_FIXED),
        (&ed, "EdDSA", &signature::ED25519),
    ];
    for (pair, name, algorithm) in curves {
        let request = asked(&format!("{}private_key_id: k1\n", pem(&pair.serialize_pem())));
        let (header, claims, message, signed) = statement(&request);
        assert_eq!((header["alg"].as_str().unwrap(), header["kid"].as_str().unwrap()), (name, "k1"));
        UnparsedPublicKey::new(algorithm, pair.der_bytes()).verify(message.as_bytes(), &signed).unwrap();
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("gw"), &json!("gw"), &json!(URL))
        );
        let (from, until) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        assert!(until - from == 60 && claims["jti"].as_str().unwrap().len() > 30);
        assert_eq!(request.headers().get(AUTHORIZATION), None);
    }
    let rsa = pem(include_str!("../../jwt/tests/rsa.pem"));
    let public = include_str!("../../jwt/tests/rsa.pub.pem");
    let public = x509_parser::pem::parse_x509_pem(public.as_bytes()).unwrap().1.contents;
    // The key itself, without what names its type.
    let point = &public[24..];
    for (fields, name, algorithm) in [
        ("", "RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
        ("private_key_algorithm: PS256\n", "PS256", &signature::RSA_PSS_2048_8192_SHA256),
    ] {
        let (header, _, message, signed) =
            statement(&asked(&format!("{rsa}{fields}assertion_audience: https://login.example\n")));
        assert_eq!(header["alg"], name);
        UnparsedPublicKey::new(algorithm, point).verify(message.as_bytes(), &signed).unwrap();
    }
}

#[test]
fn each_call_has_a_statement_of_its_own() {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let fields = pem(&pair.serialize_pem());
    let id = |request: &Request<Bytes>| statement(request).1["jti"].clone();
    assert_ne!(id(&asked(&fields)), id(&asked(&fields)));
    let (_, claims, ..) = statement(&asked(&format!("{fields}issuer: https://login.example\n")));
    assert_eq!(claims["aud"], "https://login.example");
}
