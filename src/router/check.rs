//! What only shows when routes are held side by side.

use palisade_contract::ConfigError;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    pattern::{HostPattern, Shape, Slot},
    table::Table,
    target::Entry,
};
use crate::conf::model::At;

/// The patterns of all hosts.
pub(super) type Hosts<'a> = BTreeMap<HostPattern, Patterns<'a>>;

/// The patterns of one host, and who uses them, in the order of the routes.
pub(super) type Patterns<'a> = BTreeMap<Shape, Vec<Use<'a>>>;

/// A pattern in a route's `paths`.
#[derive(Debug)]
pub(super) struct Use<'a> {
    pub(super) route: usize,
    pub(super) at: &'a At<String>,
    pub(super) params: Arc<[Slot]>,
}

/// Adds what is wrong. What shows under several hosts is reported once.
pub(super) fn check<R>(
    hosts: &Hosts<'_>,
    routes: &[Entry<R>],
    names: &[&str],
    errors: &mut Vec<ConfigError>,
) {
    let mut checker = Checker { routes, names, reported: BTreeSet::new(), errors };
    let mut reach: BTreeMap<&str, (&At<String>, bool)> = BTreeMap::new();
    for patterns in hosts.values() {
        let unreachable = unreachable(patterns);
        for (shape, uses) in patterns {
            checker.clashes(uses);
            let reachable = !unreachable.contains(shape);
            for used in uses {
                reach.entry(&used.at.path).or_insert((used.at, false)).1 |= reachable;
            }
        }
        checker.look_alikes(patterns);
    }
    for (at, _) in reach.into_values().filter(|(_, reachable)| !reachable) {
        let message =
            format!("`{}` can never match: other paths of its hosts cover all that is below it", at.value);
        let error = ConfigError::at(at.path.clone(), message).place(at.place.clone());
        errors.push(error.help("remove it, or one of the paths that are more specific"));
    }
}

struct Checker<'c, R> {
    routes: &'c [Entry<R>],
    names: &'c [&'c str],
    /// Pairs of paths in the document.
    reported: BTreeSet<(String, String)>,
    errors: &'c mut Vec<ConfigError>,
}

impl<R> Checker<'_, R> {
    /// Two routes of one pattern that can take the same request and have equally many header conditions.
    fn clashes(&mut self, uses: &[Use<'_>]) {
        for (index, later) in uses.iter().enumerate() {
            let earlier = uses.iter().take(index);
            let Some(other) = earlier.into_iter().find(|other| self.can_clash(other.route, later.route))
            else {
                continue;
            };
            let message = format!(
                "`{}` and `{}` of route `{}` can match the same request equally well",
                later.at.value,
                other.at.value,
                self.name(other.route)
            );
            let help = "give the routes different hosts, paths, methods or header values, or one of them more headers";
            self.report(later, other, message, help);
        }
    }

    fn can_clash(&self, one: usize, other: usize) -> bool {
        let (Some(one), Some(other)) = (self.routes.get(one), self.routes.get(other)) else { return false };
        let same_method =
            one.methods.is_empty() || other.methods.is_empty() || one.methods.iter().any(|m| other.takes(m));
        same_method && one.headers.len() == other.headers.len() && !exclude(&one.headers, &other.headers)
    }

    /// Two patterns of one host that have the same fold: every path of the one is a look-alike of the other's.
    fn look_alikes(&mut self, patterns: &Patterns<'_>) {
        let mut folds: HashMap<Shape, &Use<'_>> = HashMap::new();
        for (shape, uses) in patterns {
            let Some(first) = uses.first() else { continue };
            let Some(other) = folds.get(&shape.folded()) else {
                folds.insert(shape.folded(), first);
                continue;
            };
            let message = format!(
                "`{}` and `{}` of route `{}` look alike to an origin that ignores case, `;…` or trailing dots and spaces",
                first.at.value,
                other.at.value,
                self.name(other.route)
            );
            self.report(first, other, message, "keep one of them");
        }
    }

    fn report(&mut self, later: &Use<'_>, earlier: &Use<'_>, message: String, help: &str) {
        if self.reported.insert((later.at.path.clone(), earlier.at.path.clone())) {
            let error = ConfigError::at(later.at.path.clone(), message).place(later.at.place.clone());
            self.errors.push(error.help(help).other("the other one", earlier.at.place.clone()));
        }
    }

    fn name(&self, route: usize) -> &str {
        self.names.get(route).copied().unwrap_or_default()
    }
}

/// True where no request can hold the headers of both: one header must have two values.
fn exclude<V: PartialEq>(one: &[(http::HeaderName, V)], other: &[(http::HeaderName, V)]) -> bool {
    one.iter().any(|(name, value)| other.iter().any(|(key, wanted)| key == name && wanted != value))
}

/// The prefixes whose every path belongs to a pattern that is more specific, as `/*` beside `/` and `/{x}/*`.
///
/// No literal segment of another pattern covers a name that stands in no pattern. So a prefix that is found by
/// no path which has that name wherever it may is found by none at all.
fn unreachable<'p>(patterns: &'p Patterns<'_>) -> BTreeSet<&'p Shape> {
    const FRESH: &str = "\0";
    let mut table = Table::new();
    for shape in patterns.keys() {
        table.insert(shape, Arc::new(shape));
    }
    let deepest = patterns.keys().map(|shape| shape.segments.len()).max().unwrap_or(0);
    let is_reachable = |shape: &Shape| {
        let mut path = String::new();
        for segment in &shape.segments {
            path.push('/');
            path.push_str(segment.as_deref().unwrap_or(FRESH));
        }
        (shape.segments.len()..=deepest + 1).any(|_| {
            let found =
                table.find(if path.is_empty() { "/" } else { &path }).is_some_and(|found| **found == shape);
            path.push('/');
            path.push_str(FRESH);
            found
        })
    };
    patterns.keys().filter(|shape| shape.prefix && !is_reachable(shape)).collect()
}
