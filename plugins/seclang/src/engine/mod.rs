//! The evaluation of rules over one transaction.

pub(crate) mod kept;
mod link;
mod mask;
pub(crate) mod outcome;
pub(crate) mod phase;
pub(crate) mod state;
pub(crate) mod store;
mod tx;
mod values;

pub(crate) use link::{Hit, Kind, Run};
pub(crate) use phase::bit;
pub(crate) use store::Store;
