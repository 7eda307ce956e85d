//! Routes: from what is written to the model.

use super::{
    entries,
    model::{At, Auth, ErrorBody, Explain, Route, RouteLimits},
    raw::{RawAuth, RawErrorBody, RawRoute},
    sections::{at, bounded_time, check_name, header_name, mapping, read, to_read, wrong},
};
use crate::owned::{Override, is_owned};
use http::{HeaderName, HeaderValue, Method};
use palisade_contract::{ConfigError, Descriptor, Node, Value, conf::node::Key};
use std::{collections::BTreeMap, sync::Arc};

/// The largest error body, in bytes.
const MAX_ERROR_BODY: u64 = 1 << 20;

type Routes = BTreeMap<Arc<str>, At<Route>>;

/// Routes, and those that are not right, as far as they could be read.
pub(super) fn routes(
    written: &[(Key, Node)],
    registry: &[Descriptor],
    errors: &mut Vec<ConfigError>,
) -> (Routes, Routes) {
    let (mut all, mut broken) = (Routes::new(), Routes::new());
    for (key, node) in written {
        check_name(key, &node.path, errors);
        // Read whether or not the rest is right, so that all errors show at once.
        let written = node.get("plugins").map_or(&[][..], |node| mapping(node, errors));
        let plugins = entries::entries(written, registry, errors);
        let written = node.get("errors").map_or(&[][..], |node| mapping(node, errors));
        let bodies = error_bodies(written, errors);
        let before = errors.len();
        let read = match raw_route(node, errors) {
            Some(raw) => route(node, &raw, errors),
            None => Route::default(),
        };
        let route = at(node, "", Route { plugins, errors: bodies, ..read });
        let routes = if errors.len() == before { &mut all } else { &mut broken };
        routes.insert(key.text.as_str().into(), route);
    }
    (all, broken)
}

fn raw_route(node: &Node, errors: &mut Vec<ConfigError>) -> Option<RawRoute> {
    let before = errors.len();
    let raw = read::<RawRoute>(node, errors);
    let auth =
        |error: &&mut ConfigError| error.path.ends_with(".auth") && error.message.starts_with("expected");
    for error in errors.iter_mut().skip(before).filter(auth) {
        error.help = Some(
            "write `auth: {any: [jwt, key-auth]}`, `auth: {all: [jwt, key-auth]}` or `auth: optional`".into(),
        );
    }
    raw
}

/// A route without its plugins and error bodies.
fn route(node: &Node, raw: &RawRoute, errors: &mut Vec<ConfigError>) -> Route {
    if raw.paths.is_empty() {
        errors.push(
            wrong(node, "paths", "a route needs at least one path")
                .help("write `paths: [/*]` for every path"),
        );
    }
    for (field, empty) in [("hosts", raw.hosts.is_empty()), ("methods", raw.methods.is_empty())] {
        if empty && node.get(field).is_some() {
            errors.push(wrong(node, field, format!("`{field}` is empty")).help("leave it out for any"));
        }
    }
    Route {
        hosts: texts(node, "hosts", &raw.hosts, host_pattern, errors),
        paths: texts(node, "paths", &raw.paths, path_pattern, errors),
        methods: raw
            .methods
            .iter()
            .enumerate()
            .filter_map(|(index, text)| method(node, index, text, errors))
            .collect(),
        headers: headers(node, raw, errors),
        secret_headers: secret_headers(node.get("headers").map_or(&[], Node::entries)),
        upstream: raw.upstream.as_ref().map(|name| at(node, "upstream", Arc::from(name.as_str()))),
        strip_prefix: raw
            .strip_prefix
            .as_ref()
            .and_then(|prefix| strip_prefix(node, prefix, &raw.paths, errors)),
        pass_headers: pass_headers(node, &raw.pass_headers, errors),
        limits: RouteLimits {
            body_bytes: raw.limits.body_bytes.map(|size| size.0),
            body_timeout: raw
                .limits
                .body_timeout
                .map(|time| bounded_time(node, "limits.body_timeout", time, errors)),
        },
        auth: raw
            .auth
            .as_ref()
            .and_then(|auth| authentication(node, auth, errors))
            .map(|auth| at(node, "auth", auth)),
        public: raw.public.then(|| at(node, "public", ())),
        plugins: BTreeMap::new(),
        explain: raw.explain.as_ref().and_then(|explain| {
            let header = header_name(node, "explain.header", &explain.header, errors);
            Some(Explain { header: header?, allow: explain.allow.iter().map(|cidr| cidr.0).collect() })
        }),
        errors: BTreeMap::new(),
    }
}

