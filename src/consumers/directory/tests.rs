use super::*;
use palisade_contract::Place;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, fs};
use tempfile::TempDir;

fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key).into()
}

fn line(name: &str, key: &str) -> String {
    format!(
        "{{\"name\":\"{name}\",\"groups\":[\"gold\"],\"key-auth\":[{{\"key_sha256\":\"{}\"}}]}}\n",
        hex::encode(hash(key))
    )
}

struct Dir(TempDir);

impl Dir {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = Dir(TempDir::new().unwrap());
        files.iter().for_each(|(name, text)| dir.write(name, text));
        dir
    }

    fn write(&self, name: &str, text: &str) {
        let new = self.0.path().join(".new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.0.path().join(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.0.path().join(name)).unwrap();
    }

    fn open(&self) -> Directory {
        Directory::open(self.0.path(), Reserved::default(), None).unwrap()
    }

    /// Everything that keeps it from being opened, without its path.
    fn refused(&self, reserved: Reserved) -> String {
        let errors = Directory::open(self.0.path(), reserved, None).err().unwrap();
        said(&errors).replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn who(directory: &Directory, key: &str) -> Option<String> {
    match directory.find_key(&hash(key)) {
        Step::Now(found) => found.unwrap().map(|held| held.principal.id.to_string()),
        Step::Later(_) => panic!("a directory does not wait"),
    }
}

#[test]
fn keys_are_found_with_all_that_is_written_of_them() {
    let key = hex::encode(hash("k"));
    let text = format!(
        r#"{{"name":"a","groups":["x","y"],"key-auth":[{{"key_sha256":"{key}","id":"first","expires":"1971-01-01"}}]}}"#
    );
    let dir = Dir::new(&[("a.jsonl", &format!("\n{text}\n  \n")), ("b.jsonl", ""), (".hidden", "x")]);
    let directory = dir.open();
    let Step::Now(Ok(Some(held))) = directory.find_key(&hash("k")) else { panic!("not found") };
    assert_eq!(held.expires, Some(SystemTime::UNIX_EPOCH + Duration::from_secs(365 * 86400)));
    assert_eq!(held.principal.credential.as_deref(), Some("first"));
    assert_eq!(held.principal.groups().iter().map(|group| &**group).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!((who(&directory, "other"), directory.view().sizes), (None, Some((1, 1))));
}

#[test]
fn names_of_any_length_are_found() {
    let names: Vec<String> = (1..=128).map(|length| "n".repeat(length)).collect();
    let text: String = names.iter().map(|name| line(name, name)).collect();
    let dir = Dir::new(&[("a.jsonl", &text)]);
    let directory = dir.open();
    for name in &names {
        assert_eq!(who(&directory, name).as_ref(), Some(name));
    }
    // Whose a key is that stands twice is said whatever its length.
    for name in [&names[19], &names[20], &names[127]] {
        dir.write("b.jsonl", &line("other", name));
        assert!(
            dir.refused(Reserved::default()).contains(&format!("belongs to the consumer `{name}` already"))
        );
    }
}

#[test]
fn changes_are_seen_file_by_file() {
    let dir = Dir::new(&[("a.jsonl", &line("alice", "a")), ("b.jsonl", &line("bob", "b"))]);
    let directory = dir.open();
    assert_eq!(
        (who(&directory, "a").as_deref(), who(&directory, "b").as_deref()),
        (Some("alice"), Some("bob"))
    );
    // Revoked in one file, and another one broken: that one stays as it was.
    dir.write("a.jsonl", &line("carol", "c"));
    dir.write("b.jsonl", "hunter2\n");
    directory.look();
    assert_eq!((who(&directory, "a"), who(&directory, "c").as_deref()), (None, Some("carol")));
    assert_eq!(who(&directory, "b").as_deref(), Some("bob"));
    let view = directory.view();
    assert!(
        !view.ok
            && view.error.contains("b.jsonl:1:1: this is not a mapping in JSON")
            && !view.error.contains("hunter2"),
        "{view:?}"
    );
    // And a line that is not written to its end.
    dir.write("b.jsonl", line("bob", "b2").trim_end());
    directory.look();
    assert!(directory.view().error.contains("the last line has no line break"));
    dir.write("b.jsonl", &line("bob", "b2"));
    directory.look();
    assert!(directory.view().ok, "{:?}", directory.view());
    assert_eq!((who(&directory, "b"), who(&directory, "b2").as_deref()), (None, Some("bob")));
    dir.remove("b.jsonl");
    directory.look();
    assert_eq!((who(&directory, "b2"), directory.view().sizes), (None, Some((1, 1))));
}

#[test]
fn what_clashes_leaves_all_as_it_was() {
    let dir = Dir::new(&[("a.jsonl", &line("alice", "a"))]);
    let directory = dir.open();
    for (text, words) in [
        (line("bob", "b") + &line("bob", "c"), "b.jsonl:2:1: the consumer `bob` is written twice"),
        (line("alice", "b"), "b.jsonl:1:1: the consumer `alice` is written twice (the first one is here: "),
        (
            line("bob", "a"),
            "b.jsonl:1:1: this key belongs to the consumer `alice` already (the first one is here: ",
        ),
    ] {
        dir.write("b.jsonl", &text);
        directory.look();
        let view = directory.view();
        assert!(view.error.contains(words), "{view:?}");
        assert_eq!((view.sizes, who(&directory, "a").as_deref()), (Some((1, 1)), Some("alice")));
        // It is said once.
        let failures = view.events["failed"];
        directory.look();
        assert_eq!(directory.view().events["failed"], failures);
        assert!(dir.refused(Reserved::default()).contains(words));
    }
    // The other file gives way.
    dir.remove("a.jsonl");
    directory.look();
    assert!(directory.view().ok);
    assert_eq!(who(&directory, "a").as_deref(), Some("bob"));
}

#[test]
fn what_the_configuration_has_is_nobody_elses() {
    let dir = Dir::new(&[("a.jsonl", &line("alice", "a"))]);
    let place = Place::of_file(Path::new("main.yaml"));
    let names = Reserved { names: HashMap::from([("alice".into(), place.clone())]), ..Reserved::default() };
    assert!(dir.refused(names).starts_with(
        "a.jsonl:1:1: the consumer `alice` is written twice (the first one is here: main.yaml)"
    ));
    let keys = Reserved { keys: HashMap::from([(hash("a"), ("bob".into(), place))]), ..Reserved::default() };
    let words = "a.jsonl:1:1: this key belongs to the consumer `bob` of the configuration already (it is here: main.yaml)";
    assert_eq!(dir.refused(keys), words);
}

#[test]
fn what_cannot_be_read_is_said_and_changes_nothing() {
    let dir = Dir::new(&[("a.jsonl", &line("alice", "a")), ("readme.txt", "x")]);
    assert_eq!(dir.refused(Reserved::default()), "readme.txt: files of consumers end in `.jsonl`");
    dir.remove("readme.txt");
    let directory = dir.open();
    fs::create_dir(dir.0.path().join("b.jsonl")).unwrap();
    directory.look();
    assert!(directory.view().error.contains("b.jsonl: this is not a regular file"), "{:?}", directory.view());
    fs::remove_dir(dir.0.path().join("b.jsonl")).unwrap();
    directory.look();
    assert!(directory.view().ok);
    let away = dir.0.path().with_extension("away");
    fs::rename(dir.0.path(), &away).unwrap();
    directory.look();
    assert!(directory.view().error.contains("cannot read the directory of consumers"));
    assert_eq!(who(&directory, "a").as_deref(), Some("alice"));
    fs::rename(&away, dir.0.path()).unwrap();
    directory.look();
    assert!(directory.view().ok && who(&directory, "a").is_some());
}

#[test]
fn a_reload_reads_only_what_has_changed() {
    let dir = Dir::new(&[("a.jsonl", &line("alice", "a")), ("b.jsonl", &line("bob", "b"))]);
    let first = dir.open();
    let settled = |directory: &Directory| {
        let begun = SystemTime::now();
        while begun.elapsed().is_ok_and(|since| since < Duration::from_millis(150)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        directory.look();
        directory.shared.table.load_full()
    };
    let table = settled(&first);
    let again = Directory::open(dir.0.path(), Reserved::default(), Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&table, &again.shared.table.load_full()));
    dir.write("b.jsonl", &line("bob", "b2"));
    let third = Directory::open(dir.0.path(), Reserved::default(), Some(&again)).unwrap();
    assert_eq!((who(&third, "b"), who(&third, "b2").as_deref()), (None, Some("bob")));
    assert_eq!(third.view().events["loaded"], again.view().events["loaded"] + 1);
}
