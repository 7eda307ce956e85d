//! `jwt`: signed tokens, by the keys of an issuer.
//!
//! | File | What is in it |
//! |---|---|
//! | `config` | what an operator writes, and what follows for tokens |
//! | `found` | where a token stands in a request |
//! | `token`, `json` | its parts, read strictly |
//! | `crypto`, `key`, `keyset` | signatures by ring, keys, and the sets that they come in |
//! | `keys`, `source`, `fetch` | which keys an entry has; those that are fetched, and how |
//! | `verify` | the one place where claims are made of tokens |
//! | `identity` | who they say is calling |
//! | `cache` | tokens that were verified before |

mod bound;
mod cache;
mod config;
mod crypto;
mod fetch;
mod found;
mod identity;
mod key;
mod keys;
mod keyset;
mod refusal;
mod source;
#[cfg(test)]
mod tests;
mod token;
mod verify;

pub use config::{Config, JwtCredential};

use crate::json;
use bound::Binding;
use cache::Cache;
use config::{Checks, media_type};
use found::Places;
use http::{HeaderName, HeaderValue, header::WWW_AUTHENTICATE};
use identity::{Identity, Mapping};
use keys::Keys;
use palisade_contract::{
    Authentication, Authenticator, BuildEnv, ConfigError, ConfigErrors, CredentialPlace, Denial, Exchange,
    Fault, Hooks, Plugin, PluginKind, Presented, Stage, Step,
};
use refusal::Refusal;
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use token::Unverified;
use verify::{Failure, Verified, is_hopeless, verify};

/// The plugin.
pub struct Jwt {
    places: Places,
    checks: Checks,
    keys: Keys,
    mapping: Mapping,
    binding: Binding,
    cache: Option<Cache<Identity>>,
    challenge: HeaderValue,
    invalid: HeaderValue,
}

/// What came of a token.
enum Judged {
    Missing,
    Good(Arc<Verified<Identity>>),
    Refused(Refusal),
    /// A fetch of keys may tell.
    Undecided,
    /// There are no keys.
    NoKeys,
}

impl PluginKind for Jwt {
    const NAME: &'static str = "jwt";
    const SUMMARY: &'static str = "Identifies callers by signed tokens (JWT) of an issuer.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authenticate
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let places = Places::new(&config, &mut errors);
        let checks = Checks::new(&config, &mut errors);
        let mapping = Mapping::new(&config, env, &mut errors);
        let fits = |byte: u8| (b' '..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
        if !config.realm.bytes().all(fits) {
            let error = ConfigError::at("realm", "the realm has characters that a challenge cannot have");
            errors.push(error.help("write letters, digits and spaces"));
        }
        let challenge = format!("Bearer realm=\"{}\"", config.realm);
        let invalid =
            format!("{challenge}, error=\"invalid_token\", error_description=\"the token is not valid\"");
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("Bearer"));
        // Last, and only where all else is right: keys that are fetched are fetched from here on.
        let keys = if errors.is_empty() {
            Keys::new(&config, &checks, env)
        } else {
            Keys::check(&config, &checks, env)
        };
        let keys = keys.map_err(|error| errors.push(error)).ok();
        match keys {
            Some(keys) if errors.is_empty() => Ok(Jwt {
                places,
                checks,
                keys,
                mapping,
                binding: config.certificate_binding,
                cache: Cache::new(config.cache_size),
                challenge: value(&challenge),
                invalid: value(&invalid),
            }),
            _ => Err(errors.into()),
        }
    }
}

impl Jwt {
    fn judge(&self, ex: &Exchange, may_wait: bool) -> Judged {
        let token = match self.places.find(ex) {
            Err(refusal) => return Judged::Refused(refusal),
            Ok(None) => return Judged::Missing,
            Ok(Some(token)) => token,
        };
        let now = seconds(ex.started());
        if token.len() > token::MAX_TOKEN {
            return Judged::Refused(Refusal::Malformed("the token is too long"));
        }
        let id = self.cache.as_ref().map(|cache| (cache, cache.id(&token)));
        if let Some(known) = id.as_ref().and_then(|(cache, id)| cache.get(id, now)) {
            return self.bound(ex, known);
        }
        match self.prove(&token, now, may_wait) {
            Ok(identity) => {
                let identity = Arc::new(identity);
                if let Some((cache, id)) = id {
                    cache.put(id, identity.clone());
                }
                self.bound(ex, identity)
            }
            Err(judged) => judged,
        }
    }

