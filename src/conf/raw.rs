//! The sections as written. The schema for editors is derived from the same types, so that the two cannot
//! disagree about a name.

use palisade_contract::{
    Secret,
    conf::{Cidr, HumanDuration, Size},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Sections and fields that have a fixed meaning and that this release does not enforce: they are refused, never
/// accepted and ignored.
pub(super) fn not_yet(name: &str) -> Option<&'static str> {
    match name {
        "body_bytes" | "body_timeout" | "buffered_bytes" => Some(
            "it is not decided here: write it in the top-level `limits`; a route may set `body_bytes` and \
             `body_timeout`",
        ),
        _ => None,
    }
}

/// An address to listen on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    /// Address and port: `0.0.0.0:8080`, `[::]:8443`. Port 0 lets the system choose.
    #[schemars(extend("examples" = ["0.0.0.0:8080"]))]
    pub(super) address: String,
    /// HTTP/2: by ALPN with `tls`, else with prior knowledge (h2c).
    #[serde(default)]
    pub(super) http2: bool,
    /// Every connection must begin with a header of the PROXY protocol (version 1 or 2) and come from one of
    /// `client_ip.trusted_proxies`; the address that it names is the client's.
    #[serde(default)]
    pub(super) proxy_protocol: bool,
    /// Without it the listener speaks plain text.
    pub(super) tls: Option<RawTls>,
    /// Overrides of the top-level `limits`.
    pub(super) limits: Option<RawListenerLimits>,
}

/// TLS of a listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTls {
    /// Chosen by SNI; the first is the default.
    pub(super) certificates: Vec<RawCertificate>,
    /// Client certificates.
    pub(super) client_auth: Option<RawClientAuth>,
}

/// A certificate chain and its key, PEM files, relative to this file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCertificate {
    /// The chain, the leaf first.
    pub(super) certificate: String,
    /// The private key.
    pub(super) key: String,
}

/// Client certificates.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClientAuth {
    /// Whether a connection needs one.
    pub(super) mode: RawClientAuthMode,
    /// Who may have signed them: a PEM file. A client may send up to six certificates between its own and these.
    pub(super) ca: String,
    /// Lists of revoked certificates (CRL), PEM files, read again at each reload. With any, every certificate of a
    /// client's chain must stand under a list of its issuer that is not past its next update: else it is refused.
    pub(super) crl: Option<Vec<String>>,
}

/// Whether a connection needs a client certificate.
#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawClientAuthMode {
    Optional,
    Required,
}

/// What connections and requests may use.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    /// For a request's whole head.
    #[schemars(extend("default" = "10s"))]
    pub(super) header_timeout: Option<HumanDuration>,
    /// For a request's whole body. Not for upgraded connections, and not for HTTP/2 streams to a `grpc` upstream. A request
    /// over HTTP/2 waits for the first of its body before it goes to its route, up to `header_timeout`.
    #[schemars(extend("default" = "30s"))]
    pub(super) body_timeout: Option<HumanDuration>,
    /// Between two requests of a connection.
    #[schemars(extend("default" = "60s"))]
    pub(super) idle_timeout: Option<HumanDuration>,
    /// A request's whole head.
    #[schemars(extend("default" = "32KiB"))]
    pub(super) header_bytes: Option<Size>,
    /// Header fields of a request.
    #[schemars(extend("default" = 100))]
    pub(super) header_count: Option<u16>,
    /// A request's target.
    #[schemars(extend("default" = "8KiB"))]
    pub(super) uri_bytes: Option<Size>,
    /// A request's body.
    #[schemars(extend("default" = "1MiB"))]
    pub(super) body_bytes: Option<Size>,
    /// What all requests together may hold in buffers.
    #[schemars(extend("default" = "256MiB"))]
    pub(super) buffered_bytes: Option<Size>,
    /// What the process may use of memory, at least 16MiB; what its control group may have where that is less. From
    /// 85 % of it on idle connections are closed, from 95 % on new ones are answered 503.
    pub(super) memory: Option<Size>,
    /// Connections in all, of all listeners together; fewer where there are not as many file descriptors.
    #[schemars(extend("default" = 20000))]
    pub(super) connections: Option<u32>,
    /// Connections of one client address (IPv6: one /64) to one listener. Trusted proxies are exempt: each client that
    /// they name, by `client_ip.header` or the PROXY protocol, may have as many requests in flight, or connections.
    #[schemars(extend("default" = 200))]
    pub(super) connections_per_ip: Option<u32>,
}

/// What a listener may say about limits: those that hold before a request has a route.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListenerLimits {
    /// For a request's whole head.
    pub(super) header_timeout: Option<HumanDuration>,
    /// Between two requests of a connection.
    pub(super) idle_timeout: Option<HumanDuration>,
    /// A request's whole head.
    pub(super) header_bytes: Option<Size>,
    /// Header fields of a request.
    pub(super) header_count: Option<u16>,
    /// A request's target.
    pub(super) uri_bytes: Option<Size>,
    /// Which paths are taken. `relaxed` lets `%2F` and `%5C` in a segment go on as they are, where no part between them
    /// is empty or a dot segment; nothing else that is refused is let through. Routes see them as part of the segment,
    /// and a path that is another route's once they are decoded is refused. `check` and the log warn of it, and the
    /// record of each such request has the decision `path_relaxed`.
    #[schemars(extend("default" = "strict"))]
    pub(super) paths: Option<RawPaths>,
    /// Connections of this listener.
    pub(super) connections: Option<u32>,
    /// Connections of one client address (IPv6: one /64) to this listener.
    pub(super) connections_per_ip: Option<u32>,
}

