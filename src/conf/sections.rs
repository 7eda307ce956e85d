//! Listeners, limits, client addresses and admin: from what is written to the model.

use super::{
    model::{Admin, At, CertificateFiles, ClientAuth, ClientIp, Limits, Listener, ListenerTls, Paths},
    names,
    raw::{RawAdmin, RawClientAuthMode, RawClientIp, RawLimits, RawListener, RawPaths, RawTls, not_yet},
};
use http::HeaderName;
use palisade_contract::{
    ConfigError, Node, Place, Value,
    conf::{HumanDuration, Size, node::Key},
};
use serde::de::DeserializeOwned;
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// `drain_timeout` where it is not written.
const DRAIN: Duration = Duration::from_secs(60);
const MOST_DRAIN: Duration = Duration::from_secs(24 * 3600);

/// Reads a node as a raw section; errors go to the list.
pub(super) fn read<T: DeserializeOwned>(node: &Node, errors: &mut Vec<ConfigError>) -> Option<T> {
    let (value, found) = node.read::<T>();
    errors.extend(found.0.into_iter().map(|error| match unknown_word(&error).and_then(not_yet) {
        Some(why) => error.help(why),
        None => error,
    }));
    value
}

fn unknown_word(error: &ConfigError) -> Option<&str> {
    let rest = error.message.strip_prefix("unknown ")?;
    let rest = rest.strip_prefix("field ").or_else(|| rest.strip_prefix("value "))?;
    Some(rest.trim_matches('`'))
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
    if !names::is_name(name) {
        let error = ConfigError::at(path, format!("`{name}` cannot be a name")).help(names::NAMES);
        errors.push(error.place(key.place.clone()));
    }
}

/// The entries of a mapping; nothing may stand in its place, but nothing else.
pub(super) fn mapping<'n>(node: &'n Node, errors: &mut Vec<ConfigError>) -> &'n [(Key, Node)] {
    if !matches!(node.value, Value::Map(_)) && !node.is_null() {
        let name = node.path.rsplit('.').next().unwrap_or_default();
        let error = wrong(node, "", format!("`{name}` is a mapping of names"));
        errors.push(error.help("write `name: {…}` below it, one for each"));
    }
    node.entries()
}

pub(super) fn version(written: &[Node], dir: &Path, certain: bool, errors: &mut Vec<ConfigError>) {
    let help = "write `version: 1`";
    if written.is_empty() && certain {
        let error = ConfigError::at("version", "`version` is missing").help(help);
        errors.push(error.place(Place::of_file(dir)));
    }
    for node in written.iter().filter(|node| !matches!(node.deserialize::<u32>(), Ok(1))) {
        errors.push(wrong(node, "", "this release reads version 1").help(help));
    }
}

pub(super) fn flag(node: Option<&Node>, errors: &mut Vec<ConfigError>) -> bool {
    node.and_then(|node| read::<bool>(node, errors)).unwrap_or(false)
}

/// How long a process that ends waits for what is in flight.
pub(super) fn drain_timeout(node: Option<&Node>, errors: &mut Vec<ConfigError>) -> Duration {
    let read = node.and_then(|node| Some((node, read::<HumanDuration>(node, errors)?)));
    let Some((node, time)) = read else { return DRAIN };
    Within { node, errors }.check("", time, HumanDuration(Duration::ZERO), HumanDuration(MOST_DRAIN));
    time.0
}

pub(super) fn limits(node: Option<&Node>, defaults: &Limits, errors: &mut Vec<ConfigError>) -> Limits {
    let Some(node) = node else { return defaults.clone() };
    let Some(raw) = read::<RawLimits>(node, errors) else { return defaults.clone() };
    lay_over(node, &raw, defaults, errors)
}

