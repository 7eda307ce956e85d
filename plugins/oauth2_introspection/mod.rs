//! `oauth2-introspection`: bearer tokens that their issuer is asked about (RFC 7662).
//!
//! | File | What is in it |
//! |---|---|
//! | `config` | what an operator writes |
//! | `endpoint`, `assertion` | who is asked, and how the gateway proves who it is |
//! | `answer` | what is an answer, and what is none |
//! | `known` | what was answered, and the calls that are under way |
//! | `breaker` | when an endpoint counts as gone |
//!
//! Where a token stands, what its claims must be and whom they name is in `crate::tokens`, as for `jwt`.

mod answer;
mod assertion;
mod breaker;
mod config;
mod endpoint;
mod known;
#[cfg(test)]
mod tests;

pub use config::Config;

use crate::tokens::{
    MAX_TOKEN, bound,
    bound::Binding,
    cache::Cache,
    challenge::Challenges,
    identity::{self, Mapping},
    millis,
    places::{self, Places},
    refusal::Refusal,
    shape::is_opaque,
};
use config::Jwts;
use endpoint::Endpoint;
use http::{HeaderName, HeaderValue};
use known::{Asker, Call, Failed, Known, Times};
use palisade_contract::{
    Authentication, Authenticator, BuildEnv, ConfigError, ConfigErrors, CredentialPlace, Exchange, Fault,
    Hooks, Plugin, PluginKind, Presented, Stage, Step,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The plugin.
pub struct Oauth2Introspection {
    places: Places,
    jwts: Jwts,
    binding: Binding,
    challenges: Challenges,
    asker: Arc<Asker>,
}

/// What came of a token.
enum Judged {
    Missing,
    /// It is a JWT, and left to others.
    Jwt,
    Known(Arc<Known>),
    Refused(Refusal),
    /// A call tells.
    Asking(Call),
    Failed(Failed),
}

impl PluginKind for Oauth2Introspection {
    const NAME: &'static str = "oauth2-introspection";
    const SUMMARY: &'static str = "Identifies callers by bearer tokens that their issuer is asked about.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authenticate
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let written = places::Written {
            header_names: &config.header_names,
            cookie_names: &config.cookie_names,
            query_names: &config.query_names,
            hide_credentials: config.hide_credentials,
        };
        let places = Places::new(&written, &mut errors);
        config.check_bounds(&mut errors);
        let checks = config.checks(&mut errors);
        let written = identity::Written {
            claims_to_headers: &config.claims_to_headers,
            consumer_claim: config.consumer_claim.as_ref(),
            consumer_optional: config.consumer_optional,
        };
        let mapping = Mapping::new(&written, env, &mut errors);
        let challenges = Challenges::new(&config.realm, &config.required_scopes, &mut errors);
        let endpoint = Endpoint::new(&config, env, &mut errors);
        let caches = (Cache::new(config.cache_size), Cache::new(config.cache_size));
        let (Some(endpoint), (Some(good), Some(refused))) = (endpoint, caches) else {
            if errors.is_empty() {
                errors.push(ConfigError::new("the system has no randomness"));
            }
            return Err(errors.into());
        };
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let span = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4);
        let asker = Asker {
            endpoint,
            host: env.host.clone(),
            checks,
            mapping,
            times: Times {
                ttl: span(config.ttl.0),
                negative_ttl: span(config.negative_ttl.0),
                timeout: config.timeout.0,
            },
            good,
            refused,
            most: config.max_calls,
            turns: Semaphore::new(config.max_calls),
            flights: Default::default(),
            breaker: Default::default(),
            asked: env.counter("asked"),
            failed: env.counter("failed"),
            busy: env.counter("busy"),
        };
        Ok(Oauth2Introspection {
            places,
            jwts: config.jwt_tokens,
            binding: config.certificate_binding,
            challenges,
            asker: Arc::new(asker),
        })
    }
}

impl Oauth2Introspection {
    fn judge(&self, ex: &Exchange) -> Judged {
        let token = match self.places.find(ex) {
            Err(refusal) => return Judged::Refused(refusal),
            Ok(None) => return Judged::Missing,
            Ok(Some(token)) => token,
        };
        if token.len() > MAX_TOKEN {
            return Judged::Refused(Refusal::Malformed("the token is too long"));
        }
        if self.jwts == Jwts::Pass && !is_opaque(&token) {
            return Judged::Jwt;
        }
        // RFC 6749 appendix A.12: nobody is asked about what no issuer makes.
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Judged::Refused(Refusal::Malformed("the token is not visible ASCII"));
        }
        let (id, now) = (self.asker.good.id(&token), millis(ex.started()));
        if let Some(known) = self.asker.known(&id, now) {
            return Judged::Known(known);
        }
        match self.asker.call(id, &token, ex.client().ip, now) {
            Ok(call) => Judged::Asking(call),
            Err(failed) => Judged::Failed(failed),
        }
    }

    fn conclude(&self, ex: &mut Exchange, judged: &Judged) -> Result<Authentication, Fault> {
        // What is left to others is theirs to take away.
        if !matches!(judged, Judged::Jwt) {
            self.places.hide(ex);
        }
        match judged {
            Judged::Missing => Ok(Authentication::NoCredential),
            Judged::Jwt => Ok(Authentication::NotMine),
            Judged::Known(known) => Ok(self.identified(ex, known)),
            Judged::Refused(refusal) => Ok(Authentication::Rejected(self.challenges.denial(*refusal))),
            // Whether the token is good cannot be known: that is not the client's fault.
            Judged::Failed(Failed::Busy) => Err(Fault::unavailable("introspection_busy")),
            Judged::Failed(Failed::Unavailable(why)) => {
                Err(Fault::unavailable("introspection_unavailable").source(&**why))
            }
            Judged::Asking(_) => Err(Fault::internal("introspection_unfinished")),
        }
    }

    fn identified(&self, ex: &mut Exchange, known: &Known) -> Authentication {
        let judged = known.outcome.as_ref().map_err(|refusal| *refusal).and_then(|identity| {
            // Asked of each request: a connection with another certificate may send a token that is known.
            bound::check(self.binding, identity.bound.as_ref(), ex).map(|()| identity)
        });
        match judged {
            Ok(identity) => {
                ex.to_origin().set_headers.extend(identity.headers.iter().cloned());
                Authentication::Authenticated(identity.principal.clone())
            }
            Err(refusal) => Authentication::Rejected(self.challenges.denial(refusal)),
        }
    }

    async fn wait(&self, ex: &mut Exchange, call: Call) -> Result<Authentication, Fault> {
        let judged = match call.await {
            Ok(known) => Judged::Known(known),
            Err(failed) => Judged::Failed(failed),
        };
        self.conclude(ex, &judged)
    }
}

impl Plugin for Oauth2Introspection {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn writes_to_origin(&self) -> Vec<HeaderName> {
        self.asker.mapping.header_names()
    }
}

impl Authenticator for Oauth2Introspection {
    fn authenticate<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a, Authentication> {
        match self.judge(ex) {
            Judged::Asking(call) => Step::later(self.wait(ex, call)),
            judged => Step::Now(self.conclude(ex, &judged)),
        }
    }

    fn credential_places(&self) -> Vec<CredentialPlace> {
        self.places.all()
    }

    fn presented(&self, ex: &Exchange) -> Option<Presented> {
        self.places.presented(ex)
    }

    fn challenge(&self) -> HeaderValue {
        self.challenges.missing.clone()
    }
}
