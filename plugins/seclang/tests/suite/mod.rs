//! The regression suite of the OWASP Core Rule Set: its stages, as its own client would send them.
//!
//! The suite is not part of this repository. `CRS_DIR` names a folder with `rules/`, `crs-setup.conf.example` and
//! `tests/regression/`; what needs it says that it skips where it is not there.

#![allow(dead_code, reason = "each test, example and benchmark uses a part of it")]

pub mod differential;
pub mod verdicts;
mod yaml;

use base64::Engine as _;
use seclang::{RuleSet, Transaction};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::Arc,
};
use yaml::Value;

/// The folder of the rule set, or a word on what is skipped.
pub fn folder(what: &str) -> Option<PathBuf> {
    match std::env::var_os("CRS_DIR") {
        Some(folder) if Path::new(&folder).join("rules").is_dir() => Some(folder.into()),
        _ => {
            eprintln!("skipped {what}: CRS_DIR does not name a core rule set");
            None
        }
    }
}

/// A request, with the response that a backend would give.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: Vec<u8>,
    pub uri: Vec<u8>,
    pub protocol: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
    pub response: Option<Response>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// One stage of a test.
#[derive(Debug, Clone)]
pub struct Stage {
    pub file: String,
    pub rule: u64,
    pub test: u64,
    pub stage: usize,
    pub request: Request,
    /// Ids that must be in the log, and ids that must not; `None` where the stage asks for something else.
    pub expect: Option<(Vec<u64>, Vec<u64>)>,
}

impl Stage {
    pub fn name(&self) -> String {
        format!("{}-{}-{}", self.rule, self.test, self.stage)
    }
}

/// All stages, in the order of the files.
pub fn stages(folder: &Path) -> Vec<Stage> {
    let root = folder.join("tests/regression");
    let mut files = Vec::new();
    for folder in entries(&root).into_iter().filter(|path| path.is_dir()) {
        files.extend(
            entries(&folder).into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "yaml")),
        );
    }
    files.iter().flat_map(|file| stages_of(file)).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn stages_of(path: &Path) -> Vec<Stage> {
    let tree = yaml::parse(&fs::read_to_string(path).unwrap());
    let number =
        |value: Option<&Value>| value.and_then(Value::text).and_then(|text| text.parse::<u64>().ok());
    let Some(rule) = number(tree.get("rule_id")) else { return Vec::new() };
    let mut stages = Vec::new();
    for test in tree.get("tests").map_or(&[][..], Value::list) {
        for (at, stage) in test.get("stages").map_or(&[][..], Value::list).iter().enumerate() {
            stages.push(Stage {
                file: path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned(),
                rule,
                test: number(test.get("test_id")).unwrap(),
                stage: at,
                request: request(stage.get("input").unwrap_or(&Value::Null)),
                expect: expect(stage.get("output").unwrap_or(&Value::Null)),
            });
        }
    }
    stages
}

fn expect(output: &Value) -> Option<(Vec<u64>, Vec<u64>)> {
    let log = output.get("log")?;
    let ids = |name: &str| -> Option<Vec<u64>> {
        Some(log.get(name)?.list().iter().filter_map(|id| id.text()?.parse().ok()).collect())
    };
    let (expect, none) = (ids("expect_ids"), ids("no_expect_ids"));
    if expect.is_none() && none.is_none() {
        return None;
    }
    Some((expect.unwrap_or_default(), none.unwrap_or_default()))
}

