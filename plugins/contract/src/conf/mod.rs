//! The configuration as written: spanned YAML in, errors with a caret out.
//!
//! | Module | What is in it |
//! |---|---|
//! | [`node`] | [`Node`]: a YAML value that knows where it stands |
//! | [`parse`](mod@parse) | text to a [`Node`], references (`${env:…}`, `${file:…}`) resolved |
//! | `de` | a serde deserializer over a [`Node`] |
//! | [`error`] | [`Place`], [`ConfigError`] and how they are shown |
//! | [`units`] | durations (`250ms`), sizes (`16KiB`) and other scalar types of the configuration |

mod de;
pub mod error;
pub mod node;
pub mod parse;
mod reference;
pub mod units;

pub use de::suggest;
pub use error::{ConfigError, ConfigErrors, Place, Sources};
pub use node::{Node, Value};
pub use parse::parse;
pub use units::{Cidr, HumanDuration, Size};
