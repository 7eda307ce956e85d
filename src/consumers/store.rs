//! Consumers in a store, which is asked when a key comes that was not asked for a short while ago.

use super::{
    Reserved, View,
    cache::Cache,
    record::{self, Record},
};
use futures::{
    FutureExt,
    future::{Shared, WeakShared},
};
use palisade_contract::{
    Answer, Command, ConsumerSource, Fault, Held, Step, Store, StoreError, verdict::BoxFuture,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// The most questions that others may wait for.
const FLIGHTS: usize = 4096;
/// The log has a line about records that make no sense at most each so often.
const SAID: Duration = Duration::from_secs(10);

/// What can come of a look-up.
const EVENTS: [&str; 6] = ["cached", "held", "unheld", "conflict", "nonsense", "failed"];
const CACHED: usize = 0;
const HELD: usize = 1;
const UNHELD: usize = 2;
const CONFLICT: usize = 3;
const NONSENSE: usize = 4;
const FAILED: usize = 5;

type Found = Result<Option<Held>, StoreError>;
type Flight = BoxFuture<'static, Found>;
/// Since when something is being asked, and the question.
type Flying = (Instant, WeakShared<Flight>);

/// The consumers in a store.
pub struct StoreSource(Arc<Inner>);

struct Inner {
    name: String,
    prefix: Arc<str>,
    store: Arc<dyn Store>,
    reserved: Reserved,
    cache: Cache,
    /// What is being asked, and since when.
    flights: Mutex<HashMap<[u8; 32], Flying>>,
    events: [AtomicU64; EVENTS.len()],
    said: Mutex<Option<Instant>>,
}

impl StoreSource {
    /// Consumers whose records begin with `prefix` in the store `name`. What it says of a key holds for `staleness`.
    pub fn new(
        name: &str,
        store: Arc<dyn Store>,
        prefix: Arc<str>,
        staleness: Duration,
        reserved: Reserved,
    ) -> Self {
        StoreSource(Arc::new(Inner {
            name: name.to_owned(),
            prefix,
            store,
            reserved,
            cache: Cache::new(staleness),
            flights: Mutex::default(),
            events: Default::default(),
            said: Mutex::default(),
        }))
    }

    /// True where one that is made so would be no other.
    pub fn is(&self, store: &Arc<dyn Store>, prefix: &str, staleness: Duration, reserved: &Reserved) -> bool {
        let inner = &self.0;
        let same = Arc::ptr_eq(&inner.store, store) && *inner.prefix == *prefix;
        same && inner.cache.staleness() == staleness && inner.reserved == *reserved
    }

    /// How it is.
    pub fn view(&self) -> View {
        let inner = &self.0;
        let counts = inner.events.iter().map(|count| count.load(Ordering::Relaxed));
        View {
            kind: "store",
            at: inner.name.clone(),
            ok: true,
            error: String::new(),
            loaded_at: None,
            sizes: None,
            events: EVENTS.into_iter().zip(counts).collect::<BTreeMap<_, _>>(),
        }
    }

    /// Who holds a key, `now`.
    fn find(&self, hash: &[u8; 32], now: Instant) -> Step<'static, Option<Held>> {
        if let Some(found) = self.0.cache.get(hash, now) {
            self.0.count(CACHED);
            return Step::Now(Ok(found));
        }
        let flight = self.0.flight(*hash, now);
        Step::later(async move { flight.await.map_err(Fault::from) })
    }
}

impl ConsumerSource for StoreSource {
    fn find_key(&self, hash: &[u8; 32]) -> Step<'static, Option<Held>> {
        self.find(hash, Instant::now())
    }
}

impl Inner {
    fn count(&self, event: usize) {
        if let Some(count) = self.events.get(event) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A question that is asked already and whose answer would still hold, else a new one. Whoever waits keeps it going;
    /// it ends with the last of them.
    fn flight(self: &Arc<Self>, hash: [u8; 32], now: Instant) -> Shared<Flight> {
        let mut flights = self.flights.lock();
        let flying = flights.get(&hash).filter(|(asked, _)| self.cache.holds(*asked, now));
        if let Some(flight) = flying.and_then(|(_, flight)| flight.upgrade()) {
            return flight;
        }
        let inner = self.clone();
        let work: Flight = Box::pin(async move { inner.ask(hash, now).await });
        let flight = work.shared();
        if flights.len() >= FLIGHTS {
            flights.retain(|_, (_, flight)| flight.upgrade().is_some());
        }
        if flights.len() < FLIGHTS
            && let Some(weak) = flight.downgrade()
        {
            flights.insert(hash, (now, weak));
        }
        flight
    }

    async fn ask(&self, hash: [u8; 32], asked: Instant) -> Found {
        let key = record::of_key(&self.prefix, &hex::encode(hash));
        let answer = self.store.run(Command::new("GET").key(key)).await;
        let found = match answer {
            Ok(Answer::Nil) => {
                self.count(UNHELD);
                Ok(None)
            }
            Ok(Answer::Bytes(bytes)) => self.read(&bytes, &hash),
            Ok(_) => Err(self.makes_no_sense()),
            Err(error) => {
                self.count(FAILED);
                Err(error)
            }
        };
        if let Ok(found) = &found {
            self.cache.put(hash, asked, found.as_ref());
        }
        let mut flights = self.flights.lock();
        if flights.get(&hash).is_some_and(|(other, _)| *other == asked) {
            flights.remove(&hash);
        }
        found
    }

    fn read(&self, bytes: &[u8], hash: &[u8; 32]) -> Found {
        let Some(held) = Record::read(bytes, hash) else { return Err(self.makes_no_sense()) };
        if self.reserved.names.contains_key(&held.principal.id) {
            // Whoever may write to the store must not become one of the configuration's consumers.
            self.count(CONFLICT);
            self.say(&format!("it has a key of `{}`, a consumer of the configuration", held.principal.id));
            return Ok(None);
        }
        self.count(HELD);
        Ok(Some(held))
    }

    fn makes_no_sense(&self) -> StoreError {
        self.count(NONSENSE);
        self.say("a record makes no sense");
        StoreError::Nonsense
    }

    fn say(&self, what: &str) {
        let mut said = self.said.lock();
        if said.is_none_or(|said| said.elapsed() >= SAID) {
            *said = Some(Instant::now());
            log::warn!("consumers of the store `{}`: {what}; such requests are refused", self.name);
        }
    }
}

#[cfg(test)]
mod tests;
