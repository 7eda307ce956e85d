//! The text that is signed, and when it was.

use super::header::Signed;
use http::{HeaderName, header::DATE};
use jiff::fmt::rfc2822::DateTimeParser;
use palisade_contract::Exchange;

pub(super) static X_DATE: HeaderName = HeaderName::from_static("x-date");

/// A line for each name; none where the request has no such header.
pub(super) fn text(ex: &Exchange, names: &[Signed]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(256);
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push(b'\n');
        }
        let target = || ex.request.uri.path_and_query().map_or("/", |target| target.as_str());
        match name {
            Signed::Target(name) => {
                let method = ex.method().as_str().to_ascii_lowercase();
                text.extend_from_slice(format!("{name}: {method} {}", target()).as_bytes());
            }
            Signed::RequestLine => {
                let line = format!("{} {} {:?}", ex.method(), target(), ex.request.version);
                text.extend_from_slice(line.as_bytes());
            }
            Signed::Header(name) => {
                let mut values = ex.request.headers.get_all(name).iter().peekable();
                values.peek()?;
                text.extend_from_slice(name.as_str().as_bytes());
                text.extend_from_slice(b": ");
                for (index, value) in values.enumerate() {
                    if index > 0 {
                        text.extend_from_slice(b", ");
                    }
                    text.extend_from_slice(value.as_bytes().trim_ascii());
                }
            }
        }
    }
    Some(text)
}

/// When the request was signed, in seconds since 1970: by `x-date`, else by `date`, which must be signed and stand there
/// once.
pub(super) fn date(ex: &Exchange, names: &[Signed]) -> Result<i64, &'static str> {
    let headers = &ex.request.headers;
    let name = if headers.contains_key(&X_DATE) { &X_DATE } else { &DATE };
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err("there is not one `date` or `x-date`");
    };
    if !names.contains(&Signed::Header(name.clone())) {
        return Err("the date is not signed");
    }
    let text = value.to_str().ok().filter(|text| text.ends_with(" GMT") && text.len() == 29);
    let time = text.and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
    time.map(|time| time.as_second()).ok_or("the date is not one of HTTP")
}
