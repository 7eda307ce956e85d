//! The plugins that palisade ships with: one table, in the order in which they run inside a stage.

use palisade_contract::Descriptor;

/// Registry, execution order inside a stage, and order in the documents.
pub static PLUGINS: &[Descriptor] = &[];
