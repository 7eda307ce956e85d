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
            self.exact.get_or_insert_with(&shape.exact_key(), || target);
            return;
        }
        let mut node = if shape.prefix { &mut self.prefixes } else { &mut self.parameters };
        for segment in &shape.segments {
            node = match segment {
                Some(literal) => node.literals.get_or_insert_with(literal, Node::new),
                None => node.parameter.get_or_insert_with(|| Box::new(Node::new())),
            };
        }
        node.here = Some(target);
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

/// A map by name that does not hash what is longer than its longest name, so that hostile lengths cost nothing.
#[derive(Debug)]
pub(super) struct Names<V> {
    map: HashMap<Box<str>, V>,
    longest: usize,
}

impl<V> Names<V> {
    /// An empty map.
    pub(super) fn new() -> Self {
        Names { map: HashMap::new(), longest: 0 }
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&V> {
        if name.len() > self.longest || self.map.is_empty() { None } else { self.map.get(name) }
    }

    /// The value of a name, made where there is none.
    pub(super) fn get_or_insert_with(&mut self, name: &str, make: impl FnOnce() -> V) -> &mut V {
        self.longest = self.longest.max(name.len());
        self.map.entry(Box::from(name)).or_insert_with(make)
    }
}
