//! One canonical request: what is read in one way by the router, the plugins, the record and the origin.

use super::{ConnInfo, Guard, framing, headers};
use crate::{
    conf::model::{ClientIp, Limits, Paths},
    gateway::Snapshot,
    path,
};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery};
use palisade_contract::{Client, Denial, RequestHeader};
use parking_lot::Mutex;
use pingora::proxy::Session;
use std::{net::IpAddr, sync::Arc};

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What is known of a request once it is canonical.
pub struct Canonical {
    /// The client.
    pub client: Arc<Client>,
    /// The host.
    pub host: Host,
    /// True where it asks for a WebSocket.
    pub tunnel: bool,
    /// True where only the listener's relaxed rules have let its path through.
    pub relaxed: bool,
}

/// The host that a connection's last request was for, as it was written and as it is read: the next one is mostly
/// for the same.
#[derive(Debug, Default)]
pub struct LastHost(Mutex<Option<Last>>);

#[derive(Debug)]
struct Last {
    written: Box<[u8]>,
    host: Host,
}

/// A host, lower case, without the port; empty where a request that is refused names none.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name.
    pub name: Arc<str>,
    /// The same, as a header.
    pub value: HeaderValue,
}

impl Host {
    /// No host.
    pub fn none() -> Self {
        Host { name: Arc::from(""), value: HeaderValue::from_static("") }
    }
}

/// A request that has no canonical form.
pub struct Refused {
    /// The client.
    pub client: Arc<Client>,
    /// The host, where that is why.
    pub host: Host,
    /// Why.
    pub denial: Denial,
}

/// Makes the session's request canonical.
pub fn canonicalize(
    session: &mut Session,
    connection: &ConnInfo,
    guard: Option<&Guard>,
    snapshot: &Snapshot,
) -> Result<Canonical, Refused> {
    let http2 = session.is_http2();
    let wire = Wire { http2, bodyless: http2 && session.is_body_empty() };
    // Whoever reads the head strictly says whether it is an upgrade: what else carries the field is a request like any.
    let may_upgrade = || guard.is_some_and(Guard::asks_to_upgrade);
    of_request(session.req_header_mut(), wire, may_upgrade, connection, snapshot)
}

/// What is known of how a request came.
#[derive(Debug, Clone, Copy)]
pub struct Wire {
    /// True where it came over HTTP/2.
    pub http2: bool,
    /// True where it is known to have no body.
    pub bodyless: bool,
}

/// Makes a request canonical. What comes over HTTP/1 has been read strictly before; that says whether it
/// `may_upgrade`.
pub fn of_request(
    request: &mut RequestHeader,
    wire: Wire,
    may_upgrade: impl FnOnce() -> bool,
    connection: &ConnInfo,
    snapshot: &Snapshot,
) -> Result<Canonical, Refused> {
    let found = read(request, wire, may_upgrade, connection, snapshot);
    if found.is_err() {
        // What no client may say is not believed where a request is refused either. Removing does not fail.
        let _ = headers::strip(request, &snapshot.headers, snapshot.client_ip.header.as_ref(), || false);
    }
    found
}

fn read(
    request: &mut RequestHeader,
    Wire { http2, bodyless }: Wire,
    may_upgrade: impl FnOnce() -> bool,
    connection: &ConnInfo,
    snapshot: &Snapshot,
) -> Result<Canonical, Refused> {
    let client = client(request, connection, snapshot);
    let refused = |reason: &'static str| Refused {
        client: client.clone(),
        host: Host::none(),
        denial: Denial::bad_request(reason).message("The request can be read in more than one way"),
    };
    if http2 {
        check_http2(request, &connection.limits, bodyless).map_err(|(status, reason)| Refused {
            client: client.clone(),
            host: Host::none(),
            denial: Denial::new(status, reason),
        })?;
        join_cookies(request).map_err(|_| refused("header_malformed"))?;
    }
    let host = host(request, connection).map_err(|wrong| match wrong {
        Wrong::Unclear(reason) => refused(reason),
        Wrong::Elsewhere(host) => Refused { client: client.clone(), host, denial: misdirected() },
    })?;
    let relaxed = target(request, connection.limits.paths).map_err(refused)?;
    headers::forget_case(request);
    let trusted_header = snapshot.client_ip.header.as_ref();
    // A trusted proxy's id for the request may be taken over; nobody else's reaches a plugin as such.
    let tunnel = headers::strip(request, &snapshot.headers, trusted_header, may_upgrade)
        .map_err(|_| refused("header_malformed"))?;
    Ok(Canonical { client, host, tunnel, relaxed })
}

/// The client: the one that a trusted proxy names, else the other end.
pub(crate) fn client(request: &RequestHeader, connection: &ConnInfo, snapshot: &Snapshot) -> Arc<Client> {
    let rules = &snapshot.client_ip;
    let peer = connection.peer.ip().to_canonical();
    let trusted = |ip: IpAddr| rules.trusted_proxies.iter().any(|net| net.contains(&ip));
    if rules.trusted_proxies.is_empty() || connection.nameless || !trusted(peer) {
        return connection.client.clone();
    }
    vouched(request, connection, rules, peer)
}

