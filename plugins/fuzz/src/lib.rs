//! What is fuzzed, as plain functions that panic where something is wrong.
//!
//! `fuzz/run TARGET SECONDS` runs one under libFuzzer; the crate's `tests/fuzz.rs` runs all of them over inputs made of
//! `corpus/`, the same ones each time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may panic"
)]

pub mod description;
pub mod mask;
pub mod parameters;
pub mod styles;
