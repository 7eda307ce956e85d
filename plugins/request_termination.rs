//! `request-termination`: a fixed answer instead of the origin's.

use http::{HeaderValue, StatusCode, header};
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Denial, Exchange, Hooks, Plugin, PluginKind, Reply, Stage, Step,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Answers every request itself, after the route's other checks: for maintenance, for what is gone, or for a
/// route without an origin.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The status of the answer; default 503.
    #[serde(default = "default_status")]
    status_code: u16,
    /// What a problem document (RFC 9457) says to the client; for statuses from 400 on. Not with `body`.
    message: Option<String>,
    /// The body of the answer.
    body: Option<String>,
    /// The body's media type; default `text/plain; charset=utf-8`.
    content_type: Option<String>,
}

fn default_status() -> u16 {
    503
}

/// The plugin.
pub struct RequestTermination {
    status: StatusCode,
    message: Option<String>,
    body: Option<(bytes::Bytes, HeaderValue)>,
}

impl PluginKind for RequestTermination {
    const NAME: &'static str = "request-termination";
    const SUMMARY: &'static str = "Answers every request of a route itself.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Transform
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let status = StatusCode::from_u16(config.status_code)
            .ok()
            .filter(|status| (200..600).contains(&status.as_u16()));
        let Some(status) = status else {
            let error = ConfigError::at(
                "status_code",
                format!("{} is not the status of an answer", config.status_code),
            );
            return Err(error.help("write a status from 200 to 599").into());
        };
        if config.message.is_some() && (config.body.is_some() || status.as_u16() < 400) {
            return Err(ConfigError::at("message", "`message` is for errors without a `body`")
                .help("write `body` instead")
                .into());
        }
        if config.content_type.is_some() && config.body.is_none() {
            return Err(
                ConfigError::at("content_type", "`content_type` has no meaning without `body`").into()
            );
        }
        // No body follows such a head (RFC 9110 §6.4.1): bytes after it would be read as the next answer.
        if matches!(status.as_u16(), 204 | 205 | 304) && config.body.is_some() {
            return Err(ConfigError::at(
                "body",
                format!("an answer with status {} has no body", status.as_u16()),
            )
            .help("remove `body`, or write another `status_code`")
            .into());
        }
        let content_type = config.content_type.as_deref().unwrap_or("text/plain; charset=utf-8");
        let content_type = HeaderValue::from_str(content_type)
            .map_err(|_| ConfigError::at("content_type", "this is not a media type"))?;
        Ok(RequestTermination {
            status,
            message: config.message,
            body: config.body.map(|body| (body.into(), content_type)),
        })
    }
}

impl Plugin for RequestTermination {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn always_answers(&self) -> bool {
        true
    }

    fn on_request<'a>(&'a self, _: &'a mut Exchange) -> Step<'a> {
        match (&self.body, self.status.as_u16()) {
            (Some((body, content_type)), _) => Reply::new(self.status, "terminated")
                .header(header::CONTENT_TYPE, content_type.clone())
                .body(body.clone())
                .into(),
            (None, 400..) => {
                let denial = Denial::new(self.status, "terminated");
                match &self.message {
                    Some(message) => denial.message(message.clone()).into(),
                    None => denial.into(),
                }
            }
            (None, _) => Reply::new(self.status, "terminated").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::{
        Descriptor,
        testkit::{Case, Kit},
    };

    #[test]
    fn it_answers() {
        let kit = Kit::of(Descriptor::of::<RequestTermination>());
        let run = |yaml: &str| kit.build(yaml).unwrap().run(Case::get("/"));
        assert_eq!(run("message: Back soon").denied(503, "terminated").public_message(), "Back soon");
        run("{}").denied(503, "terminated");
        let (headers, body) =
            run("{status_code: 200, body: '{}', content_type: application/json}").replied(200);
        assert_eq!(
            (&headers["content-type"], &body[..]),
            (&HeaderValue::from_static("application/json"), &b"{}"[..])
        );
        run("status_code: 204").replied(204);
        assert_eq!(run("body: soon").replied(503).0["content-type"], "text/plain; charset=utf-8");
        assert!(kit.build("{}").unwrap().built.plugin().always_answers());
        for yaml in [
            "status_code: 100",
            "status_code: 600",
            "{message: a, body: b}",
            "{status_code: 200, message: a}",
            "content_type: a/b",
            "{status_code: 204, body: a}",
            "{status_code: 205, body: ''}",
            "{status_code: 304, body: a}",
            "{body: a, content_type: \"a/b\\r\\nx: y\"}",
        ] {
            assert!(kit.build(yaml).is_err(), "{yaml}");
        }
    }
}
