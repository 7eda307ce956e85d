//! What an `Authorization` header says of a signature: `hmac username="…", algorithm="…", headers="…", signature="…"`.

use super::Algorithm;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderName;

/// The longest header that is looked at, and the most names that may be signed.
const MAX_BYTES: usize = 4096;
const MAX_NAMES: usize = 32;

/// A signature, as presented.
#[derive(Debug)]
pub(super) struct Signature<'r> {
    pub(super) username: &'r str,
    /// None where it is one that is not known here.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) names: Vec<Signed>,
    pub(super) signature: Vec<u8>,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signed {
    /// The method in lower case and the target; under the name that the client gives it.
    Target(&'static str),
    /// The first line of the request.
    RequestLine,
    Header(HeaderName),
}

impl Signed {
    /// None for what cannot be signed.
    pub(super) fn read(name: &str) -> Option<Self> {
        match name {
            "@request-target" => Some(Signed::Target("@request-target")),
            "(request-target)" => Some(Signed::Target("(request-target)")),
            "request-line" => Some(Signed::RequestLine),
            name => HeaderName::from_bytes(name.as_bytes()).ok().map(Signed::Header),
        }
    }
}

/// What follows `hmac` (as Kong has it) or `Signature` (as the draft does); none for another scheme.
pub(super) fn after_scheme(value: &[u8]) -> Option<&[u8]> {
    ["hmac", "signature"].iter().find_map(|scheme| {
        let (found, rest) = value.split_at_checked(scheme.len())?;
        let is =
            found.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first().is_none_or(|byte| *byte == b' ');
        is.then(|| rest.trim_ascii())
    })
}

/// None for what is not exactly one signature.
pub(super) fn read(parameters: &[u8]) -> Option<Signature<'_>> {
    let text = std::str::from_utf8(parameters).ok().filter(|text| text.len() <= MAX_BYTES)?;
    let (mut username, mut algorithm, mut headers, mut signature) = (None, None, None, None);
    let mut rest = text;
    loop {
        let (name, value, next) = parameter(rest)?;
        let place = match name {
            "username" | "keyId" => &mut username,
            "algorithm" => &mut algorithm,
            "headers" => &mut headers,
            "signature" => &mut signature,
            // `created` and `expires` would be signed in a way that is not looked at here.
            _ => return None,
        };
        if place.replace(value).is_some() {
            return None;
        }
        match next {
            Some(next) => rest = next,
            None => break,
        }
    }
    // The draft signs the date where nothing is said.
    let mut names = Vec::new();
    for name in headers.unwrap_or("date").split(' ') {
        let name = Signed::read(&name.to_ascii_lowercase())?;
        if names.contains(&name) || names.len() == MAX_NAMES {
            return None;
        }
        names.push(name);
    }
    Some(Signature {
        username: username.filter(|name| !name.is_empty())?,
        algorithm: Algorithm::named(algorithm?),
        names,
        signature: STANDARD.decode(signature?).ok()?,
    })
}

/// A name and its quoted value, and what follows the comma behind it.
fn parameter(text: &str) -> Option<(&str, &str, Option<&str>)> {
    let (name, rest) = text.split_once('=')?;
    let rest = rest.strip_prefix('"')?;
    let (value, rest) = rest.split_once('"')?;
    if value.contains(|c: char| c == '\\' || c.is_control()) {
        return None;
    }
    let rest = rest.trim_start();
    let next = if rest.is_empty() { None } else { Some(rest.strip_prefix(',')?.trim_start()) };
    Some((name.trim_end(), value, next))
}
