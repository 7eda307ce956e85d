//! The configuration, read and checked entry by entry: what the snapshot is compiled from.
//!
//! Every value here is within its limits, every default filled in. What needs more than one entry to judge
//! (an upstream that does not exist, two routes that clash) is checked when the snapshot is compiled.

pub use super::model_upstream::*;
pub use crate::path::Paths;
use ipnet::IpNet;
pub use palisade_contract::conf::At;
use palisade_contract::{Consumer, Mode, Node, Place, Secret, conf::Sources, env::Credentials};
use palisade_stores::Settings;
use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// A whole conf directory.
#[derive(Debug)]
pub struct Config {
    /// The directory.
    pub dir: PathBuf,
    /// By name.
    pub listeners: BTreeMap<Arc<str>, At<Listener>>,
    /// For all listeners and routes that do not say otherwise.
    pub limits: Limits,
    /// Who is believed about the client's address.
    pub client_ip: ClientIp,
    /// The admin listener.
    pub admin: Option<At<Admin>>,
    /// Reload when files change.
    pub watch: bool,
    /// Serve the demo API as upstream `demo`.
    pub demo: bool,
    /// How long a process that ends waits for what is in flight.
    pub drain_timeout: Duration,
    /// Where files are written.
    pub state_dir: PathBuf,
    /// Where the control socket lives.
    pub run_dir: PathBuf,
    /// By name.
    pub stores: BTreeMap<Arc<str>, At<Settings>>,
    /// By name.
    pub upstreams: BTreeMap<Arc<str>, At<Upstream>>,
    /// By name.
    pub routes: BTreeMap<Arc<str>, At<Route>>,
    /// Everywhere-entries, by key.
    pub plugins: BTreeMap<Arc<str>, Entry>,
    /// By name.
    pub consumers: BTreeMap<Arc<str>, ConsumerConfig>,
    /// The consumers' credentials, by plugin name.
    pub credentials: Credentials,
    /// Where more consumers are.
    pub consumer_source: Option<At<ConsumerSource>>,
    /// The operator's own error bodies for every route that has none of its own, by status.
    pub errors: BTreeMap<u16, ErrorBody>,
    /// Every file of YAML, and those that references name.
    pub files: Vec<PathBuf>,
    /// Their texts, to show the lines that errors are in.
    pub sources: Arc<Sources>,
    /// What is written and is not right; empty in a configuration that serves.
    pub broken: Broken,
}

/// What is written and is not right. It is known to be there, so that nothing which names it is told that it is not;
/// and what can be judged of it is, so that everything wrong is said at once.
#[derive(Debug, Default)]
pub struct Broken {
    /// A whole file or section could not be read: what is missing may stand there.
    pub uncertain: bool,
    /// True where a store is among it.
    pub stores: bool,
    /// True where `consumer_source` is.
    pub consumer_source: bool,
    /// By name.
    pub upstreams: HashSet<Arc<str>>,
    /// By name.
    pub consumers: HashSet<Arc<str>>,
    /// Routes, as far as they could be read.
    pub routes: BTreeMap<Arc<str>, At<Route>>,
}

/// One address to listen on.
#[derive(Debug)]
pub struct Listener {
    /// The address; port 0 lets the system choose.
    pub address: At<SocketAddr>,
    /// HTTP/2: by ALPN with TLS, else h2c.
    pub http2: bool,
    /// Every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Absent: plain text.
    pub tls: Option<ListenerTls>,
    /// The limits of this listener.
    pub limits: Limits,
}

/// TLS of a listener.
#[derive(Debug)]
pub struct ListenerTls {
    /// Chosen by SNI; the first is the default.
    pub certificates: Vec<At<CertificateFiles>>,
    /// Whether clients show a certificate.
    pub client_auth: Option<ClientAuth>,
}

/// A certificate chain and its key; PEM.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Client certificates.
#[derive(Debug)]
pub struct ClientAuth {
    /// True: a connection without one is refused.
    pub required: bool,
    /// Who may have signed them.
    pub ca: At<PathBuf>,
    /// Which of them hold no longer; empty: nobody asks.
    pub crl: Vec<At<PathBuf>>,
}

/// What a connection or request may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For the whole head.
    pub header_timeout: Duration,
    /// For the whole body.
    pub body_timeout: Duration,
    /// Between requests.
    pub idle_timeout: Duration,
    /// The whole head.
    pub header_bytes: usize,
    /// Header fields.
    pub header_count: usize,
    /// Which paths are taken.
    pub paths: Paths,
    /// The request target.
    pub uri_bytes: usize,
    /// A request's body.
    pub body_bytes: u64,
    /// What all requests together may hold in buffers.
    pub buffered_bytes: u64,
    /// What the process may use of memory, in bytes; none: what its control group may have.
    pub memory: Option<u64>,
    /// In all; of a listener, its own.
    pub connections: usize,
    /// For one address (IPv6: one /64).
    pub connections_per_ip: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            header_bytes: 32 << 10,
            header_count: 100,
            paths: Paths::Strict,
            uri_bytes: 8 << 10,
            body_bytes: 1 << 20,
            buffered_bytes: 256 << 20,
            memory: None,
            connections: 20_000,
            connections_per_ip: 200,
        }
    }
}

