//! `json-limits`: JSON that every parser reads in the same way, and that no parser chokes on.

mod scan;

use crate::{coding, media_type::MediaType};
use bytes::Bytes;
use http::StatusCode;
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigError, ConfigErrors, Control, Denial, Exchange, Hooks, Plugin,
    PluginKind, Stage, Step, conf::Size,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Refuses JSON bodies that are too large in some way, and JSON that some parsers read differently from others: a name
/// that stands twice in an object, `NaN`, a byte order mark, bytes behind the value, half a surrogate pair, what is not
/// UTF-8, a number that no double can hold.
///
/// It looks at bodies that are JSON by their `Content-Type` (`application/json`, `text/json`, anything with `+json`), and
/// at bodies that do not say what they are. What else may come is for `content-type` to say. An empty body is none. A compressed one is
/// decoded to be read; the origin gets what the client sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most bytes of a body, as it comes and when it is decoded: `1MiB`. It is held until it has been read.
    max_body_size: Size,
    /// How deep arrays and objects may stand in each other; 100 at most.
    max_container_depth: usize,
    /// The most names of an object.
    max_object_entry_count: usize,
    /// The most bytes of a name, in UTF-8 and without escapes.
    max_object_entry_name_length: usize,
    /// The most items of an array.
    max_array_element_count: usize,
    /// The most bytes of a string, in UTF-8 and without escapes.
    max_string_value_length: usize,
    /// The most characters of a number as it is written.
    max_number_length: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_body_size: Size(1 << 20),
            max_container_depth: 64,
            max_object_entry_count: 1000,
            max_object_entry_name_length: 256,
            max_array_element_count: 10_000,
            max_string_value_length: 256 << 10,
            max_number_length: 64,
        }
    }
}

/// The plugin.
pub struct JsonLimits(Config);

impl PluginKind for JsonLimits {
    const NAME: &'static str = "json-limits";
    const SUMMARY: &'static str =
        "Refuses JSON that is too large in some way, or that can be read in two ways.";
    const CONTROLS: &'static [Control] = &[Control::Validation];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Validate
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        // The parser has its own depth, which must not be reached first.
        if !(1..=100).contains(&config.max_container_depth) {
            let error = ConfigError::at("max_container_depth", "the depth is from 1 to 100");
            errors.push(error.help("64 is the default"));
        }
        for (field, value) in [
            ("max_object_entry_count", config.max_object_entry_count),
            ("max_object_entry_name_length", config.max_object_entry_name_length),
            ("max_array_element_count", config.max_array_element_count),
            ("max_number_length", config.max_number_length),
        ] {
            if value == 0 {
                let error = ConfigError::at(field, "nothing would pass that has one");
                errors.push(error.help("write the most that may pass, or leave it out for the default"));
            }
        }
        if errors.is_empty() { Ok(JsonLimits(config)) } else { Err(errors.into()) }
    }
}

impl JsonLimits {
    fn max(&self) -> usize {
        usize::try_from(self.0.max_body_size.0).unwrap_or(usize::MAX)
    }

    fn judge(&self, ex: &Exchange, body: &Bytes) -> Result<(), Denial> {
        let declared = MediaType::of(&ex.request.headers)?;
        if body.is_empty() || declared.is_some_and(|declared| !declared.is_json()) {
            return Ok(());
        }
        if !declared.map_or(Ok(true), MediaType::is_utf8)? {
            let denial = Denial::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "json_not_utf8");
            return Err(denial.message("JSON is UTF-8 (RFC 8259)"));
        }
        let plain = coding::whole(ex, body, self.max(), coding::RATIO)?;
        scan::scan(&plain, &self.0).map_err(|refused| {
            let denial = Denial::new(StatusCode::BAD_REQUEST, refused.reason);
            denial.message(refused.message).detail(refused.detail)
        })
    }
}

impl Plugin for JsonLimits {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST_BODY
    }

    fn request_body(&self) -> BodyNeed {
        BodyNeed::Whole { max: self.max() }
    }

    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        self.judge(ex, body.bytes()).map_or_else(Step::from, |()| Step::CONTINUE)
    }
}

#[cfg(test)]
mod tests;
