//! Media types: what a message says that its body is (RFC 9110 §8.3).

use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use palisade_contract::{ConfigError, Denial};

/// What a `Content-Type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MediaType<'h> {
    kind: &'h str,
    subtype: &'h str,
    parameters: &'h str,
}

/// A `Content-Type` that can be read in more than one way, or in none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl From<Malformed> for Denial {
    fn from(_: Malformed) -> Self {
        Denial::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type_malformed")
            .message("The Content-Type is not one media type")
    }
}

impl<'h> MediaType<'h> {
    /// What a message says of its body; none where it says nothing.
    ///
    /// # Errors
    /// It says two things, or nothing that is a media type.
    pub(crate) fn of(headers: &'h HeaderMap) -> Result<Option<Self>, Malformed> {
        let mut values = headers.get_all(CONTENT_TYPE).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| Malformed)?;
                MediaType::parse(text).map(Some)
            }
            _ => Err(Malformed),
        }
    }

    /// Reads one, and sees that its parameters are whole: a quote that stays open would be closed by others elsewhere.
    pub(crate) fn parse(text: &'h str) -> Result<Self, Malformed> {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (kind, subtype) = essence.trim_matches(BLANK).split_once('/').ok_or(Malformed)?;
        let found = MediaType { kind, subtype, parameters };
        let whole =
            is_token(kind) && is_token(subtype) && found.parameters().all(|parameter| parameter.is_ok());
        if whole { Ok(found) } else { Err(Malformed) }
    }

    /// True for `application/json`, `text/json` and everything that ends in `+json` (RFC 6839).
    pub(crate) fn is_json(self) -> bool {
        self.is_written_in("json")
    }

    /// True for `application/xml`, `text/xml` and everything that ends in `+xml` (RFC 7303).
    pub(crate) fn is_xml(self) -> bool {
        self.is_written_in("xml")
    }

    /// True for the type of plain forms.
    pub(crate) fn is_form(self) -> bool {
        self.is("application", "x-www-form-urlencoded")
    }

    /// True for this type.
    pub(crate) fn is(self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// True for a type of this kind: `text`, `multipart`.
    pub(crate) fn is_kind(self, kind: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind)
    }

    fn is_written_in(self, syntax: &str) -> bool {
        let plain = self.is_kind("application") || self.is_kind("text");
        (plain && self.subtype.eq_ignore_ascii_case(syntax)) || self.suffix().eq_ignore_ascii_case(syntax)
    }

    /// What stands behind the last `+`.
    fn suffix(self) -> &'h str {
        self.subtype.rsplit_once('+').map_or("", |(_, suffix)| suffix)
    }

    /// A parameter's value without its quotes.
    ///
    /// # Errors
    /// It stands there twice, or its value has escapes, which are read differently by different readers.
    pub(crate) fn parameter(self, name: &str) -> Result<Option<&'h str>, Malformed> {
        let mut found = self
            .parameters()
            .flatten()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => unquoted(value).map(Some),
            _ => Err(Malformed),
        }
    }

    /// True where no other charset than UTF-8 is named.
    ///
    /// # Errors
    /// More than one is named.
    pub(crate) fn is_utf8(self) -> Result<bool, Malformed> {
        let charset = self.parameter("charset")?;
        Ok(charset.is_none_or(|charset| charset.eq_ignore_ascii_case("utf-8")))
    }

    fn parameters(self) -> impl Iterator<Item = Result<(&'h str, &'h str), Malformed>> {
        let mut rest = self.parameters;
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches([' ', '\t', ';']);
            if rest.is_empty() {
                return None;
            }
            let end = parameter_end(rest);
            let (one, after) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
            rest = after;
            let read = one.trim_matches(BLANK).split_once('=').ok_or(Malformed);
            let read = read.and_then(|(name, value)| {
                let is_value = is_token(value) || value.starts_with('"');
                if is_token(name) && is_value && end.is_ok() { Ok((name, value)) } else { Err(Malformed) }
            });
            Some(read)
        })
    }
}

const BLANK: [char; 2] = [' ', '\t'];

/// Where the first parameter ends; an error where a quote stays open, or something stands behind it.
fn parameter_end(text: &str) -> Result<usize, Malformed> {
    let (mut quoted, mut escaped, mut closed) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if quoted => (quoted, closed) = (false, true),
            b'"' => quoted = true,
            b';' if !quoted => return Ok(at),
            b' ' | b'\t' if !quoted => {}
            _ if closed => return Err(Malformed),
            _ => {}
        }
    }
    if quoted { Err(Malformed) } else { Ok(text.len()) }
}

fn unquoted(value: &str) -> Result<&str, Malformed> {
    match value.strip_prefix('"') {
        None => Ok(value),
        Some(_) if value.contains('\\') => Err(Malformed),
        Some(inner) => inner.strip_suffix('"').ok_or(Malformed),
    }
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is)
}

