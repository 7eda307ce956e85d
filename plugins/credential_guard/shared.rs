//! Counting together with other gateways, in a store.
//!
//! A key is one hash: `full`, `until` and `level` of a record in milliseconds of the store's own clock, and when it failed
//! last. Those of an account have its hash as their tag, so that they are of one node in a cluster. What stands for a
//! credential never goes there where it could be a password.

use super::{record::Terms, state::Limits, table::Kind};
use futures::future::{join, join3};
use palisade_contract::{Answer, Command, Presented, Store, StoreError};
use sha2::{Digest, Sha256};
use std::{net::IpAddr, sync::Arc};

const SCRIPT: &str = include_str!("shared.lua");
/// Nanoseconds of a millisecond.
const MILLI: u64 = 1_000_000;

#[derive(Clone)]
pub(super) struct Shared {
    store: Arc<dyn Store>,
    prefix: Arc<str>,
}

/// What a request is counted under in the store.
pub(super) struct Names {
    ip: String,
    good: String,
    /// The account, and the account from its network.
    account: Option<(String, String)>,
}

/// How a record stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standing {
    /// Nanoseconds of lockout that are left.
    pub(super) locked: u64,
    /// This failure has begun it.
    pub(super) begun: bool,
    /// How many more may fail.
    pub(super) left: u32,
}

/// What the store knows of a stranger: each of it may be on a node of its own.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ip: Result<Standing, StoreError>,
    pub(super) pair: Result<Standing, StoreError>,
    pub(super) good: Result<bool, StoreError>,
}

impl Asked {
    /// Why something of it is not known.
    pub(super) fn error(&self) -> Option<&StoreError> {
        let standings = self.ip.as_ref().err().or(self.pair.as_ref().err());
        standings.or(self.good.as_ref().err())
    }
}

impl Names {
    /// The key of what is locked out.
    pub(super) fn stored(self, kind: Kind) -> Option<String> {
        match kind {
            Kind::Ip => Some(self.ip),
            Kind::Pair => self.account.map(|(_, pair)| pair),
            _ => None,
        }
    }
}

fn hash(parts: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.len().to_le_bytes());
        digest.update(part);
    }
    hex::encode(digest.finalize().get(..16).unwrap_or_default())
}

impl Shared {
    pub(super) fn new(store: Arc<dyn Store>, route: Option<&str>, entry: &str) -> Self {
        let prefix = format!("palisade:credential-guard:{}:{entry}", route.unwrap_or("*"));
        Shared { store, prefix: prefix.into() }
    }

    pub(super) fn names(&self, network: IpAddr, presented: &Presented) -> Names {
        let (prefix, from) = (&self.prefix, network.to_string());
        let account = presented.name().map(|name| {
            let account = self.account(name);
            let pair = format!("{account}:{from}");
            (account, pair)
        });
        let good = match presented.name() {
            Some(name) => hash(&[b"account", from.as_bytes(), name.as_bytes()]),
            None => hash(&[b"credential", from.as_bytes(), presented.digest()]),
        };
        Names { ip: self.ip(network), good: format!("{prefix}:good:{good}"), account }
    }

    fn ip(&self, network: IpAddr) -> String {
        format!("{}:ip:{network}", self.prefix)
    }

    fn account(&self, name: &str) -> String {
        format!("{}:{{{}}}", self.prefix, hash(&[name.as_bytes()]))
    }

    async fn eval(&self, keys: &[&str], terms: &Terms, op: &'static str) -> Result<Standing, StoreError> {
        let mut command = Command::new("EVAL").arg(SCRIPT).arg(keys.len().to_string());
        for key in keys {
            command = command.key((*key).to_owned());
        }
        let numbers =
            [terms.every / MILLI, u64::from(terms.failures), terms.delay / MILLI, terms.most / MILLI];
        command = command.arg(op);
        for number in numbers {
            command = command.arg(number.max(1).to_string());
        }
        let Answer::List(list) = self.store.run(command).await? else { return Err(StoreError::Nonsense) };
        match &*list {
            [Answer::Int(locked), Answer::Int(begun), Answer::Int(left)] => Ok(Standing {
                locked: u64::try_from(*locked).unwrap_or(0).saturating_mul(MILLI),
                begun: *begun != 0,
                left: u32::try_from(*left).unwrap_or(0),
            }),
            _ => Err(StoreError::Nonsense),
        }
    }

