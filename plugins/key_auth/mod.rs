//! `key-auth`: a secret key in a header, the query or a cookie.

mod credential;
#[cfg(test)]
mod sourced;

pub use credential::{KeyCredential, KeyRead, is_key_id, key_expiry, key_id};

use crate::presented::{cookies, query_pairs};
use credential::{Keys, hashed};
use http::{HeaderName, HeaderValue, header};
use palisade_contract::{
    Authentication, Authenticator, BuildEnv, ConfigError, ConfigErrors, ConsumerSource, CredentialPlace,
    Denial, Exchange, Held, Hooks, Plugin, PluginKind, Presented, Principal, Stage, Step,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{borrow::Cow, sync::Arc, time::SystemTime};

/// The longest key that is looked at, in bytes.
const MAX_KEY: usize = 4096;

/// Identifies a consumer by a secret key. Keys are random and long, so that they are stored as SHA-256 only. Many of them
/// stand [in a directory or a store](../consumers.md).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Names of the header, query parameter or cookie that holds the key.
    key_names: Vec<String>,
    /// Look in headers.
    key_in_header: bool,
    /// Look in the query. Keys in URLs end up in logs and histories.
    key_in_query: bool,
    /// Look in cookies.
    key_in_cookie: bool,
    /// Remove the key before the request goes to the origin.
    hide_credentials: bool,
    /// What the challenge of a 401 says.
    realm: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            key_names: vec!["apikey".to_owned()],
            key_in_header: true,
            key_in_query: false,
            key_in_cookie: false,
            hide_credentials: true,
            realm: "palisade".to_owned(),
        }
    }
}

/// The plugin.
pub struct KeyAuth {
    headers: Vec<HeaderName>,
    query: Vec<Arc<str>>,
    cookies: Vec<Arc<str>>,
    hide: bool,
    challenge: HeaderValue,
    keys: Keys,
    source: Option<Arc<dyn ConsumerSource>>,
}

impl PluginKind for KeyAuth {
    const NAME: &'static str = "key-auth";
    const SUMMARY: &'static str = "Identifies a consumer by a secret key in a header, the query or a cookie.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authenticate
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let headers = header_names(&config, &mut errors);
        if config.key_names.is_empty() {
            errors.push(
                ConfigError::at("key_names", "no name to look for a key under")
                    .help("remove `key_names` for `apikey`"),
            );
        }
        if !(config.key_in_header || config.key_in_query || config.key_in_cookie) {
            errors.push(
                ConfigError::new("the key is looked for nowhere")
                    .help("switch on `key_in_header`, `key_in_query` or `key_in_cookie`"),
            );
        }
        if config.realm.contains(['"', '\\'])
            || !config.realm.bytes().all(|byte| (b' '..0x7f).contains(&byte))
        {
            let error = ConfigError::at("realm", "the realm has characters that a challenge cannot have");
            errors.push(error.help("write letters, digits and spaces"));
        }
        let challenge = HeaderValue::from_str(&format!("Key realm=\"{}\"", config.realm));
        let keys = Keys::read(env, &mut errors);
        let names = || config.key_names.iter().map(|name| Arc::from(name.as_str())).collect();
        match challenge {
            Ok(challenge) if errors.is_empty() => Ok(KeyAuth {
                headers: if config.key_in_header { headers } else { Vec::new() },
                query: if config.key_in_query { names() } else { Vec::new() },
                cookies: if config.key_in_cookie { names() } else { Vec::new() },
                hide: config.hide_credentials,
                challenge,
                keys,
                source: env.source(),
            }),
            _ => Err(errors.into()),
        }
    }
}

/// The names as headers. One name twice would find one key twice, and take it for two.
fn header_names(config: &Config, errors: &mut Vec<ConfigError>) -> Vec<HeaderName> {
    let mut headers: Vec<HeaderName> = Vec::new();
    let only_header = config.key_in_header && !config.key_in_query && !config.key_in_cookie;
    for (index, text) in config.key_names.iter().enumerate() {
        let at =
            |message: &str| ConfigError::at(format!("key_names[{index}]"), format!("`{text}` {message}"));
        match HeaderName::from_bytes(text.as_bytes()) {
            Err(_) => errors.push(at("is not a name for a header")),
            Ok(name) if headers.contains(&name) => {
                errors.push(at("is named twice").help("remove one; case does not matter"))
            }
            Ok(_) if only_header && text.contains('_') => {
                errors.push(
                    at("would never be found: header names with `_` are refused").help("write `-` instead"),
                );
            }
            Ok(
                header::HOST
                | header::COOKIE
                | header::CONNECTION
                | header::CONTENT_LENGTH
                | header::TRANSFER_ENCODING,
            ) => {
                errors.push(at("holds something else").help("write a name of your own, such as `apikey`"));
            }
            Ok(name) => headers.push(name),
        }
    }
    headers
}

