//! `hmac-auth`: requests signed with a shared secret (draft-cavage-http-signatures, as Kong's users know it).

mod config;
mod credential;
mod header;
mod seen;
mod signing;
#[cfg(test)]
mod tests;

pub use credential::HmacCredential;

use base64::{Engine, engine::general_purpose::STANDARD};
use config::{Algorithm, Config};
use credential::Signers;
use header::{Signature, Signed, after_scheme};
use http::{
    HeaderName, HeaderValue,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use palisade_contract::{
    Answer, Authentication, Authenticator, Body, BodyNeed, BuildEnv, Command, ConfigError, ConfigErrors,
    CredentialPlace, Denial, Exchange, Fault, Hooks, Plugin, PluginKind, Presented, Principal, Stage, Step,
    Store,
};
use seen::{Found, Seen, Tag};
use sha2::{Digest, Sha256};
use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};
use subtle::ConstantTimeEq;

static DIGEST: HeaderName = HeaderName::from_static("digest");

/// The plugin.
pub struct HmacAuth {
    hide: bool,
    skew: i64,
    enforced: Vec<Signed>,
    algorithms: Vec<Algorithm>,
    validate_body: bool,
    window: Option<Window>,
    challenge: HeaderValue,
    signers: Signers,
}

/// Where signatures are remembered.
struct Window {
    most: usize,
    seen: Arc<Seen>,
    store: Option<Arc<dyn Store>>,
}

/// What the body must be.
#[derive(Default)]
enum Expected {
    /// Nothing was signed for it, by this plugin.
    #[default]
    Anything,
    Nothing,
    Hash([u8; 32]),
}

impl PluginKind for HmacAuth {
    const NAME: &'static str = "hmac-auth";
    const SUMMARY: &'static str = "Identifies a consumer by requests signed with a shared secret (HMAC).";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authenticate
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = config.wrong();
        let mut enforced = Vec::new();
        for (index, name) in config.enforce_headers.iter().enumerate() {
            match Signed::read(&name.to_ascii_lowercase()) {
                Some(signed) => enforced.push(signed),
                None => {
                    let field = format!("enforce_headers[{index}]");
                    let error = ConfigError::at(field, format!("`{name}` cannot be signed"));
                    errors
                        .push(error.help("write the name of a header, `@request-target` or `request-line`"));
                }
            }
        }
        let store = config.store.as_ref().map(|name| env.store(name, "store")).transpose();
        let store = store.unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let signers = Signers::read(env, &mut errors);
        let challenge = HeaderValue::from_str(&format!("hmac realm=\"{}\"", config.realm)).ok();
        let Some(challenge) = challenge.filter(|_| errors.is_empty()) else { return Err(errors.into()) };
        Ok(HmacAuth {
            hide: config.hide_credentials,
            skew: i64::try_from(config.clock_skew.0.as_secs()).unwrap_or(i64::MAX),
            enforced,
            algorithms: config.algorithms,
            validate_body: config.validate_request_body,
            window: config.refuse_replays.then(|| Window {
                most: config.replay_window,
                seen: env.keep_carried("seen", Seen::new),
                store,
            }),
            challenge,
            signers,
        })
    }
}

/// A signature that is good.
struct Good {
    principal: Arc<Principal>,
    tag: Tag,
    /// Until then its date lets it pass.
    end: i64,
    expected: Expected,
}

impl HmacAuth {
    /// Looks at everything but whether it was seen before. None where there is no signature.
    fn judge(&self, ex: &Exchange, now: i64) -> Result<Option<Good>, Denial> {
        let Some(presented) = presented(ex)? else { return Ok(None) };
        let algorithm = presented.algorithm.filter(|known| self.algorithms.contains(known));
        let algorithm =
            algorithm.ok_or_else(|| rejected("signature_algorithm", "`algorithm` is not allowed here"))?;
        if !self.enforced.iter().all(|name| is_signed(name, &presented.names)) {
            return Err(rejected("signature_incomplete", "not everything in `enforce_headers` is signed"));
        }
        let signed_at = signing::date(ex, &presented.names).map_err(|why| rejected("signature_date", why))?;
        if now.abs_diff(signed_at) > self.skew.unsigned_abs() {
            return Err(rejected("signature_expired", "the date differs by more than `clock_skew`"));
        }
        let expected = self.expected(ex, &presented.names)?;
        let unknown = || rejected("signature_invalid", "no such user, or not signed with its secret");
        let text = signing::text(ex, &presented.names).ok_or_else(unknown)?;
        let (name, signature) = (presented.username, &presented.signature);
        let principal = self.signers.verify(name, algorithm, &text, signature).ok_or_else(unknown)?;
        let mut digest = Sha256::new_with_prefix(name.as_bytes());
        digest.update([0]);
        digest.update(signature);
        let tag = digest.finalize().first_chunk().copied().unwrap_or_default();
        Ok(Some(Good { principal, tag, end: signed_at.saturating_add(self.skew), expected }))
    }

    /// What the body must be, by what was signed.
    fn expected(&self, ex: &Exchange, names: &[Signed]) -> Result<Expected, Denial> {
        if !self.validate_body {
            return Ok(Expected::Anything);
        }
        let mut values = ex.request.headers.get_all(&DIGEST).iter();
        let Some(value) = values.next() else { return Ok(Expected::Nothing) };
        let malformed = || rejected("digest_malformed", "`Digest` is not one SHA-256");
        if values.next().is_some() {
            return Err(malformed());
        }
        if !names.contains(&Signed::Header(DIGEST.clone())) {
            return Err(rejected("signature_incomplete", "`Digest` is not signed"));
        }
        let encoded = value.to_str().ok().and_then(|text| {
            let (name, hash) = text.split_once('=')?;
            name.eq_ignore_ascii_case("sha-256").then_some(hash)
        });
        let hash = encoded.and_then(|text| STANDARD.decode(text).ok()?.try_into().ok());
        hash.map(Expected::Hash).ok_or_else(malformed)
    }

