//! The compiled, immutable snapshot that one request is served by from beginning to end.
//!
//! [`Snapshot::compile`] turns a [`Config`] into one or says everything that is wrong with it; a snapshot is
//! swapped whole (see [`crate::server`]).

pub mod consumers;
mod entries;
mod operations;
mod route;
mod security;
pub mod stores;
#[cfg(test)]
mod tests;
pub mod view;

pub(crate) use operations::takes;
pub use route::RouteRuntime;

use crate::{
    conf::model::{ClientIp, Config, ErrorBody, Limits},
    consumers::Source,
    edge::headers,
    metrics::Metrics,
    router::{RouteSpec, Router},
    upstream::Upstream,
};
use entries::{Builder, Scoped};
use palisade_contract::{ConfigError, Descriptor, Host, Secret, Store, env::Keep};
use palisade_stores::RedisStore;
use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::SystemTime};

/// The name under which requests that no route took are recorded.
pub const NO_ROUTE: &str = "_none";

/// A compiled configuration.
pub struct Snapshot {
    /// Counts from 1; each successful load adds one.
    pub generation: u64,
    /// When it was compiled.
    pub loaded_at: SystemTime,
    /// Finds the route.
    pub router: Router<Arc<RouteRuntime>>,
    /// What runs for requests that no route took: the everywhere-entries of Screen and Observe.
    pub none: Arc<RouteRuntime>,
    /// By name.
    pub routes: BTreeMap<Arc<str>, Arc<RouteRuntime>>,
    /// By name.
    pub stores: BTreeMap<Arc<str>, Arc<RedisStore>>,
    /// Consumers outside of the configuration.
    pub consumers: Option<Source>,
    /// What looks at them, where something does.
    watches: Option<Arc<dyn Host>>,
    /// By name.
    pub upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    /// For requests whose route says nothing else.
    pub limits: Limits,
    /// Who is believed about the client's address.
    pub client_ip: ClientIp,
    /// Which headers of clients do not go on.
    pub headers: headers::Names,
    /// The operator's own error bodies.
    pub errors: BTreeMap<u16, ErrorBody>,
    /// What the admin API asks for.
    pub admin_token: Option<Secret>,
    /// What plugins read besides the configuration.
    pub files: Vec<PathBuf>,
}

/// What stands in the place of a store, by its name.
pub type StoreOf<'a> = dyn Fn(&str) -> Arc<dyn Store> + 'a;

/// What a compilation needs besides the configuration.
pub struct CompileEnv<'a> {
    /// The plugins there are.
    pub registry: &'a [Descriptor],
    /// Where counters are registered.
    pub metrics: &'a Metrics,
    /// What outlives a reload.
    pub keep: &'a Keep,
    /// What plugins have outside of requests.
    pub host: &'a Arc<dyn Host>,
    /// The embedded demo API, where it runs.
    pub demo: Option<Arc<Upstream>>,
    /// The snapshot that this one takes the place of: what it knows of targets goes on being known.
    pub previous: Option<&'a Snapshot>,
    /// The number of this snapshot.
    pub generation: u64,
    /// Only check: open nothing for writing.
    pub dry_run: bool,
    /// Requests are only tried: what is in the place of the stores. Nothing is reached but through it and `host`.
    pub stores: Option<&'a StoreOf<'a>>,
}

impl Snapshot {
    /// Compiles a configuration, or says everything that is wrong with it.
    pub fn compile(config: &Config, env: &CompileEnv<'_>) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let upstreams = compile_upstreams(config, env, &mut errors);
        let (stores, named) = stores::compile(config, env, &mut errors);
        let consumers = consumers::compile(config, env, &named, &mut errors);
        let mut builder = Builder::new(config, env, named, consumers.as_ref().map(Source::shared));
        let everywhere = builder.everywhere(&mut errors);
        let overlays = Arc::new(builder.consumers(&everywhere, &mut errors));
        let mut routes = BTreeMap::new();
        for (name, route) in &config.routes {
            match route::compile(name, route, &mut builder, &everywhere, &overlays, &upstreams) {
                Ok(runtime) => {
                    routes.insert(name.clone(), Arc::new(runtime));
                }
                Err(found) => errors.extend(found),
            }
        }
        for (name, route) in &config.broken.routes {
            route::check_broken(name, route, &mut builder, &everywhere, &upstreams, &mut errors);
        }
        let specs = config.routes.iter().filter_map(|(name, route)| {
            let payload = routes.get(name)?.clone();
            Some(RouteSpec::of(name, route, payload))
        });
        let router = if routes.len() == config.routes.len() {
            Router::build(specs).map_err(|found| errors.extend(found)).ok()
        } else {
            // What is wrong with one route must not hide what is wrong with the paths of all.
            let all = config.routes.iter().map(|(name, route)| RouteSpec::of(name, route, ()));
            errors.extend(Router::build(all).err().into_iter().flatten());
            None
        };
        let watches = consumers::watched(config, env);
        let none = Arc::new(route::none(&everywhere, env, &config.errors));
        builder.tell_credential_places();
        builder.unused_adjustments(&mut errors);
        builder.misplaced(&mut errors);
        let headers = builder.header_names(routes.values().flat_map(|route| &*route.pass_headers));
        match router {
            Some(router) if errors.is_empty() => Ok(Snapshot {
                generation: env.generation,
                loaded_at: SystemTime::now(),
                router,
                none,
                routes,
                stores,
                consumers,
                watches,
                upstreams,
                limits: config.limits.clone(),
                client_ip: config.client_ip.clone(),
                headers,
                errors: config.errors.clone(),
                admin_token: config.admin.as_ref().and_then(|admin| admin.value.token.clone()),
                files: builder.files.take(),
            }),
            _ => Err(errors),
        }
    }
}

impl Snapshot {
    /// Begins what its upstreams and its source of consumers do in the background, once it serves.
    pub fn start(&self) {
        self.upstreams.values().for_each(Upstream::start);
        if let (Some(Source::Directory(directory)), Some(host)) = (&self.consumers, &self.watches) {
            directory.watch(host);
        }
    }

    /// Ends that; requests that it serves go on.
    pub fn stop(&self) {
        self.upstreams.values().for_each(|upstream| upstream.stop());
        if let Some(Source::Directory(directory)) = &self.consumers {
            directory.stop();
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("generation", &self.generation).finish_non_exhaustive()
    }
}

fn compile_upstreams(
    config: &Config,
    env: &CompileEnv<'_>,
    errors: &mut Vec<ConfigError>,
) -> BTreeMap<Arc<str>, Arc<Upstream>> {
    let mut upstreams = BTreeMap::new();
    for (name, written) in &config.upstreams {
        if config.demo && &**name == "demo" {
            errors.push(
                ConfigError::at(written.path.clone(), "`demo: true` already gives an upstream named `demo`")
                    .help("give this upstream another name, or write `demo: false`")
                    .place(written.place.clone()),
            );
            continue;
        }
        let previous = env.previous.and_then(|snapshot| snapshot.upstreams.get(name)).map(|found| &**found);
        let compiled = match env.stores {
            Some(_) => Upstream::unreached(name, written),
            None => Upstream::compile(name, written, previous, env.dry_run),
        };
        match compiled {
            Ok(upstream) => {
                upstreams.insert(name.clone(), Arc::new(upstream));
            }
            Err(found) => errors.extend(found),
        }
    }
    if config.demo
        && let Some(demo) = &env.demo
    {
        upstreams.insert(demo.name.clone(), demo.clone());
    }
    upstreams
}

/// Entries by key, as one scope has them.
type Entries = BTreeMap<Arc<str>, Scoped>;
