//! What a palisade plugin is.
//!
//! A plugin crate needs this crate alone. Start with [`PluginKind`] (how a plugin is named, configured and
//! built) and [`Plugin`] (what it may do with a request); an authenticator implements [`Authenticator`] as well.
//!
//! | Module | What is in it |
//! |---|---|
//! | [`plugin`] | the traits, the stages and hooks, the [`Descriptor`] that stands in a registry |
//! | [`exchange`] | one request and its response, as a plugin sees them |
//! | [`verdict`] | what a plugin decides: [`Verdict`], [`Denial`], [`Reply`], [`Authentication`], [`Fault`] |
//! | [`principal`] | who is calling: [`Principal`], [`Consumer`] |
//! | [`decision`] | what is recorded of each plugin that ran |
//! | [`attempt`] | what a request presents to an authenticator, for plugins that watch failures |
//! | [`carry`] | what is known in memory and goes along when another process takes over |
//! | [`control`] | what a plugin guards, for who asks what guards an operation |
//! | [`counters`] | what a plugin counts besides its decisions, for the metrics |
//! | [`credentials`] | where requests hold credentials, which must never be written down |
//! | [`env`](mod@env) | what a plugin is given while it is built |
//! | [`host`] | HTTP calls, background work and time, outside of requests |
//! | [`lockouts`] | lockouts that an operator may see and end |
//! | [`operations`] | the operations that a description of an API declares |
//! | [`conf`] | the configuration as written: spanned YAML, errors with a caret, durations and sizes |
//! | [`secret`] | values that never show in a log, an error or a debug print |
//! | [`source`] | consumers that stand outside of the configuration |
//! | [`store`] | state that several gateways share |
//! | `testkit` | drives one plugin from a table of requests, without sockets (feature `testkit`) |
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")
)]

pub mod attempt;
pub mod carry;
pub mod conf;
pub mod control;
pub mod counters;
pub mod credentials;
pub mod decision;
pub mod env;
pub mod exchange;
pub mod host;
pub mod lockouts;
pub mod operations;
pub mod plugin;
pub mod principal;
pub mod secret;
pub mod source;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod verdict;

pub use attempt::{Presented, Tried};
pub use carry::Carry;
pub use conf::{ConfigError, ConfigErrors, Node, Place, Value};
pub use control::Control;
pub use counters::{Counter, Counters};
pub use credentials::{CredentialPlace, CredentialPlaces};
pub use decision::{Decision, Effect, EntryInfo, Mode, Scope};
pub use env::BuildEnv;
pub use exchange::{Body, Client, Exchange, Finding, OriginChanges, Outcome, PeerCertificate, Tls};
pub use host::{Host, HttpClient, HttpError, HttpIdentity, HttpSettings, Task};
pub use lockouts::{Lockouts, Whom};
pub use operations::{CredentialKind, Operation, Requirement};
pub use pingora_http::{RequestHeader, ResponseHeader};
pub use plugin::{Authenticator, BodyNeed, Built, Descriptor, Hooks, Plugin, PluginKind, Stage};
pub use principal::{Consumer, Principal};
pub use secret::Secret;
pub use source::{ConsumerSource, Held};
pub use store::{Answer, Command, Store, StoreError, Stores};
pub use verdict::{Authentication, Denial, Fault, Reply, Step, Verdict};
