//! Lockouts that an operator may see and end, through the admin API.

use serde_json::Value;
use std::{fmt, net::IpAddr, sync::Arc};

use crate::verdict::BoxFuture;

/// Whose lockouts are ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Those of the network that an address is in.
    Ip(IpAddr),
    /// Those of an account, by its name, for all networks; or of a principal, by its id.
    Account(String),
    /// Everybody's.
    All,
}

/// Something that locks callers out for a time. What plugins keep implements it
/// ([`BuildEnv::show_lockouts`](crate::BuildEnv::show_lockouts)).
pub trait Lockouts: Send + Sync + 'static {
    /// Those of now, with bounds: an object each. Nothing secret may be in it.
    fn list(&self) -> Vec<Value>;

    /// Ends some; how many there were.
    fn end(&self, whom: Whom) -> BoxFuture<'_, usize>;
}

/// The lockouts of one entry.
#[derive(Clone)]
pub struct LockoutsOf {
    /// The route that it stands in; none for one that is everywhere.
    pub route: Option<Arc<str>>,
    /// Its key.
    pub entry: Arc<str>,
    /// They.
    pub lockouts: Arc<dyn Lockouts>,
}

impl fmt::Debug for LockoutsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockoutsOf({:?} {})", self.route, self.entry)
    }
}
