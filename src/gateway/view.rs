//! The compiled table as people and tools see it: `palisade routes` and `GET /routes`. No secret is in it.

use super::{RouteRuntime, Snapshot};
use crate::{
    chain::{Chain, Slot},
    conf::model::{OnFault, Route},
};
use palisade_contract::{EntryInfo, Mode, Stage};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

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
    /// What clients may send although it makes an origin read another method or path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pass_headers: Vec<&'a str>,
    /// Its entries in the order in which they run; those that are off stand where they would.
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

/// What is remembered of an entry that does not run.
#[derive(Debug, Clone)]
pub(super) struct Off {
    pub(super) info: Arc<EntryInfo>,
    pub(super) stage: Stage,
    pub(super) rank: usize,
    pub(super) on_fault: OnFault,
    pub(super) conditional: bool,
}

/// All routes, by name.
pub fn routes(snapshot: &Snapshot) -> Vec<RouteView<'_>> {
    snapshot.routes.values().map(|route| RouteView::of(route)).collect()
}

impl<'a> RouteView<'a> {
    fn of(route: &'a RouteRuntime) -> Self {
        let consumers = route.consumer_chains().map(|(name, chain, off)| (name, entries(chain, off)));
        RouteView {
            name: &route.name,
            r#match: &route.takes,
            upstream: route.upstream.as_ref().map(|upstream| &*upstream.name),
            strip_prefix: route.strip_prefix.as_deref(),
            pass_headers: route.pass_headers.iter().map(|name| name.as_str()).collect(),
            plugins: entries(&route.chain, route.off()),
            consumers: consumers.collect(),
        }
    }
}

fn entries<'a>(chain: &'a Chain, off: &'a [Off]) -> Vec<EntryView<'a>> {
    let slots = chain.slots().iter();
    let running = slots.map(|slot| ((slot.stage, slot.rank, &slot.info.key), EntryView::of(slot)));
    let off = off.iter().map(|off| ((off.stage, off.rank, &off.info.key), EntryView::of_off(off)));
    let mut all: Vec<_> = running.chain(off).collect();
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, view)| view).collect()
}

impl<'a> EntryView<'a> {
    fn of(slot: &'a Slot) -> Self {
        EntryView::new(&slot.info, slot.stage, slot.on_fault, slot.when.is_some())
    }

    fn of_off(off: &'a Off) -> Self {
        EntryView::new(&off.info, off.stage, off.on_fault, off.conditional)
    }

    fn new(info: &'a EntryInfo, stage: Stage, on_fault: OnFault, conditional: bool) -> Self {
        EntryView {
            entry: &info.key,
            stage: stage.as_str(),
            mode: info.mode,
            scope: info.scope.as_str(),
            on_fault: match on_fault {
                OnFault::Deny => "deny",
                OnFault::Allow => "allow",
            },
            conditional,
            place: info.place.to_string(),
        }
    }
}
