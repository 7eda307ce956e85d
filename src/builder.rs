//! A gateway with plugins of its own.

use palisade_contract::{Authenticator, Descriptor, PluginKind};
use std::process::ExitCode;

/// Builds a gateway binary with plugins besides those that palisade ships with.
///
/// ```no_run
/// # use palisade_contract::{BuildEnv, ConfigErrors, Plugin, PluginKind, Stage};
/// # #[derive(serde::Deserialize, schemars::JsonSchema)] struct Config {}
/// # struct Mine; impl Plugin for Mine {}
/// # impl PluginKind for Mine {
/// #     const NAME: &'static str = "mine"; const SUMMARY: &'static str = "";
/// #     type Config = Config;
/// #     fn stage(_: &Config) -> Stage { Stage::Authorize }
/// #     fn build(_: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> { Ok(Mine) }
/// # }
/// fn main() -> std::process::ExitCode {
///     palisade::builder().plugin::<Mine>().run()
/// }
/// ```
#[derive(Debug)]
pub struct Builder {
    registry: Vec<Descriptor>,
    /// The first thing that is wrong.
    wrong: Option<String>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { registry: palisade_plugins::PLUGINS.to_vec(), wrong: None }
    }
}

impl Builder {
    /// Adds a plugin, behind those of its stage that are there already.
    #[must_use]
    pub fn plugin<P: PluginKind>(self) -> Self {
        self.descriptor(Descriptor::of::<P>())
    }

    /// Adds an authenticator.
    #[must_use]
    pub fn authenticator<P: PluginKind + Authenticator>(self) -> Self {
        self.descriptor(Descriptor::authenticator::<P>())
    }

    /// Adds a row as it is (an authenticator with credentials of its own, for example).
    #[must_use]
    pub fn descriptor(mut self, descriptor: Descriptor) -> Self {
        let name = descriptor.name;
        if self.registry.iter().any(|known| known.name == name) {
            self.refuse(format!("two plugins are named `{name}`: give yours another NAME"));
        }
        self.registry.push(descriptor);
        self
    }

    /// Moves the plugin that was added last to before another one of its stage: one that ships with palisade
    /// ([`crate::plugins`]), or one that was added. A configuration in which the two stand in different stages is
    /// refused, for there it would mean nothing.
    #[must_use]
    pub fn before<P: PluginKind>(mut self) -> Self {
        let Some(mut last) =
            self.registry.pop_if(|last| !palisade_plugins::PLUGINS.iter().any(|own| own.name == last.name))
        else {
            self.refuse(format!("nothing was added that could stand before `{}`", P::NAME));
            return self;
        };
        match self.registry.iter().position(|known| known.name == P::NAME) {
            Some(at) => {
                last.before = Some(P::NAME);
                self.registry.insert(at, last);
            }
            None => {
                self.refuse(format!("`{}` cannot stand before `{}`: it is not there", last.name, P::NAME))
            }
        }
        self
    }

    /// The whole command line: run, check, schema, docs and the rest. What is wrong with the plugins (two of one name,
    /// one before another that is not there) is refused.
    pub fn run(self) -> ExitCode {
        match self.wrong {
            Some(wrong) => crate::cli::refuse(&wrong),
            None => crate::cli::main(self.registry),
        }
    }

    fn refuse(&mut self, wrong: String) {
        self.wrong.get_or_insert(wrong);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::{Acl, KeyAuth};
    use palisade_contract::{BuildEnv, ConfigErrors, Plugin, Stage};

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Config {}

    macro_rules! plugin {
        ($type:ident, $name:literal, $stage:expr) => {
            struct $type;
            impl Plugin for $type {}
            impl PluginKind for $type {
                const NAME: &'static str = $name;
                const SUMMARY: &'static str = "";
                type Config = Config;
                fn stage(_: &Config) -> Stage {
                    $stage
                }
                fn build(_: Config, _: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
                    Ok($type)
                }
            }
        };
    }
    plugin!(Mine, "mine", Stage::Authorize);
    plugin!(Other, "other", Stage::Authorize);
    plugin!(Namesake, "acl", Stage::Authorize);

    fn place(builder: &Builder, name: &str) -> usize {
        builder.registry.iter().position(|plugin| plugin.name == name).unwrap()
    }

    #[test]
    fn plugins_are_added_behind_the_others_or_before_one() {
        let behind = Builder::default().plugin::<Mine>();
        assert_eq!((place(&behind, "mine"), &behind.wrong), (behind.registry.len() - 1, &None));
        let before = Builder::default().plugin::<Mine>().before::<Acl>().plugin::<Other>().before::<Mine>();
        let at = place(&before, "acl");
        assert_eq!((place(&before, "mine"), place(&before, "other"), &before.wrong), (at - 1, at - 2, &None));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (builder, said) in [
            (Builder::default().plugin::<Namesake>(), "two plugins are named `acl`: give yours another NAME"),
            (Builder::default().plugin::<Mine>().plugin::<Mine>(), "two plugins are named `mine`"),
            (
                Builder::default().plugin::<Mine>().before::<Other>(),
                "`mine` cannot stand before `other`: it is not",
            ),
            (Builder::default().plugin::<Mine>().before::<Mine>(), "`mine` cannot stand before `mine`"),
            (Builder::default().before::<Acl>(), "nothing was added that could stand before `acl`"),
        ] {
            assert!(
                builder.wrong.as_deref().is_some_and(|wrong| wrong.starts_with(said)),
                "{:?}",
                builder.wrong
            );
        }
    }

    #[test]
    fn to_stand_before_a_plugin_of_another_stage_is_an_error_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let conf = "version: 1\ndemo: true\nlisteners: {public: {address: 127.0.0.1:0}}\n\
            routes: {a: {paths: [/*], upstream: demo, plugins: {key-auth: {}, mine: {}}}}\n";
        std::fs::write(dir.path().join("a.yaml"), conf).unwrap();
        let check = |builder: Builder| crate::server::check(dir.path(), &builder.registry).map(drop);
        check(Builder::default().plugin::<Mine>().before::<Acl>()).unwrap();
        let error = check(Builder::default().plugin::<Mine>().before::<KeyAuth>()).unwrap_err().to_string();
        let said =
            "`mine` was put before `key-auth`, which stands in another stage: authenticate, not authorize";
        assert!(error.contains("a.yaml:4:") && error.contains(said), "{error}");
    }
}
