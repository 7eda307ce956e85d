//! Upstreams: from what is written to the model.

use super::{
    model::{
        At, Balance, CertificateFiles, HashOn, KEEPALIVE, Protocol, Target, Timeouts, Upstream, UpstreamTls,
    },
    raw_upstream::{RawBalance, RawProtocol, RawTarget, RawUpstream, RawUpstreamTls},
    resilience,
    sections::{at, bounded_time, check_name, read, to_read, wrong},
};
use http::HeaderName;
use palisade_contract::{
    ConfigError, Node,
    conf::{HumanDuration, node::Key},
};
use std::{
    collections::{BTreeMap, HashSet},
    net::SocketAddr,
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

/// The most idle connections that may be kept to a target.
const MOST_KEPT: u32 = 10_000;

type Upstreams = BTreeMap<Arc<str>, At<Upstream>>;

/// Upstreams, and the names of those that are not right.
pub(super) fn upstreams(
    written: &[(Key, Node)],
    errors: &mut Vec<ConfigError>,
) -> (Upstreams, HashSet<Arc<str>>) {
    let (mut all, mut broken) = (BTreeMap::new(), HashSet::new());
    for (key, node) in written {
        check_name(key, &node.path, errors);
        let before = errors.len();
        let raw = read::<RawUpstream>(node, errors);
        let target = |error: &&mut ConfigError| {
            error.path.contains(".targets[") && error.message.starts_with("expected a mapping")
        };
        for error in errors.iter_mut().skip(before).filter(target) {
            error.help =
                Some("write `- address: HOST:PORT`, with `weight: N` below it where it is not 1".into());
        }
        let Some(raw) = raw else {
            broken.insert(key.text.as_str().into());
            continue;
        };
        let targets = targets(node, &raw.targets, errors);
        let tls = raw.tls.as_ref().and_then(|tls| upstream_tls(node, tls, errors));
        if let Some(tls) = &tls {
            names(node, tls, &targets, errors);
        }
        let upstream = Upstream {
            balance: balance(node, &raw, errors),
            targets,
            timeouts: timeouts(node, &raw, errors),
            tls,
            protocol: match raw.protocol {
                RawProtocol::Http1 => Protocol::Http1,
                RawProtocol::Http2 => Protocol::Http2,
                RawProtocol::Grpc => Protocol::Grpc,
            },
            keepalive: within(node, "keepalive", raw.keepalive, 0..=MOST_KEPT, KEEPALIVE, errors),
            health: raw.health.as_ref().map(|health| resilience::health(node, health, &raw.protocol, errors)),
            outlier: raw.outlier.as_ref().map(|raw| resilience::outlier(node, raw, errors)),
            slow_start: raw.slow_start.map(|time| bounded_time(node, "slow_start", time, errors)),
            retries: resilience::retries(node, &raw.retries, errors),
        };
        if errors.len() == before {
            all.insert(key.text.as_str().into(), at(node, "", upstream));
        } else {
            broken.insert(key.text.as_str().into());
        }
    }
    (all, broken)
}

fn balance(node: &Node, raw: &RawUpstream, errors: &mut Vec<ConfigError>) -> Balance {
    match (&raw.balance, &raw.hash_on) {
        (RawBalance::RoundRobin, None) => Balance::RoundRobin,
        (RawBalance::Random, None) => Balance::Random,
        (RawBalance::LeastConnections, None) => Balance::LeastConnections,
        (RawBalance::RoundRobin | RawBalance::Random | RawBalance::LeastConnections, Some(_)) => {
            errors.push(
                wrong(node, "hash_on", "`hash_on` has no meaning without `balance: hash`")
                    .help("write `balance: hash`, or remove it"),
            );
            Balance::RoundRobin
        }
        (RawBalance::Hash, None) => {
            errors.push(
                wrong(node, "balance", "`balance: hash` needs `hash_on`")
                    .help("write `hash_on: ip`, `header:NAME`, `cookie:NAME`, `consumer` or `path`"),
            );
            Balance::RoundRobin
        }
        (RawBalance::Hash, Some(on)) => match hash_on(on) {
            Some(on) => Balance::Hash(on),
            None => {
                errors.push(
                    wrong(node, "hash_on", format!("`{on}` is nothing to hash on"))
                        .help("write `ip`, `header:NAME`, `cookie:NAME`, `consumer` or `path`"),
                );
                Balance::RoundRobin
            }
        },
    }
}

fn hash_on(text: &str) -> Option<HashOn> {
    match text.split_once(':') {
        None => match text {
            "ip" => Some(HashOn::Ip),
            "consumer" => Some(HashOn::Consumer),
            "path" => Some(HashOn::Path),
            _ => None,
        },
        Some(("header", name)) => HeaderName::from_bytes(name.as_bytes()).ok().map(HashOn::Header),
        Some(("cookie", name)) if !name.is_empty() => Some(HashOn::Cookie(name.to_owned())),
        Some(_) => None,
    }
}

fn targets(node: &Node, raw: &[RawTarget], errors: &mut Vec<ConfigError>) -> Vec<At<Target>> {
    if raw.is_empty() {
        errors.push(
            wrong(node, "targets", "an upstream needs at least one target")
                .help("write `targets: [{address: \"127.0.0.1:3000\"}]`"),
        );
    }
    let mut all = Vec::new();
    for (index, target) in raw.iter().enumerate() {
        let field = format!("targets[{index}]");
        let weight = target.weight.unwrap_or(1);
        if !(1..=1000).contains(&weight) {
            errors.push(
                wrong(node, &format!("{field}.weight"), "a weight is from 1 to 1000")
                    .help("remove the target to send it nothing"),
            );
        }
        match host_and_port(&target.address) {
            Some((host, port)) => all.push(at(node, &field, Target { host, port, weight })),
            None => errors.push(
                wrong(
                    node,
                    &format!("{field}.address"),
                    format!("`{}` is not a host with a port", target.address),
                )
                .help("write `shop.internal:8080`, `10.0.0.1:8080` or `[::1]:8080`"),
            ),
        }
    }
    all
}

fn host_and_port(text: &str) -> Option<(String, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return (address.port() != 0).then(|| (address.ip().to_string(), address.port()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (!host.is_empty() && host.len() <= 253 && host.chars().all(valid)).then(|| (host.to_owned(), port))
}

fn timeouts(node: &Node, raw: &RawUpstream, errors: &mut Vec<ConfigError>) -> Timeouts {
    let (written, default) = (&raw.timeouts, Timeouts::default());
    let mut timeout = |field: &str, written: Option<HumanDuration>, default: Duration| match written {
        Some(time) => bounded_time(node, &format!("timeouts.{field}"), time, errors),
        None => default,
    };
    Timeouts {
        connect: timeout("connect", written.connect, default.connect),
        read: timeout("read", written.read, default.read),
        write: timeout("write", written.write, default.write),
        idle: timeout("idle", written.idle, default.idle),
        total: timeout("total", written.total, default.total),
    }
}

/// A count within its bounds, or what holds where none is written.
pub(super) fn within(
    node: &Node,
    field: &str,
    written: Option<u32>,
    bounds: RangeInclusive<u32>,
    default: u32,
    errors: &mut Vec<ConfigError>,
) -> u32 {
    let count = written.unwrap_or(default);
    if !bounds.contains(&count) {
        let error = wrong(node, field, format!("`{count}` is out of range"));
        errors.push(error.help(format!("write from `{}` to `{}`", bounds.start(), bounds.end())));
    }
    count
}

fn upstream_tls(node: &Node, raw: &RawUpstreamTls, errors: &mut Vec<ConfigError>) -> Option<UpstreamTls> {
    let identity = match (&raw.certificate, &raw.key) {
        (Some(certificate), Some(key)) => {
            let (certificate, key) = (to_read(node, certificate), to_read(node, key));
            Some(at(node, "tls.certificate", CertificateFiles { certificate, key }))
        }
        (None, None) => None,
        _ => {
            errors.push(
                wrong(node, "tls", "`certificate` and `key` go together")
                    .help("write both, the files of the chain and of its private key, or neither"),
            );
            return None;
        }
    };
    if raw.server_name.as_deref().is_some_and(|name| rustls::pki_types::ServerName::try_from(name).is_err()) {
        errors.push(
            wrong(node, "tls.server_name", "this is not a name that a certificate can have")
                .help("write a host such as `shop.internal`, without scheme and port"),
        );
    }
    Some(UpstreamTls {
        server_name: raw.server_name.clone(),
        ca: raw.ca.as_ref().map(|ca| at(node, "tls.ca", to_read(node, ca))),
        identity,
    })
}

/// Pingora asks for another name, and verifies that one, where the first label of a longer name has a `_`: it puts a `-`
/// in its place. Whoever has that name would be believed.
fn names(node: &Node, tls: &UpstreamTls, targets: &[At<Target>], errors: &mut Vec<ConfigError>) {
    let told = |path: String, name: &str| {
        let (first, rest) =
            name.split_once('.').filter(|(first, rest)| first.contains('_') && rest.contains('.'))?;
        let other = format!("{}.{rest}", first.replace('_', "-"));
        let error = wrong(node, &path, format!("`{name}` would be verified as `{other}`"));
        Some(error.help("write a `server_name` without `_` that the origin's certificate has"))
    };
    match &tls.server_name {
        Some(name) => errors.extend(told("tls.server_name".to_owned(), name)),
        None => {
            let all = targets.iter().enumerate();
            errors.extend(
                all.filter_map(|(index, target)| {
                    told(format!("targets[{index}].address"), &target.value.host)
                }),
            );
        }
    }
}
