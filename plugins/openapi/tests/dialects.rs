//! What 3.0 says otherwise, who may call, and what is shared.

use super::{json, kit, plugin, refused, specs};
use palisade_contract::{CredentialKind, testkit::Case};
use proptest::prelude::*;
use serde_json::json;

#[test]
fn the_older_dialect_is_read_as_it_is_meant() {
    let plugin = plugin("shop-3.0.json", "");
    for (body, expected) in [
        (
            r#"{"n":10,"text":null,"ref":null,"small":5,"large":9223372036854775807,"bytes":"YQ==","sibling":"x"}"#,
            "",
        ),
        (r#"{"n":0}"#, "/n: 0 is not more than 0"),
        (r#"{"n":10.5}"#, "/n: 10.5 is more than 10"),
        (r#"{"n":1,"text":"abc"}"#, "/text: it is longer than 2 characters"),
        (r#"{"n":1,"text":1}"#, "/text: expected null or string, found a number"),
        (r#"{"n":1,"ref":"z"}"#, "/ref: it fits none of the alternatives"),
        (r#"{"n":1,"small":4}"#, "/small: 4 is less than 5"),
        (r#"{"n":1,"small":-3000000000}"#, "/small: -3000000000 is less than 5"),
        (r#"{"n":1,"small":3000000000}"#, "/small: 3000000000 is more than 2147483647"),
        (
            r#"{"n":1,"large":9223372036854775808}"#,
            "/large: 9223372036854775808 is more than 9223372036854775807",
        ),
        (r#"{"n":1,"bytes":"a"}"#, "/bytes: it is no `byte`"),
        (r#"{"n":1,"open":{"a":1,"x":2}}"#, ""),
        (r#"{"n":1,"not":{"a":1}}"#, "/not: it is what it must not be"),
        (r#"{"n":1,"not":{"a":"x","b":1}}"#, ""),
        (r#"{"n":1,"any":{"a":1,"b":1}}"#, ""),
        (r#"{"n":1,"any":{"a":1,"c":1}}"#, "/any: `c` is not declared"),
    ] {
        let expected =
            if expected.is_empty() { String::new() } else { format!("400 openapi_body {expected}") };
        assert_eq!(refused(&plugin, json("POST", "/a", body)).unwrap_or_default(), expected, "{body}");
    }
    plugin.run(Case::get("/base/b?kind=x")).passed();
    plugin.run(Case::get("/b?kind=x")).denied(404, "openapi_path");
    plugin.run(Case::get("/base/b?kind=z")).denied(400, "openapi_parameter");
    // Of a range of types each is read as what it is, and what cannot be read does not pass.
    plugin.run(json("POST", "/open", r#"{"a":1}"#)).passed();
    let of = |kind: &str, body: &str| {
        Case::new("POST", "/open").header("content-type", kind).body(body.to_owned())
    };
    plugin.run(of("application/x-www-form-urlencoded", "a=1")).passed();
    plugin.run(of("application/x-www-form-urlencoded", "a=x")).denied(400, "openapi_body");
    plugin.run(of("application/xml", "<a>1</a>")).denied(400, "openapi_body");
    let opaque = super::plugin("shop-3.0.json", "request: {content_type: false}");
    opaque.run(json("POST", "/a", r#"{"n":0}"#)).denied(400, "openapi_body");
    opaque.run(Case::new("POST", "/a").header("content-type", "text/csv").body("a,b")).passed();
}

#[test]
fn callers_have_what_the_operation_asks_for() {
    let plugin = plugin("shop-3.1.yaml", "");
    let put = || json("PUT", "/v1/items/7", r#"{"name":"a","reason":"r"}"#);
    plugin.run(put()).denied(401, "openapi_security");
    let denial = plugin
        .run(put().principal("alice", &[]).claims(json!({"scope": "read:items"})))
        .denied(403, "openapi_scope");
    assert_eq!(denial.headers()[0].1, "Bearer error=\"insufficient_scope\"");
    plugin.run(put().principal("alice", &[]).claims(json!({"scope": "read:items write:items"}))).passed();
    plugin.run(put().principal("alice", &[]).claims(json!({"scope": ["write:items"]}))).passed();
    plugin.run(Case::get("/v1/items/7").principal("alice", &[])).passed();
    // Nobody needs a credential here.
    plugin.run(json("POST", "/v1/items", r#"{"name":"a","qty":1}"#)).passed();
    let operations = plugin.built.plugin().operations();
    let put = operations
        .iter()
        .find(|operation| operation.method == "PUT" && &*operation.path == "/v1/items/{id}")
        .unwrap();
    assert!(!put.is_public() && put.enforced);
    assert_eq!(put.security[0][0].credential, CredentialKind::Http("bearer".into()));
    assert_eq!(put.security[0][0].scopes[0].as_ref(), "write:items");
    assert_eq!(put.place.line, 62, "{}", put.place);
}

#[test]
fn one_description_is_compiled_once_and_again_when_a_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    let write =
        |kind: &str| std::fs::write(dir.path().join("part.yaml"), format!("Part: {{type: {kind}}}")).unwrap();
    let spec = "openapi: 3.1.0\npaths: {/a: {get: {parameters: [{name: q, in: query, schema: {$ref: 'part.yaml#/Part'}}], responses: {default: {description: any}}}}}";
    std::fs::write(dir.path().join("spec.yaml"), spec).unwrap();
    let yaml = format!("spec: {}", dir.path().join("spec.yaml").display());
    let kit = kit();
    let same = |one: &palisade_contract::testkit::Instance, other: &palisade_contract::testkit::Instance| {
        std::ptr::eq(one.built.plugin().operations(), other.built.plugin().operations())
    };
    write("integer");
    let first = kit.build(&yaml).unwrap();
    assert!(same(&first, &kit.build(&yaml).unwrap()));
    assert!(!same(&first, &kit.build(&format!("{yaml}\nrequest: {{unknown: allow}}")).unwrap()));
    write("string");
    let second = kit.build(&yaml).unwrap();
    assert!(!same(&first, &second), "a file that is referred to counts");
    first.run(Case::get("/a?q=x")).denied(400, "openapi_parameter");
    second.run(Case::get("/a?q=x")).passed();
    assert!(specs().ends_with("specs"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn nothing_makes_it_panic(
        target in "/v1/(items|styles|files|form)[/;.=%a-f0-9,]{0,20}(\\?[a-z\\[\\]=&%,|+0-9]{0,40})?",
        body in "(--b\r\n|Content-Disposition: form-data; name=title\r\n|\r\n|--b--|[a-z=&%\\[\\]{}\":,0-9]{0,6}){0,12}",
        kind in "application/json|application/x-www-form-urlencoded|multipart/form-data; boundary=b|text/plain",
    ) {
        let plugin = SPEC.with(|spec| spec.clone());
        let request = |method: &str, target: &str| Case::new(method, target).header("content-type", &kind).body(body.clone());
        for target in [target.as_str(), "/v1/form", "/v1/items"] {
            let ran = plugin.run(request("POST", target));
            prop_assert!(ran.verdict.is_ok());
            prop_assert!(plugin.run(Case::get(target)).verdict.is_ok());
        }
    }
}

thread_local! {
    static SPEC: std::rc::Rc<palisade_contract::testkit::Instance> =
        std::rc::Rc::new(plugin("shop-3.1.yaml", "security: ignore\nrequest: {unknown: strip}"));
}
