//! From verified claims to who is calling, and what the origin is told.

use super::{
    bound::{Thumbprint, thumbprint},
    claims::Claims,
    config::TokenCredential,
    refusal::Refusal,
};
use http::{HeaderName, HeaderValue, header};
use palisade_contract::{BuildEnv, ConfigError, Consumer, Principal};
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The longest `jti` that goes to the origin as the credential's identifier.
const MAX_ID: usize = 128;

/// What follows from a verified token.
pub(crate) struct Identity {
    pub(crate) principal: Arc<Principal>,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The certificate that the token is bound to.
    pub(crate) bound: Option<Thumbprint>,
}

/// As an operator writes it.
pub(crate) struct Written<'c> {
    pub(crate) claims_to_headers: &'c BTreeMap<String, String>,
    pub(crate) consumer_claim: Option<&'c String>,
    pub(crate) consumer_optional: bool,
}

/// How claims become an identity.
pub(crate) struct Mapping {
    headers: Vec<(String, HeaderName)>,
    consumers: Option<Consumers>,
}

struct Consumers {
    claim: String,
    optional: bool,
    by_key: HashMap<String, Arc<Consumer>>,
}

impl Mapping {
    pub(crate) fn new(config: &Written<'_>, env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Self {
        let by_key = consumers(env, errors);
        if config.consumer_claim.is_none() && config.consumer_optional {
            let error = ConfigError::at("consumer_optional", "no claim names a consumer");
            errors.push(error.help("write `consumer_claim: sub`, or remove `consumer_optional`"));
        }
        let consumers = config.consumer_claim.cloned().map(|claim| Consumers {
            claim,
            optional: config.consumer_optional,
            by_key,
        });
        Mapping { headers: headers(config.claims_to_headers, errors), consumers }
    }

    /// The headers that the origin is told claims in.
    pub(crate) fn header_names(&self) -> Vec<HeaderName> {
        self.headers.iter().map(|(_, name)| name.clone()).collect()
    }

    /// Who it is: of claims that are true. `issuer` is who answers for those that name none.
    pub(crate) fn identify(&self, claims: Claims, issuer: &str) -> Result<Identity, Refusal> {
        let consumer = match &self.consumers {
            None => None,
            Some(consumers) => consumers.of(&claims)?,
        };
        let bound = thumbprint(&claims)?;
        let mut headers = Vec::with_capacity(self.headers.len());
        for (claim, name) in &self.headers {
            if let Some(value) = nested(&claims, claim) {
                headers.push((name.clone(), header_value(value)?));
            }
        }
        let id = match &consumer {
            Some(consumer) => consumer.name.clone(),
            None => id(&claims, issuer),
        };
        let jti = claims.get("jti").and_then(Value::as_str);
        let shown = jti.filter(|jti| {
            (1..=MAX_ID).contains(&jti.len()) && jti.bytes().all(|byte| byte.is_ascii_graphic())
        });
        let credential = shown.map(Arc::from);
        let principal = Principal { id, consumer, credential, claims: Arc::new(claims), anonymous: false };
        Ok(Identity { principal: Arc::new(principal), headers, bound })
    }
}

/// `issuer|subject`. A token of a client that acts for nobody may have no `sub`: then it is the client.
fn id(claims: &Claims, issuer: &str) -> Arc<str> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let subject = ["sub", "client_id", "azp"].iter().find_map(|name| text(name)).unwrap_or_default();
    format!("{}|{subject}", text("iss").unwrap_or(issuer)).into()
}

impl Consumers {
    fn of(&self, claims: &Claims) -> Result<Option<Arc<Consumer>>, Refusal> {
        let name = match nested(claims, &self.claim) {
            Some(Value::String(text)) => Some(Cow::Borrowed(text.as_str())),
            Some(Value::Number(number)) if number.is_i64() => Some(Cow::Owned(number.to_string())),
            _ => None,
        };
        match name.and_then(|name| self.by_key.get(&*name)) {
            Some(consumer) => Ok(Some(consumer.clone())),
            None if self.optional => Ok(None),
            None => Err(Refusal::ConsumerUnknown),
        }
    }
}

