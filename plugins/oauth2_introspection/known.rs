//! What is known of tokens, and the calls that are under way: one for each token, and so many at a time.

use super::{
    answer::{self, Said},
    breaker::Breaker,
    endpoint::Endpoint,
};
use crate::tokens::{
    cache::{Cache, Id},
    claims::{ClaimChecks, Claims},
    identity::{Identity, Mapping},
    refusal::Refusal,
};
use futures::{
    FutureExt,
    future::{Either, Shared, WeakShared, ready, select},
};
use palisade_contract::{Counter, Host, HttpError, verdict::BoxFuture};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Semaphore;

/// For each call that is under way, so many may wait for their turn.
const WAITING: usize = 8;

/// What came of a token.
pub(super) struct Known {
    /// When it was asked about, and until when that holds, in milliseconds since 1970.
    from: i64,
    until: i64,
    pub(super) outcome: Result<Identity, Refusal>,
}

impl Known {
    /// A clock that was set back makes nothing hold for longer.
    pub(super) fn holds(&self, now: i64) -> bool {
        const APART: i64 = 5000;
        now < self.until && now.saturating_add(APART) >= self.from
    }
}

/// Why nothing is known of a token. The text is for the operator.
#[derive(Debug, Clone)]
pub(super) enum Failed {
    /// Too many calls are under way, or wait.
    Busy,
    /// There is no answer, or none that makes sense.
    Unavailable(Arc<str>),
}

/// A call that all who ask about one token share.
pub(super) type Call = Shared<BoxFuture<'static, Result<Arc<Known>, Failed>>>;

/// Times, in milliseconds.
pub(super) struct Times {
    pub(super) ttl: i64,
    pub(super) negative_ttl: i64,
    /// From the first wish to the answer.
    pub(super) timeout: Duration,
}

/// Everything that is needed to ask, and what was answered.
pub(super) struct Asker {
    pub(super) endpoint: Endpoint,
    pub(super) host: Arc<dyn Host>,
    pub(super) checks: ClaimChecks,
    pub(super) mapping: Mapping,
    pub(super) times: Times,
    pub(super) good: Cache<Known>,
    /// Apart: tokens that are made up drive out no good one.
    pub(super) refused: Cache<Known>,
    pub(super) most: usize,
    pub(super) turns: Semaphore,
    pub(super) flights: Mutex<Flights>,
    pub(super) breaker: Breaker,
    pub(super) asked: Counter,
    pub(super) failed: Counter,
    pub(super) busy: Counter,
}

/// The calls that are under way.
#[derive(Default)]
pub(super) struct Flights {
    by_token: HashMap<Id, Flight>,
    by_ip: HashMap<IpAddr, usize>,
    count: usize,
    number: u64,
}

struct Flight {
    number: u64,
    from: i64,
    call: WeakShared<BoxFuture<'static, Result<Arc<Known>, Failed>>>,
}

impl Asker {
    /// What is known of a token already.
    pub(super) fn known(&self, id: &Id, now: i64) -> Option<Arc<Known>> {
        let holds = |known: &Known| known.holds(now);
        self.good.get(id, holds).or_else(|| self.refused.get(id, holds))
    }

    /// The call that will tell: one that is under way, or a new one.
    pub(super) fn call(self: &Arc<Self>, id: Id, token: &[u8], ip: IpAddr, now: i64) -> Result<Call, Failed> {
        let ip = network(ip);
        let mut flights = self.flights.lock();
        // What was asked longer ago than an answer holds tells nothing of now.
        if let Some(flight) = flights.by_token.get(&id)
            && now < flight.from.saturating_add(self.times.ttl)
            && let Some(call) = flight.call.upgrade()
        {
            return Ok(call);
        }
        // It may have ended since it was looked for.
        if let Some(known) = self.known(&id, now) {
            return Ok(ready(Ok(known)).boxed().shared());
        }
        let of_ip = flights.by_ip.get(&ip).copied().unwrap_or(0);
        if flights.count >= self.most.saturating_mul(WAITING) || of_ip >= self.most.div_ceil(4) {
            self.busy.add(1);
            return Err(Failed::Busy);
        }
        if !self.breaker.admits(now) {
            return Err(Failed::Unavailable("it has not answered the last calls".into()));
        }
        flights.number += 1;
        let number = flights.number;
        flights.count += 1;
        *flights.by_ip.entry(ip).or_default() += 1;
        let landing = Landing { asker: self.clone(), id, ip, number };
        let call = fly(landing, token.to_vec(), now).boxed().shared();
        if let Some(weak) = call.downgrade() {
            flights.by_token.insert(id, Flight { number, from: now, call: weak });
        }
        Ok(call)
    }

