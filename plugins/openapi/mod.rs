//! `openapi`: a description of an API as a contract that requests and answers are held to.

mod body;
mod config;
mod cut;
mod paths;
mod request;
mod response;
mod security;
mod spec;
mod style;
#[cfg(test)]
mod tests;

use crate::{coding, media_type::MediaType, schema::Violation};
use bytes::Bytes;
use config::{Config, OnViolation, Security, Undeclared};
use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING},
};
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigError, ConfigErrors, Control, Counter, CredentialPlaces, Denial,
    Exchange, Fault, Hooks, Mode, Operation, Plugin, PluginKind, ResponseHeader, Stage, Step, Verdict,
};
use response::Seen;
use serde_json::json;
use spec::{Found, Media, Rules, Spec, Specs, Unknown, Wanted};
use std::sync::Arc;

/// The plugin.
pub struct OpenApi {
    config: Config,
    spec: Arc<Spec>,
    /// Held so that others find what is compiled.
    _specs: Arc<Specs>,
    unknown: Unknown,
    /// What becomes of undeclared members of answers; none where answers are not judged.
    answers: Option<Unknown>,
    credentials: CredentialPlaces,
    key: Arc<str>,
    violations: Counter,
    stripped: Counter,
}

/// Why a request or an answer is not as declared.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    reason: &'static str,
    message: &'static str,
    violation: Violation,
}

impl Problem {
    fn bad_request(reason: &'static str, message: &'static str, violation: Violation) -> Self {
        Problem { status: StatusCode::BAD_REQUEST, reason, message, violation }
    }

    fn parameter(violation: Violation) -> Self {
        Problem::bad_request("openapi_parameter", "A parameter is not what was declared", violation)
    }

    fn malformed(violation: Violation) -> Self {
        Problem::bad_request("openapi_malformed", "The body is not what its Content-Type says", violation)
    }

    fn body(violation: Violation) -> Self {
        Problem::bad_request("openapi_body", "The body is not what was declared", violation)
    }

    fn media_type(what: &str) -> Self {
        Problem {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            reason: "openapi_content_type",
            message: "Bodies of this Content-Type are not taken here",
            violation: Violation::new("/header/content-type", what),
        }
    }
}

impl PluginKind for OpenApi {
    const NAME: &'static str = "openapi";
    const SUMMARY: &'static str = "Holds requests and answers to a description in OpenAPI 3.0 or 3.1.";
    const CONTROLS: &'static [Control] = &[Control::Validation];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Validate
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let base_path = config.base_path.as_deref().map(paths::written_base).transpose()?;
        let mut errors: Vec<ConfigError> = Vec::new();
        for (at, text) in config.request.opaque.iter().enumerate() {
            if !text.contains('/') {
                let error =
                    ConfigError::at(format!("request.opaque[{at}]"), format!("`{text}` is not a media type"));
                errors.push(error.help("write `application/xml` or `image/*`"));
            }
        }
        if !errors.is_empty() {
            return Err(errors.into());
        }
        // Where nothing is enforced nothing is changed: what would be taken out is recorded.
        let monitored = env.entry.mode == Mode::Monitor;
        let unknown = match config.request.unknown.into() {
            Unknown::Strip if monitored => Unknown::Deny,
            unknown => unknown,
        };
        let answers = config.response.validate.then_some(match config.response.on_violation {
            OnViolation::Strip if !monitored => Unknown::Strip,
            OnViolation::Strip | OnViolation::Deny | OnViolation::Monitor => Unknown::Deny,
        });
        let specs: Arc<Specs> = env.share::<Specs, ConfigErrors>("specs", || Ok(Specs::default()))?;
        let wanted = Wanted {
            request: Some(unknown),
            response: answers,
            base_path,
            opaque: config.request.opaque.clone(),
            security: config.security == Security::Enforce,
        };
        let spec = specs.get(&config.spec, &wanted, env).map_err(|errors| {
            // A file that cannot be read is named where it is written.
            let unread =
                errors.0.iter().find(|error| error.place.as_ref().is_some_and(|place| place.line == 0));
            match unread {
                Some(error) => ConfigError::at("spec", format!("`{}`: {}", config.spec, error.message))
                    .help("name a file that can be read, relative to the one that this stands in")
                    .into(),
                None => errors,
            }
        })?;
        Ok(OpenApi {
            spec,
            _specs: specs,
            unknown,
            answers,
            credentials: env.credential_places.clone(),
            key: env.entry.key.clone(),
            violations: env.counter("response_violation"),
            stripped: env.counter("response_stripped"),
            config,
        })
    }
}

impl OpenApi {
    fn denial(&self, problem: Problem) -> Denial {
        let Problem { status, reason, message, violation } = problem;
        let denial = Denial::new(status, reason);
        let denial = match self.config.details {
            true => denial.message(format!("{message}: {violation}")),
            false => denial.message(message),
        };
        denial.detail(violation.to_string())
    }

    /// The request is for something that is declared, and its head is as declared.
    fn judge_head(&self, ex: &mut Exchange) -> Result<(), Denial> {
        let method = ex.method().clone();
        let (number, removed) = match self.spec.find(&method, ex.path()) {
            Found::Operation(number, rules, taken) => {
                security::check(self, ex, self.spec.operations.get(number))?;
                let removed = if self.config.request.parameters {
                    request::check(self, ex, rules, &taken).map_err(|problem| self.denial(problem))?
                } else {
                    Vec::new()
                };
                if announces_body(ex) {
                    self.media(ex, rules)?;
                }
                (number, removed)
            }
            Found::Method(_) | Found::Nothing if self.config.undeclared == Undeclared::Allow => return Ok(()),
            Found::Method(methods) => {
                let names: Vec<&str> = methods.iter().map(|(method, _)| method.as_str()).collect();
                let denial = Denial::new(StatusCode::METHOD_NOT_ALLOWED, "openapi_method");
                let denial = denial.detail("the path is declared without this method");
                return Err(match HeaderValue::from_str(&names.join(", ")) {
                    Ok(allow) => denial.header(ALLOW, allow),
                    Err(_) => denial,
                });
            }
            Found::Nothing => {
                let denial = Denial::new(StatusCode::NOT_FOUND, "openapi_path");
                return Err(denial.detail("no path that is declared fits"));
            }
        };
        ex.to_origin().remove_query.extend(removed);
        ex.state::<Seen>().operation = Some(number);
        Ok(())
    }

