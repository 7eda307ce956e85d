//! Why a request has its route, and not one of its neighbours.

use crate::{
    conf::model::{At, Config, Route},
    router::{Lookup, RouteSpec, Router},
};
use palisade_contract::Exchange;
use serde::Serialize;
use std::sync::Arc;

/// The most neighbours that are shown.
const MOST: usize = 8;

/// A route that the request does not have.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Near {
    /// Its name.
    pub route: String,
    /// Where it is written.
    pub place: String,
    /// Why the request is not its.
    pub why: String,
    #[serde(skip)]
    rank: u8,
}

/// The neighbours of the route that a canonical request has, the nearest first, and how many routes there are besides.
pub(super) fn near(config: &Config, ex: &Exchange) -> (Vec<Near>, usize) {
    let others = config.routes.iter().filter(|(name, _)| ex.route() != Some(*name));
    let mut all: Vec<Near> = others.clone().filter_map(|(name, route)| judge(name, route, ex)).collect();
    all.sort_by(|a, b| (a.rank, &a.route).cmp(&(b.rank, &b.route)));
    all.truncate(MOST);
    let rest = others.count() - all.len();
    (all, rest)
}

/// Asks the router itself, with this route alone; then with it for any host.
fn judge(name: &Arc<str>, route: &At<Route>, ex: &Exchange) -> Option<Near> {
    let written = &route.value;
    let ask = |any_host: bool| -> Option<(u8, String)> {
        let mut spec = RouteSpec::of(name, route, ());
        if any_host {
            spec.hosts = &[];
        }
        let router = Router::build([spec]).ok()?;
        let request = &ex.request;
        Some(match router.find(ex.host(), ex.path(), &request.method, &request.headers) {
            Lookup::Found(_) => {
                (0, "it would take this as well, but a more specific host or path goes first".to_owned())
            }
            Lookup::MethodNotAllowed { .. } => {
                let methods: Vec<_> = written.methods.iter().map(http::Method::as_str).collect();
                (1, format!("method: it takes {}", methods.join(", ")))
            }
            Lookup::HeadersMismatch { .. } => {
                let names: Vec<_> = written.headers.iter().map(|(name, _)| name.as_str()).collect();
                (1, format!("headers: it asks for {}", names.join(", ")))
            }
            Lookup::Ambiguous => (2, "path: an origin might take it for one of its own".to_owned()),
            Lookup::NotFound => return None,
        })
    };
    let hosts = || written.hosts.iter().map(|host| host.value.as_str()).collect::<Vec<_>>().join(", ");
    let paths = || written.paths.iter().map(|path| path.value.as_str()).collect::<Vec<_>>().join(", ");
    let first = |path: &str| path.split('/').nth(1).unwrap_or_default().to_ascii_lowercase();
    let related = || written.paths.iter().any(|path| first(&path.value) == first(ex.path()));
    let (rank, why) = ask(false)
        .or_else(|| ask(true).map(|_| (3, format!("host: it is for {}", hosts()))))
        .or_else(|| related().then(|| (4, format!("path: it takes {}", paths()))))?;
    Some(Near { route: name.to_string(), place: route.place.to_string(), why, rank })
}
