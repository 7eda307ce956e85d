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
    clash: Option<&'static str>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { registry: palisade_plugins::PLUGINS.to_vec(), clash: None }
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
        if self.registry.iter().any(|known| known.name == descriptor.name) {
            self.clash = Some(descriptor.name);
        }
        self.registry.push(descriptor);
        self
    }

    /// Moves the plugin that was added last to before another one of its stage.
    #[must_use]
    pub fn before<P: PluginKind>(mut self) -> Self {
        if let Some(at) = self.registry.iter().position(|known| known.name == P::NAME)
            && let Some(last) = self.registry.pop()
        {
            self.registry.insert(at, last);
        }
        self
    }

    /// The whole command line: run, check, schema, docs and the rest. Two plugins of one name are refused.
    pub fn run(self) -> ExitCode {
        match self.clash {
            Some(name) => {
                crate::cli::refuse(&format!("two plugins are named `{name}`: give yours another NAME"))
            }
            None => crate::cli::main(self.registry),
        }
    }
}
