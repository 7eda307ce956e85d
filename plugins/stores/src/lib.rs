//! State that several gateways share: Redis alone, behind sentinels, or as a cluster.
//!
//! [`Settings`] are read from the configuration, [`RedisStore`] is the [`Store`](palisade_contract::Store) that plugins
//! find by name. Connections are made and looked after in the background (`supervise`); a command uses what is there.
//! It takes `timeout` at most, and where the server is known to be gone (`lanes`) it fails without waiting.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")
)]

mod lanes;
mod link;
mod settings;
mod store;
mod supervise;

pub use settings::{Bad, Sentinel, Settings, Written};
pub use store::{Health, RedisStore};
