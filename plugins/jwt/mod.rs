//! `jwt`: signed tokens, by the keys of an issuer.
//!
//! | File | What is in it |
//! |---|---|
//! | `config` | what an operator writes, and what follows for tokens |
//! | `token`, `json` | a token's parts, read strictly |
//! | `crypto`, `key`, `keyset` | signatures by ring, keys, and the sets that they come in |
//! | `keys`, `source`, `fetch` | which keys an entry has; those that are fetched, and how |
//! | `trust` | one issuer, or several of which a token names one |
//! | `denylist` | tokens that are denied although they are good |
//! | `verify` | the one place where claims are made of tokens |
//!
//! What it has in common with others that read bearer tokens is in `crate::tokens`.

mod config;
mod crypto;
mod denylist;
mod fetch;
mod key;
mod keys;
mod keyset;
mod source;
#[cfg(test)]
mod tests;
mod token;
mod trust;
mod verify;

pub use config::Config;

use crate::{
    json,
    tokens::{
        MAX_TOKEN, bound,
        bound::Binding,
        cache::Cache,
        challenge::Challenges,
        identity::{self, Identity, Mapping},
        millis,
        places::{self, Places},
        refusal::Refusal,
        seconds,
        shape::is_opaque,
    },
};
use config::{Opaque, media_type};
use denylist::{Denylist, Known};
use http::{HeaderName, HeaderValue};
use palisade_contract::{
    Authentication, Authenticator, BuildEnv, ConfigErrors, CredentialPlace, Exchange, Fault, Hooks, Plugin,
    PluginKind, Presented, Stage, Step, Store,
};
use std::sync::Arc;
use token::Unverified;
use trust::{Trust, Trusts};
use verify::{Failure, Verified, is_hopeless, verify};

/// The plugin.
pub struct Jwt {
    places: Places,
    trusts: Trusts,
    mapping: Mapping,
    binding: Binding,
    opaque: Opaque,
    cache: Option<Cache<Known>>,
    denylist: Option<Denylist>,
    challenges: Challenges,
}

/// What came of a token.
enum Judged<'p> {
    Missing,
    /// It is no JWT, and left to others.
    Opaque,
    Good(Arc<Known>),
    Refused(Refusal),
    /// A fetch of this issuer's keys may tell.
    Undecided(&'p Trust),
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
        let written = places::Written {
            header_names: &config.header_names,
            cookie_names: &config.cookie_names,
            query_names: &config.query_names,
            hide_credentials: config.hide_credentials,
        };
        let places = Places::new(&written, &mut errors);
        let written = identity::Written {
            claims_to_headers: &config.claims_to_headers,
            consumer_claim: config.consumer_claim.as_ref(),
            consumer_optional: config.consumer_optional,
        };
        let mapping = Mapping::new(&written, env, &mut errors);
        let challenges = Challenges::new(&config.realm, &config.required_scopes, &mut errors);
        let denylist = config.denylist.as_ref().map(|written| Denylist::new(written, env)).transpose();
        let denylist = denylist.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        // Last, and only where all else is right: keys that are fetched are fetched from here on.
        match Trusts::new(&config, env, &mut errors) {
            Some(trusts) if errors.is_empty() => Ok(Jwt {
                places,
                trusts,
                mapping,
                binding: config.certificate_binding,
                opaque: config.opaque_tokens,
                cache: Cache::new(config.cache_size),
                denylist,
                challenges,
            }),
            _ => Err(errors.into()),
        }
    }
}

