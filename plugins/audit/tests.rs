use super::*;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Kit},
};
use std::time::Duration;

const DESCRIPTOR: Descriptor = Descriptor::of::<Audit>();

fn lines(yaml: &str, cases: Vec<Case>) -> Vec<serde_json::Value> {
    let dir = tempfile::tempdir().unwrap();
    let plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build(yaml).unwrap();
    for case in cases {
        plugin.run(case).passed();
    }
    flush(Duration::from_secs(10));
    let text = std::fs::read_to_string(dir.path().join("log/audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_line_for_each_request() {
    let hostile = Case::get("/a?apikey=secret").host("exa\"mple\n").header("authorization", "Bearer secret");
    let found = lines("file: log/audit.jsonl", vec![Case::get("/x").principal("alice", &["gold"]), hostile]);
    assert_eq!(found.len(), 2);
    assert_eq!(
        (&found[0]["path"], &found[0]["status"], &found[0]["consumer"]),
        (&"/x".into(), &200.into(), &"alice".into())
    );
    assert_eq!((&found[0]["route"], &found[0]["client"]), (&"_none".into(), &"192.0.2.1".into()));
    assert_eq!(found[1]["host"], "exa\"mple\n");
    assert!(!found[1].to_string().contains("secret"));
    assert!(found[1]["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
}

#[test]
fn the_query_only_when_asked_for() {
    let found = lines("{file: log/audit.jsonl, query: true, on_full: block}", vec![Case::get("/a?b=c")]);
    assert_eq!(found[0]["query"], "b=c");
}

#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let _plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build("file: a.jsonl").unwrap();
    let mode = std::fs::metadata(dir.path().join("a.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn mistakes_are_refused_at_load() {
    let kit = Kit::of(DESCRIPTOR);
    for (yaml, expected) in [
        ("{}", "exactly one"),
        ("{file: a, stdout: true}", "exactly one"),
        ("{file: /proc/no/such/place}", "cannot write"),
        ("{fil: a}", "did you mean `file`"),
    ] {
        assert!(kit.build(yaml).unwrap_err().contains(expected), "{yaml}");
    }
}
