//! `request-size-limiting`: how long a request's body may be.

use http::{Method, StatusCode, Version, header};
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigErrors, Control, Denial, Exchange, Hooks, Plugin, PluginKind, Stage,
    Step, conf::Size,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Refuses bodies that are too long: by what the request announces, and by what really comes. The listener's and
/// the route's `limits.body_bytes` hold as well; this limit can be a consumer's own.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The most bytes that a body may have: `8MiB`.
    allowed_payload_size: Size,
    /// Refuse requests that do not announce their body's length with 411.
    #[serde(default)]
    require_content_length: bool,
}

/// The plugin.
pub struct RequestSizeLimiting {
    limit: u64,
    require_length: bool,
}

#[derive(Default)]
struct Seen(u64);

impl PluginKind for RequestSizeLimiting {
    const NAME: &'static str = "request-size-limiting";
    const SUMMARY: &'static str = "Refuses request bodies that are too long.";
    const CONTROLS: &'static [Control] = &[Control::Validation];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Limit
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        Ok(RequestSizeLimiting {
            limit: config.allowed_payload_size.0,
            require_length: config.require_content_length,
        })
    }
}

impl RequestSizeLimiting {
    fn too_long(&self) -> Step<'static> {
        Denial::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large")
            .message(format!("The body may have {} bytes", self.limit))
            .into()
    }
}

fn length_required() -> Step<'static> {
    Denial::new(StatusCode::LENGTH_REQUIRED, "length_required")
        .message("A body must announce its length")
        .into()
}

/// True where a body is to come and its length is not known. HTTP/2 announces a body by nothing but its method;
/// one that comes all the same is refused when it does.
fn announces_body(ex: &Exchange) -> bool {
    let usual = matches!(*ex.method(), Method::POST | Method::PUT | Method::PATCH);
    ex.header(header::TRANSFER_ENCODING).is_some() || (ex.request.version == Version::HTTP_2 && usual)
}

impl Plugin for RequestSizeLimiting {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::REQUEST_BODY
    }

    fn request_body(&self) -> BodyNeed {
        BodyNeed::Stream
    }

    fn keeps_request_body(&self) -> bool {
        true
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let declared =
            ex.header(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        match declared {
            Some(length) if length > self.limit => self.too_long(),
            None if self.require_length && announces_body(ex) => length_required(),
            _ => Step::CONTINUE,
        }
    }

    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        if self.require_length && !body.bytes().is_empty() && ex.header(header::CONTENT_LENGTH).is_none() {
            return length_required();
        }
        let seen = ex.state::<Seen>();
        seen.0 = seen.0.saturating_add(body.bytes().len() as u64);
        if seen.0 > self.limit { self.too_long() } else { Step::CONTINUE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::{
        Descriptor, Verdict,
        testkit::{Case, Kit, block_on},
    };

    #[test]
    fn what_is_announced_and_what_comes_counts() {
        let kit = Kit::of(Descriptor::of::<RequestSizeLimiting>());
        let plugin = kit.build("allowed_payload_size: 4B").unwrap();
        plugin.run(Case::new("POST", "/").header("content-length", "4").body("abcd")).passed();
        plugin
            .run(Case::new("POST", "/").header("content-length", "5").body("abcde"))
            .denied(413, "payload_too_large");
        plugin
            .run(Case::new("POST", "/").header("transfer-encoding", "chunked").body("abcde"))
            .denied(413, "payload_too_large");
        let strict = kit.build("{allowed_payload_size: 4B, require_content_length: true}").unwrap();
        strict
            .run(Case::new("POST", "/").header("transfer-encoding", "chunked").body("a"))
            .denied(411, "length_required");
        strict.run(Case::get("/")).passed();
        strict.run(Case::new("POST", "/").header("content-length", "1").body("a")).passed();
        strict.run(Case::new("POST", "/").body("")).passed();
        for method in ["POST", "DELETE", "GET"] {
            strict.run(Case::new(method, "/").body("a")).denied(411, "length_required");
        }
        let mut ex = strict.run(Case::new("PUT", "/")).passed().ex;
        ex.request.set_version(Version::HTTP_2);
        let verdict = block_on(strict.built.plugin().on_request(&mut ex).resolve()).unwrap();
        assert!(matches!(verdict, Verdict::Deny(denial) if denial.status() == StatusCode::LENGTH_REQUIRED));
        assert!(kit.build("allowed_payload_size: 8").unwrap_err().contains("16KiB"));
    }

    #[test]
    fn pieces_are_counted_together() {
        let plugin =
            Kit::of(Descriptor::of::<RequestSizeLimiting>()).build("allowed_payload_size: 8B").unwrap();
        for (pieces, passes) in [
            (&["1234", "5678", ""][..], true),
            (&["1234", "5678", "9"], false),
            (&["123456789"], false),
            (&[""], true),
        ] {
            let mut ex = plugin.run(Case::new("POST", "/")).passed().ex;
            let refused = pieces.iter().any(|piece| {
                let mut body = Body::new(piece.as_bytes().into(), false);
                let verdict = block_on(plugin.built.plugin().on_request_body(&mut ex, &mut body).resolve());
                matches!(verdict, Ok(Verdict::Deny(denial)) if denial.status() == StatusCode::PAYLOAD_TOO_LARGE)
            });
            assert_eq!(refused, !passes, "{pieces:?}");
        }
    }
}