    /// What is declared of bodies of the request's type; none where it is not looked at.
    fn media<'s, 'e>(
        &'s self,
        ex: &'e Exchange,
        rules: &'s Rules,
    ) -> Result<Option<(&'s Media, MediaType<'e>)>, Denial> {
        let Some(body) = &rules.body else {
            if self.unknown == Unknown::Allow || !self.config.request.body {
                return Ok(None);
            }
            return Err(self.denial(Problem::body(Violation::new("", "a body is not declared"))));
        };
        let refused = |what: &str| {
            let names: Vec<&str> = body.media.iter().map(|media| media.name.as_str()).collect();
            let denial = self.denial(Problem::media_type(what));
            match HeaderValue::from_str(&names.join(", ")) {
                Ok(accept) => denial.header(ACCEPT, accept),
                Err(_) => denial,
            }
        };
        let found = match MediaType::of(&ex.request.headers) {
            Ok(Some(found)) => found,
            Ok(None) if !self.config.request.content_type => return Ok(None),
            Ok(None) => return Err(refused("it is missing")),
            Err(_) => return Err(refused("it is not one media type")),
        };
        match spec::choose(&body.media, found) {
            Some(media) => Ok(Some((media, found))),
            None if self.config.request.content_type => Err(refused("this media type is not declared")),
            None => Ok(None),
        }
    }

    /// The request's body is as declared. What goes to the origin in its place, where something was taken out of it.
    fn judge_body(&self, ex: &Exchange, rules: &Rules, body: &Bytes) -> Result<Option<Bytes>, Denial> {
        if body.is_empty() {
            return match &rules.body {
                Some(declared) if declared.required => {
                    Err(self.denial(Problem::body(Violation::new("", "the body is missing"))))
                }
                _ => Ok(None),
            };
        }
        let Some((media, found)) = self.media(ex, rules)? else { return Ok(None) };
        let (Some(schema), false) = (media.schema, media.opaque) else { return Ok(None) };
        let plain = coding::whole(ex, body, self.config.request.max(), coding::RATIO)?;
        let judged = match self.unknown {
            Unknown::Strip => body::strip(&self.spec, schema, media, found, &plain),
            Unknown::Deny | Unknown::Allow => {
                body::check(&self.spec, schema, media, found, &plain).map(|()| None)
            }
        };
        judged.map_err(|problem| self.denial(problem))
    }
}

/// True where the head says that a body comes. HTTP/2 need not say so.
fn announces_body(ex: &Exchange) -> bool {
    ex.header(TRANSFER_ENCODING).is_some() || ex.header(CONTENT_LENGTH).is_some_and(|length| length != "0")
}

impl Plugin for OpenApi {
    fn hooks(&self) -> Hooks {
        let request = if self.config.request.body { Hooks::REQUEST_BODY } else { Hooks::NONE };
        let response =
            if self.answers.is_some() { Hooks::RESPONSE | Hooks::RESPONSE_BODY } else { Hooks::NONE };
        Hooks::REQUEST | request | response
    }

    fn request_body(&self) -> BodyNeed {
        if self.config.request.body {
            BodyNeed::Whole { max: self.config.request.max() }
        } else {
            BodyNeed::None
        }
    }

    fn response_body(&self) -> BodyNeed {
        match self.answers {
            Some(_) => BodyNeed::Whole { max: self.config.response.max() },
            None => BodyNeed::None,
        }
    }

    fn operations(&self) -> &[Operation] {
        &self.spec.operations
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        self.judge_head(ex).map_or_else(Step::from, |()| Step::CONTINUE)
    }

    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        if !self.config.request.body {
            return Step::CONTINUE;
        }
        let Some(rules) = ex.state::<Seen>().operation.and_then(|number| self.spec.rules(number)) else {
            return Step::CONTINUE;
        };
        match self.judge_body(ex, rules, body.bytes()) {
            Err(denial) => denial.into(),
            Ok(None) => Step::CONTINUE,
            Ok(Some(other)) => {
                body.replace(other);
                ex.to_origin().remove_headers.push(CONTENT_ENCODING);
                Step::CONTINUE
            }
        }
    }

    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        if self.answers.is_some() {
            response::head(self, ex, head);
        }
        Step::CONTINUE
    }

    fn on_response_body(&self, ex: &mut Exchange, body: &mut Body) -> Result<Verdict, Fault> {
        if self.answers.is_none() {
            return Ok(Verdict::Continue);
        }
        match response::judge(self, ex, body.bytes()) {
            Ok(None) => Ok(Verdict::Continue),
            Ok(Some(other)) => {
                self.stripped.add(1);
                body.replace(other);
                Ok(Verdict::Continue)
            }
            Err(violation) => {
                self.violations.add(1);
                if self.config.response.on_violation == OnViolation::Monitor {
                    ex.set_finding(&self.key, json!({ "response": violation.to_string() }));
                    return Ok(Verdict::Continue);
                }
                Ok(Verdict::Deny(self.denial(response::problem(violation))))
            }
        }
    }
}
