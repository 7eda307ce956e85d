//! `json-schema`: bodies of JSON against a schema.

mod source;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;

use crate::{
    coding,
    media_type::MediaType,
    schema::{Schema, Tape, Violation},
};
use bytes::Bytes;
use http::{Method, StatusCode};
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigError, ConfigErrors, Control, Counter, Denial, Exchange, Fault, Hooks,
    Node, Plugin, PluginKind, ResponseHeader, Stage, Step, Verdict, conf::Size,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// Holds bodies of JSON to a schema: draft 2020-12, or the draft that the schema's `$schema` names. A body that is not as the
/// schema says is refused with 400, one that is not JSON by its `Content-Type` with 415. JSON is read in one way: a name that
/// stands twice, a byte order mark and bytes behind the value are refused. Patterns take linear time, so those that look
/// around or back are errors at load. Where there is a description of the whole API, `openapi` does more.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What bodies of requests are held to.
    #[serde(default)]
    request: Option<Request>,
    /// What bodies of answers are held to. An answer is then held until it has been read.
    #[serde(default)]
    response: Option<Response>,
    /// `format` (`date-time`, `email`, `uuid` …) is a rule, and not only a remark.
    #[serde(default = "yes")]
    formats: bool,
    /// Files for URIs that references name, beside the local files that they may lead to:
    /// `https://example.com/address.json: schemas/address.json`.
    #[serde(default)]
    resources: BTreeMap<String, String>,
    /// Tell clients where a body is wrong, and why.
    #[serde(default)]
    details: bool,
}

/// What bodies of requests are held to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The schema.
    #[serde(default)]
    schema: Option<Node>,
    /// A file of JSON or YAML that holds it, relative to the file that this stands in.
    #[serde(default)]
    file: Option<String>,
    /// A request without a body is refused. Without this, `POST`, `PUT` and `PATCH` are.
    #[serde(default)]
    required: Option<bool>,
    /// The most bytes of a body, as it comes and when it is decoded. It is held until it has been read.
    #[serde(default = "mebibyte")]
    max_body_size: Size,
}

/// What bodies of answers are held to.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Response {
    /// The schema.
    #[serde(default)]
    schema: Option<Node>,
    /// A file of JSON or YAML that holds it.
    #[serde(default)]
    file: Option<String>,
    /// Answers with these statuses are held to it; without this, all from 200 to 299.
    #[serde(default)]
    statuses: Vec<u16>,
    /// What becomes of an answer that is not as it says.
    #[serde(default)]
    on_violation: OnViolation,
    /// The most bytes of an answer's body. One that is longer is refused with 502.
    #[serde(default = "mebibyte")]
    max_body_size: Size,
}

/// What becomes of an answer that is not as its schema says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnViolation {
    /// The client gets 502 in its place.
    #[default]
    Deny,
    /// It passes, and the record says what is wrong.
    Monitor,
}

fn yes() -> bool {
    true
}

fn mebibyte() -> Size {
    Size(1 << 20)
}

/// The plugin.
pub struct JsonSchemaPlugin {
    request: Option<(Schema, Request)>,
    response: Option<(Schema, Response)>,
    details: bool,
    key: Arc<str>,
    violations: Counter,
}

impl PluginKind for JsonSchemaPlugin {
    const NAME: &'static str = "json-schema";
    const SUMMARY: &'static str = "Holds bodies of JSON to a schema.";
    const CONTROLS: &'static [Control] = &[Control::Validation];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Validate
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        if config.request.is_none() && config.response.is_none() {
            let error = ConfigError::new("no body is held to anything");
            return Err(error.help("write `request: {file: order.json}`, or `response`").into());
        }
        let mut errors = Vec::new();
        let sources = source::Sources::new(config.formats, &config.resources, env);
        let mut compile = |side: &str, schema: Option<&Node>, file: Option<&str>| {
            sources.compile(side, schema, file).map_err(|found| errors.extend(found.0)).ok()
        };
        let request = config.request.and_then(|request| {
            Some((compile("request", request.schema.as_ref(), request.file.as_deref())?, request))
        });
        let response = config.response.and_then(|response| {
            Some((compile("response", response.schema.as_ref(), response.file.as_deref())?, response))
        });
        if !errors.is_empty() {
            return Err(errors.into());
        }
        Ok(JsonSchemaPlugin {
            request,
            response,
            details: config.details,
            key: env.entry.key.clone(),
            violations: env.counter("response_violation"),
        })
    }
}

/// What is known of an answer before its body is there.
#[derive(Default)]
struct Seen {
    is_due: bool,
    is_json: bool,
}

