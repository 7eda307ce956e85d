//! Upstreams, read and checked.

use super::model::{At, CertificateFiles};
use std::{path::PathBuf, time::Duration};

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// How a target is chosen.
    pub balance: Balance,
    /// At least one.
    pub targets: Vec<At<Target>>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// TLS to the origin; absent: plain text.
    pub tls: Option<UpstreamTls>,
    /// The protocol spoken to the origin.
    pub protocol: Protocol,
    /// Idle connections that each worker keeps to each target, at most.
    pub keepalive: u32,
    /// How targets are checked; absent: not at all.
    pub health: Option<Health>,
    /// When targets are put aside because requests to them fail; absent: never.
    pub outlier: Option<Outlier>,
    /// How long a target that comes back takes to get its whole share; absent: it gets it at once.
    pub slow_start: Option<Duration>,
    /// When a request is sent again.
    pub retries: Retries,
}

/// How targets are checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What is asked for; absent: a connection is enough.
    pub path: Option<String>,
    /// Between two checks.
    pub interval: Duration,
    /// For each check.
    pub timeout: Duration,
    /// Checks in succession that bring a target back.
    pub healthy: u32,
    /// Checks in succession that take it out.
    pub unhealthy: u32,
    /// Statuses of a target that is well.
    pub expect: Vec<http::StatusCode>,
}

impl Default for Health {
    fn default() -> Self {
        Health {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            healthy: 2,
            unhealthy: 3,
            expect: vec![http::StatusCode::OK],
        }
    }
}

/// When a target is put aside because requests to it fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlier {
    /// After so many failures in succession.
    pub consecutive_failures: u32,
    /// For so long, the first time.
    pub eject: Duration,
}

impl Default for Outlier {
    fn default() -> Self {
        Outlier { consecutive_failures: 5, eject: Duration::from_secs(30) }
    }
}

/// When a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// At most so many times after the first.
    pub attempts: u32,
    /// Where no connection could be made.
    pub connect_failure: bool,
    /// Where the connection broke before an answer.
    pub reset: bool,
    /// The same, but once, and for GET, HEAD and OPTIONS alone.
    pub reset_once: bool,
    /// Where the answer has one of these.
    pub statuses: Vec<http::StatusCode>,
    /// Retries for each hundred requests.
    pub budget: u32,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            attempts: 2,
            connect_failure: true,
            reset: false,
            reset_once: true,
            statuses: Vec::new(),
            budget: 20,
        }
    }
}

/// Idle connections to each target where nothing else is written.
pub const KEEPALIVE: u32 = 128;

/// How a target is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// In turn, by weight.
    RoundRobin,
    /// At random, by weight.
    Random,
    /// The one with the fewest requests in flight for its weight.
    LeastConnections,
    /// By a consistent hash of this.
    Hash(HashOn),
}

/// What a consistent hash is taken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Ip,
    /// A header.
    Header(http::HeaderName),
    /// A cookie.
    Cookie(String),
    /// The principal, else the client's address.
    Consumer,
    /// The path.
    Path,
}

/// One origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// At least 1.
    pub weight: u16,
}

/// How long things may take at an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS handshake together.
    pub connect: Duration,
    /// Between two reads.
    pub read: Duration,
    /// Between two writes.
    pub write: Duration,
    /// An idle connection in the pool.
    pub idle: Duration,
    /// From the end of the request to the end of the response.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(15),
            write: Duration::from_secs(15),
            idle: Duration::from_secs(60),
            total: Duration::from_secs(15),
        }
    }
}

/// TLS to an origin. Its certificate is always verified.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// The name that is asked for and verified; by default the target's host.
    pub server_name: Option<String>,
    /// Who may have signed it; by default the system's authorities.
    pub ca: Option<At<PathBuf>>,
    /// Our own certificate and key, where the origin asks for them.
    pub identity: Option<At<CertificateFiles>>,
}

/// The protocol spoken to an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN with TLS, else with prior knowledge.
    Http2,
    /// HTTP/2 for gRPC: the same, with trailers.
    Grpc,
}
