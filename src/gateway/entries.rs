//! Building the entries of each scope, and merging them.

use super::{CompileEnv, Entries, view::Off};
use crate::{
    chain::Slot,
    conf::model::{At, Config, Entry, OnFault},
    edge::headers,
    metrics::EntryMetrics,
    when::When,
};
use http::HeaderName;
use palisade_contract::{
    BuildEnv, Built, ConfigError, Consumer, ConsumerSource, CredentialPlace, CredentialPlaces, Descriptor,
    EntryInfo, Mode, Principal, Scope, Stage, Stores, env::FilesRead,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// An entry of a scope: an instance of its own, or a change of the wider entry's common fields.
#[derive(Clone)]
pub(super) enum Scoped {
    /// It has fields of its own (or there is no wider one).
    Instance(Instance),
    /// It holds only `mode`, `on_fault` or `when`: the wider entry keeps its fields.
    Adjustment(Adjustment),
    /// Something is wrong with it that was said already. True where it authenticates, or might.
    Broken(bool),
}

/// A built instance, with what is needed to make a slot of it under other common fields.
#[derive(Clone)]
pub(super) struct Instance {
    pub(super) built: Built,
    pub(super) stage: Stage,
    pub(super) rank: usize,
    pub(super) plugin: &'static str,
    pub(super) common: CompiledCommon,
    pub(super) info: Arc<EntryInfo>,
}

/// Common fields of a narrower entry, to be laid over a wider one.
#[derive(Clone)]
pub(super) struct Adjustment {
    common: crate::conf::model::Common,
    pub(super) info: Arc<EntryInfo>,
}

/// The fields that every entry may hold, compiled.
#[derive(Clone, Default)]
pub(super) struct CompiledCommon {
    pub(super) mode: Mode,
    on_fault: OnFault,
    pub(super) when: Option<Arc<When>>,
    pub(super) anonymous: Option<Arc<Principal>>,
}

static NEXT_SLOT: AtomicUsize = AtomicUsize::new(1);

/// Builds plugins from entries, and remembers what the whole snapshot needs to know of them.
pub(super) struct Builder<'a> {
    pub(super) config: &'a Config,
    pub(super) env: &'a CompileEnv<'a>,
    stores: Stores,
    source: Option<Arc<dyn ConsumerSource>>,
    consumers: HashMap<Arc<str>, Arc<Consumer>>,
    groups: Option<BTreeSet<Arc<str>>>,
    headers: HashSet<HeaderName>,
    /// Where authenticators look, and what plugins learn of it once all are built.
    credentials: Vec<CredentialPlace>,
    credential_places: CredentialPlaces,
    read_headers: HashSet<HeaderName>,
    /// Where each plugin's entries stand, and the first of them.
    stages: BTreeMap<&'static str, (BTreeSet<Stage>, Arc<EntryInfo>)>,
    /// What plugins read.
    pub(super) files: FilesRead,
    /// Consumers' adjustments, and whether a route had something to adjust.
    adjustments: Vec<(Arc<EntryInfo>, String)>,
    wider_keys: HashSet<Arc<str>>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        config: &'a Config,
        env: &'a CompileEnv<'a>,
        stores: Stores,
        source: Option<Arc<dyn ConsumerSource>>,
    ) -> Self {
        let consumers =
            config.consumers.iter().map(|(name, entry)| (name.clone(), entry.consumer.clone())).collect();
        // Consumers elsewhere may be in any group.
        let elsewhere = config.consumer_source.is_some() || config.broken.consumer_source;
        let complete = !config.broken.uncertain && config.broken.consumers.is_empty() && !elsewhere;
        let groups = complete
            .then(|| config.consumers.values().flat_map(|entry| entry.consumer.groups.clone()).collect());
        Builder {
            config,
            env,
            stores,
            source,
            consumers,
            groups,
            headers: HashSet::new(),
            credentials: Vec::new(),
            credential_places: CredentialPlaces::default(),
            read_headers: HashSet::new(),
            stages: BTreeMap::new(),
            files: FilesRead::default(),
            adjustments: Vec::new(),
            wider_keys: HashSet::new(),
        }
    }

    /// The entries on every route.
    pub(super) fn everywhere(&mut self, errors: &mut Vec<ConfigError>) -> Entries {
        let config = self.config;
        self.scope(&config.plugins, Scope::Everywhere, None, &Entries::new(), errors)
    }

    /// The consumers' entries. They may only be of stages after Authenticate.
    pub(super) fn consumers(
        &mut self,
        everywhere: &Entries,
        errors: &mut Vec<ConfigError>,
    ) -> BTreeMap<Arc<str>, Entries> {
        let config = self.config;
        let mut overlays = BTreeMap::new();
        for (name, consumer) in config.consumers.iter().filter(|(_, consumer)| !consumer.plugins.is_empty()) {
            let entries = self.scope(&consumer.plugins, Scope::Consumer, None, everywhere, errors);
            for entry in entries.values() {
                let Scoped::Instance(instance) = entry else { continue };
                if instance.stage <= Stage::Authenticate {
                    let message = format!("`{}` runs before it is known who is calling", instance.info.key);
                    errors.push(
                        ConfigError::at(format!("consumers.{name}.plugins.{}", instance.info.key), message)
                            .help("write it under a route or under the top-level `plugins`")
                            .place(instance.info.place.clone()),
                    );
                }
            }
            overlays.insert(name.clone(), entries);
        }
        overlays
    }

    /// Builds the entries of one scope. `wider` are those that an entry of common fields alone may adjust.
    pub(super) fn scope(
        &mut self,
        written: &BTreeMap<Arc<str>, Entry>,
        scope: Scope,
        route: Option<&str>,
        wider: &Entries,
        errors: &mut Vec<ConfigError>,
    ) -> Entries {
        let mut entries = Entries::new();
        for (key, entry) in written {
            if scope != Scope::Consumer {
                self.wider_keys.insert(key.clone());
            }
            let adjusts = entry.only_common && (wider.contains_key(key) || scope == Scope::Consumer);
            let has_common =
                entry.common.mode.is_some() || entry.common.when.is_some() || entry.common.on_fault.is_some();
            let scoped = if entry.broken {
                None
            } else if adjusts && has_common {
                self.adjustment(entry, scope, errors)
            } else {
                self.instance(entry, scope, route, errors)
            };
            entries.insert(key.clone(), scoped.unwrap_or_else(|| self.broken(entry)));
        }
        entries
    }

    fn broken(&self, entry: &Entry) -> Scoped {
        let known = self.env.registry.iter().find(|descriptor| descriptor.name == entry.name);
        Scoped::Broken(known.is_none_or(|descriptor| descriptor.authenticates))
    }

    fn adjustment(&mut self, entry: &Entry, scope: Scope, errors: &mut Vec<ConfigError>) -> Option<Scoped> {
        let descriptor = self.descriptor(entry, errors)?;
        let info = info(entry, descriptor.name, scope);
        if scope == Scope::Consumer {
            self.adjustments.push((info.clone(), entry.fields.path.clone()));
        }
        Some(Scoped::Adjustment(Adjustment { common: entry.common.clone(), info }))
    }

    fn instance(
        &mut self,
        entry: &Entry,
        scope: Scope,
        route: Option<&str>,
        errors: &mut Vec<ConfigError>,
    ) -> Option<Scoped> {
        let descriptor = self.descriptor(entry, errors)?;
        let rank =
            self.env.registry.iter().position(|other| other.name == descriptor.name).unwrap_or(usize::MAX);
        let info = info(entry, descriptor.name, scope);
        let build_env = BuildEnv {
            entry: &info,
            route,
            consumers: &self.consumers,
            groups: self.groups.as_ref(),
            all_credentials: &self.config.credentials,
            source: self.source.as_ref(),
            state_dir: &self.config.state_dir,
            keep: self.env.keep,
            host: self.env.host,
            stores: &self.stores,
            credential_places: &self.credential_places,
            files: &self.files,
            dry_run: self.env.dry_run,
            trial: self.env.stores.is_some(),
        };
        let (stage, built) =
            descriptor.build(&entry.fields, &build_env).map_err(|found| errors.extend(found.0)).ok()?;
        if let Built::Authenticator(authenticator) = &built {
            self.credentials.extend(authenticator.credential_places());
        }
        let (writes, reads) = (built.plugin().writes_to_origin(), built.plugin().reads_from_client());
        // Where one entry reads a name and another only writes it, a client's value must not pass for the other's.
        self.headers.extend(writes.iter().filter(|name| !reads.contains(name)).cloned());
        self.read_headers.extend(reads.into_iter().filter(|name| writes.contains(name)));
        let known = self.stages.entry(descriptor.name).or_insert_with(|| (BTreeSet::new(), info.clone()));
        known.0.insert(stage);
        let common = self.common(entry, stage, &built, errors);
        Some(Scoped::Instance(Instance { built, stage, rank, plugin: descriptor.name, common, info }))
    }

    fn descriptor(&self, entry: &Entry, errors: &mut Vec<ConfigError>) -> Option<&'a Descriptor> {
        let found = self.env.registry.iter().find(|descriptor| descriptor.name == entry.name);
        if found.is_none() {
            errors.push(
                ConfigError::at(entry.fields.path.clone(), format!("unknown plugin `{}`", entry.name))
                    .place(entry.place.clone()),
            );
        }
        found
    }

    /// Compiles the common fields of an entry.
    fn common(
        &self,
        entry: &Entry,
        stage: Stage,
        built: &Built,
        errors: &mut Vec<ConfigError>,
    ) -> CompiledCommon {
        self.lay_over(&entry.common, &entry.fields.path, (stage, built), &CompiledCommon::default(), errors)
    }

    fn lay_over(
        &self,
        written: &crate::conf::model::Common,
        path: &str,
        (stage, built): (Stage, &Built),
        wider: &CompiledCommon,
        errors: &mut Vec<ConfigError>,
    ) -> CompiledCommon {
        let mut common = wider.clone();
        if let Some(mode) = written.mode {
            common.mode = mode;
        }
        if let Some(on_fault) = &written.on_fault {
            common.on_fault = on_fault.value;
            if on_fault.value == OnFault::Allow
                && let Some(message) = never_open(stage, built)
            {
                errors.push(
                    ConfigError::at(on_fault.path.clone(), message)
                        .help("remove it; a fault here refuses the request")
                        .place(on_fault.place.clone()),
                );
            }
        }
        if let Some(when) = &written.when {
            match When::compile(&when.value, stage) {
                Ok(compiled) => common.when = Some(Arc::new(compiled)),
                Err(mut error) => {
                    error.path = when.path.clone();
                    errors.push(error.place(when.place.clone()));
                }
            }
        }
        if let Some(anonymous) = &written.anonymous {
            common.anonymous = self.anonymous(anonymous, path, errors);
        }
        common
    }

    fn anonymous(
        &self,
        name: &At<String>,
        _path: &str,
        errors: &mut Vec<ConfigError>,
    ) -> Option<Arc<Principal>> {
        let Some(consumer) = self.consumers.get(name.value.as_str()) else {
            let broken = &self.config.broken;
            if broken.uncertain || broken.consumers.contains(name.value.as_str()) {
                return None;
            }
            errors.push(
                ConfigError::at(name.path.clone(), format!("there is no consumer `{}`", name.value))
                    .help(crate::conf::suggest(
                        &name.value,
                        self.consumers.keys().map(|key| &**key),
                        "the consumers are",
                    ))
                    .place(name.place.clone()),
            );
            return None;
        };
        let mut principal = Principal::of_consumer(consumer.clone(), None);
        principal.anonymous = true;
        Some(Arc::new(principal))
    }

    /// What an adjustment comes to over a wider instance.
    pub(super) fn adjust(
        &self,
        wider: &Instance,
        adjustment: &Adjustment,
        errors: &mut Vec<ConfigError>,
    ) -> Instance {
        let common =
            self.lay_over(&adjustment.common, "", (wider.stage, &wider.built), &wider.common, errors);
        let mut instance = wider.clone();
        let info = &adjustment.info;
        instance.info = Arc::new(EntryInfo::new(
            info.key.clone(),
            wider.plugin,
            info.scope,
            info.place.clone(),
            common.mode,
        ));
        instance.common = common;
        instance
    }

    /// A consumer's adjustment of an entry that stands nowhere changes nothing: that is a mistake.
    pub(super) fn unused_adjustments(&self, errors: &mut Vec<ConfigError>) {
        if self.config.broken.uncertain {
            return;
        }
        for (info, path) in self.adjustments.iter().filter(|(info, _)| !self.wider_keys.contains(&info.key)) {
            errors.push(
                ConfigError::at(
                    path.clone(),
                    format!("no route has an entry `{}` that this could change", info.key),
                )
                .help("write the plugin's own fields here too, or remove the entry")
                .place(info.place.clone()),
            );
        }
    }

    /// A binary may put a plugin before another one of its stage; before one of another stage it would mean nothing.
    pub(super) fn misplaced(&self, errors: &mut Vec<ConfigError>) {
        let list = |stages: &BTreeSet<Stage>| {
            stages.iter().map(|stage| stage.as_str()).collect::<Vec<_>>().join(" and ")
        };
        for descriptor in self.env.registry {
            let Some(before) = descriptor.before else { continue };
            let (Some((own, info)), Some((others, _))) =
                (self.stages.get(descriptor.name), self.stages.get(before))
            else {
                continue;
            };
            if own.is_disjoint(others) {
                let name = descriptor.name;
                let (others, own) = (list(others), list(own));
                let message = format!(
                    "`{name}` was put before `{before}`, which stands in another stage: {others}, not {own}"
                );
                let error = ConfigError::at(format!("plugins.{name}"), message).place(info.place.clone());
                errors.push(
                    error.help("take `.before::<…>()` out of the binary, or give the plugin that stage"),
                );
            }
        }
    }

    /// Tells plugins where credentials are, once every authenticator is built.
    pub(super) fn tell_credential_places(&mut self) {
        self.credential_places.complete(std::mem::take(&mut self.credentials));
    }

    /// Every header that an entry writes upstream; apart, those that every entry which writes them looks at first, and what
    /// routes have `asked` for. What the gateway itself always writes is in none of them.
    pub(super) fn header_names<'r>(&self, asked: impl Iterator<Item = &'r HeaderName>) -> headers::Names {
        let late = self.read_headers.iter().filter(|name| !self.headers.contains(*name));
        let late = late.filter(|name| **name != headers::REQUEST_ID).cloned().collect();
        let asked = asked.collect::<HashSet<_>>().into_iter().cloned().collect();
        headers::Names { owned: self.headers.clone(), late, asked }
    }
}

