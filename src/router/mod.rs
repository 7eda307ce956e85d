//! Host, path, method and headers to a route.
//!
//! The most specific host is chosen first and never left, then within it the most specific path pattern: a
//! request for a host that is configured does not fall back to routes for any host, and a method that the
//! chosen pattern's routes do not take is refused with 405 rather than given to a shorter prefix.
//!
//! | Module | What is in it |
//! |---|---|
//! | `pattern` | path and host patterns as written, parsed |
//! | `table` | the patterns of one host, compiled for look-up |
//! | `target` | the routes of one pattern, and which of them takes a request |
//! | `check` | what only shows when routes are held side by side: clashes, look-alikes, the unreachable |
//!
//! Methods are literal: a route that takes `GET` does not take `HEAD` unless it says so.

mod check;
mod pattern;
mod table;
mod target;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use palisade_contract::{ConfigError, Place};
use std::{borrow::Cow, sync::Arc};

use self::{
    check::{Hosts, Patterns, Use},
    pattern::{HostPattern, Pattern, Slot},
    table::{Names, Table},
    target::{Candidate, Choice, Entry, Target},
};
use crate::{
    conf::model::{At, Route},
    fold::{fold, is_folded},
};

/// The longest name of a host (RFC 1035): a longer one in a request is no host that can be configured.
const MAX_HOST: usize = 253;

/// A route as the router takes it.
#[derive(Debug)]
pub struct RouteSpec<'a, R> {
    /// Its name, for errors.
    pub name: &'a str,
    /// None: any.
    pub hosts: &'a [At<String>],
    /// At least one.
    pub paths: &'a [At<String>],
    /// None: any.
    pub methods: &'a [Method],
    /// What must be there; the whole value, and no second one.
    pub headers: &'a [(HeaderName, String)],
    /// Where the route is written.
    pub place: &'a Place,
    /// Its path in the document.
    pub path: &'a str,
    /// What a look-up gives.
    pub payload: R,
}

impl<'a, R> RouteSpec<'a, R> {
    /// A configured route.
    pub fn of(name: &'a str, route: &'a At<Route>, payload: R) -> Self {
        let At { value, place, path } = route;
        let Route { hosts, paths, methods, headers, .. } = value;
        RouteSpec { name, hosts, paths, methods, headers, place, path, payload }
    }
}

/// The routes of a snapshot. Immutable.
#[derive(Debug)]
pub struct Router<R> {
    routes: Vec<Entry<R>>,
    exact: Names<Host>,
    below: Names<Host>,
    any: Option<Host>,
}

/// What a look-up gives.
#[derive(Debug)]
pub enum Lookup<'s, 'p, R> {
    /// A route takes the request.
    Found(Match<'s, 'p, R>),
    /// No pattern of the host covers the path, nor its fold: 404.
    NotFound,
    /// A pattern covers the path, but none of its routes takes the method: 405.
    MethodNotAllowed {
        /// The value of `Allow`: what the pattern's routes take, in order.
        allow: &'s HeaderValue,
        /// The first of those routes.
        route: &'s R,
    },
    /// Routes of the pattern take the method, but none takes the headers: 404.
    HeadersMismatch {
        /// The first of those routes.
        route: &'s R,
    },
    /// An origin may take the path for one that belongs to another route: 400 `path_ambiguous`.
    Ambiguous,
}

/// A route that takes a request.
#[derive(Debug)]
pub struct Match<'s, 'p, R> {
    /// The route's payload.
    pub route: &'s R,
    /// What the `{name}`s of its path stand for.
    pub params: Params<'s, 'p>,
    /// True where the route was found by the method that a preflight asks for, not by its own `OPTIONS`: nothing
    /// but an answer to the preflight may come of it.
    pub for_preflight: bool,
}

/// What the `{name}`s of a route's path stand for: found in the path when asked for, nothing is allocated.
/// Values are as they stand in the normalised path, percent sequences and all.
#[derive(Debug, Clone, Copy)]
pub struct Params<'s, 'p> {
    slots: &'s [Slot],
    path: &'p str,
}

impl<'s, 'p> Params<'s, 'p> {
    /// Names and values, from the left.
    pub fn iter(&self) -> impl Iterator<Item = (&'s Arc<str>, &'p str)> + use<'s, 'p> {
        let path = self.path;
        // The first part is what stands before the slash at the front.
        self.slots.iter().filter_map(move |(name, index)| Some((name, path.split('/').nth(index + 1)?)))
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&'p str> {
        self.iter().find(|(key, _)| ***key == *name).map(|(_, value)| value)
    }

