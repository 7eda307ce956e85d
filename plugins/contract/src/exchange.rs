//! One request and its response, as a plugin sees them.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use pingora_http::RequestHeader;
use std::{
    any::Any,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

use crate::{decision::Decision, principal::Principal};

/// Who is at the other end of the connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// The client's address: the peer's, or behind trusted proxies the one they vouch for. IPv4-mapped IPv6
    /// addresses are IPv4 here.
    pub ip: IpAddr,
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// True where the client (or the trusted proxy before us, for its client) speaks TLS.
    pub https: bool,
    /// True where the peer is a trusted proxy.
    pub behind_proxy: bool,
    /// The trusted proxies that vouch for the address, as far as they were named: the client's own first, the peer last.
    pub proxies: Vec<IpAddr>,
    /// The listener's name in the configuration.
    pub listener: Arc<str>,
    /// The port that the listener is bound to.
    pub port: u16,
    /// The TLS session with the peer, where there is one.
    pub tls: Option<Tls>,
}

/// A TLS session.
#[derive(Debug, Clone)]
pub struct Tls {
    /// `TLSv1.3` and the like.
    pub version: Arc<str>,
    /// The cipher suite.
    pub cipher: Arc<str>,
    /// The host that the client asked for (SNI).
    pub server_name: Option<Arc<str>>,
    /// The protocol that was agreed on (ALPN, RFC 7301): `h2`, `http/1.1`; none where the client offered none.
    pub alpn: Option<&'static str>,
    /// What the peer has shown, and the listener has verified. It is the peer's: behind a trusted proxy
    /// ([`Client::behind_proxy`]) not the client's.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// A certificate that the other end of a connection has shown, verified against the listener's authorities.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The chain as it was shown, in DER, the peer's own first.
    pub chain: Vec<Bytes>,
    /// The SHA-256 of the peer's own.
    pub sha256: [u8; 32],
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerCertificate({} in the chain)", self.chain.len())
    }
}

/// What plugins change on the request to the origin. It is applied when the request is sent, so that later
/// plugins and the record still see what the client sent.
#[derive(Debug, Default)]
pub struct OriginChanges {
    /// Set, replacing whatever there is.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove_headers: Vec<HeaderName>,
    /// Query parameters that are removed (by decoded name).
    pub remove_query: Vec<Arc<str>>,
    /// Cookies that are removed.
    pub remove_cookies: Vec<Arc<str>>,
}

impl OriginChanges {
    /// True where nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set_headers.is_empty()
            && self.remove_headers.is_empty()
            && self.remove_query.is_empty()
            && self.remove_cookies.is_empty()
    }
}

/// What became of the request; complete when `on_log` runs.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The status that the client got; 499 where it left before an answer, 0 where none was sent.
    pub status: u16,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
    /// The origin that answered, or the last one tried.
    pub upstream_address: Option<SocketAddr>,
    /// How many times an origin was tried.
    pub attempts: u32,
    /// From the request being sent to the origin until its head was there.
    pub upstream_time: Option<Duration>,
    /// From the first byte of the request until now.
    pub duration: Duration,
    /// A stable reason code where the gateway made the answer or the transfer broke.
    pub reason: Option<&'static str>,
    /// What went wrong, for the operator.
    pub error: Option<String>,
}

/// What a plugin has found in a request, for the record.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The key of the entry that found it.
    pub plugin: Arc<str>,
    /// Usually an object.
    pub what: Value,
}

/// One request and its response.
///
/// [`Exchange::request`] is the canonical request: the router, all plugins, the record and the origin see this
/// one. Change what the origin gets through [`Exchange::to_origin`].
pub struct Exchange {
    /// The head of the request. Its path is in normal form.
    pub request: RequestHeader,
    client: Arc<Client>,
    host: HostSide,
}

/// The gateway's own side of an exchange: written by the chain, read through [`Exchange`]'s methods.
#[doc(hidden)]
pub struct HostSide {
    pub id: Arc<str>,
    pub authority: Arc<str>,
    pub started: SystemTime,
    pub begun: Instant,
    pub route: Option<Arc<str>>,
    pub upstream: Option<Arc<str>>,
    pub path_params: Vec<(Arc<str>, String)>,
    pub principal: Option<Arc<Principal>>,
    pub attached: Vec<Arc<Principal>>,
    pub decisions: Vec<Decision>,
    pub to_origin: OriginChanges,
    pub outcome: Outcome,
    pub findings: Vec<Finding>,
    pub body_limit: u64,
    /// Which instance is running; set by the chain before each hook.
    pub slot: usize,
    pub state: Vec<(usize, Box<dyn Any + Send + Sync>)>,
}

impl Exchange {
    /// For the gateway and the test kit.
    #[doc(hidden)]
    pub fn new(request: RequestHeader, client: Arc<Client>, id: Arc<str>) -> Self {
        Exchange {
            request,
            client,
            host: HostSide {
                id,
                authority: Arc::from(""),
                started: SystemTime::now(),
                begun: Instant::now(),
                route: None,
                upstream: None,
                path_params: Vec::new(),
                principal: None,
                attached: Vec::new(),
                decisions: Vec::new(),
                to_origin: OriginChanges::default(),
                outcome: Outcome::default(),
                findings: Vec::new(),
                body_limit: 1 << 20,
                slot: 0,
                state: Vec::new(),
            },
        }
    }

    /// For the gateway and the test kit: plugins use the methods below.
    #[doc(hidden)]
    pub fn host_side(&mut self) -> &mut HostSide {
        &mut self.host
    }

