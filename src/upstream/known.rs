//! What is known of targets, on its way to the process that takes over.

use super::{Upstream, standing::Record};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Instant};

/// What is known of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    address: SocketAddr,
    #[serde(flatten)]
    record: Record,
}

impl Upstream {
    /// Addresses of which more is known than that they are there.
    pub fn known(&self) -> Vec<Known> {
        let now = Instant::now();
        let set = self.set.load();
        let record =
            |target: &super::Target| Known { address: target.address, record: target.standing.record(now) };
        let all = set.members.iter().map(|member| record(&member.target));
        all.filter(|known| known.record != Record::default()).collect()
    }

    /// Knows it as well, of addresses that it has.
    pub fn know(&self, known: &[Known]) {
        let (now, set) = (Instant::now(), self.set.load());
        for Known { address, record } in known {
            if let Some(target) = set.target(*address) {
                target.standing.recall(record, now);
            }
        }
    }
}
