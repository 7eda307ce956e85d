//! Signed tokens: `RANDOM.MAC`, both in base64url.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_contract::Secret;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use subtle::ConstantTimeEq;

const RANDOM: usize = 16;
/// Bytes of a secret: what the MAC is long.
const LEAST: usize = 32;

pub(super) struct Tokens {
    key: hmac::Key,
    random: SystemRandom,
}

impl Tokens {
    /// None where the secret is too short.
    pub(super) fn new(secret: &Secret) -> Option<Self> {
        let secret = secret.expose().as_bytes();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        (secret.len() >= LEAST).then(|| Tokens { key, random: SystemRandom::new() })
    }

    /// A token for whoever `owner` names; none where the system has no random numbers.
    pub(super) fn make(&self, owner: &str) -> Option<String> {
        let mut random = [0; RANDOM];
        self.random.fill(&mut random).ok()?;
        let mac = hmac::sign(&self.key, &signed(&random, owner));
        Some(format!("{}.{}", URL_SAFE_NO_PAD.encode(random), URL_SAFE_NO_PAD.encode(mac)))
    }

    /// True where we made it, for this owner.
    pub(super) fn is_ours(&self, token: &str, owner: &str) -> bool {
        let Some((random, mac)) = token.split_once('.') else { return false };
        let (Ok(random), Ok(mac)) = (URL_SAFE_NO_PAD.decode(random), URL_SAFE_NO_PAD.decode(mac)) else {
            return false;
        };
        random.len() == RANDOM && hmac::verify(&self.key, &signed(&random, owner), &mac).is_ok()
    }

    /// True where both are the same token of ours.
    pub(super) fn fit(&self, sent: &str, cookie: &str, owner: &str) -> bool {
        bool::from(sent.as_bytes().ct_eq(cookie.as_bytes())) && self.is_ours(cookie, owner)
    }
}

/// The random part has one length: what follows cannot be taken for a part of it.
fn signed(random: &[u8], owner: &str) -> Vec<u8> {
    [random, owner.as_bytes()].concat()
}
