//! Text to configuration types and back to errors.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may panic")]
#![allow(dead_code, reason = "what is read is compared by its debug print")]

use palisade_contract::{
    ConfigErrors, Secret,
    conf::{At, Cidr, HumanDuration, Node, Size, Sources, parse},
};
use serde::{Deserialize, de::DeserializeOwned};
use std::{collections::BTreeMap, fmt::Debug, path::Path};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    name: String,
    #[serde(default)]
    key_names: Vec<String>,
    port: Option<u16>,
    mode: Option<Mode>,
    #[serde(default)]
    inner: Option<Inner>,
    #[serde(default)]
    by_status: BTreeMap<u16, bool>,
    #[serde(default)]
    any: Option<serde_json::Value>,
    wait: Option<HumanDuration>,
    size: Option<Size>,
    net: Option<Cidr>,
    token: Option<Secret>,
    auth: Option<Auth>,
}

#[derive(Debug, Deserialize)]
struct Inner {
    a: i8,
    b: At<bool>,
    c: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Enforce,
    Monitor,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auth {
    Optional,
    Any(Vec<String>),
    Some { of: u8 },
}

fn read<T: DeserializeOwned>(yaml: &str) -> Result<T, ConfigErrors> {
    let environment = |name: &str| match name {
        "PORT" => Some("8080".to_owned()),
        "SECRET" => Some("hunter2".to_owned()),
        "NULL" => Some("null".to_owned()),
        _ => None,
    };
    parse(Path::new("test.yaml"), yaml, &environment)?.deserialize()
}

fn accept<T: DeserializeOwned + Debug>(yaml: &str, expect: &str) {
    match read::<T>(yaml) {
        Ok(value) => assert_eq!(format!("{value:?}"), expect, "{yaml}"),
        Err(errors) => panic!("{yaml}: {errors:?}"),
    }
}

/// Compares `line:column path: message (help)` of all errors.
fn refuse<T: DeserializeOwned + Debug>(yaml: &str, expect: &[&str]) {
    let errors = read::<T>(yaml).unwrap_err();
    let mut found: Vec<String> = errors
        .0
        .iter()
        .map(|error| {
            let place = error.place.as_ref().unwrap();
            format!("{}:{} {}: {}", place.line, place.column, error.path, error.message)
        })
        .collect();
    found.sort();
    assert_eq!(found, expect, "{yaml}");
}

#[test]
fn text_is_text_as_written() {
    for (yaml, expect) in [
        ("1234", "1234"),
        ("12e5", "12e5"),
        ("0x10", "0x10"),
        ("007", "007"),
        ("1.10", "1.10"),
        ("true", "true"),
        ("no", "no"),
        ("'null'", "null"),
        ("''", ""),
        ("\"${env:PORT}\"", "8080"),
        ("a${env:PORT}", "a8080"),
        ("|\n  a\n  b", "a\nb\n"),
    ] {
        assert_eq!(read::<String>(yaml).unwrap(), expect, "{yaml}");
    }
    for yaml in ["null", "~", "", "[a]", "{a: b}", "${env:NULL}", "${env:X:-}"] {
        assert!(read::<String>(yaml).is_err(), "{yaml}");
    }
}

#[test]
fn plain_scalars_have_a_type() {
    accept::<u16>("80", "80");
    accept::<u16>("${env:PORT}", "8080");
    accept::<u16>("'${env:PORT}'", "8080");
    accept::<i64>("-0", "0");
    accept::<f64>("1", "1.0");
    accept::<bool>("true", "true");
    accept::<Vec<Option<String>>>(
        "[~, null, '${env:X:-}', '', 'null']",
        "[None, None, None, Some(\"\"), Some(\"null\")]",
    );
    accept::<BTreeMap<String, Option<u8>>>("a:\n", "{\"a\": None}");
    accept::<serde_json::Value>(
        "[1, -1, 1.5, true, null, x, '1', {a: 0x10}]",
        "Array [Number(1), Number(-1), Number(1.5), Bool(true), Null, String(\"x\"), String(\"1\"), \
         Object {\"a\": Number(16)}]",
    );
    accept::<BTreeMap<u16, bool>>("{401: true, '403': false}", "{401: true, 403: false}");
    accept::<BTreeMap<String, u8>>("{1: 1, true: 2}", "{\"1\": 1, \"true\": 2}");
    accept::<Auth>("optional", "Optional");
    accept::<Auth>("{any: [a]}", "Any([\"a\"])");
    accept::<Auth>("{some: {of: 3}}", "Some { of: 3 }");
    accept::<Node>("[a]", "Node { value: [a], place: test.yaml:1:1, path: \"\" }");
    accept::<At<At<u8>>>(
        "1",
        "At { value: At { value: 1, place: test.yaml:1:1, path: \"\" }, place: test.yaml:1:1, path: \"\" }",
    );
    accept::<(u8, String)>("[1, x]", "(1, \"x\")");
}

#[test]
fn every_error_is_found() {
    refuse::<Sample>(
        "nam: x\nkey_nams: [a]\nport: 70000\nmode: monitr\ninner: {a: 200, b: yes, x: 1, c: z}\nby_status: {x: true, 401: 3}\n",
        &[
            "1:1 : unknown field `nam`",
            "2:1 : unknown field `key_nams`",
            "3:7 port: `70000` is out of range",
            "4:7 mode: unknown value `monitr`",
            "5:12 inner.a: `200` is out of range",
            "5:20 inner.b: expected `true` or `false`, found `yes`",
            "5:25 inner: unknown field `x`",
            "5:34 inner.c: expected a number, found `z`",
            "6:13 by_status.x: expected a whole number, found the key `x`",
            "6:27 by_status.401: expected `true` or `false`, found `3`",
        ],
    );
    refuse::<Sample>(
        "name: [x]\nkey_names: [a, {b: c}, ~]\nwait: 10\nsize: 1KB\nnet: 10.0.0.1/8\nauth: {any: x, some: y}\n",
        &[
            "1:7 name: expected a string, found a list",
            "2:16 key_names[1]: expected a string, found a mapping",
            "2:24 key_names[2]: expected a string, found nothing",
            "3:7 wait: `10` has no unit",
            "4:7 size: `1KB` is not a size",
            "5:6 net: `10.0.0.1/8` has bits set beyond its prefix",
            "6:7 auth: expected one of `optional`, `any`, `some`, found a mapping",
        ],
    );
    refuse::<Sample>(
        "inner: {a: 1}\n",
        &["1:1 : the field `name` is missing", "1:8 inner: the field `b` is missing"],
    );
    refuse::<Sample>("x", &["1:1 : expected a mapping, found `x`"]);
    refuse::<Sample>("", &["1:1 : the field `name` is missing"]);
    refuse::<Sample>("name: x\ninner: ''\n", &["2:8 inner: expected a mapping, found the string ``"]);
    refuse::<Auth>("{any: {a: b}}", &["1:7 any: expected a list, found a mapping"]);
    refuse::<Auth>(
        "{some: {of: x, on: 1}}",
        &["1:13 some.of: expected a whole number, found `x`", "1:16 some: unknown field `on`"],
    );
    refuse::<Auth>("any", &["1:1 : `any` needs a value"]);
    refuse::<Auth>("{optional: 1}", &["1:1 : `optional` takes no value"]);
    refuse::<(u8, u8)>("[1]", &["1:1 : expected a tuple of size 2, found 1 items"]);
    refuse::<(u8, u8)>("[1, x]", &["1:5 [1]: expected a whole number, found `x`"]);
    refuse::<u8>("'1'", &["1:1 : expected a whole number, found the string `1`"]);
}

#[test]
fn secrets_never_show() {
    for yaml in [
        "name: x\nport: ${env:SECRET}",
        "name: x\nmode: ${env:SECRET}",
        "name: x\nwait: ${env:SECRET}",
        "name: x\nnet: ${env:SECRET}",
        "name: x\nauth: ${env:SECRET}",
        "name: x\nauth: '{any: ${env:SECRET}}'",
        "name: x\nkey_names: ${env:SECRET}",
        "name: x\ninner: ${env:SECRET}",
        "name: x\ninner: {a: 1, b: x${env:SECRET}}",
        "name: x\ntoken: [hunter2]\nport: hunter2 ${x}",
        "name: x\ntoken: {hunter2: 1}\nby_status: {401: '${env:SECRET}'}",
    ] {
        let shown = match read::<Sample>(yaml) {
            Ok(value) => panic!("{yaml}: {value:?}"),
            Err(errors) => format!("{errors:?}"),
        };
        assert!(!shown.contains("unte"), "{yaml}: {shown}");
    }
}

#[test]
fn errors_are_shown_with_their_lines() {
    let yaml = "name: x\ninner:\n  a: 1\n  bb: true\ntoken: [secret]\nport: \"80\"\n";
    let mut sources = Sources::default();
    sources.add(Path::new("test.yaml"), yaml);
    let shown = read::<Sample>(yaml).unwrap_err().render(&sources);
    assert_eq!(
        shown,
        "\
test.yaml:4:3: inner: unknown field `bb`
 4 |   bb: true
   |   ^
help: did you mean `b`? known: `a`, `b`, `c`

test.yaml:5:8: token: expected a string, found a list
 5 | token: [hidden]
   |        ^
help: write one value, in quotes where it is more than a word

test.yaml:6:7: port: expected a whole number, found the string `80`
 6 | port: \"80\"
   |       ^
help: write it without quotes

3 errors in 1 file
"
    );
    assert_eq!(format!("{sources:?}"), "{\"test.yaml\"}");
}

mod never_panics {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn on_any_text(text in any::<String>()) {
            let _ = read::<Sample>(&text).map_err(|errors| errors.render(&Sources::default()));
        }

        #[test]
        fn on_yaml_like_text(text in "([ \n\t:#&*!|>%@`'\"{}\\[\\],?~<$a0-]|name: |inner: |\\$\\{env:|\n  |\n- |---|\\.\\.\\.){0,60}") {
            let mut sources = Sources::default();
            sources.add(Path::new("test.yaml"), text.as_str());
            let _ = read::<Sample>(&text).map_err(|errors| errors.render(&sources));
            let _ = read::<serde_json::Value>(&text).map_err(|errors| errors.render(&sources));
        }
    }
}
