//! A consumer as it is kept, and how it changes.

use crate::cli::key;
use jiff::Timestamp;
use palisade_plugins::key_expiry;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// The most keys of one consumer: what is being replaced, and not a list without an end.
const MAX_KEYS: usize = 64;

/// A consumer: a line of a directory, and a record of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) groups: Vec<String>,
    #[serde(default, rename = "key-auth")]
    pub(super) keys: Vec<Key>,
}

/// A key of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Key {
    pub(super) key_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<String>,
}

/// A key that was made just now.
pub(super) struct NewKey {
    /// What the client sends: shown once, and kept nowhere.
    pub(super) secret: String,
    pub(super) written: Key,
}

impl NewKey {
    pub(super) fn make(id: Option<String>, expires: Option<String>) -> Result<Self, String> {
        let secret = key::generate()?;
        let written = Key { key_sha256: key::sha256(&secret), id, expires };
        Ok(NewKey { secret, written })
    }
}

impl Key {
    /// The name by which it is spoken of.
    pub(super) fn id(&self) -> String {
        let first = || self.key_sha256.chars().take(12).collect::<String>().to_ascii_lowercase();
        self.id.clone().unwrap_or_else(first)
    }

    fn ends(&self) -> Option<SystemTime> {
        key_expiry(self.expires.as_deref()?).ok()
    }

    pub(super) fn has_expired(&self) -> bool {
        self.ends().is_some_and(|ends| ends <= SystemTime::now())
    }
}

impl Entry {
    /// With another key; those that there are end after `overlap` at the latest.
    pub(super) fn rotated(&self, new: &Key, overlap: Duration) -> Result<Self, String> {
        let mut next = Entry { keys: Vec::new(), ..self.clone() };
        let end = SystemTime::now() + overlap;
        let written = Timestamp::try_from(end).map_err(|_| "that is too long an overlap".to_owned())?;
        let written = written.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        if !overlap.is_zero() {
            for key in self.keys.iter().filter(|key| !key.has_expired()) {
                let mut key = key.clone();
                if key.ends().is_none_or(|ends| ends > end) {
                    key.expires = Some(written.clone());
                }
                next.keys.push(key);
            }
        }
        if next.keys.iter().any(|key| key.id() == new.id()) {
            return Err(format!("`{}` has a key `{}` already: choose another id", self.name, new.id()));
        }
        next.keys.push(new.clone());
        if next.keys.len() > MAX_KEYS {
            return Err(format!("`{}` has {MAX_KEYS} keys that work: revoke one first", self.name));
        }
        Ok(next)
    }

    /// Without the key of this id; none where there is none.
    pub(super) fn without(&self, id: &str) -> Option<Self> {
        let mut next = self.clone();
        next.keys.retain(|key| key.id() != id);
        (next.keys.len() < self.keys.len()).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(expires: &[Option<&str>]) -> Entry {
        let key = |(index, expires): (usize, &Option<&str>)| Key {
            key_sha256: format!("{index:064}"),
            id: Some(format!("k{index}")),
            expires: expires.map(str::to_owned),
        };
        let keys = expires.iter().enumerate().map(key).collect();
        Entry { name: "a".into(), groups: vec!["g".into()], keys }
    }

    fn ids(entry: &Entry) -> Vec<String> {
        entry.keys.iter().map(Key::id).collect()
    }

    #[test]
    fn an_overlap_shortens_what_old_keys_have_left_and_never_lengthens_it() {
        let new = NewKey::make(Some("new".into()), None).unwrap().written;
        let soon = (Timestamp::now() + jiff::SignedDuration::from_secs(60)).to_string();
        let before = entry(&[None, Some("1999-01-01"), Some(&soon), Some("2099-01-01")]);
        let after = before.rotated(&new, Duration::from_secs(3600)).unwrap();
        assert_eq!(ids(&after), ["k0", "k2", "k3", "new"]);
        assert_eq!((after.keys[1].expires.as_ref(), after.keys[3].expires.as_ref()), (Some(&soon), None));
        for key in [&after.keys[0], &after.keys[2]] {
            let left = key.ends().unwrap().duration_since(SystemTime::now()).unwrap().as_secs();
            assert!((3500..=3600).contains(&left), "{left}");
        }
        assert_eq!(ids(&before.rotated(&new, Duration::ZERO).unwrap()), ["new"]);
        assert_eq!(after.groups, ["g"]);
        assert!(after.rotated(&new, Duration::from_secs(1)).unwrap_err().contains("another id"));
        let many = entry(&[None; MAX_KEYS]);
        assert!(many.rotated(&new, Duration::from_secs(1)).unwrap_err().contains("revoke one first"));
    }

    #[test]
    fn one_key_is_taken_out_by_its_id() {
        let two = entry(&[None, None]);
        assert_eq!(ids(&two.without("k0").unwrap()), ["k1"]);
        assert_eq!(two.without("k2"), None);
        let unnamed = Key { key_sha256: "ABCDEF0123456789".into(), id: None, expires: None };
        assert_eq!(unnamed.id(), "abcdef012345");
    }
}
