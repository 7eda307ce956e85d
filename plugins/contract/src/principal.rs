//! Who is calling.

use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// A party that the configuration names under `consumers`.
#[derive(Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its groups, as written.
    pub groups: Vec<Arc<str>>,
}

/// What an authenticator has proved.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The consumer's name, else `issuer|subject`. What limits count by and records name.
    pub id: Arc<str>,
    /// The consumer that the credential belongs to, where one is mapped.
    pub consumer: Option<Arc<Consumer>>,
    /// Which credential it was; never the secret itself.
    pub credential: Option<Arc<str>>,
    /// What the credential says about its holder (a token's claims); empty for a plain key.
    pub claims: Arc<BTreeMap<String, Value>>,
    /// True where a request without a credential was let in as this consumer.
    pub anonymous: bool,
}

impl Principal {
    /// The principal of a configured consumer.
    pub fn of_consumer(consumer: Arc<Consumer>, credential: Option<Arc<str>>) -> Self {
        Principal {
            id: consumer.name.clone(),
            consumer: Some(consumer),
            credential,
            claims: Arc::default(),
            anonymous: false,
        }
    }

    /// The groups of its consumer; none where no consumer is mapped.
    pub fn groups(&self) -> &[Arc<str>] {
        self.consumer.as_ref().map_or(&[], |consumer| &consumer.groups)
    }

    /// A claim by its name, or by a path into nested claims: `realm_access.roles`. A name that is there as written
    /// (`https://example.com/roles`) goes before the path.
    pub fn claim(&self, path: &str) -> Option<&Value> {
        claim(&self.claims, path)
    }

    /// The words of a claim: the strings of a list, or of one string what stands between its spaces (a `scope`,
    /// RFC 8693 §4.2). None where the claim is neither.
    pub fn words(&self, path: &str) -> impl Iterator<Item = &str> {
        let (list, text) = match self.claim(path) {
            Some(Value::Array(list)) => (&**list, ""),
            Some(Value::String(text)) => (&[][..], &**text),
            _ => (&[][..], ""),
        };
        list.iter().filter_map(Value::as_str).chain(text.split_ascii_whitespace())
    }
}

/// A claim by its name, or by a path into nested claims (see [`Principal::claim`]).
pub fn claim<'a>(claims: &'a BTreeMap<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.as_object()?.get(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn claims_are_found_by_name_and_by_path() {
        let claims = json!({
            "scope": "a b  c",
            "roles": ["x", 1, "y z"],
            "n": 5,
            "realm": {"access": {"roles": ["r"]}},
            "https://example.com/roles": ["s"],
        });
        let consumer = Consumer { name: "c".into(), groups: Vec::new() };
        let mut principal = Principal::of_consumer(Arc::new(consumer), None);
        principal.claims = Arc::new(claims.as_object().unwrap().clone().into_iter().collect());
        for (path, words) in [
            ("scope", &["a", "b", "c"][..]),
            ("roles", &["x", "y z"]),
            ("n", &[]),
            ("none", &[]),
            ("realm.access.roles", &["r"]),
            ("realm.access", &[]),
            ("realm.none.roles", &[]),
            ("scope.a", &[]),
            ("", &[]),
            (".", &[]),
            ("https://example.com/roles", &["s"]),
        ] {
            assert_eq!(principal.words(path).collect::<Vec<_>>(), words, "{path}");
        }
    }
}