    /// True where the route's path has none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl<R> Router<R> {
    /// Compiles routes.
    ///
    /// # Errors
    /// Everything that is wrong with them: hosts and paths that are malformed or can never match, two routes
    /// that can match the same request equally well, patterns of one host that are look-alikes of each other.
    pub fn build<'a>(specs: impl IntoIterator<Item = RouteSpec<'a, R>>) -> Result<Self, Vec<ConfigError>>
    where
        R: 'a,
    {
        let mut hosts = Hosts::new();
        let mut names = Vec::new();
        let mut routes = Vec::new();
        let mut errors = Vec::new();
        for spec in specs {
            collect(&spec, routes.len(), &mut hosts, &mut errors);
            let conditions = conditions(&spec, &mut errors);
            names.push(spec.name);
            routes.push(Entry { payload: spec.payload, methods: spec.methods.into(), headers: conditions });
        }
        check::check(&hosts, &routes, &names, &mut errors);
        if !errors.is_empty() {
            return Err(errors);
        }
        let mut router = Router { routes, exact: Names::new(), below: Names::new(), any: None };
        for (host, patterns) in &hosts {
            let compiled = Host::compile(patterns, &router.routes);
            match host {
                HostPattern::Exact(name) => router.exact.insert(name, compiled),
                HostPattern::Below(name) => router.below.insert(name, compiled),
                HostPattern::Any => router.any = Some(compiled),
            }
        }
        Ok(router)
    }

    /// The route that takes a request. `host` is without its port; `path` is in normal form, without the query.
    pub fn find<'s, 'p>(
        &'s self,
        host: &str,
        path: &'p str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Lookup<'s, 'p, R> {
        self.look_up(host, path, &|target| target.choose(&self.routes, method, headers))
    }

    /// The route that a CORS preflight is about: the one that takes the request itself, else one that takes the
    /// method that it asks for. A preflight cannot carry the headers that the route asks for, so where no
    /// route's header conditions hold, the route with the fewest of them is taken.
    pub fn find_preflight<'s, 'p>(
        &'s self,
        host: &str,
        path: &'p str,
        requested: &Method,
        headers: &HeaderMap,
    ) -> Lookup<'s, 'p, R> {
        match self.find(host, path, &Method::OPTIONS, headers) {
            Lookup::MethodNotAllowed { .. } | Lookup::HeadersMismatch { .. } => {}
            decided => return decided,
        }
        let choose = |target: &'s Target| target.choose_for_preflight(&self.routes, requested, headers);
        match self.look_up(host, path, &choose) {
            Lookup::Found(found) => Lookup::Found(Match { for_preflight: true, ..found }),
            other => other,
        }
    }

    /// How many routes there are.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// True where there is no route.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    fn look_up<'s, 'p>(
        &'s self,
        host: &str,
        path: &'p str,
        choose: &dyn Fn(&'s Target) -> Choice<'s>,
    ) -> Lookup<'s, 'p, R> {
        let Some(host) = self.host(host) else { return Lookup::NotFound };
        let Some(target) = host.plain.find(path) else {
            // Nothing of ours, but an origin behind another route might take it for something of ours.
            return if host.look_alike(path).is_some() { Lookup::Ambiguous } else { Lookup::NotFound };
        };
        let (candidate, entry) = match choose(target) {
            Choice::Route(candidate) => match self.entry(candidate) {
                Some(entry) => (candidate, entry),
                None => return Lookup::NotFound,
            },
            refused => {
                let Some(Entry { payload: route, .. }) = self.routes.get(target.first) else {
                    return Lookup::NotFound;
                };
                return match refused {
                    Choice::MethodNotAllowed => Lookup::MethodNotAllowed { allow: &target.allow, route },
                    _ => Lookup::HeadersMismatch { route },
                };
            }
        };
        if host.is_ambiguous(path, candidate, choose) {
            return Lookup::Ambiguous;
        }
        let params = Params { slots: &candidate.params, path };
        Lookup::Found(Match { route: &entry.payload, params, for_preflight: false })
    }

    /// The most specific host: exact, then the longest wildcard, then any. A name at the end of a dot is the
    /// same name.
    fn host(&self, host: &str) -> Option<&Host> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.len() > MAX_HOST {
            return self.any.as_ref();
        }
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        if let Some(found) = self.exact.get(&host) {
            return Some(found);
        }
        let mut rest = if self.below.is_empty() { "" } else { &*host };
        while let Some((label, parent)) = rest.split_once('.') {
            let whole = label.len() + 1 + parent.len() == host.len();
            // `.example.com` has no label before the dot.
            if !(whole && label.is_empty())
                && let Some(found) = self.below.get(parent)
            {
                return Some(found);
            }
            rest = parent;
        }
        self.any.as_ref()
    }

    fn entry(&self, candidate: &Candidate) -> Option<&Entry<R>> {
        self.routes.get(candidate.route)
    }
}

