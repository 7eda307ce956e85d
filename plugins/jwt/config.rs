//! What an operator writes.

use super::denylist;
use crate::tokens::{
    bound::Binding,
    claims::ClaimChecks,
    config::{OneOrMore, leeway, maximum_lifetime, one_or_more},
};
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
    /// Several issuers, each with its own keys, in the place of the fields above and of `ca`: the `iss` of a token
    /// chooses exactly one of them, and nothing is tried with the keys of another.
    pub(super) issuers: Option<Vec<Issuer>>,
    /// What becomes of bearer tokens that are no JWT: `refuse` by default. With `pass` they are left to another authenticator
    /// of the route, such as `oauth2-introspection`; where none takes one, it is refused all the same, also with `anonymous`.
    /// Whatever could be read as a JWT is never left to another one.
    pub(super) opaque_tokens: Opaque,
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
    /// Tokens that are denied although they are good.
    pub(super) denylist: Option<denylist::Config>,
    /// Scopes that a token must have, all of them: without one it is refused with 403 `insufficient_scope`.
    pub(super) required_scopes: Vec<String>,
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

/// What becomes of a token that is no JWT, by its form alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Opaque {
    /// It is refused.
    Refuse,
    /// It is left to another authenticator of the route.
    Pass,
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
            issuers: None,
            opaque_tokens: Opaque::Refuse,
            ca: None,
            refresh_interval: seconds(600),
            refetch_interval: seconds(10),
            fetch_timeout: seconds(5),
            leeway: seconds(0),
            require_expiration: true,
            certificate_binding: Binding::WhereBound,
            maximum_lifetime: None,
            required_claims: Vec::new(),
            denylist: None,
            required_scopes: Vec::new(),
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

/// One issuer of several: its keys, and what its tokens must be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Issuer {
    /// Who makes the tokens: their `iss`, which chooses among the issuers. Without `secret`, `public_key` and `jwks` the
    /// keys are found through its metadata.
    issuer: Option<String>,
    /// A shared secret of at least 32 bytes.
    secret: Option<Secret>,
    /// A public key or certificate in PEM, or the file that it stands in.
    public_key: Option<String>,
    /// A JWK Set: a file, or an `https` address.
    jwks: Option<String>,
    /// Who this issuer's tokens are for.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    audience: Vec<String>,
    /// How this issuer's tokens may be signed.
    algorithms: Option<Vec<Signing>>,
    /// The authorities that may have signed the certificate of the address that its keys are fetched from.
    ca: Option<String>,
    /// Claims that this issuer's tokens must have, besides those that all must have.
    required_claims: Vec<String>,
}

/// An issuer as it is written, at the top of the entry or as one of several.
pub(super) struct Written<'c> {
    pub(super) issuer: Option<&'c String>,
    pub(super) secret: Option<&'c Secret>,
    pub(super) public_key: Option<&'c String>,
    pub(super) jwks: Option<&'c String>,
    pub(super) audience: &'c [String],
    pub(super) algorithms: Option<&'c [Signing]>,
    pub(super) ca: Option<&'c String>,
    required_claims: &'c [String],
}

impl Config {
    /// The issuer that the entry itself is.
    pub(super) fn alone(&self) -> Written<'_> {
        Written {
            issuer: self.issuer.as_ref(),
            secret: self.secret.as_ref(),
            public_key: self.public_key.as_ref(),
            jwks: self.jwks.as_ref(),
            audience: &self.audience,
            algorithms: self.algorithms.as_deref(),
            ca: self.ca.as_ref(),
            required_claims: &[],
        }
    }

    /// Several issuers, each by its name; what is wrong with the list as such is in `errors`.
    pub(super) fn several(&self, errors: &mut Vec<ConfigError>) -> Vec<(&str, Written<'_>)> {
        let alone = self.alone();
        for (field, is_there) in [
            ("issuer", alone.issuer.is_some()),
            ("secret", alone.secret.is_some()),
            ("public_key", alone.public_key.is_some()),
            ("jwks", alone.jwks.is_some()),
            ("audience", !alone.audience.is_empty()),
            ("algorithms", alone.algorithms.is_some()),
            ("ca", alone.ca.is_some()),
        ] {
            if is_there {
                let error = ConfigError::at(field, "beside `issuers` it would belong to none of them");
                errors.push(error.help("write it for each issuer, in `issuers`"));
            }
        }
        let mut all: Vec<(&str, Written<'_>)> = Vec::new();
        for (index, one) in self.issuers.iter().flatten().enumerate() {
            let name = one.issuer.as_deref().unwrap_or_default();
            let wrong = if name.is_empty() {
                Some("it has no name")
            } else if all.iter().any(|(other, _)| *other == name) {
                Some("it is there already")
            } else {
                None
            };
            if let Some(message) = wrong {
                let error = ConfigError::at(format!("issuers[{index}].issuer"), message);
                errors.push(error.help("the `iss` of a token chooses one issuer: give each its own"));
            }
            all.push((name, one.written()));
        }
        if all.is_empty() {
            let error = ConfigError::at("issuers", "the list is empty");
            errors.push(error.help("write `issuers: [{issuer: https://login.example.com}]`"));
        }
        all
    }
}

impl Issuer {
    fn written(&self) -> Written<'_> {
        Written {
            issuer: self.issuer.as_ref(),
            secret: self.secret.as_ref(),
            public_key: self.public_key.as_ref(),
            jwks: self.jwks.as_ref(),
            audience: &self.audience,
            algorithms: self.algorithms.as_deref(),
            ca: self.ca.as_ref(),
            required_claims: &self.required_claims,
        }
    }
}

/// What a token must be.
pub(super) struct Checks {
    pub(super) algorithms: Vec<Algorithm>,
    /// Lower case, without `application/`.
    pub(super) typ: Option<String>,
    pub(super) claims: ClaimChecks,
}

impl Checks {
    pub(super) fn new(
        one: &Written<'_>,
        common: &ClaimChecks,
        typ: Option<&str>,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        if one.issuer.is_some_and(String::is_empty) {
            errors.push(ConfigError::at("issuer", "it is empty").help("write the `iss` of the tokens"));
        }
        let mut claims =
            ClaimChecks { issuer: one.issuer.cloned(), audience: one.audience.to_vec(), ..common.clone() };
        claims.required_claims.extend(one.required_claims.iter().cloned());
        Checks {
            algorithms: one.signings(errors).into_iter().map(Algorithm::from).collect(),
            typ: typ.map(media_type),
            claims,
        }
    }
}

impl Config {
    /// What is asked of all tokens, whoever made them.
    pub(super) fn common(&self, errors: &mut Vec<ConfigError>) -> ClaimChecks {
        ClaimChecks {
            leeway: leeway(self.leeway.0, errors),
            require_expiration: self.require_expiration,
            maximum_lifetime: maximum_lifetime(self.maximum_lifetime.map(|most| most.0), errors),
            required_claims: self.required_claims.clone(),
            required_scopes: self.required_scopes.clone(),
            ..ClaimChecks::default()
        }
    }
}

/// A `typ` as it is compared (RFC 7515 §4.1.9).
pub(super) fn media_type(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").map_or(typ.clone(), str::to_owned)
}

impl Written<'_> {
    /// How tokens may be signed. Secrets and public keys never mix: a public key taken for a secret is known to all.
    fn signings(&self, errors: &mut Vec<ConfigError>) -> Vec<Signing> {
        use Signing::*;
        let Some(written) = self.algorithms else {
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
                    .help("write two issuers in `issuers`, with keys of their own"),
            );
        }
        written.to_vec()
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
