//! Consumers that stand outside of the configuration: many of them, which come and go without a reload.
//!
//! An authenticator looks for a credential among those of the configuration first, and then here
//! ([`BuildEnv::source`](crate::BuildEnv::source)).

use std::{sync::Arc, time::SystemTime};

use crate::{principal::Principal, verdict::Step};

/// A credential that somebody holds.
#[derive(Debug, Clone)]
pub struct Held {
    /// Whose it is.
    pub principal: Arc<Principal>,
    /// From then on it is refused.
    pub expires: Option<SystemTime>,
}

/// Where such consumers are found.
pub trait ConsumerSource: Send + Sync + 'static {
    /// Who holds the key of this SHA-256; none where nobody does. A fault where that cannot be told: the request is
    /// refused.
    fn find_key(&self, hash: &[u8; 32]) -> Step<'static, Option<Held>>;
}
