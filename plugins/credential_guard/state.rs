//! What is known of everybody who calls: who has failed how often, and who has succeeded from where.

use super::{
    record::{Record, Terms},
    shared::Shared,
    table::{Clock, Kind, Room, Table},
};
use lru::LruCache;
use palisade_contract::Presented;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::Arc,
};

/// Credentials of strangers that are looked at at once for one network, where none of them has failed.
const FLYING: u32 = 64;
/// Lockouts that can be listed.
const SHOWN: NonZeroUsize = NonZeroUsize::new(1000).unwrap();

/// An IPv6 client has a /64 at least to choose addresses from.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What one request is counted under.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    pub(super) network: IpAddr,
    pub(super) ip: u64,
    pub(super) credential: u64,
    /// The client: its account, or where the scheme has none its credential, from its network.
    pub(super) good: u64,
    /// The account from everywhere, and from its network.
    pub(super) account: Option<(u64, u64)>,
}

/// Limits, as they are in force.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) ip: Terms,
    pub(super) pair: Terms,
    pub(super) credential: Terms,
    pub(super) account: Terms,
    pub(super) all: Terms,
    pub(super) room: Room,
    /// How long a success is remembered, in nanoseconds.
    pub(super) remember: u64,
}

impl Limits {
    /// Under an attack by many, each of them has a quarter of its failures.
    pub(super) fn ip(&self, attacked: bool) -> Terms {
        if attacked { self.ip.stricter(self.ip.failures / 4) } else { self.ip }
    }

    /// Of an account that is attacked from many networks, one that nobody has succeeded from for it has a single try.
    pub(super) fn pair(&self, attacked: bool) -> Terms {
        if attacked { self.pair.stricter(1) } else { self.pair }
    }
}

/// Why a credential is not looked at, and for how long, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused(pub(super) Kind, pub(super) u64);

/// What a lockout is of, for who lists them.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) kind: Kind,
    pub(super) network: IpAddr,
    pub(super) account: Option<Arc<str>>,
    /// Its key in the store.
    pub(super) stored: Option<String>,
}

pub(super) struct State {
    pub(super) clock: Clock,
    pub(super) failures: Table,
    pub(super) good: Table,
    pub(super) all: Mutex<Record>,
    pub(super) shown: Mutex<LruCache<u64, Shown>>,
    /// Where lockouts are ended for other gateways too.
    pub(super) ends: Mutex<Option<(Shared, Limits)>>,
}

/// A stranger's credential that is being looked at; it lands when this is dropped.
pub(super) struct Ticket {
    state: Arc<State>,
    ip: u64,
    shared: bool,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.state.failures.land(self.ip, self.shared);
    }
}

impl State {
    pub(super) fn new() -> Self {
        State {
            clock: Clock::new(),
            failures: Table::new(),
            good: Table::new(),
            all: Mutex::new(Record::default()),
            shown: Mutex::new(LruCache::new(SHOWN)),
            ends: Mutex::new(None),
        }
    }

    pub(super) fn keys(&self, ip: IpAddr, route: &str, presented: &Presented) -> Keys {
        let (network, digest, key) =
            (network(ip), presented.digest(), |kind, parts: &[&[u8]]| self.clock.key(kind, parts));
        let from = octets(network);
        let (client, account) = match presented.name() {
            Some(name) => {
                let of = (self.account_key(name), key(Kind::Pair, &[name.as_bytes(), &from]));
                (name.as_bytes(), Some(of))
            }
            None => (&digest[..], None),
        };
        Keys {
            network,
            ip: self.ip_key(network),
            credential: key(Kind::Credential, &[route.as_bytes(), digest]),
            // Told apart: a name may be as long as a digest.
            good: key(Kind::Good, &[client, &from, &[u8::from(account.is_some())]]),
            account,
        }
    }

    pub(super) fn account_key(&self, name: &str) -> u64 {
        self.clock.key(Kind::Account, &[name.as_bytes()])
    }

    pub(super) fn ip_key(&self, ip: IpAddr) -> u64 {
        self.clock.key(Kind::Ip, &[&octets(network(ip))])
    }

    /// Where it is remembered that a shared store was not told of a failure of a key.
    pub(super) fn missed_key(&self, key: u64) -> u64 {
        self.clock.key(Kind::Missed, &[&key.to_le_bytes()])
    }

    /// For how long exactly this credential, or this account from this network, is locked out.
    pub(super) fn locked(&self, key: u64, now: u64) -> Option<u64> {
        self.failures.exact(key)?.locked(now)
    }

    pub(super) fn is_good(&self, key: u64, now: u64) -> bool {
        self.good.exact(key).is_some_and(|record| record.full > now)
    }

