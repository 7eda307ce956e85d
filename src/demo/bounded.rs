//! A map that never holds more than so many entries.

use std::collections::{HashMap, VecDeque};

/// The newest `limit` entries by key; a further one takes the place of the oldest.
#[derive(Debug)]
pub(super) struct Bounded<V> {
    limit: usize,
    values: HashMap<String, V>,
    /// The keys of `values`, the oldest first.
    order: VecDeque<String>,
}

impl<V> Bounded<V> {
    pub(super) fn new(limit: usize) -> Self {
        Bounded { limit, values: HashMap::new(), order: VecDeque::new() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&V> {
        self.values.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        self.values.get_mut(key)
    }

    /// The oldest first.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.order.iter().filter_map(|key| self.values.get(key))
    }

    pub(super) fn insert(&mut self, key: &str, value: V) {
        if self.values.insert(key.to_owned(), value).is_some() {
            return;
        }
        self.order.push_back(key.to_owned());
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first() {
        let mut map = Bounded::new(2);
        map.insert("a", 1);
        map.insert("b", 2);
        map.insert("a", 3);
        assert_eq!(map.get("a"), Some(&3));
        map.insert("c", 4);
        assert_eq!((map.get("a"), map.get("b"), map.get("c")), (None, Some(&2), Some(&4)));
        assert_eq!(map.values().copied().collect::<Vec<_>>(), [2, 4]);
        assert_eq!(map.order.len(), map.values.len());
    }
}
