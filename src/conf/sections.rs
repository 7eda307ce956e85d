//! Listeners, limits, client addresses, admin and upstreams: from what is written to the model.

use super::{
    model::{
        Admin, At, Balance, CertificateFiles, ClientAuth, ClientIp, HashOn, Limits, Listener, ListenerTls,
        Protocol, Target, Timeouts, Upstream, UpstreamTls,
    },
    raw::{
        RawAdmin, RawBalance, RawClientAuthMode, RawClientIp, RawLimits, RawListener, RawProtocol, RawTarget,
        RawTls, RawUpstream, RawUpstreamTls, not_yet,
    },
};
use http::HeaderName;
use palisade_contract::{ConfigError, Node, Place, conf::node::Key};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Reads a node as a raw section; errors go to the list.
pub(super) fn read<T: DeserializeOwned>(node: &Node, errors: &mut Vec<ConfigError>) -> Option<T> {
    node.deserialize::<T>()
        .map_err(|found| {
            errors.extend(found.0.into_iter().map(|error| {
                let field =
                    error.message.strip_prefix("unknown field `").and_then(|rest| rest.strip_suffix('`'));
                match field.and_then(not_yet) {
                    Some(why) => error.help(why),
                    None => error,
                }
            }));
        })
        .ok()
}

/// An error about a field below a node.
pub(super) fn wrong(node: &Node, field: &str, message: impl Into<String>) -> ConfigError {
    let target = node.find(field);
    let path = if field.is_empty() { node.path.clone() } else { format!("{}.{field}", node.path) };
    ConfigError::at(path, message).place(target.place.clone())
}

pub(super) fn at<T>(node: &Node, field: &str, value: T) -> At<T> {
    let target = node.find(field);
    let path = if field.is_empty() { node.path.clone() } else { format!("{}.{field}", node.path) };
    At { value, place: target.place.clone(), path }
}

/// A path to read, relative to the file it is written in.
pub(super) fn to_read(node: &Node, path: &str) -> PathBuf {
    node.place.file.parent().unwrap_or(Path::new("")).join(path)
}

/// Names become metric labels, header values and file names.
pub(super) fn check_name(key: &Key, path: &str, errors: &mut Vec<ConfigError>) {
    let name = &key.text;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.is_empty() || name.len() > 128 || !name.chars().all(plain) || name.starts_with('_') {
        errors.push(
            ConfigError::at(path, format!("`{name}` cannot be a name"))
                .help("names have 1 to 128 letters, digits, `-`, `_` and `.`, and do not begin with `_`")
                .place(key.place.clone()),
        );
    }
}

pub(super) fn version(node: Option<&Node>, dir: &Path, certain: bool, errors: &mut Vec<ConfigError>) {
    let help = "write `version: 1`";
    match node {
        None if certain => errors
            .push(ConfigError::at("version", "`version` is missing").help(help).place(Place::of_file(dir))),
        None => {}
        Some(node) => match node.deserialize::<u32>() {
            Ok(1) => {}
            _ => errors.push(wrong(node, "", "this release reads version 1").help(help)),
        },
    }
}

pub(super) fn flag(node: Option<&Node>, errors: &mut Vec<ConfigError>) -> bool {
    node.and_then(|node| read::<bool>(node, errors)).unwrap_or(false)
}

pub(super) fn limits(node: Option<&Node>, defaults: &Limits, errors: &mut Vec<ConfigError>) -> Limits {
    let Some(node) = node else { return defaults.clone() };
    let Some(raw) = read::<RawLimits>(node, errors) else { return defaults.clone() };
    lay_over(node, &raw, defaults, errors)
}