impl KeyAuth {
    /// The one key that the request presents. Two of them are one too many: an origin might take the other.
    fn key<'r>(&self, ex: &'r Exchange) -> Result<Option<Cow<'r, [u8]>>, Denial> {
        let mut found: Option<Cow<'r, [u8]>> = None;
        let mut add = |key: Cow<'r, [u8]>| match found {
            None => {
                found = Some(key);
                Ok(())
            }
            Some(_) => Err(rejected("credential_ambiguous", "The request has more than one key")),
        };
        for name in &self.headers {
            for value in ex.request.headers.get_all(name) {
                add(Cow::Borrowed(value.as_bytes()))?;
            }
        }
        if let (false, Some(query)) = (self.query.is_empty(), ex.query()) {
            for (name, value) in query_pairs(query) {
                if self.query.iter().any(|known| known.as_bytes() == &*name) {
                    add(value)?;
                }
            }
        }
        if !self.cookies.is_empty() {
            for (name, value) in cookies(&ex.request.headers) {
                if self.cookies.iter().any(|known| known.as_bytes() == name) {
                    add(Cow::Borrowed(value))?;
                }
            }
        }
        Ok(found)
    }

    fn hide(&self, ex: &mut Exchange) {
        if self.hide {
            let changes = ex.to_origin();
            changes.remove_headers.extend(self.headers.iter().cloned());
            changes.remove_query.extend(self.query.iter().cloned());
            changes.remove_cookies.extend(self.cookies.iter().cloned());
        }
    }

    fn judge(&self, ex: &Exchange) -> Step<'static, Authentication> {
        let rejected = |denial| Step::Now(Ok(Authentication::Rejected(denial)));
        let hash = match self.key(ex) {
            Err(denial) => return rejected(denial),
            Ok(None) => return Step::Now(Ok(Authentication::NoCredential)),
            Ok(Some(key)) if key.is_empty() || key.len() > MAX_KEY || key.contains(&0) => {
                return rejected(malformed());
            }
            Ok(Some(key)) => hashed(&key),
        };
        let now = ex.started();
        if let Some(key) = self.keys.find(&hash) {
            return Step::Now(Ok(accepted(&key.principal, key.expires, now)));
        }
        let Some(source) = &self.source else { return rejected(unknown()) };
        match source.find_key(&hash) {
            Step::Now(found) => Step::Now(found.map(|found| held(found, now))),
            Step::Later(found) => Step::later(async move { found.await.map(|found| held(found, now)) }),
        }
    }
}

/// A key that somebody has, where it has not expired.
fn accepted(principal: &Arc<Principal>, expires: Option<SystemTime>, now: SystemTime) -> Authentication {
    if expires.is_some_and(|expires| now >= expires) {
        Authentication::Rejected(rejected("credential_expired", "The key has expired").genuine())
    } else {
        Authentication::Authenticated(principal.clone())
    }
}

fn held(found: Option<Held>, now: SystemTime) -> Authentication {
    found.map_or_else(
        || Authentication::Rejected(unknown()),
        |held| accepted(&held.principal, held.expires, now),
    )
}

fn malformed() -> Denial {
    rejected("credential_malformed", "The key cannot be one")
}

fn unknown() -> Denial {
    rejected("credential_unknown", "The key is not known")
}

fn rejected(reason: &'static str, message: &'static str) -> Denial {
    Denial::unauthorized(reason).message(message)
}

impl Plugin for KeyAuth {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }
}

impl Authenticator for KeyAuth {
    fn credential_places(&self) -> Vec<CredentialPlace> {
        CredentialPlace::all(&self.headers, &self.query, !self.cookies.is_empty())
    }

    fn presented(&self, ex: &Exchange) -> Option<Presented> {
        match self.key(ex) {
            Ok(key) => key.map(|key| Presented::credential(&key)),
            Err(_) => Presented::found_in(ex, &self.credential_places()).or(Some(Presented::credential(b""))),
        }
    }

