//! palisade, an API security gateway on Pingora.
//!
//! | Module | What is in it |
//! |---|---|
//! | [`admin`] | the admin API and the probes |
//! | [`cli`] | the command line, one file a subcommand |
//! | [`conf`] | the configuration directory, read and checked |
//! | [`consumers`] | consumers outside of the configuration, up to millions |
//! | [`gateway`] | the compiled snapshot that requests are served by |
//! | [`router`], [`fold`], `unicode` | host, path, method and headers to a route; look-alikes of a path |
//! | [`chain`] | a route's plugins in order |
//! | [`when`] | the conditions of entries |
//! | [`policy`] | policy tests, and what a configuration does without being run |
//! | [`proxy`] | Pingora's phases |
//! | [`respond`] | from a verdict to an HTTP response |
//! | [`edge`] | connections, framing, the one canonical request |
//! | [`upstream`] | balancing, and the peers that Pingora connects to |
//! | [`host`] | what plugins have outside of requests: HTTP calls, background work, time |
//! | [`serve`] | the small HTTP server of the admin API and the demo API |
//! | [`server`] | the running process: start, reload, drain |
//! | [`metrics`], [`logging`], [`demo`], `pem` | what their names say |
//!
//! A gateway with plugins of its own: see [`Builder`].
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        reason = "tests may panic"
    )
)]

pub mod admin;
pub mod budget;
mod builder;
pub mod chain;
pub mod cli;
mod coding;
pub mod conf;
pub mod consumers;
pub mod demo;
pub mod edge;
pub mod fold;
pub mod gateway;
pub mod host;
pub mod logging;
pub mod metrics;
mod owned;
pub mod path;
mod pem;
pub mod policy;
pub mod proxy;
pub mod respond;
pub mod router;
pub mod serve;
pub mod server;
mod unicode;
pub mod upstream;
pub mod when;

pub use builder::Builder;
pub use palisade_plugins as plugins;

/// A gateway binary with the plugins that palisade ships with; add your own.
pub fn builder() -> Builder {
    Builder::default()
}
