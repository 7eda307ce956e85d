//! `acl`: who may pass, by groups, scopes and claims.

mod rules;
#[cfg(test)]
mod tests;

use http::{HeaderValue, header::WWW_AUTHENTICATE};
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Control, Denial, Exchange, Hooks, Plugin, PluginKind, Principal,
    Stage, Step, conf::suggest,
};
use rules::{ClaimRule, Expected};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

/// Lets callers pass by their groups, and by the scopes and claims of their tokens. Everything that is written must
/// hold. Of groups `deny` wins; with `allow`, whoever is in none of its groups is refused.
///
/// Where a route asks for several credentials (`auth: {all: […]}`), `deny` looks at the consumers of all of them,
/// `allow` at the consumer of the first, which the request counts as; both look at the groups that any token claims.
/// `scopes`, `any_scope` and `claims` must all hold of one credential: the rights of several are not put together.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Groups that may pass.
    #[serde(deserialize_with = "at_least_one")]
    allow: Vec<String>,
    /// Groups that may not.
    deny: Vec<String>,
    /// A claim that names further groups, besides those of the consumer: its name, or a path into nested claims such
    /// as `realm_access.roles`.
    groups_claim: Option<String>,
    /// Scopes that a token must have, all of them.
    #[serde(deserialize_with = "at_least_one")]
    scopes: Vec<String>,
    /// Scopes of which a token must have one.
    #[serde(deserialize_with = "at_least_one")]
    any_scope: Vec<String>,
    /// The claim that names the scopes: a string with spaces between them, or a list.
    scope_claim: String,
    /// What claims must say: one value, or several of which one will do. Of a claim that is a list one item must fit.
    claims: BTreeMap<String, Expected>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            allow: Vec::new(),
            deny: Vec::new(),
            groups_claim: None,
            scopes: Vec::new(),
            any_scope: Vec::new(),
            scope_claim: "scope".to_owned(),
            claims: BTreeMap::new(),
        }
    }
}

/// An empty `allow` could mean nobody as well as everybody.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        let message = "the list is empty; help: write a name into it, or remove it";
        return Err(D::Error::custom(message));
    }
    Ok(list)
}

/// The plugin.
pub struct Acl {
    allow: HashSet<Arc<str>>,
    deny: HashSet<Arc<str>>,
    groups_claim: Option<String>,
    scopes: Vec<String>,
    any_scope: Vec<String>,
    scope_claim: String,
    claims: Vec<ClaimRule>,
    /// The challenge of a 403 for want of a scope (RFC 6750 §3.1).
    insufficient: HeaderValue,
}

impl PluginKind for Acl {
    const NAME: &'static str = "acl";
    const SUMMARY: &'static str =
        "Lets callers pass by their groups, and by the scopes and claims of their tokens.";
    const CONTROLS: &'static [Control] = &[Control::Authorization];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authorize
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let by_groups = !(config.allow.is_empty() && config.deny.is_empty());
        if !by_groups && config.scopes.is_empty() && config.any_scope.is_empty() && config.claims.is_empty() {
            let error = ConfigError::new("nothing says who may pass: neither groups, nor scopes, nor claims");
            return Err(error
                .help("write `allow: [GROUP]`, `scopes: [SCOPE]` or `claims: {NAME: VALUE}`")
                .into());
        }
        let mut errors = Vec::new();
        if let Some(group) = config.allow.iter().find(|group| config.deny.contains(group)) {
            let error = ConfigError::at("deny", format!("`{group}` is allowed and denied"));
            errors.push(error.help("remove it from one of the lists"));
        }
        if config.groups_claim.is_some() && !by_groups {
            let error = ConfigError::at("groups_claim", "no group is allowed or denied");
            errors.push(error.help("write `allow: [GROUP]`, or remove `groups_claim`"));
        }
        // Tokens may name groups that no consumer is in.
        if let (None, Some(known)) = (&config.groups_claim, env.groups) {
            unknown_groups(&config, known, &mut errors);
        }
        let insufficient = insufficient(&config, &mut errors);
        let claims = config.claims.into_iter().filter_map(|(name, expected)| {
            ClaimRule::new(name, expected).map_err(|error| errors.push(error)).ok()
        });
        let claims = claims.collect();
        let set = |groups: Vec<String>| groups.into_iter().map(Arc::from).collect();
        let acl = Acl {
            allow: set(config.allow),
            deny: set(config.deny),
            groups_claim: config.groups_claim,
            scopes: config.scopes,
            any_scope: config.any_scope,
            scope_claim: config.scope_claim,
            claims,
            insufficient,
        };
        if errors.is_empty() { Ok(acl) } else { Err(errors.into()) }
    }
}

