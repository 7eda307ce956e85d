//! Every YAML example in the documents is read by the loader, and the house keeps its order.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with(".git") {
            files(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// The blocks of a document that are marked as YAML.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("```yaml\n") {
        let (block, after) = after.split_once("```").unwrap();
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

/// What an example may leave out: it is completed with a route, an upstream and a consumer of the usual names.
const REST: [(&str, &str); 4] = [
    ("version:", "version: 1\n"),
    ("listeners:", "listeners: {public: {address: 127.0.0.1:0}}\n"),
    ("upstreams:", "upstreams: {shop: {targets: [{address: \"127.0.0.1:3000\"}]}}\n"),
    ("routes:", "routes: {any: {paths: [/*], upstream: demo}}\ndemo: true\n"),
];

#[test]
fn every_plugin_has_its_place_in_the_order() {
    let order = fs::read_to_string("docs/entries.md").unwrap();
    for page in fs::read_dir("docs/plugins").unwrap() {
        let name = page.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            name == "README" || order.contains(&format!("`{name}`")),
            "docs/entries.md does not name `{name}`"
        );
    }
}

#[test]
fn yaml_examples_load() {
    let mut documents = vec![root().join("README.md")];
    files(&root().join("docs"), ".md", &mut documents);
    let mut count = 0;
    for document in documents {
        for block in blocks(&fs::read_to_string(&document).unwrap()) {
            // An entry alone (a plugin's page) is completed by the page's own test.
            let section = block.lines().any(|line| {
                [
                    "version:",
                    "listeners:",
                    "routes:",
                    "plugins:",
                    "consumers:",
                    "client_ip:",
                    "limits:",
                    "admin:",
                    "errors:",
                    "upstreams:",
                    "stores:",
                    "consumer_source:",
                    "watch:",
                ]
                .iter()
                .any(|section| line.starts_with(section))
            });
            if !section {
                let whole = ["routing.md", "entries.md", "origin.md"];
                assert!(!whole.iter().any(|name| document.ends_with(name)), "not a configuration:\n{block}");
                continue;
            }
            let mut text = block.clone();
            for (section, rest) in REST {
                if !block.lines().any(|line| line.starts_with(section)) {
                    text.push_str(rest);
                }
            }
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("example.yaml"), &text).unwrap();
            let keys = include_str!("../conf/examples/payments/bank.jwks.json");
            fs::write(dir.path().join("keys.json"), keys).unwrap();
            fs::create_dir(dir.path().join("keys")).unwrap();
            let spec = include_str!("../docs/examples/specs/shop.yaml");
            fs::create_dir(dir.path().join("specs")).unwrap();
            fs::write(dir.path().join("specs/shop.yaml"), spec).unwrap();
            // References name upstreams that are not there: they are read here; plugins' pages are compiled by a
            // test of `palisade docs`.
            let reference = document.ends_with("configuration.md")
                || document.parent().is_some_and(|dir| dir.ends_with("plugins"));
            let done = if reference {
                palisade::conf::load(dir.path(), palisade_plugins::PLUGINS, &|_| None).map(drop)
            } else {
                palisade::server::check(dir.path(), palisade_plugins::PLUGINS).map(drop)
            };
            if let Err(error) = done {
                panic!("{}:\n{text}\n{error}", document.display());
            }
            count += 1;
        }
    }
    assert!(count >= 15, "{count}: the documents have lost their examples");
}

