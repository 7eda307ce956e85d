//! `response-headers`: security headers on every answer, and others as written.

use http::{HeaderName, HeaderValue, header};
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Exchange, Hooks, Plugin, PluginKind, ResponseHeader, Stage, Step,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Sets headers on answers, the gateway's own among them. By default: a set of security headers where the origin
/// has none of its own, and nothing that tells what the origin runs on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Adds `x-content-type-options`, `x-frame-options`, `referrer-policy`, `cross-origin-resource-policy`,
    /// `permissions-policy`, and over TLS `strict-transport-security`, where the answer has none of its own; removes
    /// `server`, `x-powered-by` and `x-aspnet-version`.
    defaults: bool,
    /// Adds `cache-control: no-store` to answers for identified callers where the origin says nothing about caching: what
    /// is one caller's must not reach another out of a cache. By default as `defaults`.
    no_store: Option<bool>,
    /// Headers that replace the origin's.
    set: BTreeMap<String, String>,
    /// Headers that are added to the origin's.
    add: BTreeMap<String, String>,
    /// Headers that are removed.
    remove: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            defaults: true,
            no_store: None,
            set: BTreeMap::new(),
            add: BTreeMap::new(),
            remove: Vec::new(),
        }
    }
}

/// The plugin.
pub struct ResponseHeaders {
    defaults: bool,
    no_store: bool,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Set where the answer does not say otherwise.
const DEFAULTS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=()"),
    ),
];

/// What tells an attacker what the origin runs on.
const TELLTALE: [HeaderName; 3] =
    [header::SERVER, HeaderName::from_static("x-powered-by"), HeaderName::from_static("x-aspnet-version")];

/// Fields that frame the message.
fn is_framing(name: &HeaderName) -> bool {
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE, header::TRAILER]
        .contains(name)
}

/// True where the answer may be for one caller alone. Who passes as an anonymous consumer is nobody in particular.
fn is_personal(ex: &Exchange) -> bool {
    ex.principal().is_some_and(|principal| !principal.anonymous)
}

impl PluginKind for ResponseHeaders {
    const NAME: &'static str = "response-headers";
    const SUMMARY: &'static str = "Sets security headers, and others, on every answer.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Transform
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut name = |field: String, text: &str| -> Option<HeaderName> {
            match HeaderName::from_bytes(text.as_bytes()) {
                Ok(name) if !is_framing(&name) => Some(name),
                Ok(_) => {
                    let message = format!("`{text}` frames the message; it cannot be changed here");
                    errors.push(ConfigError::at(field, message).help("leave it out"));
                    None
                }
                Err(_) => {
                    errors.push(
                        ConfigError::at(field, format!("`{text}` is not a header name"))
                            .help("names have letters, digits and `-`, such as `cache-control`"),
                    );
                    None
                }
            }
        };
        let remove = config
            .remove
            .iter()
            .enumerate()
            .filter_map(|(index, text)| name(format!("remove[{index}]"), text))
            .collect();
        let mut fields =
            |field: &str, map: &BTreeMap<String, String>| -> Vec<(HeaderName, HeaderValue, String)> {
                let pairs = map.iter().filter_map(|(key, value)| {
                    let path = format!("{field}.{key}");
                    Some((
                        name(path.clone(), key)?,
                        HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static("")),
                        path,
                    ))
                });
                pairs.collect()
            };
        let (set, add) = (fields("set", &config.set), fields("add", &config.add));
        for (field, map) in [("set", &config.set), ("add", &config.add)] {
            for (key, value) in map.iter().filter(|(_, value)| HeaderValue::from_str(value).is_err()) {
                errors.push(ConfigError::at(
                    format!("{field}.{key}"),
                    format!("`{}` is not a header value", value.escape_debug()),
                ));
            }
        }
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let plain = |fields: Vec<(HeaderName, HeaderValue, String)>| {
            fields.into_iter().map(|(name, value, _)| (name, value)).collect()
        };
        Ok(ResponseHeaders {
            defaults: config.defaults,
            no_store: config.no_store.unwrap_or(config.defaults),
            set: plain(set),
            add: plain(add),
            remove,
        })
    }
}

impl Plugin for ResponseHeaders {
    fn hooks(&self) -> Hooks {
        Hooks::RESPONSE
    }

