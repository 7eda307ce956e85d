//! Metrics: a stand-in while the real module is on its way.
#![allow(missing_docs, reason = "replaced before release")]
use palisade_contract::{Effect, EntryInfo};
use std::{sync::Arc, time::Duration};
#[derive(Default)]
pub struct Metrics;
pub struct RouteMetrics;
pub struct EntryMetrics;
impl Metrics {
    pub fn new() -> Self {
        Metrics
    }
    pub fn route(&self, _: &str) -> Arc<RouteMetrics> {
        Arc::new(RouteMetrics)
    }
    pub fn entry(&self, _: &str, _: &EntryInfo) -> Arc<EntryMetrics> {
        Arc::new(EntryMetrics)
    }
    pub fn reloaded(&self, _: bool, _: u64) {}
    pub fn connections(&self, _: crate::edge::Stats) {}
    pub fn edge_refused(&self, _: &'static str) {}
    pub fn encode(&self) -> String {
        String::new()
    }
}
impl EntryMetrics {
    pub fn decided(&self, _: Effect, _: Option<&'static str>, _: u32) {}
}
impl RouteMetrics {
    pub fn finished(&self, _: u16, _: Duration, _: Option<(&Arc<str>, Option<Duration>)>) {}
}
