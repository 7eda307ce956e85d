//! What an operator writes.

use crate::tokens::{
    bound::Binding,
    claims::ClaimChecks,
    config::{OneOrMore, leeway, maximum_lifetime, one_or_more},
};
use palisade_contract::{ConfigError, Secret, conf::HumanDuration};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// Identifies callers by bearer tokens that nobody but their issuer can read: it is asked about each (RFC 7662). What it
/// answers is remembered for `ttl`, and not beyond the token's `exp`: a token that is revoked passes for that long at most.
/// Requests with the same token share one call.
///
/// Where the issuer is down, slow or answers what makes no sense, requests with tokens that are not remembered are refused
/// with 503 `introspection_unavailable`, and with 503 `introspection_busy` where too many ask at once. Nobody waits longer
/// than `timeout`. After five calls without an answer the issuer is asked once in a second until it answers again. The events
/// `asked`, `failed` and `busy` count calls, those that came to nothing, and requests that found no place.
///
/// An answer is believed where it is exactly what the standard says: 200, a JSON object in which nothing stands twice, `active`
/// true or false, times in whole seconds, names as strings. Redirects are not followed. A token that the issuer calls a refresh
/// token, or of another type than `Bearer`, is refused.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where tokens are asked about: an `https` address (`http` on this machine alone). It must be written.
    pub(super) introspection_endpoint: String,
    /// Who the gateway is to the issuer.
    pub(super) client_id: Option<String>,
    /// Its secret there; best a reference, `${env:…}`.
    pub(super) client_secret: Option<Secret>,
    /// How the gateway proves who it is. By default what follows from the other fields: `client_secret_basic`,
    /// `private_key_jwt` or `tls_client_auth`.
    pub(super) introspection_endpoint_auth_method: Option<Method>,
    /// A private key in PEM (PKCS #8), or the file that it stands in, for `private_key_jwt` (RFC 7523).
    pub(super) private_key: Option<Secret>,
    /// The `kid` of that key, where the issuer knows several.
    pub(super) private_key_id: Option<String>,
    /// How it signs: by default RS256, ES256, ES384 or EdDSA, as the key is; PS256 for an RSA key where it is written.
    pub(super) private_key_algorithm: Option<Signing>,
    /// The `aud` of what it signs: by default `issuer`, else `introspection_endpoint`.
    pub(super) assertion_audience: Option<String>,
    /// A PEM file of the gateway's certificate, for `tls_client_auth` (RFC 8705) or beside another method.
    pub(super) certificate: Option<String>,
    /// A PEM file of that certificate's key.
    pub(super) key: Option<String>,
    /// A value for the `Authorization` header in the place of all these, such as a bearer token of the gateway's own.
    pub(super) authorization_value: Option<Secret>,
    /// A PEM file of the authorities that may have signed the endpoint's certificate; by default the system's.
    pub(super) ca: Option<String>,
    /// What the issuer is told to look for first; empty for nothing.
    pub(super) token_type_hint: String,
    /// How long a request waits for an answer at most.
    pub(super) timeout: HumanDuration,
    /// How long an answer is good for: revocation is seen after this time. `0s` asks about each request.
    pub(super) ttl: HumanDuration,
    /// How long a token that was refused is refused without asking again; a minute at most.
    pub(super) negative_ttl: HumanDuration,
    /// How many answers are remembered, of good tokens and of refused ones each.
    pub(super) cache_size: usize,
    /// How many calls are under way at a time. One address has a quarter of them at most.
    pub(super) max_calls: usize,
    /// What becomes of tokens that have the form of a JWT: `introspect` by default. With `pass` they are left to another
    /// authenticator of the route, such as `jwt`, and so is everything that has not the form of an opaque token; where none
    /// takes one, it is refused all the same, also with `anonymous`.
    pub(super) jwt_tokens: Jwts,
    /// The `iss` that an answer must have.
    pub(super) issuer: Option<String>,
    /// Who the tokens are for: one of these must be in the answer's `aud`. Write it wherever the issuer makes tokens for
    /// others too.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore")]
    pub(super) audience: Vec<String>,
    /// How much the issuer's clock and ours may differ, in whole seconds; a minute at most.
    pub(super) leeway: HumanDuration,
    /// Refuse tokens whose answer has no `exp`.
    pub(super) require_expiration: bool,
    /// What is asked of tokens that are bound to a client's certificate (`cnf` with `x5t#S256`, RFC 8705).
    pub(super) certificate_binding: Binding,
    /// The longest that a token may be good for, in whole seconds.
    pub(super) maximum_lifetime: Option<HumanDuration>,
    /// What an answer must say, whatever its value; `acl` looks at that. `token_type` keeps out refresh tokens of issuers
    /// that name the type of access tokens alone.
    pub(super) required_claims: Vec<String>,
    /// Scopes that a token must have, all of them: without one it is refused with 403 `insufficient_scope`.
    pub(super) required_scopes: Vec<String>,
    /// Headers that hold the token: after `Bearer`, or in headers other than `authorization` alone.
    pub(super) header_names: Vec<String>,
    /// Cookies that hold the token. A page of another origin can make a browser send them.
    pub(super) cookie_names: Vec<String>,
    /// Query parameters that hold the token. Tokens in URLs end up in logs and histories.
    pub(super) query_names: Vec<String>,
    /// Remove the token before the request goes to the origin.
    pub(super) hide_credentials: bool,
    /// What of an answer the origin is told, and the header for each: `sub: x-user-id`.
    pub(super) claims_to_headers: BTreeMap<String, String>,
    /// What of an answer names the consumer (`client_id`, `username`, `sub`): by a `key` that a consumer has under
    /// `oauth2-introspection`, else by the consumer's name.
    pub(super) consumer_claim: Option<String>,
    /// With `consumer_claim`: let tokens pass that belong to no consumer.
    pub(super) consumer_optional: bool,
    /// What the challenge of a 401 says.
    pub(super) realm: String,
}