#[test]
fn shipped_files_name_their_schema() {
    let mut shipped = vec![root().join("packaging/palisade.yaml"), root().join("src/cli/init.yaml")];
    for folder in ["conf", "docs/examples", "examples/own-plugin/conf"] {
        files(&root().join(folder), ".yaml", &mut shipped);
    }
    // Descriptions of APIs are read by plugins, and have a form of their own.
    shipped.retain(|file| !file.parent().is_some_and(|dir| dir.ends_with("specs")));
    assert!(shipped.len() > 20, "{shipped:?}");
    for file in shipped {
        let text = fs::read_to_string(&file).unwrap();
        let schema = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=");
        let schema = schema.unwrap_or_else(|| panic!("{} does not begin with its schema", file.display()));
        match schema {
            // Where the package puts it; `packaging/check` sees that it does.
            "/usr/share/palisade/palisade.schema.json" => assert!(file.ends_with("packaging/palisade.yaml")),
            // Made beside it by a command.
            "palisade.schema.json" => assert!(text.contains("schema > ") || file.ends_with("init.yaml")),
            _ => {
                let there = file.parent().unwrap().join(schema).canonicalize();
                let cases = file.parent().is_some_and(|dir| dir.ends_with("tests"));
                let own = if cases { "docs/palisade-tests.schema.json" } else { "docs/palisade.schema.json" };
                assert_eq!(there.ok(), root().join(own).canonicalize().ok(), "{}", file.display());
            }
        }
    }
}

/// Where a field stands in the schema: `NAME` is any key of a mapping, `[]` any item of a list.
fn stands<'a>(schema: &'a Value, mut at: &'a Value, path: &str) -> bool {
    let resolved = |mut at: &'a Value| {
        for _ in 0..8 {
            let reference = at["$ref"].as_str().and_then(|path| schema.pointer(path.strip_prefix('#')?));
            let typed = |all: &'a Value| all.as_array()?.iter().find(|one| one["type"] != "null");
            match reference.or_else(|| typed(&at["anyOf"])) {
                Some(next) => at = next,
                None => break,
            }
        }
        at
    };
    for part in path.split('.') {
        let (name, item) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        let object = resolved(at);
        let Some(next) = (if name == "NAME" {
            object.get("additionalProperties").filter(|values| values.is_object())
        } else {
            object["properties"].get(name)
        }) else {
            return false;
        };
        at = if item { &resolved(next)["items"] } else { next };
    }
    true
}

#[test]
fn what_users_of_kong_are_told_of_is_there() {
    let text = fs::read_to_string(root().join("docs/kong.md")).unwrap();
    let schema = palisade::conf::schema::schema(palisade_plugins::PLUGINS);
    let plugin = |name: &str| {
        let pattern = format!("^{name}(#[a-z0-9_-]+)?$");
        schema["$defs"]["Plugins"]["patternProperties"].get(&pattern)
    };
    let (mut heading, mut wrong, mut plugins, mut count) = ("", Vec::new(), 0, 0);
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
            plugins += usize::from(plugin(heading).is_some());
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, _, here, ..] = cells[..] else { continue };
        for name in here.split('`').skip(1).step_by(2) {
            let own = plugin(heading).is_some_and(|plugin| stands(&schema, plugin, name));
            if !own && !stands(&schema, &schema, name) && plugin(name).is_none() {
                wrong.push(format!("{heading}: `{name}`"));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "docs/kong.md names what is not there: {wrong:?}");
    assert_eq!(plugins, palisade_plugins::PLUGINS.len(), "each plugin has its table in docs/kong.md");
    assert!(count > 80, "{count}: the tables have lost their form");
    assert!(
        !stands(&schema, &schema, "consumers.NAME.groups.none") && !stands(&schema, &schema, "routes.none")
    );
}

