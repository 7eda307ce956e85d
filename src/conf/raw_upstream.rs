//! Upstreams as written.

use palisade_contract::conf::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where requests go.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    /// How a target is chosen.
    #[serde(default)]
    pub(super) balance: RawBalance,
    /// With `balance: hash`: `ip`, `header:NAME`, `cookie:NAME`, `consumer` or `path`.
    pub(super) hash_on: Option<String>,
    /// The origins.
    pub(super) targets: Vec<RawTarget>,
    /// How long things may take.
    #[serde(default)]
    pub(super) timeouts: RawTimeouts,
    /// TLS to the origin; its certificate is always verified.
    pub(super) tls: Option<RawUpstreamTls>,
    /// The protocol spoken to the origin.
    #[serde(default)]
    pub(super) protocol: RawProtocol,
    /// Idle connections that each worker keeps to each target, at most; 0 to 10000. With `http2` and `grpc` each carries
    /// 100 requests at once; to `http2`, a body over HTTP/2 that is still on its way has one to itself.
    #[schemars(extend("default" = 128))]
    pub(super) keepalive: Option<u32>,
    /// Checks the targets in the background; those that are not well get no requests.
    pub(super) health: Option<RawHealth>,
    /// Puts a target aside for a while when requests to it fail.
    pub(super) outlier: Option<RawOutlier>,
    /// How long a target that comes back, or is added by a reload, takes to get its whole share: it begins with a
    /// tenth. Absent: at once.
    pub(super) slow_start: Option<HumanDuration>,
    /// When a request is sent again, to another target where there is one.
    #[serde(default)]
    pub(super) retries: RawRetries,
}

/// Checks the targets in the background, with the upstream's TLS and protocol. The first check of a target decides
/// at once; until then it counts as well. Where no target is well: 503 `no_healthy_target`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHealth {
    /// What is asked for by GET. Absent: a connection (with `tls`, its handshake) is enough. With `protocol: grpc` the
    /// path of a method that is called, such as `/grpc.health.v1.Health/Check`: it must answer SERVING.
    pub(super) path: Option<String>,
    /// Between two checks of a target, a tenth more or less.
    #[schemars(extend("default" = "5s"))]
    pub(super) interval: Option<HumanDuration>,
    /// For each check, connecting included.
    #[schemars(extend("default" = "1s"))]
    pub(super) timeout: Option<HumanDuration>,
    /// Successful checks in succession that bring a target back; 1 to 100.
    #[schemars(extend("default" = 2))]
    pub(super) healthy: Option<u32>,
    /// Failed checks in succession that take it out; 1 to 100.
    #[schemars(extend("default" = 3))]
    pub(super) unhealthy: Option<u32>,
    /// Statuses of a target that is well.
    #[schemars(extend("default" = [200]))]
    pub(super) expect: Option<Vec<u16>>,
}

/// Puts a target aside for a while when requests to it fail: when no connection can be made, or it breaks, or takes
/// too long, or the status is 5xx. Never more than half of an upstream's targets, and never the last one; but all that cannot be
/// connected to: then requests get 503 at once, until one that is let through finds a target again.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOutlier {
    /// After so many failures in succession; 1 to 1000.
    #[schemars(extend("default" = 5))]
    pub(super) consecutive_failures: Option<u32>,
    /// For so long. Each ejection that follows soon lasts twice as long, up to ten times this.
    #[schemars(extend("default" = "30s"))]
    pub(super) eject: Option<HumanDuration>,
}

/// When a request is sent again. Only what is safe to repeat is: requests of which nothing was sent, and those with
/// idempotent methods (GET, HEAD, OPTIONS, PUT, DELETE, TRACE) whose body is 64 KiB at most; never once the client
/// has got a byte of the answer. What `on` says does not concern idle connections that turn out to be dead: such
/// a request is repeated once on a new connection.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetries {
    /// At most so many times after the first; 0 to 10.
    #[schemars(extend("default" = 2))]
    pub(super) attempts: Option<u32>,
    /// `connect_failure`, `reset` (the connection broke before an answer), or a status from `"500"` to `"599"`. Where
    /// it is absent, a GET, HEAD or OPTIONS whose connection ended before an answer is sent once more as well.
    #[schemars(extend("default" = ["connect_failure"]))]
    pub(super) on: Option<Vec<String>>,
    /// Retries for each hundred requests of the last ten seconds; ten more are always possible.
    #[schemars(extend("default" = "20%", "pattern" = "^[0-9]+%$"))]
    pub(super) budget: Option<String>,
}

/// How a target is chosen.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawBalance {
    #[default]
    RoundRobin,
    Random,
    LeastConnections,
    Hash,
}

/// The protocol spoken to an origin.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawProtocol {
    #[default]
    Http1,
    Http2,
    Grpc,
}

/// One origin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTarget {
    /// Host (or address) and port: `shop.internal:8080`, `10.0.0.1:8080`, `[::1]:8080`. All IPv4 addresses of a name
    /// share its weight, IPv6 where it has no other; it is asked for again when the answer's time to live is over.
    #[schemars(extend("examples" = ["10.0.0.1:8080"]))]
    pub(super) address: String,
    /// From 1 to 1000.
    #[schemars(extend("default" = 1))]
    pub(super) weight: Option<u16>,
}

/// How long things may take at an origin.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTimeouts {
    /// To connect, TLS included.
    #[schemars(extend("default" = "3s"))]
    pub(super) connect: Option<HumanDuration>,
    /// Between two reads.
    #[schemars(extend("default" = "15s"))]
    pub(super) read: Option<HumanDuration>,
    /// Between two writes.
    #[schemars(extend("default" = "15s"))]
    pub(super) write: Option<HumanDuration>,
    /// An idle connection in the pool.
    #[schemars(extend("default" = "60s"))]
    pub(super) idle: Option<HumanDuration>,
    /// In all, from the end of the request on, retries included: until then the response's head must be there
    /// (else 504 `upstream_total_timeout`), and its body goes on only as far as it has come at 1 KiB a second or
    /// faster. Not for upgrades, and not for the body of a stream: a response of the type `text/event-stream`,
    /// `application/grpc…`, `application/x-ndjson`, `application/json-seq` or `multipart/x-mixed-replace`.
    /// An HTTP/2 client of an origin that speaks HTTP/2 as well has its stream reset, recorded as 504, where it is a second
    /// attempt that outlasts it.
    #[schemars(extend("default" = "15s"))]
    pub(super) total: Option<HumanDuration>,
}

/// TLS to an origin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstreamTls {
    /// The name that is asked for and verified; default: the target's host.
    pub(super) server_name: Option<String>,
    /// Who may have signed it: a PEM file; default: the system's authorities.
    pub(super) ca: Option<String>,
    /// Our certificate, where the origin asks for one.
    pub(super) certificate: Option<String>,
    /// Its key.
    pub(super) key: Option<String>,
}