/// The client that a trusted proxy names. Apart, as what follows: not every request needs it.
#[inline(never)]
fn vouched(request: &RequestHeader, connection: &ConnInfo, rules: &ClientIp, peer: IpAddr) -> Arc<Client> {
    let trusted = |ip: IpAddr| rules.trusted_proxies.iter().any(|net| net.contains(&ip));
    let name = rules.header.as_ref().unwrap_or(&FORWARDED_FOR);
    let values: Vec<&[u8]> = request.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    let mut client = Client::clone(&connection.client);
    (client.ip, client.proxies) = headers::client_ip(peer, &values, &trusted);
    client.behind_proxy = true;
    let proto = request.headers.get("x-forwarded-proto");
    client.https |= proto.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    Arc::new(client)
}

/// What the framing guard checks for HTTP/1, and HTTP/2's library does not.
#[inline(never)]
fn check_http2(
    request: &RequestHeader,
    limits: &Limits,
    bodyless: bool,
) -> Result<(), (StatusCode, &'static str)> {
    let bad = |reason| Err((StatusCode::BAD_REQUEST, reason));
    // h2 lets any scheme be one, the empty one as well.
    if request.uri.scheme_str().is_some_and(|scheme| !is_http(scheme)) {
        return bad("target_malformed");
    }
    if request.method == Method::TRACE && !bodyless {
        return bad("framing_trace_body");
    }
    if request.uri.path() == "*" && request.method != Method::OPTIONS {
        return bad("target_malformed");
    }
    if request.headers.get_all(header::CONTENT_LENGTH).iter().nth(1).is_some() {
        return bad("framing_length_repeated");
    }
    if request.headers.len() > limits.header_count {
        return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header_count"));
    }
    let bytes: usize =
        request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > limits.header_bytes {
        return Err((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "header_bytes"));
    }
    if request.uri.path_and_query().is_some_and(|target| target.as_str().len() > limits.uri_bytes) {
        return Err((StatusCode::URI_TOO_LONG, "uri_too_long"));
    }
    if request.headers.keys().any(|name| name.as_str().contains('_')) {
        return bad("header_underscore");
    }
    if request.headers.get_all(header::HOST).iter().nth(1).is_some() {
        return bad("host_repeated");
    }
    if request
        .headers
        .get(header::EXPECT)
        .is_some_and(|expect| !expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        return Err((StatusCode::EXPECTATION_FAILED, "expectation_unknown"));
    }
    let has = |name: HeaderName| request.headers.contains_key(name);
    if has(header::TRANSFER_ENCODING) || has(header::CONNECTION) || has(header::UPGRADE) {
        return bad("header_connection_specific");
    }
    Ok(())
}

/// Over HTTP/2 a client may send its cookies in pieces. Elsewhere there is one field of them (RFC 9113 §8.2.3), and of
/// several an origin might read the first alone.
fn join_cookies(request: &mut RequestHeader) -> pingora::Result<()> {
    let mut pieces = request.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (pieces.next(), pieces.next()) else { return Ok(()) };
    let mut whole = first.as_bytes().to_vec();
    for piece in [second].into_iter().chain(pieces) {
        whole.extend_from_slice(b"; ");
        whole.extend_from_slice(piece.as_bytes());
    }
    request.insert_header(header::COOKIE, whole)
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// The host of the request, the same in the target and the `Host` field; leaves it in `Host` alone.
fn host(request: &mut RequestHeader, connection: &ConnInfo) -> Result<Host, Wrong> {
    // Pingora keeps that of an absolute-form target beside the URI.
    let target = request
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes())
        .or_else(|| framing::authority(request.raw_path()));
    let authority = match (request.headers.get(header::HOST), target) {
        (Some(field), Some(target)) if !target.eq_ignore_ascii_case(field.as_bytes()) => {
            return Err(Wrong::Unclear("host_mismatch"));
        }
        (Some(field), _) => field.as_bytes(),
        (None, Some(target)) => {
            let host = HeaderValue::from_bytes(target).map_err(|_| "host_malformed")?;
            let name = connection.read_host(host.as_bytes())?;
            request.insert_header(header::HOST, host).map_err(|_| "host_malformed")?;
            return Ok(name);
        }
        (None, None) => return Err(Wrong::Unclear("host_missing")),
    };
    connection.read_host(authority)
}

/// Why a request's host is not taken.
enum Wrong {
    /// It cannot be read, or in more than one way; the reason code.
    Unclear(&'static str),
    /// The connection is not for it.
    Elsewhere(Host),
}

impl From<&'static str> for Wrong {
    fn from(reason: &'static str) -> Self {
        Wrong::Unclear(reason)
    }
}

/// 421: on another connection the request may be served (RFC 9110 §15.5.20).
#[cold]
fn misdirected() -> Denial {
    Denial::new(StatusCode::MISDIRECTED_REQUEST, "misdirected")
        .message("This connection is not for this host: ask for it by name on another one")
}

