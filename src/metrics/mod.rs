//! What the gateway counts and times, for Prometheus.
//!
//! Every label is a name from the configuration or one of a few fixed words; nothing of a request ever becomes
//! one. A series exists from its first event, so that thousands of routes nobody calls cost nothing, and goes
//! with the first [`Metrics::sweep`] after the last snapshot that names it.
//!
//! Nothing here can fail a request: a metric that could not be made is missing, and the log says so.
//! `docs/metrics.md` lists all metrics; a test compares.

mod family;
mod handles;
mod process;

pub use handles::{EntryMetrics, RouteMetrics};

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use palisade_contract::{Counters, EntryInfo, counters::Event};
use parking_lot::Mutex;
use prometheus::{IntCounterVec, TextEncoder};

use crate::edge::Stats;
use family::Families;
use handles::{Kept, Origins};

/// All metrics of a process.
pub struct Metrics {
    families: Arc<Families>,
    routes: Kept<Arc<str>, RouteMetrics>,
    /// By route and key.
    entries: Kept<(Arc<str>, Arc<str>), EntryMetrics>,
    origins: Arc<Origins>,
    /// What has been counted of connections already.
    connections: Mutex<Stats>,
    /// What has been counted of targets that were put aside already.
    ejections: Mutex<HashMap<(Arc<str>, SocketAddr), u64>>,
    /// What has been shown of plugins' counts already.
    plugins: Mutex<HashMap<(Arc<str>, Event), u64>>,
    /// What has been counted of stores' commands already.
    stores: Mutex<HashMap<(Arc<str>, &'static str), u64>>,
    /// What has been counted of the source of consumers already.
    consumers: Mutex<HashMap<&'static str, u64>>,
    /// Of what the end is shown: of a list of revoked certificates, and the labels.
    ends: Mutex<HashSet<(bool, [String; 3])>>,
}

impl Metrics {
    /// Metrics in a registry of their own.
    pub fn new() -> Self {
        let families = Arc::new(Families::new());
        if let Some(info) = families.build_info.get(&[env!("CARGO_PKG_VERSION")]) {
            info.set(1);
        }
        if let Some(start) = families.process_start.get(&[]) {
            start.set(now());
        }
        Metrics {
            routes: Kept::default(),
            entries: Kept::default(),
            origins: Arc::new(Origins::new(families.clone())),
            connections: Mutex::default(),
            ejections: Mutex::default(),
            plugins: Mutex::default(),
            stores: Mutex::default(),
            consumers: Mutex::default(),
            ends: Mutex::default(),
            families,
        }
    }

    /// The handle of a route; the same one as long as any snapshot holds it.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        let name: Arc<str> = name.into();
        self.routes.get(name.clone(), || RouteMetrics::new(self.families.clone(), self.origins.clone(), name))
    }

    /// The handle of an entry on a route; the same one as long as any snapshot holds it.
    pub fn entry(&self, route: &str, info: &EntryInfo) -> Arc<EntryMetrics> {
        let (route, key): (Arc<str>, Arc<str>) = (route.into(), info.key.clone());
        self.entries.get((route.clone(), key.clone()), || {
            let durations = self.origins.plugin(&key);
            EntryMetrics::new(self.families.clone(), durations, route, key)
        })
    }

    /// Lets go of every series whose route, entry or upstream no snapshot names any more.
    pub fn sweep(&self) {
        self.routes.sweep(RouteMetrics::remove);
        self.entries.sweep(EntryMetrics::remove);
        self.origins.sweep();
    }

    /// A configuration was loaded, or was not. The first load, generation 1, is no reload.
    pub fn reloaded(&self, ok: bool, generation: u64) {
        let families = &self.families;
        if (!ok || generation > 1)
            && let Some(reloads) = families.reloads.get(&[if ok { "success" } else { "failure" }])
        {
            reloads.inc();
        }
        if let Some(serving) = families.generation.get(&[]) {
            serving.set(i64::try_from(generation).unwrap_or(i64::MAX));
        }
        if let Some(last) = families.last_load_ok.get(&[]) {
            last.set(i64::from(ok));
        }
        if let Some(at) = families.loaded_at.get(&[]).filter(|_| ok) {
            at.set(now());
        }
    }