fn lay_over(node: &Node, raw: &RawLimits, defaults: &Limits, errors: &mut Vec<ConfigError>) -> Limits {
    let mut within = Within { node, errors };
    let (hour, mib) = (Duration::from_secs(3600), 1 << 20);
    Limits {
        header_timeout: within.time("header_timeout", raw.header_timeout, hour, defaults.header_timeout),
        body_timeout: within.time("body_timeout", raw.body_timeout, 24 * hour, defaults.body_timeout),
        idle_timeout: within.time("idle_timeout", raw.idle_timeout, 24 * hour, defaults.idle_timeout),
        header_bytes: within.bytes("header_bytes", raw.header_bytes, 1 << 10, mib, defaults.header_bytes),
        header_count: within.count(
            "header_count",
            raw.header_count.map(u32::from),
            8,
            250,
            defaults.header_count,
        ),
        paths: defaults.paths,
        uri_bytes: within.bytes("uri_bytes", raw.uri_bytes, 64, mib, defaults.uri_bytes),
        body_bytes: within.size("body_bytes", raw.body_bytes, 0, defaults.body_bytes),
        buffered_bytes: within.size(
            "buffered_bytes",
            raw.buffered_bytes,
            mib as u64,
            defaults.buffered_bytes,
        ),
        memory: raw.memory.map(|memory| within.size("memory", Some(memory), 16 * mib as u64, 0)),
        connections: within.count("connections", raw.connections, 1, 10_000_000, defaults.connections),
        connections_per_ip: within.count(
            "connections_per_ip",
            raw.connections_per_ip,
            1,
            10_000_000,
            defaults.connections_per_ip,
        ),
    }
}

/// Takes what is written where it is within its bounds, and what holds otherwise.
struct Within<'a> {
    node: &'a Node,
    errors: &'a mut Vec<ConfigError>,
}

