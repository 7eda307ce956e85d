use super::{json, plugin, refused};
use crate::coding::tests::gzip;
use palisade_contract::testkit::{Case, Instance};

const IGNORE: &str = "security: ignore";

fn post(plugin: &Instance, target: &str, body: &str) -> String {
    refused(plugin, json("POST", target, body)).unwrap_or_default()
}

#[test]
fn json_is_what_its_schema_says() {
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    for (body, expected) in [
        (r#"{"name":"Öl 1","qty":1}"#, ""),
        (
            r#"{"name":"a","qty":99,"price":null,"secret":"s","colour":"red","labels":{"x":"abc"},"free":{"any":[1]}}"#,
            "",
        ),
        (r#"{"name":"a","qty":1,"made":"2024-02-29T12:00:00Z","mail":"a@b.example"}"#, ""),
        (r#"{"name":"a","qty":1,"lines":[{"qty":1},{"qty":2,"note":"n"}],"pair":[1,"x"]}"#, ""),
        (
            r#"{"name":"a","qty":1,"lines":[{"qty":1},{"qty":1},{"qty":1},{"qty":0}]}"#,
            "/lines/3/qty: 0 is less than 1",
        ),
        (r#"{"qty":1}"#, "`name` is missing"),
        (r#"{"name":"a","qty":1,"id":7}"#, "/id: it may not be here"),
        (r#"{"name":"a","qty":1,"admin":true}"#, "`admin` is not declared"),
        (r#"{"name":"a","qty":1,"lines":[{"qty":1,"evil":1}]}"#, "/lines/0: `evil` is not declared"),
        (r#"{"name":"a","qty":100}"#, "/qty: 100 is not less than 100"),
        (r#"{"name":"a","qty":"1"}"#, "/qty: expected integer, found a string"),
        (r#"{"name":"a","qty":1.5}"#, "/qty: expected integer, found a number"),
        (r#"{"name":"1a","qty":1}"#, r"/name: it does not match `^\p{L}[\w ]*$`"),
        (r#"{"name":"a","qty":1,"price":0.3}"#, "/price: 0.3 is not a multiple of 0.5"),
        (r#"{"name":"a","qty":1,"made":"2023-02-29T12:00:00Z"}"#, "/made: it is no `date-time`"),
        (r#"{"name":"a","qty":1,"mail":"@"}"#, "/mail: it is no `email`"),
        (r#"{"name":"a","qty":1,"colour":"blue"}"#, "/colour: it is none of the values that are declared"),
        (r#"{"name":"a","qty":1,"labels":{"x":"abcd"}}"#, "/labels/x: it is longer than 3 characters"),
        (r#"{"name":"a","qty":1,"pair":[1,"x",2]}"#, "/pair/2: it may not be here"),
        ("[]", "expected object, found an array"),
    ] {
        let expected =
            if expected.is_empty() { String::new() } else { format!("400 openapi_body {expected}") };
        assert_eq!(post(&plugin, "/v1/items", body), expected, "{body}");
    }
}

#[test]
fn json_is_read_in_one_way() {
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    for body in [
        "{",
        r#"{"name":"a","qty":1,"qty":2}"#,
        r#"{"name":"a","qty":1,"\u0071ty":2}"#,
        "\u{feff}{\"name\":\"a\",\"qty\":1}",
        r#"{"name":"a","qty":1} {}"#,
        r#"{"name":"a","qty":NaN}"#,
        r#"{"name":"a","qty":1e999}"#,
        r#"{"name":"a","qty":01}"#,
    ] {
        assert!(post(&plugin, "/v1/items", body).starts_with("400 openapi_malformed"), "{body}");
    }
    let deep = format!("{}1{}", "{\"free\":".repeat(200), "}".repeat(200));
    assert!(post(&plugin, "/v1/items", &deep).starts_with("400 openapi_malformed"));
    let tree = |depth: usize| {
        format!("{}{{\"value\":1}}{}", "{\"value\":1,\"children\":[".repeat(depth), "]}".repeat(depth))
    };
    assert_eq!(post(&plugin, "/v1/tree", &tree(60)), "");
    assert!(post(&plugin, "/v1/tree", &tree(64)).starts_with("400 openapi_malformed"));
    let case = |coding: &str, body: bytes::Bytes| {
        let case = Case::new("POST", "/v1/items").header("content-type", "application/json; charset=UTF-8");
        refused(&plugin, case.header("content-encoding", coding).body(body)).unwrap_or_default()
    };
    assert_eq!(case("gzip", gzip(br#"{"name":"a","qty":1}"#)), "");
    assert_eq!(case("gzip", gzip(br#"{"name":"a","qty":0}"#)), "400 openapi_body /qty: 0 is less than 1");
    assert!(case("gzip", "{}".into()).starts_with("400 encoding_malformed"));
    assert!(case("zstd", "{}".into()).starts_with("415 encoding_unknown"));
    assert!(case("gzip", gzip(&[b' '; 2_000_000])).starts_with("413 encoding_bomb"));
}

#[test]
fn bodies_have_a_type_that_is_declared() {
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    let with = |kind: &str| {
        let case =
            Case::new("POST", "/v1/items").header("content-type", kind).body(r#"{"name":"a","qty":1}"#);
        refused(&plugin, case).unwrap_or_default()
    };
    assert_eq!(with("Application/JSON"), "");
    for kind in ["text/plain", "application/xml", "application/problem+json"] {
        assert_eq!(
            with(kind),
            "415 openapi_content_type /header/content-type: this media type is not declared"
        );
    }
    assert!(with("application/json; charset=utf-16").starts_with("415"));
    assert!(with("application/json, text/plain").starts_with("415"));
    let bare = Case::new("POST", "/v1/items").body("{}");
    assert_eq!(
        refused(&plugin, bare).unwrap(),
        "415 openapi_content_type /header/content-type: it is missing"
    );
    // Before a body was waited for.
    let early =
        Case::new("POST", "/v1/items").header("content-length", "9").header("content-type", "text/plain");
    assert_eq!(plugin.run(early).denied(415, "openapi_content_type").headers()[0].1, "application/json");
    let none = Case::new("POST", "/v1/items");
    assert_eq!(refused(&plugin, none).unwrap(), "400 openapi_body the body is missing");
    assert_eq!(
        refused(&plugin, Case::get("/v1/items").header("content-type", "text/plain").body("x")).unwrap(),
        "400 openapi_body a body is not declared"
    );
    plugin.run(Case::new("PUT", "/v1/items/7")).passed();
}

#[test]
fn what_is_read_only_does_not_come_and_what_it_requires_is_not_missed() {
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    let put = |body: &str| refused(&plugin, json("PUT", "/v1/items/7", body)).unwrap_or_default();
    assert_eq!(put(r#"{"name":"a","reason":"r"}"#), "");
    assert_eq!(put(r#"{"name":"a"}"#), "400 openapi_body `reason` is missing");
    assert_eq!(put(r#"{"name":"a","reason":"r","id":1}"#), "400 openapi_body /id: it may not be here");
    assert_eq!(put(r#"{"name":"a","reason":"r","by":"me"}"#), "400 openapi_body /by: it may not be here");
    assert_eq!(put(r#"{"name":"a","reason":"r","x":1}"#), "400 openapi_body `x` is not declared");
}

#[test]
fn a_discriminator_says_which_schema_holds() {
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    for (body, expected) in [
        (r#"{"kind":"card","number":"1234"}"#, ""),
        (r#"{"kind":"wire","account":{"iban":"x"}}"#, ""),
        (r#"{"kind":"card","number":"12"}"#, "/number: it does not match `^[0-9]{4}$`"),
        (r#"{"kind":"wire","number":"1234"}"#, "`account` is missing"),
        (
            r#"{"kind":"Transfer","account":{"iban":"x"}}"#,
            "/kind: it is none of the values that are declared",
        ),
        (r#"{"number":"1234"}"#, "`kind` is missing"),
        (r#"{"kind":"card","number":"1234","account":{"iban":"x"}}"#, "`account` is not declared"),
        (r#"{"kind":"wire","account":{"iban":"x","evil":1}}"#, "/account: `evil` is not declared"),
    ] {
        let expected =
            if expected.is_empty() { String::new() } else { format!("400 openapi_body {expected}") };
        assert_eq!(post(&plugin, "/v1/payments", body), expected, "{body}");
    }
    for (body, expected) in [
        (r#"{"type":"Animal","name":"x"}"#, ""),
        (r#"{"type":"Cat","name":"x","lives":9}"#, ""),
        (r#"{"type":"Cat","lives":10}"#, "/lives: 10 is more than 9"),
        (r#"{"type":"Dog","name":"x"}"#, "`bark` is missing"),
        (r#"{"type":"Dog","bark":true,"lives":1}"#, "`lives` is not declared"),
        (r#"{"type":"Fish"}"#, "/type: it is none of the values that are declared"),
    ] {
        let expected =
            if expected.is_empty() { String::new() } else { format!("400 openapi_body {expected}") };
        assert_eq!(post(&plugin, "/v1/animals", body), expected, "{body}");
    }
}

#[test]
fn forms_are_what_their_schema_says() {
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    let form = |body: &str| {
        let kind = "application/x-www-form-urlencoded";
        refused(&plugin, Case::new("POST", "/v1/form").header("content-type", kind).body(body.to_owned()))
            .unwrap_or_default()
    };
    for (body, expected) in [
        ("name=a&age=3&tags=a&tags=b&codes=1,2&meta=%7B%22a%22:1%7D&deep[b]=2", ""),
        ("name=a+b%20c", ""),
        ("age=3", "400 openapi_body `name` is missing"),
        ("name=a&age=x", "400 openapi_body /age: expected integer, found a string"),
        ("name=a&name=b", "400 openapi_malformed /name: it stands there twice"),
        ("name=a&evil=1", "400 openapi_body `evil` is not declared"),
        ("name=a&tags=abcd", "400 openapi_body /tags/0: it is longer than 3 characters"),
        ("name=a&codes=1,x", "400 openapi_body /codes/1: expected integer, found a string"),
        ("name=a&deep[b]=x", "400 openapi_body /deep/b: expected integer, found a string"),
        ("name=a&deep[c]=x", "400 openapi_body /deep: `c` is not declared"),
        ("name=%zz", "400 openapi_malformed /name: a percent encoding is not whole"),
        ("name=%ff", "400 openapi_malformed /name: it is not UTF-8"),
    ] {
        assert_eq!(form(body), expected, "{body}");
    }
    let many = format!("name=a{}", "&x=1".repeat(1000));
    assert_eq!(form(&many), "400 openapi_malformed it has more than 1000 fields");
    for (kind, body, expected) in [
        ("text/plain", "12345", ""),
        ("text/plain", "123456", "400 openapi_body it is longer than 5 characters"),
        ("application/octet-stream", "\u{1}\u{2}", ""),
        ("application/octet-stream", "12345", "400 openapi_body it is longer than 4 characters"),
    ] {
        let case = Case::new("POST", "/v1/form").header("content-type", kind).body(body);
        assert_eq!(refused(&plugin, case).unwrap_or_default(), expected, "{kind}");
    }
}

/// A body of parts: name and other headers, and what it holds.
fn parts(parts: &[(&str, &str)]) -> String {
    let parts = parts
        .iter()
        .map(|(head, body)| format!("--b\r\nContent-Disposition: form-data; name={head}\r\n\r\n{body}\r\n"));
    format!("{}--b--\r\n", parts.collect::<String>())
}

fn multipart(body: &str) -> Case {
    Case::new("POST", "/v1/form")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(body.to_owned())
}

#[test]
fn parts_are_what_their_schema_says() {
    let plugin = plugin("shop-3.1.yaml", IGNORE);
    let ask = |all: &[(&str, &str)]| refused(&plugin, multipart(&parts(all))).unwrap_or_default();
    let png = ("\"file\"; filename=\"x.png\"\r\nContent-Type: image/png", "\u{1}PNG");
    for (all, expected) in [
        (&[("title", "t"), png][..], ""),
        (&[("title", "t"), ("count", "3"), ("\"more\"", "a"), ("more", "b"), png], ""),
        (&[("title", "t"), ("meta\r\nContent-Type: application/json", "{\"a\":1}"), png], ""),
        (&[("title", "t"), ("meta", "{\"a\":1}"), png], ""),
        (&[png], "400 openapi_body `title` is missing"),
        (&[("title", "t"), ("title", "t"), png], "400 openapi_malformed /title: it stands there twice"),
        (&[("title", "123456789"), png], "400 openapi_body /title: it is longer than 8 characters"),
        (&[("title", "t"), ("count", "x"), png], "400 openapi_body /count: expected integer, found a string"),
        (&[("title", "t"), ("evil", "x"), png], "400 openapi_body `evil` is not declared"),
        (&[("title", "t"), ("meta", "{\"b\":1}"), png], "400 openapi_body /meta: `b` is not declared"),
        (
            &[("title", "t"), ("more", "a"), ("more", "b"), ("more", "c"), png],
            "400 openapi_body /more: it has more than 2 items",
        ),
        (
            &[("title", "t"), ("file\r\nContent-Type: text/html", "x")],
            "400 openapi_malformed /file: its Content-Type is not one that is declared",
        ),
        (
            &[("title", "t"), ("file\r\nContent-Type: image/png", "12345678901234567")],
            "400 openapi_body /file: it is longer than 16 characters",
        ),
        (
            &[("title\r\nContent-Transfer-Encoding: base64", "dA=="), png],
            "400 openapi_malformed /title: it has a Content-Transfer-Encoding",
        ),
        (&[("title\r\nContent-Type: application/pdf", "t"), png], ""),
        (
            &[("count\r\nContent-Type: application/pdf", "1"), png],
            "400 openapi_malformed /count: its Content-Type cannot be held against its schema",
        ),
        (&[("title; name=count", "t"), png], "400 openapi_malformed a part's name is malformed"),
        (&[("\"ti\\\"tle\"", "t"), png], "400 openapi_malformed a part's name is malformed"),
        (&[("title; name*=utf-8''count", "t"), png], "400 openapi_malformed a part's name is malformed"),
    ] {
        assert_eq!(ask(all), expected, "{all:?}");
    }
    for body in
        ["", "x", "--b--x", "--b\r\n\r\n--b--", "--b\r\nContent-Disposition: form-data; name=title\r\n\r\nt"]
    {
        assert!(refused(&plugin, multipart(body)).is_none_or(|told| told.starts_with("400")), "{body}");
    }
    let bare = Case::new("POST", "/v1/form").header("content-type", "multipart/form-data").body("x");
    assert_eq!(refused(&plugin, bare).unwrap(), "400 openapi_malformed there is no boundary");
}

#[test]
fn what_is_not_declared_is_taken_out_of_bodies() {
    let plugin = plugin("shop-3.1.yaml", "security: ignore\nrequest: {unknown: strip}");
    let strip = |case: Case| {
        let ran = plugin.run(case).passed();
        ran.request_body.is_replaced().then(|| String::from_utf8(ran.request_body.bytes().to_vec()).unwrap())
    };
    let item = r#"{"name":"a","qty":1}"#;
    assert_eq!(strip(json("POST", "/v1/items", item)), None);
    let more = r#"{ "id": 7, "name": "a", "evil": {"a": [1]}, "qty": 1, "free": {"n": 12345678901234567890.50}, "lines": [{"qty": 1, "x": 2}] }"#;
    let left = r#"{"name":"a","qty":1,"free":{"n":12345678901234567890.50},"lines":[{"qty":1}]}"#;
    assert_eq!(strip(json("POST", "/v1/items", more)).as_deref(), Some(left));
    let card = r#"{"kind":"card","number":"1234","account":{"iban":"x"}}"#;
    assert_eq!(
        strip(json("POST", "/v1/payments", card)).as_deref(),
        Some(r#"{"kind":"card","number":"1234"}"#)
    );
    plugin.run(json("POST", "/v1/items", r#"{"name":"a","qty":0,"evil":1}"#)).denied(400, "openapi_body");
    let kind = "application/x-www-form-urlencoded";
    let form = Case::new("POST", "/v1/form").header("content-type", kind).body("evil=1&name=a%20b&evil=2");
    assert_eq!(strip(form).as_deref(), Some("name=a%20b"));
    let body = parts(&[("title", "t"), ("evil", "x"), ("file\r\nContent-Type: image/png", "x")]);
    let left = parts(&[("title", "t"), ("file\r\nContent-Type: image/png", "x")]);
    assert_eq!(strip(multipart(&body)), Some(left));
    let coded = json("POST", "/v1/items", "")
        .header("content-encoding", "gzip")
        .body(gzip(br#"{"name":"a","qty":1,"evil":1}"#));
    let ran = plugin.run(coded).passed();
    assert_eq!(ran.request_body.bytes(), item);
    assert_eq!(ran.ex.origin_changes().remove_headers, ["content-encoding"]);
}

#[test]
fn a_client_is_told_where_only_if_that_is_written() {
    let body = r#"{"name":"hunter2 hunter2 hunter2","qty":1}"#;
    let silent =
        plugin("shop-3.1.yaml", IGNORE).run(json("POST", "/v1/items", body)).denied(400, "openapi_body");
    assert!(!silent.public_message().contains("name"), "{}", silent.public_message());
    let told = plugin("shop-3.1.yaml", "security: ignore\ndetails: true");
    let told = told.run(json("POST", "/v1/items", body)).denied(400, "openapi_body");
    assert!(
        told.public_message().ends_with("/name: it is longer than 20 characters"),
        "{}",
        told.public_message()
    );
    // Of a value nothing is said but its numbers.
    assert!(!told.private_detail().unwrap().contains("hunter2"));
}
