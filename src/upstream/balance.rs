//! Which of an upstream's targets is next.

use super::{standing::WHOLE, target::Target};
use crate::conf::model::Balance;
use pingora::upstreams::peer::HttpPeer;
use pingora_ketama::{Bucket, Continuum};
use std::net::SocketAddr;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// The most steps of a round. Weights that need more are rounded.
const ROUND: u64 = 4096;

/// The targets of an upstream at one time. It never changes: another one takes its place.
pub(super) struct Set {
    /// By address, in order.
    pub(super) members: Vec<Member>,
    /// A round in which each member stands as often as it weighs, spread evenly.
    round: Vec<u32>,
    /// For `hash` alone.
    ring: Option<Continuum>,
}

/// A target with what is needed to connect to it.
pub(super) struct Member {
    pub(super) target: Arc<Target>,
    pub(super) peer: HttpPeer,
    pub(super) weight: u32,
    /// Host and port, as a request names them.
    pub(super) authority: Arc<str>,
}

/// How much of a member's weight counts, of [`WHOLE`]; 0 where it may not be chosen.
type Share<'a> = &'a dyn Fn(&Member) -> u32;

/// Where the balancing of an upstream stands.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU64);

impl Turn {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Set {
    pub(super) fn new(mut members: Vec<Member>, balance: &Balance) -> Self {
        members.sort_by_key(|member| member.target.address);
        let weights = reduced(members.iter().map(|member| u64::from(member.weight)));
        let ring = matches!(balance, Balance::Hash(_)).then(|| {
            let buckets: Vec<_> = members
                .iter()
                .zip(&weights)
                .map(|(member, weight)| {
                    Bucket::new(member.target.address, u32::try_from(*weight).unwrap_or(u32::MAX))
                })
                .collect();
            Continuum::new(&buckets)
        });
        Set { round: round(&weights), members, ring }
    }

    /// The target at an address.
    pub(super) fn target(&self, address: SocketAddr) -> Option<&Arc<Target>> {
        let index = self.members.binary_search_by_key(&address, |member| member.target.address).ok()?;
        self.members.get(index).map(|member| &member.target)
    }

    /// The next member; none where `share` gives all of them nothing.
    pub(super) fn next<'s>(
        &'s self,
        balance: &Balance,
        turn: &Turn,
        key: &[u8],
        share: Share<'_>,
    ) -> Option<&'s Member> {
        match (balance, &self.ring) {
            (Balance::Hash(_), Some(ring)) => self.on_ring(ring, key, share),
            (Balance::LeastConnections, _) => self.least_loaded(turn, share),
            (Balance::Random, _) => self.in_round(turn, share, mix),
            _ => self.in_round(turn, share, |step| step),
        }
        // Whoever is left over: a round that is walked by several at once may pass somebody by.
        .or_else(|| self.members.iter().find(|member| share(member) > 0))
    }

    fn in_round(&self, turn: &Turn, share: Share<'_>, at: impl Fn(u64) -> u64) -> Option<&Member> {
        // Each step is taken from the common turn, so that the share of one that is left out goes to all others.
        self.round.iter().find_map(|_| {
            let step = turn.next();
            let index = self.round.get(usize::try_from(at(step) % self.round.len() as u64).ok()?)?;
            self.members.get(usize::try_from(*index).ok()?).filter(|member| drawn(share(member), !step))
        })
    }

    /// The fewest requests in flight for what it weighs; of equals each in turn.
    fn least_loaded(&self, turn: &Turn, share: Share<'_>) -> Option<&Member> {
        let count = self.members.len();
        let first = usize::try_from(turn.next() % count.max(1) as u64).ok()?;
        let (before, from) = self.members.split_at(first);
        let weighed = from.iter().chain(before).filter_map(|member| {
            let capacity = u64::from(member.weight) * u64::from(share(member));
            let load = (member.target.in_flight() + 1) * u64::from(u32::MAX);
            load.checked_div(capacity).map(|load| (load, member))
        });
        weighed.min_by_key(|(load, _)| *load).map(|(_, member)| member)
    }

    fn on_ring(&self, ring: &Continuum, key: &[u8], share: Share<'_>) -> Option<&Member> {
        // While a target's share grows, the same keys come to it, and more of them.
        let draw = ring.node_idx(key) as u64;
        let mut point = ring.node_idx(key);
        let points = std::iter::from_fn(|| ring.get_addr(&mut point)).take(ROUND as usize);
        let found = points.filter_map(|address| {
            let index = self.members.binary_search_by_key(address, |member| member.target.address).ok()?;
            self.members.get(index)
        });
        found.into_iter().find(|member| drawn(share(member), draw))
    }
}

/// True as often as the share is of the whole, over all draws.
fn drawn(share: u32, draw: u64) -> bool {
    share == WHOLE || mix(draw) % u64::from(WHOLE) < u64::from(share)
}

/// Spreads numbers that follow each other over all there are.
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Weights in their lowest terms, not more than a round in all.
fn reduced(weights: impl Iterator<Item = u64>) -> Vec<u64> {
    let weights: Vec<u64> = weights.collect();
    let divisor = weights.iter().fold(0, |a, b| gcd(a, *b)).max(1);
    let weights: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
    let total: u64 = weights.iter().sum();
    if total <= ROUND {
        return weights;
    }
    weights.iter().map(|weight| (weight * ROUND / total).max(1)).collect()
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Each step is the member that lags most behind its share.
fn round(weights: &[u64]) -> Vec<u32> {
    let total: u64 = weights.iter().sum();
    let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let mut credit = vec![0i64; weights.len()];
    (0..total)
        .filter_map(|_| {
            for (credit, weight) in credit.iter_mut().zip(weights) {
                *credit += signed(*weight);
            }
            // The first of equals.
            let (index, most) = credit.iter_mut().enumerate().rev().max_by_key(|(_, credit)| **credit)?;
            *most -= signed(total);
            u32::try_from(index).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_even() {
        for (weights, expected) in [
            (&[1][..], &[0][..]),
            (&[1, 1, 1], &[0, 1, 2]),
            (&[7, 7], &[0, 1]),
            (&[2, 1], &[0, 1, 0]),
            (&[5, 1, 1], &[0, 0, 1, 0, 2, 0, 0]),
            (&[3, 3, 6], &[2, 0, 1, 2]),
            (&[], &[]),
        ] {
            assert_eq!(round(&reduced(weights.iter().copied())), expected, "{weights:?}");
        }
    }

    #[test]
    fn a_round_is_bounded() {
        for weights in
            [vec![1000, 999, 997], vec![839; 500], (1..=1000).collect(), vec![1, u64::from(u32::MAX)]]
        {
            let weights = reduced(weights.into_iter());
            let total = round(&weights).len();
            assert!(total <= 2 * ROUND as usize && total >= weights.len(), "{total}");
        }
    }
}
