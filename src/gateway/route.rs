//! One route, compiled: its chain, its upstream, its limits, and the chains of consumers that have their own.

use super::{
    CompileEnv, Entries, NO_ROUTE,
    entries::{Builder, Instance, Scoped},
    security,
    view::{Off, Takes},
};
use crate::{
    chain::{Access, AuthRule, Chain, MAX_ENTRIES, Slot},
    conf::model::{At, Auth, Config, ErrorBody, Explain, Route, RouteLimits},
    metrics::RouteMetrics,
    upstream::Upstream,
};
use http::HeaderName;
use palisade_contract::{BodyNeed, Built, ConfigError, Consumer, Mode, Operation, Scope, Stage, conf::Place};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// A compiled route.
pub struct RouteRuntime {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where it is written; none for what no route takes.
    pub place: Option<Place>,
    /// Which requests it takes, to be shown.
    pub takes: Takes,
    /// Its plugins.
    pub chain: Arc<Chain>,
    /// Where its requests go; none where a plugin always answers.
    pub upstream: Option<Arc<Upstream>>,
    /// Cut from the path before the origin sees it.
    pub strip_prefix: Option<String>,
    /// What clients may send although it makes an origin read another method or path.
    pub pass_headers: Box<[HeaderName]>,
    /// Overrides.
    pub limits: RouteLimits,
    /// Who may see the decision record in a header.
    pub explain: Option<Explain>,
    /// The operator's own error bodies, the narrower first.
    pub errors: Vec<BTreeMap<u16, ErrorBody>>,
    /// Counters.
    pub metrics: Arc<RouteMetrics>,
    /// Its entries that are off, to be shown.
    off: Vec<Off>,
    /// Chains of consumers that have entries of their own, by consumer, and what is off in them.
    consumers: BTreeMap<Arc<str>, (Arc<Chain>, Vec<Off>)>,
}

impl RouteRuntime {
    /// The chain for what follows Authenticate, where the consumer has entries of its own.
    pub fn chain_of(&self, consumer: &Consumer) -> Option<&Arc<Chain>> {
        self.consumers.get(&consumer.name).map(|(chain, _)| chain)
    }

    /// The chains of consumers that have entries of their own.
    pub fn chains_of_consumers(&self) -> impl Iterator<Item = (&str, &Chain)> {
        self.consumers.iter().map(|(name, (chain, _))| (&**name, &**chain))
    }

    /// The chains of consumers that have entries of their own, with what is off in them.
    pub(super) fn consumer_chains(&self) -> impl Iterator<Item = (&str, &Chain, &[Off])> {
        self.consumers.iter().map(|(name, (chain, off))| (&**name, &**chain, &**off))
    }

    /// The operations that its plugins know of an API.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.chain.operations()
    }

    /// Its entries that are off.
    pub(super) fn off(&self) -> &[Off] {
        &self.off
    }
}

impl fmt::Debug for RouteRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteRuntime").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What runs where no route took the request.
pub(super) fn none(
    everywhere: &Entries,
    env: &CompileEnv<'_>,
    errors: &BTreeMap<u16, ErrorBody>,
) -> RouteRuntime {
    let kept = everywhere.values().filter_map(|entry| match entry {
        Scoped::Instance(instance)
            if matches!(instance.stage, Stage::Screen | Stage::Observe)
                || instance.built.plugin().on_every_response() =>
        {
            Some(instance)
        }
        _ => None,
    });
    let running = kept.filter(|instance| instance.common.mode != Mode::Off);
    let slots = running.map(|instance| instance.slot(env.metrics.entry(NO_ROUTE, &instance.info))).collect();
    RouteRuntime {
        name: NO_ROUTE.into(),
        place: None,
        takes: Takes::default(),
        chain: Arc::new(Chain::new(slots, None)),
        upstream: None,
        strip_prefix: None,
        pass_headers: Box::default(),
        limits: RouteLimits::default(),
        explain: None,
        errors: vec![errors.clone()],
        metrics: env.metrics.route(NO_ROUTE),
        off: Vec::new(),
        consumers: BTreeMap::new(),
    }
}

