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

/// The demonstration's configuration, started.
fn demonstration() -> Gateway {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let prepared = Prepared::empty();
    for file in files(&conf) {
        let text = fs::read_to_string(&file).unwrap();
        prepared.write(file.strip_prefix(&conf).unwrap().to_str().unwrap(), &without_ports(&text));
    }
    prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref())
}

#[test]
fn the_first_screen_of_the_readme_is_so() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (gateway, mut count) = (demonstration(), 0);
    let quoted = Regex::new(r"-H '([^']*)'").unwrap();
    for line in readme.lines().filter(|line| line.starts_with("curl ")) {
        let (command, said) = line.split_once(" #").unwrap_or((line, ""));
        let mut headers: Vec<&str> =
            quoted.captures_iter(command).map(|found| found.get(1).unwrap().as_str()).collect();
        let method = command.split_once("-X ").map_or("GET", |(_, rest)| rest.split(' ').next().unwrap());
        let url = command.split(' ').find_map(|word| word.strip_prefix("http://127.0.0.1:")).unwrap();
        let (port, path) = url.split_once('/').unwrap();
        let address = match port {
            "8080" => listener(&gateway),
            "9901" => {
                headers.push("Host: 127.0.0.1:9901");
                gateway.at("admin")
            }
            _ => panic!("`{line}`"),
        };
        let answer = Client::connect(address).request(method, &format!("/{path}"), &headers);
        let status = said.trim().split([':', ' ']).next().unwrap_or_default();
        let status = if status.is_empty() { "200" } else { status };
        assert_eq!(answer.status.to_string(), status, "`{line}`: {}", answer.text());
        if let Some((_, wanted)) = command.split_once("| grep ") {
            assert!(answer.text().contains(wanted.trim()), "`{line}`: {}", answer.text());
        }
        if path == "echo" {
            assert!(answer.header("x-palisade-explain").is_some(), "{:?}", answer.headers);
        }
        count += 1;
    }
    assert_eq!(count, 6, "the first screen has lost its lines");
}

#[test]
fn the_demonstration_has_answers_of_all_kinds() {
    let gateway = demonstration();
    let get = |path: &str| Client::connect(listener(&gateway)).request("GET", path, &[]).expect(200);
    get("/slow?ms=10");
    assert_eq!(get("/stream?chunks=3&bytes=10").body.len(), 30);
    let events = get("/sse?count=2&ms=1");
    assert!(events.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")));
    assert!(events.text().matches("data:").count() >= 2, "{}", events.text());
    assert_eq!(get("/bytes/7").body.len(), 7);
    let mut socket = Client::connect(listener(&gateway));
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    assert_eq!(socket.request("GET", "/ws", &upgrade).status, 101);
    Client::connect(listener(&gateway)).request("GET", "/ws", &[]).expect(400);
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