    /// For the gateway: replaces what is known of the client (the request id likewise).
    #[doc(hidden)]
    pub fn set_client(&mut self, client: Arc<Client>) {
        self.client = client;
    }

    /// The request's id, as it is logged and sent to the origin in `x-request-id`.
    pub fn id(&self) -> &Arc<str> {
        &self.host.id
    }

    /// Takes another id for the request (the `correlation-id` plugin).
    pub fn set_id(&mut self, id: impl Into<Arc<str>>) {
        self.host.id = id.into();
    }

    /// Who is at the other end.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.request.method
    }

    /// The path in normal form, without the query.
    pub fn path(&self) -> &str {
        self.request.uri.path()
    }

    /// The query as sent, without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.request.uri.query()
    }

    /// The host that the request is for: lower case, without the port; empty where there is none (HTTP/1.0).
    pub fn host(&self) -> &str {
        &self.host.authority
    }

    /// The first value of a header.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&HeaderValue> {
        self.request.headers.get(name)
    }

    /// When the request's first byte came, by the wall clock.
    pub fn started(&self) -> SystemTime {
        self.host.started
    }

    /// When the request's first byte came, by the monotonic clock.
    pub fn begun(&self) -> Instant {
        self.host.begun
    }

    /// The route's name; none where no route took the request.
    pub fn route(&self) -> Option<&Arc<str>> {
        self.host.route.as_ref()
    }

    /// The upstream's name, once one is chosen.
    pub fn upstream(&self) -> Option<&Arc<str>> {
        self.host.upstream.as_ref()
    }

    /// What a `{name}` of the route's path stands for.
    pub fn path_param(&self, name: &str) -> Option<&str> {
        self.host.path_params.iter().find(|(key, _)| &**key == name).map(|(_, value)| value.as_str())
    }

    /// What the `{name}`s of the route's path stand for.
    pub fn path_params(&self) -> &[(Arc<str>, String)] {
        &self.host.path_params
    }

    /// Who was proved to be calling; none before Authenticate, and where nothing authenticates.
    pub fn principal(&self) -> Option<&Arc<Principal>> {
        self.host.principal.as_ref()
    }

    /// The other principals of an `all`.
    pub fn attached(&self) -> &[Arc<Principal>] {
        &self.host.attached
    }

    /// What the plugins that ran decided so far.
    pub fn decisions(&self) -> &[Decision] {
        &self.host.decisions
    }

    /// What is changed on the request to the origin.
    pub fn to_origin(&mut self) -> &mut OriginChanges {
        &mut self.host.to_origin
    }

    /// What is changed on the request to the origin, to read.
    pub fn origin_changes(&self) -> &OriginChanges {
        &self.host.to_origin
    }

    /// What became of the request so far.
    pub fn outcome(&self) -> &Outcome {
        &self.host.outcome
    }

    /// The most bytes that the request's body may have: the route's limit.
    pub fn body_limit(&self) -> u64 {
        self.host.body_limit
    }

    /// Adds to the request's record what an entry has found in it, by the entry's key; what it said before is replaced.
    /// It is the plugin that bounds it and keeps credentials out of it: whoever reads the record reads this.
    pub fn set_finding(&mut self, plugin: &Arc<str>, what: Value) {
        match self.host.findings.iter_mut().find(|finding| finding.plugin == *plugin) {
            Some(finding) => finding.what = what,
            None => self.host.findings.push(Finding { plugin: plugin.clone(), what }),
        }
    }

    /// What plugins have found in the request.
    pub fn findings(&self) -> &[Finding] {
        &self.host.findings
    }

    /// State of this plugin instance in this request; made with `Default` the first time.
    pub fn state<T: Any + Default + Send + Sync>(&mut self) -> &mut T {
        let slot = self.host.slot;
        let found = self.host.state.iter().position(|(key, value)| *key == slot && value.is::<T>());
        let index = found.unwrap_or_else(|| {
            self.host.state.push((slot, Box::new(T::default())));
            self.host.state.len() - 1
        });
        let value = self.host.state.get_mut(index).and_then(|(_, value)| value.downcast_mut::<T>());
        // The position was found by this very type, or pushed with it.
        value.unwrap_or_else(|| unreachable!())
    }

    /// State of this plugin instance in this request, where there is any.
    pub fn state_ref<T: Any>(&self) -> Option<&T> {
        let slot = self.host.slot;
        self.host
            .state
            .iter()
            .filter(|(key, _)| *key == slot)
            .find_map(|(_, value)| value.downcast_ref::<T>())
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("id", &self.host.id)
            .field("method", &self.request.method)
            .field("path", &self.request.uri.path())
            .finish_non_exhaustive()
    }
}

/// A body, or a piece of one.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Bytes,
    end: bool,
    replaced: bool,
}

impl Body {
    /// A body (`end`) or a piece of one.
    pub fn new(bytes: Bytes, end: bool) -> Self {
        Body { bytes, end, replaced: false }
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// True where nothing follows.
    pub fn is_end(&self) -> bool {
        self.end
    }

    /// Puts other bytes in their place. The gateway sees to the framing.
    pub fn replace(&mut self, bytes: impl Into<Bytes>) {
        self.bytes = bytes.into();
        self.replaced = true;
    }

    /// True where a plugin has replaced the bytes.
    pub fn is_replaced(&self) -> bool {
        self.replaced
    }

    /// The bytes themselves.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }
}
