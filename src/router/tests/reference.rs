//! The router against a naive implementation of the same rules, over many small sets of routes.
//!
//! The naive one knows no tables: it holds each pattern beside each path, ranks what matches and takes the
//! first. Whether routes may stand together it finds by trying every request of a small universe.

use super::{Written, build, header_map, word};
use http::Method;
use proptest::{collection::vec, prelude::*, sample::select};
use std::{cmp::Reverse, collections::BTreeSet};

const METHODS: [&str; 3] = ["GET", "PUT", "DELETE"];
const HEADERS: [&[(&str, &str)]; 7] = [
    &[],
    &[("x-v", "1")],
    &[("x-v", "2")],
    &[("x-w", "1")],
    &[("x-v", "1"), ("x-w", "1")],
    &[("x-v", "2"), ("x-w", "1")],
    &[("x-v", "1"), ("x-v", "2"), ("x-w", "1")],
];

type Request<'a> = (&'a str, String, &'a str, &'a [(&'a str, &'a str)]);

/// The segments of a path: one slash at the end means nothing.
fn segments(path: &str) -> Vec<&str> {
    let rest = path.strip_prefix('/').unwrap();
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() { Vec::new() } else { rest.split('/').collect() }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

fn covers(pattern: &str, path: &str) -> bool {
    let (pattern, prefix) = match pattern.strip_suffix("*") {
        Some(rest) => (segments(rest), true),
        None => (segments(pattern), false),
    };
    let path = segments(path);
    let lengths = if prefix { pattern.len() <= path.len() } else { pattern.len() == path.len() };
    lengths
        && pattern
            .iter()
            .zip(&path)
            .all(|(one, other)| one == other || (is_parameter(one) && !other.is_empty()))
}

/// Greater is more specific.
fn rank(pattern: &str) -> (u8, usize, Vec<bool>) {
    let prefix = pattern.ends_with("/*");
    let names = segments(pattern.strip_suffix('*').unwrap_or(pattern));
    let literals: Vec<bool> = names.iter().map(|segment| !is_parameter(segment)).collect();
    match (prefix, literals.iter().all(|literal| *literal)) {
        (false, true) => (3, 0, Vec::new()),
        (false, false) => (2, 0, literals),
        (true, _) => (1, names.len(), literals),
    }
}

fn host_rank(pattern: &str, host: &str) -> Option<(u8, usize)> {
    match pattern.strip_prefix("*.") {
        _ if pattern == host => Some((3, 0)),
        Some(suffix) => host.ends_with(&format!(".{suffix}")).then_some((2, suffix.len())),
        None => (pattern == "any").then_some((1, 0)),
    }
}

/// A pattern without its parameters' names, folded if asked for.
fn shape(pattern: &str, folded: bool) -> String {
    let (body, star) = match pattern.strip_suffix('*') {
        Some(body) => (body, "/*"),
        None => (pattern, ""),
    };
    let one = |segment: &&str| if is_parameter(segment) { "{}".to_owned() } else { (*segment).to_owned() };
    let mut names: Vec<String> = segments(body).iter().map(one).collect();
    if folded {
        names = names.iter().map(|name| naive_fold(name)).filter(|name| !name.is_empty()).collect();
    }
    format!("/{}{star}", names.join("/"))
}

/// Enough for the segments of the universe.
fn naive_fold(segment: &str) -> String {
    let name = segment.replace("%20", " ");
    name.split(';').next().unwrap().trim_end_matches(['.', ' ']).to_lowercase()
}

fn folded_path(path: &str) -> String {
    let kept: Vec<String> =
        segments(path).into_iter().map(naive_fold).filter(|name| !name.is_empty()).collect();
    format!("/{}", kept.join("/"))
}

fn hosts_of(route: &Written) -> Vec<&str> {
    if route.hosts.is_empty() { vec!["any"] } else { route.hosts.iter().map(String::as_str).collect() }
}

/// The patterns of a host with their routes' numbers.
fn patterns_of<'r>(routes: &'r [Written], host: &str) -> Vec<(usize, &'r str)> {
    let uses = |(index, route): (usize, &'r Written)| {
        let here = hosts_of(route).contains(&host);
        route.paths.iter().filter(move |_| here).map(move |path| (index, path.as_str()))
    };
    routes.iter().enumerate().flat_map(uses).collect()
}

fn takes_headers(route: &Written, headers: &[(&str, &str)]) -> bool {
    route.headers.iter().all(|(name, value)| {
        let values: Vec<_> = headers.iter().filter(|(key, _)| *key == name.as_str()).collect();
        values.len() == 1 && values[0].1 == value
    })
}

