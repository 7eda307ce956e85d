//! Bodies that are too long, coded in a way that is not known or not true, with a name that stands twice, with something
//! behind, or compressed: of each plugin that reads bodies the same answer over HTTP/1.1, with a length and in chunks, and
//! over HTTP/2 without a length. And what becomes of answers that are so.

use crate::{
    harness::Gateway,
    http2::{block_on, h2c},
    origin::Origin,
    positive::{framed, gzip, refused},
};
use std::path::PathBuf;

const SCHEMA: &str = "{type: object, properties: {a: {const: alice}}, additionalProperties: false}";

const CONF: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
routes:
  type:
    paths: [/echo/type]
    upstream: demo
    plugins: {content-type: {allow: [application/json], encodings: [gzip], max_body_size: 32KiB}}
  limits: {paths: [/echo/limits], upstream: demo, plugins: {json-limits: {max_body_size: 32KiB}}}
  schema:
    paths: [/echo/schema]
    upstream: demo
    plugins: {json-schema: {request: {schema: SCHEMA, max_body_size: 32KiB}}}
  spec:
    paths: [/echo/spec]
    upstream: demo
    plugins: {openapi: {spec: specs/echo.yaml, request: {max_body_size: 32KiB}}}
  strip:
    paths: [/echo/strip]
    upstream: demo
    plugins: {openapi: {spec: specs/echo.yaml, request: {max_body_size: 32KiB, unknown: strip}}}
  own:
    paths: [/echo/own]
    upstream: demo
    plugins: {key-auth: {}, ownership: {object: body.a, owner: consumer, max_body_size: 32KiB}}
";

const SPEC: &str = "
openapi: 3.1.0
info: {title: echo, version: '1'}
paths:
  /echo/spec: {post: {requestBody: {content: {application/json: {schema: SCHEMA}}}, responses: {'200': {description: ok}}}}
  /echo/strip: {post: {requestBody: {content: {application/json: {schema: SCHEMA}}}, responses: {'200': {description: ok}}}}
";

/// Headers beside the type, and a body.
type Sent = (&'static [&'static str], Vec<u8>);

