//! The handles that a snapshot holds: each series is looked up once, then it is an atomic away.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use palisade_contract::Effect;
use parking_lot::{Mutex, RwLock};
use prometheus::{Histogram, IntCounter};

use super::family::Families;

/// The most reasons that are told apart for one entry; further ones are counted as `other`. Reasons are fixed
/// words of a plugin's code, but nothing forces a plugin to have few.
const REASONS: usize = 32;
const OTHER: &str = "other";
/// A request whose client had gone.
const CLIENT_CLOSED: u16 = 499;
const STATUSES: [&str; 7] = [OTHER, "1xx", "2xx", "3xx", "4xx", "5xx", "client_closed"];

/// Handles by name, shared by all snapshots that name them.
pub(super) struct Kept<K, T>(Mutex<HashMap<K, Arc<T>>>);

impl<K: Hash + Eq, T> Kept<K, T> {
    pub(super) fn get(&self, key: K, make: impl FnOnce() -> T) -> Arc<T> {
        self.0.lock().entry(key).or_insert_with(|| Arc::new(make())).clone()
    }

    /// Lets go of handles that nobody else holds. Under the lock, so that nobody can ask for one meanwhile.
    pub(super) fn sweep(&self, remove: impl Fn(&T)) {
        self.0.lock().retain(|_, handle| {
            let held = Arc::strong_count(handle) > 1;
            if !held {
                remove(handle);
            }
            held
        });
    }
}

impl<K, T> Default for Kept<K, T> {
    fn default() -> Self {
        Kept(Mutex::default())
    }
}

/// What is counted by upstream, and by plugin whatever the route.
pub(super) struct Origins {
    families: Arc<Families>,
    upstreams: Kept<Arc<str>, Upstream>,
    plugins: Kept<Arc<str>, Durations>,
}

impl Origins {
    pub(super) fn new(families: Arc<Families>) -> Self {
        Origins { families, upstreams: Kept::default(), plugins: Kept::default() }
    }

    pub(super) fn plugin(&self, key: &Arc<str>) -> Arc<Durations> {
        self.plugins.get(key.clone(), || Durations { key: key.clone(), series: OnceLock::new() })
    }

    /// After routes and entries: they hold these.
    pub(super) fn sweep(&self) {
        self.upstreams.sweep(|upstream| upstream.remove(&self.families));
        self.plugins.sweep(|plugin| self.families.plugin_seconds.remove(&[&plugin.key]));
    }

    fn upstream(&self, name: &Arc<str>) -> Arc<Upstream> {
        self.upstreams.get(name.clone(), || Upstream {
            name: name.clone(),
            answered: self.families.upstream_requests.get(&[name, "answered"]),
            unanswered: self.families.upstream_requests.get(&[name, "unanswered"]),
            seconds: self.families.upstream_seconds.get(&[name]),
        })
    }
}

/// What is timed of an entry, whatever the route.
pub(super) struct Durations {
    key: Arc<str>,
    series: OnceLock<Option<Histogram>>,
}

struct Upstream {
    name: Arc<str>,
    answered: Option<IntCounter>,
    unanswered: Option<IntCounter>,
    seconds: Option<Histogram>,
}

impl Upstream {
    fn finished(&self, time: Option<Duration>) {
        let counter = if time.is_some() { &self.answered } else { &self.unanswered };
        if let Some(counter) = counter {
            counter.inc();
        }
        if let (Some(seconds), Some(time)) = (&self.seconds, time) {
            seconds.observe(time.as_secs_f64());
        }
    }

    fn remove(&self, families: &Families) {
        families.upstream_requests.remove(&[&self.name, "answered"]);
        families.upstream_requests.remove(&[&self.name, "unanswered"]);
        families.upstream_seconds.remove(&[&self.name]);
        families.upstream_retries.remove(&[&self.name]);
        families.upstream_ejections.remove(&[&self.name]);
    }
}

/// The requests of one route.
pub struct RouteMetrics {
    families: Arc<Families>,
    origins: Arc<Origins>,
    name: Arc<str>,
    statuses: [OnceLock<Option<IntCounter>>; STATUSES.len()],
    seconds: OnceLock<Option<Histogram>>,
    /// The last one that was used: as good as always the only one.
    upstream: ArcSwapOption<Upstream>,
}

impl RouteMetrics {
    pub(super) fn new(families: Arc<Families>, origins: Arc<Origins>, name: Arc<str>) -> Self {
        RouteMetrics {
            families,
            origins,
            name,
            statuses: Default::default(),
            seconds: OnceLock::new(),
            upstream: ArcSwapOption::empty(),
        }
    }

