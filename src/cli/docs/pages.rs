//! A page for each plugin, and the index of them.

use super::{
    GENERATED,
    fields::{Definitions, description},
};
use crate::conf::schema;
use palisade_contract::{
    BuildEnv, CredentialPlaces, Descriptor, EntryInfo, Host, Mode, Node, Place, Scope, Stage, Stores,
    conf::Sources,
    env::{FilesRead, Keep},
    host::NoHost,
};
use schemars::generate::SchemaSettings;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

/// The page of a plugin in the documents in `dir`. `example` is part of a configuration that has an entry of the plugin.
pub(super) fn plugin(dir: &Path, descriptor: &Descriptor, example: Option<&str>) -> Result<String, String> {
    let name = descriptor.name;
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let own = descriptor.schema(&mut generator).to_value();
    let credential = descriptor.credential_schema(&mut generator).map(schemars::Schema::to_value);
    let common = schema::common_schema(&mut generator);
    let all = generator.take_definitions(true);
    let definitions = Definitions(Some(&all));

    let about = definitions.resolve(&own).get("description").and_then(Value::as_str);
    let mut page = format!("{GENERATED}\n\n# {name}\n\n{}\n", about.unwrap_or(descriptor.summary).trim());
    if let Some(stages) = example.map(|text| stages(dir, descriptor, text)).transpose()? {
        let names: Vec<String> = stages.iter().map(|stage| format!("**{}**", stage.as_str())).collect();
        let varies = if names.len() > 1 { ", by what is written" } else { "" };
        page.push_str(&format!("\nStage: {}{varies}.\n", names.join(" or ")));
    }
    if let Some(example) = example {
        page.push_str(&format!("\n## Example\n\n```yaml\n{}\n```\n", example.trim()));
    }
    page.push_str("\n## Fields\n\n");
    if definitions.properties(&own).is_some_and(|fields| !fields.is_empty()) {
        page.push_str(&definitions.table(&own));
    } else {
        page.push_str("None of its own.\n");
    }
    if let Some(credential) = &credential {
        page.push_str(&format!("\n## What a consumer holds\n\nUnder `consumers.NAME.{name}`, a list"));
        let meaning = description(definitions.resolve(credential)).unwrap_or_default();
        page.push_str(&format!(". {meaning}\n\n{}", definitions.table(credential)));
    }
    page.push_str("\n## Fields of every entry\n\n");
    page.push_str(&definitions.table(&without(&common, definitions, descriptor.authenticates)));
    Ok(page)
}

/// The list of all plugins, in the order in which they run inside a stage.
pub(super) fn index(registry: &[Descriptor]) -> String {
    let mut page = format!(
        "{GENERATED}\n\n# Plugins\n\n\
         Stages run in the order screen, authenticate, authorize, limit, validate, inspect, transform, observe; \
         inside a stage plugins run in the order of this list. Responses pass them in reverse.\n\n\
         | Plugin | |\n|---|---|\n"
    );
    for descriptor in registry {
        let name = descriptor.name;
        page.push_str(&format!("| [{name}]({name}.md) | {} |\n", descriptor.summary.replace('|', "\\|")));
    }
    page
}

/// The common fields; `anonymous` is for authenticators alone.
fn without(common: &Value, definitions: Definitions<'_>, authenticates: bool) -> Value {
    let mut common = definitions.resolve(common).clone();
    if !authenticates && let Some(fields) = common.get_mut("properties").and_then(Value::as_object_mut) {
        fields.remove("anonymous");
    }
    common
}

/// Where the example's entries stand. Building them shows that they can be built.
fn stages(dir: &Path, descriptor: &Descriptor, example: &str) -> Result<BTreeSet<Stage>, String> {
    let name = descriptor.name;
    let file = format!("examples/{name}.yaml");
    let mut sources = Sources::default();
    sources.add(Path::new(&file), example);
    let document = palisade_contract::conf::parse(Path::new(&file), example, &|_| None)
        .map_err(|errors| errors.render(&sources))?;
    let host: Arc<dyn Host> = Arc::new(NoHost);
    // Whatever store the example names may be there.
    let stores = Stores::new(BTreeMap::new(), true);
    let mut stages = BTreeSet::new();
    for (key, scope, node) in entries(&document, name) {
        // What it names lies beside it.
        let info = EntryInfo::new(key, name, scope, Place::of_file(dir.join(&file)), Mode::Enforce);
        let env = BuildEnv {
            entry: &info,
            route: None,
            consumers: &HashMap::new(),
            groups: None,
            all_credentials: &HashMap::new(),
            source: None,
            state_dir: Path::new("var"),
            keep: &Keep::default(),
            host: &host,
            stores: &stores,
            credential_places: &CredentialPlaces::default(),
            files: &FilesRead::default(),
            dry_run: true,
            trial: false,
        };
        let (stage, _) = descriptor.build(node, &env).map_err(|errors| errors.render(&sources))?;
        stages.insert(stage);
    }
    if stages.is_empty() { Err(format!("{file}: it has no entry `{name}`")) } else { Ok(stages) }
}

/// The plugin's entries on every route and on single ones.
fn entries<'a>(document: &'a Node, name: &str) -> Vec<(&'a str, Scope, &'a Node)> {
    let everywhere = document.get("plugins").map(|plugins| (Scope::Everywhere, plugins));
    let routes = document.get("routes").map_or(&[][..], Node::entries);
    let routes = routes.iter().filter_map(|(_, route)| Some((Scope::Route, route.get("plugins")?)));
    let all = everywhere.into_iter().chain(routes);
    let of_plugin = |key: &str| key.split('#').next() == Some(name);
    all.flat_map(|(scope, plugins)| {
        plugins.entries().iter().map(move |(key, node)| (key.text.as_str(), scope, node))
    })
    .filter(|(key, ..)| of_plugin(key))
    .collect()
}
