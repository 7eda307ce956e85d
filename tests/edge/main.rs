//! The connection layer over real sockets: a small proxy behind it, a real origin behind that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may panic"
)]

mod bodies;
mod connections;
mod floods;
#[path = "../e2e/frames.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod frames;
mod http1;
mod http2;
mod http2_limits;
mod http2_unfinished;
mod support;