type Check = fn(&str) -> Result<String, (&'static str, Option<String>)>;

fn texts(
    node: &Node,
    field: &str,
    written: &[String],
    check: Check,
    errors: &mut Vec<ConfigError>,
) -> Vec<At<String>> {
    let mut all = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match check(text) {
            Ok(value) => all.push(at(node, &field, value)),
            Err((why, help)) => {
                let error = wrong(node, &field, format!("`{text}` {why}"));
                errors.push(match help {
                    Some(help) => error.help(help),
                    None => error,
                });
            }
        }
    }
    all
}

/// `shop.example.com`, `*.example.com`; lower case, no port.
fn host_pattern(text: &str) -> Result<String, (&'static str, Option<String>)> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if let Some((host, port)) =
        text.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        && !text.starts_with('[')
        && !port.is_empty()
    {
        return Err(("names a port, and the port does not choose a route", Some(format!("write `{host}`"))));
    }
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let address = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .is_some_and(|v6| v6.parse::<std::net::Ipv6Addr>().is_ok());
    let labels = !name.is_empty()
        && name.len() <= 253
        && name.chars().all(valid)
        && name.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    if labels || address {
        Ok(text.to_ascii_lowercase())
    } else {
        Err((
            "is not a host",
            Some("write `shop.example.com`, or `*.example.com` for all below it".to_owned()),
        ))
    }
}

/// Exact, with `{parameters}` of one whole segment, or a trailing `/*`; in the normal form of request paths.
fn path_pattern(text: &str) -> Result<String, (&'static str, Option<String>)> {
    if !text.starts_with('/') {
        return Err(("does not begin with `/`", Some(format!("write `/{text}`"))));
    }
    if text.contains(['?', '#']) {
        let path = text.split(['?', '#']).next().unwrap_or_default();
        return Err((
            "has a query or a fragment, and only the path chooses a route",
            Some(format!("write `{path}`; a plugin's `when` can ask `request.query`")),
        ));
    }
    let fixed = text.strip_suffix("/*").unwrap_or(text);
    let mut names = Vec::new();
    for segment in fixed.split('/').skip(1) {
        if let Some(name) = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            if name.is_empty()
                || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
                || names.contains(&name)
            {
                return Err((
                    "has a parameter without a name of its own",
                    Some("write `{id}`: letters, digits and `_`, each once".to_owned()),
                ));
            }
            names.push(name);
        } else if segment.contains(['{', '}', '*']) {
            return Err((
                "mixes `{}` or `*` with other characters in a segment",
                Some(
                    "a parameter is a whole segment, and `*` stands only at the end: `/a/{id}`, `/a/*`"
                        .to_owned(),
                ),
            ));
        } else if segment.contains(';') {
            return Err((
                "has path parameters (`;`), which origins read differently",
                Some("leave out what begins with `;`".to_owned()),
            ));
        }
    }
    let plain = fixed.replace(['{', '}'], "");
    match crate::path::normalize(plain.as_bytes()) {
        _ if fixed.is_empty() => Ok(text.to_owned()),
        Ok(normal) if normal == plain => Ok(text.to_owned()),
        Ok(normal) => Err((
            "is not in normal form, so that no request could match it",
            Some(format!("write `{normal}`")),
        )),
        Err(_) => Err((
            "can be read in two ways, and such requests are refused",
            Some(
                "write the path without `%2F`, `\\`, control characters and broken `%` sequences".to_owned(),
            ),
        )),
    }
}

