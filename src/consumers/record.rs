//! What stands in a store: under each key's hash whose it is, and each consumer as a line of a directory has it.
//!
//! `PREFIXkey:HASH` is what requests ask for. `PREFIXconsumer:NAME` and the set `PREFIXconsumers` are for people and
//! `palisade consumers`.

use crate::conf::names;
use palisade_contract::{Consumer, Held, Principal};
use palisade_plugins::{is_key_id, key_expiry, key_id};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The most bytes of a record.
const MAX_RECORD: usize = 16 << 10;

/// Whose a key is.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The consumer's name.
    pub name: String,
    /// The consumer's groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The key's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// From then on the key is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

impl Record {
    /// Reads what a store holds under the hash of a key; none where it makes no sense.
    pub fn read(bytes: &[u8], hash: &[u8; 32]) -> Option<Held> {
        if bytes.len() > MAX_RECORD || bytes.first() != Some(&b'{') {
            return None;
        }
        let record: Record = serde_json::from_slice(bytes).ok()?;
        let good = names::is_name(&record.name)
            && record.groups.iter().all(|group| names::is_group(group))
            && record.id.as_deref().is_none_or(is_key_id);
        if !good {
            return None;
        }
        let expires = record.expires.as_deref().map(key_expiry).transpose().ok()?;
        let groups = record.groups.into_iter().map(Arc::from).collect();
        let consumer = Arc::new(Consumer { name: record.name.into(), groups });
        let id = record.id.map_or_else(|| key_id(hash), Arc::from);
        Some(Held { principal: Arc::new(Principal::of_consumer(consumer, Some(id))), expires })
    }
}

/// Where it stands whose a key is.
pub fn of_key(prefix: &str, hash: &str) -> String {
    format!("{prefix}key:{hash}")
}

/// Where a consumer stands.
pub fn of_consumer(prefix: &str, name: &str) -> String {
    format!("{prefix}consumer:{name}")
}

/// The set of all consumers' names.
pub fn of_all(prefix: &str) -> String {
    format!("{prefix}consumers")
}

/// What one command holds while it changes something.
pub fn of_lock(prefix: &str) -> String {
    format!("{prefix}consumers-lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_whose_a_key_is() {
        let held = Record::read(br#"{"name":"alice","groups":["gold"],"expires":"2027-01-31"}"#, &[0xab; 32]);
        let held = held.unwrap();
        assert_eq!((&*held.principal.id, held.principal.groups().len()), ("alice", 1));
        assert_eq!(held.principal.credential.as_deref(), Some("abababababab"));
        assert!(held.expires.is_some());
        let named = Record::read(br#"{"name":"a","id":"k1"}"#, &[0; 32]).unwrap();
        assert_eq!((named.principal.credential.as_deref(), named.expires), (Some("k1"), None));
    }

    #[test]
    fn what_makes_no_sense_is_nobodys() {
        let long = format!(r#"{{"name":"a","groups":["{}"]}}"#, "x".repeat(MAX_RECORD));
        for text in [
            "",
            "alice",
            "{}",
            "[]",
            r#"["alice"]"#,
            r#"{"name":""}"#,
            r#"{"name":"a b"}"#,
            r#"{"name":"_a"}"#,
            r#"{"name":1}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","admin":true}"#,
            r#"{"name":"a","groups":["x,y"]}"#,
            r#"{"name":"a","groups":"x"}"#,
            r#"{"name":"a","id":"x\r\ny"}"#,
            r#"{"name":"a","expires":"soon"}"#,
            r#"{"name":"a","expires":0}"#,
            r#"{"name":"a"} "#,
            long.as_str(),
        ] {
            let read = Record::read(text.as_bytes(), &[0; 32]);
            assert_eq!(read.is_some(), text.ends_with(' '), "{text}");
        }
    }
}
