use super::plugin;
use palisade_contract::testkit::{Case, Instance};
use serde_json::{Value, json};

/// The answer to an answer of the origin.
fn answer(
    plugin: &Instance,
    case: Case,
    status: u16,
    kind: &str,
    body: &str,
) -> Result<Option<String>, String> {
    let mut case = case.header("x-key", "k").response_body(body.to_owned()).response_status(status);
    if !kind.is_empty() {
        case = case.response_header("content-type", kind);
    }
    let ran = plugin.run(case);
    match ran.verdict {
        Ok(palisade_contract::Verdict::Deny(denial)) => Err(super::told(&denial)),
        Ok(palisade_contract::Verdict::Continue) => {
            Ok(ran.body.is_replaced().then(|| String::from_utf8(ran.body.bytes().to_vec()).unwrap()))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_are_as_declared() {
    let plugin = plugin("shop-3.1.yaml", "security: ignore\nresponse: {validate: true}");
    let total = || Case::get("/v1/items").response_header("x-total", "3");
    let list = |body: &str| answer(&plugin, total(), 200, "application/json", body);
    assert_eq!(list(r#"[{"id":1,"name":"a","qty":1}]"#), Ok(None));
    for (body, expected) in [
        (r#"[{"name":"a","qty":1}]"#, "/0: `id` is missing"),
        (r#"[{"id":1,"name":"a","qty":1,"secret":"s"}]"#, "/0/secret: it may not be here"),
        (r#"[{"id":1,"name":"a","qty":1,"password_hash":"x"}]"#, "/0: `password_hash` is not declared"),
        (r#"[{"id":1,"id":2,"name":"a","qty":1}]"#, "a name stands twice at line 1 column 15"),
        ("[", "EOF while parsing a list at line 1 column 1"),
        ("", "EOF while parsing a value at line 1 column 0"),
    ] {
        assert_eq!(list(body), Err(format!("502 openapi_response {expected}")), "{body}");
    }
    let other = |case: Case, status, kind: &str, body: &str| {
        answer(&plugin, case, status, kind, body)
            .map_err(|told| told.trim_start_matches("502 openapi_response ").to_owned())
    };
    assert_eq!(
        other(total(), 200, "text/html", "<p>"),
        Err("/header/content-type: this media type is not declared".into())
    );
    assert_eq!(other(total(), 200, "", "[]"), Err("/header/content-type: it is missing".into()));
    assert_eq!(
        other(Case::get("/v1/items"), 200, "application/json", "[]"),
        Err("/header/X-Total: it is missing".into())
    );
    let wrong = Case::get("/v1/items").response_header("x-total", "-1");
    assert_eq!(other(wrong, 200, "application/json", "[]"), Err("/header/X-Total: -1 is less than 0".into()));
    assert_eq!(other(Case::get("/v1/items"), 404, "application/problem+json", r#"{"title":"no"}"#), Ok(None));
    assert_eq!(
        other(Case::get("/v1/items"), 404, "application/problem+json", "{}"),
        Err("`title` is missing".into())
    );
    assert_eq!(
        other(Case::get("/v1/items"), 500, "text/plain", "panic at main.rs:3"),
        Err("a body is not declared".into())
    );
    assert_eq!(other(Case::get("/v1/items"), 500, "", ""), Ok(None));
    assert_eq!(other(Case::get("/v1/items/7"), 404, "", ""), Err("/status: 404 is not declared".into()));
    assert_eq!(other(Case::get("/v1/items/7"), 304, "", ""), Ok(None));
    assert_eq!(
        other(Case::new("HEAD", "/v1/items").response_header("x-total", "1"), 200, "application/json", ""),
        Ok(None)
    );
    assert_eq!(other(Case::get("/v1/files/ab.png"), 200, "image/png", "x"), Ok(None));
    assert_eq!(
        other(Case::get("/v1/files/ab.png"), 200, "text/html", "x"),
        Err("/header/content-type: this media type is not declared".into())
    );
}

#[test]
fn answers_lose_what_is_not_declared_or_are_told_of() {
    let body = r#"[{"id":1,"name":"a","qty":1,"password_hash":"x","secret":"s"}]"#;
    let total = || Case::get("/v1/items").response_header("x-total", "3");
    let strip = plugin("shop-3.1.yaml", "security: ignore\nresponse: {validate: true, on_violation: strip}");
    let left = answer(&strip, total(), 200, "application/json", body);
    assert_eq!(left, Ok(Some(r#"[{"id":1,"name":"a","qty":1}]"#.to_owned())));
    assert!(answer(&strip, total(), 200, "application/json", r#"[{"id":1,"x":1}]"#).is_err());
    let monitor =
        plugin("shop-3.1.yaml", "security: ignore\nresponse: {validate: true, on_violation: monitor}");
    let ran = monitor.run(total().response_header("content-type", "application/json").response_body(body));
    let found: Vec<&Value> = ran.ex.findings().iter().map(|finding| &finding.what).collect();
    assert_eq!(found, [&json!({"response": "/0: `password_hash` is not declared"})]);
    assert!(!ran.passed().body.is_replaced());
}

#[test]
fn requests_lose_what_is_not_declared_while_answers_are_only_told_of() {
    let fields =
        "security: ignore\nrequest: {unknown: strip}\nresponse: {validate: true, on_violation: monitor}";
    let plugin = plugin("shop-3.1.yaml", fields);
    let leak = r#"[{"id":1,"name":"a","qty":1,"password_hash":"x"}]"#;
    let ask = |answer: &str| {
        let case = Case::get("/v1/items?limit=5&evil=1").header("x-key", "k").response_header("x-total", "3");
        plugin
            .run(case.response_header("content-type", "application/json").response_body(answer.to_owned()))
            .passed()
    };
    // The request loses what is not declared; the answer goes out as it came, and the record says what is wrong with it.
    for (answer, expected) in [
        (leak, "/0: `password_hash` is not declared"),
        (r#"[{"id":1,"name":"a","qty":"1"}]"#, "/0/qty: expected integer, found a string"),
        (r#"[{"id":1,"id":2}]"#, "a name stands twice at line 1 column 16"),
    ] {
        let ran = ask(answer);
        assert_eq!(ran.ex.origin_changes().remove_query, [std::sync::Arc::from("evil")]);
        assert!(!ran.body.is_replaced() && ran.body.bytes() == answer.as_bytes(), "{answer}");
        let found: Vec<&Value> = ran.ex.findings().iter().map(|finding| &finding.what).collect();
        assert_eq!(found, [&json!({ "response": expected })], "{answer}");
    }
    // A good one is not spoken of.
    assert!(ask(r#"[{"id":1,"name":"a","qty":1}]"#).ex.findings().is_empty());
}

#[test]
fn where_nothing_is_enforced_nothing_is_taken_out_of_answers() {
    let path = std::path::Path::new(&super::specs()).join("shop-3.1.yaml");
    let yaml = format!(
        "spec: {}\nsecurity: ignore\nrequest: {{unknown: strip}}\nresponse: {{validate: true, on_violation: strip}}",
        path.display()
    );
    let plugin = super::kit().build_as(&yaml, palisade_contract::Mode::Monitor).unwrap();
    let leak = r#"[{"id":1,"name":"a","qty":1,"password_hash":"x"}]"#;
    let told = answer(
        &plugin,
        Case::get("/v1/items").response_header("x-total", "3"),
        200,
        "application/json",
        leak,
    );
    assert_eq!(told, Err("502 openapi_response /0: `password_hash` is not declared".into()));
    let ran = plugin.run(Case::get("/v1/items?evil=1").header("x-key", "k"));
    assert!(ran.ex.origin_changes().remove_query.is_empty());
}
