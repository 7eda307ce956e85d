//! The traits that a plugin implements, and the descriptor that stands for it in a registry.

use http::{HeaderName, HeaderValue};
use pingora_http::ResponseHeader;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use std::{any::Any, fmt, ops::BitOr, sync::Arc};

use crate::{
    attempt::{Presented, Tried},
    conf::{ConfigErrors, Node},
    control::Control,
    credentials::CredentialPlace,
    env::BuildEnv,
    exchange::{Body, Exchange},
    operations::Operation,
    verdict::{Authentication, Fault, Step, Verdict},
};

/// A plugin's place in the order. Order is code, never configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before anybody has proved anything: addresses, preflights, redirects, request ids.
    Screen,
    /// Who is calling.
    Authenticate,
    /// Whether they may.
    Authorize,
    /// How often, how much.
    Limit,
    /// Whether the request is well formed.
    Validate,
    /// Whether it is harmless.
    Inspect,
    /// What is changed on its way.
    Transform,
    /// What is recorded.
    Observe,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Stage; 8] = [
        Stage::Screen,
        Stage::Authenticate,
        Stage::Authorize,
        Stage::Limit,
        Stage::Validate,
        Stage::Inspect,
        Stage::Transform,
        Stage::Observe,
    ];

    /// The name in `routes` and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Screen => "screen",
            Stage::Authenticate => "authenticate",
            Stage::Authorize => "authorize",
            Stage::Limit => "limit",
            Stage::Validate => "validate",
            Stage::Inspect => "inspect",
            Stage::Transform => "transform",
            Stage::Observe => "observe",
        }
    }
}

/// How much of a body a plugin wants to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyNeed {
    /// Nothing: the body streams past.
    None,
    /// Each piece as it comes; what was passed on cannot be taken back.
    Stream,
    /// All of it, decoded from its transfer coding, before anybody else sees a byte. A body of more than `max`
    /// bytes is refused with 413.
    Whole {
        /// The most bytes that this plugin is ready to hold.
        max: usize,
    },
}

/// Which hooks a plugin implements. A hook that nobody on a route uses costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hooks(u8);

impl Hooks {
    /// No hook.
    pub const NONE: Hooks = Hooks(0);
    /// `on_request` (or `authenticate`).
    pub const REQUEST: Hooks = Hooks(1);
    /// `on_request_body`.
    pub const REQUEST_BODY: Hooks = Hooks(2);
    /// `on_response`.
    pub const RESPONSE: Hooks = Hooks(4);
    /// `on_response_body`.
    pub const RESPONSE_BODY: Hooks = Hooks(8);
    /// `on_log`.
    pub const LOG: Hooks = Hooks(16);
    /// `on_credential` and `on_authentication`.
    pub const CREDENTIAL: Hooks = Hooks(32);
    /// Every hook: the default, so that a hook is never forgotten.
    pub const ALL: Hooks = Hooks(63);

    /// True where all hooks of `other` are among these.
    pub const fn contains(self, other: Hooks) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Hooks {
    type Output = Hooks;

    fn bitor(self, other: Hooks) -> Hooks {
        Hooks(self.0 | other.0)
    }
}

/// The run-time half of a plugin: one compiled instance, shared by all requests. Every hook defaults to a
/// no-op. Hooks return, they never write: the gateway alone turns a verdict into bytes.
pub trait Plugin: Send + Sync + 'static {
    /// Which hooks are implemented. Narrow it to those that are: the others are then never called.
    fn hooks(&self) -> Hooks {
        Hooks::ALL
    }

    /// How much of the request's body `on_request_body` wants.
    fn request_body(&self) -> BodyNeed {
        BodyNeed::None
    }

    /// How much of the response's body `on_response_body` wants.
    fn response_body(&self) -> BodyNeed {
        BodyNeed::None
    }

    /// True where `on_request_body` never replaces a piece ([`BodyNeed::Stream`]): a body goes to the origin with the length
    /// that it announces, and to replace a piece all the same by one of another length is a fault. False, the default: it
    /// goes in chunks, whose lengths may be any.
    fn keeps_request_body(&self) -> bool {
        false
    }

    /// True for a plugin that cannot work where nothing authenticates: that is refused at load.
    fn needs_principal(&self) -> bool {
        false
    }

