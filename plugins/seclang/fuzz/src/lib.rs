//! What is fuzzed, as plain functions that panic where something is wrong.
//!
//! `fuzz/run TARGET SECONDS` runs one under libFuzzer; the crate's `tests/fuzz.rs` runs all of them over inputs made of
//! `corpus/`, the same ones each time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may panic"
)]

use seclang::{RuleSet, Transaction};
use std::sync::{Arc, LazyLock};

/// Rules that use every transformation, operator and processor.
const RULES: &str = include_str!("rules.conf");

static FAST: LazyLock<Arc<RuleSet>> = LazyLock::new(|| load(false));
static PLAIN: LazyLock<Arc<RuleSet>> = LazyLock::new(|| load(true));

fn load(reference: bool) -> Arc<RuleSet> {
    let builder = RuleSet::builder();
    let builder = if reference { builder.reference() } else { builder };
    match builder.text("rules.conf", RULES).build() {
        Ok(rules) => rules,
        Err(errors) => panic!("{errors}"),
    }
}

/// Text as rules: whatever is wrong with it is an error with a place, and what loads can be run.
pub fn rules(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    match RuleSet::builder().text("fuzz.conf", &text).build() {
        Ok(rules) => {
            let mut transaction = rules.transaction();
            feed(&mut transaction, b"/a?b=c", &[(b"Content-Type", b"application/json")], br#"{"a":"b"}"#);
        }
        Err(errors) => {
            assert!(!errors.0.is_empty());
            for error in &errors.0 {
                assert!(error.line >= 1 && error.column >= 1, "{error:?}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// A request in lines: target, fields, an empty line, body. Both ways see the same.
pub fn request(input: &[u8]) {
    let mut rest = input;
    let mut line = || {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        line
    };
    let uri = line();
    let mut fields = Vec::new();
    loop {
        let field = line();
        if field.is_empty() {
            break;
        }
        let colon = field.iter().position(|byte| *byte == b':').unwrap_or(field.len());
        fields.push((&field[..colon], field.get(colon + 1..).unwrap_or_default()));
    }
    compare(uri, &fields, rest);
}

/// A value, as each transformation makes it and as chains of them do.
pub fn transformations(input: &[u8]) {
    static WAYS: LazyLock<[Arc<RuleSet>; 2]> = LazyLock::new(|| {
        [false, true].map(|reference| {
            let builder = RuleSet::builder();
            let builder = if reference { builder.reference() } else { builder };
            match builder.text("transformations.conf", &transforming()).build() {
                Ok(rules) => rules,
                Err(errors) => panic!("{errors}"),
            }
        })
    });
    let ways = WAYS.each_ref().map(|rules| {
        let mut transaction = rules.transaction();
        feed(&mut transaction, b"/", &[(b"X", input)], b"");
        transaction
    });
    assert_eq!(ways[0].matched(), ways[1].matched());
    assert_eq!(ways[0].tx(), ways[1].tx());
}

/// For each transformation a rule that keeps what it makes of a field, and for each two of them one that looks at every step.
fn transforming() -> String {
    const ALL: &str = "base64Decode base64DecodeExt base64Encode cmdLine compressWhitespace cssDecode escapeSeqDecode hexDecode \
        hexEncode htmlEntityDecode jsDecode length lowercase md5 normalizePath normalizePathWin parityEven7bit parityOdd7bit \
        parityZero7bit removeComments removeCommentsChar removeNulls removeWhitespace replaceComments replaceNulls sha1 \
        sqlHexDecode trim trimLeft trimRight uppercase urlDecode urlDecodeUni urlEncode utf8toUnicode";
    let all: Vec<&str> = ALL.split_whitespace().collect();
    let mut text = "SecRuleEngine DetectionOnly\n".to_string();
    for (at, name) in all.iter().enumerate() {
        let other = all[(at * 7 + 3) % all.len()];
        text += &format!(
            "SecRule REQUEST_HEADERS:X \"@rx (?s)(.+)\" \"id:{},phase:1,pass,capture,t:none,t:{name},setvar:'tx.{name}=%{{TX.1}}'\"\n\
             SecRule REQUEST_HEADERS:X \"@rx [a-z<]\\W|select|\\.\\./\" \"id:{},phase:1,pass,multiMatch,capture,t:none,t:{name},t:{other},setvar:'tx.two=%{{TX.0}}'\"\n",
            at + 1,
            at + 1001,
        );
    }
    text
}

/// A body, of a type that its first byte gives.
pub fn body(input: &[u8]) {
    const TYPES: [&[u8]; 5] = [
        b"application/json",
        b"application/x-www-form-urlencoded",
        b"text/xml",
        b"multipart/form-data; boundary=b",
        b"text/plain",
    ];
    let kind = TYPES[usize::from(input.first().copied().unwrap_or(0)) % TYPES.len()];
    compare(b"/", &[(b"Content-Type", kind)], input.get(1..).unwrap_or_default());
}

fn feed(transaction: &mut Transaction, uri: &[u8], fields: &[(&[u8], &[u8])], body: &[u8]) {
    transaction.request_line(b"POST", uri, b"HTTP/1.1");
    for (name, value) in fields {
        transaction.header(name, value);
    }
    let _ = transaction.request_headers();
    transaction.body_chunk(body);
    let _ = transaction.request_body();
    transaction.response_line(200, b"HTTP/1.1");
    transaction.response_header(b"Content-Type", b"text/html");
    let _ = transaction.response_headers();
    transaction.response_chunk(body);
    let _ = transaction.response_body();
    transaction.logging();
}

fn compare(uri: &[u8], fields: &[(&[u8], &[u8])], body: &[u8]) {
    let mut fast = FAST.transaction();
    let mut plain = PLAIN.transaction();
    feed(&mut fast, uri, fields, body);
    feed(&mut plain, uri, fields, body);
    assert_eq!(fast.matched(), plain.matched());
    assert_eq!(fast.intervention(), plain.intervention());
    let tx = |transaction: &Transaction| -> Vec<_> {
        let all = transaction.tx().into_iter();
        all.map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii())).collect()
    };
    assert_eq!(tx(&fast), tx(&plain));
}
