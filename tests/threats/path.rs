//! Paths: one normal form decides, and is what the origin gets; what has more than one is refused.
//!
//! Cases: CVE-2025-66490 and CVE-2026-48020 (encoded characters past rules in Traefik), CVE-2026-26205 (OPA-Envoy reads
//! an authority where the origin reads a path), CVE-2026-32811 (Heimdall), CVE-2021-29492 (escaped slashes in Envoy).
//! `tests/e2e/canonical` tries such spellings by the thousand against decoders.

use crate::{gate::Gate, harness::Prepared};

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

macro_rules! refused {
    ($($name:ident: $reason:literal, [$($path:expr),+ $(,)?];)+) => {$(
        #[test]
        fn $name() {
            let gate = Gate::shared();
            for path in [$($path),+] {
                gate.refuses(get(path), 400, $reason);
            }
        }
    )+};
}

refused! {
    an_encoded_nul_or_control_character_is_refused: "path_control_character", [
        "/MARK%00", "/MARK%0d%0aX:y", "/MARK%09", "/MARK%7f", "/MARK%1f/x",
    ];
    a_raw_control_character_is_refused: "target_control_character", ["/MARK\x01", "/MARK\0", "/MARK\x7f"];
    an_invalid_percent_sequence_is_refused: "path_percent", [
        "/MARK%", "/MARK%2", "/MARK%zz", "/MARK%u002e", "/MARK%%32%65",
    ];
    an_encoded_slash_is_refused: "path_encoded_slash", ["/MARK%2fx", "/MARK/..%2Fadmin/x"];
    an_encoded_backslash_is_refused: "path_encoded_slash", ["/MARK%5cx", "/MARK/..%5Cadmin/x"];
    a_raw_backslash_is_refused: "path_backslash", ["/MARK\\x", "/MARK\\..\\admin\\x"];
    a_second_encoding_is_refused: "path_double_encoding", [
        "/MARK/%252e%252e/admin/x", "/MARK%252fx", "/MARK%255cx", "/%2561dmin/MARK", "/MARK%25252e",
        "/MARK/%25%32%65%25%32%65/admin",
    ];
    overlong_and_invalid_utf8_is_refused: "path_utf8", [
        "/MARK/%c0%ae%c0%ae/admin", "/MARK%c0%af", "/MARK%e0%80%af", "/MARK%ff", "/MARK%ed%a0%80",
    ];
    look_alikes_of_path_syntax_are_refused: "path_lookalike", [
        "/MARK%ef%bc%8fadmin", "/MARK/%ef%bc%8e%ef%bc%8e/admin", "/MARK/%e2%80%a5/admin", "/MARK%ef%bc%bcx",
    ];
    what_no_uri_has_is_refused: "target_malformed", [
        "/MARK<x", "/MARK>x", "/MARK`x", "/MARK?a=<b>", "/MARK?a=\"b\"", "http://a/MARK<",
    ];
    a_parameter_on_a_dot_segment_is_refused: "path_dot_parameter", [
        "/MARK/..;/admin/x", "/MARK/..;a=b/admin/x", "/MARK/.;/x", "/MARK/..%3b/admin", "/MARK/;/x",
    ];
    a_dot_segment_that_is_trimmed_is_refused: "path_blank_segment", [
        "/MARK/..%20/admin/x", "/MARK/.../x", "/MARK/%20/../admin",
    ];
    a_spelling_of_a_protected_prefix_is_refused: "path_ambiguous", [
        "/Admin/MARK", "/ADMIN/MARK", "/admin;a=b/MARK", "/admin./MARK", "/admin%20/MARK", "/adm%C4%B1n/../Admin/MARK",
    ];
}

#[test]
fn dot_segments_are_removed_before_a_rule_is_looked_for() {
    let gate = Gate::shared();
    for path in [
        "/x/../admin/MARK",
        "/./admin/MARK",
        "//admin/MARK",
        "/x/%2e%2e/admin/MARK",
        "/%61dmin/MARK",
        "/admin//MARK",
    ] {
        let (answer, _, mark) = gate.answer(get(path));
        assert_eq!((answer.status, gate.seen(&mark).len()), (401, 0), "{path}");
    }
}

#[test]
fn a_prefix_is_matched_by_segment() {
    let gate = Gate::shared();
    for path in ["/admin?MARK", "/admin/?MARK", "/admin/x?MARK"] {
        assert_eq!(gate.answer(get(path)).0.status, 401, "{path}");
    }
    gate.passes(get("/administrator?MARK"));
}

