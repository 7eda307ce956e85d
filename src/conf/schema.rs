//! JSON Schema (2020-12) of the whole configuration, so that editors complete and check it.

use super::raw::{RawAdmin, RawClientIp, RawCommon, RawErrorBody, RawLimits, RawListener, RawRoute};
use super::raw_upstream::RawUpstream;
use super::{consumer_source::RawConsumerSource, stores::RawStore};
use palisade_contract::{Descriptor, conf::HumanDuration};
use schemars::{Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

const OWN_BODIES: &str = "Own bodies for answers that the gateway makes, by status: `401`.";

/// The schema of a configuration with these plugins.
pub fn schema(registry: &[Descriptor]) -> Value {
    let mut whole = types(registry);
    as_written(&mut whole);
    whole
}

/// The types of the values alone, for the reference: in a file a reference may stand in the place of any.
pub fn types(registry: &[Descriptor]) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let plugins = plugins(registry, &mut generator);
    let consumer = consumer(registry, &mut generator);
    let mut route = value(generator.root_schema_for::<RawRoute>());
    // The generator repeats definitions in each root schema; they are collected once, below.
    if let Some(route) = route.as_object_mut() {
        route.remove("$defs");
        route.remove("$schema");
        if let Some(fields) = route.get_mut("properties").and_then(Value::as_object_mut) {
            fields.insert("plugins".into(), section("Plugins", "Entries of this route."));
            fields.insert("errors".into(), section("Errors", OWN_BODIES));
        }
    }
    let mut drain_timeout = value(generator.subschema_for::<HumanDuration>());
    if let Some(fields) = drain_timeout.as_object_mut() {
        fields.insert("description".into(), DRAIN_TIMEOUT.into());
        fields.insert("default".into(), "60s".into());
    }
    let properties = json!({
        "version": { "const": 1, "description": "The version of the configuration's format." },
        "listeners": map(generator.subschema_for::<RawListener>()),
        "limits": generator.subschema_for::<RawLimits>(),
        "client_ip": generator.subschema_for::<RawClientIp>(),
        "admin": generator.subschema_for::<RawAdmin>(),
        "watch": { "type": "boolean", "default": false, "description": "Reload when files change." },
        "demo": { "type": "boolean", "default": false, "description": "Serve the demo API as upstream `demo`." },
        "drain_timeout": drain_timeout,
        "state_dir": { "type": "string", "description": "Where files are written; default `$STATE_DIRECTORY`, else `./var`." },
        "run_dir": { "type": "string", "description": "Where the control socket lives; default `$RUNTIME_DIRECTORY`, else `state_dir/run`." },
        "stores": map(generator.subschema_for::<RawStore>()),
        "upstreams": map(generator.subschema_for::<RawUpstream>()),
        "routes": map_of(json!({ "$ref": "#/$defs/Route" })),
        "plugins": section("Plugins", "Entries on every route."),
        "consumers": map_of(consumer),
        "consumer_source": generator.subschema_for::<RawConsumerSource>(),
        "errors": section("Errors", OWN_BODIES),
    });
    let errors = json!({ "type": "object", "patternProperties": { "^[45][0-9][0-9]$": generator.subschema_for::<RawErrorBody>() }, "additionalProperties": false });
    let mut definitions: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    definitions.insert("Route".into(), route);
    definitions.insert("Plugins".into(), plugins);
    definitions.insert("Errors".into(), errors);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "palisade configuration",
        "description": "One file of a conf directory; maps of all files merge.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions,
    })
}

