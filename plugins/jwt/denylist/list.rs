//! A list of tokens that are good no longer.

use crate::tokens::claims::{Claims, MAX_TIME, time};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicI64, Ordering},
};

/// The most entries.
const MAX_ENTRIES: usize = 1_000_000;
/// The most of them that name neither a token nor a subject: each is looked at for each token.
const MAX_GENERAL: usize = 1000;

/// Lists are told apart by their numbers, also those of different files.
static NEXT: AtomicI64 = AtomicI64::new(1);

/// What stands in a file: `{"deny": [{"jti": "…"}, {"sub": "…", "issued_before": 1700000000}]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    deny: Vec<Entry>,
}

/// All that is there must hold of a token for it to be denied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    iss: Option<Box<str>>,
    sub: Option<Box<str>>,
    jti: Option<Box<str>>,
    /// In seconds since 1970. A token that does not say when it was issued counts as older.
    issued_before: Option<i64>,
}

/// A list, as it is looked into.
pub(in crate::jwt) struct List {
    pub(super) number: i64,
    by_jti: HashMap<Box<str>, Vec<Entry>>,
    by_sub: HashMap<Box<str>, Vec<Entry>>,
    general: Vec<Entry>,
}

/// What of a token a list is asked about.
pub(super) struct Facts<'c> {
    pub(super) iss: &'c str,
    pub(super) sub: Option<&'c str>,
    pub(super) jti: Option<&'c str>,
    pub(super) issued: Option<i64>,
}

impl<'c> Facts<'c> {
    pub(super) fn of(claims: &'c Claims) -> Self {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let issued = time(claims, "iat").ok().flatten();
        Facts { iss: text("iss").unwrap_or_default(), sub: text("sub"), jti: text("jti"), issued }
    }

    /// True for a token that was issued before a time, or does not say when it was.
    pub(super) fn is_before(&self, limit: i64) -> bool {
        self.issued.is_none_or(|issued| issued < limit)
    }
}

impl List {
    /// Reads a document. A field that nobody knows is an error: it would be a condition that does not hold.
    pub(super) fn read(text: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(text)
            .map_err(|error| format!("it is not `{{\"deny\": [{{…}}]}}`: {error}"))?;
        if document.deny.len() > MAX_ENTRIES {
            return Err(format!("it has more than {MAX_ENTRIES} entries"));
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut list = List { number, by_jti: HashMap::new(), by_sub: HashMap::new(), general: Vec::new() };
        for (index, entry) in document.deny.into_iter().enumerate() {
            let at = |message: &str| Err(format!("deny[{index}]: {message}"));
            let texts = [&entry.iss, &entry.sub, &entry.jti];
            if texts.iter().any(|text| text.as_deref() == Some("")) {
                return at("a name is empty");
            }
            if entry.issued_before.is_some_and(|limit| !(0..=MAX_TIME).contains(&limit)) {
                return at("`issued_before` is not a number of seconds since 1970");
            }
            match &entry {
                Entry { jti: Some(jti), .. } => list.by_jti.entry(jti.clone()).or_default().push(entry),
                Entry { sub: Some(sub), .. } => list.by_sub.entry(sub.clone()).or_default().push(entry),
                Entry { iss: None, issued_before: None, .. } => return at("it names nothing"),
                _ => list.general.push(entry),
            }
        }
        if list.general.len() > MAX_GENERAL {
            return Err(format!("more than {MAX_GENERAL} entries name neither `jti` nor `sub`"));
        }
        Ok(list)
    }

    /// True for a token that is on it.
    pub(super) fn denies(&self, facts: &Facts<'_>) -> bool {
        let holds = |entry: &Entry| {
            entry.iss.as_deref().is_none_or(|iss| iss == facts.iss)
                && entry.sub.as_deref().is_none_or(|sub| Some(sub) == facts.sub)
                && entry.issued_before.is_none_or(|limit| facts.is_before(limit))
        };
        let named = |all: &HashMap<Box<str>, Vec<Entry>>, name: Option<&str>| {
            name.and_then(|name| all.get(name)).is_some_and(|entries| entries.iter().any(holds))
        };
        named(&self.by_jti, facts.jti) || named(&self.by_sub, facts.sub) || self.general.iter().any(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn denies(list: &List, claims: Value) -> bool {
        let claims: Claims = serde_json::from_value(claims).unwrap();
        list.denies(&Facts::of(&claims))
    }

    #[test]
    fn all_of_an_entry_must_hold() {
        let text = json!({"deny": [
            {"jti": "j1"},
            {"jti": "j2", "iss": "a"},
            {"sub": "mallory"},
            {"sub": "alice", "issued_before": 100},
            {"sub": "bob", "iss": "a", "issued_before": 100},
            {"iss": "stolen", "issued_before": 100},
            {"iss": "gone"},
        ]});
        let list = List::read(text.to_string().as_bytes()).unwrap();
        for (claims, denied) in [
            (json!({"jti": "j1", "iss": "x"}), true),
            (json!({"jti": "J1"}), false),
            (json!({"jti": "j2", "iss": "a"}), true),
            (json!({"jti": "j2", "iss": "b"}), false),
            (json!({"jti": "j2"}), false),
            (json!({"sub": "mallory", "jti": "j9"}), true),
            (json!({"sub": "alice", "iat": 99}), true),
            (json!({"sub": "alice", "iat": 100}), false),
            (json!({"sub": "alice"}), true),
            (json!({"sub": "bob", "iss": "a", "iat": 1}), true),
            (json!({"sub": "bob", "iss": "b", "iat": 1}), false),
            (json!({"sub": "x", "iss": "stolen", "iat": 99}), true),
            (json!({"sub": "x", "iss": "stolen", "iat": 100}), false),
            (json!({"iss": "gone", "iat": 4_000_000_000_i64}), true),
            (json!({"sub": "x", "jti": "x", "iss": "x"}), false),
            (json!({}), false),
        ] {
            assert_eq!(denies(&list, claims.clone()), denied, "{claims}");
        }
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "null",
            "{\"deny\":{}}",
            "{\"deny\":[1]}",
            "{\"deny\":[{}]}",
            "{\"deny\":[{\"jti\":\"\"}]}",
            "{\"deny\":[{\"jti\":1}]}",
            "{\"deny\":[{\"kid\":\"x\"}]}",
            "{\"deny\":[],\"more\":1}",
            "{\"deny\":[{\"jti\":\"a\",\"jti\":\"b\"}]}",
            "{\"deny\":[],\"deny\":[]}",
            "{\"deny\":[]}x",
            "{\"deny\":[{\"issued_before\":\"1\"}]}",
            "{\"deny\":[{\"issued_before\":1.5}]}",
            "{\"deny\":[{\"issued_before\":-1}]}",
            "{\"deny\":[{\"issued_before\":1700000000000}]}",
            "{\"deny\":[{\"sub\":\"a\"",
            "{\"deny\":[{\"sub\":null}]}",
        ] {
            assert!(List::read(text.as_bytes()).is_err(), "{text}");
        }
        let general = json!({"deny": vec![json!({"iss": "x"}); MAX_GENERAL + 1]});
        assert!(List::read(general.to_string().as_bytes()).is_err());
        assert!(List::read(b"{\"deny\":[]}").is_ok());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "\\PC{0,60}|\\{\"deny\":\\[(\\{\"(jti|sub|iss|issued_before)\":(\"a\"|1|null)\\},?){0,3}\\]\\}") {
            if let Ok(list) = List::read(text.as_bytes()) {
                denies(&list, json!({"jti": "a", "sub": "a", "iss": "a", "iat": 1}));
            }
        }
    }
}