#[test]
fn a_second_reading_of_the_target_is_refused_and_closes_an_http_1_connection() {
    // `refuses` looks at the connection; this is for those that the router finds.
    let gate = Gate::shared();
    gate.refuses(get("/Admin/MARK"), 400, "path_ambiguous");
    let mut client = gate.gateway.connect();
    client.request("GET", "/admin/x", &[]).expect(401);
    client.request("GET", "/fine", &[]).expect(200);
}

#[test]
fn what_is_no_character_of_a_query_is_refused() {
    let gate = Gate::shared();
    gate.refuses(&b"GET /MARK?a=\xe9 HTTP/1.1\r\nHost: a\r\n\r\n"[..], 400, "target_malformed");
    gate.refuses(get("/MARK?a=\u{e9}"), 400, "query_malformed");
    gate.refuses(get("/MARK?a=\0"), 400, "target_control_character");
    gate.passes(get("/MARK?a=%e9&b[]=%00&c='(x);{y}|z"));
}

#[test]
fn what_is_legal_works() {
    let gate = Gate::shared();
    for (path, normal) in [
        ("/public/MARK/a%20b", "/public/MARK/a%20b"),
        ("/public/MARK/%E2%9C%93", "/public/MARK/%E2%9C%93"),
        ("/public/MARK/100%25", "/public/MARK/100%25"),
        ("/public/MARK/a;v=1/b", "/public/MARK/a;v=1/b"),
        ("/public/MARK/a.b..c", "/public/MARK/a.b..c"),
        ("/public/MARK/~u/@v1:x,y/(z)!*'", "/public/MARK/~u/@v1:x,y/(z)!*'"),
        ("/public/MARK?next=../admin/x", "/public/MARK?next=../admin/x"),
        ("http://a/public/MARK", "/public/MARK"),
        ("/public//MARK/./x/../%7euser%2d1", "/public/MARK/~user-1"),
    ] {
        let seen = gate.passes(get(path));
        let target = seen.split(' ').nth(1).unwrap();
        let (before, after) = normal.split_once("MARK").unwrap();
        assert!(target.starts_with(before) && target.ends_with(after), "{path}: {target}");
    }
}

/// The answer of the listener whose rules are relaxed.
fn relaxed(path: &str) -> (u16, Vec<String>, String) {
    let gate = Gate::shared();
    let mark = crate::gate::mark();
    let path = path.replace("MARK", &mark);
    let mut client = crate::client::Client::connect(gate.gateway.at("listener relaxed"));
    let answer = client.request("GET", &path, &[]);
    (answer.status, gate.seen(&mark), mark)
}

#[test]
fn a_relaxed_listener_lets_encoded_separators_be_and_says_so() {
    let gate = Gate::shared();
    for path in ["/MARK%2fx", "/MARK%5Cx"] {
        let (status, seen, mark) = relaxed(path);
        let target = seen.first().map(|seen| seen.split(' ').nth(1).unwrap().to_owned());
        assert_eq!((status, target), (200, Some(path.replace("MARK", &mark).replace("%2f", "%2F"))));
        let record = gate.record(&mark);
        assert!(record["decisions"].to_string().contains("path_relaxed"), "{record}");
    }
    assert!(gate.gateway.log().contains("listener `relaxed` takes paths with encoded slashes"));
}

#[test]
fn check_warns_of_a_relaxed_listener() {
    let conf = |paths| format!("listeners: {{public: {{address: 127.0.0.1:0, limits: {{paths: {paths}}}}}}}");
    for (paths, warns) in [("relaxed", true), ("strict", false)] {
        let prepared = Prepared::empty();
        prepared.write("all.yaml", &format!("version: 1\n{}\n", conf(paths)));
        let (code, _, err) = prepared.check();
        assert_eq!(
            (code, err.contains("listener `public` takes paths with encoded slashes")),
            (0, warns),
            "{err}"
        );
    }
}

#[test]
fn a_relaxed_listener_lets_nothing_else_through() {
    for path in [
        "/MARK/..%2fadmin/x",
        "/MARK%2f..%2fadmin",
        "/MARK%2f",
        "/MARK%2f/../x",
        "/MARK%00",
        "/MARK\\x",
        "/MARK%252fx",
        "/MARK/..;/x",
        "/MARK%ef%bc%8fx",
        "/admin%2fMARK",
        "/Admin%5cMARK",
    ] {
        let (status, seen, _) = relaxed(path);
        assert_eq!((status, seen.len()), (400, 0), "{path}");
    }
}
