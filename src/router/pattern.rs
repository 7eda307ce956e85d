//! Path patterns and host patterns as written, parsed.

use std::{fmt::Write as _, sync::Arc};

use crate::{fold::fold, path::normalize};

/// The most segments of a pattern: it bounds the depth of a look-up.
pub(super) const MAX_SEGMENTS: usize = 64;

/// What is wrong with a pattern, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) help: String,
}

/// A path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    pub(super) shape: Shape,
    pub(super) params: Arc<[Slot]>,
}

/// A parameter: its name, and which segment of the path it stands for, from 0.
pub(super) type Slot = (Arc<str>, usize);

/// A pattern without the names of its parameters: what makes two patterns the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shape {
    /// None stands for a parameter.
    pub(super) segments: Vec<Option<Box<str>>>,
    /// True where a `/*` follows.
    pub(super) prefix: bool,
}

impl Pattern {
    /// Parses `/exact/path`, `/with/{parameter}` or `/a/prefix/*`. One trailing slash means nothing.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(problem(format!("`{text}` does not start with a slash"), format!("write `/{text}`")));
        };
        let (rest, prefix) = match rest.strip_suffix("/*") {
            Some(rest) => (Some(rest), true),
            None if rest == "*" => (None, true),
            None if rest.is_empty() => (None, false),
            None => (Some(rest.strip_suffix('/').unwrap_or(rest)), false),
        };
        let mut segments = Vec::new();
        let mut params: Vec<Slot> = Vec::new();
        for (index, segment) in rest.into_iter().flat_map(|rest| rest.split('/')).enumerate() {
            if index == MAX_SEGMENTS {
                let help = format!("at most {MAX_SEGMENTS} segments; end it with `/*` earlier");
                return Err(problem(format!("`{text}` has too many segments"), help));
            }
            match parameter(text, segment)? {
                None => segments.push(Some(literal(text, segment)?)),
                Some(name) if params.iter().any(|(other, _)| **other == *name) => {
                    let message = format!("`{text}` has two parameters named `{name}`");
                    return Err(problem(message, "give each a name of its own".to_owned()));
                }
                Some(name) => {
                    params.push((Arc::from(name), index));
                    segments.push(None);
                }
            }
        }
        Ok(Pattern { shape: Shape { segments, prefix }, params: params.into() })
    }
}

impl Shape {
    /// The same shape, its literal segments folded.
    pub(super) fn folded(&self) -> Shape {
        let mut segments = Vec::with_capacity(self.segments.len());
        for segment in &self.segments {
            let Some(literal) = segment else {
                segments.push(None);
                continue;
            };
            let folded = fold(&format!("/{literal}")).into_owned();
            segments
                .extend(folded.split('/').filter(|part| !part.is_empty()).map(|part| Some(Box::from(part))));
        }
        Shape { segments, prefix: self.prefix }
    }

    /// True where it has no parameter and no `/*`.
    pub(super) fn is_exact(&self) -> bool {
        !self.prefix && self.segments.iter().all(Option::is_some)
    }

    /// The path of an exact pattern without its slash at the front: the key of the exact table.
    pub(super) fn exact_key(&self) -> String {
        self.segments
            .iter()
            .map(|segment| segment.as_deref().unwrap_or_default())
            .collect::<Vec<_>>()
            .join("/")
    }
}

/// The name, where a segment is `{name}`.
fn parameter<'a>(text: &str, segment: &'a str) -> Result<Option<&'a str>, Problem> {
    if !segment.contains(['{', '}']) {
        return Ok(None);
    }
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
    let good = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if good {
        return Ok(Some(name));
    }
    let help = "a parameter is a whole segment: `/{name}/`, of letters, digits, `_` and `-`".to_owned();
    Err(problem(format!("`{segment}` in `{text}` is not a parameter"), help))
}

