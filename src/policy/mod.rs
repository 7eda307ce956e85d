//! What a configuration does, without running it: policy tests, the way of one request, and what guards what.
//!
//! | Module | What is in it |
//! |---|---|
//! | `written`, `case` | files of policy tests: as written, and what is right of them |
//! | `world`, `host`, `store` | a gateway without a network: a clock that is told, dependencies and stores that are mocked |
//! | `judge` | what was expected and what came |
//! | `run`, `report`, `junit` | running files, and saying what came of it |
//! | `explain`, `near` | the way of one request; why it has its route and not a neighbour |
//! | `coverage` | which controls stand before each operation |
//!
//! Requests go through [`crate::proxy::Attempt`], which runs what the proxy runs.

mod case;
mod coverage;
mod explain;
mod host;
mod judge;
mod junit;
mod near;
mod report;
mod request;
mod run;
mod store;
mod world;
mod written;

pub use coverage::{Coverage, Operation, coverage};
pub use explain::{Explained, Question, explain};
pub use near::Near;
pub use report::report;
pub use run::{Run, run};
pub use world::load;
pub use written::schema;
