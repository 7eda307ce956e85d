//! A gateway with plugins that the end-to-end tests need: they judge and change whole bodies, fail and panic.

use http::StatusCode;
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigErrors, Denial, Exchange, Fault, Plugin, PluginKind, Stage, Step, Verdict,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::process::ExitCode;

fn main() -> ExitCode {
    palisade::builder()
        .plugin::<RequestBody>()
        .plugin::<ResponseBody>()
        .plugin::<Pieces>()
        .plugin::<Failing>()
        .plugin::<Observing>()
        .run()
}

/// What is looked for in a body.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// A body with this text is refused.
    deny: Option<String>,
    /// A body with this text becomes `with`.
    replace: Option<String>,
    /// What a replaced body becomes.
    #[serde(default)]
    with: String,
    /// How often `with` is repeated.
    #[serde(default = "once")]
    times: usize,
    /// Says of itself that it replaces no piece of a request.
    #[serde(default)]
    keeps: bool,
    /// Does not look at responses.
    #[serde(default)]
    requests_only: bool,
}

fn once() -> usize {
    1
}

impl Config {
    /// True where the body is refused.
    fn judge(&self, body: &mut Body) -> bool {
        let text = String::from_utf8_lossy(body.bytes()).into_owned();
        let has = |wanted: &Option<String>| wanted.as_ref().is_some_and(|wanted| text.contains(wanted));
        if has(&self.replace) {
            body.replace(self.with.repeat(self.times));
        }
        has(&self.deny)
    }
}

struct RequestBody(Config);

impl PluginKind for RequestBody {
    const NAME: &'static str = "test-request-body";
    const SUMMARY: &'static str = "Judges whole request bodies.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Inspect
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        Ok(RequestBody(config))
    }
}

impl Plugin for RequestBody {
    fn request_body(&self) -> BodyNeed {
        BodyNeed::Whole { max: 1 << 20 }
    }

    fn on_request_body<'a>(&'a self, _: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        if self.0.judge(body) { Denial::forbidden("evil_request").into() } else { Step::CONTINUE }
    }
}

struct ResponseBody(Config);

impl PluginKind for ResponseBody {
    const NAME: &'static str = "test-response-body";
    const SUMMARY: &'static str = "Judges whole response bodies.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Inspect
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        Ok(ResponseBody(config))
    }
}

impl Plugin for ResponseBody {
    fn response_body(&self) -> BodyNeed {
        BodyNeed::Whole { max: 1 << 20 }
    }

    fn on_response_body(&self, _: &mut Exchange, body: &mut Body) -> Result<Verdict, Fault> {
        Ok(if self.0.judge(body) {
            Verdict::Deny(Denial::new(StatusCode::BAD_GATEWAY, "evil_response"))
        } else {
            Verdict::Continue
        })
    }
}

struct Pieces(Config);

impl PluginKind for Pieces {
    const NAME: &'static str = "test-pieces";
    const SUMMARY: &'static str = "Judges and changes bodies piece by piece, both ways.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Inspect
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        Ok(Pieces(config))
    }
}

impl Plugin for Pieces {
    fn request_body(&self) -> BodyNeed {
        BodyNeed::Stream
    }

    fn keeps_request_body(&self) -> bool {
        self.0.keeps
    }

    fn response_body(&self) -> BodyNeed {
        if self.0.requests_only { BodyNeed::None } else { BodyNeed::Stream }
    }

    fn on_request_body<'a>(&'a self, _: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        if self.0.judge(body) { Denial::forbidden("evil_piece").into() } else { Step::CONTINUE }
    }

    fn on_response_body(&self, _: &mut Exchange, body: &mut Body) -> Result<Verdict, Fault> {
        Ok(if self.0.judge(body) {
            Verdict::Deny(Denial::new(StatusCode::BAD_GATEWAY, "evil_piece"))
        } else {
            Verdict::Continue
        })
    }
}

/// How it fails.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HowToFail {
    /// Panic instead of a fault.
    #[serde(default)]
    panic: bool,
}

struct Failing(bool);

impl PluginKind for Failing {
    const NAME: &'static str = "test-failing";
    const SUMMARY: &'static str = "Fails for requests with `x-fail`.";
    type Config = HowToFail;

    fn stage(_: &HowToFail) -> Stage {
        Stage::Inspect
    }

    fn build(config: HowToFail, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        Ok(Failing(config.panic))
    }
}

impl Plugin for Failing {
    #[allow(clippy::panic, reason = "that is what it is for")]
    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        match ex.header("x-fail") {
            Some(_) if self.0 => panic!("asked to"),
            Some(_) => Fault::unavailable("test_fault").source("the source of it").into(),
            None => Step::CONTINUE,
        }
    }
}

/// Nothing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

struct Observing;

impl PluginKind for Observing {
    const NAME: &'static str = "test-observing";
    const SUMMARY: &'static str = "Refuses requests with `x-observe`, last of all.";
    type Config = Nothing;

    fn stage(_: &Nothing) -> Stage {
        Stage::Observe
    }

    fn build(_: Nothing, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        Ok(Observing)
    }
}

impl Plugin for Observing {
    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        match ex.header("x-observe") {
            Some(_) => Denial::forbidden("observed").into(),
            None => Step::CONTINUE,
        }
    }
}