/// What is sent, and what of it is wrong.
fn bodies() -> [(&'static str, Sent); 12] {
    const GZIP: &[&str] = &["Content-Encoding: gzip"];
    let good = br#"{"a":"alice"}"#;
    let twice = br#"{"a":"alice","a":"alice"}"#;
    [
        ("good", (&[], good.to_vec())),
        ("compressed", (GZIP, gzip(good))),
        ("over the limit", (&[], [&good[..], &[b' '; 32 << 10]].concat())),
        ("over the limit when decoded", (GZIP, gzip(&[&good[..], &[b' '; 32 << 10]].concat()))),
        ("an unknown coding", (&["Content-Encoding: zstd"], good.to_vec())),
        ("several codings", (&["Content-Encoding: gzip, gzip, gzip, gzip"], gzip(good))),
        ("not what its coding says", (GZIP, good.to_vec())),
        ("half of what its coding says", (GZIP, gzip(good)[..20].to_vec())),
        ("a name twice", (&[], twice.to_vec())),
        ("a name twice, compressed", (GZIP, gzip(twice))),
        ("something behind", (&[], [&good[..], b" {}"].concat())),
        ("something behind, compressed", (GZIP, gzip(&[&good[..], b"\0"].concat()))),
    ]
}

#[test]
fn each_has_a_written_answer() {
    let prepared = Gateway::prepare(&CONF.replace("SCHEMA", SCHEMA));
    prepared.write("specs/echo.yaml", &SPEC.replace("SCHEMA", SCHEMA));
    let gateway = prepared.start(&PathBuf::from(env!("CARGO_BIN_EXE_palisade")));
    // What a plugin says of an unknown coding, a name that stands twice, something behind. `content-type` alone does not look
    // at names: that is for `json-limits`.
    for (target, unknown, twice, behind) in [
        ("/echo/type", "encoding_refused", "", "content_type_lies"),
        ("/echo/limits", "encoding_unknown", "json_name_twice", "json_malformed"),
        ("/echo/schema", "encoding_unknown", "json_schema_malformed", "json_schema_malformed"),
        ("/echo/spec", "encoding_unknown", "openapi_malformed", "openapi_malformed"),
        ("/echo/strip", "encoding_unknown", "openapi_malformed", "openapi_malformed"),
        ("/echo/own", "encoding_unknown", "ownership_unreadable", "ownership_unreadable"),
    ] {
        for (what, (headers, body)) in bodies() {
            let headers = [&["Content-Type: application/json", "apikey: alice-key"], headers].concat();
            let found = framed(&gateway, target, &headers, &body);
            let expected = match what {
                _ if what == "good"
                    || what == "compressed"
                    || (what.contains("twice") && twice.is_empty()) =>
                {
                    assert_eq!(found.0, 200, "{target} {what}: {found:?}");
                    continue;
                }
                "over the limit" => refused(413, "body_too_large"),
                "over the limit when decoded" => refused(413, "encoding_bomb"),
                "an unknown coding" => refused(415, unknown),
                "several codings" => refused(415, "encoding_unknown"),
                "not what its coding says" | "half of what its coding says" => {
                    refused(400, "encoding_malformed")
                }
                "a name twice" | "a name twice, compressed" => refused(400, twice),
                _ => refused(400, behind),
            };
            assert_eq!(found, expected, "{target} {what}");
        }
    }
}

const ANSWERS: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
upstreams: {own: {targets: [{address: 'ADDRESS'}]}}
routes:
  schema:
    paths: ['/schema/{what}']
    upstream: own
    plugins: {json-schema: {response: {schema: SCHEMA, max_body_size: 32KiB}}}
  spec:
    paths: ['/spec/{what}']
    upstream: own
    plugins: {openapi: {spec: specs/answers.yaml, response: {validate: true, max_body_size: 32KiB}}}
  strip:
    paths: ['/strip/{what}']
    upstream: own
    plugins: {openapi: {spec: specs/answers.yaml, response: {validate: true, max_body_size: 32KiB, on_violation: strip}}}
";

/// An answer of the origin's in chunks or with a length.
fn answer(headers: &[&str], body: &[u8], in_chunks: bool) -> Vec<u8> {
    let mut head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n".to_owned();
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    if in_chunks {
        let head = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len());
        return [head.as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
    }
    [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[test]
fn answers_that_are_so_do_not_reach_the_client() {
    let origin = Origin::start(|request| {
        let number: usize = request.path().rsplit('/').next().unwrap().parse().unwrap();
        let (_, (headers, body)) = &bodies()[number / 2];
        request.send(answer(headers, body, number % 2 == 1))
    });
    let item = format!(
        "{{get: {{parameters: [{{name: n, in: path, required: true, schema: {{type: integer}}}}], responses: {{'200': {{description: ok, content: {{application/json: {{schema: {SCHEMA}}}}}}}}}}}}}"
    );
    let prepared =
        Gateway::prepare(&ANSWERS.replace("SCHEMA", SCHEMA).replace("ADDRESS", &origin.address.to_string()));
    let spec = format!(
        "openapi: 3.1.0\ninfo: {{title: a, version: '1'}}\npaths:\n  '/spec/{{n}}': {item}\n  '/strip/{{n}}': {item}\n"
    );
    prepared.write("specs/answers.yaml", &spec);
    let gateway = prepared.start(&PathBuf::from(env!("CARGO_BIN_EXE_palisade")));
    for route in ["schema", "spec", "strip"] {
        for (number, (what, _)) in bodies().into_iter().enumerate() {
            for target in [2 * number, 2 * number + 1].map(|number| format!("/{route}/{number}")) {
                let plain = gateway.get(&target);
                let (status, body) = block_on(async {
                    let url = format!("http://{}{target}", gateway.at("listener h2"));
                    let answer = h2c().get(url).send().await.unwrap();
                    (answer.status().as_u16(), answer.bytes().await.unwrap())
                });
                let expected = if matches!(what, "good" | "compressed") { 200 } else { 502 };
                assert_eq!((plain.status, status), (expected, expected), "{target} {what}");
                // What nothing was taken out of may go on in its coding.
                let good = [br#"{"a":"alice"}"#.to_vec(), gzip(br#"{"a":"alice"}"#)];
                let same = plain.body == body && good.contains(&plain.body);
                assert_eq!(expected == 200, same, "{target} {what}: {}", body.escape_ascii());
            }
        }
    }
}
