//! What it costs to hold a request to a description, and to load one: `cargo bench -p palisade-plugins --bench openapi`.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use palisade_contract::{
    Body, Descriptor,
    testkit::{Case, Instance, Kit, block_on},
};
use palisade_plugins::*;
use std::fmt::Write;

/// What all operations refer to.
const COMMON: &str = "components:
  responses:
    Problem: {description: refused, content: {application/problem+json: {schema: {$ref: '#/components/schemas/Problem'}}}}
  schemas:
    Problem: {type: object, required: [title], properties: {title: {type: string}, status: {type: integer}, detail: {type: string}}}
    Money: {type: object, required: [amount, currency], properties: {amount: {type: string, pattern: '^[0-9]+(\\.[0-9]{2})?$'}, currency: {enum: [EUR, USD, GBP]}}}
    Address: {type: object, required: [street, city], properties: {street: {type: string, maxLength: 100}, city: {type: string, maxLength: 100}, zip: {type: string, pattern: '^[0-9A-Z -]{3,10}$'}}}
    Line: {type: object, required: [sku, qty, price], properties: {sku: {type: string, minLength: 3, maxLength: 40}, qty: {type: integer, minimum: 1, maximum: 1000}, price: {$ref: '#/components/schemas/Money'}, note: {type: [string, 'null'], maxLength: 200}}}
";

/// A description with `count` operations, as descriptions are: each has parameters, a body of its own with references to
/// common schemas, and three answers.
fn description(count: usize) -> String {
    let mut text = String::from("openapi: 3.1.0\ninfo: {title: large, version: '1'}\npaths:\n");
    for number in 0..count / 2 {
        write!(
            text,
            "  /tenants/{{tenant}}/things{number}/{{id}}:
    parameters:
      - {{name: tenant, in: path, required: true, schema: {{type: string, minLength: 1, maxLength: 64}}}}
      - {{name: id, in: path, required: true, schema: {{type: integer, minimum: 1}}}}
    get:
      operationId: get{number}
      parameters:
        - {{name: limit, in: query, schema: {{type: integer, minimum: 1, maximum: 100}}}}
        - {{name: sort, in: query, schema: {{enum: [name, date, size]}}}}
      responses:
        '200': {{description: ok, content: {{application/json: {{schema: {{$ref: '#/components/schemas/Thing{number}'}}}}}}}}
        4XX: {{$ref: '#/components/responses/Problem'}}
    post:
      operationId: post{number}
      requestBody:
        required: true
        content: {{application/json: {{schema: {{$ref: '#/components/schemas/Thing{number}'}}}}}}
      responses:
        '201': {{description: made, content: {{application/json: {{schema: {{$ref: '#/components/schemas/Thing{number}'}}}}}}}}
        4XX: {{$ref: '#/components/responses/Problem'}}
"
        )
        .unwrap();
    }
    text.push_str(COMMON);
    for number in 0..count / 2 {
        write!(
            text,
            "    Thing{number}:
      type: object
      required: [name, lines]
      properties:
        id: {{type: string, format: uuid, readOnly: true}}
        name: {{type: string, minLength: 1, maxLength: 80}}
        mail: {{type: string, format: email}}
        made: {{type: string, format: date-time}}
        state: {{enum: [new, paid, sent, done]}}
        address: {{$ref: '#/components/schemas/Address'}}
        lines: {{type: array, minItems: 1, maxItems: 100, items: {{$ref: '#/components/schemas/Line'}}}}
        tags: {{type: array, uniqueItems: true, items: {{type: string, maxLength: 20}}}}
        x{number}: {{type: integer}}
"
        )
        .unwrap();
    }
    text
}

/// About two kilobytes of it.
fn order() -> String {
    let line = |number: usize| {
        format!(
            r#"{{"sku":"SKU-{number:06}","qty":{},"price":{{"amount":"{number}.50","currency":"EUR"}},"note":"as last time"}}"#,
            number + 1
        )
    };
    let lines: Vec<String> = (0..19).map(line).collect();
    format!(
        r#"{{"name":"An order of many things","mail":"alice@example.com","made":"2024-05-01T10:00:00Z","state":"new","address":{{"street":"Main street 1","city":"Town","zip":"12345"}},"lines":[{}],"tags":["a","b","c"]}}"#,
        lines.join(",")
    )
}

fn build(dir: &tempfile::TempDir, count: usize, fields: &str) -> Instance {
    let path = dir.path().join(format!("{count}.yaml"));
    std::fs::write(&path, description(count)).unwrap();
    let kit = Kit::of(Descriptor::of::<OpenApi>()).credential_places(Vec::new());
    kit.build(&format!("spec: {}\n{fields}", path.display())).unwrap()
}

fn requests(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let text = order();
    println!("a body of {} bytes", text.len());
    c.bench_function("openapi, the JSON parsed and nothing else", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(text.as_bytes()).unwrap());
    });
    for (name, count, fields) in [
        ("10 operations", 10, ""),
        ("1000 operations", 1000, ""),
        ("what is not declared taken out", 10, "request: {unknown: strip}"),
    ] {
        let plugin = build(&dir, count, fields);
        let case = || {
            Case::new("POST", "/tenants/acme/things3/12")
                .header("content-type", "application/json")
                .body(text.clone())
        };
        plugin.run(case()).passed();
        let mut ex = plugin.run(case()).ex;
        let bytes = Bytes::from(text.clone());
        c.bench_function(&format!("openapi, a POST of 2 KB of JSON: {name}"), |b| {
            b.iter(|| {
                let mut body = Body::new(bytes.clone(), true);
                let plugin = plugin.built.plugin();
                block_on(plugin.on_request(&mut ex).resolve()).unwrap();
                block_on(plugin.on_request_body(&mut ex, &mut body).resolve()).unwrap()
            });
        });
        if count == 1000 {
            let mut ex = plugin.run(Case::get("/tenants/acme/things3/12?limit=5&sort=name")).ex;
            c.bench_function("openapi, a GET with two parameters", |b| {
                b.iter(|| block_on(plugin.built.plugin().on_request(&mut ex).resolve()).unwrap());
            });
        }
    }
}

/// Resident memory, in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap()
}

fn load(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    // What reading the first one has needed for a while is there for the second one to use.
    let first = build(&dir, 1000, "response: {validate: true}");
    let other = tempfile::tempdir().unwrap();
    let before = resident();
    let begun = std::time::Instant::now();
    let plugin = build(&other, 1000, "response: {validate: true}");
    println!("1000 operations: loaded in {:?}, {} KiB more", begun.elapsed(), resident() - before);
    drop(first);
    drop(plugin);
    let mut group = c.benchmark_group("openapi");
    group.sample_size(10);
    group.bench_function("1000 operations loaded", |b| {
        b.iter(|| build(&dir, 1000, "response: {validate: true}"));
    });
    group.finish();
}

criterion_group!(benches, load, requests);
criterion_main!(benches);
