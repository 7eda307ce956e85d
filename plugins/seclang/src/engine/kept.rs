//! Collections that outlive a transaction: `IP`, `GLOBAL`, `SESSION`, `USER`, `RESOURCE`. In memory, and bounded.

use crate::variable::Variable;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The most collections that are kept at once.
const MOST: usize = 50_000;
/// The most values in one collection.
const MOST_VALUES: usize = 100;
/// The most bytes of a value or name.
const MOST_BYTES: usize = 1024;

#[derive(Debug, Default)]
struct Collection {
    values: HashMap<Vec<u8>, (Vec<u8>, Option<Instant>)>,
    until: Option<Instant>,
}

/// The collections of one rule set.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    collections: Mutex<HashMap<(Variable, Vec<u8>), Collection>>,
}

type Guard<'a> = MutexGuard<'a, HashMap<(Variable, Vec<u8>), Collection>>;

impl Kept {
    fn lock(&self) -> Guard<'_> {
        self.collections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The values of a collection that have not expired.
    pub(crate) fn values(&self, kind: Variable, key: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let now = Instant::now();
        let held = self.lock();
        let Some(collection) = held.get(&(kind, key.to_vec())).filter(|all| alive(all.until, now)) else {
            return Vec::new();
        };
        let values = collection.values.iter().filter(|(_, (_, until))| alive(*until, now));
        let mut values: Vec<_> = values.map(|(name, (value, _))| (name.clone(), value.clone())).collect();
        values.sort();
        values
    }

    /// Changes a value; `None` unsets it. The collection lives `timeout` seconds from now on.
    pub(crate) fn change(
        &self,
        kind: Variable,
        key: &[u8],
        name: &[u8],
        timeout: u64,
        change: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) {
        let now = Instant::now();
        let mut held = self.lock();
        let id = (kind, key.to_vec());
        if !held.contains_key(&id) {
            make_room(&mut held, now);
        }
        let collection = held.entry(id).or_default();
        if !alive(collection.until, now) {
            collection.values.clear();
        }
        collection.until = now.checked_add(Duration::from_secs(timeout));
        let name = name.to_ascii_lowercase();
        let (before, until) = match collection.values.get(&name) {
            Some((value, until)) if alive(*until, now) => (Some(value.as_slice()), *until),
            _ => (None, None),
        };
        match change(before) {
            None => {
                collection.values.remove(&name);
            }
            Some(mut value) => {
                value.truncate(MOST_BYTES);
                let known = collection.values.contains_key(&name);
                if known || (collection.values.len() < MOST_VALUES && name.len() <= MOST_BYTES) {
                    collection.values.insert(name, (value, until));
                }
            }
        }
    }

    /// Lets a value expire.
    pub(crate) fn expire(&self, kind: Variable, key: &[u8], name: &[u8], seconds: u64) {
        let until = Instant::now().checked_add(Duration::from_secs(seconds));
        let mut held = self.lock();
        if let Some(collection) = held.get_mut(&(kind, key.to_vec()))
            && let Some(value) = collection.values.get_mut(&name.to_ascii_lowercase())
        {
            value.1 = until;
        }
    }
}

fn alive(until: Option<Instant>, now: Instant) -> bool {
    until.is_none_or(|until| until > now)
}

/// At the bound, drops what has expired, and a tenth of the rest where that is not enough.
fn make_room(held: &mut Guard<'_>, now: Instant) {
    if held.len() < MOST {
        return;
    }
    held.retain(|_, collection| alive(collection.until, now));
    if held.len() >= MOST {
        let mut number = 0usize;
        held.retain(|_, _| {
            number += 1;
            !number.is_multiple_of(10)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_outlive_and_expire() {
        let kept = Kept::default();
        let add = |before: Option<&[u8]>| Some(vec![before.map_or(0, |value| value[0]) + 1]);
        kept.change(Variable::Ip, b"1", b"Count", 60, add);
        kept.change(Variable::Ip, b"1", b"count", 60, add);
        assert_eq!(kept.values(Variable::Ip, b"1"), [(b"count".to_vec(), vec![2])]);
        assert!(kept.values(Variable::Ip, b"2").is_empty());
        kept.expire(Variable::Ip, b"1", b"COUNT", 0);
        assert!(kept.values(Variable::Ip, b"1").is_empty());
        for number in 0..MOST_VALUES + 5 {
            kept.change(Variable::Ip, b"3", format!("n{number}").as_bytes(), 60, add);
        }
        assert_eq!(kept.values(Variable::Ip, b"3").len(), MOST_VALUES);
        kept.change(Variable::Ip, b"3", b"n0", 60, |_| None);
        assert_eq!(kept.values(Variable::Ip, b"3").len(), MOST_VALUES - 1);
    }
}
