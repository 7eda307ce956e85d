//! Targets as people and tools see them: `GET /upstreams`.

use super::{State, Target, standing::Rules};
use serde::Serialize;
use std::net::SocketAddr;

/// A target of the configuration.
#[derive(Debug, Serialize)]
pub struct TargetView {
    /// As written.
    pub address: String,
    /// What the name stands for.
    pub resolved: Vec<SocketAddr>,
    /// Its weight.
    pub weight: u16,
    /// Those addresses that requests go to.
    pub addresses: Vec<AddressView>,
}

/// One address of a target.
#[derive(Debug, Serialize)]
pub struct AddressView {
    /// The address.
    pub address: SocketAddr,
    /// Whether it may be chosen.
    pub state: State,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests begun.
    pub requests: u64,
    /// How often failed requests have put it aside.
    pub ejections: u64,
}

impl AddressView {
    pub(super) fn of(target: &Target, rules: Rules) -> Self {
        AddressView {
            address: target.address,
            state: target.standing.state(rules),
            in_flight: target.in_flight(),
            requests: target.begun(),
            ejections: target.ejections(),
        }
    }
}
