//! `palisade waf`.

use super::{palisade, run, stderr, stdout};
use std::{fs, io::Write, process::Stdio};

fn code(arguments: &[&str]) -> (i32, String, String) {
    let output = run(&[&["waf"], arguments].concat());
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code().unwrap(), text, stderr(&output))
}

#[test]
fn check_prints_what_rules_hold_and_refuses_what_is_wrong() {
    let text = stdout(&run(&["waf", "check"]));
    assert!(text.starts_with("core: ") && text.contains("8506xxx") && text.contains("A scanner"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let good = file("good.conf", "SecRule ARGS \"@rx evil\" \"id:7,phase:2,deny,msg:'evil'\"\n");
    let text = stdout(&run(&["waf", "check", &good]));
    assert!(text.contains("1 rule in 1 file: good") && text.contains("7 phase 2"), "{text}");
    let bad = file(
        "bad.conf",
        "SecRule ARG \"@rx evil\" \"id:8,phase:2,deny\"\nSecRule ARGS \"@inspectFile x.lua\" \"id:9\"\n",
    );
    let (code, text, error) = code(&["check", &good, &bad]);
    assert_eq!((code, text.as_str()), (1, ""));
    for part in ["bad.conf:1:9", "rule 8", "^^^", "`ARGS` is close to it", "bad.conf:2:15", "2 errors"] {
        assert!(error.contains(part), "{part} is not in\n{error}");
    }
    let nothing = dir.path().join("nothing").display().to_string();
    let (code, _, error) = self::code(&["check", &nothing]);
    assert!(code == 1 && error.contains("nothing"), "{error}");
}

#[test]
fn try_says_which_rules_match_and_what_becomes_of_the_request() {
    let (status, text, _) = code(&["try", "--uri", "/?q=1' or 1=1 --"]);
    assert_eq!(status, 3, "{text}");
    for part in
        ["GET /?q=1'%20or%201=1%20--", "8506030 CRITICAL", "ARGS:q: 1' or 1=1", "refused, 403 waf_blocked"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let (status, text, _) = code(&["try", "--uri", "/?q=O'Brien"]);
    assert!(status == 0 && text.contains("0 rules matched") && text.contains("verdict: passed"), "{text}");
    let json = ["try", "-H", "Content-Type: application/json", "--body"];
    let with = |body: &str| code(&[&json[..], &[body]].concat());
    assert_eq!(with(r#"{"a": "<script>alert(1)</script>"}"#).0, 3);
    assert_eq!(with(r#"{"a": "hello"}"#).0, 0);
    let (status, text, _) = with("{");
    assert!(status == 3 && text.contains("400 waf_body_malformed"), "{text}");
    let mut child = palisade()
        .args(["waf", "try", "--body-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Longer than what is judged in place.
    let long = format!("a={}&b=%3Cscript%3E", "x".repeat(100_000));
    child.stdin.take().unwrap().write_all(long.as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

#[test]
fn try_takes_rules_of_ones_own_and_entries_of_a_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("own.conf", "SecRule ARGS:q \"@streq bad\" \"id:7,phase:2,deny,status:418\"\n");
    write(
        "palisade.yaml",
        "version: 1\nlisteners: {public: {address: 127.0.0.1:0}}\n\
         upstreams: {shop: {targets: [{address: 127.0.0.1:9}]}}\n\
         routes:\n  shop: {paths: [/*], upstream: shop, plugins: {waf: {rules: [own.conf], request_body: {limit: 1KiB}}}}\n  \
         plain: {paths: [/plain], upstream: shop}\n",
    );
    let (conf, own) = (dir.path().display().to_string(), dir.path().join("*.conf").display().to_string());
    let (status, text, error) = code(&["try", "--rules", &own, "--uri", "/?q=bad"]);
    assert!(status == 3 && text.contains("refused, 418"), "{text}{error}");
    let (status, text, error) = code(&["try", "--conf", &conf, "--route", "shop", "--uri", "/?q=bad"]);
    assert!(status == 3 && text.contains("refused, 418"), "{text}{error}");
    let long = "x".repeat(2000);
    let (_, text, _) = code(&["try", "--conf", &conf, "--route", "shop", "--body", &long]);
    assert!(text.contains("413 waf_body_too_large"), "{text}");
    let (status, _, error) = code(&["try", "--conf", &conf, "--route", "plain"]);
    assert!(status == 1 && error.contains("has no entry `waf`"), "{error}");
    let (status, _, error) = code(&["try", "--conf", &conf, "--route", "shoop"]);
    assert!(status == 1 && error.contains("its routes are"), "{error}");
    let (status, _, error) = code(&["try", "--ruleset", "crs", "--crs-directory", "/nowhere"]);
    assert!(
        status == 1 && error.contains("holds no core rule set") && error.contains("modsecurity-crs"),
        "{error}"
    );
    assert_eq!(code(&["try", "--conf", &conf]).0, 2);
    assert_eq!(code(&["try", "--paranoia-level", "2"]).0, 1);
}
