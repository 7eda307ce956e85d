//! What `docs/walkthrough.md` says is typed, in its order, and does what it says.

use crate::{harness::until, origin::Origin};
use serde_json::Value;
use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

/// The blocks of a document that are marked as shell.
fn blocks(text: &str) -> String {
    let mut script = String::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("```sh\n") {
        let (block, after) = after.split_once("```").unwrap();
        script += block;
        rest = after;
    }
    script
}

#[test]
fn the_walkthrough_gets_where_it_says() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/walkthrough.md")).unwrap();
    let origin = Origin::start(|request| request.answer(200, "an order"));
    let script = blocks(&text);
    let run = "palisade run --conf gateway &\ngateway=$!\n";
    let (before, after) = script.split_once(run).expect("a block that runs it");
    // Ports that the system chooses in the place of those that are written.
    let before = before
        .replace("127.0.0.1:3000", &origin.address.to_string())
        .replace("127.0.0.1:8080", "127.0.0.1:0");
    let script = format!(
        "set -eu
{before}
palisade run --conf gateway --ports-file ports 2> log &
gateway=$!
trap 'kill $gateway 2> log.end || true' EXIT
until grep -q . ports 2> log.wait; do kill -0 $gateway; sleep 0.05; done
address=$(sed -n 's/^listener public //p' ports)
{}",
        after.replace("127.0.0.1:8080", "$address")
    );
    let dir = tempfile::tempdir().unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_palisade")).parent().unwrap();
    let path = env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir.path())
        .env("PATH", format!("{}:{path}", bin.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{out}\n{err}");
    let statuses: Vec<&str> = out.lines().filter(|line| line.len() == 3).collect();
    assert_eq!(statuses, ["401", "200", "200", "200", "200", "200", "429"], "{out}\n{err}");
    assert_eq!(origin.requests(), 5);
    let records = until("the record", || {
        let text = fs::read_to_string(dir.path().join("var/audit.jsonl")).unwrap_or_default();
        let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (records.len() == 7).then_some(records)
    });
    // An answer comes before its line: two may change places.
    let last = records.iter().find(|record| record["status"] == 429).unwrap();
    assert_eq!(last["principal"], "https://login.example.com|alice");
    assert_eq!(last["path"], "/orders");
    assert_eq!(last["reason"], "rate_limited");
    assert!(out.contains("\"path\":\"/orders\""), "a record is shown: {out}");
}
