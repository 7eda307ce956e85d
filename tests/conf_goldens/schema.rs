//! The schema for editors and the loader agree.

use super::{cases, load};
use palisade::conf::schema::schema;
use palisade_contract::conf::{Node, parse_all};
use palisade_plugins::PLUGINS;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn validator() -> jsonschema::Validator {
    jsonschema::draft202012::new(&schema(PLUGINS)).unwrap()
}

/// A file as an editor sees it: references stand in it.
fn as_written(file: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(file).ok()?;
    let root = parse_all(file, &text, &|name| Some(format!("${{env:{name}}}"))).root?;
    root.deserialize().ok()
}

fn yaml_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_string_lossy().starts_with('.');
        if path.is_dir()
            && !hidden
            && !path.is_symlink()
            && !path.ends_with("data")
            && !path.ends_with("tests")
        {
            yaml_files(&path, files);
        } else if !hidden && path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
}

#[test]
fn what_loads_agrees_with_the_schema() {
    let (validator, mut files) = (validator(), Vec::new());
    for case in cases("ok") {
        yaml_files(&case, &mut files);
    }
    yaml_files(Path::new("conf"), &mut files);
    // Descriptions of APIs are read by plugins, and have a form of their own.
    files.retain(|file| !file.parent().is_some_and(|dir| dir.ends_with("specs")));
    assert!(files.len() > 16, "{files:?}");
    for file in files {
        let value = as_written(&file).unwrap_or_else(|| panic!("{}", file.display()));
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
    }
}

/// The defaults of a section, as the schema has them.
fn defaults(schema: &Value, name: &str) -> Value {
    let fields = schema["$defs"][name]["properties"].as_object().unwrap();
    let default = |(name, field): (&String, &Value)| {
        let found = field.get("default").or_else(|| field["anyOf"][0].get("default"))?;
        Some((name.clone(), found.clone()))
    };
    Value::Object(fields.iter().filter_map(default).collect())
}

#[test]
fn what_the_schema_has_for_defaults_is_what_holds() {
    let schema = schema(PLUGINS);
    let of = |name: &str| defaults(&schema, name);
    let limits = of("RawLimits");
    // The values that the guides name.
    let expected = json!({
        "header_timeout": "10s", "body_timeout": "30s", "idle_timeout": "60s", "header_bytes": "32KiB",
        "header_count": 100, "uri_bytes": "8KiB", "body_bytes": "1MiB", "buffered_bytes": "256MiB",
        "connections": 20000, "connections_per_ip": 200,
    });
    assert_eq!(limits, expected);
    let timeouts = json!({"connect": "3s", "read": "15s", "write": "15s", "idle": "60s", "total": "15s"});
    assert_eq!(of("RawTimeouts"), timeouts);
    let mut written = of("RawUpstream");
    for (field, name) in [
        ("timeouts", "RawTimeouts"),
        ("retries", "RawRetries"),
        ("health", "RawHealth"),
        ("outlier", "RawOutlier"),
    ] {
        written[field] = of(name);
        assert!(written[field].as_object().unwrap().len() >= 2, "{field}");
    }
    let target = json!([{"address": "127.0.0.1:9"}]);
    let bare = json!({"targets": &target, "health": {"path": "/well"}, "outlier": {}});
    written["targets"] = target;
    written["health"]["path"] = json!("/well");
    // Where nothing is written, a request that is safe to repeat may be repeated once after a reset besides.
    written["retries"].as_object_mut().unwrap().remove("on");
    let loaded = |limits: Value, upstream: Value| {
        let dir = tempfile::tempdir().unwrap();
        let mut conf = json!({"version": 1, "limits": limits, "upstreams": {"a": upstream}});
        conf["listeners"] = json!({"public": {"address": "127.0.0.1:0"}});
        std::fs::write(dir.path().join("a.yaml"), conf.to_string()).unwrap();
        load(dir.path()).unwrap_or_else(|error| panic!("{error}"))
    };
    let (said, silent) = (loaded(limits, written), loaded(json!({}), bare));
    assert_eq!(said.limits, silent.limits);
    let shown = |config: &palisade::conf::model::Config| {
        let upstream = &config.upstreams["a"].value;
        let at = format!("{:?} {:?} {:?}", upstream.timeouts, upstream.retries, upstream.keepalive);
        format!(
            "{at} {:?} {:?} {:?} {:?}",
            upstream.health, upstream.outlier, upstream.balance, upstream.protocol
        )
    };
    assert_eq!(shown(&said), shown(&silent));
}