    /// Asked of each request: a connection with another certificate may send a token that is known.
    fn bound(&self, ex: &Exchange, identity: Arc<Verified<Identity>>) -> Judged {
        match bound::check(self.binding, identity.value().bound.as_ref(), ex) {
            Ok(()) => Judged::Good(identity),
            Err(refusal) => Judged::Refused(refusal),
        }
    }

    fn prove(&self, token: &[u8], now: i64, may_wait: bool) -> Result<Verified<Identity>, Judged> {
        let token = Unverified::read(token).map_err(Judged::Refused)?;
        if !self.checks.algorithms.contains(&token.algorithm) {
            return Err(Judged::Refused(Refusal::Algorithm("the algorithm is not among `algorithms`")));
        }
        if let Some(asked) = &self.checks.typ
            && token.typ.as_deref().map(media_type).as_ref() != Some(asked)
        {
            return Err(Judged::Refused(Refusal::Type));
        }
        let kid = token.kid.as_deref();
        let Some(keys) = self.keys.current() else {
            // Only of a token that might be good it is our fault that we do not know.
            if let Some(refusal) = is_hopeless(&token, &self.checks, now) {
                return Err(Judged::Refused(refusal));
            }
            return Err(if may_wait && self.keys.may_come(None) {
                Judged::Undecided
            } else {
                Judged::NoKeys
            });
        };
        let claims = verify(&token, &keys, &self.checks, now).map_err(|failure| match failure {
            Failure::Refused(refusal) => Judged::Refused(refusal),
            Failure::UnknownKey
                if may_wait
                    && is_hopeless(&token, &self.checks, now).is_none()
                    && self.keys.may_come(kid) =>
            {
                Judged::Undecided
            }
            Failure::UnknownKey => Judged::Refused(Refusal::KeyUnknown),
        })?;
        self.mapping.identify(claims).map_err(Judged::Refused)
    }

    fn conclude(&self, ex: &mut Exchange, judged: Judged) -> Result<Authentication, Fault> {
        self.places.hide(ex);
        match judged {
            Judged::Missing => Ok(Authentication::NoCredential),
            Judged::Good(verified) => {
                let identity = verified.value();
                ex.to_origin().set_headers.extend(identity.headers.iter().cloned());
                Ok(Authentication::Authenticated(identity.principal.clone()))
            }
            Judged::Refused(refusal) => {
                let (reason, detail) = refusal.told();
                let denial =
                    Denial::unauthorized(reason).message("The token is not valid here").detail(detail);
                let denial = denial.header(WWW_AUTHENTICATE, self.invalid.clone());
                Ok(Authentication::Rejected(if refusal.is_of_genuine() { denial.genuine() } else { denial }))
            }
            // Whether the token is good cannot be known: that is not the client's fault.
            Judged::Undecided | Judged::NoKeys => Err(Fault::unavailable("token_keys_unavailable")),
        }
    }

    /// Waits for keys, once.
    async fn wait(&self, ex: &mut Exchange) -> Result<Authentication, Fault> {
        let asked = self.keys.fetched().await;
        let judged = self.judge(ex, false);
        if asked
            && matches!(judged, Judged::Refused(Refusal::KeyUnknown))
            && let Ok(Some(token)) = self.places.find(ex)
            && let Ok(token) = Unverified::read(&token)
        {
            self.keys.remember_absent(&token);
        }
        self.conclude(ex, judged)
    }
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

impl Plugin for Jwt {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn writes_to_origin(&self) -> Vec<HeaderName> {
        self.mapping.header_names()
    }
}

impl Authenticator for Jwt {
    fn authenticate<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a, Authentication> {
        match self.judge(ex, true) {
            Judged::Undecided => Step::later(self.wait(ex)),
            judged => Step::Now(self.conclude(ex, judged)),
        }
    }

    fn credential_places(&self) -> Vec<CredentialPlace> {
        self.places.all()
    }

    fn presented(&self, ex: &Exchange) -> Option<Presented> {
        match self.places.find(ex) {
            Ok(token) => token.map(|token| Presented::credential(&token)),
            Err(_) => Presented::found_in(ex, &self.places.all()).or(Some(Presented::credential(b""))),
        }
    }

    fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }
}
