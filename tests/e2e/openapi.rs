//! What a description declares passes: over HTTP/1.1 with a length and in chunks, and over HTTP/2; and answers.

use crate::{
    client::head,
    harness::Gateway,
    origin::Origin,
    positive::{framed, gzip, refused},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

const SPEC: &str = "
openapi: 3.0.3
info: {title: echo, version: '1'}
servers: [{url: https://shop.example.com/echo}]
paths:
  /items/{id}:
    post:
      parameters:
        - {name: id, in: path, required: true, schema: {type: integer}}
        - {name: dry, in: query, schema: {type: boolean}}
      requestBody: {required: true, content: {application/json: {schema: {$ref: 'common.json#/Item'}}}}
      responses: {'200': {description: ok}}
  /secret:
    get:
      security: [{token: [read:secrets]}]
      responses: {'200': {description: ok}}
components: {securitySchemes: {token: {type: http, scheme: bearer}}}
";

const COMMON: &str = r#"{"Item": {"type": "object", "required": ["qty"], "properties": {
    "qty": {"type": "integer", "minimum": 1}, "note": {"type": "string", "nullable": true},
    "id": {"type": "integer", "readOnly": true}}}}"#;

const CONF: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  strict:
    paths: ['/echo/items/*']
    upstream: demo
    plugins: {openapi: {spec: specs/echo.yaml, security: ignore, request: {max_body_size: 64KiB}}}
  lenient:
    paths: ['/strip/*']
    upstream: demo
    strip_prefix: /strip
    plugins:
      openapi: {spec: specs/echo.yaml, base_path: /strip/echo, security: ignore, request: {unknown: strip}, details: true}
  schema:
    paths: [/echo/schema]
    upstream: demo
    plugins: {json-schema: {request: {file: specs/item.yaml, max_body_size: 64KiB}}}
";

fn start(conf: &str) -> Gateway {
    let prepared = Gateway::prepare(conf);
    prepared.write("specs/echo.yaml", SPEC);
    prepared.write("specs/common.json", COMMON);
    prepared.write("specs/item.yaml", "$ref: 'common.json#/Item'");
    prepared.start(&PathBuf::from(env!("CARGO_BIN_EXE_palisade")))
}

