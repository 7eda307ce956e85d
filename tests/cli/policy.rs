//! `palisade test`, `explain`, `coverage` and `check --strict`.

use super::{golden, run, stderr, stdout};
use regex::Regex;
use serde_json::Value;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

const CONF: &str = "\
version: 1
listeners: {public: {address: 127.0.0.1:8080}, secure: {address: 127.0.0.1:8081}}
upstreams: {api: {targets: [{address: '127.0.0.1:9', weight: 2}]}}
routes:
  orders:
    hosts: [shop.example]
    paths: [/orders/*]
    methods: [GET, POST]
    upstream: api
    plugins: {key-auth: {}, 'rate-limiting#a': {minute: 9, limit_by: consumer, mode: monitor}}
  order: {hosts: [shop.example], paths: ['/orders/{id}'], methods: [GET], upstream: api, plugins: {key-auth: {}}}
  elsewhere: {hosts: [other.example], paths: [/orders/*], upstream: api, public: true}
  guests: {paths: [/guests], upstream: api, plugins: {key-auth: {anonymous: guest}, acl: {allow: [x], when: request.method == 'PUT'}}}
  maybe: {paths: [/maybe], upstream: api, auth: optional, plugins: {key-auth: {mode: monitor}}}
  open: {paths: [/open/*, /o], upstream: api}
  gone: {paths: [/gone], plugins: {request-termination: {status_code: 410}}}
consumers:
  guest: {groups: [x]}
  alice: {key-auth: [{key_sha256: f80024220afd493b4d9592af870de7afe98061992d28fdb75480c9b717783fa2}], plugins: {acl: {mode: off}}}
";

fn conf(cases: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("main.yaml"), CONF).unwrap();
    fs::create_dir(dir.path().join("tests")).unwrap();
    fs::write(dir.path().join("tests/cases.yaml"), cases).unwrap();
    let path = dir.path().to_str().unwrap().to_owned();
    (dir, path)
}

/// What differs from run to run is taken out: places outside, times, ids.
fn plain(text: &str, conf: &str) -> String {
    let mut text = text.replace(conf, "CONF");
    for (pattern, with) in [
        (r"\d+\.\d+ s, \d+ cases", "TIME, RATE cases"),
        (r"time=\\?\x22[0-9.]+\x22", "time=\"TIME\""),
        (r" +[0-9.]+ us", " TIME"),
        (r"[0-9a-f]{32}-[0-9a-f]{16}", "TRACE"),
        (r"[0-9a-f]{32}", "ID"),
        (r"\x22micros\x22: [0-9.]+", "\"micros\": TIME"),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, with).into_owned();
    }
    text
}

const FAILING: &str = "\
cases:
  - name: passes
    request: GET http://shop.example/orders/7
    expect: {status: 401, plugin: key-auth}
  - name: a <failure> & more
    request: {url: 'http://shop.example/orders/7', headers: {apikey: demo-key-alice}}
    expect: {status: 403, plugin: acl, route: orders, origin: none}
  - name: of steps
    steps:
      - {request: GET /gone, expect: 410}
      - {wait: 1s, request: GET /gone, expect: {status: 200, json: {a: 1}}}
";

#[test]
fn a_failed_case_shows_who_decided_and_where() {
    let (_dir, conf) = conf(FAILING);
    let junit = PathBuf::from(&conf).join("results.xml");
    let output = run(&["test", "--conf", &conf, "--junit", junit.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    golden("policy-test.txt", &plain(&String::from_utf8(output.stdout).unwrap(), &conf));
    golden("policy-test.xml", &plain(&fs::read_to_string(junit).unwrap(), &conf));
}

#[test]
fn cases_that_pass_are_counted() {
    let (_dir, conf) = conf("cases: [{name: a, request: GET /gone, repeat: 3, expect: 410}]\n");
    let text = stdout(&run(&["test", &format!("{conf}/tests/cases.yaml"), "--conf", &conf]));
    let said = "1 cases in 1 file: 1 passed, 0 failed; 3 requests in TIME, RATE cases a second\n";
    assert_eq!(plain(&text, &conf), said);
}

#[test]
fn what_is_wrong_is_exit_code_1() {
    let (_dir, conf) = conf("cases: [{name: a, requst: GET /, expect: 200}]\n");
    let output = run(&["test", "--conf", &conf]);
    assert_eq!(output.status.code(), Some(1));
    golden("policy-test-wrong.txt", &plain(&stderr(&output), &conf));
    let output = run(&["test", "no-such-file.yaml", "--conf", &conf]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no-such-file.yaml: cannot be read"), "{}", stderr(&output));
    let none = tempfile::tempdir().unwrap();
    fs::write(none.path().join("main.yaml"), CONF).unwrap();
    let output = run(&["test", "--conf", none.path().to_str().unwrap()]);
    assert!(
        output.status.code() == Some(1) && stderr(&output).contains("cannot read"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn explain_shows_the_way_of_a_request() {
    let (_dir, conf) = conf("");
    let mut all = String::new();
    for arguments in [
        &[
            "-X",
            "POST",
            "https://shop.example//orders/./7",
            "-H",
            "apikey: demo-key-alice",
            "-H",
            "x-real-ip: 1.1.1.1",
        ][..],
        &["http://shop.example/orders/7", "-H", "authorization: Bearer hunter2", "--consumer", "alice"],
        &["http://shop.example/orders/7/x", "--client-ip", "192.0.2.7"],
        &["-X", "DELETE", "http://shop.example/orders/7"],
        &["/orders/..%2fx", "--listener", "secure"],
    ] {
        let text = stdout(&run(&[&["explain", "--conf", &conf], arguments].concat()));
        assert!(!text.contains("hunter2"), "{text}");
        all.push_str(&format!("{}\n", plain(&text, &conf)));
    }
    golden("explain.txt", &all);
    let text = stdout(&run(&["explain", "--conf", &conf, "/guests", "--json"]));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["route"]["name"], "guests");
    assert_eq!(json["principal"], "guest");
    assert_eq!(json["upstream"]["target"], "/guests");
    assert_eq!(json["decisions"][0]["stage"], "authenticate");
    for (arguments, said) in [
        (&["/x", "--consumer", "alcie"][..], "did you mean `alice`?"),
        (&["x"], "`x` is not an address"),
        (&["/x", "-H", "a"], "`a` is not `Name: value`"),
        (&["/x", "--listener", "secur"], "did you mean `secure`?"),
        (&["/open/x", "--consumer", "alice"], "nothing on the route `open` authenticates"),
    ] {
        let output = run(&[&["explain", "--conf", &conf], arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}

#[test]
fn coverage_shows_what_guards_each_operation() {
    let (_dir, conf) = conf("");
    golden("coverage.txt", &stdout(&run(&["coverage", "--conf", &conf])));
    let json: Value = serde_json::from_str(&stdout(&run(&["coverage", "--conf", &conf, "--json"]))).unwrap();
    let all = json.as_array().unwrap();
    let unguarded: Vec<&str> =
        all.iter().filter(|one| one["unguarded"] == true).map(|one| one["route"].as_str().unwrap()).collect();
    assert_eq!(unguarded, ["guests", "maybe", "open"]);
    let guests = all.iter().find(|one| one["route"] == "guests").unwrap();
    assert_eq!((&guests["access"], &guests["anonymous"]), (&"open".into(), &"guest".into()));
    assert_eq!(guests["controls"]["authorization"][0]["conditional"], true);
    assert_eq!(guests["without"]["alice"][0], "authorization");
}

#[test]
fn strict_refuses_what_nothing_guards() {
    let (_dir, conf) = conf("");
    let output = run(&["check", "--conf", &conf]);
    assert!(output.status.success());
    let warned = stderr(&output);
    assert!(
        warned.contains("nothing guards route `guests`, `maybe`, `open`: add an authenticator"),
        "{warned}"
    );
    let output = run(&["check", "--strict", "--conf", &conf]);
    assert_eq!(output.status.code(), Some(1));
    golden("check-strict.txt", &plain(&stderr(&output), &conf));
}

#[test]
fn the_schema_of_cases_is_printed() {
    let schema: Value = serde_json::from_str(&stdout(&run(&["schema", "--tests"]))).unwrap();
    assert_eq!(schema["title"], "palisade policy tests");
    assert!(schema["properties"]["cases"].is_object());
}
