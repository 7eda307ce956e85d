//! The configuration directory.

pub mod model;
