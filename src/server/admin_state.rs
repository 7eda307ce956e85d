//! The gateway as the admin API sees it.

use super::{
    Gateway,
    listeners::{Listeners, reload},
    sockets::Sockets,
};
use crate::{
    admin::{self, AdminState},
    conf::model::Config,
    consumers::{self, Source},
    gateway::{stores, view},
    serve::Server,
};
use palisade_contract::{Secret, Whom, lockouts::LockoutsOf, verdict::BoxFuture};
use serde_json::{Value, json};
use std::{sync::Arc, time::SystemTime};

/// The admin listeners that the configuration asks for; they serve until they are dropped.
pub(super) fn start(
    gateway: &Arc<Gateway>,
    listeners: &Arc<Listeners>,
    config: &Config,
    sockets: &mut Sockets,
) -> Result<Vec<Server>, String> {
    let Some(written) = &config.admin else { return Ok(Vec::new()) };
    let state: Arc<dyn AdminState> =
        Arc::new(View { gateway: gateway.clone(), listeners: listeners.clone() });
    let failed = |error: std::io::Error| format!("the admin API cannot start: {error}");
    let mut servers = vec![admin::start(sockets.take("admin")?.0, state.clone()).map_err(failed)?];
    if written.value.probes.is_some() {
        servers.push(admin::start_probes(sockets.take("probes")?.0, state).map_err(failed)?);
    }
    Ok(servers)
}

struct View {
    gateway: Arc<Gateway>,
    listeners: Arc<Listeners>,
}

/// RFC 3339, to the millisecond.
fn shown(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
        .unwrap_or_default()
}

fn consumers_json(view: &consumers::View) -> Value {
    json!({
        "kind": view.kind,
        "at": view.at,
        "ok": view.ok,
        "error": (!view.error.is_empty()).then_some(&view.error),
        "loaded_at": view.loaded_at.map(shown),
        "consumers": view.sizes.map(|(consumers, _)| consumers),
        "credentials": view.sizes.map(|(_, credentials)| credentials),
        "events": view.events,
    })
}

impl AdminState for View {
    fn ready(&self) -> bool {
        !self.gateway.is_draining()
    }

    fn token(&self) -> Option<Secret> {
        self.gateway.snapshot().admin_token.clone()
    }

    fn metrics(&self) -> String {
        self.gateway.metrics.connections(self.gateway.connections.stats());
        let snapshot = self.gateway.snapshot();
        let targets = snapshot.upstreams.iter().flat_map(|(name, upstream)| {
            upstream
                .addresses()
                .into_iter()
                .map(move |view| (&**name, view.address, view.state.takes_requests(), view.ejections))
        });
        self.gateway.metrics.targets(targets);
        self.gateway.metrics.stores(snapshot.stores.iter().map(|(name, store)| {
            let health = store.health();
            (&**name, health.up, health.commands)
        }));
        let view = snapshot.consumers.as_ref().map(Source::view);
        let ok = view.as_ref().filter(|view| view.sizes.is_some()).map(|view| view.ok);
        let sizes = view.as_ref().and_then(|view| view.sizes);
        self.gateway.metrics.consumers(ok, sizes, view.into_iter().flat_map(|view| view.events));
        self.gateway.metrics.plugins(self.gateway.keep.counters());
        self.gateway.metrics.buffered(self.gateway.budget.used(), snapshot.limits.buffered_bytes);
        self.gateway.metrics.encode()
    }

    fn routes_json(&self) -> Value {
        serde_json::to_value(view::routes(&self.gateway.snapshot())).unwrap_or_default()
    }

    fn upstreams_json(&self) -> Value {
        let snapshot = self.gateway.snapshot();
        let upstreams = snapshot.upstreams.values().map(|upstream| {
            json!({ "name": &*upstream.name, "balance": upstream.balance(), "targets": upstream.targets() })
        });
        upstreams.collect()
    }

    fn stores_json(&self) -> Value {
        let snapshot = self.gateway.snapshot();
        let all = stores::views(&snapshot).map(|view| {
            let since = shown(view.since());
            let mut document = serde_json::to_value(view).unwrap_or_default();
            if let Some(fields) = document.as_object_mut() {
                fields.insert("since".to_owned(), since.into());
            }
            document
        });
        all.collect()
    }

    fn lockouts_json(&self) -> Value {
        let all =
            self.gateway.keep.lockouts().into_iter().flat_map(|LockoutsOf { route, entry, lockouts }| {
                lockouts.list().into_iter().map(move |mut one| {
                    if let Some(fields) = one.as_object_mut() {
                        fields.insert("entry".to_owned(), (*entry).into());
                        fields.extend(route.as_ref().map(|route| ("route".to_owned(), (**route).into())));
                    }
                    one
                })
            });
        json!({ "lockouts": all.collect::<Vec<_>>() })
    }

    fn end_lockouts(&self, whom: Whom) -> BoxFuture<'_, usize> {
        Box::pin(async move {
            let mut ended = 0;
            for of in self.gateway.keep.lockouts() {
                ended += of.lockouts.end(whom.clone()).await;
            }
            log::info!("{ended} lockouts were ended through the admin API");
            ended
        })
    }

    fn status_json(&self) -> Value {
        let snapshot = self.gateway.snapshot();
        let status = self.gateway.status.lock().clone();
        json!({
            "generation": snapshot.generation,
            "loaded_at": shown(snapshot.loaded_at),
            "dir": self.gateway.dir.display().to_string(),
            "last_load": {
                "at": shown(status.at),
                "ok": status.error.is_none(),
                "error": status.error,
            },
            "failed_loads": status.failures,
            "consumer_source": snapshot.consumers.as_ref().map(|source| consumers_json(&source.view())),
            "draining": self.gateway.is_draining(),
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    fn reload(&self) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async {
            reload(&self.gateway, &self.listeners).await.map(|generation| json!({ "generation": generation }))
        })
    }
}
