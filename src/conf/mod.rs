//! The configuration directory, from bytes to [`model::Config`], with every error at once.
//!
//! | Module | What is in it |
//! |---|---|
//! | [`model`] | the configuration, read and checked entry by entry |
//! | `load` | which files, and how they merge |
//! | `raw` | the sections as written; the schema for editors is derived from the same types |
//! | `sections` | listeners, limits, admin, upstreams |
//! | `routes` | routes and their patterns |
//! | `entries` | plugin entries and consumers |
//! | [`schema`] | JSON Schema of the whole configuration |

mod entries;
mod load;
pub mod model;
mod raw;
mod routes;
pub mod schema;
mod sections;

pub use load::{LoadError, load};
pub use palisade_contract::conf::suggest;