#[test]
fn what_has_wrong_names_or_types_does_not() {
    let validator = validator();
    for case in [
        "admin",
        "client-ip",
        "consumer",
        "limits",
        "listener",
        "not-enforced-yet",
        "plugin",
        "route-rest",
        "section-is-no-mapping",
        "section-unknown",
        "upstream",
    ] {
        let file = Path::new("tests/conf/bad").join(case).join("main.yaml");
        let value = as_written(&file).unwrap_or_else(|| panic!("{case}"));
        assert!(!validator.is_valid(&value), "{case}");
    }
    // Of all that is wrong in `plugin`, this alone.
    let entry = |entry: Value| json!({"version": 1, "plugins": {"key-auth": entry}});
    assert!(validator.is_valid(&entry(json!({}))));
    assert!(!validator.is_valid(&entry(Value::Null)));
}

/// Where a key may be unknown: the configuration around it, with `ZZZ` in its place, and the way to that mapping
/// in the schema.
const MAPPINGS: [(&str, &[&str]); 22] = [
    ("ZZZ: 1", &[]),
    ("limits: {ZZZ: 1}", &["limits"]),
    ("client_ip: {ZZZ: 1}", &["client_ip"]),
    ("admin: {ZZZ: 1}", &["admin"]),
    ("listeners: {a: {ZZZ: 1}}", &["listeners", "*"]),
    ("listeners: {a: {limits: {ZZZ: 1}}}", &["listeners", "*", "limits"]),
    ("listeners: {a: {tls: {ZZZ: 1}}}", &["listeners", "*", "tls"]),
    ("listeners: {a: {tls: {certificates: [{ZZZ: 1}]}}}", &["listeners", "*", "tls", "certificates", "[]"]),
    ("listeners: {a: {tls: {client_auth: {ZZZ: 1}}}}", &["listeners", "*", "tls", "client_auth"]),
    ("upstreams: {a: {ZZZ: 1}}", &["upstreams", "*"]),
    ("upstreams: {a: {targets: [{ZZZ: 1}]}}", &["upstreams", "*", "targets", "[]"]),
    ("upstreams: {a: {timeouts: {ZZZ: 1}}}", &["upstreams", "*", "timeouts"]),
    ("upstreams: {a: {tls: {ZZZ: 1}}}", &["upstreams", "*", "tls"]),
    ("routes: {a: {ZZZ: 1}}", &["routes", "*"]),
    ("routes: {a: {limits: {ZZZ: 1}}}", &["routes", "*", "limits"]),
    ("routes: {a: {explain: {ZZZ: 1}}}", &["routes", "*", "explain"]),
    ("routes: {a: {errors: {401: {ZZZ: 1}}}}", &["routes", "*", "errors", "401"]),
    ("errors: {401: {ZZZ: 1}}", &["errors", "401"]),
    ("plugins: {ZZZ: 1}", &["plugins"]),
    ("routes: {a: {plugins: {ZZZ: 1}}}", &["routes", "*", "plugins"]),
    ("consumers: {a: {ZZZ: 1}}", &["consumers", "*"]),
    ("consumers: {a: {key-auth: [{ZZZ: 1}]}}", &["consumers", "*", "key-auth", "[]"]),
];

