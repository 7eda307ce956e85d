//! The configuration directory, from bytes to [`model::Config`], with every error at once.
//!
//! | Module | What is in it |
//! |---|---|
//! | [`model`] | the configuration, read and checked entry by entry |
//! | `files` | which files are configuration |
//! | `load` | how they merge |
//! | `raw` | the sections as written; the schema for editors is derived from the same types |
//! | `addresses` | what is listened on, held side by side |
//! | `sections` | listeners, limits, client addresses, admin |
//! | `upstreams` | upstreams |
//! | `stores` | state that several gateways share |
//! | `consumer_source` | where consumers are that stand outside of the configuration |
//! | `names` | what can be a name, and a group |
//! | `routes` | routes and their patterns |
//! | `entries` | plugin entries and consumers |
//! | [`schema`] | JSON Schema of the whole configuration |

mod addresses;
mod consumer_source;
mod entries;
mod files;
mod load;
pub mod model;
mod model_upstream;
pub(crate) mod names;
mod raw;
mod raw_upstream;
mod resilience;
mod routes;
pub mod schema;
mod sections;
mod stores;
mod upstreams;

pub use load::{LoadError, Read, load, read};
pub use palisade_contract::conf::suggest;
