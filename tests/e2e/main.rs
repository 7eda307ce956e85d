//! The gateway from outside: the built binary, real sockets, one file a feature.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests may panic"
)]

mod authority;
mod client;
mod harness;
mod tokens;

mod audit;
mod auth;
mod bodies;
mod canonical;
mod carried;
mod cors;
mod examples;
mod expiry;
mod faults;
mod flapping;
mod h2c;
mod health;
mod http2;
mod jwt;
mod kept;
mod last_piece;
mod leaving;
mod life;
mod limits;
mod misdirected;
mod mtls;
mod origin;
mod plugins;
mod pools;
mod proxy_protocol;
mod resumption;
mod retries;
mod revocation;
mod routing;
mod successors;
mod surplus;
mod tls;
mod upgrade;
mod upstreams;
mod wire;