impl ConnInfo {
    fn read_host(&self, authority: &[u8]) -> Result<Host, Wrong> {
        let mut last = self.host.0.lock();
        if let Some(last) = &*last
            && *last.written == *authority
        {
            return Ok(last.host.clone());
        }
        let host = host_name(authority)?;
        // What is kept was let through; so nothing is compared twice.
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.allow(self.sni(), &host.name, self.relayed)) {
            return Err(Wrong::Elsewhere(host));
        }
        *last = Some(Last { written: authority.into(), host: host.clone() });
        Ok(host)
    }

    fn sni(&self) -> Option<&str> {
        self.client.tls.as_ref()?.server_name.as_deref()
    }
}

/// The name of an authority, lower case, without the port.
fn host_name(authority: &[u8]) -> Result<Host, &'static str> {
    if !framing::is_authority(authority) {
        return Err("host_malformed");
    }
    let text = std::str::from_utf8(authority).map_err(|_| "host_malformed")?;
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    };
    // A name may end with the root's dot; it is the same name.
    let host = host.strip_suffix('.').unwrap_or(host);
    let name: Arc<str> = Arc::from(host.to_ascii_lowercase());
    let value = HeaderValue::from_str(&name).map_err(|_| "host_malformed")?;
    Ok(Host { name, value })
}

/// Puts the path into normal form by these rules; the target keeps neither scheme nor authority. True where strict
/// rules would have refused it.
///
/// # Errors
/// The reason code, where it has none.
pub fn target(request: &mut RequestHeader, rules: Paths) -> Result<bool, &'static str> {
    if request.uri.path() == "*" {
        return Ok(false);
    }
    let raw = request.raw_path();
    let origin_form = raw.first() == Some(&b'/');
    let raw = if origin_form {
        raw
    } else {
        request.uri.path_and_query().map_or(&b"/"[..], |target| target.as_str().as_bytes())
    };
    let (path, query) = match memchr::memchr(b'?', raw) {
        Some(at) => (raw.get(..at).unwrap_or_default(), raw.get(at..)),
        None => (raw, None),
    };
    let normal = path::normalize_by(path, rules)?;
    let relaxed = rules == Paths::Relaxed && path::is_relaxed(&normal);
    let query = query.map(check_query).transpose()?;
    let unchanged = origin_form
        && request.uri.scheme().is_none()
        && normal.as_bytes() == path
        && request.uri.path() == normal;
    if unchanged {
        return Ok(relaxed);
    }
    let target: PathAndQuery =
        format!("{normal}{}", query.unwrap_or("")).parse().map_err(|_| "target_malformed")?;
    request.set_uri(Uri::from(target));
    Ok(relaxed)
}

/// A query is passed on as it is; control characters and bytes outside ASCII are not part of one.
fn check_query(query: &[u8]) -> Result<&str, &'static str> {
    let text = std::str::from_utf8(query).map_err(|_| "query_malformed")?;
    if text.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) { Err("query_malformed") } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_http2_itself_lets_through_is_checked() {
        let limits = Limits { header_count: 3, header_bytes: 100, uri_bytes: 20, ..Limits::default() };
        let long = "v".repeat(100);
        for (method, target, fields, expected) in [
            ("GET", "https://a/x", &[][..], None),
            ("OPTIONS", "*", &[], None),
            ("POST", "http://a/x", &[("expect", "100-Continue"), ("content-length", "1"), ("a", "b")], None),
            ("GET", "ftp://a/x", &[], Some((400, "target_malformed"))),
            ("GET", "*", &[], Some((400, "target_malformed"))),
            ("TRACE", "/x", &[], Some((400, "framing_trace_body"))),
            (
                "GET",
                "/x",
                &[("content-length", "1"), ("content-length", "1")],
                Some((400, "framing_length_repeated")),
            ),
            ("GET", "/x", &[("a", "b"), ("c", "1"), ("c", "2"), ("c", "3")], Some((431, "header_count"))),
            ("GET", "/x", &[("a", &*long)], Some((431, "header_bytes"))),
            ("GET", "/x?234567890123456789", &[], Some((414, "uri_too_long"))),
            ("GET", "/x", &[("a_b", "c")], Some((400, "header_underscore"))),
            ("GET", "/x", &[("host", "a"), ("host", "a")], Some((400, "host_repeated"))),
            ("GET", "/x", &[("expect", "x")], Some((417, "expectation_unknown"))),
            ("GET", "/x", &[("connection", "close")], Some((400, "header_connection_specific"))),
            ("GET", "/x", &[("upgrade", "x")], Some((400, "header_connection_specific"))),
            ("GET", "/x", &[("transfer-encoding", "chunked")], Some((400, "header_connection_specific"))),
        ] {
            let mut request = RequestHeader::build(method, b"/", None).unwrap();
            request.set_uri(target.parse().unwrap());
            for (name, value) in fields {
                request.append_header((*name).to_owned(), *value).unwrap();
            }
            let found = check_http2(&request, &limits, false).err();
            assert_eq!(
                found.map(|(status, reason)| (status.as_u16(), reason)),
                expected,
                "{method} {target} {fields:?}"
            );
        }
    }
}