/// What a route may say about limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteLimits {
    /// A request's body.
    pub body_bytes: Option<u64>,
    /// For the whole body.
    pub body_timeout: Option<Duration>,
}

/// Who is believed about the client's address.
#[derive(Debug, Clone, Default)]
pub struct ClientIp {
    /// Proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header that they write; `x-forwarded-for` by default.
    pub header: Option<http::HeaderName>,
}

/// The admin listener.
#[derive(Debug)]
pub struct Admin {
    /// Its address.
    pub address: At<SocketAddr>,
    /// Without one nothing can be changed through it.
    pub token: Option<Secret>,
    /// Another address for the probes alone.
    pub probes: Option<At<SocketAddr>>,
}

/// Which requests, and what happens to them.
#[derive(Debug, Default)]
pub struct Route {
    /// Absent: any.
    pub hosts: Vec<At<String>>,
    /// At least one.
    pub paths: Vec<At<String>>,
    /// Absent: any.
    pub methods: Vec<http::Method>,
    /// Absent: any. No name twice; the whole value must match.
    pub headers: Vec<(http::HeaderName, String)>,
    /// Those of `headers` whose value came out of a reference: it is shown to nobody.
    pub secret_headers: Vec<http::HeaderName>,
    /// Where its requests go. None only where a plugin always answers.
    pub upstream: Option<At<Arc<str>>>,
    /// Cut from the path before the origin sees it.
    pub strip_prefix: Option<At<String>>,
    /// What clients may send although it makes an origin read another method or path. No name twice.
    pub pass_headers: Vec<At<http::HeaderName>>,
    /// Overrides.
    pub limits: RouteLimits,
    /// What must authenticate.
    pub auth: Option<At<Auth>>,
    /// It is written that nobody needs a credential; where.
    pub public: Option<At<()>>,
    /// Entries by key.
    pub plugins: BTreeMap<Arc<str>, Entry>,
    /// Who may see the decision record in a header.
    pub explain: Option<Explain>,
    /// The operator's own error bodies, by status.
    pub errors: BTreeMap<u16, ErrorBody>,
}

/// How a route's authenticators go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// The first that finds a credential decides.
    Any(Vec<String>),
    /// Every one must succeed; the first named gives the principal.
    All(Vec<String>),
    /// The route's authenticator may be conditional or monitored.
    Optional,
}

/// Who may see the decision record, and where.
#[derive(Debug, Clone)]
pub struct Explain {
    /// The response header.
    pub header: http::HeaderName,
    /// Clients that get it.
    pub allow: Vec<IpNet>,
}

/// The operator's own body for an answer that the gateway makes.
#[derive(Debug, Clone)]
pub struct ErrorBody {
    /// Its media type.
    pub content_type: http::HeaderValue,
    /// The bytes, read at load.
    pub body: bytes::Bytes,
    /// The file that they were read from, where it is one.
    pub file: Option<PathBuf>,
}

/// One entry under a `plugins`.
#[derive(Debug)]
pub struct Entry {
    /// `name` or `name#label`.
    pub key: Arc<str>,
    /// The name alone.
    pub name: String,
    /// Where its key is written.
    pub place: Place,
    /// The fields that every entry may hold.
    pub common: Common,
    /// The plugin's own fields: a mapping without the common ones.
    pub fields: Node,
    /// True where something is wrong with it that was said already: nothing can be built of it.
    pub broken: bool,
    /// True where it holds common fields only, so that in a narrower scope it keeps the wider entry's fields.
    pub only_common: bool,
}

/// What every entry may hold.
#[derive(Debug, Clone, Default)]
pub struct Common {
    /// How denials are treated.
    pub mode: Option<Mode>,
    /// What a fault of the plugin does.
    pub on_fault: Option<At<OnFault>>,
    /// The condition, a CEL expression.
    pub when: Option<At<String>>,
    /// For authenticators: the consumer that a request without a credential passes as.
    pub anonymous: Option<At<String>>,
}

/// What a fault of a plugin does to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFault {
    /// It is refused.
    #[default]
    Deny,
    /// It goes on, and that is recorded.
    Allow,
}

/// A configured party.
#[derive(Debug)]
pub struct ConsumerConfig {
    /// Name and groups.
    pub consumer: Arc<Consumer>,
    /// Entries by key; only of stages after Authenticate.
    pub plugins: BTreeMap<Arc<str>, Entry>,
    /// Where it is written.
    pub place: Place,
}

/// Where consumers are that stand outside of the configuration.
#[derive(Debug, Clone)]
pub enum ConsumerSource {
    /// In files of a directory.
    Directory {
        /// The directory.
        path: PathBuf,
        /// Looks again and again whether they have changed.
        watch: bool,
    },
    /// In a store.
    Store {
        /// Its name.
        name: At<String>,
        /// What its keys begin with.
        prefix: Arc<str>,
        /// How old what is known of a credential may be.
        staleness: Duration,
    },
}
