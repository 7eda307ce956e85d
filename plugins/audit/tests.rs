use super::*;
use palisade_contract::{
    Decision, Descriptor, Effect,
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
fn a_line_is_bounded_and_says_what_it_left_out() {
    let long = format!("/{}?{}", "p".repeat(30_000), "\u{e9}".repeat(5000));
    let dir = tempfile::tempdir().unwrap();
    let plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build("{file: a.jsonl, query: true}").unwrap();
    let mut ex = plugin.run(Case::get(&long).host(&"\u{1}".repeat(9000))).ex;
    let many = Decision {
        entry: Some(plugin.info.clone()),
        effect: Effect::Deny,
        reason: Some("no"),
        detail: Some("d".repeat(500).into()),
        nanos: u32::MAX,
    };
    ex.host_side().decisions.extend(vec![many; 200]);
    ex.host_side().outcome.error = Some("e".repeat(9000));
    plugin.built.plugin().on_log(&ex);
    flush(Duration::from_secs(10));
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
    for line in text.lines() {
        assert!(line.len() < line::LONGEST, "{}", line.len());
        let found: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(found["truncated"], true);
        assert!(found["path"].as_str().unwrap().ends_with("pp\u{2026}"));
        assert!(found["host"].as_str().unwrap().starts_with('\u{1}'));
        assert_eq!(found["status"], 200);
    }
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn decisions_say_which_entry_decided_what() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build("file: a.jsonl").unwrap();
    let mut ex = plugin.run(Case::get("/")).ex;
    let decision = |entry, detail: Option<&'static str>| Decision {
        entry,
        effect: Effect::WouldDeny,
        reason: Some("no"),
        detail: detail.map(Into::into),
        nanos: 7,
    };
    ex.host_side().decisions.extend([decision(Some(plugin.info.clone()), None), decision(None, Some("x\n"))]);
    plugin.built.plugin().on_log(&ex);
    flush(Duration::from_secs(10));
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
    let found: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    let expected = serde_json::json!([
        {"plugin": "audit", "place": "test.yaml:1:1", "effect": "would_deny", "reason": "no", "ns": 7},
        {"plugin": "palisade", "effect": "would_deny", "reason": "no", "detail": "x\n", "ns": 7}
    ]);
    assert_eq!(found["decisions"], expected);
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