fn request(input: &Value) -> Request {
    let text = |name: &str| input.get(name).and_then(Value::text);
    if let Some(encoded) = text("encoded_request") {
        let packed: Vec<u8> = encoded.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return with_response(raw(&base64::engine::general_purpose::STANDARD.decode(packed).unwrap()));
    }
    let headers = input.get("headers").map_or(&[][..], Value::map);
    let mut request = Request {
        method: text("method").unwrap_or("GET").into(),
        uri: text("uri").unwrap_or("/").into(),
        protocol: text("version").unwrap_or("HTTP/1.1").into(),
        headers: headers
            .iter()
            .map(|(name, value)| {
                (name.clone().into_bytes(), value.text().unwrap_or_default().as_bytes().to_vec())
            })
            .collect(),
        body: text("data").unwrap_or_default().into(),
        response: None,
    };
    let complete = text("autocomplete_headers") != Some("false");
    if complete && !request.body.is_empty() && request.header(b"content-type").is_none() {
        request.headers.push((b"Content-Type".to_vec(), b"application/x-www-form-urlencoded".to_vec()));
    }
    let kind = request.header(b"content-type").unwrap_or_default().to_vec();
    if kind == b"application/x-www-form-urlencoded" {
        request.body = quoted(&request.body);
    } else if kind.starts_with(b"multipart/") {
        let unix = replace(&request.body, b"\r\n", b"\n");
        request.body = replace(&unix, b"\n", b"\r\n");
    }
    if complete {
        if !request.body.is_empty() && request.header(b"content-length").is_none() {
            let length = request.body.len().to_string();
            request.headers.push((b"Content-Length".to_vec(), length.into_bytes()));
        }
        if request.header(b"connection").is_none() {
            request.headers.push((b"Connection".to_vec(), b"close".to_vec()));
        }
    }
    with_response(request)
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut place = 0;
    while place < text.len() {
        if text[place..].starts_with(from) {
            out.extend_from_slice(to);
            place += from.len();
        } else {
            out.push(text[place]);
            place += 1;
        }
    }
    out
}

impl Request {
    pub fn header(&self, name: &[u8]) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }
}

/// A request as it is on the wire.
fn raw(text: &[u8]) -> Request {
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let mut length = 0;
    let mut line = || {
        let line = lines.next().unwrap_or_default();
        length += line.len();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line).to_vec()
    };
    let first = line();
    let parts: Vec<&[u8]> = first.splitn(3, |byte| *byte == b' ').collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_vec();
    let mut request = Request {
        method: part(0),
        uri: part(1),
        protocol: part(2),
        headers: Vec::new(),
        body: Vec::new(),
        response: None,
    };
    loop {
        let line = line();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        request.headers.push((line[..colon].to_vec(), value.trim_ascii().to_vec()));
    }
    request.body = text.get(length..).unwrap_or_default().to_vec();
    request
}

/// Encodes a form that is not encoded, as the suite's client does: names in order, nothing where there is a semicolon.
fn quoted(body: &[u8]) -> Vec<u8> {
    if body.iter().any(|byte| matches!(byte, b'%' | b'+' | b';')) || body.is_empty() {
        return body.to_vec();
    }
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = body
        .split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let equals = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            (pair[..equals].to_vec(), pair.get(equals + 1..).unwrap_or_default().to_vec())
        })
        .collect();
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    let mut out = Vec::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push(b'&');
        }
        encode(&name, &mut out);
        out.push(b'=');
        encode(&value, &mut out);
    }
    out
}

