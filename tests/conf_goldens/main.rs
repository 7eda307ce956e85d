//! What the loader says about broken configurations, word by word, and that good ones load.
//!
//! Each folder of `tests/conf/bad` is a configuration with what is said about it in `expected.stderr`; each folder
//! of `tests/conf/ok` loads and agrees with the schema. A case is added by adding its folder; `BLESS=1` writes
//! what is expected anew, to be read as a diff.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

mod schema;

use palisade::{
    conf::{self, LoadError, model::Config},
    server,
};
use palisade_plugins::PLUGINS;
use std::path::{Path, PathBuf};

/// What `${env:…}` finds; the process's own environment is not looked at.
fn environment(name: &str) -> Option<String> {
    let value = match name {
        "SET" => "set",
        "EMPTY" => "",
        "PORT" => "9901",
        "COUNT" => "50",
        "SECRET" => "hunter2-from-the-environment",
        "SHORT_SECRET" => "hunter2",
        _ => return None,
    };
    Some(value.to_owned())
}

fn load(dir: &Path) -> Result<Config, LoadError> {
    server::check_in(dir, PLUGINS, &environment).map(|(config, _)| config)
}

/// The folders of `tests/conf/KIND`, relative to the crate, so that places are the same everywhere.
fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/conf").join(kind);
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 3, "{kind}: {cases:?}");
    cases
}

#[test]
fn broken_configurations_are_refused_with_these_words() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases("bad") {
        let Err(error) = load(&case) else {
            wrong.push(format!("{}: loads", case.display()));
            continue;
        };
        let (said, golden) = (error.to_string(), case.join("expected.stderr"));
        if bless {
            std::fs::write(&golden, &said).unwrap();
        }
        if std::fs::read_to_string(&golden).ok().as_deref() != Some(&said) {
            wrong.push(format!("{}:\n{said}", golden.display()));
        }
        if format!("{said}{error:?}").contains("hunter2") {
            wrong.push(format!("{} shows a secret", case.display()));
        }
    }
    assert!(wrong.is_empty(), "BLESS=1 writes these:\n{}", wrong.join("\n"));
}

#[test]
fn every_error_says_what_to_write_instead() {
    let mut silent = Vec::new();
    for case in cases("bad") {
        let Err(error) = load(&case) else { continue };
        let without = error.errors.0.iter().filter(|error| error.help.is_none());
        silent.extend(without.map(|error| format!("{}: {}: {}", case.display(), error.path, error.message)));
    }
    assert!(silent.is_empty(), "these have no help:\n{}", silent.join("\n"));
}

#[test]
fn good_configurations_load() {
    for case in cases("ok") {
        if let Err(error) = load(&case) {
            panic!("{}:\n{error}", case.display());
        }
    }
}

#[test]
fn five_errors_in_three_files_are_all_said() {
    let error = load(Path::new("tests/conf/bad/five-errors-in-three-files")).unwrap_err();
    assert_eq!(error.errors.0.len(), 5, "{error}");
    assert!(error.to_string().ends_with("5 errors in 3 files\n"));
}

#[test]
fn a_directory_that_is_not_there_is_said() {
    let error = load(Path::new("tests/conf/no-such-directory")).unwrap_err().to_string();
    assert!(error.starts_with("tests/conf/no-such-directory: there is no such directory\nhelp: "), "{error}");
}

#[test]
fn files_are_found_in_order_and_merge() {
    let config = load(Path::new("tests/conf/ok/files-and-folders")).unwrap();
    let dir = Path::new("tests/conf/ok/files-and-folders");
    let files: Vec<String> =
        config.files.iter().map(|file| file.strip_prefix(dir).unwrap().display().to_string()).collect();
    let expect = [
        "a.yaml",
        "b.yaml",
        "listeners/x.yaml",
        "upstreams/other.yaml",
        "routes/b.yaml",
        "routes/deep/er/a.yaml",
        "plugins/p.yaml",
        "consumers/empty.yaml",
    ];
    assert_eq!(files, expect);
    assert_eq!(config.routes.len(), 2);
    assert_eq!(config.upstreams.len(), 2);
    assert_eq!(config.routes["a"].place.file.as_ref(), dir.join("routes/deep/er/a.yaml"));
}

#[test]
fn references_and_defaults_are_filled_in() {
    let dir = Path::new("tests/conf/ok/references");
    let config = load(dir).unwrap();
    let admin = config.admin.as_ref().unwrap();
    assert_eq!(admin.value.address.value.to_string(), "127.0.0.1:9901");
    assert_eq!(admin.value.token.as_ref().unwrap().expose(), "0123456789abcdef0123456789abcdef");
    assert_eq!((config.limits.header_count, config.limits.header_timeout.as_secs()), (50, 5));
    assert_eq!((config.watch, config.demo), (true, false));
    assert_eq!(config.state_dir, Path::new("${literal}/set"));
    assert_eq!(config.run_dir, Path::new("${literal}/set/run"));
    assert!(config.files.contains(&dir.join("token.txt")), "{:?}", config.files);
    assert!(!format!("{config:?}").contains("0123456789abcdef"));
}

#[test]
fn directories_to_write_come_from_the_service_manager() {
    let dir = Path::new("tests/conf/ok/empty-sections");
    let load = |environment: &dyn Fn(&str) -> Option<String>| {
        let config = conf::load(dir, PLUGINS, environment).unwrap();
        (config.state_dir.display().to_string(), config.run_dir.display().to_string())
    };
    assert_eq!(load(&|_| None), ("var".into(), "var/run".into()));
    assert_eq!(load(&|_| Some(String::new())), ("var".into(), "var/run".into()));
    assert_eq!(
        load(&|name| Some(format!("/{name}"))),
        ("/STATE_DIRECTORY".into(), "/RUNTIME_DIRECTORY".into())
    );
}
