//! The keys that consumers hold, as written and as looked up.

use palisade_contract::{BuildEnv, ConfigError, Principal};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny},
};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, sync::Arc, time::SystemTime};
use subtle::ConstantTimeEq;

/// The longest name of a key.
const MAX_ID: usize = 128;

/// A consumer's key. A consumer may have several, so that one can be replaced while the other still works.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyCredential {
    /// The SHA-256 of the key, in hex: `palisade hash` makes it.
    key_sha256: String,
    /// From then on the key is refused: `2027-01-31T00:00:00Z`, or `2027-01-31` for the first moment of that day
    /// (UTC).
    expires: Option<String>,
    /// A name for the key, for records and `x-credential-identifier`; by default the hash's first 12 digits.
    id: Option<String>,
    /// Known from other gateways; refused with a word on what to write.
    #[serde(default, rename = "key", deserialize_with = "refuse_plain")]
    #[schemars(skip)]
    _plain: (),
}

fn refuse_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    IgnoredAny::deserialize(deserializer)?;
    Err(D::Error::custom(
        "a key is not stored as it is; help: write `key_sha256`: `palisade hash` makes it from a key",
    ))
}

/// A key that is accepted.
pub(super) struct Key {
    hash: [u8; 32],
    pub(super) expires: Option<SystemTime>,
    pub(super) principal: Arc<Principal>,
}

/// All consumers' keys, by the hash's first bytes.
pub(super) struct Keys(HashMap<[u8; 8], Vec<Key>>);

impl Keys {
    /// Reads all consumers' keys. One key belongs to one consumer.
    pub(super) fn read(env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Self {
        let mut keys: HashMap<[u8; 8], Vec<Key>> = HashMap::new();
        let mut seen = HashMap::new();
        for (consumer, credential, place) in env.credentials::<KeyCredential>() {
            let placed = |error: ConfigError| ConfigError {
                path: format!("consumers.{}.key-auth", consumer.name),
                ..error.place(place.clone())
            };
            let KeyRead { hash, expires, id } = match credential.read() {
                Ok(read) => read,
                Err(error) => {
                    errors.push(placed(error));
                    continue;
                }
            };
            if let Some((owner, first)) = seen.insert(hash, (consumer.name.clone(), place.clone())) {
                let error = ConfigError::new(format!("this key belongs to the consumer `{owner}` already"));
                let error =
                    error.help("give each consumer a key of its own").other("the first one is here", first);
                errors.push(placed(error));
                continue;
            }
            let id = id.map_or_else(|| key_id(&hash), Into::into);
            let principal = Arc::new(Principal::of_consumer(consumer.clone(), Some(id)));
            keys.entry(prefix(&hash)).or_default().push(Key { hash, expires, principal });
        }
        Keys(keys)
    }

    /// The key is hashed first, and only hashes are compared: what time tells about a look-up is about the hash
    /// of a guess, from which nothing follows for the next guess. The last comparison is constant-time all the
    /// same.
    pub(super) fn find(&self, hash: &[u8; 32]) -> Option<&Key> {
        self.0.get(&prefix(hash))?.iter().find(|known| bool::from(known.hash.ct_eq(hash)))
    }
}

/// What is stored of a key.
pub(super) fn hashed(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The name of a key that has been given none: the hash's first 12 digits.
pub fn key_id(hash: &[u8; 32]) -> Arc<str> {
    let first: [u8; 6] = hash.first_chunk().copied().unwrap_or_default();
    let mut digits = [0u8; 12];
    // Twelve digits are room for six bytes.
    let _ = hex::encode_to_slice(first, &mut digits);
    str::from_utf8(&digits).unwrap_or_default().into()
}

/// A key as it is looked up.
#[derive(Debug)]
pub struct KeyRead<'a> {
    /// The SHA-256 of the key.
    pub hash: [u8; 32],
    /// From then on it is refused.
    pub expires: Option<SystemTime>,
    /// The name that it has been given; else [`key_id`].
    pub id: Option<&'a str>,
}

fn prefix(hash: &[u8; 32]) -> [u8; 8] {
    hash.first_chunk().copied().unwrap_or_default()
}

impl KeyCredential {
    /// What is written, checked.
    ///
    /// # Errors
    /// What is wrong with it; nothing of the key is in it.
    pub fn read(&self) -> Result<KeyRead<'_>, ConfigError> {
        Ok(KeyRead { hash: self.hash()?, expires: self.expires()?, id: self.id()? })
    }

    fn hash(&self) -> Result<[u8; 32], ConfigError> {
        let mut hash = [0u8; 32];
        hex::decode_to_slice(&self.key_sha256, &mut hash).map_err(|_| {
            // What stands there may be the key itself.
            ConfigError::new("`key_sha256` is not a SHA-256 in hex (64 digits)")
                .help("`palisade hash` makes it from a key")
        })?;
        Ok(hash)
    }

    fn expires(&self) -> Result<Option<SystemTime>, ConfigError> {
        self.expires.as_deref().map(key_expiry).transpose()
    }

    /// It goes to the origin in a header.
    fn id(&self) -> Result<Option<&str>, ConfigError> {
        match self.id.as_deref() {
            Some(id) if !is_key_id(id) => {
                let error = ConfigError::new("`id` is not a name that a header can carry");
                Err(error.help(format!("write letters, digits and signs without spaces, at most {MAX_ID}")))
            }
            id => Ok(id),
        }
    }
}

/// The time from which on a key is refused, as it is written.
///
/// # Errors
/// It is none.
pub fn key_expiry(text: &str) -> Result<SystemTime, ConfigError> {
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let is_date = text.len() == "2027-01-31".len();
        is_date.then(|| format!("{text}T00:00:00Z").parse().ok()).flatten()
    });
    time.map(SystemTime::from).ok_or_else(|| {
        ConfigError::new("`expires` is not a time").help("write it as `2027-01-31T00:00:00Z` or `2027-01-31`")
    })
}

/// What a key can be named.
pub fn is_key_id(text: &str) -> bool {
    (1..=MAX_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
