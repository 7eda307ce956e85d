//! Headers that only the gateway writes, and what it writes.

use super::ConnInfo;
use crate::owned::is_owned;
use http::{HeaderName, HeaderValue, header, request::Parts};
use palisade_contract::{Client, Exchange, RequestHeader};
use std::{borrow::Cow, collections::HashSet, net::IpAddr};

/// The mapped consumer's name.
pub static CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
/// The consumer's groups, separated by commas.
pub static CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");
/// Which credential was used; never the secret.
pub static CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
/// The request's id; always written by the gateway itself.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
static REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
static FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// What a snapshot knows of names of request headers.
#[derive(Debug, Default)]
pub struct Names {
    /// Only the gateway writes them upstream: removed from what clients send.
    pub owned: HashSet<HeaderName>,
    /// The same, but removed on the way to the origin: plugins that write them look at what the client sent.
    pub late: Vec<HeaderName>,
    /// Some route asks for them: they are left to the one that takes the request. Each names another method or path.
    pub asked: Vec<HeaderName>,
}

/// Removes from a client's request what only the gateway writes, what belongs to one hop, and what would make
/// an origin read another method or path. A WebSocket upgrade stays where the connection `may_upgrade`, which is what
/// comes back, and so do `late` and `asked` names, but not those that an origin might take for them.
pub fn strip(
    request: &mut RequestHeader,
    names: &Names,
    client_ip_header: Option<&HeaderName>,
    may_upgrade: impl FnOnce() -> bool,
) -> pingora::Result<bool> {
    let Names { owned, late, asked } = names;
    let is_removed = |name: &HeaderName| {
        let text = name.as_str();
        (is_owned(text) && !asked.contains(name))
            || owned.contains(name)
            || client_ip_header == Some(name)
            || (!(owned.is_empty() && late.is_empty())
                && text.contains(['.', '_'])
                && !late.contains(name)
                && owned.iter().chain(late).any(|own| own.as_str() == text.replace(['.', '_'], "-")))
    };
    let (mut removed, mut has_te, mut has_upgrade, mut has_connection) = (Vec::new(), false, false, false);
    for name in request.headers.keys() {
        match name {
            name if is_removed(name) => removed.push(name.clone()),
            name if *name == header::TE => has_te = true,
            name if *name == header::UPGRADE => has_upgrade = true,
            name if *name == header::CONNECTION => has_connection = true,
            _ => {}
        }
    }
    for name in &removed {
        request.remove_header(name);
    }
    // The only value: what stands beside it would go on as well.
    let is = |request: &RequestHeader, name, text: &[u8]| {
        let mut values = request.headers.get_all(name).iter();
        values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(text))
            && values.next().is_none()
    };
    if has_te && !is(request, header::TE, b"trailers") {
        request.remove_header(&header::TE);
    }
    let websocket = has_upgrade && is(request, header::UPGRADE, b"websocket") && may_upgrade();
    if has_upgrade && !websocket {
        request.remove_header(&header::UPGRADE);
    }
    if has_connection {
        strip_connection(request, websocket)?;
    }
    Ok(websocket)
}

/// What `Connection` nominates would be removed on the way to the origin: a client could so take away what was judged.
/// Only what concerns the connection itself stays.
fn strip_connection(request: &mut RequestHeader, websocket: bool) -> pingora::Result<()> {
    let Some(connection) = request.headers.get(header::CONNECTION) else { return Ok(()) };
    let one = request.headers.get_all(header::CONNECTION).iter().nth(1).is_none();
    let text = connection.as_bytes();
    let plain = one
        && [&b"close"[..], b"keep-alive", b"upgrade"].iter().any(|token| text.eq_ignore_ascii_case(token));
    if !plain || (!websocket && text.eq_ignore_ascii_case(b"upgrade")) {
        let value = connection_tokens(request, websocket);
        request.remove_header(&header::CONNECTION);
        if let Some(value) = value {
            request.insert_header(header::CONNECTION, value)?;
        }
    }
    Ok(())
}

#[inline(never)]
fn connection_tokens(request: &RequestHeader, websocket: bool) -> Option<&'static str> {
    let values = request.headers.get_all(header::CONNECTION);
    let has = |wanted: &[u8]| {
        values.iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(wanted))
        })
    };
    match (has(b"close"), has(b"upgrade") && websocket, has(b"keep-alive")) {
        (true, _, _) => Some("close"),
        (_, true, _) => Some("upgrade"),
        (_, _, true) => Some("keep-alive"),
        _ => None,
    }
}

/// What the origin is told of a client: the same for all requests of a connection without trusted proxies.
#[derive(Debug, Clone)]
pub struct Forwarded {
    ip: Option<HeaderValue>,
    chain: Option<HeaderValue>,
    port: HeaderValue,
}