/// Types as an operator writes them: `application/json`, `application/*+json`, `text/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    kind: String,
    subtype: String,
}

impl Pattern {
    /// Reads one that stands at `field`.
    ///
    /// # Errors
    /// It is none.
    pub(crate) fn parse(text: &str, field: &str) -> Result<Self, ConfigError> {
        let error = || {
            let error = ConfigError::at(field, format!("`{text}` is not a media type"));
            error.help("write `application/json`, `application/*+json` or `text/*`")
        };
        let (kind, subtype) = text.split_once('/').ok_or_else(error)?;
        let wild = subtype == "*" || subtype.strip_prefix("*+").is_some_and(is_token);
        if !is_token(kind) || kind.contains('*') || !is_token(subtype) || (subtype.contains('*') && !wild) {
            return Err(error());
        }
        Ok(Pattern { kind: kind.to_ascii_lowercase(), subtype: subtype.to_ascii_lowercase() })
    }

    /// True where it stands for one type alone.
    pub(crate) fn is_exact(&self) -> bool {
        !self.subtype.starts_with('*')
    }

    /// True where a type is one of these.
    pub(crate) fn matches(&self, found: MediaType<'_>) -> bool {
        found.is_kind(&self.kind)
            && match self.subtype.strip_prefix('*') {
                None => found.subtype.eq_ignore_ascii_case(&self.subtype),
                Some("") => true,
                Some(suffix) => {
                    suffix.strip_prefix('+').is_some_and(|suffix| found.suffix().eq_ignore_ascii_case(suffix))
                }
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_in_one_way() {
        for (text, json, xml) in [
            ("application/json", true, false),
            ("Application/JSON ; charset=utf-8", true, false),
            ("application/problem+json", true, false),
            ("application/json;", true, false),
            ("text/json", true, false),
            ("application/soap+xml; action=\"a;b\"", false, true),
            ("text/xml", false, true),
            ("application/jsonp", false, false),
            ("image/json", false, false),
            ("application/json+x", false, false),
        ] {
            let found = MediaType::parse(text).unwrap();
            assert_eq!((found.is_json(), found.is_xml()), (json, xml), "{text}");
        }
        for text in [
            "",
            "json",
            "/",
            "application/",
            "/json",
            "application/json, text/plain",
            "application/json text/plain",
            "application/ json",
            "application/json; charset",
            "application/json; charset=",
            "application/json; charset =utf-8",
            "application/json; charset=\"utf-8",
            "application/json; charset=\"utf-8\"x",
            "application/json; a=b c",
            "application/js\u{f6}n",
        ] {
            assert_eq!(MediaType::parse(text), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn parameters_stand_once() {
        let of = |text: &'static str| MediaType::parse(text).unwrap().parameter("Boundary");
        assert_eq!(of("multipart/form-data; boundary=abc"), Ok(Some("abc")));
        assert_eq!(of("multipart/form-data; x=\"boundary=no\"; BOUNDARY=\"a;b\""), Ok(Some("a;b")));
        assert_eq!(of("multipart/form-data"), Ok(None));
        assert_eq!(of("multipart/form-data; boundary=a; boundary=b"), Err(Malformed));
        assert_eq!(of("multipart/form-data; boundary=\"a\\b\""), Err(Malformed));
        let utf8 = |text: &'static str| MediaType::parse(text).unwrap().is_utf8();
        assert_eq!(utf8("text/xml"), Ok(true));
        assert_eq!(utf8("text/xml; charset=\"UTF-8\""), Ok(true));
        assert_eq!(utf8("text/xml; charset=utf-16"), Ok(false));
        assert_eq!(utf8("text/xml; charset=utf-8; charset=utf-8"), Err(Malformed));
    }

    #[test]
    fn one_header_is_one_type() {
        let mut headers = HeaderMap::new();
        assert_eq!(MediaType::of(&headers), Ok(None));
        headers.append(CONTENT_TYPE, "text/plain".parse().unwrap());
        assert!(MediaType::of(&headers).unwrap().unwrap().is_kind("TEXT"));
        headers.append(CONTENT_TYPE, "text/plain".parse().unwrap());
        assert_eq!(MediaType::of(&headers), Err(Malformed));
    }

    #[test]
    fn patterns() {
        for (pattern, text, fits) in [
            ("application/json", "application/JSON; a=b", true),
            ("application/json", "application/problem+json", false),
            ("application/*+json", "application/problem+json", true),
            ("application/*+json", "application/json", false),
            ("text/*", "text/csv", true),
            ("text/*", "application/json", false),
        ] {
            let pattern = Pattern::parse(pattern, "allow[0]").unwrap();
            assert_eq!(pattern.matches(MediaType::parse(text).unwrap()), fits, "{pattern:?} {text}");
        }
        for text in ["", "json", "*/*", "a/*b", "a/b*", "a/*+", "a b/c"] {
            assert!(Pattern::parse(text, "allow[0]").is_err(), "{text}");
        }
    }
}