    fn on_every_response(&self) -> bool {
        true
    }

    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        if self.defaults {
            for name in &TELLTALE {
                head.remove_header(name);
            }
            for (name, value) in &DEFAULTS {
                if !head.headers.contains_key(name) {
                    // Names and values are constants: they are valid.
                    let _ = head.insert_header(name.clone(), value.clone());
                }
            }
            if ex.client().https && !head.headers.contains_key(header::STRICT_TRANSPORT_SECURITY) {
                let _ = head.insert_header(header::STRICT_TRANSPORT_SECURITY, HSTS);
            }
        }
        if self.no_store && is_personal(ex) && !head.headers.contains_key(header::CACHE_CONTROL) {
            let _ = head.insert_header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        for name in &self.remove {
            head.remove_header(name);
        }
        // Names and values were checked at load.
        for (name, value) in &self.set {
            let _ = head.insert_header(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            let _ = head.append_header(name.clone(), value.clone());
        }
        Step::CONTINUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::{
        Descriptor,
        testkit::{Case, Kit, Ran},
    };

    fn run(yaml: &str, case: Case) -> Ran {
        Kit::of(Descriptor::of::<ResponseHeaders>()).build(yaml).unwrap().run(case).passed()
    }

    #[test]
    fn defaults_fill_what_the_origin_leaves_out() {
        let ran = run(
            "{}",
            Case::get("/")
                .response_header("server", "old/1.0")
                .response_header("x-frame-options", "SAMEORIGIN"),
        );
        let headers = &ran.head.headers;
        assert_eq!(
            (&headers["x-content-type-options"], &headers["x-frame-options"]),
            (&HeaderValue::from_static("nosniff"), &HeaderValue::from_static("SAMEORIGIN"))
        );
        assert!(!headers.contains_key("server") && !headers.contains_key("strict-transport-security"));
        let all = |case: Case| -> Vec<String> {
            let head = run("{}", case).head;
            let line =
                |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
            let mut lines: Vec<String> = head.headers.iter().map(line).collect();
            lines.sort();
            lines
        };
        let telltale =
            Case::get("/").response_header("x-powered-by", "old").response_header("x-aspnet-version", "4");
        let expected = [
            "cross-origin-resource-policy: same-origin",
            "permissions-policy: camera=(), geolocation=(), microphone=()",
            "referrer-policy: no-referrer",
            "strict-transport-security: max-age=31536000",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
        ];
        assert_eq!(all(telltale.client(|client| client.https = true)), expected);
        let own = Case::get("/").client(|client| client.https = true);
        let own = own.response_header("strict-transport-security", "max-age=1");
        assert!(all(own).contains(&"strict-transport-security: max-age=1".to_owned()));
        assert!(run("defaults: false", Case::get("/")).head.headers.is_empty());
    }

    #[test]
    fn what_is_one_callers_is_not_stored() {
        let alice = || Case::get("/").principal("alice", &[]);
        let stored = |yaml: &str, case: Case| {
            let head = run(yaml, case).head;
            head.headers.get("cache-control").map(|value| value.to_str().unwrap().to_owned())
        };
        let (no_store, public) = (Some("no-store".to_owned()), Some("public".to_owned()));
        assert_eq!(stored("{}", alice()), no_store);
        assert_eq!(stored("{}", alice().response_header("cache-control", "public")), public);
        assert_eq!(stored("{}", Case::get("/")), None);
        assert_eq!(stored("no_store: false", alice()), None);
        assert_eq!(stored("defaults: false", alice()), None);
        assert_eq!(stored("{defaults: false, no_store: true}", alice()), no_store);
        assert_eq!(stored("set: {cache-control: public}", alice()), public);
        let mut ran = run("{no_store: false}", alice());
        let host = ran.ex.host_side();
        let principal = host.principal.take().unwrap();
        host.principal = Some(std::sync::Arc::new(palisade_contract::Principal {
            anonymous: true,
            ..(*principal).clone()
        }));
        assert!(!is_personal(&ran.ex));
    }

    #[test]
    fn headers_as_written() {
        let case =
            Case::get("/").response_header("a", "1").response_header("b", "1").response_header("c", "1");
        let ran = run("{defaults: false, set: {a: '2'}, add: {b: '2'}, remove: [c]}", case);
        let all = |name: &str| {
            ran.head.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((all("a"), all("b"), all("c")), (vec!["2"], vec!["1", "2"], vec![]));
    }

    #[test]
    fn mistakes_are_refused_at_load() {
        let kit = Kit::of(Descriptor::of::<ResponseHeaders>());
        for (yaml, expected) in [
            ("set: {'a b': x}", "is not a header name"),
            ("set: {a: \"x\\r\\ny\"}", "is not a header value"),
            ("set: {content-length: '1'}", "frames the message"),
            ("remove: [Transfer-Encoding]", "frames the message"),
            ("add: {Connection: close}", "frames the message"),
            ("set: {upgrade: h2c}", "frames the message"),
            ("remove: [trailer]", "frames the message"),
        ] {
            assert!(kit.build(yaml).unwrap_err().contains(expected), "{yaml}");
        }
    }
}
