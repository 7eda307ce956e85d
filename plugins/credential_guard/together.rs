//! Deciding and counting with a store: it decides about what it has answered for, and each gateway alone about the rest.
//!
//! A store may know of one key and not of another, where a node of a cluster is gone, and may answer and yet remember nothing,
//! where it is full or a replica. So each answer counts for its own key, and of a key with a failure that the store was not
//! told of the stricter one of both counts is in force until that failure is forgotten here.

use super::{
    BELIEVED, BELIEVED_GOOD, CredentialGuard, Held, SECOND,
    record::{Record, Terms},
    shared::{Asked, Names, Shared, Standing},
    state::{Keys, Refused},
    table::Kind,
};
use palisade_contract::{Denial, Exchange, Presented, StoreError};

/// How often in a second the store is asked for clients of one network that is locked out.
const ASKS: u32 = 10;

impl CredentialGuard {
    pub(super) async fn judge_shared(
        &self,
        ex: &mut Exchange,
        keys: &Keys,
        (shared, names): (&Shared, Names),
        now: u64,
    ) -> Result<(), Denial> {
        let told = |key: u64| self.state.failures.exact(self.told(key))?.locked(now);
        let pair = keys.account.map(|(_, pair)| pair);
        if let Some(wait) = pair.and_then(told) {
            return Err(self.refuse(ex, Refused(Kind::Pair, wait)));
        }
        let known = self.state.is_good(keys.good, now);
        if let (Some(wait), false) = (told(keys.ip), known)
            && !self.may_ask(keys.ip, now)
        {
            return Err(self.refuse(ex, Refused(Kind::Ip, wait)));
        }
        let asked = shared.ask(&names, &self.limits.ip, &self.limits.pair).await;
        if let Some(error) = asked.error() {
            self.failed_to_share(error);
        }
        if let Some(wait) = pair.and_then(|pair| self.pair_locked(pair, &asked, now)) {
            return Err(self.refuse(ex, Refused(Kind::Pair, wait)));
        }
        if matches!(asked.good, Ok(true)) || known {
            if !known {
                let until = now.saturating_add(BELIEVED_GOOD.min(self.limits.remember));
                self.state.remember(keys.good, until, &self.limits, now);
            }
            return Ok(());
        }
        let left =
            self.ip_left(keys.ip, &asked, now).map_err(|wait| self.refuse(ex, Refused(Kind::Ip, wait)))?;
        self.admit(ex, keys, left, now)
    }

    /// For how long an account is locked out from a network.
    fn pair_locked(&self, pair: u64, asked: &Asked, now: u64) -> Option<u64> {
        match &asked.pair {
            Ok(standing) if standing.locked > 0 => {
                self.believe(pair, standing.locked, now);
                Some(standing.locked)
            }
            Ok(_) if !self.is_missed(pair, now) => None,
            _ => self.state.locked(pair, now),
        }
    }

    /// How many of a network may be looked at, or for how long it is locked out; none where it is known here alone.
    fn ip_left(&self, ip: u64, asked: &Asked, now: u64) -> Result<Option<u32>, u64> {
        let Ok(standing) = asked.ip else { return Ok(None) };
        if standing.locked > 0 {
            self.believe(ip, standing.locked, now);
            return Err(standing.locked);
        }
        if !self.is_missed(ip, now) {
            return Ok(Some(standing.left));
        }
        let Some(here) = self.state.failures.exact(ip) else { return Ok(Some(standing.left)) };
        let terms = self.limits.ip(self.state.is_attacked(now));
        here.locked(now).map_or_else(|| Ok(Some(standing.left.min(here.left(&terms, now)))), Err)
    }

    /// A lockout that the store has told of is believed for a while.
    fn believe(&self, key: u64, wait: u64, now: u64) {
        let until = now.saturating_add(wait.min(BELIEVED));
        let change = |record: &mut Record| record.until = until;
        self.state.failures.change(self.told(key), self.limits.room, now, change);
    }

    /// Where it is remembered what the store said of a key.
    fn told(&self, key: u64) -> u64 {
        self.state.clock.key(Kind::Told, &[&key.to_le_bytes()])
    }

    /// True while a failure counts here that the store was not told of.
    fn is_missed(&self, key: u64, now: u64) -> bool {
        let missed = self.state.missed_key(key);
        self.state.failures.exact(missed).is_some_and(|record| record.full > now)
    }

    fn miss(&self, key: u64, now: u64) {
        let Some(here) = self.state.failures.exact(key) else { return };
        let until = here.full.max(here.until);
        let change = |record: &mut Record| record.full = record.full.max(until);
        self.state.failures.change(self.state.missed_key(key), self.limits.room, now, change);
    }