/// A misspelt group would be denied to nobody, or let nobody in.
fn unknown_groups(config: &Config, known: &BTreeSet<Arc<str>>, errors: &mut Vec<ConfigError>) {
    for (field, list) in [("allow", &config.allow), ("deny", &config.deny)] {
        for (index, group) in list.iter().enumerate().filter(|(_, group)| !known.contains(group.as_str())) {
            let error = ConfigError::at(
                format!("{field}[{index}]"),
                format!("no consumer is in the group `{group}`"),
            );
            let names = known.iter().map(|name| &**name);
            errors.push(error.help(suggest(group, names, "the groups of consumers are")));
        }
    }
}

/// Names the scopes that are needed; each must be one that a challenge can name (RFC 6749 §3.3).
fn insufficient(config: &Config, errors: &mut Vec<ConfigError>) -> HeaderValue {
    let is_scope = |scope: &str| {
        !scope.is_empty()
            && scope.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    };
    for (field, list) in [("scopes", &config.scopes), ("any_scope", &config.any_scope)] {
        for (index, scope) in list.iter().enumerate().filter(|(_, scope)| !is_scope(scope)) {
            let error = ConfigError::at(format!("{field}[{index}]"), format!("`{scope}` is not a scope"));
            errors.push(error.help("a scope has visible ASCII characters without quotes and spaces"));
        }
    }
    let needed: Vec<&str> = config.scopes.iter().chain(&config.any_scope).map(String::as_str).collect();
    HeaderValue::from_str(&format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", needed.join(" ")))
        .unwrap_or(HeaderValue::from_static("Bearer error=\"insufficient_scope\""))
}

impl Acl {
    /// The principals of the request: all of them have proved something, but not the same. What one may do and
    /// what another is are not put together.
    fn judge(&self, principal: &Principal, attached: &[Arc<Principal>]) -> Result<(), Denial> {
        let all = || std::iter::once(principal).chain(attached.iter().map(Arc::as_ref));
        if !(self.allow.is_empty() && self.deny.is_empty()) {
            self.groups(principal, all)?;
        }
        let mut fit = all().filter(|one| self.claims.iter().all(|rule| rule.holds(one))).peekable();
        if fit.peek().is_none() {
            let unmet = self.claims.iter().find(|rule| !all().any(|one| rule.holds(one)));
            return Err(denied(
                unmet.map_or("the claims are not those of one credential", ClaimRule::detail),
            ));
        }
        if !fit.any(|one| self.has_scopes(one)) {
            let denial = Denial::forbidden("insufficient_scope").message("This needs another scope");
            return Err(denial.header(WWW_AUTHENTICATE, self.insufficient.clone()));
        }
        Ok(())
    }

    fn has_scopes(&self, one: &Principal) -> bool {
        let has = |scope: &String| one.words(&self.scope_claim).any(|word| word == scope);
        self.scopes.iter().all(has) && (self.any_scope.is_empty() || self.any_scope.iter().any(has))
    }

    fn groups<'p, I: Iterator<Item = &'p Principal>>(
        &self,
        principal: &'p Principal,
        all: impl Fn() -> I,
    ) -> Result<(), Denial> {
        let path = self.groups_claim.as_deref();
        let by_consumer = |one: &Principal, groups: &HashSet<Arc<str>>| {
            one.groups().iter().any(|group| groups.contains(group))
        };
        let by_claim = |groups: &HashSet<Arc<str>>| {
            path.is_some_and(|path| all().any(|one| one.words(path).any(|word| groups.contains(word))))
        };
        if all().any(|one| by_consumer(one, &self.deny)) || by_claim(&self.deny) {
            return Err(denied("a group is denied"));
        }
        if !self.allow.is_empty() && !by_consumer(principal, &self.allow) && !by_claim(&self.allow) {
            return Err(denied("no group is allowed"));
        }
        // Who is in no group because nobody says so is not thereby in none that is denied.
        if principal.consumer.is_none()
            && !path.is_some_and(|path| all().any(|one| one.claim(path).is_some()))
        {
            return Err(denied("no consumer is mapped"));
        }
        Ok(())
    }
}

impl Plugin for Acl {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn needs_principal(&self) -> bool {
        true
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        // Nobody is in no group: whoever was not identified is refused, also where only `deny` is written.
        let judged = match ex.principal() {
            None => Err(denied("nobody was identified")),
            Some(principal) => self.judge(principal, ex.attached()),
        };
        judged.map_or_else(Step::from, |()| Step::CONTINUE)
    }
}

fn denied(detail: &str) -> Denial {
    Denial::forbidden("acl_denied").message("You may not do this").detail(detail)
}