impl Within<'_> {
    fn check<T: PartialOrd + fmt::Display>(&mut self, field: &str, written: T, least: T, most: T) {
        if written < least || written > most {
            let error = wrong(self.node, field, format!("`{written}` is out of range"));
            self.errors.push(error.help(format!("write from `{least}` to `{most}`")));
        }
    }

    fn time(
        &mut self,
        field: &str,
        written: Option<HumanDuration>,
        most: Duration,
        default: Duration,
    ) -> Duration {
        let Some(time) = written else { return default };
        self.check(field, time, HumanDuration(Duration::from_millis(100)), HumanDuration(most));
        time.0
    }

    fn size(&mut self, field: &str, written: Option<Size>, least: u64, default: u64) -> u64 {
        let Some(size) = written else { return default };
        self.check(field, size, Size(least), Size(1 << 50));
        size.0
    }

    fn bytes(
        &mut self,
        field: &str,
        written: Option<Size>,
        least: usize,
        most: usize,
        default: usize,
    ) -> usize {
        let Some(size) = written else { return default };
        self.check(field, size, Size(least as u64), Size(most as u64));
        usize::try_from(size.0).unwrap_or(usize::MAX)
    }

    fn count(&mut self, field: &str, written: Option<u32>, least: u32, most: u32, default: usize) -> usize {
        let Some(count) = written else { return default };
        self.check(field, count, least, most);
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

/// The name of a header field.
pub(super) fn header_name(
    node: &Node,
    field: &str,
    name: &str,
    errors: &mut Vec<ConfigError>,
) -> Option<HeaderName> {
    let known = HeaderName::from_bytes(name.as_bytes()).ok();
    if known.is_none() {
        errors.push(
            wrong(node, field, format!("`{name}` is not a header name"))
                .help("names have letters, digits and `-`, such as `x-api-version`"),
        );
    }
    known
}

pub(super) fn client_ip(node: Option<&Node>, errors: &mut Vec<ConfigError>) -> ClientIp {
    let Some(node) = node else { return ClientIp::default() };
    let Some(raw) = read::<RawClientIp>(node, errors) else { return ClientIp::default() };
    let header = raw.header.as_ref().and_then(|name| header_name(node, "header", name, errors));
    if header.as_ref().is_some_and(|name| *name == http::header::FORWARDED) {
        errors.push(wrong(node, "header", "`forwarded` (RFC 7239) is not read here").help(
            "let the proxy write `x-forwarded-for`, or a header that holds an address or a list of them",
        ));
    }
    ClientIp { trusted_proxies: raw.trusted_proxies.iter().map(|cidr| cidr.0).collect(), header }
}

fn socket(node: &Node, field: &str, text: &str, errors: &mut Vec<ConfigError>) -> Option<At<SocketAddr>> {
    let parsed = text.parse::<SocketAddr>().ok();
    if parsed.is_none() {
        errors.push(
            wrong(node, field, format!("`{text}` is not an address with a port"))
                .help("write `127.0.0.1:8080`, `0.0.0.0:8080` or `[::]:8080`"),
        );
    }
    parsed.map(|address| at(node, field, address))
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
    client_ip: &ClientIp,
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<Arc<str>, At<Listener>> {
    let mut all: BTreeMap<Arc<str>, At<Listener>> = BTreeMap::new();
    for (key, node) in written {
        check_name(key, &node.path, errors);
        let Some(raw) = read::<RawListener>(node, errors) else { continue };
        let Some(address) = socket(node, "address", &raw.address, errors) else { continue };
        if raw.proxy_protocol && client_ip.trusted_proxies.is_empty() {
            let error =
                wrong(node, "proxy_protocol", "no proxy is trusted, so every connection would be closed");
            errors.push(error.help("name the proxies in `client_ip.trusted_proxies`"));
        }
        let limits = match (&raw.limits, node.get("limits")) {
            (Some(limits), Some(node)) => {
                let relaxed = limits.paths == Some(RawPaths::Relaxed);
                let paths = if relaxed { Paths::Relaxed } else { Paths::Strict };
                Limits { paths, ..lay_over(node, &limits.into(), defaults, errors) }
            }
            _ => defaults.clone(),
        };
        let tls = raw.tls.as_ref().and_then(|tls| listener_tls(node, tls, errors));
        all.insert(
            key.text.as_str().into(),
            at(
                node,
                "",
                Listener { address, http2: raw.http2, proxy_protocol: raw.proxy_protocol, tls, limits },
            ),
        );
    }
    all
}

fn listener_tls(node: &Node, raw: &RawTls, errors: &mut Vec<ConfigError>) -> Option<ListenerTls> {
    if raw.certificates.is_empty() {
        errors.push(
            wrong(node, "tls.certificates", "TLS needs at least one certificate")
                .help("write `certificates: [{certificate: FILE, key: FILE}]`, files in PEM"),
        );
        return None;
    }
    let certificates = raw.certificates.iter().enumerate().map(|(index, files)| {
        let value = CertificateFiles {
            certificate: to_read(node, &files.certificate),
            key: to_read(node, &files.key),
        };
        at(node, &format!("tls.certificates[{index}]"), value)
    });
    let client_auth =
        raw.client_auth.as_ref().map(|auth| {
            if auth.crl.as_ref().is_some_and(Vec::is_empty) {
                let error = wrong(node, "tls.client_auth.crl", "no list is named");
                errors.push(error.help("name a file, or leave `crl` out"));
            }
            let crl =
                auth.crl.iter().flatten().enumerate().map(|(index, file)| {
                    at(node, &format!("tls.client_auth.crl[{index}]"), to_read(node, file))
                });
            ClientAuth {
                required: auth.mode == RawClientAuthMode::Required,
                ca: at(node, "tls.client_auth.ca", to_read(node, &auth.ca)),
                crl: crl.collect(),
            }
        });
    Some(ListenerTls { certificates: certificates.collect(), client_auth })
}

/// A time to wait: nothing can be done in no time, and a day is for ever.
pub(super) fn bounded_time(
    node: &Node,
    field: &str,
    time: HumanDuration,
    errors: &mut Vec<ConfigError>,
) -> Duration {
    if time.0.is_zero() || time.0 > Duration::from_secs(24 * 3600) {
        let error = wrong(node, field, format!("`{time}` is out of range"));
        errors.push(error.help("write a time from `1ms` to `24h`"));
    }
    time.0
}
