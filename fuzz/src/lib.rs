//! What is fuzzed, as plain functions that panic where something is wrong.
//!
//! `fuzz/run TARGET SECONDS` runs one under libFuzzer. `tests/fuzz.rs` runs all of them over `corpus/` and over inputs
//! made of it, the same ones each time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests may panic"
)]

pub mod conf;
pub mod consumers;
pub mod frames;
pub mod framing;
pub mod mutate;
pub mod path;
pub mod proxy_protocol;
pub mod smoke;
mod strict;
