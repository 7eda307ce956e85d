//! `content-type`: which kinds of bodies may come, and that they are what they say.

#[cfg(test)]
mod tests;
mod verify;

use crate::{
    coding,
    media_type::{MediaType, Pattern},
};
use bytes::Bytes;
use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigError, ConfigErrors, Control, Denial, Exchange, Hooks, Plugin,
    PluginKind, Stage, Step, conf::Size,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Lets bodies pass by their `Content-Type`, and sees that they are what it says: that JSON is JSON, that a form is one,
/// that a part of a `multipart` body begins where every reader sees it begin, that text is in its charset, and that
/// images, PDF and archives begin as such files do. A body without a `Content-Type` is refused.
///
/// Compressed bodies are refused with 415, unless their coding is one of `encodings`: then the body is decoded, under
/// `max_body_size` and `max_ratio`, verified, and the origin gets it decoded.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The types that may come: `application/json`, `application/*+json`, `text/*`.
    allow: Vec<String>,
    /// See that the body is what its type says. Without this it streams past.
    #[serde(default = "yes")]
    verify: bool,
    /// Codings that are taken off.
    #[serde(default)]
    encodings: Vec<Encoding>,
    /// The most bytes of a body that is verified or decoded, after it was decoded: `1MiB`.
    #[serde(default = "mebibyte")]
    max_body_size: Size,
    /// How many times its length a body may have once it is decoded, where that is more than 64 KiB.
    #[serde(default = "ratio")]
    max_ratio: usize,
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    /// gzip.
    Gzip,
    /// zlib's format, as RFC 9110 defines `deflate`.
    Deflate,
    /// Brotli.
    Br,
}

fn yes() -> bool {
    true
}

fn mebibyte() -> Size {
    Size(1 << 20)
}

fn ratio() -> usize {
    100
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Br => "br",
        }
    }

    fn is(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.name().as_bytes())
            || (self == Encoding::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
    }
}

/// The plugin.
pub struct ContentType {
    allow: Vec<Pattern>,
    verify: bool,
    encodings: Vec<Encoding>,
    max: usize,
    ratio: usize,
    /// What may come, for the `Accept` and `Accept-Encoding` of a 415 (RFC 9110 §15.5.16).
    accept: HeaderValue,
    accept_encoding: HeaderValue,
}

impl PluginKind for ContentType {
    const NAME: &'static str = "content-type";
    const SUMMARY: &'static str = "Lets bodies pass by their type, and sees that they are what they say.";
    const CONTROLS: &'static [Control] = &[Control::Validation];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Validate
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        if config.allow.is_empty() {
            let error = ConfigError::at("allow", "no body may come");
            errors
                .push(error.help(
                    "write the types that may, or limit the route's `methods` to those without a body",
                ));
        }
        if config.max_ratio == 0 {
            errors
                .push(ConfigError::at("max_ratio", "nothing decoded would pass").help("100 is the default"));
        }
        let read = |(at, text): (usize, &String)| Pattern::parse(text, &format!("allow[{at}]"));
        let read = config.allow.iter().enumerate().map(read);
        let allow = read.filter_map(|read| read.map_err(|error| errors.push(error)).ok()).collect();
        if !errors.is_empty() {
            return Err(errors.into());
        }
        let encodings: Vec<_> = config.encodings.iter().map(|encoding| encoding.name()).collect();
        let accept_encoding = if encodings.is_empty() { "identity".to_owned() } else { encodings.join(", ") };
        let value = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("*/*"));
        Ok(ContentType {
            accept: value(&config.allow.join(", ")),
            accept_encoding: value(&accept_encoding),
            allow,
            verify: config.verify,
            encodings: config.encodings,
            max: usize::try_from(config.max_body_size.0).unwrap_or(usize::MAX),
            ratio: config.max_ratio,
        })
    }
}

impl ContentType {
    /// The type of a body, which may come.
    fn admit<'e>(&self, ex: &'e Exchange) -> Result<MediaType<'e>, Denial> {
        let refused = |reason, message: &'static str| {
            let denial = Denial::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason).message(message);
            denial.header(ACCEPT, self.accept.clone())
        };
        let declared = MediaType::of(&ex.request.headers)
            .map_err(|_| refused("content_type_malformed", "The Content-Type is not one media type"))?
            .ok_or_else(|| refused("content_type_missing", "The body does not say what it is"))?;
        if !self.allow.iter().any(|pattern| pattern.matches(declared)) {
            return Err(refused("content_type_refused", "Bodies of this Content-Type are not taken here"));
        }
        let known = |name: &&[u8]| self.encodings.iter().any(|encoding| encoding.is(name));
        if !coding::codings(ex).iter().all(known) {
            let denial = Denial::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "encoding_refused");
            let denial = denial.message("Bodies of this Content-Encoding are not taken here");
            return Err(denial.header(ACCEPT_ENCODING, self.accept_encoding.clone()));
        }
        Ok(declared)
    }

    /// The body, decoded where it was encoded, is what it says.
    fn judge(&self, ex: &Exchange, body: &Bytes) -> Result<Option<Bytes>, Denial> {
        let declared = self.admit(ex)?;
        let is_coded = !coding::codings(ex).is_empty();
        let plain = if is_coded { Some(coding::whole(ex, body, self.max, self.ratio)?) } else { None };
        if self.verify {
            verify::verify(declared, plain.as_ref().unwrap_or(body)).map_err(|detail| {
                let denial = Denial::new(StatusCode::BAD_REQUEST, "content_type_lies");
                denial.message("The body is not what its Content-Type says").detail(detail)
            })?;
        }
        Ok(plain)
    }
}

/// True where the head says that a body comes. HTTP/2 need not say so.
fn announces_body(ex: &Exchange) -> bool {
    ex.header(TRANSFER_ENCODING).is_some() || ex.header(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

impl Plugin for ContentType {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::REQUEST_BODY
    }

    fn request_body(&self) -> BodyNeed {
        if self.verify || !self.encodings.is_empty() {
            BodyNeed::Whole { max: self.max }
        } else {
            BodyNeed::Stream
        }
    }

    fn keeps_request_body(&self) -> bool {
        matches!(self.request_body(), BodyNeed::Stream)
    }

    /// What the head says is refused before a body was waited for.
    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        if !announces_body(ex) {
            return Step::CONTINUE;
        }
        self.admit(ex).map(drop).map_or_else(Step::from, |()| Step::CONTINUE)
    }

    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        if body.bytes().is_empty() {
            return Step::CONTINUE;
        }
        if matches!(self.request_body(), BodyNeed::Stream) {
            return self.admit(ex).map(drop).map_or_else(Step::from, |()| Step::CONTINUE);
        }
        match self.judge(ex, body.bytes()) {
            Err(denial) => denial.into(),
            Ok(None) => Step::CONTINUE,
            Ok(Some(plain)) => {
                body.replace(plain);
                ex.to_origin().remove_headers.push(CONTENT_ENCODING);
                Step::CONTINUE
            }
        }
    }
}