fn lay_over(node: &Node, raw: &RawLimits, defaults: &Limits, errors: &mut Vec<ConfigError>) -> Limits {
    let mut bounded = |field: &str, value: Option<u64>, default: u64, least: u64, most: u64| {
        let value = value.unwrap_or(default);
        if value < least || value > most {
            errors.push(
                wrong(node, field, format!("`{field}` is out of range"))
                    .help(format!("from {least} to {most}")),
            );
        }
        value
    };
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let duration = |value: u64| Duration::from_millis(value);
    let hour = 3_600_000;
    Limits {
        header_timeout: duration(bounded(
            "header_timeout",
            raw.header_timeout.map(|d| ms(d.0)),
            ms(defaults.header_timeout),
            100,
            hour,
        )),
        body_timeout: duration(bounded(
            "body_timeout",
            raw.body_timeout.map(|d| ms(d.0)),
            ms(defaults.body_timeout),
            100,
            24 * hour,
        )),
        idle_timeout: duration(bounded(
            "idle_timeout",
            raw.idle_timeout.map(|d| ms(d.0)),
            ms(defaults.idle_timeout),
            100,
            24 * hour,
        )),
        header_bytes: size(bounded(
            "header_bytes",
            raw.header_bytes.map(|s| s.0),
            defaults.header_bytes as u64,
            1 << 10,
            1 << 20,
        )),
        header_count: size(bounded(
            "header_count",
            raw.header_count.map(u64::from),
            defaults.header_count as u64,
            8,
            250,
        )),
        uri_bytes: size(bounded(
            "uri_bytes",
            raw.uri_bytes.map(|s| s.0),
            defaults.uri_bytes as u64,
            64,
            1 << 20,
        )),
        body_bytes: bounded("body_bytes", raw.body_bytes.map(|s| s.0), defaults.body_bytes, 0, 1 << 50),
        buffered_bytes: bounded(
            "buffered_bytes",
            raw.buffered_bytes.map(|s| s.0),
            defaults.buffered_bytes,
            1 << 20,
            1 << 50,
        ),
        connections: size(bounded(
            "connections",
            raw.connections.map(u64::from),
            defaults.connections as u64,
            1,
            10_000_000,
        )),
        connections_per_ip: size(bounded(
            "connections_per_ip",
            raw.connections_per_ip.map(u64::from),
            defaults.connections_per_ip as u64,
            1,
            10_000_000,
        )),
    }
}

pub(super) fn client_ip(node: Option<&Node>, errors: &mut Vec<ConfigError>) -> ClientIp {
    let Some(node) = node else { return ClientIp::default() };
    let Some(raw) = read::<RawClientIp>(node, errors) else { return ClientIp::default() };
    let header = raw.header.as_ref().and_then(|name| match HeaderName::from_bytes(name.as_bytes()) {
        Ok(name) => Some(name),
        Err(_) => {
            errors.push(wrong(node, "header", format!("`{name}` is not a header name")));
            None
        }
    });
    ClientIp { trusted_proxies: raw.trusted_proxies.iter().map(|cidr| cidr.0).collect(), header }
}

fn socket(node: &Node, field: &str, text: &str, errors: &mut Vec<ConfigError>) -> Option<SocketAddr> {
    let parsed = text.parse::<SocketAddr>().ok();
    if parsed.is_none() {
        errors.push(
            wrong(node, field, format!("`{text}` is not an address with a port"))
                .help("write `127.0.0.1:8080`, `0.0.0.0:8080` or `[::]:8080`"),
        );
    }
    parsed
}

pub(super) fn admin(node: Option<&Node>, errors: &mut Vec<ConfigError>) -> Option<At<Admin>> {
    let node = node?;
    let raw = read::<RawAdmin>(node, errors)?;
    if raw.token.as_ref().is_some_and(|token| token.expose().len() < 16) {
        errors.push(
            wrong(node, "token", "the token has fewer than 16 characters")
                .help("make one with `palisade hash --new`"),
        );
    }
    let address = socket(node, "address", &raw.address, errors)?;
    let probes = match &raw.probes {
        Some(text) => Some(socket(node, "probes", text, errors)?),
        None => None,
    };
    Some(at(node, "", Admin { address, token: raw.token, probes }))
}