    /// Good once.
    fn first_time(&self, good: &Good, now: i64) -> Result<Option<&Arc<dyn Store>>, Refused> {
        let Some(window) = &self.window else { return Ok(None) };
        match window.seen.look(good.tag, good.end, now, window.most) {
            Found::New => Ok(window.store.as_ref()),
            Found::Again => Err(Refused::Client(replayed())),
            Found::Full => Err(Refused::Us(Fault::unavailable("replay_window_full"))),
        }
    }
}

enum Refused {
    Client(Denial),
    Us(Fault),
}

/// True where a name is signed, under any of its names.
fn is_signed(name: &Signed, names: &[Signed]) -> bool {
    names.contains(name)
        || match name {
            Signed::Target(_) | Signed::RequestLine => {
                names.iter().any(|other| matches!(other, Signed::Target(_) | Signed::RequestLine))
            }
            Signed::Header(name) if *name == http::header::DATE => {
                names.contains(&Signed::Header(signing::X_DATE.clone()))
            }
            Signed::Header(_) => false,
        }
}

/// The one signature that the request has.
fn presented(ex: &Exchange) -> Result<Option<Signature<'_>>, Denial> {
    let values = ex.request.headers.get_all(AUTHORIZATION);
    let Some(parameters) = values.iter().find_map(|value| after_scheme(value.as_bytes())) else {
        return Ok(None);
    };
    if values.iter().nth(1).is_some() {
        return Err(rejected("credential_ambiguous", "more than one `Authorization`"));
    }
    header::read(parameters).map(Some).ok_or_else(|| rejected("credential_malformed", "this is no signature"))
}

fn rejected(reason: &'static str, detail: &'static str) -> Denial {
    Denial::unauthorized(reason).message("The signature is not good here").detail(detail)
}

fn replayed() -> Denial {
    rejected("signature_replayed", "the signature was seen before").genuine()
}

/// Remembers a signature for all gateways.
async fn remember(store: &Arc<dyn Store>, good: Good, now: i64) -> Result<Authentication, Fault> {
    let seconds = good.end.saturating_sub(now).max(0).saturating_add(1);
    let command = Command::new("SET").key(format!("palisade:hmac-auth:{}", hex::encode(good.tag)));
    let command = command.arg("1").arg("NX").arg("EX").arg(seconds.to_string());
    match store.run(command).await? {
        Answer::Done => Ok(Authentication::Authenticated(good.principal)),
        Answer::Nil => Ok(Authentication::Rejected(replayed())),
        _ => Err(Fault::bad_dependency("store_refused")),
    }
}

impl Plugin for HmacAuth {
    fn hooks(&self) -> Hooks {
        if self.validate_body { Hooks::REQUEST | Hooks::REQUEST_BODY } else { Hooks::REQUEST }
    }

    fn request_body(&self) -> BodyNeed {
        // The route's `limits.body_bytes` bounds it.
        if self.validate_body { BodyNeed::Whole { max: usize::MAX } } else { BodyNeed::None }
    }

    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        let good = match ex.state::<Expected>() {
            Expected::Anything => true,
            Expected::Nothing => body.bytes().is_empty(),
            Expected::Hash(hash) => bool::from(Sha256::digest(body.bytes()).as_slice().ct_eq(&hash[..])),
        };
        if good {
            return Step::CONTINUE;
        }
        let denial = rejected("digest_mismatch", "the body is not what was signed");
        denial.header(WWW_AUTHENTICATE, self.challenge.clone()).into()
    }
}

impl Authenticator for HmacAuth {
    fn credential_places(&self) -> Vec<CredentialPlace> {
        vec![CredentialPlace::Header(AUTHORIZATION)]
    }

    /// Each request has a signature of its own: it is the user name that stays.
    fn presented(&self, ex: &Exchange) -> Option<Presented> {
        match presented(ex) {
            Ok(found) => found.map(|found| {
                let signed = Presented::of_parts([found.username.as_bytes(), &found.signature]);
                signed.account(found.username)
            }),
            Err(_) => Presented::found_in(ex, &self.credential_places()),
        }
    }

    fn authenticate<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a, Authentication> {
        let now = seconds(ex.started());
        let found = self.judge(ex, now);
        if self.hide && !matches!(found, Ok(None)) {
            ex.to_origin().remove_headers.push(AUTHORIZATION);
        }
        let mut good = match found {
            Ok(Some(good)) => good,
            Ok(None) => return Step::Now(Ok(Authentication::NoCredential)),
            Err(denial) => return Step::Now(Ok(Authentication::Rejected(denial))),
        };
        match self.first_time(&good, now) {
            Err(Refused::Client(denial)) => Step::Now(Ok(Authentication::Rejected(denial))),
            Err(Refused::Us(fault)) => Step::Now(Err(fault)),
            Ok(store) => {
                *ex.state::<Expected>() = std::mem::take(&mut good.expected);
                match store {
                    None => Step::Now(Ok(Authentication::Authenticated(good.principal))),
                    Some(store) => Step::later(remember(store, good, now)),
                }
            }
        }
    }

    fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }
}

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}
