//! Tokens, signed with ES256.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PublicKeyData};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use serde_json::{Value, json};
use std::time::SystemTime;

/// A private key on P-256.
pub struct Signer(KeyPair);

impl Signer {
    pub fn new() -> Self {
        Signer(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap())
    }

    pub fn of_pem(pem: &str) -> Self {
        Signer(KeyPair::from_pem(pem).unwrap())
    }

    /// Seconds since 1970.
    pub fn now() -> u64 {
        SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()
    }

    /// The public half.
    pub fn jwk(&self, kid: &str) -> Value {
        let (x, y) = self.0.der_bytes()[1..].split_at(32);
        let part = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "x": part(x), "y": part(y), "kid": kid})
    }

    pub fn pem(&self) -> String {
        self.0.public_key_pem()
    }

    /// A token that is signed with ES256.
    pub fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(self.sign(&message)))
    }

    /// The 64 bytes of an ES256 signature.
    pub fn sign(&self, message: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.0.serialize_der(), &random)
                .unwrap();
        pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()
    }

    /// A token that is good for ten minutes.
    pub fn good(&self, kid: &str) -> String {
        self.token(kid, &json!({"iss": "i", "sub": "alice", "exp": Signer::now() + 600}))
    }
}
