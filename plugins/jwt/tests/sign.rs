//! Tokens for tests, really signed.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::KeyPair;
use ring::{
    hmac,
    rand::SystemRandom,
    rsa,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair},
};
use serde_json::{Value, json};
use std::sync::LazyLock;

pub(super) const RSA_PUBLIC: &str = include_str!("rsa.pub.pem");
pub(super) const SECRET: &str = "0123456789-0123456789-0123456789-0123";

static RSA: LazyLock<rsa::KeyPair> = LazyLock::new(|| {
    let pem = pem_body(include_str!("rsa.pem"));
    rsa::KeyPair::from_pkcs8(&pem).unwrap()
});

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn pem_body(pem: &str) -> Vec<u8> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

/// A private key.
pub(super) enum Signer {
    Secret(String),
    P256(KeyPair),
    P384(KeyPair),
    Ed(KeyPair),
    Rsa,
}

impl Signer {
    pub(super) fn p256() -> Self {
        Signer::P256(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
    }

    pub(super) fn p384() -> Self {
        Signer::P384(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap())
    }

    pub(super) fn ed() -> Self {
        Signer::Ed(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap())
    }

    pub(super) fn secret() -> Self {
        Signer::Secret(SECRET.to_owned())
    }

    /// The public half.
    pub(super) fn pem(&self) -> String {
        match self {
            Signer::P256(pair) | Signer::P384(pair) | Signer::Ed(pair) => pair.public_key_pem(),
            Signer::Rsa => RSA_PUBLIC.to_owned(),
            Signer::Secret(_) => panic!("a secret has none"),
        }
    }

    /// The public half as a JWK.
    pub(super) fn jwk(&self, kid: &str) -> Value {
        let point = |curve: &str, pair: &KeyPair| {
            let raw = pair.public_key_raw();
            let (x, y) = raw[1..].split_at(raw.len() / 2);
            json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y), "kid": kid})
        };
        match self {
            Signer::P256(pair) => point("P-256", pair),
            Signer::P384(pair) => point("P-384", pair),
            Signer::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": b64(pair.public_key_raw()), "kid": kid})
            }
            Signer::Rsa => {
                let public = rsa::PublicKeyComponents::<Vec<u8>>::from(RSA.public());
                json!({"kty": "RSA", "n": b64(public.n), "e": b64(public.e), "kid": kid})
            }
            Signer::Secret(secret) => json!({"kty": "oct", "k": b64(secret), "kid": kid}),
        }
    }

    pub(super) fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let ecdsa = |kind, pair: &KeyPair| {
            let pair = EcdsaKeyPair::from_pkcs8(kind, &pair.serialize_der(), &random).unwrap();
            pair.sign(&random, message).unwrap().as_ref().to_vec()
        };
        match self {
            Signer::Secret(secret) => {
                let kind = match algorithm {
                    "HS384" => hmac::HMAC_SHA384,
                    "HS512" => hmac::HMAC_SHA512,
                    _ => hmac::HMAC_SHA256,
                };
                hmac::sign(&hmac::Key::new(kind, secret.as_bytes()), message).as_ref().to_vec()
            }
            Signer::P256(pair) => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, pair),
            Signer::P384(pair) => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, pair),
            Signer::Ed(pair) => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair.serialize_der()).unwrap();
                pair.sign(message).as_ref().to_vec()
            }
            Signer::Rsa => {
                let kind: &dyn signature::RsaEncoding = match algorithm {
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    "PS384" => &signature::RSA_PSS_SHA384,
                    "PS512" => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut out = vec![0; RSA.public().modulus_len()];
                RSA.sign(kind, &random, message, &mut out).unwrap();
                out
            }
        }
    }

    /// A token of header and claims as they are written.
    pub(super) fn raw(&self, header: &str, claims: &str) -> String {
        let header_value: Value = serde_json::from_str(header).unwrap_or_default();
        let message = format!("{}.{}", b64(header), b64(claims));
        let algorithm = header_value["alg"].as_str().unwrap_or_default();
        format!("{message}.{}", b64(self.sign(algorithm, message.as_bytes())))
    }

    pub(super) fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.raw(&json!({"alg": algorithm, "typ": "JWT"}).to_string(), &claims.to_string())
    }

    pub(super) fn token_of(&self, algorithm: &str, kid: &str, claims: &Value) -> String {
        self.raw(&json!({"alg": algorithm, "kid": kid}).to_string(), &claims.to_string())
    }
}
