//! What an operator writes.

use super::bound::Binding;
use jsonwebtoken::Algorithm;
use palisade_contract::{ConfigError, Secret, conf::units::HumanDuration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Identifies callers by signed tokens (JWT, RFC 7519). The keys come from exactly one of `secret`, `public_key`, `jwks`
/// and `issuer` alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// A shared secret of at least 32 bytes, for HS256, HS384 and HS512; bytes are written `base64:…`.
    pub(super) secret: Option<Secret>,
    /// A public key or certificate in PEM, or the file that it stands in.
    pub(super) public_key: Option<String>,
    /// A JWK Set: a file, or an `https` address that it is fetched from (`http` on this machine alone).
    pub(super) jwks: Option<String>,
    /// Who makes the tokens: their `iss`. Without `secret`, `public_key` and `jwks` the keys are found through the
    /// issuer's metadata, at `/.well-known/openid-configuration` below it.
    pub(super) issuer: Option<String>,
    /// Who the tokens are for: one of these must be in their `aud`. Write it wherever the issuer makes tokens for
    /// others too.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub(super) audience: Vec<String>,
    /// How tokens may be signed; the key's type must allow it as well. By default HS256 with `secret`, and everything
    /// that is signed with a private key otherwise.
    pub(super) algorithms: Option<Vec<Signing>>,
    /// A PEM file of the authorities that may have signed the certificate of the address that keys are fetched from;
    /// by default the system's.
    pub(super) ca: Option<String>,
    /// Between two fetches of the keys.
    pub(super) refresh_interval: HumanDuration,
    /// Between two fetches of the keys at least, also where a token names a key that nobody knows.
    pub(super) refetch_interval: HumanDuration,
    /// For one call to the issuer.
    pub(super) fetch_timeout: HumanDuration,
    /// How much the issuer's clock and ours may differ, in whole seconds; a minute at most.
    pub(super) leeway: HumanDuration,
    /// Refuse tokens without `exp`.
    pub(super) require_expiration: bool,
    /// What is asked of tokens that are bound to a client's certificate (`cnf` with `x5t#S256`, RFC 8705).
    pub(super) certificate_binding: Binding,
    /// The longest that a token may be good for, in whole seconds.
    pub(super) maximum_lifetime: Option<HumanDuration>,
    /// Claims that a token must have; `acl` looks at what they say.
    pub(super) required_claims: Vec<String>,
    /// The `typ` that a token's header must have, such as `at+jwt` (RFC 9068); by default any.
    pub(super) typ: Option<String>,
    /// Headers that hold the token: after `Bearer`, or in headers other than `authorization` alone.
    pub(super) header_names: Vec<String>,
    /// Cookies that hold the token. A page of another origin can make a browser send them.
    pub(super) cookie_names: Vec<String>,
    /// Query parameters that hold the token. Tokens in URLs end up in logs and histories.
    pub(super) query_names: Vec<String>,
    /// Remove the token before the request goes to the origin.
    pub(super) hide_credentials: bool,
    /// Claims that the origin is told, and the header for each: `sub: x-user-id`.
    pub(super) claims_to_headers: BTreeMap<String, String>,
    /// The claim that names the consumer: by a `key` that a consumer has under `jwt`, else by the consumer's name.
    pub(super) consumer_claim: Option<String>,
    /// With `consumer_claim`: let tokens pass that belong to no consumer.
    pub(super) consumer_optional: bool,
    /// How many verified tokens are remembered; 0 for none.
    pub(super) cache_size: usize,
    /// What the challenge of a 401 says.
    pub(super) realm: String,
}

/// How a token may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "the names of RFC 7518")]
pub enum Signing {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What a consumer is known by in tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtCredential {
    /// What the claim named by `consumer_claim` says.
    pub(super) key: String,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = |seconds| HumanDuration(Duration::from_secs(seconds));
        Config {
            secret: None,
            public_key: None,
            jwks: None,
            issuer: None,
            audience: Vec::new(),
            algorithms: None,
            ca: None,
            refresh_interval: seconds(600),
            refetch_interval: seconds(10),
            fetch_timeout: seconds(5),
            leeway: seconds(0),
            require_expiration: true,
            certificate_binding: Binding::WhereBound,
            maximum_lifetime: None,
            required_claims: Vec::new(),
            typ: None,
            header_names: vec!["authorization".to_owned()],
            cookie_names: Vec::new(),
            query_names: Vec::new(),
            hide_credentials: false,
            claims_to_headers: BTreeMap::new(),
            consumer_claim: None,
            consumer_optional: false,
            cache_size: 4096,
            realm: "palisade".to_owned(),
        }
    }
}

