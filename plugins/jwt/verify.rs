//! From a token to claims that are true: the one place where claims are made.

use super::{
    config::Checks,
    json,
    key::Key,
    keyset::{Candidates, KeySet},
    token::{Unverified, decode},
};
use crate::tokens::{claims::Claims, identity::Identity, refusal::Refusal};
use jsonwebtoken::Algorithm;
use serde_json::Value;
use std::sync::Arc;

/// A token's second part. Nobody reads it but this module, which says no more of it than why it is refused before the
/// signature is verified, and whose keys are to verify it.
pub(super) struct Payload<'t>(&'t [u8]);

impl<'t> Payload<'t> {
    /// As it was sent.
    pub(super) fn sealed(part: &'t [u8]) -> Self {
        Payload(part)
    }

    fn open(&self) -> Result<Claims, Refusal> {
        let claims = json::object(&decode(self.0)?);
        Ok(claims.ok_or(Refusal::Malformed("the claims are not a JSON object"))?.into_iter().collect())
    }

    /// Who it says has made it: whose keys are tried, and no others. The claims that are verified have the same one,
    /// since nothing stands twice in them.
    pub(super) fn issuer(&self) -> Result<String, Refusal> {
        match self.open()?.remove("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(Refusal::ClaimInvalid("`iss`, `sub` or `jti` is not a string")),
            None => Err(Refusal::ClaimMissing("`iss` is missing")),
        }
    }
}

/// Something that was verified: only this module makes one. Of claims only an identity can be made, and nothing makes
/// claims.
pub(super) struct Verified<T> {
    value: T,
    key: Arc<Key>,
    expires: Option<i64>,
}

impl<T> Verified<T> {
    /// What was verified.
    pub(super) fn value(&self) -> &T {
        &self.value
    }

    /// True before its end, and before its key's.
    pub(super) fn holds(&self, now: i64) -> bool {
        self.expires.is_none_or(|expires| now < expires) && !self.key.is_withdrawn()
    }
}

impl Verified<Claims> {
    /// Who its claims say is calling.
    pub(super) fn identified(
        self,
        who: impl FnOnce(Claims) -> Result<Identity, Refusal>,
    ) -> Result<Verified<Identity>, Refusal> {
        Ok(Verified { value: who(self.value)?, key: self.key, expires: self.expires })
    }
}

/// Why there are no claims.
pub(super) enum Failure {
    /// The token is not good.
    Refused(Refusal),
    /// It names a key that the set does not have; a newer set might.
    UnknownKey,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

/// Verifies the signature, then the claims. `now` is in seconds since 1970.
pub(super) fn verify(
    token: &Unverified<'_>,
    keys: &KeySet,
    checks: &Checks,
    now: i64,
) -> Result<Verified<Claims>, Failure> {
    let candidates = match keys.candidates(token.kid.as_deref(), token.algorithm) {
        Candidates::Some(candidates) => candidates,
        Candidates::UnknownId => return Err(Failure::UnknownKey),
        Candidates::None => return Err(Refusal::Algorithm("no key allows the algorithm").into()),
    };
    let key = candidates
        .into_iter()
        .find(|key| key.verifies(token.algorithm, token.message, &token.signature))
        .ok_or(Refusal::Signature)?;
    let value = token.payload.open()?;
    let expires = checks.claims.check(&value, now)?;
    checks.claims.scopes(&value)?;
    Ok(Verified { value, key, expires })
}

/// Why a token is refused whatever its key may be: nobody has to wait for keys, and none are fetched, for one that is
/// over, that was made for others, or that no key can have signed.
pub(super) fn is_hopeless(token: &Unverified<'_>, checks: &Checks, now: i64) -> Option<Refusal> {
    if !can_be_signature(token.algorithm, &token.signature) {
        return Some(Refusal::Signature);
    }
    token.payload.open().and_then(|claims| checks.claims.check(&claims, now)).err()
}

/// True where bytes have the form of a signature by some key. Secrets are never waited for.
fn can_be_signature(algorithm: Algorithm, bytes: &[u8]) -> bool {
    let is_some = |half: &[u8]| half.iter().any(|byte| *byte != 0);
    let of_curve = |size: usize| {
        bytes.len() == 2 * size && bytes.split_at_checked(size).is_some_and(|(r, s)| is_some(r) && is_some(s))
    };
    match algorithm {
        Algorithm::ES256 => of_curve(32),
        Algorithm::ES384 => of_curve(48),
        Algorithm::EdDSA => bytes.len() == 64,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => !bytes.is_empty(),
        _ => (256..=1024).contains(&bytes.len()),
    }
}