impl Forwarded {
    /// What is told of this client.
    pub fn of(client: &Client) -> Self {
        let ip = HeaderValue::try_from(client.ip.to_string()).ok();
        let peer = client.peer.ip().to_canonical();
        let chain = if peer == client.ip && client.proxies.is_empty() {
            ip.clone()
        } else {
            // What the PROXY protocol names has the connection behind it, and no others.
            let peer = client.proxies.is_empty().then_some(&peer);
            let mut chain = client.ip.to_string();
            for proxy in client.proxies.iter().chain(peer) {
                chain.push_str(", ");
                chain.push_str(&proxy.to_string());
            }
            HeaderValue::try_from(chain).ok()
        };
        Forwarded { ip, chain, port: HeaderValue::from(client.port) }
    }
}

/// What the origin is told about the client and the request for that host, whatever the client said about it.
pub fn forwarding(
    ex: &Exchange,
    host: &HeaderValue,
    connection: &ConnInfo,
    mut set: impl FnMut(&'static HeaderName, HeaderValue),
) {
    let client = ex.client();
    let forwarded = if std::ptr::eq(client, &*connection.client) {
        connection.forwarded.clone()
    } else {
        Forwarded::of(client)
    };
    if let Some(ip) = forwarded.ip {
        set(&REAL_IP, ip);
    }
    if let Some(chain) = forwarded.chain {
        set(&FORWARDED_FOR, chain);
    }
    set(&FORWARDED_PROTO, HeaderValue::from_static(if client.https { "https" } else { "http" }));
    if !host.is_empty() {
        set(&FORWARDED_HOST, host.clone());
    }
    set(&FORWARDED_PORT, forwarded.port);
    let (id, trace) = identifiers(ex.id());
    if let Some(id) = id {
        set(&REQUEST_ID, id);
    }
    if let Some(trace) = trace {
        set(&TRACEPARENT, trace);
    }
}

/// The request with the names of its fields in lower case and the fields' case forgotten: names are compared
/// without it (RFC 9110 §5.1), and Pingora would keep a second map, copied with each request, to remember it.
pub fn forget_case(request: &mut RequestHeader) {
    edit(request, |_| {});
}

/// A head that stands where another one was taken from.
pub fn empty() -> RequestHeader {
    RequestHeader::from(http::Request::new(()).into_parts().0)
}

/// Works on the parts of a request that has no case to remember; it has none afterwards.
pub fn edit<T>(request: &mut RequestHeader, work: impl FnOnce(&mut Parts) -> T) -> T {
    let mut parts = Parts::from(std::mem::replace(request, empty()));
    let result = work(&mut parts);
    *request = RequestHeader::from(parts);
    result
}

/// The request's id as a header, and a W3C trace context whose trace is that id, where it is 32 hex digits.
fn identifiers(id: &str) -> (Option<HeaderValue>, Option<HeaderValue>) {
    const ID: usize = 32;
    const TRACE: usize = 55;
    let hex = if id.len() == ID { Cow::Borrowed(id) } else { Cow::Owned(id.replace('-', "")) };
    let is_trace = hex.len() == ID && hex.bytes().fold(true, |hex, byte| hex & byte.is_ascii_hexdigit());
    let trace = hex.get(ID / 2..).filter(|_| is_trace).and_then(|span| {
        let mut text = String::with_capacity(TRACE);
        for part in ["00-", &hex, "-", span, "-01"] {
            text.push_str(part);
        }
        HeaderValue::try_from(text).ok()
    });
    (HeaderValue::from_str(id).ok(), trace)
}

/// The client's address, and the trusted proxies that vouch for it, the peer last: walks from the peer through them, right
/// to left. A part that is not an address ends the walk at the last one that was vouched for.
pub fn client_ip(
    peer: IpAddr,
    forwarded: &[&[u8]],
    trusted: &dyn Fn(IpAddr) -> bool,
) -> (IpAddr, Vec<IpAddr>) {
    let (mut client, mut proxies) = (peer.to_canonical(), Vec::new());
    let parts = forwarded.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    for part in parts {
        if !trusted(client) {
            break;
        }
        let Some(address) = std::str::from_utf8(part).ok().and_then(|text| parse_address(text.trim())) else {
            break;
        };
        proxies.push(std::mem::replace(&mut client, address));
    }
    proxies.reverse();
    (client, proxies)
}

/// An address, with or without a port, with or without brackets.
fn parse_address(text: &str) -> Option<IpAddr> {
    let parsed = text.parse::<IpAddr>().ok();
    let parsed = parsed.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    parsed.or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header((*name).to_owned(), *value).unwrap();
        }
        request
    }

    #[test]
    fn owned_headers_do_not_pass() {
        let names = Names {
            owned: HashSet::from([HeaderName::from_static("x-user-email")]),
            late: vec![HeaderName::from_static("x-trace")],
            asked: vec![HeaderName::from_static("x-method-override")],
        };
        for name in [
            "X-Consumer-Id",
            "x-consumer-groups",
            "X-Credential-Identifier",
            "X-Authenticated-UserId",
            "X-Real-IP",
            "X-Forwarded-For",
            "x-forwarded-prefix",
            "Forwarded",
            "X-SSL-Client-Cert",
            "True-Client-IP",
            "CF-Connecting-IP",
            "Proxy",
            "Proxy-Authorization",
            "Keep-Alive",
            "HTTP2-Settings",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "x.method.override",
            "x.consumer.id",
            "x-consumer_id",
            "X-User-Email",
            "x.user.email",
            "Upgrade",
            "TE",
            "traceparent",
            "x.request.id",
            "x.trace",
        ] {
            let mut request = request(&[(name, "evil"), ("accept", "a")]);
            strip(&mut request, &names, None, || true).unwrap();
            assert_eq!(request.headers.len(), 1, "{name}");
            let mut request = self::request(&[("x-trace", "mine"), ("x-method-override", "PUT")]);
            strip(&mut request, &names, None, || true).unwrap();
            assert_eq!(request.headers.len(), 2, "what a plugin reads or a route asks for stays until then");
        }
    }

    #[test]
    fn a_nominated_field_is_not_taken_away() {
        let mut head = request(&[("connection", "close, X-Api-Key"), ("x-api-key", "k")]);
        strip(&mut head, &Names::default(), None, || true).unwrap();
        assert_eq!(head.headers["connection"], "close");
        assert_eq!(head.headers["x-api-key"], "k");
        let mut head = request(&[("connection", "x-api-key")]);
        strip(&mut head, &Names::default(), None, || true).unwrap();
        assert!(!head.headers.contains_key("connection"));
        let mut head = request(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        strip(&mut head, &Names::default(), None, || true).unwrap();
        assert_eq!(
            (&head.headers["connection"], &head.headers["upgrade"]),
            (&HeaderValue::from_static("upgrade"), &HeaderValue::from_static("websocket"))
        );
    }

    #[test]
    fn only_one_upgrade_goes_on_and_nothing_beside_it() {
        for (fields, kept) in [
            (&[("upgrade", "websocket")][..], 1),
            (&[("upgrade", "h2c")], 0),
            (&[("upgrade", "websocket"), ("upgrade", "h2c")], 0),
            (&[("upgrade", "websocket"), ("upgrade", "websocket")], 0),
            (&[("te", "trailers")], 1),
            (&[("te", "trailers"), ("te", "gzip")], 0),
        ] {
            let mut head = request(fields);
            let websocket = strip(&mut head, &Names::default(), None, || true).unwrap();
            assert_eq!(
                (head.headers.len(), websocket),
                (kept, kept == 1 && fields[0].0 == "upgrade"),
                "{fields:?}"
            );
        }
        // Neither goes on where the head as a whole asks for nothing.
        let mut head = request(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert!(!strip(&mut head, &Names::default(), None, || false).unwrap());
        assert!(head.headers.is_empty());
    }

    #[test]
    fn a_trace_is_made_of_an_id_that_is_one() {
        for (id, trace) in [
            (
                "0123456789abcdef0011223344556677",
                Some("00-0123456789abcdef0011223344556677-0011223344556677-01"),
            ),
            (
                "01234567-89ab-cdef-0011-223344556677",
                Some("00-0123456789abcdef0011223344556677-0011223344556677-01"),
            ),
            ("0123456789abcdef001122334455667", None),
            ("0123456789abcdef00112233445566zz", None),
            ("é123456789abcdef001122334455667", None),
            ("", None),
        ] {
            let (name, value) = identifiers(id);
            assert_eq!(name.as_ref().map(HeaderValue::as_bytes), Some(id.as_bytes()));
            assert_eq!(value.as_ref().map(|value| value.to_str().unwrap()), trace, "{id}");
        }
    }

    #[test]
    fn client_addresses() {
        let trusted = |ip: IpAddr| ip.to_string().starts_with("10.");
        let walk = |peer: &str, values: &[&str]| {
            let values: Vec<&[u8]> = values.iter().map(|value| value.as_bytes()).collect();
            let (client, proxies) = client_ip(peer.parse().unwrap(), &values, &trusted);
            let all: Vec<String> = [client].iter().chain(&proxies).map(IpAddr::to_string).collect();
            all.join(" ")
        };
        assert_eq!(walk("1.1.1.1", &["9.9.9.9"]), "1.1.1.1");
        assert_eq!(walk("10.0.0.1", &["9.9.9.9"]), "9.9.9.9 10.0.0.1");
        assert_eq!(walk("10.0.0.1", &["8.8.8.8, 9.9.9.9, 10.0.0.2"]), "9.9.9.9 10.0.0.2 10.0.0.1");
        assert_eq!(walk("10.0.0.1", &["8.8.8.8", "9.9.9.9"]), "9.9.9.9 10.0.0.1");
        assert_eq!(walk("10.0.0.1", &["8.8.8.8, x, 10.0.0.2"]), "10.0.0.2 10.0.0.1");
        assert_eq!(walk("10.0.0.1", &[""]), "10.0.0.1");
        assert_eq!(walk("::ffff:10.0.0.1", &["::ffff:9.9.9.9"]), "9.9.9.9 10.0.0.1");
        assert_eq!(walk("10.0.0.1", &["[2001:db8::1]:443"]), "2001:db8::1 10.0.0.1");
        assert_eq!(walk("10.0.0.1", &["9.9.9.9:1234"]), "9.9.9.9 10.0.0.1");
    }
}