fn takes_method(route: &Written, method: &str) -> bool {
    route.methods.is_empty() || route.methods.iter().any(|own| own.as_str() == method)
}

/// The routes that tie for a request within the most specific pattern, or why there is none.
fn decide(routes: &[Written], request: &Request<'_>, folded: bool) -> Result<Vec<(usize, String)>, String> {
    let (host, path, method, headers) = request;
    let hosts: BTreeSet<&str> = routes.iter().flat_map(hosts_of).collect();
    let host = hosts.into_iter().filter_map(|known| Some((host_rank(known, host)?, known))).max();
    let Some((_, host)) = host else { return Err("404".into()) };
    let mut covering: Vec<(usize, &str, String)> = patterns_of(routes, host)
        .into_iter()
        .map(|(index, written)| (index, written, shape(written, folded)))
        .filter(|(_, _, pattern)| covers(pattern, path))
        .collect();
    let Some(best) = covering.iter().map(|(_, _, pattern)| rank(pattern)).max() else {
        return Err("404".into());
    };
    covering.retain(|(_, _, pattern)| rank(pattern) == best);
    let methods: BTreeSet<&str> =
        covering.iter().flat_map(|(index, _, _)| routes[*index].methods.iter().map(Method::as_str)).collect();
    covering.retain(|(index, _, _)| takes_method(&routes[*index], method));
    if covering.is_empty() {
        return Err(format!("405 {}", methods.into_iter().collect::<Vec<_>>().join(", ")));
    }
    covering.retain(|(index, _, _)| takes_headers(&routes[*index], headers));
    let Some(most) = covering.iter().map(|(index, _, _)| routes[*index].headers.len()).max() else {
        return Err("404 headers".into());
    };
    covering.retain(|(index, _, _)| routes[*index].headers.len() == most);
    Ok(covering.into_iter().map(|(index, written, _)| (index, written.to_owned())).collect())
}

/// What the router must answer.
fn reference(routes: &[Written], request: &Request<'_>) -> String {
    let folded = (request.0, folded_path(&request.1), request.2, request.3);
    let look_alike = decide(routes, &folded, true);
    let (index, written) = match decide(routes, request, false) {
        Ok(found) => found.into_iter().next().unwrap(),
        Err(refusal) if refusal == "404" && look_alike != Err("404".to_owned()) => return "400".into(),
        Err(refusal) => return refusal,
    };
    match look_alike {
        Ok(other) if other[0].0 != index => return "400".into(),
        Err(refusal) if refusal != "404" => return "400".into(),
        _ => {}
    }
    let pairs =
        segments(&written).into_iter().zip(segments(&request.1)).filter(|(name, _)| is_parameter(name));
    let params = pairs.map(|(name, value)| format!(" {}={value}", name.trim_matches(['{', '}'])));
    format!("{}{}", routes[index].name, params.collect::<String>())
}

/// True where the routes may stand together.
fn is_sound(routes: &[Written], paths: &[String]) -> bool {
    let hosts: BTreeSet<&str> = routes.iter().flat_map(hosts_of).collect();
    let mut reached: BTreeSet<(usize, &str)> = BTreeSet::new();
    for host in hosts {
        let patterns = patterns_of(routes, host);
        let shapes: BTreeSet<String> = patterns.iter().map(|(_, written)| shape(written, false)).collect();
        let folds: BTreeSet<String> = patterns.iter().map(|(_, written)| shape(written, true)).collect();
        if shapes.len() != folds.len() {
            return false;
        }
        for path in paths {
            let covering = || patterns.iter().filter(|(_, written)| covers(&shape(written, false), path));
            let best = covering().map(|(_, written)| rank(written)).max();
            reached.extend(covering().filter(|(_, written)| Some(rank(written)) == best).copied());
        }
        for shape_of_one in shapes {
            let users = patterns.iter().filter(|(_, written)| shape(written, false) == shape_of_one);
            if has_tie(routes, &users.map(|(index, _)| *index).collect::<Vec<_>>()) {
                return false;
            }
        }
    }
    let all = routes
        .iter()
        .enumerate()
        .flat_map(|(index, route)| route.paths.iter().map(move |path| (index, path)));
    let twice = routes.iter().any(|route| {
        let shapes: BTreeSet<String> = route.paths.iter().map(|path| shape(path, false)).collect();
        shapes.len() != route.paths.len()
    });
    !twice && all.into_iter().all(|(index, path)| reached.contains(&(index, path.as_str())))
}