    /// Asks, within `timeout`, when it is this call's turn.
    async fn ask(&self, token: &[u8], now: i64) -> Result<Said, Failed> {
        let asking = async {
            // The semaphore is never closed.
            let _turn = self.turns.acquire().await.map_err(|_| Failed::Busy)?;
            self.asked.add(1);
            let answer = self.endpoint.ask(token).await.map_err(|error| {
                if !matches!(error, HttpError::TooLarge) {
                    self.breaker.failed(now);
                }
                self.wrong(&error.to_string(), now)
            })?;
            self.breaker.answered();
            answer::read(&answer).map_err(|message| self.wrong(&message, now))
        };
        let asking = std::pin::pin!(asking);
        match select(asking, self.host.sleep(self.times.timeout)).await {
            Either::Left((said, _)) => {
                if said.is_ok() && self.breaker.is_over() {
                    log::info!("{} answers again", self.endpoint.uri);
                }
                said
            }
            Either::Right(_) => {
                self.breaker.failed(now);
                Err(self.wrong("no answer in time", now))
            }
        }
    }

    fn wrong(&self, message: &str, now: i64) -> Failed {
        self.failed.add(1);
        if self.breaker.is_news(now) {
            log::warn!("{}: {message}; tokens that are not remembered are refused", self.endpoint.uri);
        }
        Failed::Unavailable(message.into())
    }

    /// Who is calling, by an answer.
    fn identify(&self, claims: Claims, now: i64) -> Result<(Identity, Option<i64>), Refusal> {
        let expires = self.checks.check(&claims, now.div_euclid(1000))?;
        self.checks.scopes(&claims)?;
        let issuer = self.endpoint.uri.to_string();
        Ok((self.mapping.identify(claims, &issuer)?, expires))
    }

    fn remember(&self, id: Id, said: Said, now: i64) -> Arc<Known> {
        let judged = match said {
            Said::Active(claims) => self.identify(claims, now),
            Said::Refused(refusal) => Err(refusal),
        };
        let known = match judged {
            Ok((identity, expires)) => {
                let end = now.saturating_add(self.times.ttl);
                let until = expires.map_or(end, |expires| end.min(expires.saturating_mul(1000)));
                Known { from: now, until, outcome: Ok(identity) }
            }
            Err(refusal) => {
                let until = now.saturating_add(self.times.negative_ttl.min(self.times.ttl));
                Known { from: now, until, outcome: Err(refusal) }
            }
        };
        let known = Arc::new(known);
        if known.until > now {
            let cache = if known.outcome.is_ok() { &self.good } else { &self.refused };
            cache.put(id, known.clone());
        }
        known
    }
}

async fn fly(landing: Landing, token: Vec<u8>, now: i64) -> Result<Arc<Known>, Failed> {
    let asker = &landing.asker;
    let said = asker.ask(&token, now).await?;
    Ok(asker.remember(landing.id, said, now))
}

/// A call that is under way; it is taken off the list when it ends, or when nobody waits for it any more.
struct Landing {
    asker: Arc<Asker>,
    id: Id,
    ip: IpAddr,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.asker.flights.lock();
        flights.count = flights.count.saturating_sub(1);
        if let Some(count) = flights.by_ip.get_mut(&self.ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                flights.by_ip.remove(&self.ip);
            }
        }
        // A later call about the same token stays.
        if flights.by_token.get(&self.id).is_some_and(|flight| flight.number == self.number) {
            flights.by_token.remove(&self.id);
        }
    }
}

/// Who has one address of an IPv6 network has all of them.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
