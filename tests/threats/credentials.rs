//! Credentials: one value, compared whole.
//!
//! Case: CVE-2026-31838 (Istio: only one of several values checked).

use crate::gate::Gate;

/// The status and reason of a request for what is closed, with these lines.
#[track_caller]
fn ask(lines: &str) -> (u16, String) {
    let gate = Gate::shared();
    let (answer, _, mark) = gate.answer(format!("GET /admin/MARK HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    let reached = !gate.seen(&mark).is_empty();
    assert_eq!(reached, answer.status == 200, "{lines:?}");
    if answer.status == 200 { (200, String::new()) } else { (answer.status, answer.reason()) }
}

#[test]
fn the_key_works() {
    assert_eq!(ask("apikey: alice-key\r\n"), (200, String::new()));
}

#[test]
fn none_is_refused() {
    assert_eq!(ask(""), (401, "credential_missing".into()));
}

#[test]
fn two_values_are_refused() {
    for lines in [
        "apikey: alice-key\r\napikey: bob-key\r\n",
        "apikey: alice-key\r\napikey: alice-key\r\n",
        "apikey: x\r\nAPIKEY: alice-key\r\n",
    ] {
        assert_eq!(ask(lines), (401, "credential_ambiguous".into()), "{lines:?}");
    }
}

#[test]
fn the_comparison_is_exact() {
    for key in
        ["Alice-key", "ALICE-KEY", "alice-ke", "alice-keyx", "xalice-key", "alice-key%00", "*", "alice_key"]
    {
        assert_eq!(ask(&format!("apikey: {key}\r\n")), (401, "credential_unknown".into()), "{key}");
    }
}

#[test]
fn a_list_is_another_key() {
    for key in ["alice-key,alice-key", "alice-key, bob-key", "alice-key;"] {
        assert_eq!(ask(&format!("apikey: {key}\r\n")).0, 401, "{key}");
    }
}

#[test]
fn a_nul_is_refused() {
    Gate::shared().refuses(
        "GET /admin/MARK HTTP/1.1\r\nHost: a\r\napikey: alice-key\0\r\n\r\n",
        400,
        "header_control_character",
    );
}

#[test]
fn a_name_that_looks_alike_is_another() {
    for line in ["api-key: alice-key", "api.key: alice-key", "apikey2: alice-key"] {
        assert_eq!(ask(&format!("{line}\r\n")).0, 401, "{line}");
    }
}

#[test]
fn a_key_in_the_query_is_none() {
    let gate = Gate::shared();
    let (answer, ..) = gate.answer("GET /admin/MARK?apikey=alice-key HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((answer.status, answer.reason()), (401, "credential_missing".into()));
}
