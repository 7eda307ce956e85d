//! What an entry counts by.

use super::table::{Key, KeyHasher};
use http::HeaderName;
use palisade_contract::{Exchange, Principal};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt, net::IpAddr};

/// The most parts of a key.
const MAX_PARTS: usize = 8;

/// One part of what is counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Ip,
    Consumer,
    Route,
    Path,
    Header(HeaderName),
    Claim(String),
}

/// Parts, as written: one or a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct By(pub(super) Vec<Part>);

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        let part = match text.split_once(':') {
            None => match text {
                "ip" => Some(Part::Ip),
                "consumer" => Some(Part::Consumer),
                "route" => Some(Part::Route),
                "path" => Some(Part::Path),
                _ => None,
            },
            Some(("header", name)) => HeaderName::from_bytes(name.as_bytes()).ok().map(Part::Header),
            Some(("claim", name)) if !name.is_empty() => Some(Part::Claim(name.to_owned())),
            Some(_) => None,
        };
        part.ok_or_else(|| {
            format!(
                "`{text}` is nothing to count by; help: write `ip`, `consumer`, `route`, `path`, `header:NAME` or \
                 `claim:NAME`, or a list of them"
            )
        })
    }

    fn is_of_caller(&self) -> bool {
        matches!(self, Part::Consumer | Part::Claim(_))
    }
}

impl By {
    /// True where it must be known who is calling.
    pub(super) fn is_of_caller(&self) -> bool {
        self.0.iter().any(Part::is_of_caller)
    }

    /// The key that a request counts under. What a request lacks is counted as one: nobody escapes a limit by
    /// leaving something out. With `fallback` the client's address stands in for a caller who is not known.
    pub(super) fn key(&self, ex: &Exchange, fallback: bool, mut hasher: KeyHasher) -> Key {
        for part in &self.0 {
            part.feed(ex, fallback, &mut hasher);
        }
        hasher.key()
    }
}

impl Part {
    fn feed(&self, ex: &Exchange, fallback: bool, hasher: &mut KeyHasher) {
        let principal = ex.principal();
        match self {
            Part::Ip => ip(ex.client().ip, hasher),
            Part::Consumer => match principal {
                Some(principal) => hasher.part(2, principal.id.as_bytes()),
                None => unknown(ex, fallback, hasher),
            },
            Part::Route => hasher.part(3, ex.route().map_or(&[], |route| route.as_bytes())),
            Part::Path => hasher.part(4, ex.path().as_bytes()),
            Part::Header(name) => {
                let mut values = ex.request.headers.get_all(name).iter();
                match (values.next(), values.next()) {
                    (Some(value), None) => hasher.part(5, value.as_bytes()),
                    // None is as good as any; several are nobody's.
                    _ => hasher.part(0, &[]),
                }
            }
            Part::Claim(name) => match principal.and_then(|principal| claim(principal, name)) {
                Some(value) => hasher.part(6, value.as_bytes()),
                None => unknown(ex, fallback, hasher),
            },
        }
    }
}

fn unknown(ex: &Exchange, fallback: bool, hasher: &mut KeyHasher) {
    if fallback { ip(ex.client().ip, hasher) } else { hasher.part(0, &[]) }
}

/// An IPv6 client has a /64 at least to choose addresses from.
fn ip(ip: IpAddr, hasher: &mut KeyHasher) {
    match ip.to_canonical() {
        IpAddr::V4(ip) => hasher.part(1, &ip.octets()),
        IpAddr::V6(ip) => hasher.part(1, &(ip.to_bits() >> 64).to_be_bytes()),
    }
}

fn claim<'p>(principal: &'p Principal, name: &str) -> Option<Cow<'p, str>> {
    match principal.claim(name)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

impl<'de> Deserialize<'de> for By {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ByVisitor)
    }
}

struct ByVisitor;

impl<'de> Visitor<'de> for ByVisitor {
    type Value = By;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`ip`, `consumer`, `route`, `path`, `header:NAME`, `claim:NAME`, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<By, E> {
        Part::parse(text).map(|part| By(vec![part])).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<By, A::Error> {
        let mut parts = Vec::new();
        while let Some(text) = list.next_element::<String>()? {
            let part = Part::parse(&text).map_err(de::Error::custom)?;
            if parts.contains(&part) {
                return Err(de::Error::custom(format!("`{text}` is in the list already")));
            }
            parts.push(part);
        }
        if parts.is_empty() || parts.len() > MAX_PARTS {
            return Err(de::Error::custom(format!("the list has from 1 to {MAX_PARTS} parts")));
        }
        Ok(By(parts))
    }
}

impl JsonSchema for By {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "LimitBy".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let part = json_schema!({
            "type": "string",
            "pattern": "^(ip|consumer|route|path|header:.+|claim:.+|.*\\$\\{.*)$"
        });
        let list = json_schema!({"type": "array", "items": part, "minItems": 1, "maxItems": MAX_PARTS});
        json_schema!({"anyOf": [part, list]})
    }
}
