//! The routes of one pattern, and which of them takes a request.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{check::Use, pattern::Slot};

/// A route's payload and conditions.
#[derive(Debug)]
pub(super) struct Entry<R> {
    pub(super) payload: R,
    /// None: any.
    pub(super) methods: Box<[Method]>,
    /// All of them must hold; sorted by name, no name twice.
    pub(super) headers: Box<[(HeaderName, HeaderValue)]>,
}

impl<R> Entry<R> {
    pub(super) fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }
}

/// A route as one pattern leads to it: parameters have the names of that route's pattern.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) route: usize,
    pub(super) params: Arc<[Slot]>,
}

/// What came of the routes of one pattern.
pub(super) enum Choice<'s> {
    /// This one takes the request.
    Route(&'s Candidate),
    /// None takes the method.
    MethodNotAllowed,
    /// None of those that take the method takes the headers.
    HeadersMismatch,
}

/// The routes of one pattern.
#[derive(Debug)]
pub(super) struct Target {
    /// The first of the routes.
    pub(super) first: usize,
    /// Most header conditions first.
    groups: Box<[Group]>,
    /// What the routes take together; none: any method.
    methods: Box<[Method]>,
    /// The same as the value of `Allow`.
    pub(super) allow: HeaderValue,
}

/// Routes with equally many header conditions that have the first header in common. Thousands of routes that
/// differ in the value of one header (a tenant, a version) are found by one hash look-up.
#[derive(Debug)]
enum Group {
    Unconditional(Vec<Candidate>),
    By(HeaderName, HashMap<HeaderValue, Vec<Candidate>>),
}

impl Target {
    pub(super) fn compile<R>(uses: &[Use<'_>], routes: &[Entry<R>]) -> Self {
        let mut groups: BTreeMap<(Reverse<usize>, Option<&str>), Group> = BTreeMap::new();
        let mut methods = BTreeSet::new();
        let mut any_method = false;
        for used in uses {
            let Some(entry) = routes.get(used.route) else { continue };
            any_method |= entry.methods.is_empty();
            methods.extend(entry.methods.iter().map(Method::as_str));
            let candidate = Candidate { route: used.route, params: used.params.clone() };
            let first = entry.headers.first();
            let key = (Reverse(entry.headers.len()), first.map(|(name, _)| name.as_str()));
            let group = groups.entry(key).or_insert_with(|| match first {
                None => Group::Unconditional(Vec::new()),
                Some((name, _)) => Group::By(name.clone(), HashMap::new()),
            });
            match (group, first) {
                (Group::By(_, by_value), Some((_, value))) => {
                    by_value.entry(value.clone()).or_default().push(candidate);
                }
                (Group::Unconditional(candidates), _) => candidates.push(candidate),
                // The key says which of the two it is.
                (Group::By(..), None) => {}
            }
        }
        let allow = methods.iter().copied().collect::<Vec<_>>().join(", ");
        if any_method {
            methods.clear();
        }
        Target {
            first: uses.iter().map(|used| used.route).min().unwrap_or(usize::MAX),
            groups: groups.into_values().collect(),
            methods: methods.into_iter().filter_map(|method| method.parse().ok()).collect(),
            // Methods are tokens, so that they always make a header value.
            allow: HeaderValue::from_str(&allow).unwrap_or(HeaderValue::from_static("")),
        }
    }

    /// Of the routes that take the method and the headers the one with most header conditions. There is no
    /// second one like it: that was an error when the routes were compiled.
    pub(super) fn choose<R>(&self, routes: &[Entry<R>], method: &Method, headers: &HeaderMap) -> Choice<'_> {
        if !self.methods.is_empty() && !self.methods.contains(method) {
            return Choice::MethodNotAllowed;
        }
        let takes = |candidate: &&Candidate| {
            let Some(entry) = routes.get(candidate.route) else { return false };
            let holds = |(name, value): &(HeaderName, HeaderValue)| only_value(headers, name) == Some(value);
            entry.takes(method) && entry.headers.iter().all(holds)
        };
        let chosen = self.groups.iter().find_map(|group| match group {
            Group::Unconditional(candidates) => candidates.iter().find(takes),
            Group::By(name, by_value) => by_value.get(only_value(headers, name)?)?.iter().find(takes),
        });
        chosen.map_or(Choice::HeadersMismatch, Choice::Route)
    }

    /// The same, but where no route's header conditions hold, one with the fewest of them: a preflight cannot
    /// carry the headers of the request that it announces.
    pub(super) fn choose_for_preflight<R>(
        &self,
        routes: &[Entry<R>],
        requested: &Method,
        headers: &HeaderMap,
    ) -> Choice<'_> {
        let chosen = self.choose(routes, requested, headers);
        let Choice::HeadersMismatch = chosen else { return chosen };
        let takes = |candidate: &&Candidate| routes.get(candidate.route).is_some_and(|e| e.takes(requested));
        let found = self.groups.iter().rev().find_map(|group| match group {
            Group::Unconditional(candidates) => candidates.iter().find(takes),
            // The least, because the order of a hash map is not the same every time.
            Group::By(_, by_value) => {
                by_value.values().flatten().filter(takes).min_by_key(|candidate| candidate.route)
            }
        });
        found.map_or(Choice::HeadersMismatch, Choice::Route)
    }
}

/// The value of a header that is there once: what is there twice can be read in two ways, and holds for none.
fn only_value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let value = values.next();
    if values.next().is_some() { None } else { value }
}
