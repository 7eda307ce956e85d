//! How the house is kept: which module may know which, how long a file and a function may be, and what each plugin has.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

use regex::Regex;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), ending, &mut found);
    assert!(!found.is_empty(), "{folder}");
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// A source without the tests at its foot; nothing of a file of tests.
fn code(path: &Path) -> String {
    if path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs") {
        return String::new();
    }
    let text = read(path);
    let code = text.split("\nmod tests {").next().unwrap_or_default();
    // Lines stay in their place; what is only spoken of is not known.
    code.lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn each_plugin_has_a_page_an_example_and_a_test_over_the_network() {
    let all =
        |folder: &str, ending: &str| files(folder, ending).iter().map(|file| read(file)).collect::<String>();
    let tests = all("tests/e2e", ".rs");
    for plugin in palisade_plugins::PLUGINS {
        let name = plugin.name;
        for file in [format!("docs/plugins/{name}.md"), format!("docs/examples/{name}.yaml")] {
            assert!(root().join(&file).is_file(), "{file} is missing");
        }
        let pattern = format!(r#"(?m)(^|[ {{,'"]){name}(#[a-z0-9_-]+)?['"]?:( |$)"#);
        let entry = Regex::new(&pattern).unwrap();
        assert!(entry.is_match(&tests), "no test in tests/e2e has {name}");
    }
}

/// Who may know whom: a module knows those behind it in this list, and none before it.
const LAYERS: [&[&str]; 15] = [
    &["main"],
    &["builder"],
    &["cli"],
    &["policy"],
    &["server"],
    &["admin", "demo"],
    &["proxy"],
    &["respond"],
    &["gateway"],
    &["chain", "router", "upstream"],
    &["when", "metrics"],
    &["edge"],
    &["pem", "consumers"],
    &["conf"],
    // They know nothing but each other.
    &["budget", "coding", "fold", "host", "logging", "owned", "path", "serve", "unicode"],
];

/// Arrows that point back, and why.
const BACK: [(&str, &str, &str); 2] = [
    ("proxy", "server", "holds the `Gateway` whose snapshots it serves"),
    ("edge", "gateway", "`canonical` reads the snapshot's rules"),
];

/// The modules that a source names with `crate::`.
fn named(text: &str) -> BTreeSet<String> {
    let word = Regex::new(r"crate::(\w+)").unwrap();
    let group = Regex::new(r"(?s)use crate::\{(.*?)\};").unwrap();
    let mut found: BTreeSet<String> = word.captures_iter(text).map(|found| found[1].to_owned()).collect();
    for list in group.captures_iter(text) {
        let (mut depth, mut start) = (0, true);
        let mut name = String::new();
        for c in list[1].chars().chain([',']) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(std::mem::take(&mut name));
                    start = true;
                }
                _ if depth == 0 && start && (c.is_alphanumeric() || c == '_') => name.push(c),
                _ if depth == 0 && !name.is_empty() => start = false,
                _ => {}
            }
        }
    }
    found
}

#[test]
fn imports_keep_their_direction() {
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let (mut wrong, mut used) = (Vec::new(), BTreeSet::new());
    for file in files("src", ".rs") {
        let part = file.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned();
        let own = part.trim_end_matches(".rs");
        if own == "lib" {
            continue;
        }
        let Some(from) = layer(own) else { panic!("`{own}` is in no layer of this test") };
        for other in named(&code(&file)) {
            let Some(to) = layer(&other).filter(|_| other != own) else { continue };
            let back = BACK.iter().any(|(from, to, _)| (*from, *to) == (own, other.as_str()));
            used.extend(back.then(|| (own.to_owned(), other.clone())));
            if to < from && !back {
                wrong.push(format!("{}: {own} must not know {other}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(used.len(), BACK.len(), "an arrow that is gone needs no exception: {used:?}");
    let architecture = read(Path::new("ARCHITECTURE.md"));
    for layer in LAYERS.concat() {
        assert!(architecture.contains(&format!("`{layer}`")), "ARCHITECTURE.md does not name `{layer}`");
    }
}

/// What several plugins need, and no plugin itself: how credentials, bodies and their types are read.
const SHARED: [&str; 7] = ["coding", "json", "media_type", "multipart", "presented", "schema", "tokens"];

/// What uses plugins from outside.
const OUTSIDE: [&str; 3] = ["plugins/benches", "plugins/fuzz", "plugins/tests"];

#[test]
fn plugins_know_neither_each_other_nor_the_gateway() {
    let names: BTreeSet<String> = files("plugins", ".rs")
        .iter()
        .map(|file| {
            file.components().nth(1).unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
        })
        .filter(|name| {
            !matches!(name.as_str(), "lib" | "contract" | "benches" | "fuzz" | "tests")
                && !SHARED.contains(&name.as_str())
        })
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for file in files("plugins", ".rs") {
        let text = code(&file);
        for forbidden in
            ["pingora_proxy", "pingora_core", "use palisade::", "use pingora::", "palisade_plugins::"]
        {
            let outside = OUTSIDE.iter().any(|part| file.starts_with(part));
            assert!(outside || !text.contains(forbidden), "{} has `{forbidden}`", file.display());
        }
        let part = file.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned();
        let own = part.trim_end_matches(".rs");
        if matches!(own, "contract" | "lib" | "benches" | "fuzz" | "tests") {
            continue;
        }
        let others: Vec<_> =
            named(&text).into_iter().filter(|other| other != own && names.contains(other)).collect();
        assert!(others.is_empty(), "{}: a plugin must not know another one: {others:?}", file.display());
    }
}

/// Files of more than 600 lines, and why they are.
const LONG_FILES: [(&str, &str); 0] = [];

#[test]
fn a_long_file_needs_a_reason() {
    for folder in ["src", "plugins", "tests", "benches", "examples", "fuzz"] {
        for file in files(folder, ".rs") {
            let lines = read(&file).lines().count();
            let reason = LONG_FILES.iter().any(|(name, _)| file == Path::new(name));
            assert!(reason || lines <= 600, "{} has {lines} lines: one subject a file", file.display());
        }
    }
}

/// Functions of more than 60 lines, and why they are.
const LONG_FUNCTIONS: [(&str, &str, &str); 2] = [
    ("plugins/seclang/src/load/directive.rs", "setting", "a table: an arm for each directive"),
    (
        "plugins/seclang/src/body/multipart.rs",
        "boundary",
        "one grammar, whose every deviation sets a flag of its own",
    ),
];

#[test]
fn a_long_function_needs_a_reason() {
    let begins = Regex::new(r"^( *)(pub(\([a-z ]+\))? )?(const )?(async )?fn (\w+)").unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for file in files("src", ".rs").into_iter().chain(files("plugins", ".rs")) {
        let text = code(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(found) = begins.captures(line) else { continue };
            let end = format!("{}}}", &found[1]);
            let length = lines[start..].iter().position(|line| *line == end).map_or(1, |length| length + 1);
            count += 1;
            let reason = LONG_FUNCTIONS
                .iter()
                .any(|(name, function, _)| file == Path::new(name) && found[6] == **function);
            if length > 60 && !reason {
                wrong.push(format!("{}:{}: {} has {length} lines", file.display(), start + 1, &found[6]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 1000, "{count} functions were seen: rustfmt's form has changed");
}