    /// True where the store may be asked whether a client of a network that is locked out is known: so many times a
    /// second, for a flood of strangers must not become one for the store.
    fn may_ask(&self, ip: u64, now: u64) -> bool {
        let asks = Terms { failures: ASKS, every: SECOND / u64::from(ASKS), delay: 1, most: 1 };
        let ask = |record: &mut Record| {
            let may = record.left(&asks, now) > 0;
            if may {
                record.full = record.full.max(now).saturating_add(asks.every);
            }
            may
        };
        self.state.failures.change(self.told(ip), self.limits.room, now, ask).0
    }

    /// Counts a failure here and in the store. What is being looked at ends where it is counted.
    pub(super) async fn share_failure(
        &self,
        ex: &mut Exchange,
        presented: &Presented,
        keys: &Keys,
        shared: &Shared,
        (held, now): (Held, u64),
    ) {
        let (mut failed, stranger) = self.fail(keys, now);
        let names = shared.names(keys.network, presented);
        let account = keys.account.and_then(|(account, _)| self.state.locked(account, now));
        let here = (self.state.is_attacked(now), account.is_some());
        let told = shared.fail(&names, &self.limits, (failed.repeated, stranger), here).await;
        if let Some(error) = &told.error {
            self.failed_to_share(error);
        }
        let begun = |standing: Standing| standing.begun.then_some(standing.locked);
        match told.ip {
            Some(ip) => failed.ip = begun(ip),
            None => self.miss(keys.ip, now),
        }
        match (told.pair, keys.account) {
            (Some(pair), _) => failed.pair = begun(pair),
            (None, Some((_, pair))) => self.miss(pair, now),
            (None, None) => {}
        }
        self.tell(ex, presented, keys, &failed, now);
        drop(held);
    }

    pub(super) fn failed_to_share(&self, error: &StoreError) {
        log::debug!("{}: {error}", self.key);
        self.counters.store_failed.add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{DESCRIPTOR, HOURS, login, wrong_keys};
    use palisade_contract::{
        Answer, Command, Store, StoreError, Tried, Whom,
        testkit::{Kit, block_on},
        verdict::BoxFuture,
    };
    use std::sync::Arc;

    /// A store that answers questions about keys of which `0` is true, and takes nothing of others.
    struct Half(fn(&[u8], bool) -> Result<i64, StoreError>);

    impl Store for Half {
        fn run(&self, command: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
            let asks = command.name() == "EXISTS" || command.args().iter().any(|arg| &**arg == b"ask");
            let key = command.first_key().cloned().unwrap_or_default();
            let said = self.0(&key, asks).map(|left| match command.name() {
                "EVAL" => Answer::List(vec![Answer::Int(0), Answer::Int(0), Answer::Int(left)]),
                _ => Answer::Int(0),
            });
            Box::pin(async { said })
        }
    }

    fn of_all(key: &[u8]) -> bool {
        key.ends_with(b":all")
    }

    #[test]
    fn a_store_that_answers_and_remembers_nothing_opens_nothing() {
        let full = |_: &[u8], asks: bool| {
            if asks { Ok(1000) } else { Err(StoreError::Refused("OOM".to_owned())) }
        };
        // The one of its nodes is gone where all failures are counted: that takes nothing else along.
        let without_all = |key: &[u8], _: bool| if of_all(key) { Err(StoreError::Down) } else { Ok(1000) };
        let without_any = |key: &[u8], asks: bool| {
            if asks || of_all(key) { Ok(1000) } else { Err(StoreError::Down) }
        };
        let with_store = HOURS.replacen('{', "{store: main, ", 1);
        for (store, alone) in [(Half(full), true), (Half(without_any), true), (Half(without_all), false)] {
            let kit = Kit::of(DESCRIPTOR).store("main", Arc::new(store));
            let guard = kit.build(&with_store).unwrap();
            let guess =
                |number: &usize| login(&guard, "192.0.2.3", "alice", &number.to_string(), Tried::Bad).is_ok();
            let looked = [wrong_keys(&guard, "192.0.2.1", 100), (0..30).filter(guess).count()];
            // What the store has taken it decides about, and this one says that there is no end.
            assert_eq!(looked, if alone { [20, 5] } else { [100, 30] });
            assert!(kit.counted("store_failed") >= 25);
            if !alone {
                continue;
            }
            let shown = kit.lockouts();
            assert_eq!(shown[0].list().len(), 2, "{:?}", shown[0].list());
            assert!(block_on(shown[0].end(Whom::Ip([192, 0, 2, 1].into()))) >= 1);
            assert_eq!(wrong_keys(&guard, "192.0.2.1", 100), 20);
        }
    }
}
