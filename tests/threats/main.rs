//! What the gateway must not be fooled by: one small test for each clause of the policy, named after it, over real
//! sockets against the built gateway. What must still work stands beside what is refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests may panic"
)]

#[path = "../e2e/client.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod client;
#[path = "../e2e/frames.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod frames;
#[path = "../e2e/harness.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod harness;
#[path = "../e2e/issuers.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod issuers;
#[path = "../e2e/origin.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod origin;
#[path = "../e2e/signer.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod signer;

mod gate;

mod credentials;
mod framing;
mod guesses;
mod headers;
mod hosts;
mod http2;
mod origins;
mod overrides;
mod path;
mod refusals;
mod schemes;
mod tokens;
mod upgrade;