    /// Why a request must not pass where this instance has a fault, as an operator wrote it (`on_full: deny`):
    /// `on_fault: allow` is then refused at load.
    fn must_not_fail_open(&self) -> Option<&'static str> {
        None
    }

    /// True where `on_response` must also see answers that the gateway itself makes before `on_request` ran
    /// (cors, correlation-id, response-headers).
    fn on_every_response(&self) -> bool {
        false
    }

    /// True for a plugin that answers CORS preflights: the gateway then sends it the `OPTIONS` request of a
    /// route that does not take `OPTIONS` itself.
    fn answers_preflight(&self) -> bool {
        false
    }

    /// True for a plugin that answers every request it sees, so that its route needs no upstream.
    fn always_answers(&self) -> bool {
        false
    }

    /// Header names that this instance sets on the request to the origin. The gateway removes them from what
    /// clients send, on all routes. The test kit fails a plugin that sets one which is not here.
    fn writes_to_origin(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// Of these, the names whose value from a client this instance itself looks at. Where nobody else writes such a
    /// name, it is removed on the way to the origin, and not before plugins run.
    fn reads_from_client(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// The operations that this instance lets pass, where it knows them one by one. The gateway checks at load that what
    /// authenticates on the route is what their `security` asks for.
    fn operations(&self) -> &[Operation] {
        &[]
    }

    /// The request's head is there. Runs in the order of stages.
    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let _ = ex;
        Step::CONTINUE
    }

    /// An authenticator is about to look at what the request presents to it: pass, or deny before that costs anything.
    /// Called in stage screen alone, for each authenticator that is asked and finds something of its kind.
    fn on_credential<'a>(&'a self, ex: &'a mut Exchange, presented: &'a Presented) -> Step<'a> {
        let _ = (ex, presented);
        Step::CONTINUE
    }

    /// What the authenticator said of it, after each `on_credential` that passed, whatever follows: also where the
    /// authenticator is only monitored. A denial refuses what was good; what was not is refused as it is.
    fn on_authentication<'a>(
        &'a self,
        ex: &'a mut Exchange,
        presented: &'a Presented,
        tried: Tried,
    ) -> Step<'a> {
        let _ = (ex, presented, tried);
        Step::CONTINUE
    }

    /// A piece of the request's body, or all of it (see [`Plugin::request_body`]): pass, replace or deny.
    fn on_request_body<'a>(&'a self, ex: &'a mut Exchange, body: &'a mut Body) -> Step<'a> {
        let _ = (ex, body);
        Step::CONTINUE
    }

    /// The response's head is there. Runs in reverse order.
    fn on_response<'a>(&'a self, ex: &'a mut Exchange, head: &'a mut ResponseHeader) -> Step<'a> {
        let _ = (ex, head);
        Step::CONTINUE
    }

    /// A piece of the response's body, or all of it (see [`Plugin::response_body`]), decoded from its content
    /// coding. All of it can still be denied; a piece can only be cut off.
    fn on_response_body(&self, ex: &mut Exchange, body: &mut Body) -> Result<Verdict, Fault> {
        let _ = (ex, body);
        Ok(Verdict::Continue)
    }

    /// The request is over, whatever happened to it. Must not wait.
    fn on_log(&self, ex: &Exchange) {
        let _ = ex;
    }
}

/// Authenticators implement this instead of [`Plugin::on_request`].
pub trait Authenticator: Plugin {
    /// Looks for a credential and proves it. Never decides what follows: the chain does.
    fn authenticate<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a, Authentication>;

    /// Where it looks for credentials: what is written down of a request masks them.
    fn credential_places(&self) -> Vec<CredentialPlace>;

    /// What the request presents of its kind, good or not, before anything is verified; none where
    /// [`authenticate`](Authenticator::authenticate) would say [`Authentication::NoCredential`]. Must cost next to nothing:
    /// it is asked before whoever floods us with credentials is refused. Without an answer of its own it is all that
    /// stands in the headers and query parameters of [`credential_places`](Authenticator::credential_places).
    fn presented(&self, ex: &Exchange) -> Option<Presented> {
        Presented::found_in(ex, &self.credential_places())
    }

    /// The `WWW-Authenticate` challenge (RFC 9110 §11.6.1) for a 401.
    fn challenge(&self) -> HeaderValue;
}

/// The build-time half of a plugin: its name, its stage, its configuration, and the one way to be built.
pub trait PluginKind: Plugin + Sized {
    /// The name in the configuration: `key-auth`.
    const NAME: &'static str;
    /// One line for lists and documents.
    const SUMMARY: &'static str;
    /// What it guards: `palisade coverage` shows by it what stands before each operation. An authenticator guards
    /// [`Control::Authentication`] without saying so.
    const CONTROLS: &'static [Control] = &[];
    /// What an operator writes. Deny unknown fields; doc comments become the reference page.
    type Config: DeserializeOwned + JsonSchema;

    /// Where it stands; may depend on the configuration (a limit by address screens, one by consumer limits).
    fn stage(config: &Self::Config) -> Stage;

