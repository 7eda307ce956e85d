//! `acl`: which consumer groups may pass.

use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Denial, Exchange, Hooks, Plugin, PluginKind, Stage, Step,
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};
use std::{collections::HashSet, sync::Arc};

/// Lets consumers pass by their groups. `deny` wins; with `allow`, whoever is in none of its groups is refused.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Groups that may pass.
    #[serde(deserialize_with = "at_least_one")]
    allow: Vec<String>,
    /// Groups that may not.
    deny: Vec<String>,
}

/// An empty `allow` could mean nobody as well as everybody.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        let message = "the list is empty; help: write `allow: [GROUP]`, or remove `allow`";
        return Err(D::Error::custom(message));
    }
    Ok(list)
}

/// The plugin.
pub struct Acl {
    allow: HashSet<Arc<str>>,
    deny: HashSet<Arc<str>>,
}

impl PluginKind for Acl {
    const NAME: &'static str = "acl";
    const SUMMARY: &'static str = "Lets consumers pass by their groups.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authorize
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        if config.allow.is_empty() && config.deny.is_empty() {
            return Err(ConfigError::new("neither `allow` nor `deny` names a group")
                .help("write `allow: [GROUP]`")
                .into());
        }
        if let Some(group) = config.allow.iter().find(|group| config.deny.contains(group)) {
            return Err(ConfigError::at("deny", format!("`{group}` is allowed and denied"))
                .help("remove it from one of the lists")
                .into());
        }
        let set = |groups: Vec<String>| groups.into_iter().map(Arc::from).collect();
        Ok(Acl { allow: set(config.allow), deny: set(config.deny) })
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
        let Some(principal) = ex.principal() else { return denied("nobody was identified") };
        let groups = principal.groups();
        if groups.iter().any(|group| self.deny.contains(group)) {
            return denied("a group is denied");
        }
        if !self.allow.is_empty() && !groups.iter().any(|group| self.allow.contains(group)) {
            return denied("no group is allowed");
        }
        if principal.consumer.is_none() {
            return denied("no consumer is mapped");
        }
        Step::CONTINUE
    }
}

fn denied(detail: &'static str) -> Step<'static> {
    Denial::forbidden("acl_denied").message("You may not do this").detail(detail).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::{
        Descriptor,
        testkit::{Case, Kit},
    };

    #[test]
    fn groups_decide() {
        let kit = Kit::of(Descriptor::of::<Acl>());
        for (yaml, groups, passes) in [
            ("allow: [gold]", &["gold"][..], true),
            ("allow: [gold]", &["silver", "gold"], true),
            ("allow: [gold]", &["silver"], false),
            ("allow: [gold]", &["Gold"], false),
            ("allow: [gold]", &[], false),
            ("deny: [bad]", &[], true),
            ("deny: [bad]", &["bad"], false),
            ("{allow: [gold], deny: [bad]}", &["gold", "bad"], false),
        ] {
            let ran = kit.build(yaml).unwrap().run(Case::get("/").principal("alice", groups));
            if passes {
                ran.passed();
            } else {
                ran.denied(403, "acl_denied");
            }
        }
        kit.build("deny: [bad]").unwrap().run(Case::get("/")).denied(403, "acl_denied");
        assert!(kit.build("{}").unwrap_err().contains("neither"));
        assert!(kit.build("{allow: [], deny: [bad]}").unwrap_err().contains("allow: the list is empty"));
        assert!(kit.build("{allow: , deny: [bad]}").is_err());
        assert!(kit.build("{allow: [a], deny: [a]}").unwrap_err().contains("allowed and denied"));
    }
}