fn method(node: &Node, index: usize, text: &str, errors: &mut Vec<ConfigError>) -> Option<Method> {
    let known = Method::from_bytes(text.as_bytes())
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-'));
    if known.is_none() || text == "CONNECT" {
        errors.push(
            wrong(node, &format!("methods[{index}]"), format!("`{text}` is not a method"))
                .help("methods are written in upper case: `GET`, `POST`"),
        );
        return None;
    }
    known
}

fn headers(node: &Node, raw: &RawRoute, errors: &mut Vec<ConfigError>) -> Vec<(HeaderName, String)> {
    let mut all: Vec<(HeaderName, String)> = Vec::new();
    for (name, value) in &raw.headers {
        let field = format!("headers.{name}");
        let Some(known) = header_name(node, &field, name, errors) else { continue };
        if HeaderValue::from_str(value).is_err() {
            errors.push(
                wrong(node, &field, "no header can have this value").help("write printable characters"),
            );
        } else if all.iter().any(|(other, _)| *other == known) {
            let error = wrong(node, &field, format!("the header `{known}` stands here twice"));
            errors.push(error.help("header names have no case; keep one of them"));
        } else {
            all.push((known, value.clone()));
        }
    }
    all
}

fn secret_headers(written: &[(Key, Node)]) -> Vec<HeaderName> {
    written
        .iter()
        .filter(|(_, node)| matches!(node.value, Value::Scalar { secret: true, .. }))
        .filter_map(|(key, _)| HeaderName::from_bytes(key.text.as_bytes()).ok())
        .collect()
}

fn strip_prefix(
    node: &Node,
    prefix: &str,
    paths: &[String],
    errors: &mut Vec<ConfigError>,
) -> Option<At<String>> {
    let prefix = prefix.trim_end_matches('/');
    if !prefix.starts_with('/') || prefix.contains(['{', '*', '?', '#']) {
        errors.push(
            wrong(node, "strip_prefix", "this is not a prefix of paths")
                .help("write a path such as `/v1`, without parameters and `*`"),
        );
        return None;
    }
    for path in paths {
        let covered = path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !covered {
            errors.push(
                wrong(node, "strip_prefix", format!("the path `{path}` does not begin with `{prefix}`"))
                    .help("every path of the route must start with what is cut off"),
            );
        }
    }
    Some(at(node, "strip_prefix", prefix.to_owned()))
}

fn pass_headers(node: &Node, written: &[String], errors: &mut Vec<ConfigError>) -> Vec<At<HeaderName>> {
    let mut all: Vec<At<HeaderName>> = Vec::new();
    for (index, text) in written.iter().enumerate() {
        let field = format!("pass_headers[{index}]");
        let Some(name) = header_name(node, &field, text, errors) else { continue };
        let (message, help) = if all.iter().any(|other| other.value == name) {
            (format!("the header `{name}` stands here twice"), "header names have no case; keep one of them")
        } else if Override::of(name.as_str()).is_some() {
            all.push(at(node, &field, name));
            continue;
        } else if is_owned(name.as_str()) {
            (
                format!("no client may send `{name}` to an origin"),
                "only the gateway writes it, or it belongs to one connection; remove it here",
            )
        } else {
            (format!("`{name}` goes on without being named"), "remove it here")
        };
        errors.push(wrong(node, &field, message).help(help));
    }
    all
}

fn authentication(node: &Node, raw: &RawAuth, errors: &mut Vec<ConfigError>) -> Option<Auth> {
    let (names, auth) = match raw {
        RawAuth::Any(names) => (names, Auth::Any(names.clone())),
        RawAuth::All(names) => (names, Auth::All(names.clone())),
        RawAuth::Optional => return Some(Auth::Optional),
    };
    let twice =
        names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|other| other == *name));
    if names.is_empty() || twice.is_some() {
        let error = wrong(node, "auth", "`auth` names each authenticator once");
        errors
            .push(error.help("write the keys of the route's authenticators: `auth: {any: [jwt, key-auth]}`"));
        return None;
    }
    Some(auth)
}

