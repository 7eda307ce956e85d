//! Who is calling.

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
    pub claims: Arc<BTreeMap<String, serde_json::Value>>,
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
}