pub(super) fn listeners(
    written: &[(Key, Node)],
    defaults: &Limits,
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<Arc<str>, At<Listener>> {
    let mut all: BTreeMap<Arc<str>, At<Listener>> = BTreeMap::new();
    for (key, node) in written {
        check_name(key, &node.path, errors);
        let Some(raw) = read::<RawListener>(node, errors) else { continue };
        let Some(address) = socket(node, "address", &raw.address, errors) else { continue };
        if let Some((name, other)) =
            all.iter().find(|(_, other)| address.port() != 0 && other.value.address == address)
        {
            let error =
                wrong(node, "address", format!("`{address}` is the address of the listener `{name}` too"));
            errors.push(
                error
                    .help("give one of them another port")
                    .other("the first one is here", other.place.clone()),
            );
        }
        let limits = match (&raw.limits, node.get("limits")) {
            (Some(limits), Some(node)) => lay_over(node, limits, defaults, errors),
            _ => defaults.clone(),
        };
        let tls = raw.tls.as_ref().and_then(|tls| listener_tls(node, tls, errors));
        all.insert(
            key.text.as_str().into(),
            at(node, "", Listener { address, http2: raw.http2, tls, limits }),
        );
    }
    all
}

fn listener_tls(node: &Node, raw: &RawTls, errors: &mut Vec<ConfigError>) -> Option<ListenerTls> {
    if raw.certificates.is_empty() {
        errors.push(wrong(node, "tls.certificates", "TLS needs at least one certificate"));
        return None;
    }
    let certificates = raw.certificates.iter().enumerate().map(|(index, files)| {
        let value = CertificateFiles {
            certificate: to_read(node, &files.certificate),
            key: to_read(node, &files.key),
        };
        at(node, &format!("tls.certificates[{index}]"), value)
    });
    let client_auth = raw.client_auth.as_ref().map(|auth| ClientAuth {
        required: auth.mode == RawClientAuthMode::Required,
        ca: to_read(node, &auth.ca),
    });
    Some(ListenerTls { certificates: certificates.collect(), client_auth })
}

pub(super) fn upstreams(
    written: &[(Key, Node)],
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<Arc<str>, At<Upstream>> {
    let mut all = BTreeMap::new();
    for (key, node) in written {
        check_name(key, &node.path, errors);
        let Some(raw) = read::<RawUpstream>(node, errors) else { continue };
        let before = errors.len();
        let upstream = Upstream {
            balance: balance(node, &raw, errors),
            targets: targets(node, &raw.targets, errors),
            timeouts: timeouts(&raw),
            tls: raw.tls.as_ref().and_then(|tls| upstream_tls(node, tls, errors)),
            protocol: match raw.protocol {
                RawProtocol::Http1 => Protocol::Http1,
                RawProtocol::Http2 => Protocol::Http2,
                RawProtocol::Grpc => Protocol::Grpc,
            },
        };
        if errors.len() == before {
            all.insert(key.text.as_str().into(), at(node, "", upstream));
        }
    }
    all
}

fn balance(node: &Node, raw: &RawUpstream, errors: &mut Vec<ConfigError>) -> Balance {
    match (&raw.balance, &raw.hash_on) {
        (RawBalance::RoundRobin, None) => Balance::RoundRobin,
        (RawBalance::RoundRobin, Some(_)) => {
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
        errors.push(wrong(node, "targets", "an upstream needs at least one target"));
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

fn timeouts(raw: &RawUpstream) -> Timeouts {
    let (written, default) = (&raw.timeouts, Timeouts::default());
    Timeouts {
        connect: written.connect.map_or(default.connect, |time| time.0),
        read: written.read.map_or(default.read, |time| time.0),
        write: written.write.map_or(default.write, |time| time.0),
        idle: written.idle.map_or(default.idle, |time| time.0),
    }
}

fn upstream_tls(node: &Node, raw: &RawUpstreamTls, errors: &mut Vec<ConfigError>) -> Option<UpstreamTls> {
    let identity = match (&raw.certificate, &raw.key) {
        (Some(certificate), Some(key)) => {
            Some(CertificateFiles { certificate: to_read(node, certificate), key: to_read(node, key) })
        }
        (None, None) => None,
        _ => {
            errors.push(wrong(node, "tls", "`certificate` and `key` go together"));
            return None;
        }
    };
    if raw.server_name.as_deref().is_some_and(|name| rustls::pki_types::ServerName::try_from(name).is_err()) {
        errors.push(wrong(node, "tls.server_name", "this is not a name that a certificate can have"));
    }
    Some(UpstreamTls {
        server_name: raw.server_name.clone(),
        ca: raw.ca.as_ref().map(|ca| to_read(node, ca)),
        identity,
    })
}
