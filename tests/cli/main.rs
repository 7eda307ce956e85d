//! The command line, driven as a person would: the built binary, its output, its exit codes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests may panic"
)]

mod consumers;
mod init;
mod policy;
mod two_commands;
mod waf;

use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const COMMANDS: [&str; 16] = [
    "run",
    "upgrade",
    "check",
    "init",
    "demo",
    "hash",
    "consumers",
    "routes",
    "coverage",
    "explain",
    "test",
    "waf",
    "schema",
    "docs",
    "completions",
    "help",
];
const PATIENCE: Duration = Duration::from_secs(30);

fn palisade() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_palisade"));
    command.current_dir(root()).stdin(Stdio::null());
    for name in ["COLUMNS", "PALISADE_LOG", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "PALISADE_ADDRESS"] {
        command.env_remove(name);
    }
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(arguments: &[&str]) -> Output {
    palisade().args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Compares with a file under `tests/golden`, or writes it where `BLESS` is set.
fn golden(name: &str, actual: &str) {
    let file = root().join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, actual).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(actual, expected, "{name} has changed: look at it, then run the test with BLESS=1");
}

#[test]
fn help_is_as_it_was_reviewed() {
    let mut all = stdout(&run(&["--help"]));
    for command in COMMANDS.iter().filter(|command| **command != "help") {
        let help = stdout(&run(&[command, "--help"]));
        assert!(help.contains("\nExample:\n  palisade "), "`{command} --help` shows no example");
        all.push_str(&format!("\n---- {command}\n\n{help}"));
    }
    for command in ["check", "try"] {
        let help = stdout(&run(&["waf", command, "--help"]));
        all.push_str(&format!("\n---- waf {command}\n\n{help}"));
    }
    for command in ["add", "rotate", "revoke", "list"] {
        let help = stdout(&run(&["consumers", command, "--help"]));
        all.push_str(&format!("\n---- consumers {command}\n\n{help}"));
    }
    golden("help.txt", &all);
}

#[test]
fn help_lists_every_command_that_is_tested_here() {
    let help = stdout(&run(&["--help"]));
    let listed: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(listed.iter().all(|command| COMMANDS.contains(command)), "{listed:?}");
    assert_eq!(listed.len(), COMMANDS.len(), "{listed:?}");
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for arguments in [&["guard"][..], &["run", "--no-such"], &["completions", "tcsh"], &["init", "x"], &[]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_bad_configuration_is_exit_code_1_with_every_error() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "version: 1\nlisteners: {public: {address: nowhere}}\nroutes:\n  a: {paths: [/], upstrem: b}\n";
    fs::write(dir.path().join("palisade.yaml"), text).unwrap();
    for command in ["check", "routes", "run"] {
        let output = run(&[command, "--conf", dir.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(output.stdout.is_empty(), "{command}");
        let errors = stderr(&output);
        assert!(errors.contains("palisade.yaml:2:31") && errors.contains("nowhere"), "{errors}");
        assert!(errors.contains("palisade.yaml:4:19") && errors.contains("`upstrem`"), "{errors}");
    }
}

#[test]
fn who_cannot_say_where_it_listens_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let conf = "version: 1\nstate_dir: STATE\nlisteners: {public: {address: 127.0.0.1:0}}\n\
        routes: {a: {paths: [/*], plugins: {request-termination: {}}}}\n";
    let state = dir.path().join("state").display().to_string();
    fs::write(dir.path().join("palisade.yaml"), conf.replace("STATE", &state)).unwrap();
    let mut command = palisade();
    command.args(["run", "--conf"]).arg(dir.path()).arg("--ports-file").arg(dir.path().join("no/such"));
    let mut child = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE, "it runs");
        std::thread::sleep(Duration::from_millis(10));
    };
    let mut said = String::new();
    child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("cannot write `") && said.contains("no/such`"), "{said}");
}

#[test]
fn routes_show_what_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let text = "version: 1
listeners: {public: {address: 127.0.0.1:0}}
upstreams: {api: {targets: [{address: '127.0.0.1:9'}]}}
plugins: {cors: {origins: ['*']}, response-headers: {}}
routes: {a: {paths: [/], upstream: api, plugins: {cors: {mode: off}}}}
consumers: {alice: {plugins: {response-headers: {mode: off}}}}
";
    fs::write(dir.path().join("a.yaml"), text).unwrap();
    let conf = dir.path().to_str().unwrap();
    let table = stdout(&run(&["routes", "--conf", conf]));
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(4).collect()).collect();
    assert_eq!(
        words[2..],
        [
            &["screen", "cors", "off", "route"][..],
            &["transform", "response-headers", "enforce", "everywhere"],
            &["for", "consumer", "alice:"],
            &["transform", "response-headers", "off", "consumer"]
        ]
    );
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&run(&["routes", "--json", "--conf", conf]))).unwrap();
    assert_eq!(json[0]["plugins"][0]["mode"], "off");
    assert_eq!(json[0]["consumers"]["alice"][1]["mode"], "off");
}