/// One, or a list.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list = match OneOrMore::deserialize(deserializer) {
        Ok(OneOrMore::One(one)) => vec![one],
        Ok(OneOrMore::More(list)) => list,
        Err(_) => return Err(serde::de::Error::custom("it is neither a name nor a list of names")),
    };
    if list.is_empty() || list.iter().any(String::is_empty) {
        let message = "it names nobody; help: write a name, or remove it";
        return Err(serde::de::Error::custom(message));
    }
    Ok(list)
}

/// What a token's claims must be.
pub(super) struct Checks {
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) issuer: Option<String>,
    pub(super) audience: Vec<String>,
    pub(super) leeway: i64,
    pub(super) require_expiration: bool,
    pub(super) maximum_lifetime: Option<i64>,
    pub(super) required_claims: Vec<String>,
    /// Lower case, without `application/`.
    pub(super) typ: Option<String>,
}

impl Checks {
    pub(super) fn new(config: &Config, errors: &mut Vec<ConfigError>) -> Self {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 4);
        if config.leeway.0 > Duration::from_secs(60) {
            errors.push(
                ConfigError::at("leeway", "the clocks differ by more than a minute")
                    .help("write `60s` at most, and set the clocks by NTP"),
            );
        }
        if config.maximum_lifetime.is_some_and(|most| most.0 < Duration::from_secs(1)) {
            errors.push(
                ConfigError::at("maximum_lifetime", "no token lives that short").help("write `1s` at least"),
            );
        }
        let times = [("leeway", Some(config.leeway)), ("maximum_lifetime", config.maximum_lifetime)];
        for (field, time) in times.into_iter().filter_map(|(field, time)| Some((field, time?.0))) {
            if time.subsec_nanos() != 0 {
                let seconds = time.as_secs() + 1;
                errors.push(
                    ConfigError::at(field, "the times of tokens are whole seconds")
                        .help(format!("write `{seconds}s`")),
                );
            }
        }
        if config.issuer.as_deref() == Some("") {
            errors.push(ConfigError::at("issuer", "it is empty").help("write the `iss` of the tokens"));
        }
        Checks {
            algorithms: config.signings(errors).into_iter().map(Algorithm::from).collect(),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            leeway: seconds(config.leeway.0),
            require_expiration: config.require_expiration,
            maximum_lifetime: config.maximum_lifetime.map(|most| seconds(most.0)),
            required_claims: config.required_claims.clone(),
            typ: config.typ.as_deref().map(media_type),
        }
    }
}

/// A `typ` as it is compared (RFC 7515 §4.1.9).
pub(super) fn media_type(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").map_or(typ.clone(), str::to_owned)
}

impl Config {
    /// How tokens may be signed. Secrets and public keys never mix: a public key taken for a secret is known to all.
    fn signings(&self, errors: &mut Vec<ConfigError>) -> Vec<Signing> {
        use Signing::*;
        let Some(written) = &self.algorithms else {
            return if self.secret.is_some() {
                vec![HS256]
            } else {
                vec![RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
            };
        };
        let secret = written.iter().filter(|signing| matches!(signing, HS256 | HS384 | HS512)).count();
        if written.is_empty() {
            errors.push(
                ConfigError::at("algorithms", "the list is empty")
                    .help("write `algorithms: [ES256]`, or remove `algorithms`"),
            );
        } else if secret > 0 && secret < written.len() {
            errors.push(
                ConfigError::at("algorithms", "signatures by a secret and by private keys do not mix")
                    .help("write two entries, `jwt#a` and `jwt#b`, with keys of their own"),
            );
        }
        written.clone()
    }
}

impl From<Signing> for Algorithm {
    fn from(signing: Signing) -> Self {
        match signing {
            Signing::HS256 => Algorithm::HS256,
            Signing::HS384 => Algorithm::HS384,
            Signing::HS512 => Algorithm::HS512,
            Signing::RS256 => Algorithm::RS256,
            Signing::RS384 => Algorithm::RS384,
            Signing::RS512 => Algorithm::RS512,
            Signing::PS256 => Algorithm::PS256,
            Signing::PS384 => Algorithm::PS384,
            Signing::PS512 => Algorithm::PS512,
            Signing::ES256 => Algorithm::ES256,
            Signing::ES384 => Algorithm::ES384,
            Signing::EdDSA => Algorithm::EdDSA,
        }
    }
}
