//! `rbac`: a table of who may do what, and nothing else may be done.

mod pattern;
#[cfg(test)]
mod tests;

use http::Method;
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Control, Denial, Exchange, Hooks, Plugin, PluginKind, Principal,
    Stage, Step, conf::suggest,
};
use pattern::Pattern;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

/// Lets callers do what a table grants them: what no row grants is refused. A row grants the methods and paths that it
/// names to whoever has one of its roles or groups, and all of its scopes and claims.
///
/// Paths are those that the client asks for, in normal form. Rows add up: a request passes where any of them grants it.
/// Where a route asks for several credentials (`auth: {all: […]}`), one of them must have all that the row asks for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The claim that names roles: its name, or a path into nested claims such as `realm_access.roles`. A list, or a
    /// string with spaces between them.
    #[serde(default = "roles")]
    roles_claim: String,
    /// The claim that names the scopes.
    #[serde(default = "scope")]
    scope_claim: String,
    /// The rows.
    grants: Vec<Grant>,
}

fn roles() -> String {
    "roles".to_owned()
}

fn scope() -> String {
    "scope".to_owned()
}

/// A row of the table. It names at least one role, group, scope or claim, or says `anyone: true`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Grant {
    /// Methods; `[GET, HEAD]`.
    methods: Vec<String>,
    /// Paths as routes write them: `/orders/{id}`, `/orders/*`.
    paths: Vec<String>,
    /// One of these roles is needed.
    #[serde(default)]
    roles: Vec<String>,
    /// One of these groups of consumers is needed; instead of a role, where both are named.
    #[serde(default)]
    groups: Vec<String>,
    /// All of these scopes are needed.
    #[serde(default)]
    scopes: Vec<String>,
    /// What claims must say, as strings: of a claim that is a list one item must be it.
    #[serde(default)]
    claims: BTreeMap<String, String>,
    /// Everybody who has proved who is calling.
    #[serde(default)]
    anyone: bool,
}

/// The plugin.
pub struct Rbac {
    roles_claim: String,
    scope_claim: String,
    grants: Vec<Row>,
}

struct Row {
    methods: Vec<Method>,
    paths: Vec<Pattern>,
    roles: Vec<String>,
    groups: Vec<Arc<str>>,
    scopes: Vec<String>,
    claims: Vec<(String, String)>,
}

impl PluginKind for Rbac {
    const NAME: &'static str = "rbac";
    const SUMMARY: &'static str =
        "Lets callers do what a table grants to their roles, groups, scopes and claims.";
    const CONTROLS: &'static [Control] = &[Control::Authorization];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authorize
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        if config.grants.is_empty() {
            let error = ConfigError::at("grants", "nothing is granted to anybody");
            errors.push(error.help("write `grants: [{methods: [GET], paths: [/*], roles: [reader]}]`"));
        }
        let rows = config.grants.into_iter().enumerate();
        let grants = rows.map(|(at, grant)| row(grant, &format!("grants[{at}]"), env, &mut errors)).collect();
        let rbac = Rbac { roles_claim: config.roles_claim, scope_claim: config.scope_claim, grants };
        if errors.is_empty() { Ok(rbac) } else { Err(errors.into()) }
    }
}

fn row(grant: Grant, field: &str, env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Row {
    for (name, is_empty) in [("methods", grant.methods.is_empty()), ("paths", grant.paths.is_empty())] {
        if is_empty {
            let error =
                ConfigError::at(format!("{field}.{name}"), "the list is empty: the row grants nothing");
            errors.push(error.help("write what it grants, or remove the row"));
        }
    }
    let asks = !(grant.roles.is_empty()
        && grant.groups.is_empty()
        && grant.scopes.is_empty()
        && grant.claims.is_empty());
    if asks == grant.anyone {
        let said =
            if asks { "it is for anyone, and asks for something" } else { "it does not say whom it is for" };
        let help = "name `roles`, `groups`, `scopes` or `claims`, or write `anyone: true` alone";
        errors.push(ConfigError::at(field, said).help(help));
    }
    unknown_groups(&grant.groups, field, env, errors);
    let mut methods = Vec::new();
    for (at, method) in grant.methods.iter().enumerate() {
        match method.parse() {
            Ok(method) if is_upper(&method) => methods.push(method),
            _ => {
                let error =
                    ConfigError::at(format!("{field}.methods[{at}]"), format!("`{method}` is not a method"));
                errors.push(error.help("methods are upper case: `GET`, `POST`"));
            }
        }
    }
    let mut paths = Vec::new();
    for (at, path) in grant.paths.iter().enumerate() {
        match Pattern::parse(path) {
            Ok(pattern) => paths.push(pattern),
            Err(why) => {
                let error = ConfigError::at(format!("{field}.paths[{at}]"), format!("`{path}` {why}"));
                errors.push(error.help("write `/orders/{id}`, or `/orders/*` for all that is below"));
            }
        }
    }
    Row {
        methods,
        paths,
        roles: grant.roles,
        groups: grant.groups.into_iter().map(Arc::from).collect(),
        scopes: grant.scopes,
        claims: grant.claims.into_iter().collect(),
    }
}

/// A misspelt group would be granted to nobody.
fn unknown_groups(groups: &[String], field: &str, env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) {
    let known = env.groups.filter(|known| !known.is_empty());
    for (at, group) in groups.iter().enumerate() {
        if let Some(known) = known.filter(|known| !known.contains(group.as_str())) {
            let error = ConfigError::at(
                format!("{field}.groups[{at}]"),
                format!("no consumer is in the group `{group}`"),
            );
            errors.push(error.help(suggest(
                group,
                known.iter().map(|name| &**name),
                "the groups of consumers are",
            )));
        }
    }
}

fn is_upper(method: &Method) -> bool {
    method.as_str().bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
}

impl Rbac {
    fn grants(&self, row: &Row, one: &Principal) -> bool {
        let by_role = || one.words(&self.roles_claim).any(|word| row.roles.iter().any(|role| role == word));
        let by_group = || one.groups().iter().any(|group| row.groups.contains(group));
        let named = !(row.roles.is_empty() && row.groups.is_empty());
        let has_scope = |scope: &String| one.words(&self.scope_claim).any(|word| word == scope);
        (!named || by_role() || by_group())
            && row.scopes.iter().all(has_scope)
            && row.claims.iter().all(|(path, wanted)| says(one.claim(path), wanted))
    }
}

/// True where a claim, or an item of it, is this string.
fn says(claim: Option<&Value>, wanted: &str) -> bool {
    match claim {
        Some(Value::Array(items)) => items.iter().any(|item| item.as_str() == Some(wanted)),
        Some(value) => value.as_str() == Some(wanted),
        None => false,
    }
}

impl Plugin for Rbac {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn needs_principal(&self) -> bool {
        true
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let denied = |detail: &str| {
            Denial::forbidden("rbac_denied").message("You may not do this").detail(detail.to_owned()).into()
        };
        let Some(principal) = ex.principal() else { return denied("nobody was identified") };
        let (method, path) = (ex.method(), ex.path());
        let is_about = |row: &&Row| {
            row.methods.contains(method) && row.paths.iter().any(|pattern| pattern.matches(path))
        };
        let mut rows = self.grants.iter().filter(is_about).peekable();
        if rows.peek().is_none() {
            return denied("no row is about this method and path");
        }
        let callers = || std::iter::once(principal).chain(ex.attached());
        if rows.any(|row| callers().any(|one| self.grants(row, one))) {
            return Step::CONTINUE;
        }
        denied("no row grants it to this caller")
    }
}
