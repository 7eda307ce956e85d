use super::*;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit},
};

fn kit() -> Kit {
    Kit::of(Descriptor::of::<JsonSchemaPlugin>())
}

fn post(body: impl Into<Bytes>) -> Case {
    Case::new("POST", "/").header("content-type", "application/json").body(body)
}

fn told(plugin: &Instance, case: Case) -> String {
    match plugin.run(case).verdict {
        Ok(Verdict::Continue) => String::new(),
        Ok(Verdict::Deny(denial)) => {
            format!(
                "{} {} {}",
                denial.status().as_u16(),
                denial.reason(),
                denial.private_detail().unwrap_or_default()
            )
        }
        other => panic!("{other:?}"),
    }
}

const ORDER: &str = "
request:
  schema:
    type: object
    required: [id]
    properties:
      id: {type: integer, minimum: 1}
      mail: {format: email}
      code: {type: string, pattern: '^(a+)+$'}
    additionalProperties: false
";

#[test]
fn bodies_are_what_the_schema_says() {
    let plugin = kit().build(ORDER).unwrap();
    for (body, expected) in [
        (r#"{"id":1}"#, ""),
        (r#"{"id":0}"#, "400 json_schema_body /id: 0 is less than 1"),
        ("{}", "400 json_schema_body `id` is missing"),
        (r#"{"id":1,"x":1}"#, "400 json_schema_body `x` is not declared"),
        (r#"{"id":1,"mail":"@"}"#, "400 json_schema_body /mail: it is no `email`"),
        (r#"{"id":1,"id":1}"#, "400 json_schema_malformed a name stands twice at line 1 column 15"),
        ("", "400 json_schema_missing there is no body"),
    ] {
        assert_eq!(told(&plugin, post(body)), expected, "{body}");
    }
    for body in
        ["\u{feff}{\"id\":1}", "{\"id\":1}x", "{\"id\":NaN}", "{\"id\":1e999}", "[".repeat(200).as_str()]
    {
        assert!(told(&plugin, post(body.to_owned())).starts_with("400 json_schema_malformed"), "{body}");
    }
    // It would take for ever where a pattern goes back.
    let long = format!("{{\"id\":1,\"code\":\"{}!\"}}", "a".repeat(100_000));
    assert!(told(&plugin, post(long)).starts_with("400 json_schema_body /code"));
    plugin.run(Case::get("/")).passed();
    for kind in ["text/plain", "application/json; charset=utf-16", "application/json, text/plain"] {
        let case = Case::new("POST", "/").header("content-type", kind).body(r#"{"id":1}"#);
        plugin.run(case).denied(415, "json_schema_content_type");
    }
    plugin.run(Case::new("POST", "/").body(r#"{"id":1}"#)).denied(415, "json_schema_content_type");
    let coded = |coding: &str, body: Bytes| post(body).header("content-encoding", coding);
    plugin.run(coded("gzip", coding::tests::gzip(br#"{"id":0}"#))).denied(400, "json_schema_body");
    plugin.run(coded("gzip", coding::tests::gzip(br#"{"id":1}"#))).passed();
    plugin.run(coded("gzip", coding::tests::gzip(&[b' '; 2_000_000]))).denied(413, "encoding_bomb");
    plugin.run(coded("zstd", Bytes::from_static(b"{}"))).denied(415, "encoding_unknown");
    assert_eq!(plugin.built.plugin().request_body(), BodyNeed::Whole { max: 1 << 20 });
}

#[test]
fn answers_are_what_the_schema_says() {
    let answer = |plugin: &Instance, status, body: &str| {
        let case = Case::get("/").response_status(status).response_header("content-type", "application/json");
        told(plugin, case.response_body(body.to_owned()))
    };
    let plugin = kit().build("response: {schema: {required: [id]}}").unwrap();
    assert_eq!(answer(&plugin, 200, r#"{"id":1}"#), "");
    assert_eq!(answer(&plugin, 200, "{}"), "502 json_schema_response `id` is missing");
    assert_eq!(answer(&plugin, 404, "{}"), "");
    assert_eq!(answer(&plugin, 204, ""), "");
    plugin.run(Case::get("/").response_body("<p>")).denied(502, "json_schema_response");
    plugin.run(Case::new("HEAD", "/")).passed();
    let some =
        kit().build("response: {schema: {required: [id]}, statuses: [404], on_violation: monitor}").unwrap();
    let case = Case::get("/").response_status(404).response_header("content-type", "application/json");
    let ran = some.run(case.response_body("{}")).passed();
    assert_eq!(ran.ex.findings()[0].what["response"], "`id` is missing");
}

#[test]
fn schemas_come_from_files_and_refer_to_local_ones_alone() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "order.yaml",
        "properties:\n  a: {$ref: 'parts/a%20b.json#/$defs/a'}\n  b: {$ref: 'https://example.com/b.json'}\n",
    );
    write("parts/a b.json", r#"{"$defs": {"a": {"$ref": "c.json"}}}"#);
    write("parts/c.json", r#"{"type": "integer"}"#);
    let file = dir.path().join("order.yaml").display().to_string();
    let resources =
        format!("resources: {{'https://example.com/b.json': {}}}", dir.path().join("parts/c.json").display());
    let plugin = kit().build(&format!("request: {{file: {file}}}\n{resources}")).unwrap();
    assert_eq!(told(&plugin, post(r#"{"a":1,"b":1}"#)), "");
    assert_eq!(
        told(&plugin, post(r#"{"a":"x"}"#)),
        "400 json_schema_body /a: expected integer, found a string"
    );
    assert_eq!(
        told(&plugin, post(r#"{"b":"x"}"#)),
        "400 json_schema_body /b: expected integer, found a string"
    );
    let error = kit().build(&format!("request: {{file: {file}}}")).unwrap_err();
    assert!(error.contains("nothing is fetched"), "{error}");
    for (name, text, words) in [
        ("x.yaml", "type: strin", "order"),
        ("x.yaml", "a:\n  pattern: '(?=a)'\npattern: '(?=a)'", "x.yaml:3:10: #/pattern"),
        ("x.yaml", "properties: {a: {minimum: x}}", "x.yaml:1:27: #/properties/a/minimum"),
        ("x.yaml", "$ref: none.json", "none.json"),
        ("x.json", "{\"a\":1,\"a\":2}", "x.json:1:8"),
        ("x.json", "{", "x.json"),
    ] {
        write(name, text);
        let file = dir.path().join(name).display().to_string();
        let error = kit().build(&format!("request: {{file: {file}}}")).unwrap_err();
        assert!(
            error.contains(words) || words == "order" && error.contains("x.yaml:1:7: #/type"),
            "{text}: {error}"
        );
    }
    for (yaml, words) in [
        ("{}", "no body is held to anything"),
        ("request: {}", "request: there is no schema"),
        ("request: {schema: {}, file: x}", "both `schema` and `file`"),
        ("request: {file: /nowhere/x.json}", "cannot read the file"),
        ("request: {schema: {type: nothing}}", "test.yaml:1:26"),
        ("response: {schema: {$schema: 'https://example.com/mine'}}", "https://example.com/mine"),
    ] {
        let error = kit().build(yaml).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
}