/// Compiles a route, or says what is wrong with it.
pub(super) fn compile(
    name: &Arc<str>,
    written: &At<Route>,
    builder: &mut Builder<'_>,
    everywhere: &Entries,
    overlays: &BTreeMap<Arc<str>, Entries>,
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
) -> Result<RouteRuntime, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let route = &written.value;
    let own = builder.scope(&route.plugins, Scope::Route, Some(name), everywhere, &mut errors);
    let (merged, doubt) = merge(builder, everywhere, &own, &mut errors);
    let running: Vec<&Instance> =
        merged.values().filter(|instance| instance.common.mode != Mode::Off).collect();
    if !doubt.authenticates {
        check_auth(written, &running, &mut errors);
    }
    check_needs(written, &running, doubt, &mut errors);
    if !doubt.authenticates {
        security::check(written, &running, &mut errors);
    }
    let upstream = find_upstream(written, &running, doubt, builder.config, upstreams, &mut errors);
    let rule = rule(route.auth.as_ref().map(|auth| &auth.value));
    let metrics = builder.env.metrics;
    // A slot is shared between the route's chain and its consumers' chains, so that state is found again.
    let slots: BTreeMap<Arc<str>, Arc<Slot>> = running
        .iter()
        .map(|instance| (instance.info.key.clone(), instance.slot(metrics.entry(name, &instance.info))))
        .collect();
    let off: BTreeMap<Arc<str>, Off> = merged
        .iter()
        .filter(|(_, instance)| instance.common.mode == Mode::Off)
        .map(|(key, instance)| (key.clone(), instance.off()))
        .collect();
    let compiled = Compiled { name, merged: &merged, slots: &slots, off: &off, rule: rule.as_ref() };
    let mut consumers = BTreeMap::new();
    for (consumer, overlay) in overlays {
        consumers.insert(consumer.clone(), compiled.consumer(consumer, overlay, builder, &mut errors));
    }
    let chain = Chain::new(slots.into_values().collect(), rule.as_ref());
    errors.extend(not_public(route, &chain));
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(RouteRuntime {
        name: name.clone(),
        place: Some(written.place.clone()),
        takes: Takes::of(route),
        chain: Arc::new(chain),
        upstream,
        strip_prefix: route.strip_prefix.as_ref().map(|prefix| prefix.value.clone()),
        pass_headers: route.pass_headers.iter().map(|name| name.value.clone()).collect(),
        limits: route.limits,
        explain: route.explain.clone(),
        errors: vec![route.errors.clone(), builder.config.errors.clone()],
        metrics: metrics.route(name),
        off: off.into_values().collect(),
        consumers,
    })
}

/// What is known of a route before the chains of consumers are made.
struct Compiled<'a> {
    name: &'a str,
    merged: &'a BTreeMap<Arc<str>, Instance>,
    slots: &'a BTreeMap<Arc<str>, Arc<Slot>>,
    off: &'a BTreeMap<Arc<str>, Off>,
    rule: Option<&'a AuthRule>,
}

impl Compiled<'_> {
    /// The chain of a consumer that has entries of its own, and what is off in it.
    fn consumer(
        &self,
        consumer: &str,
        overlay: &Entries,
        builder: &Builder<'_>,
        errors: &mut Vec<ConfigError>,
    ) -> (Arc<Chain>, Vec<Off>) {
        let (mut own, mut own_off) = (self.slots.clone(), self.off.clone());
        for (key, entry) in overlay {
            let instance = match entry {
                Scoped::Instance(instance) => instance.clone(),
                Scoped::Adjustment(adjustment) => match self.merged.get(key) {
                    Some(wider) if wider.stage <= Stage::Authenticate => {
                        errors.push(
                            ConfigError::at(
                                format!("consumers.{consumer}.plugins.{key}"),
                                format!("`{key}` runs before it is known who is calling"),
                            )
                            .help("write it under a route or under the top-level `plugins`")
                            .place(adjustment.info.place.clone()),
                        );
                        continue;
                    }
                    Some(wider) => builder.adjust(wider, adjustment, errors),
                    None => continue,
                },
                Scoped::Broken(_) => continue,
            };
            if instance.common.mode == Mode::Off {
                own.remove(key);
                own_off.insert(key.clone(), instance.off());
            } else {
                own_off.remove(key);
                let metrics = builder.env.metrics.entry(self.name, &instance.info);
                own.insert(key.clone(), instance.slot(metrics));
            }
        }
        let chain = Arc::new(Chain::new(own.into_values().collect(), self.rule));
        (chain, own_off.into_values().collect())
    }
}

/// What of a route's entries could not be built, which was said already: what follows from it is not said.
#[derive(Clone, Copy, Default)]
struct Doubt {
    any: bool,
    authenticates: bool,
}

