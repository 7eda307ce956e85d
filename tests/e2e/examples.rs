//! Every configuration in `conf/` starts and does what its comments say.
//!
//! A line `# e2e: METHOD PATH [HEADER: VALUE] -> STATUS` in one of an example's files is a request and the status
//! that it must get, at the listener `public`, or at the first one where none has that name. `TOKEN({…})` in a header
//! stands for a token with these claims, signed by the bank of the payments example.

use crate::{
    client::Client,
    harness::{Gateway, Prepared},
    tokens::Signer,
};
use regex::Regex;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_example_serves_what_it_says() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut examples = vec![conf.clone()];
    if let Ok(entries) = fs::read_dir(conf.join("examples")) {
        examples.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()));
    }
    for example in examples {
        serve(&example);
    }
}

fn serve(example: &Path) {
    let prepared = Prepared::empty();
    let mut expected = Vec::new();
    for file in files(example) {
        let name = file.strip_prefix(example).unwrap().to_str().unwrap();
        let Ok(text) = fs::read_to_string(&file) else { continue };
        expected
            .extend(text.lines().filter_map(|line| line.trim().strip_prefix("# e2e: ")).map(str::to_owned));
        prepared.write(name, &without_ports(&text));
    }
    let shown = example.display();
    assert!(!expected.is_empty(), "{shown}: no line `# e2e: METHOD PATH [HEADER: VALUE] -> STATUS`");
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let address = listener(&gateway);
    for line in expected {
        let (request, status) = line.split_once(" -> ").unwrap_or_else(|| panic!("{shown}: `{line}`"));
        let mut words = request.splitn(3, ' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else { panic!("{shown}: `{line}`") };
        let headers: Vec<String> = words.map(with_token).collect();
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = Client::connect(address).request(method, path, &headers);
        assert_eq!(answer.status.to_string(), status.trim(), "{shown}: `{line}`: {}", answer.text());
    }
}

/// Puts a token in the place of `TOKEN({…})`.
fn with_token(header: &str) -> String {
    let Some((before, claims)) = header.strip_suffix(')').and_then(|header| header.split_once("TOKEN("))
    else {
        return header.to_owned();
    };
    let now = Signer::now();
    let mut all = json!({
        "iss": "https://bank.example", "sub": "clerk-7", "aud": "payments", "iat": now, "exp": now + 600,
    });
    let claims: Value = serde_json::from_str(claims).unwrap();
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let signer = Signer::of_pem(include_str!("example-key.pem"));
    format!("{before}{}", signer.token("bank-2026", &all))
}

fn listener(gateway: &Gateway) -> std::net::SocketAddr {
    let mut all = gateway.ports().iter().filter(|(name, _)| name.starts_with("listener "));
    let public = gateway.ports().get("listener public");
    *public.unwrap_or_else(|| all.next().unwrap().1)
}

/// The files of an example; those of other examples below it are none of them.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "examples" && name != "var" {
            all.extend(files(&path));
        } else if path.is_file() {
            all.push(path);
        }
    }
    all
}

/// Examples name real ports; here the system chooses. The ports of targets stay.
fn without_ports(text: &str) -> String {
    let port = Regex::new(r"\b(address|probes):([^#\n]*?):\d{2,5}\b").unwrap();
    let mut section = "";
    let mut out = String::new();
    for line in text.lines() {
        if let Some((key, _)) = line.split_once(':').filter(|_| line.starts_with(char::is_alphabetic)) {
            section = key;
        }
        if matches!(section, "listeners" | "admin") {
            out.push_str(&port.replace_all(line, "$1:$2:0"));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}
