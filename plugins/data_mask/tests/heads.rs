//! Heads of responses, roles, and what is wrong with a configuration.

use super::*;

const CARD: &str = "{\"a\":\"4111111111111111\"}";
const MASKED: &str = "{\"a\":\"************1111\"}";

#[test]
fn what_cannot_be_read_is_refused() {
    let plugin = build("{}");
    for kind in [
        "application/octet-stream",
        "application/pdf",
        "application/json-seq",
        "multipart/byteranges; boundary=a",
        "multipart/form-data; boundary=a",
        "application/grpc",
        "application/json; charset=utf-16",
        "application/json; charset=utf-7",
        "text/plain; charset=utf-16le",
        "text/plain; charset=shift_jis",
        "text/event-stream; charset=iso-8859-1",
        "application/json, text/plain",
        "application/json; charset=\"utf-8",
        "json",
        "*/*",
    ] {
        plugin.run(answer(kind, CARD)).denied(502, "data_mask_unreadable");
    }
    for kind in ["image/png", "video/mp4", "font/woff2"] {
        assert_eq!(masked(&plugin, kind, CARD), CARD, "{kind}");
    }
    let plugin = build("pass: [application/pdf]");
    assert_eq!(masked(&plugin, "application/pdf", CARD), CARD);
    plugin.run(answer("image/png", CARD)).denied(502, "data_mask_unreadable");
    // What says nothing is JSON where it is, and else text.
    let unnamed = |body: &str| text(&plugin.run(Case::get("/").response_body(body.to_owned())).passed());
    assert_eq!(unnamed(CARD), MASKED);
    assert_eq!(unnamed("a 4111111111111111"), "a ************1111");
    assert_eq!(unnamed("{a:4111111111111111}"), "{a:************1111}");
    // No body is none that could not be read.
    let empty = answer("application/octet-stream", "").response_header("content-length", "0");
    plugin.run(empty).passed();
}

