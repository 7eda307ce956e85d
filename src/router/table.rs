//! The patterns of one host, compiled for look-up.
//!
//! Exact paths are one hash look-up. Patterns with parameters and prefixes are two tries of segments; a look-up
//! descends at most as deep as the longest pattern, however long the path is, and tries a literal segment
//! before a parameter, so that the first pattern found is the most specific one.

use std::{collections::HashMap, sync::Arc};

use super::pattern::Shape;

/// The patterns of one host; `T` is what stands for a pattern.
#[derive(Debug)]
pub(super) struct Table<T> {
    exact: Names<Arc<T>>,
    parameters: Node<T>,
    prefixes: Node<T>,
}

impl<T> Table<T> {
    /// An empty table.
    pub(super) fn new() -> Self {
        Table { exact: Names::new(), parameters: Node::new(), prefixes: Node::new() }
    }

    /// Adds a pattern. Its shape is not in the table yet.
    pub(super) fn insert(&mut self, shape: &Shape, target: Arc<T>) {
        if shape.is_exact() {
            self.exact.insert(&shape.exact_key(), target);
        } else if shape.prefix {
            self.prefixes.insert(&shape.segments, target);
        } else {
            self.parameters.insert(&shape.segments, target);
        }
    }

    /// The most specific pattern that covers a path: an exact one, then one with parameters, then the longest
    /// prefix. One trailing slash means nothing.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<T>> {
        let rest = path.strip_prefix('/')?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(target) = self.exact.get(rest) {
            return Some(target);
        }
        let segments = if rest.is_empty() { None } else { Some(rest) };
        if let Some(target) = self.parameters.whole(segments) {
            return Some(target);
        }
        let mut best = None;
        self.prefixes.longest(segments, 0, &mut best);
        best.map(|(_, target)| target)
    }
}

/// A node of a trie of segments. Recursion is as deep as the longest pattern, at most `MAX_SEGMENTS`; each node
/// is visited at most once in a look-up.
#[derive(Debug)]
struct Node<T> {
    literals: Names<Node<T>>,
    parameter: Option<Box<Node<T>>>,
    here: Option<Arc<T>>,
}

impl<T> Node<T> {
    fn new() -> Self {
        Node { literals: Names::new(), parameter: None, here: None }
    }

    fn insert(&mut self, segments: &[Option<Box<str>>], target: Arc<T>) {
        let Some((segment, rest)) = segments.split_first() else {
            self.here = Some(target);
            return;
        };
        match segment {
            Some(literal) => self.literals.update(literal, Node::new, |node| node.insert(rest, target)),
            None => self.parameter.get_or_insert_with(|| Box::new(Node::new())).insert(rest, target),
        }
    }

    /// The pattern that covers exactly these segments; `None` stands for no segment more.
    fn whole(&self, segments: Option<&str>) -> Option<&Arc<T>> {
        let Some(segments) = segments else { return self.here.as_ref() };
        let (segment, rest) = next_segment(segments);
        let literal = self.literals.get(segment).and_then(|node| node.whole(rest));
        if literal.is_some() || segment.is_empty() {
            return literal;
        }
        self.parameter.as_ref().and_then(|node| node.whole(rest))
    }

    /// The longest pattern that covers the first of these segments; of two equally long ones the one that has a
    /// literal segment first, because literals are tried first and only a longer one takes its place.
    fn longest<'a>(&'a self, segments: Option<&str>, depth: usize, best: &mut Option<(usize, &'a Arc<T>)>) {
        if let Some(here) = &self.here
            && best.is_none_or(|(found, _)| found < depth)
        {
            *best = Some((depth, here));
        }
        let Some(segments) = segments else { return };
        let (segment, rest) = next_segment(segments);
        if let Some(node) = self.literals.get(segment) {
            node.longest(rest, depth + 1, best);
        }
        if let Some(node) = &self.parameter
            && !segment.is_empty()
        {
            node.longest(rest, depth + 1, best);
        }
    }
}

fn next_segment(segments: &str) -> (&str, Option<&str>) {
    match segments.split_once('/') {
        Some((segment, rest)) => (segment, Some(rest)),
        None => (segments, None),
    }
}

/// Up to this many names are compared one after the other: most segments have few that follow, and a hash
/// costs more than that.
const FEW: usize = 6;

/// A map by name. What is longer than its longest name is not even looked at, so that hostile lengths cost
/// nothing.
#[derive(Debug)]
pub(super) struct Names<V> {
    few: Vec<(Box<str>, V)>,
    /// All of them, where there are more than [`FEW`].
    many: HashMap<Box<str>, V>,
    longest: usize,
}

impl<V> Names<V> {
    /// An empty map.
    pub(super) fn new() -> Self {
        Names { few: Vec::new(), many: HashMap::new(), longest: 0 }
    }

    /// True where there is no name.
    pub(super) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_empty()
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        if name.len() > self.longest {
            None
        } else if self.many.is_empty() {
            self.few.iter().find(|(key, _)| **key == *name).map(|(_, value)| value)
        } else {
            self.many.get(name)
        }
    }

    /// Changes the value of a name; where there is none, one is made first.
    pub(super) fn update(&mut self, name: &str, make: impl FnOnce() -> V, change: impl FnOnce(&mut V)) {
        let known = if self.many.is_empty() {
            self.few.iter_mut().find(|(key, _)| **key == *name).map(|(_, value)| value)
        } else {
            self.many.get_mut(name)
        };
        match known {
            Some(value) => change(value),
            None => {
                let mut value = make();
                change(&mut value);
                self.insert(name, value);
            }
        }
    }

    /// Adds a name that is not there yet.
    pub(super) fn insert(&mut self, name: &str, value: V) {
        self.longest = self.longest.max(name.len());
        if self.many.is_empty() && self.few.len() < FEW {
            self.few.push((Box::from(name), value));
        } else {
            self.many.extend(self.few.drain(..));
            self.many.insert(Box::from(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_among_few_and_among_many() {
        for count in 0..=3 * FEW {
            let mut names = Names::new();
            for number in 0..count {
                names.update(&format!("n{number}"), || number, |value| *value += 100);
            }
            for number in 0..count {
                names.update(&format!("n{number}"), || 0, |value| *value += 1_000);
                assert_eq!(names.get(&format!("n{number}")), Some(&(number + 1_100)), "{number} of {count}");
            }
            assert_eq!(names.get("n"), None);
            assert_eq!(names.get(&format!("n{count}")), None);
            assert_eq!(names.get(&"n".repeat(100)), None);
        }
        let mut root = Names::new();
        root.insert("", 1);
        assert_eq!((root.get(""), root.get("a")), (Some(&1), None));
    }
}
