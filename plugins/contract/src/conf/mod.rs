//! The configuration as written: spanned YAML in, errors with a caret out.
//!
//! | Module | What is in it |
//! |---|---|
//! | [`node`] | [`Node`]: a YAML value that knows where it stands |
//! | [`parse`](mod@parse) | text to a [`Node`]; `reference` resolves `${env:…}` and `${file:…}` |
//! | `de` | a serde deserializer over a [`Node`] |
//! | [`at`] | [`At`]: a value that knows where it was written, for configuration types |
//! | [`error`] | [`Place`], [`ConfigError`]; `render` shows them, `mask` keeps secrets out |
//! | [`units`] | durations (`250ms`), sizes (`16KiB`) and other scalar types of the configuration |
//! | [`words`] | `did you mean …` |

pub mod at;
mod de;
mod de_access;
mod de_error;
pub mod error;
mod mask;
pub mod node;
pub mod parse;
mod path;
mod reference;
mod render;
mod scalar;
pub mod units;
pub mod words;

pub use at::At;
pub use error::{ConfigError, ConfigErrors, Place};
pub use node::{Node, Value};
pub use parse::{Parsed, parse, parse_all, parse_plain};
pub use render::Sources;
pub use units::{Cidr, HumanDuration, Size, from_text};
pub use words::suggest;
