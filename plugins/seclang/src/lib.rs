#![doc = include_str!("../README.md")]

mod body;
mod bytes;
mod config;
mod engine;
mod error;
mod injection;
mod load;
mod operator;
mod plan;
mod rule;
mod ruleset;
mod template;
mod transaction;
mod transform;
mod variable;

pub use config::{Config, OverLimit};
pub use engine::outcome::{Intervention, MatchedRule, MatchedVariable, Scores, Verdict};
pub use error::{LoadError, LoadErrors};
pub use load::{Builder, expand};
pub use rule::{Engine, Processor};
pub use ruleset::{RuleInfo, RuleSet};
pub use transaction::Transaction;