impl Jwt {
    fn judge(&self, ex: &Exchange, may_wait: bool) -> Judged<'_> {
        let token = match self.places.find(ex) {
            Err(refusal) => return Judged::Refused(refusal),
            Ok(None) => return Judged::Missing,
            Ok(Some(token)) => token,
        };
        let now = seconds(ex.started());
        if token.len() > MAX_TOKEN {
            return Judged::Refused(Refusal::Malformed("the token is too long"));
        }
        let id = self.cache.as_ref().map(|cache| (cache, cache.id(&token)));
        if let Some(known) =
            id.as_ref().and_then(|(cache, id)| cache.get(id, |known| known.verified.holds(now)))
        {
            return self.bound(ex, known);
        }
        if self.opaque == Opaque::Pass && is_opaque(&token) {
            return Judged::Opaque;
        }
        match self.prove(&token, now, may_wait) {
            Ok(verified) => {
                let known = Arc::new(Known::new(verified));
                if let Some((cache, id)) = id {
                    cache.put(id, known.clone());
                }
                self.bound(ex, known)
            }
            Err(judged) => judged,
        }
    }

    /// Asked of each request: a connection with another certificate may send a token that is known.
    fn bound(&self, ex: &Exchange, known: Arc<Known>) -> Judged<'_> {
        match bound::check(self.binding, known.verified.value().bound.as_ref(), ex) {
            Ok(()) => Judged::Good(known),
            Err(refusal) => Judged::Refused(refusal),
        }
    }

    fn prove(&self, token: &[u8], now: i64, may_wait: bool) -> Result<Verified<Identity>, Judged<'_>> {
        let token = Unverified::read(token).map_err(Judged::Refused)?;
        let trust = self.trusts.of(&token).map_err(Judged::Refused)?;
        let Trust { checks, keys: all } = trust;
        if !checks.algorithms.contains(&token.algorithm) {
            return Err(Judged::Refused(Refusal::Algorithm("the algorithm is not among `algorithms`")));
        }
        if let Some(asked) = &checks.typ
            && token.typ.as_deref().map(media_type).as_ref() != Some(asked)
        {
            return Err(Judged::Refused(Refusal::Type));
        }
        let kid = token.kid.as_deref();
        let Some(keys) = all.current() else {
            // Only of a token that might be good it is our fault that we do not know.
            if let Some(refusal) = is_hopeless(&token, checks, now) {
                return Err(Judged::Refused(refusal));
            }
            // They may have come since.
            return Err(if may_wait && (all.may_come(None) || all.current().is_some()) {
                Judged::Undecided(trust)
            } else {
                Judged::NoKeys
            });
        };
        let claims = verify(&token, &keys, checks, now).map_err(|failure| match failure {
            Failure::Refused(refusal) => Judged::Refused(refusal),
            Failure::UnknownKey
                if may_wait && is_hopeless(&token, checks, now).is_none() && all.may_come(kid) =>
            {
                Judged::Undecided(trust)
            }
            Failure::UnknownKey => Judged::Refused(Refusal::KeyUnknown),
        })?;
        claims.identified(|claims| self.mapping.identify(claims, "")).map_err(Judged::Refused)
    }

    fn conclude(&self, ex: &mut Exchange, judged: &Judged<'_>) -> Result<Authentication, Fault> {
        // What is left to others is theirs to take away.
        if !matches!(judged, Judged::Opaque) {
            self.places.hide(ex);
        }
        match judged {
            Judged::Missing => Ok(Authentication::NoCredential),
            Judged::Opaque => Ok(Authentication::NotMine),
            Judged::Good(known) => {
                let identity = known.verified.value();
                ex.to_origin().set_headers.extend(identity.headers.iter().cloned());
                Ok(Authentication::Authenticated(identity.principal.clone()))
            }
            Judged::Refused(refusal) => Ok(Authentication::Rejected(self.challenges.denial(*refusal))),
            // Whether the token is good cannot be known: that is not the client's fault.
            Judged::Undecided(_) | Judged::NoKeys => Err(Fault::unavailable("token_keys_unavailable")),
        }
    }

    /// What a denylist makes of it; a store has to be asked.
    fn look<'d>(
        &'d self,
        judged: &mut Judged<'_>,
        now: i64,
    ) -> Option<(&'d Arc<dyn Store>, &'d str, Arc<Known>)> {
        let (Some(denylist), Judged::Good(known)) = (&self.denylist, &*judged) else { return None };
        match denylist.look(known, now) {
            denylist::Verdict::Clear => None,
            denylist::Verdict::Denied(refusal) => {
                *judged = Judged::Refused(refusal);
                None
            }
            denylist::Verdict::Ask(store, prefix) => Some((store, prefix, known.clone())),
        }
    }

    /// Asks the store of a denylist.
    async fn ask(
        &self,
        ex: &mut Exchange,
        (store, prefix, known): (&Arc<dyn Store>, &str, Arc<Known>),
    ) -> Result<Authentication, Fault> {
        let now = millis(ex.started());
        let judged = match denylist::ask(store, prefix, &known, now).await? {
            Ok(()) => Judged::Good(known),
            Err(refusal) => Judged::Refused(refusal),
        };
        self.conclude(ex, &judged)
    }

    /// Waits for keys, once.
    async fn wait(&self, ex: &mut Exchange, trust: &Trust) -> Result<Authentication, Fault> {
        let asked = trust.keys.fetched().await;
        let mut judged = self.judge(ex, false);
        if asked
            && matches!(judged, Judged::Refused(Refusal::KeyUnknown))
            && let Ok(Some(token)) = self.places.find(ex)
            && let Ok(token) = Unverified::read(&token)
        {
            trust.keys.remember_absent(&token);
        }
        match self.look(&mut judged, millis(ex.started())) {
            Some(asked) => self.ask(ex, asked).await,
            None => self.conclude(ex, &judged),
        }
    }
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
            Judged::Undecided(trust) => Step::later(self.wait(ex, trust)),
            mut judged => match self.look(&mut judged, millis(ex.started())) {
                Some(asked) => Step::later(self.ask(ex, asked)),
                None => Step::Now(self.conclude(ex, &judged)),
            },
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
