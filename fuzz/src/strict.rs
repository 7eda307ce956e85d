//! A second reading of HTTP/1 messages, to hold the gateway's against: over whole byte strings, slow and obvious, from
//! RFC 9112 and the gateway's policy of refusing what can be read in two ways. It shares no code with the gateway.

/// What a head may use.
pub struct Limits {
    pub bytes: usize,
    pub count: usize,
    pub target: usize,
}

/// A message that can be read in one way only.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Bytes of the head.
    pub head: usize,
    pub close: bool,
    pub body: Body,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// Bytes with their framing, and what they hold.
    Whole(usize, Vec<u8>),
    /// More would have to come, or it is framed in more than one way.
    Bad,
    /// If the origin agrees, the connection is its own from here on.
    Tunnel,
}

/// Line breaks that may stand before a message.
pub fn skip_empty_lines(mut bytes: &[u8], most: usize) -> &[u8] {
    for _ in 0..most {
        bytes = bytes.strip_prefix(b"\r\n").unwrap_or(bytes);
    }
    bytes
}

/// The message at the front of the bytes; none where there is none that is whole and can be read in one way.
pub fn read(bytes: &[u8], limits: &Limits) -> Option<Message> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    if end > limits.bytes {
        return None;
    }
    let mut lines = lines(&bytes[..end - 2])?;
    let request = Request::read(lines.remove(0), limits.target)?;
    if lines.len() > limits.count {
        return None;
    }
    let fields = lines.into_iter().map(field).collect::<Option<Vec<_>>>()?;
    let framing = framing(&request, &fields)?;
    let rest = &bytes[end..];
    let body = match framing {
        Framing::Tunnel => Body::Tunnel,
        Framing::Length(length) => match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(content) => Body::Whole(content.len(), content.to_vec()),
            None => Body::Bad,
        },
        Framing::Chunked => chunked(rest).map_or(Body::Bad, |(taken, content)| Body::Whole(taken, content)),
    };
    Some(Message { head: end, close: closes(&request, &fields), body })
}

/// Lines that all end in CRLF, without it; none where a CR or LF stands elsewhere.
fn lines(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let line = &rest[..end];
        if line.contains(&b'\r') || line.contains(&b'\n') {
            return None;
        }
        lines.push(line);
        rest = &rest[end + 2..];
    }
    Some(lines)
}

struct Request {
    method: Vec<u8>,
    authority: Option<Vec<u8>>,
    old: bool,
}

impl Request {
    fn read(line: &[u8], most: usize) -> Option<Request> {
        let parts: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [method, target, version] = parts[..] else { return None };
        if !is_token(method) || method.len() > 32 || method == b"CONNECT" || target.len() > most {
            return None;
        }
        let old = match version {
            b"HTTP/1.0" => true,
            b"HTTP/1.1" => false,
            _ => return None,
        };
        if target.iter().any(|byte| byte.is_ascii_control() || *byte == b'#') {
            return None;
        }
        // A URI has none of these (RFC 3986 §2); where some read them all the same, they are let through.
        let text = std::str::from_utf8(target).ok()?;
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        if text.contains(['<', '>']) || path.contains('`') || query.contains('"') {
            return None;
        }
        let authority = match target {
            [b'/', ..] => None,
            b"*" if method == b"OPTIONS" => None,
            _ => {
                let lower = target.to_ascii_lowercase();
                let scheme = if lower.starts_with(b"https://") { 8 } else { 7 };
                if scheme == 7 && !lower.starts_with(b"http://") {
                    return None;
                }
                let rest = &target[scheme..];
                let end = rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len());
                Some(rest[..end].to_vec()).filter(|authority| is_authority(authority))?.into()
            }
        };
        Some(Request { method: method.to_vec(), authority, old })
    }
}

/// A field: its name in lower case, its value without the blanks around it.
fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // Some origins read `_` as `-`.
    if !is_token(name) || name.contains(&b'_') {
        return None;
    }
    if value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return None;
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    Some((name.to_ascii_lowercase(), value[start..end].to_vec()))
}

type Fields = [(Vec<u8>, Vec<u8>)];

fn values<'f>(fields: &'f Fields, name: &str) -> Vec<&'f [u8]> {
    let mine = fields.iter().filter(|(key, _)| key == name.as_bytes());
    mine.map(|(_, value)| value.as_slice()).collect()
}

/// Members of lists, lower case.
fn tokens(fields: &Fields, name: &str) -> Vec<Vec<u8>> {
    let lists = values(fields, name).into_iter();
    let members = lists.flat_map(|list| list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii));
    members.map(<[u8]>::to_ascii_lowercase).collect()
}

