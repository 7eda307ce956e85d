//! Whether a body is what its type says.

use crate::{media_type::MediaType, multipart};
use serde::de::IgnoredAny;

/// How files of some types begin. A type that is not here may begin with anything.
const BEGINNINGS: &[(&str, &str, &[&[u8]])] = &[
    ("image", "png", &[b"\x89PNG\r\n\x1a\n"]),
    ("image", "jpeg", &[b"\xff\xd8\xff"]),
    ("image", "gif", &[b"GIF87a", b"GIF89a"]),
    ("image", "webp", &[b"RIFF"]),
    ("application", "pdf", &[b"%PDF-"]),
    ("application", "zip", &[b"PK\x03\x04", b"PK\x05\x06"]),
    ("application", "gzip", &[b"\x1f\x8b"]),
];

/// `body` is what `declared` says; an error says why it is not.
pub(super) fn verify(declared: MediaType<'_>, body: &[u8]) -> Result<(), String> {
    if declared.is_json() {
        let text = utf8(declared, body)?;
        return serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(|error| error.to_string());
    }
    if declared.is_form() {
        return form(utf8(declared, body)?);
    }
    if declared.is_kind("multipart") {
        let boundary = declared.parameter("boundary").map_err(|_| "the boundary is not one")?;
        return multipart::verify(boundary.ok_or("there is no boundary")?, body).map_err(str::to_owned);
    }
    if declared.is_xml() {
        return xml(body).map_err(str::to_owned);
    }
    if declared.is_kind("text") {
        return text(declared, body);
    }
    let known = BEGINNINGS.iter().find(|(kind, subtype, _)| declared.is(kind, subtype));
    match known {
        Some((.., beginnings)) if !beginnings.iter().any(|beginning| body.starts_with(beginning)) => {
            Err("it does not begin as such files do".to_owned())
        }
        _ => Ok(()),
    }
}

/// Text that says no other charset, or says this one.
fn utf8<'b>(declared: MediaType<'_>, body: &'b [u8]) -> Result<&'b str, String> {
    let charset = declared.parameter("charset").map_err(|_| "the charset is not one")?;
    if let Some(other) = charset.filter(|charset| !charset.eq_ignore_ascii_case("utf-8")) {
        return Err(format!("it says that its charset is `{}`", other.escape_debug()));
    }
    std::str::from_utf8(body).map_err(|error| error.to_string())
}

fn text(declared: MediaType<'_>, body: &[u8]) -> Result<(), String> {
    let charset = declared.parameter("charset").map_err(|_| "the charset is not one")?;
    let fits = match charset.map(str::to_ascii_lowercase).as_deref() {
        None | Some("utf-8") => std::str::from_utf8(body).is_ok(),
        Some("us-ascii") => body.is_ascii(),
        Some("iso-8859-1" | "windows-1252") => true,
        Some(other) => return Err(format!("the charset `{}` is not known", other.escape_debug())),
    };
    if !fits {
        return Err("it is not in its charset".to_owned());
    }
    if body.contains(&0) { Err("it has a NUL".to_owned()) } else { Ok(()) }
}

/// Printable ASCII with whole percent encodings (WHATWG URL, `application/x-www-form-urlencoded`).
fn form(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    if let Some(at) = bytes.iter().position(|byte| !byte.is_ascii_graphic()) {
        return Err(format!("byte {at} is not of a form"));
    }
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let broken =
        (0..bytes.len()).find(|at| bytes.get(*at) == Some(&b'%') && !(is_hex(at + 1) && is_hex(at + 2)));
    broken.map_or(Ok(()), |at| Err(format!("the percent encoding at byte {at} is not whole")))
}

/// The beginning alone: `xml-limits` reads all of it.
fn xml(body: &[u8]) -> Result<(), &'static str> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.trim_ascii_start().starts_with(b"<") { Ok(()) } else { Err("it does not begin with `<`") }
}