#[test]
fn requests_are_what_the_description_says() {
    let gateway = start(CONF);
    let typed = "Content-Type: application/json";
    let ask = |target: &str, headers: &[&str], body: &[u8]| framed(&gateway, target, headers, body);
    let item = "/echo/items/7";
    assert_eq!(ask(item, &[typed], br#"{"qty":1,"note":null}"#).0, 200);
    assert_eq!(ask(item, &[typed], br#"{"qty":0}"#), refused(400, "openapi_body"));
    assert_eq!(ask(item, &[typed], br#"{"qty":1,"id":1}"#), refused(400, "openapi_body"));
    assert_eq!(ask(item, &[typed], br#"{"qty":1,"admin":true}"#), refused(400, "openapi_body"));
    assert_eq!(ask(item, &[typed], br#"{"qty":1,"qty":2}"#), refused(400, "openapi_malformed"));
    assert_eq!(ask(item, &[typed], br#"{"qty":1} x"#), refused(400, "openapi_malformed"));
    assert_eq!(ask(item, &["Content-Type: text/plain"], b"x"), refused(415, "openapi_content_type"));
    assert_eq!(ask(item, &[], b"{}"), refused(415, "openapi_content_type"));
    assert_eq!(ask(item, &[typed], &[b' '; (64 << 10) + 1]), refused(413, "body_too_large"));
    let coded = "Content-Encoding: gzip";
    assert_eq!(ask(item, &[typed, coded], &gzip(br#"{"qty":0}"#)), refused(400, "openapi_body"));
    assert_eq!(ask(item, &[typed, coded], &gzip(&[b' '; 100_000])), refused(413, "encoding_bomb"));
    assert_eq!(ask(item, &[typed, "Content-Encoding: zstd"], b"x"), refused(415, "encoding_unknown"));
    assert_eq!(ask("/echo/items/x", &[typed], br#"{"qty":1}"#), refused(400, "openapi_parameter"));
    assert_eq!(ask("/echo/items/7?dry=1", &[typed], br#"{"qty":1}"#), refused(400, "openapi_parameter"));
    assert_eq!(ask("/echo/items/7?evil=1", &[typed], br#"{"qty":1}"#), refused(400, "openapi_parameter"));
    assert_eq!(ask("/echo/items/7/x", &[typed], br#"{"qty":1}"#), refused(404, "openapi_path"));
    let get = gateway.get("/echo/items/7").expect(405);
    assert_eq!((get.header("allow"), get.reason().as_str()), (Some("POST"), "openapi_method"));
    let schema = |body: &[u8]| framed(&gateway, "/echo/schema", &[typed], body);
    assert_eq!(schema(br#"{"qty":1}"#).0, 200);
    assert_eq!(schema(br#"{"qty":0}"#), refused(400, "json_schema_body"));
    assert_eq!(schema(br#"{"qty":1,"qty":1}"#), refused(400, "json_schema_malformed"));
    assert_eq!(schema(b""), refused(400, "json_schema_missing"));
    assert_eq!(schema(&[b' '; (64 << 10) + 1]), refused(413, "body_too_large"));
}

#[test]
fn what_is_not_declared_is_taken_out() {
    let gateway = start(CONF);
    let typed = "Content-Type: application/json";
    let (status, echo) = framed(
        &gateway,
        "/strip/echo/items/7?evil=1&dry=true",
        &[typed, "Content-Encoding: gzip"],
        &gzip(br#"{"id": 7, "qty": 1, "admin": true, "note": "n"}"#),
    );
    let echo = echo.unwrap();
    assert_eq!((status, &echo["body"]["text"]), (200, &json!(r#"{"qty":1,"note":"n"}"#)));
    assert_eq!(echo["target"], "/echo/items/7?dry=true");
    assert!(!echo["headers"].to_string().contains("content-encoding"), "{echo}");
    let mut client = gateway.connect();
    client.send(head("POST", "/strip/echo/items/7", &[typed, "Content-Length: 9"])).send(r#"{"qty":0}"#);
    let told = client.response().expect(400).json();
    assert!(told["detail"].as_str().unwrap().ends_with("/qty: 0 is less than 1"), "{told}");
}

#[test]
fn what_nothing_asks_for_is_an_error_of_the_configuration() {
    let prepared = Gateway::prepare(
        "routes: {a: {paths: [/echo/*], upstream: demo, plugins: {key-auth: {}, openapi: {spec: specs/echo.yaml}}}}",
    );
    prepared.write("specs/echo.yaml", SPEC);
    prepared.write("specs/common.json", COMMON);
    let (_, said) = prepared.refused();
    assert!(said.contains("`GET /echo/secret` asks for `token`"), "{said}");
}

/// The description of the demonstration, as it is shipped.
fn demo() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/specs/demo.yaml");
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn the_demonstration_is_what_its_description_says() {
    let prepared = Gateway::prepare(
        "
routes:
  open:
    paths: ['/products/*']
    upstream: demo
    plugins: {openapi: {spec: specs/demo.yaml, security: ignore, response: {validate: true}}}
  demo:
    paths: ['/*']
    upstream: demo
    plugins: {key-auth: {}, openapi: {spec: specs/demo.yaml, response: {validate: true}}}
",
    );
    prepared.write("specs/demo.yaml", &demo());
    let gateway = prepared.start(&PathBuf::from(env!("CARGO_BIN_EXE_palisade")));
    let ask = |method: &str, target: &str, body: &str| {
        let mut client = gateway.connect();
        let length = format!("Content-Length: {}", body.len());
        let typed = if body.is_empty() { "X-None: 1" } else { "Content-Type: application/json" };
        client.send(head(method, target, &["apikey: alice-key", typed, &length])).send(body);
        client.response_to(method)
    };
    for (method, target, body, status) in [
        ("GET", "/products", "", 200),
        ("GET", "/products?category=tools", "", 200),
        ("GET", "/products?category=cars", "", 400),
        ("GET", "/products/1", "", 200),
        ("GET", "/products/99", "", 404),
        ("HEAD", "/products/1", "", 200),
        ("GET", "/cart", "", 200),
        ("POST", "/orders", "", 409),
        ("POST", "/cart", r#"{"product":4,"quantity":2}"#, 201),
        ("POST", "/cart", r#"{"product":4,"quantity":0}"#, 400),
        ("POST", "/cart", r#"{"product":4,"price_cents":1}"#, 400),
        ("POST", "/orders", "", 201),
        ("GET", "/orders", "", 200),
        ("GET", "/orders/1", "", 200),
        ("GET", "/orders/0", "", 400),
        ("GET", "/orders/99", "", 404),
        ("POST", "/cart", r#"{"product":1}"#, 201),
        ("DELETE", "/cart/1", "", 204),
        ("DELETE", "/cart/1", "", 404),
        ("GET", "/profiles/carol", "", 200),
        ("PUT", "/profiles/alice", r#"{"display_name":"A","bio":"b"}"#, 400),
        ("PUT", "/profiles/bob", r#"{"display_name":"A","bio":"b"}"#, 403),
        ("GET", "/echo", "", 200),
        ("POST", "/echo", r#"{"any":[1]}"#, 200),
        ("GET", "/nothing", "", 404),
        ("PATCH", "/cart", "", 405),
    ] {
        let answer = ask(method, target, body);
        // `readOnly` members are not asked for.
        let status = if (method, status) == ("PUT", 400) { 200 } else { status };
        assert_eq!(answer.status, status, "{method} {target} {body}: {}", answer.text());
    }
}

#[test]
fn answers_are_what_the_description_says() {
    let asked = Arc::new(Mutex::new(String::new()));
    let last = asked.clone();
    let origin = Origin::start(move |request| {
        request.text.split(' ').nth(1).unwrap().clone_into(&mut last.lock().unwrap());
        let (kind, body) = match request.path() {
            "/echo/leak" => ("application/json", r#"{"id":7,"qty":1,"password_hash":"x"}"#),
            "/echo/wrong" => ("application/json", r#"{"id":7,"qty":"1"}"#),
            _ => ("text/html", "<p>stack trace"),
        };
        let length = body.len();
        request.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    });
    let answer =
        "{'200': {description: ok, content: {application/json: {schema: {$ref: 'common.json#/Item'}}}}}";
    let spec = format!(
        "openapi: 3.0.3\npaths:\n  /echo/leak: {{get: {{responses: {answer}}}}}\n  /echo/wrong: {{get: {{responses: {answer}}}}}\n  /echo/html: {{get: {{responses: {answer}}}}}\n"
    );
    let conf = |on: &str| {
        format!(
            "
upstreams: {{own: {{targets: [{{address: '{}'}}]}}}}
routes:
  a: {{paths: ['/echo/*'], upstream: own, plugins: {{openapi: {{spec: specs/answers.yaml, response: {{validate: true, on_violation: {on}}}}}}}}}
",
            origin.address
        )
    };
    let prepare = |conf: &str| {
        let prepared = Gateway::prepare(conf);
        prepared.write("specs/answers.yaml", &spec);
        prepared.write("specs/common.json", COMMON);
        prepared.start(&PathBuf::from(env!("CARGO_BIN_EXE_palisade")))
    };
    let start = |on: &str| prepare(&conf(on));
    let strip = start("strip");
    assert_eq!(strip.get("/echo/leak").expect(200).text(), r#"{"id":7,"qty":1}"#);
    assert_eq!(strip.get("/echo/wrong").expect(502).reason(), "openapi_response");
    assert_eq!(strip.get("/echo/html").expect(502).reason(), "openapi_response");
    // An answer of the gateway's own is not one of the origin's.
    assert_eq!(strip.get("/echo/none").expect(404).reason(), "openapi_path");
    let deny = start("deny");
    assert_eq!(deny.get("/echo/leak").expect(502).reason(), "openapi_response");
    let monitor = start("monitor");
    assert!(monitor.get("/echo/leak").expect(200).text().contains("password_hash"));
    let record = monitor.audit(1).remove(0).to_string();
    assert!(record.contains("`password_hash` is not declared"), "{record}");
    // What is taken out of requests is none of the answers', which are told of alone.
    let both = prepare(&conf("monitor").replace("response:", "request: {unknown: strip}, response:"));
    let answer = both.get("/echo/leak?evil=1").expect(200);
    assert_eq!(answer.text(), r#"{"id":7,"qty":1,"password_hash":"x"}"#);
    let record = both.audit(1).remove(0).to_string();
    assert!(record.contains("`password_hash` is not declared"), "{record}");
    assert_eq!(*asked.lock().unwrap(), "/echo/leak");
    // An entry that enforces nothing takes nothing out, and says what it would have refused.
    let off = prepare(
        &conf("strip").replace("{openapi: {", "{openapi: {mode: monitor, request: {unknown: strip}, "),
    );
    let answer = off.get("/echo/leak?evil=1").expect(200);
    assert_eq!(answer.text(), r#"{"id":7,"qty":1,"password_hash":"x"}"#);
    assert_eq!(*asked.lock().unwrap(), "/echo/leak?evil=1");
}
