//! Every configuration in `conf/` starts and does what its comments say.
//!
//! A line `# e2e: METHOD PATH [HEADER: VALUE] -> STATUS` in one of an example's files is a request and the status
//! that it must get, at the listener `public`, or at the first one where none has that name. `TOKEN({…})` in a header
//! stands for a token with these claims, signed by the bank of the payments example.

use crate::{
    client::{Client, head},
    harness::{Gateway, Prepared, until},
    signer::Signer,
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
    let (gateway, expected) = start(example);
    let shown = example.display();
    assert!(!expected.is_empty(), "{shown}: no line `# e2e: METHOD PATH [HEADER: VALUE] -> STATUS`");
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

/// An example of `conf/examples`, started.
pub fn named(example: &str) -> Gateway {
    start(&Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/examples").join(example)).0
}

/// The lines of an example's access record that are there so far.
fn record(gateway: &Gateway, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(gateway.state().with_file_name("var").join(file)).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn patient_records_says_who_saw_what_when_from_where_and_with_what_outcome() {
    let gateway = named("patient-records");
    let ask = |method: &str, key: &str| {
        gateway.request(method, "/profiles/alice", &[&format!("x-clinic-key: {key}")])
    };
    ask("GET", "clinic-key-of-dr-may").expect(200);
    ask("PUT", "clinic-key-of-reception").expect(403);
    let lines =
        until("the record", || Some(record(&gateway, "access.jsonl")).filter(|lines| lines.len() == 2));
    let line = |status: u64| lines.iter().find(|line| line["status"] == status).unwrap();
    let (seen, refused) = (line(200), line(403));
    for (line, fields) in [
        (
            seen,
            json!({
                "principal": "dr-may", "consumer": "dr-may", "credential": "dr-may-2026", "method": "GET",
                "route": "read-record", "path": "/profiles/alice", "params": {"name": "alice"},
                "client": "127.0.0.1", "listener": "public",
            }),
        ),
        (
            refused,
            json!({
                "principal": "reception", "consumer": "reception", "method": "PUT", "route": "change-record",
                "params": {"name": "alice"}, "client": "127.0.0.1", "reason": "rbac_denied",
            }),
        ),
    ] {
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(line[name], *value, "{name}: {line:#}");
        }
        assert!(line["time"].as_str().unwrap().ends_with('Z') && line["duration_us"].is_u64(), "{line:#}");
        let text = line["decisions"].to_string();
        assert!(text.contains("key-auth") && text.contains("rbac"), "{line:#}");
        assert!(!line.to_string().contains("clinic-key"), "{line:#}");
    }
    // Nobody sees a record while that cannot be written down.
    fs::remove_dir_all(gateway.state().with_file_name("var")).unwrap();
    let refused = until("a refusal", || {
        let answer = ask("GET", "clinic-key-of-dr-may");
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.reason(), "audit_unavailable");
}

#[test]
fn a_social_network_is_not_read_from_one_address() {
    let gateway = named("social-profiles");
    let mut client = gateway.connect();
    client.request("GET", "/profiles/alice", &[]).expect(200);
    // All at once, and what costs least, as it counts on all routes together: how fast a client is that waits for answers
    // depends on the machine.
    client.send(head("GET", "/nothing", &[]).repeat(1000));
    let (count, refused) = (2..1000)
        .map(|count| (count, client.response()))
        .find(|(_, answer)| answer.status == 429)
        .expect("a refusal");
    assert_eq!(refused.reason(), "rate_limited");
    let policy = refused.header("ratelimit-policy").unwrap();
    assert!(count > 40 && policy.contains("\"address-rate\";q=40"), "{count} {policy}");
    let line = until("its record", || {
        record(&gateway, "audit.jsonl").into_iter().find(|line| line["status"] == 429)
    });
    assert!(line["decisions"].to_string().contains("rate-limiting#address"), "{line:#}");
}

#[test]
fn payments_are_made_with_all_claims_that_are_required() {
    let gateway = named("payments");
    for (claims, status, reason) in [
        (json!({"tenant": "acme", "scope": "payments:read"}), 200, ""),
        (json!({"scope": "payments:read"}), 401, "token_claim_missing"),
        (json!({"tenant": "acme"}), 401, "token_claim_missing"),
        (json!({"tenant": "acme", "scope": "payments:read", "sub": null}), 401, "token_claim_invalid"),
        (json!({"tenant": null, "scope": "payments:read"}), 401, "token_claim_missing"),
        (json!({"tenant": "others", "scope": "payments:read"}), 401, "token_consumer_unknown"),
    ] {
        let header = with_token(&format!("authorization: Bearer TOKEN({claims})"));
        let answer = gateway.request("GET", "/orders", &[&header]).expect(status);
        if status != 200 {
            assert_eq!(answer.reason(), reason, "{claims}");
        }
    }
}

/// Starts an example, and gives the requests that stand in it.
fn start(example: &Path) -> (Gateway, Vec<String>) {
    let prepared = Prepared::empty();
    let mut expected = Vec::new();
    for file in files(example) {
        let name = file.strip_prefix(example).unwrap().to_str().unwrap();
        let Ok(text) = fs::read_to_string(&file) else { continue };
        expected
            .extend(text.lines().filter_map(|line| line.trim().strip_prefix("# e2e: ")).map(str::to_owned));
        prepared.write(name, &without_ports(&text));
    }
    (prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref()), expected)
}

/// Puts a token in the place of `TOKEN({…})`.
pub fn with_token(header: &str) -> String {
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