/// The patterns of a host.
#[derive(Debug)]
struct Host {
    plain: Table<Target>,
    /// The same patterns folded; none where each is its own fold.
    folded: Option<Table<Target>>,
}

impl Host {
    fn compile<R>(patterns: &Patterns<'_>, routes: &[Entry<R>]) -> Self {
        let folds = patterns.keys().any(|shape| *shape != shape.folded());
        let mut host = Host { plain: Table::new(), folded: folds.then(Table::new) };
        for (shape, uses) in patterns {
            let target = Arc::new(Target::compile(uses, routes));
            if let Some(folded) = &mut host.folded {
                folded.insert(&shape.folded(), target.clone());
            }
            host.plain.insert(shape, target);
        }
        host
    }

    /// True where the folded path belongs to another route, or to a pattern whose routes refuse the request:
    /// what is protected by a method or a header is protected under its look-alikes as well.
    fn is_ambiguous<'s>(
        &'s self,
        path: &str,
        found: &Candidate,
        choose: &dyn Fn(&'s Target) -> Choice<'s>,
    ) -> bool {
        match self.look_alike(path).map(|target| choose(target)) {
            None => false,
            Some(Choice::Route(other)) => other.route != found.route,
            Some(Choice::MethodNotAllowed | Choice::HeadersMismatch) => true,
        }
    }

    /// What the folded path belongs to, where folding can change anything.
    fn look_alike(&self, path: &str) -> Option<&Arc<Target>> {
        // `OPTIONS *` is no path; its fold would be one.
        if (self.folded.is_none() && is_folded(path)) || !path.starts_with('/') {
            return None;
        }
        self.folded.as_ref().unwrap_or(&self.plain).find(&fold(path))
    }
}

/// Adds the patterns of a route to its hosts.
fn collect<'a, R>(
    spec: &RouteSpec<'a, R>,
    route: usize,
    hosts: &mut Hosts<'a>,
    errors: &mut Vec<ConfigError>,
) {
    let mut own_hosts: Vec<(HostPattern, Option<&At<String>>)> = Vec::new();
    for at in spec.hosts {
        match HostPattern::parse(&at.value) {
            Err(problem) => errors.push(error_at(at, problem.message).help(problem.help)),
            Ok(host) => match own_hosts.iter().find(|(other, _)| *other == host) {
                None => own_hosts.push((host, Some(at))),
                Some((_, first)) => errors.push(twice(at, *first)),
            },
        }
    }
    if spec.hosts.is_empty() {
        own_hosts.push((HostPattern::Any, None));
    }
    if spec.paths.is_empty() {
        let error = ConfigError::at(spec.path, "a route without a path can never match");
        errors.push(error.place(spec.place.clone()).help("write `paths: [/*]` for every path"));
    }
    let mut own_paths: Vec<(Pattern, &At<String>)> = Vec::new();
    for at in spec.paths {
        match Pattern::parse(&at.value) {
            Err(problem) => errors.push(error_at(at, problem.message).help(problem.help)),
            Ok(pattern) => match own_paths.iter().find(|(other, _)| other.shape == pattern.shape) {
                None => own_paths.push((pattern, at)),
                Some((_, first)) => errors.push(twice(at, Some(first))),
            },
        }
    }
    for (host, _) in own_hosts {
        let patterns = hosts.entry(host).or_default();
        for (pattern, at) in &own_paths {
            let new = Use { route, at, params: pattern.params.clone() };
            patterns.entry(pattern.shape.clone()).or_default().push(new);
        }
    }
}

/// The header conditions of a route, by name.
fn conditions<R>(spec: &RouteSpec<'_, R>, errors: &mut Vec<ConfigError>) -> Box<[(HeaderName, HeaderValue)]> {
    let mut conditions = Vec::with_capacity(spec.headers.len());
    for (name, text) in spec.headers {
        // White space around a value is no part of it (RFC 9110, section 5.5).
        match HeaderValue::from_str(text) {
            Ok(value) if text.trim_matches([' ', '\t']) == text => conditions.push((name.clone(), value)),
            _ => {
                let message = format!("`{}` can never match: no header has that value", text.escape_debug());
                let error = ConfigError::at(format!("{}.headers.{name}", spec.path), message);
                let help =
                    "write the whole value, without white space around it and without control characters";
                errors.push(error.place(spec.place.clone()).help(help));
            }
        }
    }
    conditions.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
    conditions.into()
}

fn error_at(at: &At<String>, message: String) -> ConfigError {
    ConfigError::at(at.path.clone(), message).place(at.place.clone())
}

fn twice(at: &At<String>, first: Option<&At<String>>) -> ConfigError {
    let error = error_at(at, format!("`{}` stands twice in this route", at.value)).help("remove one of them");
    match first {
        Some(first) => error.other("the first one", first.place.clone()),
        None => error,
    }
}
