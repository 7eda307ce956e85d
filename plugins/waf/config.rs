//! What an operator writes.

use palisade_contract::conf::Size;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use std::{borrow::Cow, fmt};

/// Inspects requests, and responses where asked, by rules in SecLang, the language of ModSecurity: a set of the gateway's own
/// that needs nothing installed, the OWASP Core Rule Set from a directory, and rules of one's own. `docs/waf.md` is the guide.
///
/// A request whose rules decide so, usually because its score has reached the threshold, is refused with 403
/// `waf_blocked`. The record of the request says under `findings` which rules matched, on which variables, with a piece of
/// each value that is bounded and masked, and what the scores are. With `mode: monitor` the same is recorded and the
/// request goes on.
///
/// **Bodies** are read whole before the origin sees a byte. JSON, forms, forms in parts and XML are taken apart; text is
/// inspected as one argument called `body`. Where the type is missing, or is none of these, a body that parses as JSON is taken as JSON,
/// and so is one that a form's type is given to; one that is not text is passed as a file. A body that does not parse as
/// what it says it is gets 400 `waf_body_malformed`. `Content-Encoding` gzip, deflate and br is taken off before inspection, under the
/// limit and at most 256 times the length that was sent; others are refused with 415 `waf_encoding`.
///
/// **Events**: `rules_NNN` counts matches of rules whose id begins so (`rules_942` of the core rule set is SQL injection,
/// `rules_8506` that of `core`), `body_over_limit` bodies that were longer than they may be, and `aside` bodies that were
/// inspected aside from other requests because they are long.
///
/// One compiled rule set serves all entries that use the same one. A reload compiles only what has changed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Config {
    /// `core`, the gateway's own rules, or `crs`, the OWASP Core Rule Set from a directory.
    pub(super) ruleset: Ruleset,
    /// For `ruleset: crs`.
    pub(super) crs: Option<Crs>,
    /// Files of rules, with `*` and `?`, relative to the file they are written in. They run after the set-up of the rule set and
    /// before its rules.
    pub(super) rules: Vec<String>,
    /// What rules are not asked about.
    pub(super) exclusions: Vec<Exclusion>,
    /// Of requests.
    pub(super) request_body: RequestBody,
    /// Of responses.
    pub(super) response_body: ResponseBody,
}

/// Which rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ruleset {
    /// The gateway's own: a few dozen rules that are made for APIs.
    #[default]
    Core,
    /// The OWASP Core Rule Set.
    Crs,
}

/// The OWASP Core Rule Set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Crs {
    /// Where it is: a release as it is unpacked, or what Debian's package `modsecurity-crs` installs.
    pub(super) directory: String,
    /// From 1, few false positives, to 4.
    pub(super) paranoia_level: u8,
    /// The score at which a request is refused.
    pub(super) inbound_threshold: u32,
    /// The score at which a response is refused.
    pub(super) outbound_threshold: u32,
}

impl Default for Crs {
    fn default() -> Self {
        Crs {
            directory: "/usr/share/modsecurity-crs".into(),
            paranoia_level: 1,
            inbound_threshold: 5,
            outbound_threshold: 4,
        }
    }
}

/// What a rule is not asked about.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// The id of a rule, or a range of them: `942100`, `942100-942199`.
    pub(super) rule: Ids,
    /// The variable that it does not look at: `ARGS:password`, `REQUEST_COOKIES:/^_ga/`. Without it the rule does not run.
    #[serde(default)]
    pub(super) target: Option<String>,
    /// The paths on which this holds, exact or ending in `*`. Without them it holds everywhere.
    #[serde(default)]
    pub(super) paths: Vec<String>,
}

/// Request bodies.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestBody {
    /// The most bytes that are inspected, decoded. By default the route's limit on bodies.
    pub(super) limit: Option<Size>,
    /// What is done with a longer one: `deny` refuses it with 413, `inspect_prefix` inspects its first bytes, `skip` does
    /// not inspect it.
    pub(super) over_limit: OverLimit,
}

/// Response bodies.
#[derive(Debug, Clone, Deserialize, serde::Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResponseBody {
    /// Inspect responses. They are then held whole before the client sees a byte.
    pub(super) inspect: bool,
    /// The types that are inspected; all where the list is empty. Others are held as well, up to 16 times the limit.
    pub(super) types: Vec<String>,
    /// The most bytes that are inspected, decoded.
    pub(super) limit: Size,
    /// What is done with a longer one: `deny` answers 502, `inspect_prefix` inspects its first bytes, `skip` does not
    /// inspect it. More than 16 times the limit is always 502.
    pub(super) over_limit: OverLimit,
}

impl Default for ResponseBody {
    fn default() -> Self {
        let types = ["text/html", "text/plain", "text/xml", "application/json", "application/xml"];
        ResponseBody {
            inspect: false,
            types: types.map(str::to_owned).into(),
            limit: Size(512 << 10),
            over_limit: OverLimit::Deny,
        }
    }
}

/// What is done with a body that is longer than its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverLimit {
    /// It is refused.
    #[default]
    Deny,
    /// Its beginning is inspected.
    InspectPrefix,
    /// It is not inspected.
    Skip,
}

/// One id or a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub(super) first: u64,
    pub(super) last: u64,
}

impl fmt::Display for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last > self.first { write!(f, "-{}", self.last) } else { Ok(()) }
    }
}

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Ids;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a rule, or a range of ids")
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<Ids, E> {
                Ok(Ids { first: id, last: id })
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Ids, E> {
                let (first, last) = text.split_once('-').unwrap_or((text, text));
                match (first.trim().parse(), last.trim().parse()) {
                    (Ok(first), Ok(last)) if first <= last => Ok(Ids { first, last }),
                    _ => Err(E::custom(format!(
                        "`{text}` is neither an id nor a range of ids; help: write `942100` or `942100-942199`"
                    ))),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Ids {
    fn schema_name() -> Cow<'static, str> {
        "RuleIds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "pattern": "^[0-9]+( *- *[0-9]+)?$",
            "description": "An id or a range: `942100`, `942100-942199`."
        })
    }
}
