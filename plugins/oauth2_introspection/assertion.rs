//! A statement by the gateway of who it is, signed with its private key (RFC 7523 §2.2).

use super::config::Signing;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
    },
};
use serde_json::json;
use std::time::SystemTime;
use x509_parser::pem::parse_x509_pem;

/// How long a statement is good for, in seconds: for one call.
const GOOD_FOR: i64 = 60;

/// Signs statements.
pub(super) struct Signer {
    key: Key,
    algorithm: Signing,
    kid: Option<String>,
    client: String,
    audience: String,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

impl Signer {
    /// What is wrong with a key says nothing of what it is.
    pub(super) fn new(
        pem: &str,
        algorithm: Option<Signing>,
        kid: Option<String>,
        client: String,
        audience: String,
    ) -> Result<Self, String> {
        let (key, own) = read(pem)?;
        let algorithm = match (algorithm, own) {
            (None, own) => own,
            (Some(Signing::PS256), Signing::RS256) => Signing::PS256,
            (Some(asked), own) if asked == own => own,
            (Some(asked), _) => return Err(format!("the key cannot sign with {asked:?}")),
        };
        Ok(Signer { key, algorithm, kid, client, audience })
    }

    /// A statement that is good from now on; none where the system has no randomness.
    pub(super) fn statement(&self) -> Option<String> {
        let now = crate::tokens::seconds(SystemTime::now());
        let mut header = json!({"alg": format!("{:?}", self.algorithm), "typ": "JWT"});
        if let (Some(kid), Some(header)) = (&self.kid, header.as_object_mut()) {
            header.insert("kid".to_owned(), kid.as_str().into());
        }
        let claims = json!({
            "iss": self.client,
            "sub": self.client,
            "aud": self.audience,
            "jti": uuid::Uuid::new_v4().to_string(),
            "iat": now,
            "exp": now + GOOD_FOR,
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.sign(message.as_bytes())?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding = if self.algorithm == Signing::PS256 {
                    pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature)
                } else {
                    pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                };
                padding.ok()?;
                Some(signature)
            }
            Key::Ec(pair) => pair.sign(&random, message).ok().map(|signature| signature.as_ref().to_vec()),
            Key::Ed(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// A key, and how it signs where nothing else is asked for.
fn read(pem: &str) -> Result<(Key, Signing), String> {
    let (rest, block) = parse_x509_pem(pem.as_bytes()).map_err(|_| "it is not PEM".to_owned())?;
    if block.label != "PRIVATE KEY" && block.label != "RSA PRIVATE KEY" {
        return Err("it is not a `PRIVATE KEY` (PKCS #8) without a passphrase".to_owned());
    }
    if parse_x509_pem(rest).is_ok() {
        return Err("it has more than one block of PEM".to_owned());
    }
    let der = &block.contents;
    if let Ok(pair) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
        return Ok((Key::Rsa(Box::new(pair)), Signing::RS256));
    }
    let random = SystemRandom::new();
    for (curve, signing) in [
        (&ECDSA_P256_SHA256_FIXED_SIGNING, Signing::ES256),
        (&ECDSA_P384_SHA384_FIXED_SIGNING, Signing::ES384),
    ] {
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(curve, der, &random) {
            return Ok((Key::Ec(Box::new(pair)), signing));
        }
    }
    match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
        Ok(pair) => Ok((Key::Ed(Box::new(pair)), Signing::EdDSA)),
        Err(_) => Err("it is neither RSA of 2048 bits or more nor on P-256, P-384 or Ed25519".to_owned()),
    }
}