fn size(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

/// JSON says that it is, and is in UTF-8.
fn is_json(headers: &http::HeaderMap) -> bool {
    matches!(MediaType::of(headers), Ok(Some(found)) if found.is_json()
        && found.parameter("charset").is_ok_and(|set| set.is_none_or(|set| set.eq_ignore_ascii_case("utf-8"))))
}

impl JsonSchemaPlugin {
    fn denial(
        &self,
        status: StatusCode,
        reason: &'static str,
        message: &str,
        violation: &Violation,
    ) -> Denial {
        let denial = Denial::new(status, reason);
        let denial = match self.details {
            true => denial.message(format!("{message}: {violation}")),
            false => denial.message(message.to_owned()),
        };
        denial.detail(violation.to_string())
    }

    fn judge(&self, ex: &Exchange, body: &Bytes) -> Result<(), Denial> {
        let Some((schema, request)) = &self.request else { return Ok(()) };
        let usual = [Method::POST, Method::PUT, Method::PATCH].contains(ex.method());
        let refuse = |reason, message: &str, what: String| {
            self.denial(StatusCode::BAD_REQUEST, reason, message, &Violation::new("", what))
        };
        if body.is_empty() {
            let missing =
                || refuse("json_schema_missing", "The body is missing", "there is no body".to_owned());
            return if request.required.unwrap_or(usual) { Err(missing()) } else { Ok(()) };
        }
        if !is_json(&ex.request.headers) {
            let denial = Denial::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "json_schema_content_type");
            return Err(denial
                .message("The body must be JSON, and its Content-Type say so")
                .header(http::header::ACCEPT, http::HeaderValue::from_static("application/json")));
        }
        let plain = coding::whole(ex, body, size(request.max_body_size), coding::RATIO)?;
        let value = Tape::read(&plain)
            .map_err(|error| refuse("json_schema_malformed", "The body is not JSON", error.to_string()))?;
        schema.check(&value).map_err(|violation| {
            let message = "The body is not what its schema says";
            self.denial(StatusCode::BAD_REQUEST, "json_schema_body", message, &violation)
        })
    }

    fn judge_answer(&self, seen: &Seen, is_head: bool, body: &Bytes) -> Result<(), Violation> {
        let Some((schema, _)) = self.response.as_ref().filter(|_| seen.is_due && !is_head) else {
            return Ok(());
        };
        if !seen.is_json {
            return Err(Violation::new("/header/content-type", "it is not JSON"));
        }
        let value = Tape::read(body).map_err(|error| Violation::new("", error.to_string()))?;
        schema.check(&value)
    }
}

impl Plugin for JsonSchemaPlugin {
    fn hooks(&self) -> Hooks {
        let request = if self.request.is_some() { Hooks::REQUEST_BODY } else { Hooks::NONE };
        let response = Hooks::RESPONSE | Hooks::RESPONSE_BODY;
        request | if self.response.is_some() { response } else { Hooks::NONE }
    }

    fn request_body(&self) -> BodyNeed {
        let max = self.request.as_ref().map(|(_, request)| size(request.max_body_size));
        max.map_or(BodyNeed::None, |max| BodyNeed::Whole { max })
    }

    fn response_body(&self) -> BodyNeed {
        let max = self.response.as_ref().map(|(_, response)| size(response.max_body_size));
        max.map_or(BodyNeed::None, |max| BodyNeed::Whole { max })
    }

    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        self.judge(ex, body.bytes()).map_or_else(Step::from, |()| Step::CONTINUE)
    }

    /// The head is judged with the body, which the gateway's own answers do not have.
    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        if let Some((_, response)) = &self.response {
            let status = head.status.as_u16();
            let is_due = match response.statuses.as_slice() {
                [] => head.status.is_success() && !matches!(status, 204 | 205),
                statuses => statuses.contains(&status),
            };
            *ex.state::<Seen>() = Seen { is_due, is_json: is_json(&head.headers) };
        }
        Step::CONTINUE
    }

    fn on_response_body(&self, ex: &mut Exchange, body: &mut Body) -> Result<Verdict, Fault> {
        let is_head = *ex.method() == Method::HEAD;
        let seen = std::mem::take(ex.state::<Seen>());
        let Err(violation) = self.judge_answer(&seen, is_head, body.bytes()) else {
            return Ok(Verdict::Continue);
        };
        self.violations.add(1);
        if self.response.as_ref().is_some_and(|(_, response)| response.on_violation == OnViolation::Monitor) {
            ex.set_finding(&self.key, json!({ "response": violation.to_string() }));
            return Ok(Verdict::Continue);
        }
        let message = "The answer is not what its schema says";
        Ok(Verdict::Deny(self.denial(StatusCode::BAD_GATEWAY, "json_schema_response", message, &violation)))
    }
}