/// True where some request finds two of these routes equally good.
fn has_tie(routes: &[Written], users: &[usize]) -> bool {
    METHODS.iter().any(|method| {
        HEADERS.iter().any(|headers| {
            let takes = |index: &&usize| {
                takes_method(&routes[**index], method) && takes_headers(&routes[**index], headers)
            };
            let counts: Vec<_> =
                users.iter().filter(takes).map(|index| routes[*index].headers.len()).collect();
            let best = counts.iter().max();
            counts.iter().filter(|count| Some(*count) == best).count() > 1
                || counts.iter().any(|count| counts.iter().filter(|other| *other == count).count() > 1)
        })
    })
}

/// Every path of up to four of these segments.
fn all_paths() -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut last = paths.clone();
    for _ in 0..4 {
        last = last
            .iter()
            .flat_map(|path| ["a", "b", "A", "b;1", "z"].map(|name| format!("{path}/{name}")))
            .collect();
        paths.extend(last.clone());
    }
    paths[0] = "/".to_owned();
    paths
}

fn pattern() -> impl Strategy<Value = String> {
    let names = vec(select(vec!["a", "a", "b", "A", "b;1", "{x}", "{y}"]), 0..4);
    (names, any::<bool>()).prop_map(|(names, prefix)| {
        let mut seen = BTreeSet::new();
        // A name may stand in a pattern once only.
        let names: Vec<_> =
            names.into_iter().filter(|name| !is_parameter(name) || seen.insert(*name)).collect();
        let path = names.iter().map(|name| format!("/{name}")).collect::<String>();
        match (prefix, path.is_empty()) {
            (true, _) => format!("{path}/*"),
            (false, true) => "/".to_owned(),
            (false, false) => path,
        }
    })
}

fn written() -> impl Strategy<Value = Written> {
    let hosts = select(vec![vec![], vec![], vec!["a.test"], vec!["*.test"], vec!["*.b.test", "a.test"]]);
    let methods = select(vec![vec![], vec!["GET"], vec!["GET", "PUT"], vec!["DELETE"]]);
    let headers = select(HEADERS[..5].to_vec());
    (hosts, vec(pattern(), 1..3), methods, headers).prop_map(|(hosts, paths, methods, headers)| Written {
        name: String::new(),
        hosts: hosts.into_iter().map(str::to_owned).collect(),
        paths,
        methods: methods.iter().map(|method| method.parse().unwrap()).collect(),
        headers: headers.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect(),
    })
}

fn request() -> impl Strategy<Value = Request<'static>> {
    let hosts = select(vec!["a.test", "c.test", "c.b.test", "b.test", "test", "other"]);
    let names = vec(select(vec!["a", "b", "A", "B", "z", "a;1", "b.", "b%20", ";", "...", "b;1"]), 0..5);
    let path = (names, any::<bool>()).prop_map(|(names, slash)| {
        let path = names.iter().map(|name| format!("/{name}")).collect::<String>();
        if slash || path.is_empty() { path + "/" } else { path }
    });
    (hosts, path, select(METHODS.to_vec()), select(HEADERS.to_vec()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_router_does_what_the_rules_say(candidates in vec(written(), 1..8), requests in vec(request(), 60)) {
        let paths = all_paths();
        let mut routes: Vec<Written> = Vec::new();
        for (index, mut candidate) in candidates.into_iter().enumerate() {
            candidate.name = format!("r{index}");
            routes.push(candidate);
            let sound = is_sound(&routes, &paths);
            let built = build(&routes);
            prop_assert_eq!(built.is_ok(), sound, "{:?} {:?}", built.err(), routes);
            if !sound {
                routes.pop();
            }
        }
        // The order in which routes are written means nothing.
        let mut reversed = routes.clone();
        reversed.reverse();
        let (router, reversed) = (build(&routes).unwrap(), build(&reversed).unwrap());
        for request in &requests {
            let (host, path, method, headers) = request;
            let method = method.parse::<Method>().unwrap();
            let headers = header_map(headers);
            let expected = reference(&routes, request);
            prop_assert_eq!(word(&router.find(host, path, &method, &headers)), expected.clone(), "{:?} {:?}", request, routes);
            prop_assert_eq!(word(&reversed.find(host, path, &method, &headers)), expected);
        }
    }
}

#[test]
fn greater_is_more_specific() {
    let order =
        ["/a", "/a/{x}", "/{x}/a", "/a/b/*", "/a/{x}/*", "/{x}/b/*", "/{x}/{y}/*", "/a/*", "/{x}/*", "/*"];
    let ranks: Vec<_> = order.iter().map(|pattern| Reverse(rank(pattern))).collect();
    assert!(ranks.is_sorted());
}