/// Which paths are taken.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawPaths {
    Strict,
    Relaxed,
}

impl From<&RawListenerLimits> for RawLimits {
    fn from(raw: &RawListenerLimits) -> Self {
        RawLimits {
            header_timeout: raw.header_timeout,
            idle_timeout: raw.idle_timeout,
            header_bytes: raw.header_bytes,
            header_count: raw.header_count,
            uri_bytes: raw.uri_bytes,
            connections: raw.connections,
            connections_per_ip: raw.connections_per_ip,
            ..RawLimits::default()
        }
    }
}

/// Who is believed about the client's address.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClientIp {
    /// Proxies in front of the gateway. Nobody is believed unless written here.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Cidr>,
    /// The header that they write.
    #[schemars(extend("default" = "x-forwarded-for"))]
    pub(super) header: Option<String>,
}

/// The admin listener.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmin {
    /// Off loopback everything but probes needs the token.
    #[schemars(extend("examples" = ["127.0.0.1:9901"]))]
    pub(super) address: String,
    /// Without one nothing can be changed through the admin API.
    pub(super) token: Option<Secret>,
    /// Another address for `/healthz` and `/readyz` alone.
    pub(super) probes: Option<String>,
}

/// Which requests, and what happens to them.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    /// `shop.example.com`, `*.example.com`; absent: any.
    #[serde(default)]
    pub(super) hosts: Vec<String>,
    /// Exact (`/cart`), with parameters (`/orders/{id}`), or a prefix (`/cart/*`).
    #[schemars(extend("examples" = [["/*"]]))]
    pub(super) paths: Vec<String>,
    /// Absent: any.
    #[serde(default)]
    pub(super) methods: Vec<String>,
    /// Header names and the whole value that each must have.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// Where its requests go.
    pub(super) upstream: Option<String>,
    /// Cut from the path before the origin sees it.
    pub(super) strip_prefix: Option<String>,
    /// Headers that go on to the origin here and are taken from clients elsewhere: `x-http-method-override` and its
    /// like, by which a `POST` is judged, and goes on, as the `PUT`, `PATCH` or `DELETE` that it names, where the route
    /// takes that method; `x-original-url` and its like, which only an origin should get that does not act by them.
    #[serde(default)]
    #[schemars(extend("examples" = [["x-http-method-override"]]))]
    pub(super) pass_headers: Vec<String>,
    /// Overrides of `limits`.
    #[serde(default)]
    pub(super) limits: RawRouteLimits,
    /// `{any: [jwt, key-auth]}`, `{all: [mtls, jwt]}` or `optional`.
    pub(super) auth: Option<RawAuth>,
    /// Says that nobody needs a credential here, where nothing authenticates or what does may be passed without one:
    /// `check --strict` asks for it. Refused where a credential is needed.
    #[serde(default)]
    pub(super) public: bool,
    /// Plugins of this route.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    #[allow(dead_code, reason = "read node by node; here for the schema")]
    pub(super) plugins: Ignored,
    /// Shows the decision record in a response header.
    pub(super) explain: Option<RawExplain>,
    /// Own bodies for answers that the gateway makes, by status.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, RawErrorBody>")]
    #[allow(dead_code, reason = "read node by node; here for the schema")]
    pub(super) errors: Ignored,
}

/// What is read elsewhere, node by node.
#[derive(Debug, Default)]
pub(super) struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Ignored)
    }
}

/// What a route may say about limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRouteLimits {
    /// A request's body.
    pub(super) body_bytes: Option<Size>,
    /// For a request's whole body.
    pub(super) body_timeout: Option<HumanDuration>,
}

/// How a route's authenticators go together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawAuth {
    /// The first that finds a credential decides.
    Any(Vec<String>),
    /// Every one must succeed.
    All(Vec<String>),
    /// The route's authenticator may be conditional or monitored.
    Optional,
}

/// Who may see the decision record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExplain {
    /// The response header.
    pub(super) header: String,
    /// Clients that get it.
    pub(super) allow: Vec<Cidr>,
}

/// The operator's own body for an answer that the gateway makes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawErrorBody {
    /// Its media type.
    pub(super) content_type: String,
    /// The text itself.
    pub(super) body: Option<String>,
    /// A file with it, relative to this file.
    pub(super) file: Option<String>,
}

/// The fields that every plugin entry may hold.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCommon {
    /// `enforce`, `monitor` (record denials, refuse nothing) or `off`.
    #[schemars(extend("default" = "enforce"))]
    pub(super) mode: Option<palisade_contract::Mode>,
    /// What a fault of the plugin does.
    #[schemars(extend("default" = "deny"))]
    pub(super) on_fault: Option<RawOnFault>,
    /// A CEL condition; the entry runs where it is true.
    pub(super) when: Option<String>,
    /// Authenticators: the consumer that a request without a credential passes as.
    pub(super) anonymous: Option<String>,
}

/// What a fault of a plugin does.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawOnFault {
    Deny,
    Allow,
}
