//! What an upstream does about targets that fail: from what is written to the model.

use super::{
    model::{Health, Outlier, Retries},
    raw_upstream::{RawHealth, RawOutlier, RawProtocol, RawRetries},
    sections::{bounded_time, wrong},
    upstreams::within,
};
use http::{StatusCode, uri::PathAndQuery};
use palisade_contract::{ConfigError, Node};

pub(super) fn health(
    node: &Node,
    raw: &RawHealth,
    protocol: &RawProtocol,
    errors: &mut Vec<ConfigError>,
) -> Health {
    let default = Health::default();
    if let Some(path) = &raw.path
        && (!path.starts_with('/') || path.parse::<PathAndQuery>().is_err())
    {
        let error = wrong(node, "health.path", format!("`{path}` is not a path"));
        errors.push(error.help("write `/healthz`"));
    }
    if raw.expect.is_some() && (raw.path.is_none() || matches!(protocol, RawProtocol::Grpc)) {
        let error =
            wrong(node, "health.expect", "there is no status to expect where nothing is asked for by GET");
        errors.push(error.help("write a `path` and another `protocol` than `grpc`, or remove it"));
    }
    let mut expect = Vec::new();
    for (index, code) in raw.expect.iter().flatten().enumerate() {
        match StatusCode::from_u16(*code) {
            Ok(status) if (200..600).contains(code) => expect.push(status),
            _ => errors.push(
                wrong(
                    node,
                    &format!("health.expect[{index}]"),
                    format!("`{code}` is not a status of an answer"),
                )
                .help("write from `200` to `599`"),
            ),
        }
    }
    Health {
        path: raw.path.clone(),
        interval: raw
            .interval
            .map_or(default.interval, |time| bounded_time(node, "health.interval", time, errors)),
        timeout: raw
            .timeout
            .map_or(default.timeout, |time| bounded_time(node, "health.timeout", time, errors)),
        healthy: within(node, "health.healthy", raw.healthy, 1..=100, default.healthy, errors),
        unhealthy: within(node, "health.unhealthy", raw.unhealthy, 1..=100, default.unhealthy, errors),
        expect: if raw.expect.is_some() { expect } else { default.expect },
    }
}

pub(super) fn outlier(node: &Node, raw: &RawOutlier, errors: &mut Vec<ConfigError>) -> Outlier {
    let default = Outlier::default();
    let failures = raw.consecutive_failures;
    Outlier {
        consecutive_failures: within(
            node,
            "outlier.consecutive_failures",
            failures,
            1..=1000,
            default.consecutive_failures,
            errors,
        ),
        eject: raw.eject.map_or(default.eject, |time| bounded_time(node, "outlier.eject", time, errors)),
    }
}

pub(super) fn retries(node: &Node, raw: &RawRetries, errors: &mut Vec<ConfigError>) -> Retries {
    let default = Retries::default();
    let mut retries = Retries {
        attempts: within(node, "retries.attempts", raw.attempts, 0..=10, default.attempts, errors),
        budget: raw.budget.as_ref().map_or(default.budget, |text| percent(node, text, errors)),
        ..default
    };
    let Some(on) = &raw.on else { return retries };
    (retries.connect_failure, retries.reset_once) = (false, false);
    for (index, word) in on.iter().enumerate() {
        match (word.as_str(), word.parse::<StatusCode>()) {
            ("connect_failure", _) => retries.connect_failure = true,
            ("reset", _) => retries.reset = true,
            (_, Ok(status)) if status.is_server_error() => retries.statuses.push(status),
            _ => errors.push(
                wrong(node, &format!("retries.on[{index}]"), format!("`{word}` is nothing to retry on"))
                    .help("write `connect_failure`, `reset`, or a status from `\"500\"` to `\"599\"`"),
            ),
        }
    }
    retries
}

fn percent(node: &Node, text: &str, errors: &mut Vec<ConfigError>) -> u32 {
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).filter(|percent| *percent <= 100).unwrap_or_else(|| {
        let error = wrong(node, "retries.budget", format!("`{text}` is not a share"));
        errors.push(error.help("write from `0%` to `100%`"));
        0
    })
}