/// A literal segment: refused where no path in normal form can hold it.
fn literal(text: &str, segment: &str) -> Result<Box<str>, Problem> {
    if segment.is_empty() {
        let message = format!("`{text}` can never match: slashes are merged before a route is looked up");
        return Err(problem(message, "write one slash".to_owned()));
    }
    if matches!(segment, "." | "..") {
        let message =
            format!("`{text}` can never match: dot segments are resolved before a route is looked up");
        return Err(problem(message, "write the path that it resolves to".to_owned()));
    }
    if segment.contains('*') {
        let message = format!("`*` in `{text}` does not stand alone at the end");
        return Err(problem(
            message,
            "end a prefix with `/*`, or write `/{name}` for any one segment".to_owned(),
        ));
    }
    if let Some(refused) = refused_byte(segment) {
        let message = format!("`{text}` can never match: a path that holds {refused} is refused");
        return Err(problem(message, "leave it out".to_owned()));
    }
    let normal = normal_form(segment);
    if normal != segment {
        let message = format!("`{segment}` in `{text}` can never match: it is not in normal form");
        return Err(problem(message, format!("write `{normal}`")));
    }
    if let Err(reason) = normalize(format!("/{segment}").as_bytes()) {
        let message =
            format!("`{text}` can never match: a path that holds `{segment}` is refused ({reason})");
        return Err(problem(message, "leave it out".to_owned()));
    }
    Ok(Box::from(segment))
}

/// What no request's path may hold, raw or encoded.
fn refused_byte(segment: &str) -> Option<&'static str> {
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let value = if byte == b'%' {
            match hex_pair(tail) {
                Some(value) => value,
                None => return Some("`%` without two hexadecimal digits"),
            }
        } else {
            byte
        };
        match value {
            0..=0x1f | 0x7f => return Some("a control character"),
            b'\\' => return Some("a backslash"),
            b'/' => return Some("an encoded slash"),
            b'?' | b'#' if byte == value => return Some("`?` or `#`"),
            _ => {}
        }
    }
    None
}

/// The segment as the normalised path has it: unreserved characters decoded, everything that a path may not
/// hold encoded, upper-case hex.
fn normal_form(segment: &str) -> String {
    let mut normal = String::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let encoded = if byte == b'%' { hex_pair(tail) } else { None };
        if encoded.is_some() {
            rest = tail.get(2..).unwrap_or_default();
        }
        let value = encoded.unwrap_or(byte);
        let unreserved = value.is_ascii_alphanumeric() || b"-._~".contains(&value);
        let reserved = b"!$&'()*+,;=:@".contains(&value);
        if unreserved || (reserved && encoded.is_none()) {
            normal.push(char::from(value));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(normal, "%{value:02X}");
        }
    }
    normal
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let pair = std::str::from_utf8(bytes.get(..2)?).ok()?;
    if !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(pair, 16).ok()
}

/// A host pattern. The order is from the most specific to the least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum HostPattern {
    /// This host.
    Exact(Box<str>),
    /// One or more labels before this (`*.shop.example.com`, without the `*.`).
    Below(Box<str>),
    /// Every host.
    Any,
}