impl Instance {
    /// What is shown of it where it does not run.
    pub(super) fn off(&self) -> Off {
        Off {
            info: self.info.clone(),
            stage: self.stage,
            rank: self.rank,
            on_fault: self.common.on_fault,
            conditional: self.common.when.is_some(),
        }
    }

    /// A slot for a chain.
    pub(super) fn slot(&self, metrics: Arc<EntryMetrics>) -> Arc<Slot> {
        Arc::new(Slot {
            id: NEXT_SLOT.fetch_add(1, Ordering::Relaxed),
            info: self.info.clone(),
            stage: self.stage,
            rank: self.rank,
            built: self.built.clone(),
            on_fault: self.common.on_fault,
            when: self.common.when.clone(),
            anonymous: self.common.anonymous.clone(),
            metrics,
        })
    }
}

/// Why a fault of it lets nobody pass.
fn never_open(stage: Stage, built: &Built) -> Option<String> {
    if matches!(stage, Stage::Authenticate | Stage::Authorize) {
        let stage = stage.as_str();
        return Some(format!("`on_fault: allow` would let anybody in: the plugin stands in {stage}"));
    }
    let written = built.plugin().must_not_fail_open()?;
    Some(format!("`on_fault: allow` would take back `{written}`"))
}

fn info(entry: &Entry, plugin: &'static str, scope: Scope) -> Arc<EntryInfo> {
    let mode = entry.common.mode.unwrap_or_default();
    Arc::new(EntryInfo::new(entry.key.clone(), plugin, scope, entry.place.clone(), mode))
}