pub(super) fn error_bodies(
    written: &[(Key, Node)],
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<u16, ErrorBody> {
    let mut all = BTreeMap::new();
    for (key, node) in written {
        let status = key.text.parse::<u16>().ok().filter(|status| (400..600).contains(status));
        let Some(status) = status else {
            errors.push(
                ConfigError::at(&node.path, format!("`{}` is not the status of an error", key.text))
                    .help("write a status from 400 to 599")
                    .place(key.place.clone()),
            );
            continue;
        };
        if let Some(body) = read::<RawErrorBody>(node, errors).and_then(|raw| error_body(node, &raw, errors))
        {
            all.insert(status, body);
        }
    }
    all
}

fn error_body(node: &Node, raw: &RawErrorBody, errors: &mut Vec<ConfigError>) -> Option<ErrorBody> {
    let Ok(content_type) = HeaderValue::from_str(&raw.content_type) else {
        errors.push(wrong(node, "content_type", "this is not a media type").help("write `text/html`"));
        return None;
    };
    let (body, file) = match (&raw.body, &raw.file) {
        (Some(text), None) => (text.clone().into_bytes(), None),
        (None, Some(path)) => {
            let path = to_read(node, path);
            let size = std::fs::metadata(&path).map(|meta| meta.len());
            match size.and_then(|size| {
                if size > MAX_ERROR_BODY {
                    Err(std::io::Error::other("it is larger than 1 MiB"))
                } else {
                    std::fs::read(&path)
                }
            }) {
                Ok(bytes) => (bytes, Some(path)),
                Err(error) => {
                    let error = format!("cannot read `{}`: {error}", path.display());
                    errors.push(wrong(node, "file", error).help("the path is relative to this file"));
                    return None;
                }
            }
        }
        _ => {
            let error = wrong(node, "", "an error body has a `body` or a `file`");
            errors.push(error.help("write the text itself, or the file that holds it"));
            return None;
        }
    };
    Some(ErrorBody { content_type, body: body.into(), file })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_patterns() {
        for text in
            ["/", "/*", "/a", "/a/", "/a/*", "/a/{id}", "/a/{id}/b/*", "/a%20b", "/%E2%9C%93", "/a.b..c"]
        {
            assert_eq!(path_pattern(text).as_deref(), Ok(text), "{text}");
        }
        for text in [
            "",
            "a",
            "*",
            "/a*",
            "/a/*/b",
            "/a/{}",
            "/a/x{id}",
            "/{a}/{a}",
            "/a//b",
            "/a/../b",
            "/a/./b",
            "/a?x",
            "/a#x",
            "/a%2fb",
            "/%61",
            "/%e2%9c%93",
            "/a;b",
            "/a\\b",
            "/a b\u{0}",
        ] {
            assert!(path_pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn host_patterns() {
        assert_eq!(host_pattern("*.Shop.example.com").as_deref(), Ok("*.shop.example.com"));
        for text in ["localhost", "127.0.0.1", "[::1]", "a_b.example"] {
            assert!(host_pattern(text).is_ok(), "{text}");
        }
        for text in ["", "*", "*.", "a..b", ".a", "a.", "a:80", "a/b", "*.*.a", "a.*", "ä.example", "a b"] {
            assert!(host_pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn error_bodies_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let text = "version: 1\nerrors: {404: {content_type: text/html, file: page.html}}\n";
        std::fs::write(dir.path().join("a.yaml"), text).unwrap();
        for (more, refused) in [(0, false), (1, true)] {
            let page = vec![b'x'; usize::try_from(MAX_ERROR_BODY + more).unwrap()];
            std::fs::write(dir.path().join("page.html"), page).unwrap();
            let errors = crate::conf::read(dir.path(), &[], &|_| None).errors;
            let found = errors.iter().any(|error| error.message.ends_with("it is larger than 1 MiB"));
            assert_eq!(found, refused, "{errors:?}");
        }
    }
}