/// How the gateway proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `client_id` and `client_secret` in `Authorization: Basic` (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// The same in the body.
    ClientSecretPost,
    /// A statement that is signed with `private_key` (RFC 7523), made anew for each call.
    PrivateKeyJwt,
    /// `certificate`, with `client_id` in the body (RFC 8705).
    TlsClientAuth,
    /// Not at all, or by `certificate` alone.
    None,
}

/// How a statement is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "the names of RFC 7518")]
pub enum Signing {
    RS256,
    PS256,
    ES256,
    ES384,
    EdDSA,
}

/// What becomes of a token that has the form of a JWT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Jwts {
    /// Its issuer is asked, as about any other.
    Introspect,
    /// It is left to another authenticator of the route.
    Pass,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = |seconds| HumanDuration(Duration::from_secs(seconds));
        Config {
            introspection_endpoint: String::new(),
            client_id: None,
            client_secret: None,
            introspection_endpoint_auth_method: None,
            private_key: None,
            private_key_id: None,
            private_key_algorithm: None,
            assertion_audience: None,
            certificate: None,
            key: None,
            authorization_value: None,
            ca: None,
            token_type_hint: "access_token".to_owned(),
            timeout: seconds(2),
            ttl: seconds(30),
            negative_ttl: seconds(5),
            cache_size: 10_000,
            max_calls: 100,
            jwt_tokens: Jwts::Introspect,
            issuer: None,
            audience: Vec::new(),
            leeway: seconds(0),
            require_expiration: false,
            certificate_binding: Binding::WhereBound,
            maximum_lifetime: None,
            required_claims: Vec::new(),
            required_scopes: Vec::new(),
            header_names: vec!["authorization".to_owned()],
            cookie_names: Vec::new(),
            query_names: Vec::new(),
            hide_credentials: false,
            claims_to_headers: BTreeMap::new(),
            consumer_claim: None,
            consumer_optional: false,
            realm: "palisade".to_owned(),
        }
    }
}

impl Config {
    /// What the claims of an answer must be.
    pub(super) fn checks(&self, errors: &mut Vec<ConfigError>) -> ClaimChecks {
        if self.issuer.as_deref() == Some("") {
            errors.push(ConfigError::at("issuer", "it is empty").help("write the `iss` of the answers"));
        }
        ClaimChecks {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            leeway: leeway(self.leeway.0, errors),
            require_expiration: self.require_expiration,
            maximum_lifetime: maximum_lifetime(self.maximum_lifetime.map(|most| most.0), errors),
            required_claims: self.required_claims.clone(),
            required_scopes: self.required_scopes.clone(),
        }
    }

    /// Times and numbers that make no sense.
    pub(super) fn check_bounds(&self, errors: &mut Vec<ConfigError>) {
        const MINUTE: Duration = Duration::from_secs(60);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let mut at = |field: &str, message: &str, help: &str| {
            errors.push(ConfigError::at(field, message).help(help));
        };
        if self.timeout.0.is_zero() || self.timeout.0 > MINUTE {
            at("timeout", "it is not between nothing and a minute", "write `2s`");
        }
        if self.ttl.0 > DAY {
            at("ttl", "a token that is revoked would pass for more than a day", "write `1d` at most");
        }
        if self.negative_ttl.0 > MINUTE {
            at("negative_ttl", "a new token could be refused for more than a minute", "write `60s` at most");
        }
        if !(1..=10_000_000).contains(&self.cache_size) {
            at("cache_size", "it is not between one and ten million", "write `ttl: 0s` to remember nothing");
        }
        if !(1..=10_000).contains(&self.max_calls) {
            at("max_calls", "it is not between one and ten thousand", "write `max_calls: 100`");
        }
    }
}