    /// Checks and compiles. The only way to get an instance.
    fn build(config: Self::Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors>;
}

/// A compiled instance, ready for the chain.
#[derive(Clone)]
pub enum Built {
    /// An ordinary plugin.
    Plugin(Arc<dyn Plugin>),
    /// An authenticator.
    Authenticator(Arc<dyn Authenticator>),
}

impl Built {
    /// The instance as a plugin, whichever it is.
    pub fn plugin(&self) -> &dyn Plugin {
        match self {
            Built::Plugin(plugin) => &**plugin,
            Built::Authenticator(authenticator) => &**authenticator,
        }
    }
}

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Built::Plugin(_) => "Plugin",
            Built::Authenticator(_) => "Authenticator",
        })
    }
}

type BuildFn = fn(&Node, &BuildEnv<'_>) -> Result<(Stage, Built), ConfigErrors>;
type CheckFn = fn(&Node) -> Result<(), ConfigErrors>;
type SchemaFn = fn(&mut SchemaGenerator) -> Schema;
type CredentialFn = fn(&Node) -> Result<Box<dyn Any + Send + Sync>, ConfigErrors>;

/// One row of a plugin registry.
#[derive(Clone, Copy)]
pub struct Descriptor {
    /// The name in the configuration.
    pub name: &'static str,
    /// One line for lists and documents.
    pub summary: &'static str,
    /// True where it authenticates.
    pub authenticates: bool,
    /// What it guards.
    pub controls: &'static [Control],
    /// The plugin of the same stage that it was moved before, if any.
    pub before: Option<&'static str>,
    build: BuildFn,
    check: CheckFn,
    schema: SchemaFn,
    credential: Option<(CredentialFn, SchemaFn)>,
}

impl Descriptor {
    /// The row of an ordinary plugin.
    pub const fn of<P: PluginKind>() -> Self {
        Descriptor {
            name: P::NAME,
            summary: P::SUMMARY,
            authenticates: false,
            controls: P::CONTROLS,
            before: None,
            build: |node, env| {
                let (stage, plugin) = build::<P>(node, env)?;
                Ok((stage, Built::Plugin(Arc::new(plugin))))
            },
            check: |node| node.deserialize::<P::Config>().map(drop),
            schema: |generator| generator.subschema_for::<P::Config>(),
            credential: None,
        }
    }

    /// The row of an authenticator.
    pub const fn authenticator<P: PluginKind + Authenticator>() -> Self {
        Descriptor {
            authenticates: true,
            controls: &[Control::Authentication],
            build: |node, env| {
                let (stage, plugin) = build::<P>(node, env)?;
                Ok((stage, Built::Authenticator(Arc::new(plugin))))
            },
            ..Descriptor::of::<P>()
        }
    }

    /// Consumers may hold a list of credentials of this type under the plugin's name; the plugin reads them
    /// with [`BuildEnv::credentials`].
    #[must_use]
    pub const fn with_credentials<C: DeserializeOwned + JsonSchema + Send + Sync + 'static>(
        mut self,
    ) -> Self {
        self.credential = Some((
            |node| node.deserialize::<C>().map(|value| Box::new(value) as Box<dyn Any + Send + Sync>),
            |generator| generator.subschema_for::<C>(),
        ));
        self
    }

    /// Checks that an entry's own fields have the right names and types, without building anything.
    pub fn check(&self, node: &Node) -> Result<(), ConfigErrors> {
        (self.check)(node)
    }

    /// Builds an instance from an entry's own fields (without the fields that every entry has).
    pub fn build(&self, node: &Node, env: &BuildEnv<'_>) -> Result<(Stage, Built), ConfigErrors> {
        (self.build)(node, env)
    }

    /// The JSON Schema of the entry's own fields.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }

    /// True where consumers may hold credentials for it.
    pub fn has_credentials(&self) -> bool {
        self.credential.is_some()
    }

    /// Reads one credential of a consumer; none where the plugin has no credentials.
    pub fn credential(&self, node: &Node) -> Option<Result<Box<dyn Any + Send + Sync>, ConfigErrors>> {
        self.credential.map(|(parse, _)| parse(node))
    }

    /// The JSON Schema of one credential.
    pub fn credential_schema(&self, generator: &mut SchemaGenerator) -> Option<Schema> {
        self.credential.map(|(_, schema)| schema(generator))
    }
}

fn build<P: PluginKind>(node: &Node, env: &BuildEnv<'_>) -> Result<(Stage, P), ConfigErrors> {
    let config = node.deserialize::<P::Config>()?;
    let stage = P::stage(&config);
    // Plugins name a field relative to their own configuration; here it becomes a place in a file.
    let plugin = P::build(config, env).map_err(|errors| errors.locate(node))?;
    Ok((stage, plugin))
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Descriptor").field("name", &self.name).finish_non_exhaustive()
    }
}