#[test]
fn routes_show_the_default_configuration() {
    let table = stdout(&run(&["routes", "--conf", "conf"]));
    // A comment more in a file is no change of the table: of places only the file is compared.
    let without_lines = |line: &str| match line.find(".yaml:") {
        Some(at) => format!("{}.yaml\n", &line[..at]),
        None => format!("{line}\n"),
    };
    golden("routes.txt", &table.lines().map(without_lines).collect::<String>());
}

#[test]
fn a_header_condition_out_of_a_reference_is_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let text = "version: 1\nlisteners: {public: {address: 127.0.0.1:0}}\n\
        upstreams: {api: {targets: [{address: 127.0.0.1:1}]}}\n\
        routes:\n  a: {paths: [/], upstream: api, headers: {x-edge: '${env:EDGE_WORD}', x-api: '2'}}\n";
    fs::write(dir.path().join("palisade.yaml"), text).unwrap();
    for more in [&["--json"][..], &[]] {
        let mut command = palisade();
        command.args(["routes", "--conf"]).arg(dir.path()).args(more).env("EDGE_WORD", "hunter2");
        let shown = stdout(&command.output().unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("[hidden]") && shown.contains('2'), "{shown}");
    }
}

fn hash(input: &[u8]) -> Output {
    let mut child = palisade()
        .arg("hash")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn hash_agrees_with_sha256() {
    let key = "a-long-key-of-more-than-32-characters";
    for input in [key.to_owned(), format!("{key}\n"), format!("{key}\r\n")] {
        let output = hash(input.as_bytes());
        assert_eq!(stdout(&output), format!("key_sha256: {}\n", hex::encode(Sha256::digest(key))));
        assert_eq!(stderr(&output), "");
    }
    let output = hash(b"short");
    assert!(stderr(&output).contains("may be guessed"));
    assert_eq!(stdout(&output), format!("key_sha256: {}\n", hex::encode(Sha256::digest("short"))));
    for bad in [&b""[..], b"\n", b"two\nlines", b" space", b"\xff"] {
        assert_eq!(hash(bad).status.code(), Some(1), "{bad:?}");
    }
}

/// On a terminal of its own, which `script` (of Debian's essential bsdutils) makes.
#[test]
fn hash_does_not_show_what_is_typed() {
    let key = "a-typed-key-of-more-than-32-characters";
    let mut terminal = Command::new("script")
        .args(["-qec", concat!("'", env!("CARGO_BIN_EXE_palisade"), "' hash"), "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut typed, mut seen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = Vec::new();
    // What is typed before the question is asked would be shown.
    while !shown.ends_with(b"not shown.\r\n") {
        let mut byte = [0];
        seen.read_exact(&mut byte).unwrap();
        shown.extend(byte);
    }
    typed.write_all(format!("{key}\n").as_bytes()).unwrap();
    seen.read_to_end(&mut shown).unwrap();
    assert!(terminal.wait().unwrap().success());
    let shown = String::from_utf8(shown).unwrap();
    assert!(shown.contains(&format!("key_sha256: {}", hex::encode(Sha256::digest(key)))), "{shown}");
    assert!(!shown.contains(key), "{shown}");
}

#[test]
fn hash_makes_new_keys() {
    let made = |text: &str| -> (String, String) {
        let mut lines = text.lines();
        let mut value = |name: &str| lines.next().unwrap().strip_prefix(name).unwrap().to_owned();
        (value("key: "), value("key_sha256: "))
    };
    let (first, first_hash) = made(&stdout(&run(&["hash", "--new"])));
    let (second, _) = made(&stdout(&run(&["hash", "--new"])));
    assert_ne!(first, second);
    assert_eq!(first_hash, hex::encode(Sha256::digest(&first)));
}

#[test]
fn the_schema_is_json_and_names_every_plugin() {
    let schema: serde_json::Value = serde_json::from_str(&stdout(&run(&["schema"]))).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let patterns = schema["$defs"]["Plugins"]["patternProperties"].as_object().unwrap();
    for plugin in palisade_plugins::PLUGINS {
        assert!(patterns.contains_key(&format!("^{}(#[a-z0-9_-]+)?$", plugin.name)), "{}", plugin.name);
    }
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(&run(&["completions", shell]));
        for command in COMMANDS {
            assert!(script.contains(command), "{shell} does not complete `{command}`");
        }
    }
}

#[test]
fn the_generated_documents_are_fresh() {
    let output = run(&["docs", "--check"]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn stale_documents_are_found_and_written() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().to_str().unwrap();
    let output = run(&["docs", dir, "--check"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("plugins/key-auth.md"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "`--check` writes nothing");

    stdout(&run(&["docs", dir]));
    stdout(&run(&["docs", dir, "--check"]));
    let plugins = temporary.path().join("plugins");
    fs::copy(plugins.join("key-auth.md"), plugins.join("gone.md")).unwrap();
    fs::write(plugins.join("mine.md"), "written by hand").unwrap();
    let output = run(&["docs", dir, "--check"]);
    assert_eq!(output.status.code(), Some(1), "a page without a plugin is stale");
    assert!(stderr(&output).contains("plugins/gone.md"));

    stdout(&run(&["docs", dir]));
    assert!(!plugins.join("gone.md").exists() && plugins.join("mine.md").exists());
}

/// A child that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_line_that_the_demonstration_prints_does_what_it_says() {
    let temporary = tempfile::tempdir().unwrap();
    let tmp = temporary.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    let ports = temporary.path().join("ports");
    let mut demo = Running(
        palisade()
            .arg("demo")
            .arg("--ports-file")
            .arg(&ports)
            .env("TMPDIR", &tmp)
            .env("PALISADE_ADDRESS", "127.0.0.1:0")
            .env("PALISADE_ADMIN_ADDRESS", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut lines = Vec::new();
    for line in BufReader::new(demo.0.stdout.take().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().contains("tail -f") {
            break;
        }
    }
    let address = address(&ports);
    let curls: Vec<&String> = lines.iter().filter(|line| line.contains("curl -i")).collect();
    assert!(curls.len() >= 5, "{lines:?}");
    for curl in curls {
        let expected: u16 = curl.rsplit("# ").next().unwrap().parse().unwrap();
        assert_eq!(request(&address, curl), expected, "{curl}");
    }
    let pid = rustix::process::Pid::from_child(&demo.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(demo.0.wait().unwrap().success());
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0, "nothing is left behind");
}

fn address(ports: &PathBuf) -> String {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(ports).unwrap_or_default();
        let found = text.lines().find_map(|line| line.strip_prefix("listener public "));
        match found {
            Some(address) if text.ends_with('\n') => return address.to_owned(),
            _ => assert!(begun.elapsed() < PATIENCE, "it does not start"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Does what a line `curl -i [-X METHOD] [-H 'NAME: VALUE']… [-d 'BODY'] URL  # STATUS` says.
fn request(address: &str, curl: &str) -> u16 {
    let quoted: Vec<&str> = curl.split('\'').collect();
    let after = |option: &str| -> Vec<&str> {
        let is = |text: &&[&str]| text[0].trim_end().ends_with(option);
        quoted.windows(2).step_by(2).filter(is).map(|text| text[1]).collect()
    };
    let body = after("-d").concat();
    let method = match curl.split_once("-X ") {
        Some((_, rest)) => rest.split(' ').next().unwrap(),
        None if body.is_empty() => "GET",
        None => "POST",
    };
    let url = curl.split(' ').find(|word| word.starts_with("http://")).unwrap();
    let path = &url["http://".len()..];
    let path = &path[path.find('/').unwrap()..];
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
    for header in after("-H") {
        head.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).unwrap_or_else(|| panic!("no answer to {curl}: {answer}")).parse().unwrap()
}

/// Every example of a plugin's page is part of a configuration that loads, and there is one for each plugin.
#[test]
fn the_examples_in_the_documents_load() {
    for plugin in palisade_plugins::PLUGINS {
        let file = root().join("docs/examples").join(format!("{}.yaml", plugin.name));
        let example = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("example.yaml"), example).unwrap();
        fs::create_dir(dir.path().join("specs")).unwrap();
        let spec = include_str!("../../docs/examples/specs/shop.yaml");
        fs::write(dir.path().join("specs/shop.yaml"), spec).unwrap();
        let rest = "version: 1\nlisteners: {public: {address: 127.0.0.1:0}}\nupstreams: {shop: {targets: [{address: 127.0.0.1:1}]}}\n";
        fs::write(dir.path().join("palisade.yaml"), rest).unwrap();
        let output = run(&["check", "--conf", dir.path().to_str().unwrap()]);
        assert!(output.status.success(), "{}: {}", plugin.name, stderr(&output));
    }
}