    /// What the edge has counted of connections since the start.
    pub fn connections(&self, edge: Stats) {
        let families = &self.families;
        for (state, count) in [("active", edge.live.saturating_sub(edge.idle)), ("idle", edge.idle)] {
            if let Some(gauge) = families.connections.get(&[state]) {
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        let mut last = self.connections.lock();
        if let Some(counter) = families.accepted.get(&[]) {
            counter.inc_by(edge.accepted.saturating_sub(last.accepted));
        }
        reasons(&families.evicted, Stats::EVICTED, edge.evicted, last.evicted);
        reasons(&families.refused, Stats::REFUSED, edge.refused, last.refused);
        reasons(&families.accept_failures, Stats::FAILURES, edge.failures, last.failures);
        *last = edge;
    }

    /// What bodies hold, and may.
    pub fn buffered(&self, bytes: u64, limit: u64) {
        for (family, value) in [(&self.families.buffered, bytes), (&self.families.buffered_limit, limit)] {
            if let Some(gauge) = family.get(&[]) {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
    }

    /// Which addresses of upstreams requests go to, as they are now, and how often each was put aside.
    pub fn targets<'a>(&self, all: impl Iterator<Item = (&'a str, SocketAddr, bool, u64)>) {
        let up = &self.families.upstream_target_up;
        up.reset();
        let mut shown = self.ejections.lock();
        let mut next = HashMap::new();
        for (upstream, address, is_up, ejections) in all {
            if let Some(gauge) = up.get(&[upstream, &address.to_string()]) {
                gauge.set(i64::from(is_up));
            }
            let key = (Arc::from(upstream), address);
            let before = shown.remove(&key).unwrap_or(0);
            if ejections > 0
                && let Some(counter) = self.families.upstream_ejections.get(&[upstream])
            {
                counter.inc_by(ejections.saturating_sub(before));
            }
            next.insert(key, ejections);
        }
        *shown = next;
    }

    /// What plugins have counted since the start. A count that is no longer held goes.
    pub fn plugins(&self, counters: &Counters) {
        let mut shown = self.plugins.lock();
        let mut next = HashMap::new();
        counters.each(|key, event, count| {
            let before = shown.remove(&(key.clone(), event.clone())).unwrap_or(0);
            if let Some(counter) = self.families.plugin_events.get(&[key, event]) {
                counter.inc_by(count.saturating_sub(before));
            }
            next.insert((key.clone(), event.clone()), count);
        });
        for (key, event) in shown.keys() {
            self.families.plugin_events.remove(&[key, event]);
        }
        *shown = next;
    }

    /// How stores are, and what has come of commands since the start. A store that is gone goes.
    pub fn stores<'a, const N: usize>(
        &self,
        all: impl Iterator<Item = (&'a str, bool, [(&'static str, u64); N])>,
    ) {
        self.families.store_up.reset();
        let mut shown = self.stores.lock();
        let mut next = HashMap::new();
        for (store, is_up, commands) in all {
            if let Some(gauge) = self.families.store_up.get(&[store]) {
                gauge.set(i64::from(is_up));
            }
            for (outcome, count) in commands {
                let before = shown.remove(&(Arc::from(store), outcome)).unwrap_or(0);
                if count > 0
                    && let Some(counter) = self.families.store_commands.get(&[store, outcome])
                {
                    // A store with other settings counts anew, under its old name.
                    counter.inc_by(count.checked_sub(before).unwrap_or(count));
                }
                next.insert((Arc::from(store), outcome), count);
            }
        }
        for (store, outcome) in shown.keys() {
            self.families.store_commands.remove(&[store, outcome]);
        }
        *shown = next;
    }

    /// How the source of consumers is: whether all is well, how many consumers and credentials it holds, and what has
    /// come of it since the start.
    pub fn consumers(
        &self,
        ok: Option<bool>,
        sizes: Option<(usize, usize)>,
        events: impl Iterator<Item = (&'static str, u64)>,
    ) {
        let families = &self.families;
        families.consumer_source_ok.reset();
        families.consumer_source_size.reset();
        if let Some((ok, gauge)) = ok.zip(families.consumer_source_ok.get(&[])) {
            gauge.set(i64::from(ok));
        }
        for (of, count) in
            sizes.into_iter().flat_map(|(consumers, keys)| [("consumers", consumers), ("credentials", keys)])
        {
            if let Some(gauge) = families.consumer_source_size.get(&[of]) {
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
        let mut shown = self.consumers.lock();
        for (event, count) in events {
            let before = shown.insert(event, count).unwrap_or(0);
            if count > 0
                && let Some(counter) = families.consumer_source_events.get(&[event])
            {
                // One with other settings counts anew.
                counter.inc_by(count.checked_sub(before).unwrap_or(count));
            }
        }
    }

    /// When certificates end, and lists of revoked ones (true), in seconds since 1970. Of those with the same labels
    /// the first counts. What is not among them goes.
    pub fn ends(&self, all: impl Iterator<Item = (bool, [String; 3], i64)>) {
        let mut next = HashMap::new();
        for (list, labels, end) in all {
            next.entry((list, labels)).and_modify(|first: &mut i64| *first = end.min(*first)).or_insert(end);
        }
        let family = |list| if list { &self.families.list_ends } else { &self.families.certificate_ends };
        let mut shown = self.ends.lock();
        for ((list, [key, file, subject]), end) in &next {
            if let Some(gauge) = family(*list).get(&[key, file, subject]) {
                gauge.set(*end);
            }
        }
        for gone in shown.iter().filter(|one| !next.contains_key(*one)) {
            let (list, [key, file, subject]) = gone;
            family(*list).remove(&[key, file, subject]);
        }
        *shown = next.into_keys().collect();
    }

    /// The edge refused a request before any route was looked for.
    pub fn edge_refused(&self, reason: &'static str) {
        if let Some(counter) = self.families.edge_refused.get(&[reason]) {
            counter.inc();
        }
    }

    /// Everything in the text format of Prometheus, version 0.0.4.
    pub fn encode(&self) -> String {
        process::observe(&self.families);
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.families.gather(), &mut text) {
            log::error!("metrics cannot be written: {error}");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

/// Adds what has come since, where anything has: a reason that there never was has no series.
fn reasons<const N: usize>(
    family: &family::Of<IntCounterVec>,
    names: [&str; N],
    now: [u64; N],
    before: [u64; N],
) {
    for ((name, now), before) in names.into_iter().zip(now).zip(before) {
        if now > before
            && let Some(counter) = family.get(&[name])
        {
            counter.inc_by(now - before);
        }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests;
