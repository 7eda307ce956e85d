//! `correlation-id`: one id for a request, from the client to the origin and back.

use http::{HeaderName, HeaderValue, header};
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Exchange, Hooks, Plugin, PluginKind, ResponseHeader, Stage, Step,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The longest id that is taken over.
const MAX_ID: usize = 128;

/// An id in one of these would break the framing of a message, or send it elsewhere.
const TAKEN: [HeaderName; 13] = [
    header::AUTHORIZATION,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::HOST,
    header::LOCATION,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Names a request. Every request has an id already; this plugin says what it looks like, takes over a trusted
/// proxy's, and tells the client.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The header that holds it.
    header_name: String,
    /// What an id looks like.
    generator: Generator,
    /// Tell the client.
    echo_downstream: bool,
    /// Take over ids of any client, not only of trusted proxies.
    trust_client: bool,
}

/// What an id looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    /// 32 hex digits, which are the trace id of `traceparent` as well.
    Hex,
    /// A UUID of version 7: sorts by time.
    Uuid,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            header_name: "x-request-id".to_owned(),
            generator: Generator::Hex,
            echo_downstream: true,
            trust_client: false,
        }
    }
}

/// The plugin.
pub struct CorrelationId {
    header: HeaderName,
    generator: Generator,
    echo: bool,
    trust_client: bool,
}

impl PluginKind for CorrelationId {
    const NAME: &'static str = "correlation-id";
    const SUMMARY: &'static str =
        "Gives each request an id that the client, the record and the origin share.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Screen
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let header = HeaderName::from_bytes(config.header_name.as_bytes()).map_err(|_| {
            ConfigError::at("header_name", format!("`{}` is not a header name", config.header_name))
                .help("names have letters, digits and `-`, such as `x-request-id`")
        })?;
        if TAKEN.contains(&header) {
            let message = format!("`{header}` means something else already");
            return Err(ConfigError::at("header_name", message)
                .help("write `x-request-id`, or a name of your own")
                .into());
        }
        Ok(CorrelationId {
            header,
            generator: config.generator,
            echo: config.echo_downstream,
            trust_client: config.trust_client,
        })
    }
}

fn is_id(value: &[u8]) -> bool {
    let plain = |byte: &u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'=' | b'+' | b'@')
    };
    !value.is_empty() && value.len() <= MAX_ID && value.iter().all(plain)
}

impl Plugin for CorrelationId {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::RESPONSE
    }

    fn on_every_response(&self) -> bool {
        true
    }

    fn writes_to_origin(&self) -> Vec<HeaderName> {
        vec![self.header.clone()]
    }

    fn reads_from_client(&self) -> Vec<HeaderName> {
        vec![self.header.clone()]
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let trusted = self.trust_client || ex.client().behind_proxy;
        let mut values = ex.request.headers.get_all(&self.header).iter();
        // Two ids, or one that is none, are nobody's.
        let given = match (values.next(), values.next()) {
            (Some(value), None) if trusted && is_id(value.as_bytes()) => {
                value.to_str().ok().map(str::to_owned)
            }
            _ => None,
        };
        match given {
            Some(id) => ex.set_id(id),
            None if self.generator == Generator::Uuid => ex.set_id(uuid::Uuid::now_v7().to_string()),
            None => {}
        }
        if let Ok(value) = HeaderValue::from_str(ex.id()) {
            let header = self.header.clone();
            ex.to_origin().set_headers.push((header, value));
        }
        Step::CONTINUE
    }

    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        if self.echo
            && let Ok(value) = HeaderValue::from_str(ex.id())
        {
            // The id is checked or our own: it is a header value.
            let _ = head.insert_header(self.header.clone(), value);
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

    const OWN: &str = "00000000000000000000000000000001";

    fn run(yaml: &str, case: Case) -> Ran {
        Kit::of(Descriptor::of::<CorrelationId>()).build(yaml).unwrap().run(case).passed()
    }

    #[test]
    fn the_id_reaches_client_and_origin() {
        let ran = run("{}", Case::get("/"));
        assert_eq!(ran.head.headers["x-request-id"], OWN);
        assert_eq!(
            ran.ex.origin_changes().set_headers,
            [(HeaderName::from_static("x-request-id"), HeaderValue::from_static(OWN))]
        );
        let ran = run("{generator: uuid, header_name: X-Trace, echo_downstream: false}", Case::get("/"));
        assert!(!ran.head.headers.contains_key("x-trace"));
        assert_eq!(uuid::Uuid::parse_str(ran.ex.id()).unwrap().get_version_num(), 7);
    }

    #[test]
    fn only_the_trusted_choose_ids() {
        let id = |case: Case, yaml: &str| run(yaml, case).ex.id().to_string();
        let with = |value: &str| Case::get("/").header("x-request-id", value);
        assert_eq!(id(with("mine"), "{}"), OWN);
        assert_eq!(id(with("mine"), "trust_client: true"), "mine");
        assert_eq!(id(with("mine").client(|client| client.behind_proxy = true), "{}"), "mine");
        for hostile in ["", "a b", "a\"b", "a<b", &"x".repeat(129), "a,b", "caf\u{e9}"] {
            assert_eq!(id(with(hostile), "trust_client: true"), OWN, "{hostile}");
        }
        assert_eq!(id(with("a").header("x-request-id", "b"), "trust_client: true"), OWN);
    }

    #[test]
    fn mistakes_are_refused_at_load() {
        let kit = Kit::of(Descriptor::of::<CorrelationId>());
        for name in ["Content-Length", "host", "transfer-encoding", "connection", "set-cookie"] {
            let error = kit.build(&format!("header_name: {name}")).unwrap_err();
            assert!(error.contains("means something else already"), "{name}: {error}");
        }
        assert!(kit.build("header_name: 'a b'").unwrap_err().contains("`a b` is not a header name"));
        assert!(kit.build("header_name: ''").is_err());
    }
}