#[test]
fn what_operators_are_told_of_limits_is_so() {
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let limits = palisade::conf::model::Limits::default();
    let plugin = |name: &str, field: &str| {
        let schema = palisade::conf::schema::schema(palisade_plugins::PLUGINS);
        let patterns = &schema["$defs"]["Plugins"]["patternProperties"];
        let field = &patterns[format!("^{name}(#[a-z0-9_-]+)?$")]["properties"][field];
        let default = field["default"].as_str().map(str::to_owned);
        default.or_else(|| Some(find_default(field)?.to_string())).unwrap()
    };
    let needed = limits.connections * 2 + 200;
    let thousands = |number: usize| format!("{} {:03}", number / 1000, number % 1000);
    for told in [
        format!("`limits.connections: {}`", limits.connections),
        format!("may need {}.", thousands(needed)),
        format!("| {} KiB | `limits.header_bytes`", limits.header_bytes >> 10),
        format!("| {} MiB; a request's counts twice", limits.buffered_bytes >> 20),
        format!("`connections_per_ip: {}`", limits.connections_per_ip),
        format!("`body_bytes: {}MiB`", limits.body_bytes >> 20),
        format!("| {} | `queue` |", plugin("audit", "queue").replace("MiB", " MiB")),
        format!("| {} | `cache_size` |", plugin("jwt", "cache_size")),
        format!(
            "| {} of 150 bytes | `max_keys` |",
            plugin("rate-limiting", "max_keys").replace("000000", " 000 000")
        ),
    ] {
        assert!(text.contains(&told), "docs/operations.md does not say `{told}`");
    }
    let unit = fs::read_to_string(root().join("packaging/debian/palisade.service")).unwrap();
    let most = unit.lines().find_map(|line| line.strip_prefix("LimitNOFILE=")).unwrap();
    assert!(most.parse::<usize>().unwrap() >= needed, "the service has fewer descriptors than it may need");
    assert!(text.contains(&format!("has {}", thousands(most.parse().unwrap()))));
}

#[test]
fn every_field_of_the_record_is_explained() {
    let text = fs::read_to_string(root().join("docs/audit.md")).unwrap();
    let table = text.split("## What a line holds").nth(1).unwrap().split("\n## ").next().unwrap();
    let schema = palisade::conf::schema::schema(palisade_plugins::PLUGINS);
    let fields = schema["$defs"]["Field"]["oneOf"].as_array().unwrap();
    assert!(fields.len() > 30, "{fields:#?}");
    for field in fields {
        let name = field["anyOf"][0]["const"].as_str().unwrap();
        assert!(table.contains(&format!("`{name}`")), "docs/audit.md does not explain `{name}`");
    }
}

#[test]
fn the_service_is_what_operators_are_told_of_it() {
    let unit = fs::read_to_string(root().join("packaging/debian/palisade.service")).unwrap();
    let text = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    for line in [
        "User=palisade",
        "Group=palisade",
        "Type=notify",
        "NotifyAccess=all",
        "EnvironmentFile=-/etc/default/palisade",
        "ExecStartPre=/usr/bin/palisade check --conf /etc/palisade",
        "ExecStart=/usr/bin/palisade run --conf /etc/palisade",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "Restart=on-failure",
        "StateDirectory=palisade",
        "RuntimeDirectory=palisade",
        "AmbientCapabilities=CAP_NET_BIND_SERVICE",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
    ] {
        assert_eq!(unit.lines().filter(|written| *written == line).count(), 1, "{line}");
    }
    // What is in flight may end, and the record be written.
    let stop = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")?.strip_suffix('s')).unwrap();
    assert!(stop.parse::<u64>().unwrap() > 60 + 5, "{stop}");
    assert!(text.contains(&format!("(`TimeoutStopSec=`, which is {stop} s in the package)")), "{stop}");
}

/// The default of a number, which a reference may stand in the place of.
fn find_default(field: &Value) -> Option<&Value> {
    field.get("default").or_else(|| field["anyOf"].as_array()?.iter().find_map(|one| one.get("default")))
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn links_lead_somewhere() {
    let mut documents: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"]
        .map(|name| root().join(name))
        .into();
    files(&root().join("docs"), ".md", &mut documents);
    let mut count = 0;
    for document in documents {
        let text = fs::read_to_string(&document).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (path, part) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: there is no {link}", document.display());
            if !part.is_empty() {
                let target = fs::read_to_string(&target).unwrap();
                let mut headings = target.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line.trim_start_matches('#').trim()) == part);
                assert!(found, "{}: there is no {link}", document.display());
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}