/// The route's entries over the everywhere-entries.
fn merge(
    builder: &Builder<'_>,
    everywhere: &Entries,
    own: &Entries,
    errors: &mut Vec<ConfigError>,
) -> (BTreeMap<Arc<str>, Instance>, Doubt) {
    let (mut merged, mut doubt) = (BTreeMap::new(), Doubt::default());
    let narrowest = everywhere.iter().filter(|(key, _)| !own.contains_key(*key)).chain(own);
    for (key, entry) in narrowest {
        let instance = match (entry, everywhere.get(key)) {
            (Scoped::Instance(instance), _) => instance.clone(),
            (Scoped::Adjustment(adjustment), Some(Scoped::Instance(wider))) => {
                builder.adjust(wider, adjustment, errors)
            }
            (Scoped::Broken(authenticates), _)
            | (Scoped::Adjustment(_), Some(Scoped::Broken(authenticates))) => {
                doubt = Doubt { any: true, authenticates: doubt.authenticates || *authenticates };
                continue;
            }
            (Scoped::Adjustment(_), _) => continue,
        };
        merged.insert(key.clone(), instance);
    }
    (merged, doubt)
}

/// Says what can be said of a route that could not be read whole.
pub(super) fn check_broken(
    name: &Arc<str>,
    written: &At<Route>,
    builder: &mut Builder<'_>,
    everywhere: &Entries,
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
    errors: &mut Vec<ConfigError>,
) {
    let own = builder.scope(&written.value.plugins, Scope::Route, Some(name), everywhere, errors);
    merge(builder, everywhere, &own, errors);
    let doubt = Doubt { any: true, authenticates: true };
    find_upstream(written, &[], doubt, builder.config, upstreams, errors);
}

fn rule(auth: Option<&Auth>) -> Option<AuthRule> {
    let keys = |names: &[String]| names.iter().map(|name| Arc::from(name.as_str())).collect();
    match auth? {
        Auth::Any(names) => Some(AuthRule::Any(keys(names))),
        Auth::All(names) => Some(AuthRule::All(keys(names))),
        Auth::Optional => None,
    }
}

fn check_auth(written: &At<Route>, running: &[&Instance], errors: &mut Vec<ConfigError>) {
    let authenticators: Vec<&&Instance> =
        running.iter().filter(|instance| matches!(instance.built, Built::Authenticator(_))).collect();
    let keys: Vec<&str> = authenticators.iter().map(|instance| &*instance.info.key).collect();
    let auth = written.value.auth.as_ref();
    let mut refuse = |message: String, help: String, at: Option<&At<Auth>>| {
        let (path, place) = at.map_or((&written.path, &written.place), |auth| (&auth.path, &auth.place));
        errors.push(ConfigError::at(path.clone(), message).help(help).place(place.clone()));
    };
    match auth.map(|auth| &auth.value) {
        Some(Auth::Any(names) | Auth::All(names)) => {
            for name in names.iter().filter(|name| !keys.contains(&name.as_str())) {
                refuse(
                    format!("`{name}` is not an authenticator of this route"),
                    format!("its authenticators are: {}", list(&keys)),
                    auth,
                );
            }
            for key in keys.iter().filter(|key| !names.iter().any(|name| name == *key)) {
                refuse(
                    format!("`auth` leaves out the authenticator `{key}`"),
                    format!("add `{key}` to `auth`, or switch it off with `mode: off`"),
                    auth,
                );
            }
        }
        _ if keys.len() > 1 => refuse(
            format!(
                "the route has {} authenticators ({}) and does not say how they go together",
                keys.len(),
                list(&keys)
            ),
            format!("write `auth: {{any: [{0}]}}` or `auth: {{all: [{0}]}}`", keys.join(", ")),
            None,
        ),
        Some(Auth::Optional) if keys.is_empty() => {
            refuse(
                "`auth: optional` on a route without an authenticator".to_owned(),
                "remove it, or add an authenticator".to_owned(),
                auth,
            );
        }
        _ => {}
    }
    if !matches!(auth.map(|auth| &auth.value), Some(Auth::Optional)) {
        check_doors(written, &authenticators, errors);
    }
}