    /// True while all failures together are too many.
    pub(super) fn is_attacked(&self, now: u64) -> bool {
        self.all.lock().locked(now).is_some()
    }

    /// Lets a stranger's credential be looked at, where his network may still fail. `left` is how often, where a store
    /// has said so.
    pub(super) fn admit(
        self: &Arc<Self>,
        keys: &Keys,
        limits: &Limits,
        left: Option<u32>,
        now: u64,
    ) -> Result<Ticket, Refused> {
        let terms = limits.ip(self.is_attacked(now));
        let look = |record: &mut Record| {
            if let (Some(wait), None) = (record.locked(now), left) {
                return Err(wait);
            }
            let left = left.unwrap_or_else(|| record.left(&terms, now));
            // Who has not failed yet may come with many at once.
            let most = if left >= terms.failures { left.max(FLYING) } else { left };
            if u32::from(record.flying) >= most {
                return Err(record.wait(&terms, now));
            }
            record.flying = record.flying.saturating_add(1);
            Ok(())
        };
        let (looked, shared) = self.failures.change(keys.ip, limits.room, now, look);
        match looked {
            Ok(()) => Ok(Ticket { state: self.clone(), ip: keys.ip, shared }),
            Err(wait) => Err(Refused(Kind::Ip, wait)),
        }
    }

    /// Counts a failure; the lockouts that it begins, with how long they last.
    pub(super) fn fail(&self, keys: &Keys, limits: &Limits, now: u64) -> Failed {
        // The same credential again is no other guess.
        let repeated = self.failures.exact(keys.credential).is_some_and(|record| record.full > now);
        let count = |key: u64, owner: u64, terms: &Terms| {
            self.failures.change(key, limits.room, now, |record| {
                record.owner = owner;
                record.fail(terms, now)
            })
        };
        let (credential, first) = count(keys.credential, 0, &limits.credential);
        let attack = {
            let mut all = self.all.lock();
            let before = all.locked(now).is_some();
            all.fail(&limits.all, now).is_some() && !before
        };
        let (ip, second) = count(keys.ip, 0, &limits.ip(self.is_attacked(now)));
        let mut failed =
            Failed { repeated, credential, ip, attack, together: first || second, ..Failed::default() };
        if let Some((account, key)) = keys.account.filter(|_| !repeated) {
            let before = self.locked(account, now).is_some();
            failed.everywhere = count(account, account, &limits.account).0.is_some() && !before;
            let attacked = !self.is_good(keys.good, now) && self.locked(account, now).is_some();
            failed.pair = count(key, account, &limits.pair(attacked)).0;
        }
        failed
    }

    /// Counts against a genuine credential that is refused: against itself alone, since it is no guess.
    pub(super) fn stale(&self, keys: &Keys, limits: &Limits, now: u64) -> Failed {
        let fail = |record: &mut Record| record.fail(&limits.credential, now);
        let (credential, together) = self.failures.change(keys.credential, limits.room, now, fail);
        Failed { credential, together, ..Failed::default() }
    }

    /// Remembers a success, and forgets what has failed for the account from this network. True where it was not known.
    pub(super) fn succeed(&self, keys: &Keys, limits: &Limits, now: u64) -> bool {
        if let Some((_, pair)) = keys.account {
            self.failures.remove(pair);
        }
        let half = now.saturating_add(limits.remember / 2);
        if self.is_good(keys.good, half) {
            return false;
        }
        let until = now.saturating_add(limits.remember);
        self.remember(keys.good, until, limits, now);
        if let Some((account, _)) = keys.account {
            // Somebody has it: its name may be shown.
            self.remember(account, until, limits, now);
        }
        true
    }

    pub(super) fn remember(&self, key: u64, until: u64, limits: &Limits, now: u64) {
        self.good.change(key, limits.room, now, |record| record.full = record.full.max(until));
    }

    /// How an account is called where others read it: by its name once somebody has proved to have it, else by a hash, since
    /// people write passwords in the wrong place.
    pub(super) fn called(&self, name: &str, now: u64) -> Arc<str> {
        if self.is_good(self.account_key(name), now) {
            return name.into();
        }
        let digest = Sha256::digest(name);
        format!("sha256:{}", hex::encode(digest.get(..6).unwrap_or_default())).into()
    }
}

/// What a failure has begun.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failed {
    /// The credential was refused before, a short while ago.
    pub(super) repeated: bool,
    pub(super) credential: Option<u64>,
    pub(super) ip: Option<u64>,
    pub(super) pair: Option<u64>,
    /// All failures have become too many.
    pub(super) attack: bool,
    /// The account's failures from everywhere have become too many.
    pub(super) everywhere: bool,
    /// There was no room for a record of its own.
    pub(super) together: bool,
}
