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
#[path = "../../../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../../../fuzz/src/smoke.rs"]
mod smoke;

use std::path::Path;

fn smoke(name: &str, run: fn(&[u8]), words: &[&str], count: usize) {
    let folder = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let of = smoke::Smoke { corpus: &[Path::new(&folder)], words: &words, count, most: 3000 };
    smoke::smoke(name, run, &of);
}

const REQUEST_WORDS: [&str; 40] = [
    "\n",
    "\r\n",
    "\n\n",
    "Content-Type: ",
    "application/json",
    "text/xml",
    "--b",
    "--b--\r\n",
    "boundary=b",
    "%3C",
    "%u0041",
    "%00",
    "&a=",
    "' or 1=1--",
    "<script",
    "onload=",
    "union select ",
    "../",
    "/*",
    "*/",
    "\\x41",
    "&#x41;",
    "\"",
    "\\",
    "{",
    "[",
    "]",
    "}",
    ":",
    ",",
    "<a b='c'>",
    "</a>",
    "&amp;",
    "<![CDATA[",
    "]]>",
    "Cookie: a=",
    "\u{e9}",
    "A",
    " ",
    "\t",
];

#[test]
fn requests() {
    smoke("request", fuzz::request, &REQUEST_WORDS, 1500);
}

#[test]
fn bodies() {
    smoke("body", fuzz::body, &REQUEST_WORDS, 2500);
}

#[test]
fn transformations() {
    let words = [
        "%", "%4", "%41", "%u0041", "%u00e9", "+", "&", "&lt;", "&#65;", "&#x41;", "\\x41", "\\u0041", "\\",
        "\0", "\u{e9}", " ", "\t", "\n", "\u{a0}", "//", "/./", "/../", "..", "\\..\\", "/*", "*/", "--",
        "#", "<!--", "-->", "\"", "'", "^", ";", ",", "(", "0x41", "0X", "QQ==", "select", "a", "A", "7",
        "=",
    ];
    smoke("transformations", fuzz::transformations, &words, 300);
}

#[test]
fn rules() {
    let words = [
        "SecRule ",
        "SecAction ",
        "SecMarker x\n",
        "\"",
        "'",
        "\\\n",
        "\\",
        "\n",
        "ARGS",
        "TX:a",
        "&",
        "!",
        "|",
        ":/x/",
        "@rx ",
        "@pm ",
        "@eq ",
        "@within ",
        "%{tx.a}",
        "%{",
        "id:9",
        "phase:1",
        "chain",
        "setvar:tx.a=1",
        "t:none",
        "ctl:ruleEngine=On",
        "ctl:",
        ",",
        "skipAfter:x",
        "deny",
        "[",
        "(",
        "{2,}",
        "\u{e9}",
        "#",
        "Include x\n",
    ];
    smoke("rules", fuzz::rules, &words, 1500);
}
