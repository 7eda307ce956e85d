//! Consumers outside of the configuration: many of them, which come and go without a reload.
//!
//! | Module | What is in it |
//! |---|---|
//! | `line` | one consumer as it is written: a line of JSON |
//! | `part` | the consumers of one file, packed |
//! | `slots` | numbers found by a hash |
//! | `table` | all files together, and what clashes |
//! | `files` | which files there are, read again where they have changed |
//! | [`directory`] | a directory of such files, looked at again and again |
//! | [`store`] | a store that is asked when a credential comes |
//! | `cache` | what it said a short while ago |
//! | [`record`] | what stands in a store |

mod cache;
pub mod directory;
mod files;
mod line;
mod part;
pub mod record;
mod slots;
pub mod store;
mod table;

pub use directory::Directory;
pub use files::ENDING;
pub use line::{Line, Problem};
pub use store::StoreSource;

use palisade_contract::{ConsumerSource, Place};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

/// The most bytes of one consumer as it is written.
pub const MAX_LINE: usize = 64 << 10;

/// What the configuration itself holds, which nobody else may have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Consumers by name, and where each is written.
    pub names: HashMap<Arc<str>, Place>,
    /// Keys by their hash: whose each is, and where it is written.
    pub keys: HashMap<[u8; 32], (Arc<str>, Place)>,
}

/// The source of a snapshot.
#[derive(Clone)]
pub enum Source {
    /// A directory of files.
    Directory(Arc<Directory>),
    /// A store.
    Store(Arc<StoreSource>),
}

/// How a source is, for people and metrics.
#[derive(Debug, Clone)]
pub struct View {
    /// `directory` or `store`.
    pub kind: &'static str,
    /// Where it is.
    pub at: String,
    /// False where something is wrong, and what was known before holds.
    pub ok: bool,
    /// What is wrong; empty where nothing is.
    pub error: String,
    /// When what it serves was read; none for a store.
    pub loaded_at: Option<SystemTime>,
    /// How many consumers and credentials it holds; none for a store, which does not tell.
    pub sizes: Option<(usize, usize)>,
    /// Counts of events by their name.
    pub events: BTreeMap<&'static str, u64>,
}

impl Source {
    /// As plugins see it.
    pub fn shared(&self) -> Arc<dyn ConsumerSource> {
        match self {
            Source::Directory(source) => source.clone(),
            Source::Store(source) => source.clone(),
        }
    }

    /// How it is.
    pub fn view(&self) -> View {
        match self {
            Source::Directory(source) => source.view(),
            Source::Store(source) => source.view(),
        }
    }
}
