//! `basic-auth`: a user name and a password in the `Authorization` header (RFC 7617).

mod credential;
mod hash;
mod logins;
mod pool;
#[cfg(test)]
mod tests;

pub use credential::BasicCredential;
pub use hash::hash_password;

use base64::{Engine, engine::general_purpose::STANDARD};
use credential::Users;
use http::{HeaderValue, header::AUTHORIZATION};
use logins::Logins;
use palisade_contract::{
    Authentication, Authenticator, BuildEnv, ConfigError, ConfigErrors, CredentialPlace, Denial, Exchange,
    Hooks, Plugin, PluginKind, Presented, Secret, Stage, Step, conf::HumanDuration,
};
use pool::Pool;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{sync::Arc, thread, time::Duration};

/// The longest user name and password, with the colon, that are looked at, in bytes.
const MAX_LOGIN: usize = 1024;
/// The longest that a login is remembered.
const MAX_CACHE: Duration = Duration::from_secs(3600);

/// Identifies a consumer by a user name and a password. A password is slow to verify, on purpose: that is done on threads
/// of its own, with a queue that has bounds, and a login that was good is remembered for a short while.
///
/// A request that finds the queue full, or its address's share of it, is refused with 503 `verification_busy`. Whether the
/// name or the password was wrong is told by neither the answer nor its time. Events in the metrics: `verified` for each
/// password that was verified, `busy`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Remove the `Authorization` header before the request goes to the origin.
    hide_credentials: bool,
    /// What the challenge of a 401 says.
    realm: String,
    /// How long a login that was good is remembered, in memory and by a keyed hash alone; `0s`: not at all. A changed
    /// password holds with the reload, whatever this says.
    cache: HumanDuration,
    /// Passwords that are verified at once, each on a thread; without it one for every four processors. Entries with the
    /// same numbers share their threads.
    concurrency: Option<u16>,
    /// Logins that may wait to be verified.
    queue: u16,
    /// Of these, from one address (IPv6: one /64), those being verified among them.
    queue_per_ip: u16,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            hide_credentials: true,
            realm: "palisade".to_owned(),
            cache: HumanDuration(Duration::from_secs(60)),
            concurrency: None,
            queue: 64,
            queue_per_ip: 8,
        }
    }
}

/// The plugin.
pub struct BasicAuth {
    hide: bool,
    challenge: HeaderValue,
    logins: Arc<Logins>,
    pool: Arc<Pool>,
}

impl PluginKind for BasicAuth {
    const NAME: &'static str = "basic-auth";
    const SUMMARY: &'static str = "Identifies a consumer by a user name and a password.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authenticate
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let plain = |byte: u8| (b' '..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\');
        if !config.realm.bytes().all(plain) {
            let error = ConfigError::at("realm", "the realm has characters that a challenge cannot have");
            errors.push(error.help("write letters, digits and spaces"));
        }
        if config.cache.0 > MAX_CACHE {
            let error = ConfigError::at("cache", format!("`{}` is too long", config.cache));
            errors.push(error.help("write a time up to `1h`, or `0s` for none"));
        }
        let least = [
            ("concurrency", config.concurrency),
            ("queue", Some(config.queue)),
            ("queue_per_ip", Some(config.queue_per_ip)),
        ];
        for (field, _) in least.into_iter().filter(|(_, number)| *number == Some(0)) {
            let error = ConfigError::at(field, "with 0 nobody could log in");
            errors.push(error.help("write at least `1`, or leave it out"));
        }
        let users = Users::read(env, &mut errors);
        let challenge =
            HeaderValue::from_str(&format!("Basic realm=\"{}\", charset=\"UTF-8\"", config.realm));
        let Some(challenge) = challenge.ok().filter(|_| errors.is_empty()) else { return Err(errors.into()) };
        let failed =
            |error: String| ConfigError::new(error).help("see to the system's resources, and try again");
        let counters = [env.counter("verified"), env.counter("busy")];
        let logins = Logins::new(users, config.cache.0, counters).map_err(failed)?;
        let pool = pool(&config, env).map_err(failed)?;
        Ok(BasicAuth { hide: config.hide_credentials, challenge, logins: Arc::new(logins), pool })
    }
}