    /// A request is over: the status of its answer, how long it took, and, where it was sent to an upstream,
    /// which one and how long the head of the answer took, if it came.
    pub fn finished(&self, status: u16, duration: Duration, upstream: Option<(&Arc<str>, Option<Duration>)>) {
        let class = match (status, status / 100) {
            (CLIENT_CLOSED, _) => 6,
            (_, class @ 1..=5) => usize::from(class),
            _ => 0,
        };
        if let (Some(slot), Some(label)) = (self.statuses.get(class), STATUSES.get(class))
            && let Some(counter) = slot.get_or_init(|| self.families.requests.get(&[&self.name, label]))
        {
            counter.inc();
        }
        if let Some(seconds) = self.seconds.get_or_init(|| self.families.request_seconds.get(&[&self.name])) {
            seconds.observe(duration.as_secs_f64());
        }
        let Some((name, time)) = upstream else { return };
        match &*self.upstream.load() {
            Some(upstream) if upstream.name == *name => upstream.finished(time),
            _ => {
                let upstream = self.origins.upstream(name);
                upstream.finished(time);
                self.upstream.store(Some(upstream));
            }
        }
    }

    /// A request was sent again, so many times.
    pub fn retried(&self, upstream: &str, times: u32) {
        if let Some(retries) = self.families.upstream_retries.get(&[upstream]) {
            retries.inc_by(u64::from(times));
        }
    }

    pub(super) fn remove(&self) {
        for status in STATUSES {
            self.families.requests.remove(&[&self.name, status]);
        }
        self.families.request_seconds.remove(&[&self.name]);
    }
}

/// How many effects there are.
const EFFECTS: usize = Effect::Skipped as usize + 1;

/// The decisions of one entry on one route.
pub struct EntryMetrics {
    families: Arc<Families>,
    durations: Arc<Durations>,
    route: Arc<str>,
    key: Arc<str>,
    /// Without a reason, by effect.
    plain: [OnceLock<Option<IntCounter>>; EFFECTS],
    /// With one. A short list that is read far more often than it grows.
    reasons: RwLock<Vec<(Effect, &'static str, Option<IntCounter>)>>,
}

impl EntryMetrics {
    pub(super) fn new(
        families: Arc<Families>,
        durations: Arc<Durations>,
        route: Arc<str>,
        key: Arc<str>,
    ) -> Self {
        let (plain, reasons) = Default::default();
        EntryMetrics { families, durations, route, key, plain, reasons }
    }

    /// A hook of the entry is done: what came of it, the reason code if it has one, the time in nanoseconds.
    pub fn decided(&self, effect: Effect, reason: Option<&'static str>, nanos: u32) {
        match reason {
            None => {
                if let Some(slot) = self.plain.get(effect as usize)
                    && let Some(counter) = slot.get_or_init(|| self.counter(effect, ""))
                {
                    counter.inc();
                }
            }
            Some(reason) => self.reasoned(effect, reason),
        }
        if effect == Effect::Skipped {
            return;
        }
        let durations = &self.durations;
        let seconds = durations.series.get_or_init(|| self.families.plugin_seconds.get(&[&durations.key]));
        if let Some(seconds) = seconds {
            seconds.observe(f64::from(nanos) / 1e9);
        }
    }

    fn reasoned(&self, effect: Effect, reason: &'static str) {
        let find = |list: &[(Effect, &'static str, Option<IntCounter>)], reason: &str| {
            let found = list.iter().find(|(e, r, _)| *e == effect && *r == reason);
            found.map(|(_, _, counter)| counter.as_ref().map(IntCounter::inc)).is_some()
        };
        if find(&self.reasons.read(), reason) {
            return;
        }
        let mut list = self.reasons.write();
        // `other` takes a place for each effect beyond the limit.
        let reason = if list.len() < REASONS { reason } else { OTHER };
        if !find(&list, reason) {
            let counter = self.counter(effect, reason);
            counter.as_ref().map(IntCounter::inc);
            list.push((effect, reason, counter));
        }
    }

    fn counter(&self, effect: Effect, reason: &str) -> Option<IntCounter> {
        self.families.decisions.get(&[&self.key, &self.route, effect.as_str(), reason])
    }

    pub(super) fn remove(&self) {
        let mut reasons = self.reasons.write();
        for (effect, reason, _) in reasons.drain(..) {
            self.families.decisions.remove(&[&self.key, &self.route, effect.as_str(), reason]);
        }
        for effect in EVERY_EFFECT {
            self.families.decisions.remove(&[&self.key, &self.route, effect.as_str(), ""]);
        }
    }
}

const EVERY_EFFECT: [Effect; EFFECTS] = [
    Effect::Continue,
    Effect::Authenticated,
    Effect::NoCredential,
    Effect::Deny,
    Effect::WouldDeny,
    Effect::Respond,
    Effect::Fault,
    Effect::FaultAllowed,
    Effect::Skipped,
];
