//! The fuzz targets over their corpus and over inputs made of it, the same ones each time. `ROUNDS=N` makes N times as many.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests may panic"
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;
#[path = "../../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../../fuzz/src/smoke.rs"]
mod smoke;

use std::path::Path;

fn smoke(name: &str, run: fn(&[u8]), words: &[&str], count: usize) {
    let folder = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let of = smoke::Smoke { corpus: &[Path::new(&folder)], words: &words, count, most: 5000 };
    smoke::smoke(name, run, &of);
}

#[test]
fn mask() {
    let words = [
        "4111 1111 1111 1111",
        "1111",
        "GB29NWBK60161331926819",
        "078-05-1120",
        "x@example.com",
        "@",
        ".",
        "Bearer ",
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.c2ln",
        "S-123456",
        "NEVER-1234",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "\tat a.b.C.d(C.java:1)\n",
        "Traceback (most recent call last):\n",
        "data: ",
        "\n",
        "\r\n",
        "\n\n",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u0034",
        "\\ud800",
        "\"pin\":1",
        "\"a\":{\"b\":1}",
        "null",
        "-2.5e3",
        " ",
        "\0",
        "\u{e4}",
    ];
    smoke("mask", fuzz::mask::run, &words, 6000);
}

#[test]
fn description() {
    let words = [
        "\n",
        "  ",
        ": ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "'",
        "$ref: '#/components/schemas/A'",
        "'#/paths/~1a'",
        "*a",
        "&a ",
        "null",
        "true",
        "-1",
        "1e999",
        "99999999999999999999",
        "type: object",
        "type: [integer, 'null']",
        "nullable: true",
        "required: [a]",
        "additionalProperties: false",
        "unevaluatedProperties: false",
        "allOf: [",
        "oneOf: [",
        "not: ",
        "properties: {a: ",
        "items: ",
        "pattern: '[a-z'",
        "format: date",
        "discriminator: {propertyName: kind}",
        "in: query",
        "in: path",
        "style: deepObject",
        "explode: true",
        "content: {application/json: {schema: ",
        "/{id}",
        "/a/{b}.{c}",
        "readOnly: true",
        "\u{e9}",
    ];
    smoke("description", fuzz::description::run, &words, 600);
}

const LETTERS: [&str; 30] = [
    ",", ";", ".", "=", "&", "|", "%20", "%2C", "%7C", "%", "%4", "%ff", "%00", "+", " ", "[", "]", "[x]",
    "{", "}", "\"", "/", "\n", "1", "-0", "1e3", "true", "null", "a", "\u{e9}",
];

#[test]
fn parameters() {
    smoke("parameters", fuzz::parameters::run, &LETTERS, 8000);
}

#[test]
fn styles() {
    smoke("styles", fuzz::styles::run, &LETTERS, 800);
}