impl HostPattern {
    /// Parses `shop.example.com`, `*.example.com`, `192.0.2.1` or `[2001:db8::1]`. Case means nothing.
    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            let help = "leave `hosts` out: the route then takes every host".to_owned();
            return Err(problem("`*` is not a host".to_owned(), help));
        }
        if let Some(address) = lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return match address.parse::<std::net::Ipv6Addr>() {
                Ok(_) => Ok(HostPattern::Exact(lower.into())),
                Err(_) => Err(problem(format!("`{text}` is not an IPv6 address"), host_help())),
            };
        }
        if let Some((host, port)) = lower.rsplit_once(':')
            && port.bytes().all(|byte| byte.is_ascii_digit())
        {
            let help = format!("write `{host}`: the port is ignored");
            return Err(problem(format!("`{text}` holds a port"), help));
        }
        let (name, wildcard) = match lower.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (lower.as_str(), false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.contains('*') {
            let help = "a `*` stands for the first labels: `*.example.com`".to_owned();
            return Err(problem(format!("`*` stands in the middle of `{text}`"), help));
        }
        if !name.is_ascii() {
            let help = "write an international name in its `xn--` form".to_owned();
            return Err(problem(format!("`{text}` can never match: it is not ASCII"), help));
        }
        let good = name.len() <= super::MAX_HOST && name.split('.').all(is_label);
        match (good, wildcard) {
            (false, _) => Err(problem(format!("`{text}` is not a host"), host_help())),
            (true, true) => Ok(HostPattern::Below(name.into())),
            (true, false) => Ok(HostPattern::Exact(name.into())),
        }
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn host_help() -> String {
    "write a name such as `shop.example.com`, `*.example.com`, or an address".to_owned()
}

fn problem(message: String, help: String) -> Problem {
    Problem { message, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_parse() {
        let table: [(&str, &[Option<&str>], bool); 10] = [
            ("/", &[], false),
            ("/*", &[], true),
            ("/orders", &[Some("orders")], false),
            ("/orders/", &[Some("orders")], false),
            ("/orders/*", &[Some("orders")], true),
            ("/orders/{id}", &[Some("orders"), None], false),
            ("/orders/{id}/*", &[Some("orders"), None], true),
            ("/a;v=1/@b:c,d/(e)!'", &[Some("a;v=1"), Some("@b:c,d"), Some("(e)!'")], false),
            ("/a%20b/%E2%9C%93/100%25", &[Some("a%20b"), Some("%E2%9C%93"), Some("100%25")], false),
            ("/.well-known/{the-file_1}", &[Some(".well-known"), None], false),
        ];
        for (text, segments, prefix) in table {
            let pattern = Pattern::parse(text).unwrap();
            let found: Vec<_> = pattern.shape.segments.iter().map(Option::as_deref).collect();
            assert_eq!((found.as_slice(), pattern.shape.prefix), (segments, prefix), "{text}");
        }
    }

    #[test]
    fn patterns_that_can_never_match_are_refused() {
        let table = [
            ("", "does not start with a slash"),
            ("orders", "does not start with a slash"),
            ("*", "does not start with a slash"),
            ("//", "slashes are merged"),
            ("//*", "slashes are merged"),
            ("/a//b", "slashes are merged"),
            ("/a//", "slashes are merged"),
            ("/a/../b", "dot segments"),
            ("/./a", "dot segments"),
            ("/a*", "does not stand alone"),
            ("/*/a", "does not stand alone"),
            ("/a/*/*", "does not stand alone"),
            ("/**", "does not stand alone"),
            ("/{}", "not a parameter"),
            ("/{id", "not a parameter"),
            ("/id}", "not a parameter"),
            ("/{1}", "not a parameter"),
            ("/{a b}", "not a parameter"),
            ("/{*rest}", "not a parameter"),
            ("/{id}.json", "not a parameter"),
            ("/{a}{b}", "not a parameter"),
            ("/{id}/{id}", "two parameters named `id`"),
            ("/a?b", "`?` or `#`"),
            ("/a#b", "`?` or `#`"),
            ("/a\\b", "a backslash"),
            ("/a%5Cb", "a backslash"),
            ("/a%2Fb", "an encoded slash"),
            ("/a%00", "a control character"),
            ("/a%", "without two hexadecimal digits"),
            ("/a%+1", "without two hexadecimal digits"),
            ("/a%2", "without two hexadecimal digits"),
            ("/a\nb", "a control character"),
        ];
        for (text, message) in table {
            let problem = Pattern::parse(text).unwrap_err();
            assert!(problem.message.contains(message), "{text}: {}", problem.message);
        }
        let deep = "/a".repeat(MAX_SEGMENTS);
        assert!(Pattern::parse(&deep).is_ok());
        assert!(Pattern::parse(&format!("{deep}/a")).unwrap_err().message.contains("too many segments"));
    }

    #[test]
    fn the_normal_form_is_told() {
        let table = [
            ("/%41", "write `A`"),
            ("/a b", "write `a%20b`"),
            ("/%e2%9c%93", "write `%E2%9C%93`"),
            ("/é", "write `%C3%A9`"),
        ];
        for (text, help) in table {
            assert_eq!(Pattern::parse(text).unwrap_err().help, help, "{text}");
        }
    }

    #[test]
    fn hosts() {
        let exact = |host: &str| Ok(HostPattern::Exact(host.into()));
        assert_eq!(HostPattern::parse("Shop.Example.com."), exact("shop.example.com"));
        assert_eq!(HostPattern::parse("127.0.0.1"), exact("127.0.0.1"));
        assert_eq!(HostPattern::parse("[::1]"), exact("[::1]"));
        assert_eq!(HostPattern::parse("*.example.com"), Ok(HostPattern::Below("example.com".into())));
        for bad in [
            "", "*", "*.", "a..b", ".a", "a.*.b", "a*.b", "a:80", "[::1]:80", "[x]", "::1", "a/b", "é.de",
            "a b",
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
        assert!(HostPattern::parse(&format!("{}.de", "a".repeat(64))).is_err());
    }
}
