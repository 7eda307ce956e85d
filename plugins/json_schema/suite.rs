//! The official JSON-Schema-Test-Suite for draft 2020-12, through the plugin: schemas from files, instances as bodies.
//!
//! It is not part of the repository. `JSON_SCHEMA_SUITE` names the folder that holds its `tests` and `remotes`; without it
//! the test says what it skips (`./test` gets it by `scripts/json-schema-suite`).

use super::JsonSchemaPlugin;
use palisade_contract::{
    Descriptor, Verdict,
    testkit::{Case, Instance, Kit},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Tests that come out differently, and why: file, group, test (all of a group where there is none).
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "json") {
            found.push(path);
        }
    }
}

/// The files that tests refer to, as entries of `resources`.
fn resources(remotes: &Path) -> String {
    let mut all = Vec::new();
    files(remotes, &mut all);
    let entry = |path: &PathBuf| {
        let name = path.strip_prefix(remotes).unwrap().display();
        format!("  'http://localhost:1234/{name}': '{}'\n", path.display())
    };
    all.iter().map(entry).collect()
}

/// True where the instance is valid; none where the plugin says something else.
fn is_valid(plugin: &Instance, instance: &Value) -> Option<bool> {
    let case = Case::new("POST", "/").header("content-type", "application/json");
    match plugin.run(case.body(serde_json::to_vec(instance).unwrap())).verdict {
        Ok(Verdict::Continue) => Some(true),
        Ok(Verdict::Deny(denial)) => (denial.reason() == "json_schema_body").then_some(false),
        _ => None,
    }
}

#[test]
fn the_official_tests_pass() {
    let Some(suite) = std::env::var_os("JSON_SCHEMA_SUITE").map(PathBuf::from) else {
        eprintln!("skipped: JSON_SCHEMA_SUITE names no folder with the JSON-Schema-Test-Suite");
        return;
    };
    let tests = suite.join("tests/draft2020-12");
    let (resources, dir) = (resources(&suite.join("remotes")), tempfile::tempdir().unwrap());
    let mut all = Vec::new();
    files(&tests, &mut all);
    let (mut wrong, mut used, mut count) = (Vec::new(), BTreeSet::new(), 0);
    for path in all {
        let file = path.strip_prefix(&tests).unwrap().display().to_string();
        let formats = file.starts_with("optional/format");
        let groups: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for group in &groups {
            let about = group["description"].as_str().unwrap();
            let excepted = |test: &str| {
                EXCEPTIONS.iter().position(|(of, group, one)| {
                    *of == file && *group == about && (one.is_empty() || *one == test)
                })
            };
            let schema = dir.path().join("schema.json");
            fs::write(&schema, serde_json::to_string(&group["schema"]).unwrap()).unwrap();
            let yaml = format!(
                "request: {{file: {}}}\nformats: {formats}\nresources:\n{resources}",
                schema.display()
            );
            let plugin = Kit::of(Descriptor::of::<JsonSchemaPlugin>()).build(&yaml);
            for test in group["tests"].as_array().unwrap() {
                count += 1;
                let name = test["description"].as_str().unwrap();
                let found = plugin.as_ref().ok().and_then(|plugin| is_valid(plugin, &test["data"]));
                if found == test["valid"].as_bool() {
                    continue;
                }
                match excepted(name) {
                    Some(exception) => _ = used.insert(exception),
                    None => wrong.push(format!(
                        "(\"{file}\", \"{about}\", \"{name}\"), {}",
                        plugin.as_ref().err().map_or("", |error| error)
                    )),
                }
            }
        }
    }
    println!("{count} tests, {} exceptions", EXCEPTIONS.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(used.len(), EXCEPTIONS.len(), "an exception that is none any more: {used:?}");
    assert!(count > 1000, "{count} tests");
}