    fn authenticate<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a, Authentication> {
        let found = self.judge(ex);
        // Also what is not a key of ours is not the origin's business.
        self.hide(ex);
        found
    }

    fn challenge(&self) -> HeaderValue {
        self.challenge.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::{
        Built, Descriptor,
        testkit::{Case, Kit},
    };
    use sha2::{Digest, Sha256};

    const DESCRIPTOR: Descriptor = Descriptor::authenticator::<KeyAuth>().with_credentials::<KeyCredential>();

    fn sha(key: &str) -> String {
        hex::encode(Sha256::digest(key))
    }

    fn kit() -> Kit {
        let alice = [
            format!("key_sha256: {}", sha("alice-key")),
            format!("{{key_sha256: {}, id: second}}", sha("alice-new").to_uppercase()),
        ];
        let old = format!("{{key_sha256: {}, expires: 2020-01-01T00:00:00Z}}", sha("old-key"));
        let future = format!("{{key_sha256: {}, expires: 2999-01-01T00:00:00Z}}", sha("future-key"));
        Kit::of(DESCRIPTOR).consumer("alice", &["gold"], &[&alice[0], &alice[1]]).consumer(
            "bob",
            &[],
            &[&old, &future],
        )
    }

    #[test]
    fn a_key_identifies_its_consumer() {
        let plugin = kit().build("{}").unwrap();
        for (key, consumer, id) in [
            ("alice-key", "alice", &sha("alice-key")[..12]),
            ("alice-new", "alice", "second"),
            ("future-key", "bob", &sha("future-key")[..12]),
        ] {
            let ran = plugin.run(Case::get("/").header("apikey", key));
            let principal = ran.authenticated();
            assert_eq!((&*principal.id, principal.credential.as_deref()), (consumer, Some(id)));
            assert_eq!(ran.ex.origin_changes().remove_headers, ["apikey"]);
        }
        plugin.run(Case::get("/")).no_credential();
        plugin.run(Case::get("/?apikey=alice-key").header("cookie", "apikey=alice-key")).no_credential();
    }

    #[test]
    fn hostile_keys_are_rejected() {
        let plugin = kit().build("{}").unwrap();
        for (key, reason) in [
            ("", "credential_malformed"),
            ("alice-ke", "credential_unknown"),
            ("alice-key2", "credential_unknown"),
            ("Alice-Key", "credential_unknown"),
            ("alice-key,alice-key", "credential_unknown"),
            ("old-key", "credential_expired"),
            (&sha("alice-key"), "credential_unknown"),
            (&"x".repeat(5000), "credential_malformed"),
        ] {
            plugin.run(Case::get("/").header("apikey", key)).denied(401, reason);
        }
        plugin
            .run(Case::get("/").header("apikey", "alice-key").header("apikey", "alice-key"))
            .denied(401, "credential_ambiguous");
    }

    #[test]
    fn the_whole_hash_is_compared() {
        // Of the right length, and the same in all but the last digit.
        let mut near = sha("alice-key");
        let last = if near.ends_with('0') { '1' } else { '0' };
        near.replace_range(63.., &last.to_string());
        let kit = Kit::of(DESCRIPTOR).consumer("alice", &[], &[&format!("key_sha256: {near}")]);
        let plugin = kit.build("realm: shop").unwrap();
        plugin.run(Case::get("/").header("apikey", "alice-key")).denied(401, "credential_unknown");
        let Built::Authenticator(authenticator) = &plugin.built else { panic!("it authenticates") };
        assert_eq!(authenticator.challenge(), "Key realm=\"shop\"");
    }

    #[test]
    fn a_key_ends_with_the_moment_that_is_written() {
        let (moment, second) = (SystemTime::now(), std::time::Duration::from_secs(1));
        let principal = Arc::new(Principal::of_consumer(
            Arc::new(palisade_contract::Consumer { name: "alice".into(), groups: Vec::new() }),
            None,
        ));
        for (now, good) in [(moment - second, true), (moment, false), (moment + second, false)] {
            let found = accepted(&principal, Some(moment), now);
            assert_eq!(matches!(found, Authentication::Authenticated(_)), good);
        }
    }

    #[test]
    fn query_and_cookie_when_asked_for() {
        let plugin = kit().build("{key_names: [k], key_in_query: true, key_in_cookie: true}").unwrap();
        plugin.run(Case::get("/?a=1&k=alice-key")).authenticated();
        plugin.run(Case::get("/?%6b=alice%2Dkey")).authenticated();
        plugin.run(Case::get("/").header("cookie", "a=b; k=alice-key")).authenticated();
        plugin.run(Case::get("/?k=alice-key&k=alice-key")).denied(401, "credential_ambiguous");
        plugin.run(Case::get("/?k=alice-key").header("k", "alice-key")).denied(401, "credential_ambiguous");
        plugin.run(Case::get("/?k=")).denied(401, "credential_malformed");
        plugin.run(Case::get("/?k=a%00")).denied(401, "credential_malformed");
        plugin.run(Case::get("/?kk=alice-key")).no_credential();
    }

    #[test]
    fn mistakes_are_refused_at_load() {
        assert!(kit().build("key_nams: [a]").unwrap_err().contains("did you mean `key_names`"));
        assert!(kit().build("key_names: []").unwrap_err().contains("no name"));
        assert!(
            kit()
                .build("key_names: ['a b']")
                .unwrap_err()
                .contains("test.yaml:1:13: key_names[0]: `a b` is not a name")
        );
        for (yaml, words) in [
            ("key_names: [apikey, ApiKey]", "key_names[1]: `ApiKey` is named twice"),
            ("key_names: [api_key]", "`api_key` would never be found"),
            ("key_names: [Cookie]", "`Cookie` holds something else"),
            ("key_names: [host]", "`host` holds something else"),
            ("realm: 'a\"b'", "a challenge cannot have"),
            ("realm: \"a\\r\\nb\"", "a challenge cannot have"),
            ("realm: é", "a challenge cannot have"),
        ] {
            let error = kit().build(yaml).unwrap_err();
            assert!(error.contains(words), "{yaml}: {error}");
        }
        kit()
            .build("{key_names: [api_key], key_in_query: true}")
            .unwrap()
            .run(Case::get("/?api_key=alice-key"))
            .authenticated();
        assert!(kit().build("key_in_header: false").unwrap_err().contains("looked for nowhere"));
        let twice = Kit::of(DESCRIPTOR).consumer("a", &[], &[&format!("key_sha256: {}", sha("x"))]).consumer(
            "b",
            &[],
            &[&format!("key_sha256: {}", sha("x"))],
        );
        assert!(twice.build("{}").unwrap_err().contains("belongs to the consumer `a` already"));
        let plain = Kit::of(DESCRIPTOR).check_credential("{key: hunter2}").unwrap_err();
        assert!(plain.contains("a key is not stored as it is") && plain.contains("palisade hash"), "{plain}");
        assert!(!plain.contains("hunter2"), "{plain}");
    }

    #[test]
    fn hostile_credentials_are_refused_at_load() {
        let build = |fields: &str| {
            let yaml = format!("{{key_sha256: {}{fields}}}", sha("k"));
            Kit::of(DESCRIPTOR).consumer("a", &[], &[&yaml]).build("{}")
        };
        for (fields, words) in [
            (", id: ''", "`id` is not a name"),
            (", id: 'a b'", "`id` is not a name"),
            (", id: é", "`id` is not a name"),
            (", id: \"a\\r\\nx: y\"", "`id` is not a name"),
            (", expires: soon", "`expires` is not a time"),
            (", expires: 1800000000", "`expires` is not a time"),
            (", expires: 2027-02-30", "`expires` is not a time"),
            (", expires: 2027-01-31T00:00:00", "`expires` is not a time"),
            ("00", "64 digits"),
        ] {
            let error = build(fields).unwrap_err();
            assert!(error.contains(words) && error.contains("consumers.a.key-auth"), "{fields}: {error}");
        }
        let key = || Case::get("/").header("apikey", "k");
        build(", expires: 2020-01-01").unwrap().run(key()).denied(401, "credential_expired");
        build(", expires: 2999-12-31").unwrap().run(key()).authenticated();
        build(", expires: '2999-12-31T23:59:59+01:00'").unwrap().run(key()).authenticated();
        let pasted =
            Kit::of(DESCRIPTOR).consumer("a", &[], &["key_sha256: hunter2"]).build("{}").unwrap_err();
        assert!(pasted.contains("64 digits") && !pasted.contains("hunter2"), "{pasted}");
    }
}