/// A claim by its name, or by a path into nested ones.
fn nested<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    palisade_contract::principal::claim(claims, path)
}

/// Consumers by the keys that they have here, and by their names.
fn consumers(env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> HashMap<String, Arc<Consumer>> {
    let mut all: HashMap<String, Arc<Consumer>> = HashMap::new();
    for (consumer, credential, place) in env.credentials::<TokenCredential>() {
        let wrong = match all.get(&credential.key) {
            Some(other) => Some(format!("`{}` is the consumer `{}` already", credential.key, other.name)),
            None if credential.key.is_empty() => Some("`key` is empty".to_owned()),
            None => None,
        };
        if let Some(message) = wrong {
            let error = ConfigError::new(message).help("give each consumer a `key` of its own");
            let path = format!("consumers.{}.{}", consumer.name, env.entry.plugin);
            errors.push(ConfigError { path, ..error.place(place.clone()) });
            continue;
        }
        all.insert(credential.key.clone(), consumer.clone());
    }
    for (name, consumer) in env.consumers {
        all.entry(name.to_string()).or_insert_with(|| consumer.clone());
    }
    all
}

fn headers(written: &BTreeMap<String, String>, errors: &mut Vec<ConfigError>) -> Vec<(String, HeaderName)> {
    let mut headers: Vec<(String, HeaderName)> = Vec::new();
    for (claim, text) in written {
        let at = |message: &str| {
            ConfigError::at(format!("claims_to_headers.{claim}"), format!("`{text}` {message}"))
                .help("write a name of your own, such as `x-user-id`")
        };
        match HeaderName::from_bytes(text.as_bytes()) {
            Err(_) => errors.push(at("is not a name for a header")),
            Ok(_) if text.contains('_') => errors.push(at("has a `_`, which origins confuse with `-`")),
            Ok(name) if headers.iter().any(|(_, other)| *other == name) => {
                errors.push(at("is written twice"))
            }
            Ok(name) if is_taken(&name) => errors.push(at("means something else")),
            Ok(name) => headers.push((claim.clone(), name)),
        }
    }
    headers
}

/// Headers that no claim may be written into: clients' own would be removed on all routes.
fn is_taken(name: &HeaderName) -> bool {
    [
        header::AUTHORIZATION,
        header::COOKIE,
        header::HOST,
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::EXPECT,
    ]
    .contains(name)
        || ["x-consumer-", "x-forwarded-", "x-credential-identifier", "x-real-ip", "x-request-id"]
            .iter()
            .any(|own| name.as_str().starts_with(own))
}

/// A claim as a header's value: text, a number, true or false, or a list of them.
fn header_value(value: &Value) -> Result<HeaderValue, Refusal> {
    const REFUSED: Refusal = Refusal::ClaimInvalid("a claim cannot be the value of a header");
    fn text(value: &Value) -> Option<Cow<'_, str>> {
        match value {
            Value::String(text) => Some(Cow::Borrowed(text)),
            Value::Number(number) => Some(Cow::Owned(number.to_string())),
            Value::Bool(is) => Some(Cow::Borrowed(if *is { "true" } else { "false" })),
            _ => None,
        }
    }
    let text = match value {
        Value::Array(list) => {
            let all: Option<Vec<_>> = list.iter().map(text).collect();
            let all = all.filter(|all| !all.iter().any(|one| one.contains(','))).ok_or(REFUSED)?;
            Cow::Owned(all.join(","))
        }
        one => text(one).ok_or(REFUSED)?,
    };
    if text.chars().any(char::is_control) {
        return Err(REFUSED);
    }
    HeaderValue::from_str(&text).map_err(|_| REFUSED)
}