#[test]
fn the_schema_and_the_loader_know_the_same_names() {
    let schema = schema(PLUGINS);
    let dir = std::env::temp_dir().join(format!("palisade-schema-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    for (yaml, way) in MAPPINGS {
        std::fs::write(dir.join("a.yaml"), format!("version: 1\n{yaml}\n")).unwrap();
        let errors = load(&dir).unwrap_err().errors.0;
        let unknown = errors.into_iter().find(|error| error.message.contains("`ZZZ`")).expect(yaml);
        let (mut loader, schema) = (words(&unknown.help.unwrap()), names(&schema, way));
        if way.last() == Some(&"[]") && way.contains(&"key-auth") {
            // Known to the plugin so that it can say what to write instead; editors must not offer it.
            assert!(loader.remove("key"));
        }
        assert_eq!(loader, schema, "{yaml}");
        assert!(!schema.is_empty(), "{yaml}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn entries_take_their_own_fields_and_the_common_ones() {
    let schema = schema(PLUGINS);
    let common = ["mode", "on_fault", "when"];
    let of = |entry: &str| names(&schema, &["plugins", entry]);
    let expect = |own: &[&str]| own.iter().chain(&common).map(ToString::to_string).collect::<BTreeSet<_>>();
    let acl = ["allow", "deny", "groups_claim", "scopes", "any_scope", "scope_claim", "claims"];
    assert_eq!(of("acl#label"), expect(&acl));
    for plugin in PLUGINS {
        let known = of(plugin.name);
        assert!(known.is_superset(&expect(&[])), "{}: {known:?}", plugin.name);
        assert_eq!(known.contains("anonymous"), plugin.authenticates, "{}", plugin.name);
    }
}

/// The words in backticks of a help.
fn words(help: &str) -> BTreeSet<String> {
    help.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The property names of a mapping in the schema, and that it allows no others. Of patterns the names that they
/// begin with.
fn names(schema: &Value, way: &[&str]) -> BTreeSet<String> {
    let mapping = way.iter().fold(resolve(schema, schema), |at, step| resolve(schema, step_into(at, step)));
    assert_eq!(mapping.get("additionalProperties"), Some(&json!(false)), "{way:?}");
    let keys =
        |field: &str| mapping.get(field).and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key);
    let patterns =
        keys("patternProperties").map(|pattern| pattern.trim_start_matches('^').split('(').next().unwrap());
    keys("properties").map(String::as_str).chain(patterns).map(str::to_owned).collect()
}

fn step_into<'s>(at: &'s Value, step: &str) -> &'s Value {
    let found = match step {
        "*" => at.get("additionalProperties"),
        "[]" => at.get("items"),
        name => at.get("properties").and_then(|properties| properties.get(name)).or_else(|| {
            let patterns = at.get("patternProperties")?.as_object()?;
            let name = name.split('#').next()?;
            let fits = |pattern: &str| pattern.contains(&format!("^{name}(")) || pattern.starts_with("^[45]");
            patterns.iter().find(|(pattern, _)| fits(pattern)).map(|(_, schema)| schema)
        }),
    };
    found.unwrap_or_else(|| panic!("no {step} in {at:#}"))
}

/// Follows references, and takes the mapping of alternatives.
fn resolve<'s>(schema: &'s Value, at: &'s Value) -> &'s Value {
    if let Some(name) = at.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"))
    {
        return resolve(schema, &schema["$defs"][name]);
    }
    let alternatives = at.get("anyOf").and_then(Value::as_array);
    match alternatives.and_then(|all| all.iter().find(|one| one.get("type") != Some(&json!("null")))) {
        Some(one) => resolve(schema, one),
        None => at,
    }
}

/// A node is read as JSON would be.
#[test]
fn files_are_seen_as_written() {
    let root: Node =
        parse_all(Path::new("a.yaml"), "a: ${env:B}\nb: [1, true, x]\n", &|_| Some("${env:B}".into()))
            .root
            .unwrap();
    assert_eq!(root.deserialize::<Value>().unwrap(), json!({ "a": "${env:B}", "b": [1, true, "x"] }));
}
