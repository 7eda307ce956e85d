//! `palisade consumers`, on a directory.

use super::{palisade, stderr, stdout};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};
use tempfile::TempDir;

fn consumers(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = palisade();
    command.arg("consumers").args(arguments).arg("--directory").arg(dir);
    command.output().unwrap()
}

fn refused(dir: &Path, arguments: &[&str], words: &str) {
    let output = consumers(dir, arguments);
    let said = stderr(&output);
    assert!(output.status.code() == Some(1) && said.contains(words), "{arguments:?}: {said}");
    assert!(output.stdout.is_empty());
}

/// All files, and what they hold.
fn files(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect();
    all.sort();
    all
}

#[test]
fn a_key_is_shown_once_and_kept_as_its_hash() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path().join("new/keys");
    let text = stdout(&consumers(
        &dir,
        &["add", "alice", "--group", "gold", "--group", "eu", "--expires", "2099-01-31"],
    ));
    let key = text.lines().find_map(|line| line.strip_prefix("key: ")).unwrap();
    assert!(key.starts_with("pal_") && text.contains("shown this once"), "{text}");
    let files = files(&dir);
    let [(path, kept)] = &files[..] else { panic!("{files:?}") };
    let hash = hex::encode(Sha256::digest(key));
    let line = format!(
        "{{\"name\":\"alice\",\"groups\":[\"gold\",\"eu\"],\"key-auth\":[{{\"key_sha256\":\"{hash}\",\"expires\":\"2099-01-31\"}}]}}\n"
    );
    assert_eq!(*kept, line);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(path), mode(&dir), mode(&dir.join(".lock"))), (0o600, 0o700, 0o600));
    let list = stdout(&consumers(&dir, &["list"]));
    assert_eq!(list.trim(), format!("alice  groups: gold, eu  keys: {} (until 2099-01-31)", &hash[..12]));
    assert!(!list.contains(key));
    let leftover = fs::read_dir(&dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".new"));
    assert_eq!(leftover.count(), 0);
}

#[test]
fn keys_are_rotated_and_revoked_where_they_stand() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let bob = format!("{{\"name\": \"bob\", \"key-auth\": [{{\"key_sha256\": \"{}\"}}]}}\n", "b".repeat(64));
    let alice = format!(
        "{{\"name\": \"alice\", \"groups\": [\"g\"], \"key-auth\": [{{\"key_sha256\": \"{}\", \"id\": \"one\"}}]}}\n",
        "a".repeat(64)
    );
    fs::write(dir.join("own.jsonl"), format!("{bob}\n{alice}")).unwrap();
    fs::set_permissions(dir.join("own.jsonl"), fs::Permissions::from_mode(0o644)).unwrap();
    let made: Value = serde_json::from_str(&stdout(&consumers(
        dir,
        &["rotate", "alice", "--overlap", "24h", "--id", "two", "--json"],
    )))
    .unwrap();
    assert_eq!(
        (&made["name"], &made["id"], &made["expires"]),
        (&"alice".into(), &"two".into(), &Value::Null)
    );
    let list: Value = serde_json::from_str(&stdout(&consumers(dir, &["list", "alice", "--json"]))).unwrap();
    let keys = &list[0]["keys"];
    assert_eq!(
        (&keys[0]["id"], &keys[0]["expired"], &keys[1]["id"]),
        (&"one".into(), &false.into(), &"two".into())
    );
    assert!(keys[0]["expires"].is_string() && keys[1]["expires"].is_null(), "{list}");
    // In the file where it stood; what is another's is as it was, and nobody else may read it any more.
    let all = files(dir);
    assert!(all.len() == 1 && all[0].1.starts_with(&bob), "{all:?}");
    assert_eq!(fs::metadata(dir.join("own.jsonl")).unwrap().permissions().mode() & 0o777, 0o640);
    refused(dir, &["rotate", "alice", "--overlap", "1h", "--id", "two"], "choose another id");
    assert_eq!(
        stdout(&consumers(dir, &["revoke", "alice", "--id", "one"])).trim(),
        "alice: 1 key is taken away"
    );
    refused(dir, &["revoke", "alice", "--id", "one"], "has no key `one`");
    stdout(&consumers(dir, &["revoke", "alice"]));
    refused(dir, &["revoke", "alice"], "there is no consumer `alice`");
    assert_eq!(files(dir)[0].1, bob);
}

#[test]
fn what_is_wrong_is_refused_and_nothing_is_written() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    stdout(&consumers(dir, &["add", "alice"]));
    let before = files(dir);
    refused(dir, &["add", "alice"], "is there already");
    refused(dir, &["add", "a b"], "cannot be a name");
    refused(dir, &["add", "_a"], "cannot be a name");
    refused(dir, &["add", "../a"], "cannot be a name");
    refused(dir, &["add", "b", "--group", "x,y"], "cannot be a group");
    refused(dir, &["add", "b", "--id", "x y"], "cannot be an id");
    refused(dir, &["add", "b", "--expires", "soon"], "is not a time");
    refused(dir, &["rotate", "b"], "there is no consumer `b`");
    refused(dir, &["list", "b"], "there is no consumer `b`");
    assert_eq!(files(dir), before);
    let long = "x".repeat(100);
    let groups: Vec<String> = (0..700).map(|number| format!("--group={long}{number}")).collect();
    let arguments: Vec<&str> = ["add", "b"].into_iter().chain(groups.iter().map(String::as_str)).collect();
    refused(dir, &arguments, "longer than 64 KiB");
    let output = consumers(dir, &["rotate", "alice", "--overlap", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(files(dir), before);
    // A file that the gateway would not take is not written to.
    let path = &before[0].0;
    fs::write(path, format!("{}{{\"name\":\"hunter2\"}}x\n", before[0].1)).unwrap();
    let broken = files(dir);
    for arguments in [&["revoke", "alice"][..], &["rotate", "alice"]] {
        refused(dir, arguments, ":2:");
        assert!(!stderr(&consumers(dir, arguments)).contains("hunter2"));
    }
    assert_eq!(files(dir), broken);
    let conf = TempDir::new().unwrap();
    fs::write(conf.path().join("a.yaml"), "version: 1\n").unwrap();
    let output = palisade().args(["consumers", "list", "--conf"]).arg(conf.path()).output().unwrap();
    assert!(stderr(&output).contains("has no"), "{}", stderr(&output));
}

#[test]
fn commands_wait_for_one_another() {
    let dir = TempDir::new().unwrap();
    let names: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| stdout(&consumers(dir.path(), &["add", name])));
        }
    });
    // All in one file, where each of them could undo what another one has written.
    let all: String = files(dir.path())
        .into_iter()
        .map(|(path, text)| {
            fs::remove_file(path).unwrap();
            text
        })
        .collect();
    fs::write(dir.path().join("all.jsonl"), all).unwrap();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| stdout(&consumers(dir.path(), &["rotate", name, "--overlap", "1h"])));
        }
    });
    let list: Value = serde_json::from_str(&stdout(&consumers(dir.path(), &["list", "--json"]))).unwrap();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), names.len());
    assert!(list.iter().all(|entry| entry["keys"].as_array().unwrap().len() == 2), "{list:?}");
}
