//! Which controls stand before each operation.

use crate::{
    chain::{Access, Chain},
    conf::{
        LoadError,
        model::{At, Config, Route},
    },
    gateway::{self, RouteRuntime, Snapshot},
};
use palisade_contract::{ConfigError, Control, Descriptor, Mode};
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// What guards each operation of a configuration.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct Coverage {
    /// By route, in the order of names.
    pub operations: Vec<Operation>,
}

/// What a client can ask for.
#[derive(Debug, Clone, Serialize)]
pub struct Operation {
    /// None: any.
    pub methods: Vec<String>,
    /// Hosts and paths.
    pub targets: Vec<String>,
    /// Its route.
    pub route: String,
    /// Where the route is declared, or the operation in a description of the API.
    pub place: String,
    /// Its name in a description of the API that a plugin of the route has, or an empty one; none where it is the route as such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// Where it leads; none where the gateway answers.
    pub upstream: Option<String>,
    /// Who may pass.
    pub access: &'static str,
    /// The consumer that requests without a credential pass as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<String>,
    /// True where an origin is behind it, nobody needs a credential, and nothing says that this is meant.
    pub unguarded: bool,
    /// Entries by what they guard.
    pub controls: BTreeMap<Control, Vec<Guard>>,
    /// What consumers with entries of their own have not, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub without: BTreeMap<String, Vec<String>>,
}

/// An entry that guards something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// Its key.
    pub entry: String,
    /// How its denials are treated.
    pub mode: Mode,
    /// True where it runs under a condition.
    pub conditional: bool,
    /// Where it is written.
    pub place: String,
}

/// What guards each operation. `snapshot` is of `config`.
pub fn coverage(config: &Config, snapshot: &Snapshot, registry: &[Descriptor]) -> Coverage {
    let routes = config.routes.iter().filter_map(|(name, written)| {
        let route = snapshot.routes.get(name)?;
        Some(operations(written, route, registry))
    });
    Coverage { operations: routes.flatten().collect() }
}

/// The operations of a route: each of its hosts and paths with all its methods, and below it what its plugins know of the API.
fn operations(written: &At<Route>, route: &RouteRuntime, registry: &[Descriptor]) -> Vec<Operation> {
    let (access, anonymous) = access(&written.value, &route.chain);
    let takes = &route.takes;
    let target = |host: &str| takes.paths.iter().map(|path| format!("{host}{path}")).collect::<Vec<_>>();
    let targets = match &takes.hosts[..] {
        [] => target(""),
        hosts => hosts.iter().flat_map(|host| target(host)).collect(),
    };
    let whole = Operation {
        methods: takes.methods.clone(),
        targets,
        route: route.name.to_string(),
        place: written.place.to_string(),
        declared: None,
        upstream: route.upstream.as_ref().map(|upstream| upstream.name.to_string()),
        access,
        anonymous: anonymous.map(str::to_owned),
        unguarded: route.upstream.is_some() && written.value.public.is_none() && access != "authenticated",
        controls: controls(&route.chain, registry),
        without: without(route, registry),
    };
    let served = route.operations().filter(|known| gateway::takes(&written.value, known));
    let declared: Vec<Operation> = served.map(|known| declared(&whole, known)).collect();
    std::iter::once(whole).chain(declared).collect()
}

/// An operation of a description: what guards the route guards it.
fn declared(route: &Operation, known: &palisade_contract::Operation) -> Operation {
    Operation {
        methods: vec![known.method.to_string()],
        targets: vec![known.path.to_string()],
        place: known.place.to_string(),
        declared: Some(known.id.as_deref().unwrap_or_default().to_owned()),
        // The description may say that everybody may call it.
        unguarded: route.unguarded && !(known.enforced && known.is_public()),
        without: BTreeMap::new(),
        ..route.clone()
    }
}

/// In a word, and the consumer that stands in.
fn access<'c>(route: &Route, chain: &'c Chain) -> (&'static str, Option<&'c str>) {
    match chain.access() {
        Access::Proved => ("authenticated", None),
        Access::Anonymous(consumer) => ("open", Some(consumer)),
        Access::Optional => ("optional", None),
        Access::Unasked if route.public.is_some() => ("public", None),
        Access::Unasked => ("none", None),
    }
}

fn controls(chain: &Chain, registry: &[Descriptor]) -> BTreeMap<Control, Vec<Guard>> {
    let mut all: BTreeMap<Control, Vec<Guard>> = BTreeMap::new();
    for slot in chain.slots() {
        let guards = registry.iter().find(|descriptor| descriptor.name == slot.info.plugin);
        for control in guards.map_or(&[][..], |descriptor| descriptor.controls) {
            all.entry(*control).or_default().push(Guard {
                entry: slot.info.key.to_string(),
                mode: slot.info.mode,
                conditional: slot.when.is_some(),
                place: slot.info.place.to_string(),
            });
        }
    }
    all
}

/// Controls that the route has and its chain for a consumer has not.
fn without(route: &RouteRuntime, registry: &[Descriptor]) -> BTreeMap<String, Vec<String>> {
    let enforced = |chain: &Chain| -> Vec<Control> {
        let all = controls(chain, registry);
        let enforces = |guards: &Vec<Guard>| guards.iter().any(|guard| guard.mode == Mode::Enforce);
        all.into_iter().filter(|(_, guards)| enforces(guards)).map(|(control, _)| control).collect()
    };
    let own = enforced(&route.chain);
    let mut all = BTreeMap::new();
    for (consumer, chain) in route.chains_of_consumers() {
        let theirs = enforced(chain);
        let missing = own.iter().filter(|control| !theirs.contains(control));
        let missing: Vec<String> = missing.map(|control| control.as_str().to_owned()).collect();
        if !missing.is_empty() {
            all.insert(consumer.to_owned(), missing);
        }
    }
    all
}

impl Coverage {
    /// Routes of which an operation is guarded by nothing.
    pub fn unguarded(&self) -> Vec<&str> {
        let routes = self.operations.iter().filter(|operation| operation.declared.is_none());
        routes.filter(|operation| operation.unguarded).map(|operation| &*operation.route).collect()
    }

    /// Refuses operations that nothing guards.
    ///
    /// # Errors
    /// All of them, with their places and what to write.
    pub fn strict(&self, config: &Config) -> Result<(), String> {
        // What is to be written stands on the route: it is named once.
        let routes = self.operations.iter().filter(|operation| operation.declared.is_none());
        let unguarded = routes.filter(|operation| operation.unguarded);
        let errors: Vec<ConfigError> = unguarded.filter_map(|one| refusal(one, config)).collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(LoadError { errors: errors.into(), sources: config.sources.clone() }.to_string())
    }
}

fn refusal(operation: &Operation, config: &Config) -> Option<ConfigError> {
    let written: &At<Route> = config.routes.get(&Arc::from(operation.route.as_str()))?;
    let methods = match &operation.methods[..] {
        [] => "every method of".to_owned(),
        methods => methods.join(", "),
    };
    let upstream = operation.upstream.as_deref().unwrap_or_default();
    let why = match (operation.access, &operation.anonymous) {
        ("open", Some(consumer)) => format!("requests without a credential pass as `{consumer}`"),
        ("optional", _) => "what authenticates may be skipped".to_owned(),
        _ => "nothing authenticates".to_owned(),
    };
    let targets = operation.targets.join(", ");
    let error = ConfigError::at(
        written.path.clone(),
        format!("{methods} {targets} leads to `{upstream}`, and {why}"),
    );
    let help =
        "add an authenticator such as `key-auth`, or write `public: true` on the route if everybody may";
    Some(error.help(help).place(written.place.clone()))
}
