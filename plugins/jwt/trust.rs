//! Whom an entry trusts: one issuer, or several of which a token names one.

use super::{
    config::{Checks, Config, Written},
    keys::{Keys, check_times},
    token::Unverified,
};
use crate::tokens::{claims::ClaimChecks, refusal::Refusal};
use palisade_contract::{BuildEnv, ConfigError};
use std::collections::HashMap;

/// An issuer's keys, and what its tokens must be.
pub(super) struct Trust {
    pub(super) checks: Checks,
    pub(super) keys: Keys,
}

/// All of them.
pub(super) enum Trusts {
    /// Whatever a token says of its issuer: `Checks` look at it, where it is written.
    One(Box<Trust>),
    /// By the `iss` of the tokens.
    ByIssuer(HashMap<String, Trust>),
}

impl Trusts {
    /// Keys that are fetched are fetched from here on; none where something is wrong, here or before.
    pub(super) fn new(config: &Config, env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let common = config.common(errors);
        if let Err(error) = check_times(config) {
            errors.push(error);
        }
        if config.issuers.is_none() {
            let one = build(config, &config.alone(), &common, "", env, errors)?;
            return Some(Trusts::One(Box::new(one)));
        }
        let all = config.several(errors);
        let mut trusts = HashMap::with_capacity(all.len());
        for (index, (name, one)) in all.iter().enumerate() {
            let place = format!("issuers[{index}]");
            if let Some(trust) = build(config, one, &common, &place, env, errors) {
                trusts.insert((*name).to_owned(), trust);
            }
        }
        errors.is_empty().then_some(Trusts::ByIssuer(trusts))
    }

    /// Whose keys are to verify a token.
    pub(super) fn of(&self, token: &Unverified<'_>) -> Result<&Trust, Refusal> {
        match self {
            Trusts::One(trust) => Ok(trust),
            Trusts::ByIssuer(all) => all.get(&token.payload.issuer()?).ok_or(Refusal::Issuer),
        }
    }
}

/// Nothing is fetched before all else is right.
fn build(
    config: &Config,
    one: &Written<'_>,
    common: &ClaimChecks,
    place: &str,
    env: &BuildEnv<'_>,
    errors: &mut Vec<ConfigError>,
) -> Option<Trust> {
    let mut wrong = Vec::new();
    let checks = Checks::new(one, common, config.typ.as_deref(), &mut wrong);
    let keys = if errors.is_empty() && wrong.is_empty() {
        Keys::new(config, one, &checks, env)
    } else {
        Keys::check(one, &checks, env)
    };
    let keys = keys.map_err(|error| wrong.push(error)).ok();
    errors.extend(wrong.into_iter().map(|error| below(place, error)));
    keys.map(|keys| Trust { checks, keys })
}

/// An error of one issuer, where it is one of several.
fn below(place: &str, error: ConfigError) -> ConfigError {
    let path = match (place, error.path.as_str()) {
        ("", path) => path.to_owned(),
        (place, "") => place.to_owned(),
        (place, path) => format!("{place}.{path}"),
    };
    ConfigError { path, ..error }
}
