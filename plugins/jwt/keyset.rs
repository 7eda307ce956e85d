//! The keys of one source.

use super::{
    json,
    key::{Key, KeyError},
};
use jsonwebtoken::{Algorithm, jwk::Jwk};
use serde_json::Value;
use std::sync::Arc;

/// The most keys of a set.
const MAX_KEYS: usize = 100;
/// The most keys that are tried for a token that names none.
const MAX_TRIES: usize = 4;

/// Keys, by their ids.
#[derive(Default)]
pub(super) struct KeySet(Vec<Arc<Key>>);

/// Which keys a token may be signed with.
pub(super) enum Candidates {
    /// These.
    Some(Vec<Arc<Key>>),
    /// There is none of the id that it names.
    UnknownId,
    /// Those there are do not allow its algorithm.
    None,
}

/// Who wrote a set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The operator: what is wrong with a key is refused.
    File,
    /// An issuer: a bad key is passed over, or its mistake would be everybody's.
    Fetched,
}

impl KeySet {
    /// One key that stands alone; tokens may name it as they like.
    pub(super) fn one(key: Key) -> Self {
        KeySet(vec![Arc::new(key)])
    }

    /// A JWK Set (RFC 7517 §5). Keys for other purposes and of unknown types are passed over.
    pub(super) fn read(text: &[u8], origin: Origin) -> Result<Self, String> {
        let document = json::object(text).ok_or("it is not a JSON object, or a name stands in it twice")?;
        let Some(Value::Array(written)) = document.get("keys") else {
            let what = if document.contains_key("kty") {
                "it is one key, not a set: write `{\"keys\": [ … ]}` around it"
            } else {
                "it has no list `keys`"
            };
            return Err(what.to_owned());
        };
        if written.len() > MAX_KEYS {
            return Err(format!("it has {} keys; {MAX_KEYS} are the most", written.len()));
        }
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for (index, value) in written.iter().enumerate() {
            match read_key(value, origin) {
                Ok(key) if keys.iter().any(|other| other.is(&key)) => {}
                Ok(key) => keys.push(Arc::new(key)),
                Err(KeyError::Bad(message)) if origin == Origin::File => {
                    return Err(format!("keys[{index}]: {message}"));
                }
                Err(KeyError::Bad(message)) => {
                    log::warn!("keys[{index}] of a key set cannot be used: {message}");
                }
                Err(KeyError::Unsupported(message)) => {
                    log::debug!("keys[{index}] of a key set is passed over: {message}");
                }
            }
        }
        if keys.is_empty() {
            return Err("it has no key that could be used".to_owned());
        }
        Ok(KeySet(keys))
    }

    /// The keys for a token. One that names an id gets the keys of that id, else those without one; one that names none
    /// gets those that allow its algorithm.
    pub(super) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Candidates {
        let named: Vec<&Arc<Key>> = match kid {
            None => self.0.iter().collect(),
            Some(kid) => {
                let of = |id: Option<&str>| {
                    self.0.iter().filter(|key| key.kid.as_deref() == id).collect::<Vec<_>>()
                };
                let named = of(Some(kid));
                if named.is_empty() { of(None) } else { named }
            }
        };
        if named.is_empty() {
            return Candidates::UnknownId;
        }
        let fit: Vec<_> =
            named.into_iter().filter(|key| key.allows(algorithm)).take(MAX_TRIES).cloned().collect();
        if fit.is_empty() { Candidates::None } else { Candidates::Some(fit) }
    }

    /// Whether a key allows one of these algorithms, and one that allows none of them, for a person.
    pub(super) fn by_use(&self, algorithms: &[Algorithm]) -> (bool, Option<String>) {
        let is_used = |key: &&Arc<Key>| algorithms.iter().any(|algorithm| key.allows(*algorithm));
        let unused = self.0.iter().find(|key| !is_used(key));
        (self.0.iter().any(|key| is_used(&key)), unused.map(|key| use_of(key)))
    }

    /// What its keys may be used with, for a person.
    pub(super) fn uses(&self) -> String {
        self.0.iter().take(MAX_TRIES).map(|key| use_of(key)).collect::<Vec<_>>().join(", ")
    }

    /// Takes the place of an older set: keys that stay are the same, those that are gone are withdrawn.
    pub(super) fn replacing(self, old: &KeySet) -> Self {
        let kept = |key: Arc<Key>| old.0.iter().find(|known| known.is(&key)).cloned().unwrap_or(key);
        let new = KeySet(self.0.into_iter().map(kept).collect());
        for gone in old.0.iter().filter(|known| !new.0.iter().any(|key| Arc::ptr_eq(key, known))) {
            gone.withdraw();
        }
        new
    }
}

fn use_of(key: &Key) -> String {
    let names: Vec<String> = key.algorithms().iter().map(|one| format!("{one:?}")).collect();
    let id = key.kid.as_deref().map(|id| format!(" (`{id}`)")).unwrap_or_default();
    format!("{}{id}", names.join(" or "))
}

fn read_key(value: &Value, origin: Origin) -> Result<Key, KeyError> {
    if value.get("d").is_some() {
        return Err(KeyError::Bad("it is a private key, which no gateway needs".to_owned()));
    }
    if let Some((kind, name)) = missing(value) {
        return Err(KeyError::Bad(format!("a key of type {kind} has a text `{name}`")));
    }
    let jwk: Jwk = serde_json::from_value(value.clone())
        .map_err(|_| KeyError::Unsupported("it is not a JWK".to_owned()))?;
    let key = Key::of_jwk(&jwk)?;
    if key.is_secret() && origin == Origin::Fetched {
        return Err(KeyError::Bad("a secret that is published is none".to_owned()));
    }
    Ok(key)
}

/// What a key of a type that is known must have (RFC 7518 §6, RFC 8037 §2) and this one has not.
fn missing(value: &Value) -> Option<(&str, &'static str)> {
    let kind = value.get("kty")?.as_str()?;
    let needed: &[&str] = match kind {
        "EC" => &["crv", "x", "y"],
        "RSA" => &["n", "e"],
        "OKP" => &["crv", "x"],
        "oct" => &["k"],
        _ => &[],
    };
    let name = needed.iter().find(|name| value.get(**name).and_then(Value::as_str).is_none())?;
    Some((kind, name))
}
