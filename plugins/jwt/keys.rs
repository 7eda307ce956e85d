//! Which keys an entry has.

use super::{
    config::{Checks, Config, Written},
    fetch::{Fetcher, Location, MAX_ANSWER, address},
    key::{Key, KeyError},
    keyset::{KeySet, Origin},
    source::{Source, Timing},
    token::Unverified,
};
use jsonwebtoken::{Algorithm, AlgorithmFamily};
use palisade_contract::{BuildEnv, ConfigError, HttpSettings};
use std::{fs, sync::Arc, time::Duration};

/// The most bytes of a file of keys.
const MAX_FILE: u64 = 1 << 20;

/// The keys of an entry.
pub(super) enum Keys {
    /// Known from the start.
    Fixed(Arc<KeySet>),
    /// Fetched.
    Fetched(Arc<Source>),
    /// Would be fetched: the configuration is only checked.
    Unfetched,
}

/// What an entry's keys come to, before anything is fetched.
enum Found {
    Fixed(KeySet),
    At(Location),
}

impl Keys {
    /// Reads the keys, or starts fetching them.
    pub(super) fn new(
        config: &Config,
        one: &Written<'_>,
        checks: &Checks,
        env: &BuildEnv<'_>,
    ) -> Result<Self, ConfigError> {
        let location = match written(one, checks, env)? {
            Found::Fixed(keys) => return Ok(Keys::Fixed(Arc::new(keys))),
            Found::At(location) => location,
        };
        let timing = Timing { refresh: config.refresh_interval.0, refetch: config.refetch_interval.0 };
        let settings = HttpSettings {
            timeout: config.fetch_timeout.0,
            max_bytes: MAX_ANSWER,
            ca: one.ca.map(|path| env.path_to_read(path)),
            identity: None,
        };
        if env.dry_run {
            return Ok(Keys::Unfetched);
        }
        // Entries that fetch the same in the same way share one source, also across reloads.
        let shared = env.share_carried(&format!("{location:?} {timing:?} {settings:?}"), || {
            let client = env.host.http(&settings).map_err(|message| ConfigError::at("ca", message))?;
            let name = match &location {
                Location::Keys(uri) => uri.to_string(),
                Location::Issuer(issuer, _) => issuer.clone(),
            };
            Ok(Source::start(env.host, &name, Fetcher { client, location }, timing))
        })?;
        Ok(Keys::Fetched(shared))
    }

    /// Says what is wrong with the keys, and starts nothing.
    pub(super) fn check(one: &Written<'_>, checks: &Checks, env: &BuildEnv<'_>) -> Result<Self, ConfigError> {
        written(one, checks, env).map(|_| Keys::Unfetched)
    }

    /// The keys as they are now; none before the first ones are there.
    pub(super) fn current(&self) -> Option<Arc<KeySet>> {
        match self {
            Keys::Fixed(keys) => Some(keys.clone()),
            Keys::Fetched(source) => source.keys(),
            Keys::Unfetched => None,
        }
    }

    /// True where waiting may bring a key.
    pub(super) fn may_come(&self, kid: Option<&str>) -> bool {
        matches!(self, Keys::Fetched(source) if source.worth_waiting(kid))
    }

    /// Waits for a fetch; true where it began for this request.
    pub(super) async fn fetched(&self) -> bool {
        match self {
            Keys::Fetched(source) => source.fetched().await,
            Keys::Fixed(_) | Keys::Unfetched => false,
        }
    }

    /// See [`Source::remember_absent`].
    pub(super) fn remember_absent(&self, token: &Unverified<'_>) {
        if let Keys::Fetched(source) = self {
            source.remember_absent(token);
        }
    }
}