fn encode(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        match byte {
            b' ' => out.push(b'+'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

/// Gives the response that `/reflect` is asked for, and a plain one otherwise.
fn with_response(mut request: Request) -> Request {
    let plain = (b"Content-Type".to_vec(), b"text/plain; charset=utf-8".to_vec());
    let mut response = Response { status: 200, headers: vec![plain.clone()], body: Vec::new() };
    if request.uri.starts_with(b"/reflect")
        && let Ok(wanted) = serde_json::from_slice::<serde_json::Value>(&request.body)
    {
        let text = |name: &str| wanted.get(name).and_then(|value| value.as_str());
        if let Some(status) = wanted.get("status").and_then(serde_json::Value::as_u64) {
            response.status = status as u16;
        }
        if let Some(headers) = wanted.get("headers").and_then(|headers| headers.as_object()) {
            response.headers = headers
                .iter()
                .map(|(name, value)| {
                    (name.clone().into_bytes(), value.as_str().unwrap_or_default().as_bytes().to_vec())
                })
                .collect();
            if !response.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"content-type")) {
                response.headers.push(plain);
            }
        }
        if let Some(body) = text("body") {
            response.body = body.into();
        }
        if let Some(encoded) = text("encodedBody") {
            response.body = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
        }
    }
    request.response = Some(response);
    request
}

/// What a base configuration says, in our words: bodies are read, JSON and XML are processed, forms are strict.
pub const BASE: &str = r#"
SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 13107200
SecRequestBodyNoFilesLimit 131072
SecRequestBodyLimitAction Reject
SecRequestBodyJsonDepthLimit 512
SecArgumentsLimit 1000
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml application/json
SecResponseBodyLimit 524288
SecResponseBodyLimitAction ProcessPartial
SecRule REQUEST_HEADERS:Content-Type "@rx ^(?:application(?:/soap\+|/)|text/)xml" \
  "id:200000,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "@rx ^application/json" \
  "id:200001,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule &ARGS "@ge 1000" "id:200007,phase:2,t:none,log,deny,status:400,msg:'too many arguments',severity:2"
SecRule REQBODY_ERROR "!@eq 0" \
  "id:200002,phase:2,t:none,log,deny,status:400,msg:'the body does not parse',logdata:'%{reqbody_error_msg}',severity:2"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" \
  "id:200003,phase:2,t:none,log,deny,status:400,msg:'the form is not strict'"
SecRule MULTIPART_UNMATCHED_BOUNDARY "@eq 1" \
  "id:200004,phase:2,t:none,log,deny,msg:'a line looks like a boundary'"
SecRule TX:/^MSC_/ "!@streq 0" "id:200005,phase:2,t:none,deny,msg:'an internal error: %{MATCHED_VAR_NAME}'"
"#;

/// What the suite itself wants set.
pub const SUITE: &str = r#"SecAction "id:900005,phase:1,nolog,pass,ctl:ruleEngine=DetectionOnly,ctl:ruleRemoveById=910000,\
setvar:tx.blocking_paranoia_level=4,setvar:tx.crs_validate_utf8_encoding=1,setvar:tx.arg_name_length=100,\
setvar:tx.arg_length=400,setvar:tx.total_arg_length=64000,setvar:tx.max_num_args=255,setvar:tx.max_file_size=64100,\
setvar:tx.combined_file_sizes=65535""#;

/// A paranoia level for blocking.
pub fn level(level: u8) -> String {
    format!("SecAction \"id:900000,phase:1,nolog,pass,t:none,setvar:tx.blocking_paranoia_level={level}\"")
}

/// Loads the rule set with some text after its set-up.
pub fn rules(folder: &Path, extra: &str, reference: bool) -> Arc<RuleSet> {
    let mut builder = RuleSet::builder();
    if reference {
        builder = builder.reference();
    }
    let rules = builder
        .text("base.conf", BASE)
        .file(folder.join("crs-setup.conf.example"))
        .text("extra.conf", extra)
        .files(&folder.join("rules/*.conf").to_string_lossy())
        .build();
    match rules {
        Ok(rules) => rules,
        Err(errors) => panic!("{errors}"),
    }
}

/// Evaluates a request through all phases; after an intervention only the last.
pub fn evaluate(rules: &Arc<RuleSet>, request: &Request) -> Transaction {
    let mut transaction = rules.transaction();
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    transaction.connection((local, 40000), (local, 80));
    transaction.unique_id(b"unique");
    transaction.request_line(&request.method, &request.uri, &request.protocol);
    for (name, value) in &request.headers {
        transaction.header(name, value);
    }
    let _ = transaction.request_headers();
    transaction.body_chunk(&request.body);
    let _ = transaction.request_body();
    if let Some(response) = &request.response {
        transaction.response_line(response.status, b"HTTP/1.1");
        for (name, value) in &response.headers {
            transaction.response_header(name, value);
        }
        let _ = transaction.response_headers();
        transaction.response_chunk(&response.body);
        let _ = transaction.response_body();
    }
    transaction.logging();
    transaction
}
