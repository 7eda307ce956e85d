//! Files of consumers, as a directory of them is read.

use palisade::consumers::{Directory, ENDING, Reserved};
use palisade_contract::{ConsumerSource, Held, Step};
use serde_json::Value;
use std::{cell::RefCell, collections::BTreeSet};
use tempfile::TempDir;

/// Reads a file.
///
/// # Panics
/// Where what is held is not what a parser of JSON finds on the lines, where an error has no place, or where it shows
/// `hunter2`: that stands where secrets do.
pub fn run(data: &[u8]) {
    DIR.with_borrow(|dir| {
        std::fs::write(dir.path().join("consumers").with_extension(ENDING), data).expect("a file");
        match Directory::open(dir.path(), Reserved::default(), None) {
            Ok(directory) => compare(&directory, data),
            Err(errors) => {
                assert!((1..=40).contains(&errors.len()), "{} errors", errors.len());
                for error in &errors {
                    assert!(error.place.is_some(), "no place: {error:?}");
                    assert!(!error.message.is_empty() && !error.message.ends_with('.'), "{error:?}");
                    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
                }
            }
        }
    });
}

/// Everybody who stands there is found by their keys, and nobody else is there.
fn compare(directory: &Directory, data: &[u8]) {
    let (mut names, mut keys) = (BTreeSet::new(), 0);
    let is_blank = |line: &&[u8]| line.iter().all(|byte| b" \t\r".contains(byte));
    for line in data.split(|byte| *byte == b'\n').filter(|line| !is_blank(line)) {
        let value: Value = serde_json::from_slice(line).expect("what is taken is JSON");
        let name = value["name"].as_str().expect("it has a name");
        assert!(names.insert(name.to_owned()), "{name} twice");
        let mut groups: Vec<&str> =
            list(&value, "groups").map(|group| group.as_str().expect("a text")).collect();
        groups.sort_unstable();
        for key in list(&value, "key-auth") {
            keys += 1;
            let found = find(directory, key["key_sha256"].as_str().expect("a text")).expect("it is held");
            let consumer = found.principal.consumer.as_ref().expect("a consumer");
            assert_eq!(&*consumer.name, name);
            let mut held: Vec<&str> = consumer.groups.iter().map(|group| &**group).collect();
            held.sort_unstable();
            held.dedup();
            groups.dedup();
            assert_eq!(held, groups, "{name}");
            assert_eq!(found.expires.is_some(), key.get("expires").is_some_and(|at| !at.is_null()), "{name}");
        }
    }
    assert_eq!(directory.view().sizes, Some((names.len(), keys)));
    assert!(find(directory, &"0".repeat(64)).is_none() || data.windows(64).any(|part| part == [b'0'; 64]));
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn find(directory: &Directory, hash: &str) -> Option<Held> {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(hash.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    match directory.find_key(&bytes) {
        Step::Now(found) => found.expect("a directory does not fail"),
        Step::Later(_) => panic!("a directory knows at once"),
    }
}

thread_local! {
    static DIR: RefCell<TempDir> = RefCell::new(tempfile::tempdir().expect("a directory"));
}
