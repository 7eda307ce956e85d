//! The compiled table as people and tools see it: `palisade routes` and `GET /routes`. No secret is in it.

use super::{RouteRuntime, Snapshot};
use crate::{
    chain::{Chain, Slot},
    conf::model::{OnFault, Route},
};
use palisade_contract::Mode;
use serde::Serialize;
use std::collections::BTreeMap;

/// What stands for a value that came out of a reference.
const HIDDEN: &str = "[hidden]";

/// Which requests a route takes. Of hosts, methods and headers none means any.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Takes {
    /// As written.
    pub hosts: Vec<String>,
    /// As written.
    pub paths: Vec<String>,
    /// As written.
    pub methods: Vec<String>,
    /// Names, and the value that each must have.
    pub headers: BTreeMap<String, String>,
}

impl Takes {
    pub(super) fn of(route: &Route) -> Self {
        let header = |(name, value): &(http::HeaderName, String)| {
            let hidden = route.secret_headers.contains(name);
            (name.to_string(), if hidden { HIDDEN.to_owned() } else { value.clone() })
        };
        Takes {
            hosts: route.hosts.iter().map(|host| host.value.clone()).collect(),
            paths: route.paths.iter().map(|path| path.value.clone()).collect(),
            methods: route.methods.iter().map(ToString::to_string).collect(),
            headers: route.headers.iter().map(header).collect(),
        }
    }
}

/// A compiled route.
#[derive(Debug, Serialize)]
pub struct RouteView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Which requests it takes.
    pub r#match: &'a Takes,
    /// Where they go; none where a plugin always answers.
    pub upstream: Option<&'a str>,
    /// Cut from the path before the origin sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<&'a str>,
    /// Its entries in the order in which they run. Those that are off are not among them.
    pub plugins: Vec<EntryView<'a>>,
    /// What runs instead for consumers that have entries of their own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub consumers: BTreeMap<&'a str, Vec<EntryView<'a>>>,
}

/// An entry of a route.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct EntryView<'a> {
    /// `name` or `name#label`.
    pub entry: &'a str,
    /// Its place in the order.
    pub stage: &'static str,
    /// How its denials are treated.
    pub mode: Mode,
    /// Where it was written: `everywhere`, `route` or `consumer`.
    pub scope: &'static str,
    /// What a fault of it does.
    pub on_fault: &'static str,
    /// True where it runs under a condition (`when`).
    pub conditional: bool,
    /// File, line and column.
    pub place: String,
}

/// All routes, by name.
pub fn routes(snapshot: &Snapshot) -> Vec<RouteView<'_>> {
    snapshot.routes.values().map(|route| RouteView::of(route)).collect()
}

impl<'a> RouteView<'a> {
    fn of(route: &'a RouteRuntime) -> Self {
        let consumers = route.consumer_chains().map(|(name, chain)| (name, entries(chain)));
        RouteView {
            name: &route.name,
            r#match: &route.takes,
            upstream: route.upstream.as_ref().map(|upstream| &*upstream.name),
            strip_prefix: route.strip_prefix.as_deref(),
            plugins: entries(&route.chain),
            consumers: consumers.collect(),
        }
    }
}

fn entries(chain: &Chain) -> Vec<EntryView<'_>> {
    chain.slots().iter().map(|slot| EntryView::of(slot)).collect()
}

impl<'a> EntryView<'a> {
    fn of(slot: &'a Slot) -> Self {
        EntryView {
            entry: &slot.info.key,
            stage: slot.stage.as_str(),
            mode: slot.info.mode,
            scope: slot.info.scope.as_str(),
            on_fault: match slot.on_fault {
                OnFault::Deny => "deny",
                OnFault::Allow => "allow",
            },
            conditional: slot.when.is_some(),
            place: slot.info.place.to_string(),
        }
    }
}