/// The threads of all entries with the same numbers.
fn pool(config: &Config, env: &BuildEnv<'_>) -> Result<Arc<Pool>, String> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = config.concurrency.map_or((processors / 4).max(1), usize::from);
    let (queue, per_ip) = (usize::from(config.queue), usize::from(config.queue_per_ip));
    env.share(&format!("{threads}/{queue}/{per_ip}"), || {
        Pool::start(if env.dry_run { 0 } else { threads }, queue, per_ip)
            .map_err(|error| format!("threads for passwords cannot be started: {error}"))
    })
}

/// What the request presents.
enum Found {
    Nothing,
    Wrong(Denial),
    Login(String, Secret),
}

fn found(ex: &Exchange) -> Found {
    let mut values = ex.request.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Found::Nothing };
    let Some(encoded) = after_scheme(value.as_bytes()) else {
        // Another scheme is another plugin's; beside it there may be nothing either.
        return if values.any(|value| after_scheme(value.as_bytes()).is_some()) {
            Found::Wrong(rejected("credential_ambiguous", "The request has more than one credential"))
        } else {
            Found::Nothing
        };
    };
    if values.next().is_some() {
        return Found::Wrong(rejected("credential_ambiguous", "The request has more than one credential"));
    }
    login(encoded).unwrap_or_else(|| {
        Found::Wrong(rejected("credential_malformed", "The credential is no user name and password"))
    })
}

/// What follows `Basic`; none for another scheme.
fn after_scheme(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(5)?;
    let is_basic = scheme.eq_ignore_ascii_case(b"basic") && rest.first().is_none_or(|byte| *byte == b' ');
    is_basic.then(|| rest.trim_ascii_start())
}

fn login(encoded: &[u8]) -> Option<Found> {
    if encoded.len() > MAX_LOGIN * 4 / 3 + 4 {
        return None;
    }
    let whole = Secret::new(String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?);
    if whole.expose().len() > MAX_LOGIN || whole.expose().contains(char::is_control) {
        return None;
    }
    let (user, password) = whole.expose().split_once(':')?;
    (!user.is_empty()).then(|| Found::Login(user.to_owned(), Secret::new(password)))
}

fn rejected(reason: &'static str, message: &'static str) -> Denial {
    Denial::unauthorized(reason).message(message)
}

impl Plugin for BasicAuth {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }
}

impl Authenticator for BasicAuth {
    fn credential_places(&self) -> Vec<CredentialPlace> {
        vec![CredentialPlace::Header(AUTHORIZATION)]
    }

    fn presented(&self, ex: &Exchange) -> Option<Presented> {
        match found(ex) {
            Found::Nothing => None,
            Found::Wrong(_) => Presented::found_in(ex, &self.credential_places()),
            Found::Login(user, password) => {
                let login = Presented::of_parts([user.as_bytes(), password.expose().as_bytes()]);
                Some(login.account(&user))
            }
        }
    }

    fn authenticate<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a, Authentication> {
        let found = found(ex);
        if self.hide && !matches!(found, Found::Nothing) {
            ex.to_origin().remove_headers.push(AUTHORIZATION);
        }
        let (user, password) = match found {
            Found::Nothing => return Step::Now(Ok(Authentication::NoCredential)),
            Found::Wrong(denial) => return Step::Now(Ok(Authentication::Rejected(denial))),
            Found::Login(user, password) => (user, password),
        };
        let tag = self.logins.tag(&user, password.expose());
        if let Some(principal) = self.logins.remembered(&tag) {
            return Step::Now(Ok(Authentication::Authenticated(principal)));
        }
        let ip = ex.client().ip;
        Step::later(async move {
            let found = self.logins.clone().verify(&self.pool, ip, tag, user, password).await?;
            Ok(found.map_or_else(
                || {
                    let message = "The user name or the password is wrong";
                    Authentication::Rejected(rejected("credential_unknown", message))
                },
                Authentication::Authenticated,
            ))
        })
    }

    fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }
}