#[test]
fn responses_without_a_body_and_parts() {
    let plugin = build("{}");
    let status = |case: &dyn Fn() -> Case, status: u16| {
        let mut ex = case().exchange();
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in [
            ("content-type", "application/json"),
            ("content-length", "24"),
            ("etag", "\"a\""),
            ("digest", "x"),
        ] {
            head.insert_header(name, value).unwrap();
        }
        let step = plugin.built.plugin().on_response(&mut ex, &mut head);
        let verdict = palisade_contract::testkit::block_on(step.resolve()).unwrap();
        (head, verdict)
    };
    let get = || Case::get("/");
    for code in [204, 304, 101] {
        assert!(matches!(status(&get, code).1, Verdict::Continue), "{code}");
    }
    assert!(!status(&get, 304).0.headers.contains_key("content-length"));
    assert!(status(&get, 304).0.headers.contains_key("etag"), "the client has the body that it is about");
    // A part may begin in the middle of what is looked for.
    assert!(matches!(status(&get, 206).1, Verdict::Deny(denial) if denial.reason() == "data_mask_partial"));
    let (head, verdict) = status(&|| Case::new("HEAD", "/"), 200);
    assert!(matches!(verdict, Verdict::Continue));
    for name in ["content-length", "etag", "digest"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
    // Where the body is held, the gateway sees to the headers that describe it.
    assert!(status(&get, 200).0.headers.contains_key("etag"));
    // The origin is asked for all of it.
    let ran = plugin.run(Case::get("/").header("range", "bytes=5-9").header("if-range", "\"a\""));
    assert_eq!(ran.ex.origin_changes().remove_headers, [header::RANGE, header::IF_RANGE]);
}

#[test]
fn headers_that_tell_what_runs_are_removed() {
    let with = |yaml: &str| {
        let case = answer(JSON, CARD)
            .response_header("server", "Oracle/9")
            .response_header("x-powered-by", "PHP/5")
            .response_header("x-debug", "1");
        let head = build(yaml).run(case).passed().head;
        ["server", "x-powered-by", "x-debug"].map(|name| head.headers.contains_key(name))
    };
    assert_eq!(with("{}"), [false, false, true]);
    assert_eq!(with("remove_headers: [X-Debug]"), [true, true, false]);
    assert_eq!(with("remove_headers: []"), [true, true, true]);
}

#[test]
fn who_may_see_it_sees_it() {
    let plugin = build("unless: {groups: [support], scopes: ['pii:read'], claims: {role: auditor}}");
    let seen = |case: Case| text(&plugin.run(case).passed());
    let case = || answer(JSON, CARD);
    assert_eq!(seen(case()), MASKED);
    assert_eq!(seen(case().principal("alice", &["gold"])), MASKED);
    assert_eq!(seen(case().principal("bob", &["support"])), CARD);
    assert_eq!(
        seen(case().principal("carol", &[]).claims(serde_json::json!({"scope": "orders pii:read"}))),
        CARD
    );
    assert_eq!(
        seen(
            case()
                .principal("carol", &[])
                .claims(serde_json::json!({"scope": "pii:readonly", "role": "user"}))
        ),
        MASKED
    );
    assert_eq!(
        seen(case().principal("carol", &[]).claims(serde_json::json!({"role": ["user", "auditor"]}))),
        CARD
    );
    let ran = plugin.run(case().principal("bob", &["support"]).header("range", "bytes=0-1"));
    assert!(ran.ex.origin_changes().remove_headers.is_empty());
}

#[test]
fn what_is_only_watched_stays_as_it_is() {
    let kit = kit();
    let plugin = kit.build_as("{}", Mode::Monitor).unwrap();
    let case = answer(JSON, CARD).response_header("server", "Oracle/9").header("range", "bytes=0-1");
    let ran = plugin.run(case).passed();
    assert_eq!((text(&ran), ran.body.is_replaced()), (CARD.to_owned(), false));
    assert!(ran.head.headers.contains_key("server") && ran.ex.origin_changes().remove_headers.is_empty());
    assert_eq!((ran.ex.findings().len(), kit.counted("card")), (1, 1));
    let plugin = kit.build_as("stream: true", Mode::Monitor).unwrap();
    let case = Case::get("/")
        .response_header("content-type", JSON)
        .response_pieces(&["{\"a\":\"4111", "111111111111\"}"]);
    let ran = plugin.run(case).passed();
    assert_eq!((text(&ran), ran.ex.findings().len()), (CARD.to_owned(), 1));
}

#[test]
fn what_is_written_wrong_is_said() {
    for (yaml, words) in [
        ("find: [{}]", "says nothing, or two things"),
        ("find: [{kinds: [card], name: a, pattern: b}]", "says nothing, or two things"),
        ("find: [{name: a}]", "says nothing, or two things"),
        ("find: [{kinds: [cards]}]", "card"),
        ("find: [{kinds: [card]}, {kinds: [card], action: deny}]", "stands there twice"),
        ("find: [{kinds: [card], keep_last: 9}]", "8 characters"),
        ("find: [{kinds: [card], action: remove, keep_last: 4}]", "nothing stays"),
        ("find: [{kinds: [private-key], keep_last: 4}]", "never shown in part"),
        ("find: [{name: 'a b', pattern: x}]", "no name"),
        ("find: [{name: a, pattern: '('}]", "no expression"),
        ("find: [{name: a, pattern: 'x*'}]", "nothing at all"),
        ("find: [{name: a, pattern: '(a{1000}){1000}'}]", "no expression"),
        ("fields: [{paths: []}]", "the list is empty"),
        ("fields: [{paths: ['a..b']}]", "part without a name"),
        ("fields: [{paths: ['a[0]']}]", "is no path"),
        ("remove_headers: [content-type]", "no header that can be removed"),
        ("remove_headers: ['a b']", "no header that can be removed"),
        ("pass: [pdf]", "not a media type"),
        ("unless: {roles: [a]}", "groups"),
    ] {
        let error = kit().build(yaml).map(drop).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
    let kit = kit().consumer("bob", &["support"], &[]);
    let error = kit.build("unless: {groups: [suport]}").map(drop).unwrap_err();
    assert!(error.contains("no consumer is in the group") && error.contains("support"), "{error}");
}
