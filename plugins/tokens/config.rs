//! Fields that several plugins have alike.

use palisade_contract::ConfigError;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// What a consumer is known by in tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenCredential {
    /// What the claim named by `consumer_claim` says.
    pub(crate) key: String,
}

/// One, or a list.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Reads a name or a list of names; an empty one names nobody.
pub(crate) fn one_or_more<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let list = match OneOrMore::deserialize(deserializer) {
        Ok(OneOrMore::One(one)) => vec![one],
        Ok(OneOrMore::More(list)) => list,
        Err(_) => return Err(serde::de::Error::custom("it is neither a name nor a list of names")),
    };
    if list.is_empty() || list.iter().any(String::is_empty) {
        let message = "it names nobody; help: write a name, or remove it";
        return Err(serde::de::Error::custom(message));
    }
    Ok(list)
}

/// Whole seconds, as the times of tokens are.
pub(crate) fn whole_seconds(field: &str, time: Duration, errors: &mut Vec<ConfigError>) -> i64 {
    if time.subsec_nanos() != 0 {
        let seconds = time.as_secs() + 1;
        let error = ConfigError::at(field, "the times of tokens are whole seconds");
        errors.push(error.help(format!("write `{seconds}s`")));
    }
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX / 4)
}

/// How much clocks may differ.
pub(crate) fn leeway(time: Duration, errors: &mut Vec<ConfigError>) -> i64 {
    if time > Duration::from_secs(60) {
        errors.push(
            ConfigError::at("leeway", "the clocks differ by more than a minute")
                .help("write `60s` at most, and set the clocks by NTP"),
        );
    }
    whole_seconds("leeway", time, errors)
}

/// The longest that a token may be good for.
pub(crate) fn maximum_lifetime(time: Option<Duration>, errors: &mut Vec<ConfigError>) -> Option<i64> {
    let most = time?;
    if most < Duration::from_secs(1) {
        errors.push(
            ConfigError::at("maximum_lifetime", "no token lives that short").help("write `1s` at least"),
        );
    }
    Some(whole_seconds("maximum_lifetime", most, errors))
}