/// The schema tells types of values; a file may also hold a reference in their place, and nothing at all in the
/// place of a mapping without required fields.
fn as_written(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(as_written),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if !matches!(name.as_str(), "default" | "const" | "enum" | "required" | "type") {
                    as_written(field);
                }
            }
            if fields.get("type") == Some(&json!("object")) && !fields.contains_key("required") {
                fields.insert("type".into(), json!(["object", "null"]));
            }
            let may_be = |name: &str| match fields.get("type") {
                Some(Value::String(one)) => one == name,
                Some(Value::Array(several)) => several.iter().any(|one| one == name),
                _ => false,
            };
            // `properties` may have a field named `type`: there its value is a schema.
            let typed = ["integer", "number", "boolean"].into_iter().any(may_be);
            if typed
                || fields.get("enum").is_some_and(Value::is_array)
                || fields.get("const").is_some_and(Value::is_string)
            {
                let description = fields.remove("description");
                let own = Value::Object(std::mem::take(fields));
                let reference = json!({ "type": "string", "pattern": r"\$\{.+\}" });
                fields.insert("anyOf".into(), json!([own, reference]));
                fields.extend(description.map(|text| ("description".to_owned(), text)));
            }
        }
        _ => {}
    }
}

const DRAIN_TIMEOUT: &str = "How long requests, WebSockets and streams in flight may take once the process is to end, or \
                            another has taken over; then they are cut.";

fn value(schema: Schema) -> Value {
    schema.to_value()
}

fn section(definition: &str, description: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{definition}"), "description": description })
}

fn map(schema: Schema) -> Value {
    map_of(value(schema))
}

fn map_of(schema: Value) -> Value {
    json!({ "type": "object", "additionalProperties": schema })
}

/// `plugins`: each plugin's own fields and those that every entry may hold, under `name` or `name#label`.
fn plugins(registry: &[Descriptor], generator: &mut SchemaGenerator) -> Value {
    let mut patterns = Map::new();
    for descriptor in registry {
        let mut entry = entry_schema(descriptor, generator);
        if let Some(object) = entry.as_object_mut() {
            object.insert("description".into(), descriptor.summary.into());
        }
        patterns.insert(format!("^{}(#[a-z0-9_-]+)?$", descriptor.name), entry);
    }
    json!({ "type": ["object", "null"], "patternProperties": patterns, "additionalProperties": false })
}

/// The fields that every entry may hold.
pub fn common_schema(generator: &mut SchemaGenerator) -> Value {
    value(generator.subschema_for::<RawCommon>())
}

/// One entry of a plugin: its own fields merged with the common ones.
pub fn entry_schema(descriptor: &Descriptor, generator: &mut SchemaGenerator) -> Value {
    let own = resolved(descriptor.schema(generator), generator);
    let common = resolved(generator.subschema_for::<RawCommon>(), generator);
    let mut properties = own.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    for (name, field) in common.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if name != "anonymous" || descriptor.authenticates {
            properties.insert(name.clone(), field.clone());
        }
    }
    // Nothing is required: an entry in a narrower scope may hold common fields alone. But it cannot be left empty.
    json!({ "type": "object", "properties": properties, "required": [], "additionalProperties": false })
}

/// Follows one `$ref` into the generator's definitions.
fn resolved(schema: Schema, generator: &SchemaGenerator) -> Value {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
    name.and_then(|name| generator.definitions().get(name)).cloned().unwrap_or_else(|| value(schema))
}

fn consumer(registry: &[Descriptor], generator: &mut SchemaGenerator) -> Value {
    let mut properties = Map::new();
    properties.insert("groups".into(), json!({ "type": "array", "items": { "type": "string" }, "description": "Names that plugins such as `acl` ask for." }));
    properties.insert(
        "plugins".into(),
        section("Plugins", "Entries for this consumer's requests; only of stages after authenticate."),
    );
    for descriptor in registry {
        if let Some(schema) = descriptor.credential_schema(generator) {
            properties.insert(descriptor.name.into(), json!({ "type": "array", "items": schema, "description": format!("Credentials for `{}`.", descriptor.name) }));
        }
    }
    json!({ "type": ["object", "null"], "description": "A configured party.", "properties": properties, "additionalProperties": false })
}
