//! What the claims of a token must be: one reading of them, whoever answers for them.

use super::refusal::Refusal;
use serde_json::Value;
use std::collections::BTreeMap;

/// The last second of the year 9999: a time after it is a mistake, such as one in milliseconds.
pub(crate) const MAX_TIME: i64 = 253_402_300_799;

/// A token's claims, by name.
pub(crate) type Claims = BTreeMap<String, Value>;

/// What is asked of them. All times are in seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct ClaimChecks {
    pub(crate) issuer: Option<String>,
    /// One of these.
    pub(crate) audience: Vec<String>,
    pub(crate) leeway: i64,
    pub(crate) require_expiration: bool,
    pub(crate) maximum_lifetime: Option<i64>,
    pub(crate) required_claims: Vec<String>,
    /// All of these.
    pub(crate) required_scopes: Vec<String>,
}

impl ClaimChecks {
    /// The registered claims (RFC 7519 §4.1), and what the configuration asks for. When they end, in seconds since
    /// 1970; the leeway is in it.
    pub(crate) fn check(&self, claims: &Claims, now: i64) -> Result<Option<i64>, Refusal> {
        let leeway = self.leeway;
        let expires = time(claims, "exp")?;
        let (from, issued) = (time(claims, "nbf")?, time(claims, "iat")?);
        match expires {
            None if self.require_expiration => return Err(Refusal::ClaimMissing("`exp` is missing")),
            Some(expires) if now >= expires + leeway => return Err(Refusal::Expired),
            _ => {}
        }
        if from.is_some_and(|from| from > now + leeway) {
            return Err(Refusal::NotYetValid("`nbf` is to come"));
        }
        if issued.is_some_and(|issued| issued > now + leeway) {
            return Err(Refusal::NotYetValid("`iat` is to come"));
        }
        if let Some(most) = self.maximum_lifetime {
            let Some(expires) = expires else { return Err(Refusal::ClaimMissing("`exp` is missing")) };
            if expires - issued.unwrap_or(now) > most {
                return Err(Refusal::Lifetime);
            }
        }
        self.identify(claims)?;
        if self.required_claims.iter().any(|name| claims.get(name).is_none_or(Value::is_null)) {
            return Err(Refusal::ClaimMissing("a claim of `required_claims` is missing"));
        }
        Ok(expires.map(|expires| expires + leeway))
    }

    /// Whether the token has the scopes. Apart from the rest: the token is good, and not good enough.
    pub(crate) fn scopes(&self, claims: &Claims) -> Result<(), Refusal> {
        let has = |asked: &String| match claims.get("scope") {
            Some(Value::String(text)) => text.split(' ').any(|word| word == asked),
            Some(Value::Array(list)) => list.iter().any(|word| word.as_str() == Some(asked)),
            _ => false,
        };
        if self.required_scopes.iter().all(has) { Ok(()) } else { Err(Refusal::Scope) }
    }

    /// Who made it, and for whom.
    fn identify(&self, claims: &Claims) -> Result<(), Refusal> {
        for name in ["iss", "sub", "jti"] {
            if !matches!(claims.get(name), None | Some(Value::String(_))) {
                return Err(Refusal::ClaimInvalid("`iss`, `sub` or `jti` is not a string"));
            }
        }
        if let Some(issuer) = &self.issuer {
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
        if !self.audience.is_empty() {
            if !claims.contains_key("aud") {
                return Err(Refusal::ClaimMissing("`aud` is missing"));
            }
            if !audience.iter().any(|one| self.audience.iter().any(|ours| ours == one)) {
                return Err(Refusal::Audience);
            }
        }
        Ok(())
    }
}

/// A time (RFC 7519 §2, NumericDate): whole seconds since 1970. Fractions are refused with everything else that two
/// readers may read in two ways.
pub(crate) fn time(claims: &Claims, name: &str) -> Result<Option<i64>, Refusal> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let time = value.as_i64().filter(|time| (0..=MAX_TIME).contains(time));
    time.map(Some).ok_or(Refusal::ClaimInvalid("a time is not a whole number of seconds since 1970"))
}
