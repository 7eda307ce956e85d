//! From a token to claims that are true: the one place where claims are made.

use super::{
    config::Checks,
    identity::Identity,
    json,
    key::Key,
    keyset::{Candidates, KeySet},
    refusal::Refusal,
    token::{Unverified, decode},
};
use jsonwebtoken::Algorithm;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// The last second of the year 9999: a time after it is a mistake, such as one in milliseconds.
const MAX_TIME: i64 = 253_402_300_799;

/// A token's claims, by name.
pub(super) type Claims = BTreeMap<String, Value>;

/// A token's second part. Nobody reads it but this module, which says no more of it than why it is refused before the
/// signature is verified.
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

    /// The key that it is signed with.
    pub(super) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    /// When it ends, in seconds since 1970; the leeway is in it.
    pub(super) fn expires(&self) -> Option<i64> {
        self.expires
    }
}

impl Verified<Claims> {
    /// Who its claims say is calling.
    pub(super) fn identified(self, who: impl FnOnce(Claims) -> Identity) -> Verified<Identity> {
        Verified { value: who(self.value), key: self.key, expires: self.expires }
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
    let expires = check(&value, checks, now)?;
    Ok(Verified { value, key, expires })
}

/// Why a token is refused whatever its key may be: nobody has to wait for keys, and none are fetched, for one that is
/// over, that was made for others, or that no key can have signed.
pub(super) fn is_hopeless(token: &Unverified<'_>, checks: &Checks, now: i64) -> Option<Refusal> {
    if !can_be_signature(token.algorithm, &token.signature) {
        return Some(Refusal::Signature);
    }
    token.payload.open().and_then(|claims| check(&claims, checks, now)).err()
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

/// The registered claims (RFC 7519 §4.1), and what the configuration asks for.
fn check(claims: &Claims, checks: &Checks, now: i64) -> Result<Option<i64>, Refusal> {
    let leeway = checks.leeway;
    let expires = time(claims, "exp")?;
    let (from, issued) = (time(claims, "nbf")?, time(claims, "iat")?);
    match expires {
        None if checks.require_expiration => return Err(Refusal::ClaimMissing("`exp` is missing")),
        Some(expires) if now >= expires + leeway => return Err(Refusal::Expired),
        _ => {}
    }
    if from.is_some_and(|from| from > now + leeway) {
        return Err(Refusal::NotYetValid("`nbf` is to come"));
    }
    if issued.is_some_and(|issued| issued > now + leeway) {
        return Err(Refusal::NotYetValid("`iat` is to come"));
    }
    if let Some(most) = checks.maximum_lifetime {
        let Some(expires) = expires else { return Err(Refusal::ClaimMissing("`exp` is missing")) };
        let begun = issued.unwrap_or(now);
        if expires - begun > most || expires - now > most + leeway {
            return Err(Refusal::Lifetime);
        }
    }
    identify(claims, checks)?;
    if checks.required_claims.iter().any(|name| claims.get(name).is_none_or(Value::is_null)) {
        return Err(Refusal::ClaimMissing("a claim of `required_claims` is missing"));
    }
    Ok(expires.map(|expires| expires + leeway))
}

/// Who made it, and for whom.
fn identify(claims: &Claims, checks: &Checks) -> Result<(), Refusal> {
    for name in ["iss", "sub", "jti"] {
        if !matches!(claims.get(name), None | Some(Value::String(_))) {
            return Err(Refusal::ClaimInvalid("`iss`, `sub` or `jti` is not a string"));
        }
    }
    if let Some(issuer) = &checks.issuer {
        match claims.get("iss") {
            None => return Err(Refusal::ClaimMissing("`iss` is missing")),
            Some(Value::String(found)) if found == issuer => {}
            Some(_) => return Err(Refusal::Issuer),
        }
    }
    let audience: Vec<&str> = match claims.get("aud") {
        None => Vec::new(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(all)) => all
            .iter()
            .map(|one| one.as_str().ok_or(Refusal::ClaimInvalid("`aud` is not a list of strings")))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(Refusal::ClaimInvalid("`aud` is neither a string nor a list")),
    };
    if !checks.audience.is_empty() {
        if !claims.contains_key("aud") {
            return Err(Refusal::ClaimMissing("`aud` is missing"));
        }
        if !audience.iter().any(|one| checks.audience.iter().any(|ours| ours == one)) {
            return Err(Refusal::Audience);
        }
    }
    Ok(())
}

/// A time (RFC 7519 §2, NumericDate): whole seconds since 1970. Fractions are refused with everything else that two
/// readers may read in two ways.
fn time(claims: &Claims, name: &str) -> Result<Option<i64>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let time = value.as_i64().filter(|time| (0..=MAX_TIME).contains(time));
    time.map(Some).ok_or(Refusal::ClaimInvalid("a time is not a whole number of seconds since 1970"))
}
