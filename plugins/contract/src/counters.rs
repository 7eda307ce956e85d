//! What plugins count besides their decisions.

use parking_lot::Mutex;
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A count that only grows. Looked up once, while a plugin is built; then it is an atomic away.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts so many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted: a word of a plugin's code, or of what it was configured with; never one of a client's.
pub type Event = Cow<'static, str>;

/// All counts of plugins, by entry key and event. They go with a sweep after the last plugin that holds them.
#[derive(Default)]
pub struct Counters(Mutex<HashMap<(Arc<str>, Event), Counter>>);

impl Counters {
    /// The count of an event of the entry with this key; the same one for everybody who asks.
    pub fn get(&self, key: &Arc<str>, event: impl Into<Event>) -> Counter {
        self.0.lock().entry((key.clone(), event.into())).or_default().clone()
    }

    /// For the gateway's metrics: shows all counts, by entry key and event.
    pub fn each(&self, mut show: impl FnMut(&Arc<str>, &Event, u64)) {
        for ((key, event), counter) in &*self.0.lock() {
            show(key, event, counter.get());
        }
    }

    /// Lets go of what nobody else holds.
    pub fn sweep(&self) {
        self.0.lock().retain(|_, counter| Arc::strong_count(&counter.0) > 1);
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_one_for_all_who_ask_and_goes_with_them() {
        let counters = Counters::default();
        let key: Arc<str> = "audit".into();
        let held = counters.get(&key, "lost");
        counters.get(&key, "lost").add(2);
        held.add(1);
        let seen = |counters: &Counters| {
            let mut seen = Vec::new();
            counters.each(|key, event, count| seen.push((key.to_string(), event.to_string(), count)));
            seen
        };
        counters.sweep();
        assert_eq!(seen(&counters), [("audit".to_owned(), "lost".to_owned(), 3)]);
        drop(held);
        counters.sweep();
        assert_eq!(seen(&counters), []);
    }
}
