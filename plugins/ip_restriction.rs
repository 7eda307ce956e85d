//! `ip-restriction`: which addresses may call.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Control, Denial, Exchange, Hooks, Plugin, PluginKind, Stage, Step,
    conf::Cidr,
};
use prefix_trie::PrefixSet;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error};
use std::net::IpAddr;

/// Lets clients pass by their address, before anything else. `deny` wins; with `allow`, whoever is not in it is
/// refused.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses and ranges that may call.
    #[serde(deserialize_with = "at_least_one")]
    allow: Vec<Cidr>,
    /// Addresses and ranges that may not.
    deny: Vec<Cidr>,
}

/// An empty `allow` could mean nobody as well as everybody.
fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Cidr>, D::Error> {
    let list = Vec::deserialize(deserializer)?;
    if list.is_empty() {
        let message = "the list is empty; help: write `allow: [10.0.0.0/8]`, or remove `allow`";
        return Err(D::Error::custom(message));
    }
    Ok(list)
}

/// The plugin.
pub struct IpRestriction {
    allow: Option<Ranges>,
    deny: Ranges,
}

/// Ranges of both families, found by longest prefix.
#[derive(Default)]
struct Ranges {
    v4: PrefixSet<Ipv4Net>,
    v6: PrefixSet<Ipv6Net>,
}

impl Ranges {
    fn of(list: &[Cidr]) -> Self {
        let mut ranges = Ranges::default();
        for cidr in list {
            match cidr.0 {
                IpNet::V4(net) => drop(ranges.v4.insert(net)),
                IpNet::V6(net) => drop(ranges.v6.insert(net)),
            }
        }
        ranges
    }

    fn contains(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => self.v4.get_lpm(&Ipv4Net::from(ip)).is_some(),
            IpAddr::V6(ip) => self.v6.get_lpm(&Ipv6Net::from(ip)).is_some(),
        }
    }
}

impl PluginKind for IpRestriction {
    const NAME: &'static str = "ip-restriction";
    const SUMMARY: &'static str = "Lets clients pass by their address.";
    const CONTROLS: &'static [Control] = &[Control::Network];
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Screen
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        if config.allow.is_empty() && config.deny.is_empty() {
            return Err(ConfigError::new("neither `allow` nor `deny` names an address")
                .help("write `allow: [10.0.0.0/8]`")
                .into());
        }
        let allow = (!config.allow.is_empty()).then(|| Ranges::of(&config.allow));
        Ok(IpRestriction { allow, deny: Ranges::of(&config.deny) })
    }
}

impl Plugin for IpRestriction {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let ip = ex.client().ip;
        let allowed = self.allow.as_ref().is_none_or(|allow| allow.contains(ip));
        if allowed && !self.deny.contains(ip) {
            return Step::CONTINUE;
        }
        Denial::forbidden("ip_denied").message("Your address may not do this").detail(ip.to_string()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use palisade_contract::{
        Descriptor,
        testkit::{Case, Kit},
    };

    #[test]
    fn addresses_decide() {
        let kit = Kit::of(Descriptor::of::<IpRestriction>());
        for (yaml, ip, passes) in [
            ("allow: [10.0.0.0/8]", "10.1.2.3", true),
            ("allow: [10.0.0.0/8]", "::ffff:10.1.2.3", true),
            ("allow: ['::ffff:10.0.0.0/104']", "10.1.2.3", true),
            ("allow: [10.0.0.0/8]", "11.0.0.1", false),
            ("allow: [10.0.0.0/8]", "::1", false),
            ("allow: [192.0.2.7]", "192.0.2.7", true),
            ("allow: [192.0.2.7]", "192.0.2.8", false),
            ("allow: ['2001:db8::/32']", "2001:db8:1::1", true),
            ("allow: ['2001:db8::/32']", "2001:db9::1", false),
            ("deny: [10.0.0.0/8]", "10.1.2.3", false),
            ("deny: [10.0.0.0/8]", "::ffff:10.1.2.3", false),
            ("deny: [10.0.0.0/8]", "1.1.1.1", true),
            ("{allow: [10.0.0.0/8], deny: [10.1.0.0/16]}", "10.1.2.3", false),
            ("{allow: [10.0.0.0/8], deny: [10.1.0.0/16]}", "10.2.2.3", true),
            ("allow: [0.0.0.0/0]", "1.2.3.4", true),
            ("allow: [0.0.0.0/0]", "::1", false),
        ] {
            let ran = kit.build(yaml).unwrap().run(Case::get("/").from(ip));
            if passes {
                ran.passed();
            } else {
                ran.denied(403, "ip_denied");
            }
        }
    }

    #[test]
    fn mistakes_are_refused_at_load() {
        let kit = Kit::of(Descriptor::of::<IpRestriction>());
        assert!(kit.build("allow: [10.1.0.0/8]").unwrap_err().contains("write `10.0.0.0/8`"));
        assert!(kit.build("allow: [x]").unwrap_err().contains("allow[0]: `x`"));
        assert!(kit.build("{}").unwrap_err().contains("neither"));
        for empty in ["{allow: [], deny: [10.0.0.0/8]}", "{allow: , deny: [10.0.0.0/8]}", "deny: []"] {
            assert!(kit.build(empty).is_err(), "{empty}");
        }
        assert!(
            kit.build("{allow: [], deny: [10.0.0.0/8]}").unwrap_err().contains("allow: the list is empty")
        );
    }
}
