//! `business-hours`: a route is open only during certain hours (UTC).

use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Denial, Exchange, Hooks, Plugin, PluginKind, Stage, Step,
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::UNIX_EPOCH;

/// What an operator writes. Doc comments become the reference page.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The hour from which requests pass, 0 to 23.
    from: u8,
    /// The hour from which they are refused again, 1 to 24.
    until: u8,
}

/// What runs: everything checked.
pub struct BusinessHours {
    from: u64,
    until: u64,
}

impl PluginKind for BusinessHours {
    const NAME: &'static str = "business-hours";
    const SUMMARY: &'static str = "Opens a route only during certain hours.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Authorize
    }

    fn build(config: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        if config.from >= config.until || config.until > 24 {
            let error = ConfigError::at(
                "until",
                format!("no hour lies between {} and {}", config.from, config.until),
            );
            return Err(error.help("write `from: 8` and `until: 18`").into());
        }
        Ok(BusinessHours { from: config.from.into(), until: config.until.into() })
    }
}

impl Plugin for BusinessHours {
    fn hooks(&self) -> Hooks {
        Hooks::REQUEST
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let seconds = ex.started().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let hour = seconds / 3600 % 24;
        if (self.from..self.until).contains(&hour) {
            return Step::CONTINUE;
        }
        Denial::forbidden("closed").message("We are closed now").detail(format!("it is {hour} h")).into()
    }
}

#[cfg(test)]
mod tests {
    use super::BusinessHours;
    use palisade_contract::{
        Descriptor,
        testkit::{Case, Kit},
    };
    use std::time::{Duration, UNIX_EPOCH};

    fn kit() -> Kit {
        Kit::of(Descriptor::of::<BusinessHours>())
    }

    #[test]
    fn hours_decide() {
        let plugin = kit().build("{from: 8, until: 18}").unwrap();
        let at = |hour: u64| Case::get("/").started(UNIX_EPOCH + Duration::from_secs(hour * 3600));
        plugin.run(at(8)).passed();
        plugin.run(at(17)).passed();
        plugin.run(at(18)).denied(403, "closed");
        plugin.run(at(7)).denied(403, "closed");
    }

    #[test]
    fn hours_that_make_no_sense_are_refused_at_load() {
        assert!(kit().build("{from: 18, until: 8}").unwrap_err().contains("no hour lies between 18 and 8"));
        assert!(kit().build("{from: 8, til: 18}").unwrap_err().contains("did you mean `until`"));
    }
}
