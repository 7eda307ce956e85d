//! What plugins that read bearer tokens have in common: a token means the same, whoever has verified it.
//!
//! | File | What is in it |
//! |---|---|
//! | `address` | where those who make tokens are called |
//! | `places` | where a token stands in a request |
//! | `shape` | whether it is a JWT, before anything is proved |
//! | `claims` | what the claims must be |
//! | `bound` | tokens that belong to a client's certificate |
//! | `identity` | who they say is calling |
//! | `refusal`, `challenge` | why a token is refused, and what the client is told |
//! | `cache` | what is known of tokens that were seen before |

pub(crate) mod address;
pub(crate) mod bound;
pub(crate) mod cache;
pub(crate) mod challenge;
pub(crate) mod claims;
pub(crate) mod config;
pub(crate) mod identity;
pub(crate) mod places;
pub(crate) mod refusal;
pub(crate) mod shape;

pub use config::TokenCredential;

use std::time::{SystemTime, UNIX_EPOCH};

/// The longest token, in bytes.
pub(crate) const MAX_TOKEN: usize = 16 * 1024;

/// A time in seconds since 1970.
pub(crate) fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or(0)
}

/// A time in milliseconds since 1970.
pub(crate) fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok()).unwrap_or(0)
}