enum Framing {
    Length(u64),
    Chunked,
    Tunnel,
}

fn framing(request: &Request, fields: &Fields) -> Option<Framing> {
    match values(fields, "host")[..] {
        [host] if is_authority(host) => {
            if request.authority.as_ref().is_some_and(|target| !target.eq_ignore_ascii_case(host)) {
                return None;
            }
        }
        _ => return None,
    }
    if values(fields, "expect").iter().any(|expect| !expect.eq_ignore_ascii_case(b"100-continue")) {
        return None;
    }
    let length = match values(fields, "content-length")[..] {
        [] => None,
        [digits] => Some(number(digits, 19)?),
        _ => return None,
    };
    let chunked = match values(fields, "transfer-encoding")[..] {
        [] => false,
        [coding] => coding.eq_ignore_ascii_case(b"chunked").then_some(true)?,
        _ => return None,
    };
    let body = chunked || length.is_some_and(|length| length > 0);
    let upgrades = values(fields, "upgrade");
    if (chunked && (length.is_some() || request.old))
        || (body && (request.method == b"TRACE" || !upgrades.is_empty()))
    {
        return None;
    }
    let websocket = upgrades.len() == 1 && upgrades[0].eq_ignore_ascii_case(b"websocket");
    let asked = tokens(fields, "connection").contains(&b"upgrade".to_vec());
    Some(match length {
        _ if chunked => Framing::Chunked,
        _ if websocket && asked && request.method == b"GET" && !request.old => Framing::Tunnel,
        length => Framing::Length(length.unwrap_or(0)),
    })
}

fn closes(request: &Request, fields: &Fields) -> bool {
    let tokens = tokens(fields, "connection");
    tokens.contains(&b"close".to_vec()) || (request.old && !tokens.contains(&b"keep-alive".to_vec()))
}

/// A chunked body: its bytes, and what they hold.
fn chunked(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    let (mut at, mut content) = (0, Vec::new());
    loop {
        let line = &bytes[at..][..bytes[at..].windows(2).position(|two| two == b"\r\n")?];
        at += line.len() + 2;
        let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
        let (digits, extension) = line.split_at(end);
        if extension.len() > 1025 || extension.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
            return None;
        }
        if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        let data = bytes[at..].get(..usize::try_from(size).ok()?)?;
        content.extend_from_slice(data);
        at += data.len();
        bytes[at..].strip_prefix(b"\r\n")?;
        at += 2;
    }
    Some((at + trailers(&bytes[at..])?, content))
}

/// The bytes of trailers and the empty line behind them.
fn trailers(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(b"\r\n") {
        return Some(2);
    }
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let lines = lines(&bytes[..end - 2])?;
    if lines.iter().map(|line| line.len()).sum::<usize>() > 8192 {
        return None;
    }
    for line in lines {
        let (name, _) = field(line)?;
        if is_forbidden(std::str::from_utf8(&name).ok()?) {
            return None;
        }
    }
    Some(end)
}

/// What may not stand in trailers (RFC 9110 §6.5.1): framing, routing, request modifiers, authentication, content
/// format; and names that only the gateway may write, also where `.` stands for `-`.
fn is_forbidden(name: &str) -> bool {
    let names = "content-length transfer-encoding host cache-control expect max-forwards pragma range te \
        authorization proxy-authorization cookie set-cookie content-encoding content-type content-range trailer \
        connection keep-alive upgrade proxy proxy-connection http2-settings forwarded true-client-ip traceparent \
        cf-connecting-ip x-credential-identifier x-real-ip x-client-ip x-cluster-client-ip x-original-url \
        x-rewrite-url x-original-uri x-http-method-override x-http-method x-method-override";
    let prefixes = ["if-", "x-consumer-", "x-authenticated-", "x-forwarded-", "x-ssl-client-"];
    let plain = name.replace('.', "-");
    names.split_whitespace().any(|one| one == plain)
        || prefixes.iter().any(|prefix| plain.starts_with(prefix))
}

/// A token (RFC 9110 §5.6.2).
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

fn number(digits: &[u8], most: usize) -> Option<u64> {
    let good = digits.len() <= most && !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if good { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

/// `name`, `1.2.3.4` or `[::1]`, and a port; names with `_` exist.
fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    if port.is_some_and(|port| number(port.as_bytes(), 5).is_none_or(|port| port > 65_535)) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.len() <= 253 && host.bytes().all(good)
}