/// What is said to be public and asks for a credential.
fn not_public(route: &Route, chain: &Chain) -> Option<ConfigError> {
    let public = route.public.as_ref().filter(|_| chain.access() == Access::Proved)?;
    let error = ConfigError::at(public.path.clone(), "`public: true` on a route that asks for a credential");
    let help = "remove it, or let requests without one pass with `anonymous` on the authenticator";
    Some(error.help(help).place(public.place.clone()))
}

/// An authenticator that may not be asked opens a door: that must be meant.
fn check_doors(written: &At<Route>, authenticators: &[&&Instance], errors: &mut Vec<ConfigError>) {
    let conditional =
        |instance: &Instance| instance.common.when.is_some() || instance.common.mode == Mode::Monitor;
    if !authenticators.iter().all(|instance| conditional(instance)) {
        return;
    }
    for instance in authenticators {
        let what = if instance.common.when.is_some() { "when" } else { "mode: monitor" };
        errors.push(
            ConfigError::at(
                format!("{}.plugins.{}", written.path, instance.info.key),
                format!("`{what}` on a route's only authenticator lets requests in without a credential"),
            )
            .help("write `auth: optional` on the route if that is meant")
            .place(instance.info.place.clone()),
        );
    }
}

fn list(keys: &[&str]) -> String {
    if keys.is_empty() {
        "none".to_owned()
    } else {
        keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    }
}

fn check_needs(written: &At<Route>, running: &[&Instance], doubt: Doubt, errors: &mut Vec<ConfigError>) {
    if !doubt.authenticates
        && !running.iter().any(|instance| matches!(instance.built, Built::Authenticator(_)))
    {
        for instance in running.iter().filter(|instance| instance.built.plugin().needs_principal()) {
            errors.push(
                ConfigError::at(
                    format!("{}.plugins.{}", written.path, instance.info.key),
                    format!(
                        "`{}` needs to know who is calling, and nothing on this route authenticates",
                        instance.info.key
                    ),
                )
                .help("add an authenticator such as `key-auth` to the route")
                .place(instance.info.place.clone()),
            );
        }
        // An everywhere-entry may ask, because other routes authenticate: here its condition counts as true.
        let asks = |instance: &&&Instance| {
            instance.info.scope == Scope::Route
                && instance.common.when.as_ref().is_some_and(|when| when.needs_principal())
        };
        for instance in running.iter().filter(asks) {
            let message =
                "the condition asks who is calling, and nothing on this route authenticates".to_owned();
            errors.push(
                ConfigError::at(format!("{}.plugins.{}.when", written.path, instance.info.key), message)
                    .help("add an authenticator such as `key-auth` to the route, or ask about `request` or `client`")
                    .place(instance.info.place.clone()),
            );
        }
    }
    if running.len() > MAX_ENTRIES {
        errors.push(
            ConfigError::at(
                written.path.clone(),
                format!("the route has {} entries, {MAX_ENTRIES} are possible", running.len()),
            )
            .place(written.place.clone()),
        );
    }
    let whole = |need: BodyNeed| matches!(need, BodyNeed::Whole { max: 0 });
    debug_assert!(
        !running.iter().any(|instance| whole(instance.built.plugin().request_body())),
        "a plugin wants a whole body of no size"
    );
}

fn find_upstream(
    written: &At<Route>,
    running: &[&Instance],
    doubt: Doubt,
    config: &Config,
    upstreams: &BTreeMap<Arc<str>, Arc<Upstream>>,
    errors: &mut Vec<ConfigError>,
) -> Option<Arc<Upstream>> {
    match &written.value.upstream {
        Some(name) => {
            let found = upstreams.get(&name.value).cloned();
            let known = config.broken.uncertain
                || config.broken.upstreams.contains(&name.value)
                || config.upstreams.contains_key(&name.value);
            if found.is_none() && !known {
                errors.push(
                    ConfigError::at(name.path.clone(), format!("there is no upstream `{}`", name.value))
                        .help(crate::conf::suggest(
                            &name.value,
                            upstreams.keys().map(|key| &**key),
                            "the upstreams are",
                        ))
                        .place(name.place.clone()),
                );
            }
            found
        }
        None => {
            if !doubt.any && !running.iter().any(|instance| instance.built.plugin().always_answers()) {
                errors.push(
                    ConfigError::at(
                        written.path.clone(),
                        "the route has no `upstream`, and no plugin that always answers",
                    )
                    .help("write `upstream: NAME`, or add `redirect` or `request-termination`")
                    .place(written.place.clone()),
                );
            }
            None
        }
    }
}
