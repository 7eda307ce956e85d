//! What is printed of consumers. A key is shown where it is made, and nowhere else.

use super::entry::{Entry, Key, NewKey};
use serde_json::{Value, json};

/// For machines (true) or for people.
pub(super) struct Shown(pub(super) bool);

impl Shown {
    /// A key that was made.
    pub(super) fn made(&self, entry: &Entry, key: &NewKey) -> String {
        let (id, expires) = (key.written.id(), &key.written.expires);
        if self.0 {
            return json!({ "name": entry.name, "id": id, "key": key.secret, "expires": expires })
                .to_string();
        }
        let mut text = format!("key: {}\nconsumer: {}\nid: {id}\n", key.secret, entry.name);
        if let Some(expires) = expires {
            text.push_str(&format!("expires: {expires}\n"));
        }
        for old in entry.keys.iter().filter(|old| old.key_sha256 != key.written.key_sha256) {
            let until = old.expires.as_deref().unwrap_or("revoked");
            text.push_str(&format!("the key `{}` works until {until}\n", old.id()));
        }
        text.push_str("The key is shown this once.");
        text
    }

    pub(super) fn revoked(&self, name: &str, keys: usize) -> String {
        if self.0 {
            return json!({ "name": name, "revoked": keys }).to_string();
        }
        format!("{name}: {keys} {} taken away", if keys == 1 { "key is" } else { "keys are" })
    }

    pub(super) fn list(&self, all: &[Entry]) -> String {
        if self.0 {
            let entry = |entry: &Entry| -> Value {
                let key = |key: &Key| -> Value {
                    json!({ "id": key.id(), "expires": key.expires, "expired": key.has_expired() })
                };
                let keys: Vec<Value> = entry.keys.iter().map(key).collect();
                json!({ "name": entry.name, "groups": entry.groups, "keys": keys })
            };
            return Value::Array(all.iter().map(entry).collect()).to_string();
        }
        let row = |entry: &Entry| {
            let key = |key: &Key| match &key.expires {
                Some(_) if key.has_expired() => format!("{} (expired)", key.id()),
                Some(expires) => format!("{} (until {expires})", key.id()),
                None => key.id(),
            };
            let keys: Vec<String> = entry.keys.iter().map(key).collect();
            let list = |words: &[String]| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
            format!("{}  groups: {}  keys: {}", entry.name, list(&entry.groups), list(&keys))
        };
        if all.is_empty() {
            return "no consumers".to_owned();
        }
        all.iter().map(row).collect::<Vec<_>>().join("\n")
    }
}
