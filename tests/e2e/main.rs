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
mod issuers;
mod ports;
mod signer;

mod attacks;
mod audit;
mod audit_sinks;
mod auth;
mod basic_auth;
mod bodies;
mod buffers;
mod canonical;
mod carried;
mod client_certificates;
mod consumers;
mod cors;
mod data_mask;
mod denied;
mod examples;
mod expects;
mod expiry;
mod faults;
mod flapping;
mod guarded;
mod guarded_store;
mod h2_origins;
mod h2_uploads;
mod h2c;
mod hashing;
mod health;
mod http2;
mod introspection;
mod jwt;
mod kept;
mod last_piece;
mod leaving;
mod life;
mod limits;
mod misdirected;
mod mtls;
mod oidc;
mod openapi;
mod origin;
mod outlier;
mod plugins;
mod pools;
mod positive;
mod pressure;
mod proxy_protocol;
mod rate_limiting;
mod reload;
mod resumption;
mod retries;
mod revocation;
mod routing;
mod signed;
mod successors;
mod surplus;
mod tls;
mod trial;
mod upgrade;
mod waf;
mod walkthrough;
mod wire;
mod wiring;
mod workers;
mod written_answers;