fn written(one: &Written<'_>, checks: &Checks, env: &BuildEnv<'_>) -> Result<Found, ConfigError> {
    let Written { secret, public_key, jwks, issuer, .. } = one;
    let symmetric = checks.algorithms.iter().any(|algorithm| algorithm.family() == AlgorithmFamily::Hmac);
    let told = |field: &str, error: KeyError| {
        let (KeyError::Unsupported(message) | KeyError::Bad(message)) = error;
        ConfigError::at(field, message)
    };
    let fixed = match (secret, public_key, jwks, issuer) {
        (Some(secret), None, None, _) => {
            let key = Key::of_secret(secret).map_err(|error| {
                told("secret", error)
                    .help("`openssl rand -base64 48` makes one; bytes are written `base64:…`")
            })?;
            (KeySet::one(key), "secret")
        }
        (None, Some(pem), None, _) => {
            let text =
                if pem.contains("-----BEGIN") { (*pem).clone() } else { read(env, "public_key", pem)? };
            let key = Key::of_pem(&text).map_err(|error| {
                told("public_key", error)
                    .help("`openssl pkey -in private.pem -pubout` writes the public half of a key")
            })?;
            (KeySet::one(key), "public_key")
        }
        (None, None, Some(jwks), _) if jwks.contains("://") => {
            let uri = address(jwks).map_err(|message| {
                ConfigError::at("jwks", message).help("write an `https` address, or the path of a file")
            })?;
            return fetched(symmetric, Location::Keys(uri));
        }
        (None, None, Some(path), _) => (set_of_file(env, path)?, "jwks"),
        (None, None, None, Some(issuer)) => {
            let location = Location::of_issuer(issuer).map_err(|message| {
                ConfigError::at("issuer", message)
                    .help("write the issuer's address, or its keys as `jwks` or `public_key`")
            })?;
            return fetched(symmetric, location);
        }
        _ => {
            return Err(ConfigError::new(
                "the keys come from exactly one of `secret`, `public_key`, `jwks` and `issuer` alone",
            )
            .help(
                "write `issuer: https://login.example.com` for an issuer with metadata, or `jwks: keys.json`",
            ));
        }
    };
    if one.ca.is_some() {
        return Err(ConfigError::at("ca", "nothing is fetched").help("remove it"));
    }
    usable(fixed, &checks.algorithms, env)
}

fn set_of_file(env: &BuildEnv<'_>, path: &str) -> Result<KeySet, ConfigError> {
    let pem = |what: &str| {
        ConfigError::at("jwks", format!("{what} is PEM, not a JWK Set")).help(
            "write it as `public_key`, which takes the public key or certificate, or the file it stands in",
        )
    };
    if path.contains("-----BEGIN") {
        return Err(pem("this"));
    }
    let text = read(env, "jwks", path)?;
    KeySet::read(text.as_bytes(), Origin::File).map_err(|message| {
        if text.contains("-----BEGIN") {
            return pem(&format!("`{path}`"));
        }
        let error = ConfigError::at("jwks", format!("`{path}`: {message}"));
        if message.contains("private key") {
            return error.help("remove what is private of it: `d`, and of RSA `p`, `q`, `dp`, `dq`, `qi`");
        }
        error.help("a JWK Set is a JSON document: `{\"keys\": [{\"kty\": …, \"kid\": …}]}`")
    })
}

fn usable(
    (keys, field): (KeySet, &str),
    algorithms: &[Algorithm],
    env: &BuildEnv<'_>,
) -> Result<Found, ConfigError> {
    if algorithms.is_empty() {
        return Ok(Found::Fixed(keys));
    }
    let (some, unused) = keys.by_use(algorithms);
    if !some {
        let message = format!("no key of `{field}` can be used with these algorithms");
        let help = format!("write what the tokens are signed with; the keys are for {}", keys.uses());
        return Err(ConfigError::at("algorithms", message).help(help));
    }
    if let Some(key) = unused {
        let (place, entry) = (&env.entry.place, &env.entry.key);
        log::warn!("{place}: {entry}: `algorithms` leaves out a key of `{field}`, which is for {key}");
    }
    Ok(Found::Fixed(keys))
}

fn fetched(symmetric: bool, location: Location) -> Result<Found, ConfigError> {
    if symmetric {
        return Err(ConfigError::at("algorithms", "a secret that is published is none")
            .help("write algorithms with private keys, such as `ES256`"));
    }
    Ok(Found::At(location))
}

/// How often keys are fetched.
pub(super) fn check_times(config: &Config) -> Result<(), ConfigError> {
    const SECOND: Duration = Duration::from_secs(1);
    if config.refetch_interval.0 < SECOND {
        return Err(ConfigError::at("refetch_interval", "an issuer is not asked that often")
            .help("write `1s` at least"));
    }
    if config.refresh_interval.0 < config.refetch_interval.0 {
        return Err(ConfigError::at("refresh_interval", "it is shorter than `refetch_interval`")
            .help("write the longer one here"));
    }
    if config.fetch_timeout.0.is_zero() || config.fetch_timeout.0 > Duration::from_secs(60) {
        return Err(
            ConfigError::at("fetch_timeout", "it is not between nothing and a minute").help("write `5s`")
        );
    }
    Ok(())
}

fn read(env: &BuildEnv<'_>, field: &str, path: &str) -> Result<String, ConfigError> {
    let file = env.path_to_read(path);
    let told = |message: String| {
        ConfigError::at(field, format!("cannot read `{}`: {message}", file.display()))
            .help("a path counts from the directory of the file that it is written in")
    };
    let size = fs::metadata(&file).map_err(|error| told(error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(ConfigError::at(field, format!("`{}` has more than a mebibyte", file.display())));
    }
    fs::read_to_string(&file).map_err(|error| told(error.to_string()))
}
