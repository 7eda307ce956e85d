//! What is said of a request: in its record, and in the metrics.

use http::HeaderName;
use palisade_contract::{BuildEnv, Counter, CredentialPlaces};
use seclang::{MatchedRule, MatchedVariable, RuleSet, Transaction};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The most rules of a request, and variables of a rule, that a record names.
const MOST_RULES: usize = 24;
const MOST_VARIABLES: usize = 3;
/// The most families that are counted apart.
const MOST_FAMILIES: usize = 100;
const MASKED: &str = "[masked]";
/// Variables whose values hold names and values of all kinds.
const MIXED: [&str; 8] = [
    "REQUEST_URI",
    "REQUEST_URI_RAW",
    "REQUEST_LINE",
    "QUERY_STRING",
    "REQUEST_BODY",
    "FULL_REQUEST",
    "REQUEST_HEADERS:referer",
    "RESPONSE_BODY",
];
/// What stands in such a value before a credential.
const SECRETS: [&str; 14] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "auth",
    "cookie",
    "session",
    "sid=",
    "api-key",
    "api_key",
    "apikey",
    "key=",
    "credential",
    "private key",
];
const SEVERITIES: [&str; 8] =
    ["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"];

/// The counts of the families of a set's rules: those whose ids begin alike.
#[derive(Debug)]
pub(super) struct Families {
    by_family: BTreeMap<u64, Counter>,
    others: Counter,
}

impl Families {
    pub(super) fn new(rules: &RuleSet, env: &BuildEnv<'_>) -> Self {
        let mut by_family = BTreeMap::new();
        for rule in rules.rules() {
            if by_family.len() < MOST_FAMILIES {
                let family = rule.id / 1000;
                by_family.entry(family).or_insert_with(|| env.counter(format!("rules_{family}")));
            }
        }
        Families { by_family, others: env.counter("rules_other") }
    }

    pub(super) fn count(&self, matched: &[MatchedRule]) {
        for rule in matched {
            self.by_family.get(&(rule.id / 1000)).unwrap_or(&self.others).add(1);
        }
    }
}

/// What was found so far.
#[cold]
pub(super) fn finding(transaction: &Transaction, places: &CredentialPlaces) -> Value {
    let scores = transaction.scores();
    let matched = transaction.matched();
    let rules: Vec<Value> = matched.iter().take(MOST_RULES).map(|rule| one(rule, places)).collect();
    let mut what = Map::new();
    what.insert("inbound_score".into(), scores.inbound.into());
    what.insert("outbound_score".into(), scores.outbound.into());
    if matched.len() > MOST_RULES {
        what.insert("rules_matched".into(), matched.len().into());
    }
    what.insert("rules".into(), rules.into());
    what.into()
}

fn one(rule: &MatchedRule, places: &CredentialPlaces) -> Value {
    let severity = rule.severity.and_then(|level| SEVERITIES.get(usize::from(level)));
    let variables = rule.variables.iter().take(MOST_VARIABLES);
    let variables: Vec<Value> =
        variables.map(|variable| json!({"name": variable.name, "value": piece(variable, places)})).collect();
    let tags: Vec<&str> = rule.tags.iter().map(|tag| &**tag).collect();
    json!({
        "id": rule.id,
        "message": rule.message,
        "severity": severity,
        "tags": tags,
        "variables": variables,
    })
}

/// A piece of a value; the engine has masked what is called like a secret.
fn piece<'v>(variable: &'v MatchedVariable, places: &CredentialPlaces) -> &'v str {
    let (list, name) = variable.name.split_once(':').unwrap_or((&variable.name, ""));
    let held = match list {
        "REQUEST_HEADERS" => name.parse::<HeaderName>().is_ok_and(|name| places.holds_header(&name)),
        "ARGS" | "ARGS_GET" => places.holds_query(name),
        // What was captured, perhaps of a password: whose value it was is not known any more.
        "TX" => name.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    };
    let mixed = MIXED.iter().any(|mixed| variable.name.eq_ignore_ascii_case(mixed));
    let lower = || variable.piece.to_ascii_lowercase();
    if held || (mixed && SECRETS.iter().any(|secret| lower().contains(secret))) {
        MASKED
    } else {
        &variable.piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::CredentialPlace;

    #[test]
    fn what_may_hold_a_secret_is_masked() {
        let places = CredentialPlaces::default();
        places.complete(vec![
            CredentialPlace::Header("x-key".parse().unwrap()),
            CredentialPlace::Query("k".into()),
        ]);
        for (name, value, shown) in [
            ("ARGS:q", "1 or 1=1", "1 or 1=1"),
            ("ARGS:k", "1 or 1=1", MASKED),
            ("REQUEST_HEADERS:x-key", "abc", MASKED),
            ("REQUEST_HEADERS:User-Agent", "sqlmap", "sqlmap"),
            ("QUERY_STRING", "q=<script>&access_Token=abc", MASKED),
            ("QUERY_STRING", "q=<script>", "q=<script>"),
            ("TX:1", "hunter2", MASKED),
            ("TX:SCORE", "5", "5"),
        ] {
            let variable = MatchedVariable { name: name.into(), piece: value.into() };
            assert_eq!(piece(&variable, &places), shown, "{name} {value}");
        }
    }
}
