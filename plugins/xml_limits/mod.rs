//! `xml-limits`: XML without what makes parsers dangerous, and no larger than they can take.

mod scan;
#[cfg(test)]
mod tests;

use crate::{coding, media_type::MediaType};
use bytes::Bytes;
use http::StatusCode;
use palisade_contract::{
    Body, BodyNeed, BuildEnv, ConfigError, ConfigErrors, Control, Denial, Exchange, Hooks, Plugin,
    PluginKind, Stage, Step, conf::Size,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Refuses XML bodies that declare a document type, name an entity of their own, include other documents or have
/// processing instructions (XML external entities, entity expansion), that are not well formed, not UTF-8, or too large
/// in some way.
///
/// It looks at bodies that are XML by their `Content-Type` (`application/xml`, `text/xml`, anything with `+xml`). What else
/// may come is for `content-type` to say. A compressed body is decoded to be read; the origin gets what the client sent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The most bytes of a body, as it comes and when it is decoded: `1MiB`. It is held until it has been read.
    max_body_size: Size,
    /// How deep elements may stand in each other.
    max_depth: usize,
    /// The most elements.
    max_elements: usize,
    /// The most attributes of an element, namespaces among them.
    max_attributes: usize,
    /// The most bytes of the name of an element or attribute.
    max_name_length: usize,
    /// The most bytes of an attribute's value, as written.
    max_attribute_length: usize,
    /// The most bytes of a piece of text, as written.
    max_text_length: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_body_size: Size(1 << 20),
            max_depth: 32,
            max_elements: 10_000,
            max_attributes: 32,
            max_name_length: 128,
            max_attribute_length: 8 << 10,
            max_text_length: 256 << 10,
        }
    }
}

/// The plugin.
pub struct XmlLimits(Config);

impl PluginKind for XmlLimits {
    const NAME: &'static str = "xml-limits";
    const SUMMARY: &'static str =
        "Refuses XML with a document type, entities or includes, or too large in some way.";
    const CONTROLS: &'static [Control] = &[Control::Validation];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Validate
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        for (field, value) in [
            ("max_depth", config.max_depth),
            ("max_elements", config.max_elements),
            ("max_name_length", config.max_name_length),
        ] {
            if value == 0 {
                let error = ConfigError::at(field, "no XML would pass");
                errors.push(error.help("write the most that may pass, or leave it out for the default"));
            }
        }
        if errors.is_empty() { Ok(XmlLimits(config)) } else { Err(errors.into()) }
    }
}

impl XmlLimits {
    fn max(&self) -> usize {
        usize::try_from(self.0.max_body_size.0).unwrap_or(usize::MAX)
    }

    fn judge(&self, ex: &Exchange, body: &Bytes) -> Result<(), Denial> {
        let declared = MediaType::of(&ex.request.headers)?;
        let Some(declared) = declared.filter(|declared| declared.is_xml()) else { return Ok(()) };
        if body.is_empty() {
            return Ok(());
        }
        // It goes before what the document says of itself (RFC 7303 §3).
        if !declared.is_utf8()? {
            let denial = Denial::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "xml_not_utf8");
            return Err(denial.message("XML must be UTF-8 here"));
        }
        let plain = coding::whole(ex, body, self.max(), coding::RATIO)?;
        scan::scan(&plain, &self.0).map_err(|refused| {
            let denial = Denial::new(StatusCode::BAD_REQUEST, refused.over.reason);
            denial.message(refused.over.message).detail(refused.detail)
        })
    }
}

impl Plugin for XmlLimits {
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