    /// How a stranger stands.
    pub(super) async fn ask(&self, names: &Names, ip: &Terms, pair: &Terms) -> Asked {
        let of_pair = async {
            match &names.account {
                Some((account, key)) => self.eval(&[key, account], pair, "ask").await,
                None => Ok(Standing::default()),
            }
        };
        let good = self.store.run(Command::new("EXISTS").key(names.good.clone()));
        let ip_key = [&*names.ip];
        let (ip, pair, good) = join3(self.eval(&ip_key, ip, "ask"), of_pair, good).await;
        Asked { ip, pair, good: good.map(|there| matches!(there, Answer::Int(1))) }
    }

    /// Counts a failure of all and of an account, and with the terms that follow from these one of the network and one of the
    /// pair. Where the store does not say how all and the account stand, what is known `here` says it.
    pub(super) async fn fail(
        &self,
        names: &Names,
        limits: &Limits,
        (repeated, stranger): (bool, bool),
        here: (bool, bool),
    ) -> Told {
        let all = format!("{}:all", self.prefix);
        let all_key = [&*all];
        let account = names.account.as_ref().filter(|_| !repeated);
        let everywhere = async {
            match account {
                Some((account, _)) => self.eval(&[account], &limits.account, "fail").await,
                None => Ok(Standing::default()),
            }
        };
        let (all, everywhere) = join(self.eval(&all_key, &limits.all, "fail"), everywhere).await;
        let is_locked = |standing: &Result<Standing, StoreError>, here: bool| {
            standing.as_ref().map_or(here, |standing| standing.locked > 0)
        };
        let ip_terms = limits.ip(is_locked(&all, here.0));
        let pair_terms = limits.pair(stranger && is_locked(&everywhere, here.1));
        let pair = async {
            match account {
                Some((account, key)) => self.eval(&[key, account], &pair_terms, "fail").await,
                None => Ok(Standing::default()),
            }
        };
        let ip_key = [&*names.ip];
        let (ip, pair) = join(self.eval(&ip_key, &ip_terms, "fail"), pair).await;
        let (ip, pair, rest) = (taken(ip), taken(pair), all.err().or(everywhere.err()));
        Told { ip: ip.0, pair: pair.0, error: ip.1.or(pair.1).or(rest) }
    }

    /// Remembers a success, and forgets what has failed for the account from this network.
    pub(super) async fn succeed(&self, names: &Names, remember: u64) -> Result<(), StoreError> {
        let seconds = (remember / 1_000_000_000).max(1).to_string();
        let good = Command::new("SET").key(names.good.clone()).arg("1").arg("EX").arg(seconds);
        let pair = async {
            match &names.account {
                Some((_, pair)) => self.store.run(Command::new("DEL").key(pair.clone())).await.map(|_| ()),
                None => Ok(()),
            }
        };
        let (good, pair) = join(self.store.run(good), pair).await;
        good?;
        pair
    }

    /// A network may come again; true where it was counted.
    pub(super) async fn end_ip(&self, network: IpAddr) -> Result<bool, StoreError> {
        self.end(self.ip(network)).await
    }

    /// Forgets what is counted under a key; true where something was.
    pub(super) async fn end(&self, key: String) -> Result<bool, StoreError> {
        Ok(matches!(self.store.run(Command::new("DEL").key(key)).await?, Answer::Int(1)))
    }

    /// An account may be tried again from everywhere: what failed until now does not count.
    pub(super) async fn end_account(&self, name: &str, pair: &Terms) -> Result<(), StoreError> {
        self.eval(&[&self.account(name)], pair, "end").await.map(|_| ())
    }
}

fn taken(answer: Result<Standing, StoreError>) -> (Option<Standing>, Option<StoreError>) {
    match answer {
        Ok(standing) => (Some(standing), None),
        Err(error) => (None, Some(error)),
    }
}

/// What a failure has come to in the store; none where that was not told of it.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) ip: Option<Standing>,
    pub(super) pair: Option<Standing>,
    pub(super) error: Option<StoreError>,
}
