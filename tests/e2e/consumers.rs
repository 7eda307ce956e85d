//! Consumers outside of the configuration: in a directory that is watched, and in a store.

use crate::{
    client::Client,
    harness::{Gateway, until},
    ports::Port,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const ROUTES: &str = "
admin: {address: 127.0.0.1:0}
routes:
  keyed: {paths: [/echo/*], upstream: demo, plugins: {key-auth: {}}}
  gold: {paths: [/echo/gold], upstream: demo, plugins: {key-auth: {}, acl: {allow: [platinum]}}}
";

fn palisade(dir: &Path, arguments: &[&str]) -> Output {
    let binary = env!("CARGO_BIN_EXE_palisade");
    let mut command = Command::new(binary);
    command.arg("consumers").args(arguments).args(["--conf", "conf"]).current_dir(dir).stdin(Stdio::null());
    command.output().unwrap()
}

/// What a command prints as JSON.
fn done(gateway: &Gateway, arguments: &[&str]) -> Value {
    let output = palisade(gateway.dir(), &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Adds or rotates: gives the key.
fn key(gateway: &Gateway, arguments: &[&str]) -> String {
    done(gateway, arguments)["key"].as_str().unwrap().to_owned()
}

fn ask(gateway: &Gateway, path: &str, key: &str) -> (u16, String) {
    let answer = gateway.request("GET", path, &[&format!("apikey: {key}")]);
    let text = answer.text();
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    (answer.status, document["reason"].as_str().unwrap_or_default().to_owned())
}

fn status(gateway: &Gateway, key: &str) -> u16 {
    ask(gateway, "/echo/x", key).0
}

fn admin(gateway: &Gateway, path: &str) -> String {
    Client::connect(gateway.at("admin")).request("GET", path, &["Host: localhost"]).expect(200).text()
}

fn source(gateway: &Gateway) -> Value {
    let status: Value = serde_json::from_str(&admin(gateway, "/config/status")).unwrap();
    status["consumer_source"].clone()
}

/// A gateway on a directory of consumers, with one line in it.
fn on_directory(more: &str) -> Gateway {
    let prepared =
        Gateway::prepare(&format!("{ROUTES}\nwatch: true\nconsumer_source: {{directory: keys{more}}}\n"));
    prepared.write("keys/first.jsonl", "{\"name\":\"carol\",\"groups\":[\"platinum\"]}\n");
    prepared.start(Path::new(env!("CARGO_BIN_EXE_palisade")))
}

#[test]
fn a_directory_is_seen_to_change_without_a_reload() {
    let gateway = on_directory("");
    let first = key(&gateway, &["add", "dave", "--group", "platinum", "--id", "laptop"]);
    until("the new key", || (status(&gateway, &first) == 200).then_some(()));
    assert_eq!(ask(&gateway, "/echo/gold", &first).0, 200);
    // Keys of the configuration go on to work.
    assert_eq!((status(&gateway, "alice-key"), status(&gateway, "wrong")), (200, 401));
    assert_eq!(ask(&gateway, "/echo/gold", "alice-key").0, 403);
    let echo = gateway.request("GET", "/echo/x", &[&format!("apikey: {first}")]).text();
    assert!(echo.contains("dave") && echo.contains("platinum") && echo.contains("laptop"), "{echo}");
    assert!(!echo.contains(&first), "{echo}");
    let second = key(&gateway, &["rotate", "dave", "--overlap", "1h"]);
    until("the second key", || (status(&gateway, &second) == 200).then_some(()));
    assert_eq!(status(&gateway, &first), 200);
    // Another one at once, without an overlap.
    let third = key(&gateway, &["rotate", "dave"]);
    until("the third key", || (status(&gateway, &third) == 200).then_some(()));
    assert_eq!(ask(&gateway, "/echo/x", &first), (401, "credential_unknown".to_owned()));
    assert_eq!(status(&gateway, &second), 401);
    assert_eq!(done(&gateway, &["revoke", "dave"])["revoked"], 1);
    until("the end of the key", || (status(&gateway, &third) == 401).then_some(()));
    let known = source(&gateway);
    assert_eq!(
        (&known["ok"], &known["consumers"], &known["credentials"]),
        (&true.into(), &1.into(), &0.into())
    );
    // None of it was a reload of the configuration, although that is watched too and the directory is below it. What was
    // written just before the start counts as one change.
    assert!(gateway.log().matches("files have changed").count() <= 1, "{}", gateway.log());
    let all =
        format!("{}{}{}", gateway.log(), admin(&gateway, "/metrics"), admin(&gateway, "/config/status"));
    assert!([first, second, third].iter().all(|key| !all.contains(key)), "{all}");
}

#[test]
fn a_broken_file_keeps_what_was_read_before_and_says_so() {
    let gateway = on_directory("");
    let dave = key(&gateway, &["add", "dave"]);
    let erin = key(&gateway, &["add", "erin"]);
    until("both keys", || (status(&gateway, &dave) == 200 && status(&gateway, &erin) == 200).then_some(()));
    let keys = gateway.dir().join("conf/keys");
    let of = |name: &str| {
        let all = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path());
        let has =
            |path: &std::path::PathBuf| fs::read_to_string(path).unwrap().contains(&format!("\"{name}\""));
        all.filter(|path| path.extension().is_some()).find(has).unwrap()
    };
    let good = fs::read_to_string(of("dave")).unwrap();
    let name = of("dave").strip_prefix(gateway.dir().join("conf")).unwrap().display().to_string();
    gateway.put(&name, &format!("{good}{{\"name\":\"hunter2\n"));
    let shown = until("the error", || Some(source(&gateway)).filter(|source| source["ok"] == false));
    assert!(shown["error"].as_str().unwrap().contains(":2:"), "{shown}");
    assert!(admin(&gateway, "/metrics").contains("palisade_consumer_source_ok 0"));
    gateway.wait_for_log("what was read before goes on to hold", 1);
    assert_eq!((status(&gateway, &dave), status(&gateway, &erin)), (200, 200));
    // A command changes no file that the gateway would not take, and others at once.
    let refused = palisade(gateway.dir(), &["revoke", "dave"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains(":2:"), "{said}");
    done(&gateway, &["revoke", "erin"]);
    until("the end of the other key", || (status(&gateway, &erin) == 401).then_some(()));
    // A reload takes all or nothing.
    gateway.hangup("was not reloaded");
    assert_eq!((status(&gateway, &dave), status(&gateway, "alice-key")), (200, 200));
    gateway.put(&name, &good);
    until("the end of the error", || (source(&gateway)["ok"] == true).then_some(()));
    assert!(admin(&gateway, "/metrics").contains("palisade_consumer_source_ok 1"));
    gateway.hangup("is serving");
    assert_eq!((status(&gateway, &dave), status(&gateway, &erin)), (200, 401));
    let all = format!("{}{}", gateway.log(), admin(&gateway, "/config/status"));
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn what_the_configuration_has_cannot_be_had_again() {
    let gateway = on_directory(", watch: false");
    let refused = palisade(gateway.dir(), &["add", "alice"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(1) && said.contains("a consumer of the configuration"), "{said}");
    // Nobody looks: a reload does.
    let dave = key(&gateway, &["add", "dave"]);
    assert_eq!(status(&gateway, &dave), 401);
    gateway.hangup("is serving");
    assert_eq!(status(&gateway, &dave), 200);
    gateway.put("keys/second.jsonl", "{\"name\":\"alice\"}\n");
    gateway.hangup("was not reloaded");
    assert!(
        gateway.log().contains("keys/second.jsonl:1:1: the consumer `alice` is written twice"),
        "{}",
        gateway.log()
    );
    assert_eq!((status(&gateway, &dave), status(&gateway, "alice-key")), (200, 200));
}

/// A redis-server. It is killed when this is dropped.
struct Redis(Child, u16);

impl Redis {
    fn start(port: u16) -> Redis {
        let port_text = port.to_string();
        let arguments = ["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let mut command = Command::new("redis-server");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Redis(command.spawn().expect("redis-server: apt-get install redis-server"), port)
    }

    fn cli(&self, arguments: &[&str]) -> String {
        until("redis-cli", || {
            let port = self.1.to_string();
            let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            (output.status.success() && !text.is_empty()).then_some(text)
        })
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn on_store(port: u16, staleness: &str, timeout: &str) -> Gateway {
    Gateway::start(&format!(
        "{ROUTES}
stores: {{main: {{redis: 'redis://127.0.0.1:{port}', timeout: {timeout}}}}}
consumer_source: {{store: main, prefix: 'test:', staleness: {staleness}}}
"
    ))
}

#[test]
fn a_store_is_asked_and_what_it_said_holds_for_staleness() {
    let held = Port::free();
    let port = held.number();
    let gateway = on_store(port, "1s", "5s");
    // Down at the start: nobody is let in who would have to be asked for.
    let down = || ask(&gateway, "/echo/x", "no such key");
    assert_eq!((down().1.as_str(), status(&gateway, "alice-key")), ("store_unavailable", 200));
    let redis = Redis::start(port);
    until("the store", || (down().0 == 401).then_some(()));
    let dave = key(&gateway, &["add", "dave", "--group", "platinum", "--id", "laptop"]);
    until("the key", || (status(&gateway, &dave) == 200).then_some(()));
    assert_eq!(ask(&gateway, "/echo/gold", &dave).0, 200);
    let list = done(&gateway, &["list"]);
    assert_eq!((&list[0]["name"], &list[0]["keys"][0]["id"]), (&"dave".into(), &"laptop".into()));
    let other = key(&gateway, &["rotate", "dave", "--overlap", "1h"]);
    assert_eq!((status(&gateway, &dave), status(&gateway, &other)), (200, 200));
    assert_eq!(done(&gateway, &["revoke", "dave", "--id", "laptop"])["revoked"], 1);
    until("the end of the key", || (status(&gateway, &dave) == 401).then_some(()));
    assert_eq!(status(&gateway, &other), 200);
    let stands = redis.cli(&["--raw", "KEYS", "*"]);
    assert!(stands.contains("test:consumer:dave") && !stands.contains("lock"), "{stands}");
    done(&gateway, &["revoke", "dave"]);
    until("the end of all", || (status(&gateway, &other) == 401).then_some(()));
    assert_eq!(done(&gateway, &["list"]), Value::Array(vec![]));
    let metrics = admin(&gateway, "/metrics");
    assert!(metrics.contains("palisade_consumer_source_events_total{event=\"cached\"}"), "{metrics}");
    assert_eq!(source(&gateway)["kind"], "store");
    let all = format!("{}{metrics}{stands}", gateway.log());
    assert!(!all.contains(&dave) && !all.contains(&other), "{all}");
}

#[test]
fn past_staleness_a_store_that_is_gone_or_talks_nonsense_lets_nobody_in() {
    let port = Port::free();
    let mut redis = Redis::start(port.number());
    let gateway = on_store(redis.1, "200ms", "2s");
    until("the store", || (status(&gateway, "no such key") == 401).then_some(()));
    let dave = key(&gateway, &["add", "dave"]);
    let hash = redis.cli(&["--raw", "KEYS", "test:key:*"]).trim().to_owned();
    let good = redis.cli(&["--raw", "GET", &hash]).trim().to_owned();
    let eventually = |what: &str, statuses: &[u16]| {
        until(what, || Some(ask(&gateway, "/echo/x", &dave)).filter(|(status, _)| statuses.contains(status)));
    };
    eventually("the key", &[200]);
    for nonsense in ["nonsense", "{\"name\":\"dave\",\"admin\":true}", "{\"name\":\"a b\"}"] {
        redis.cli(&["SET", &hash, nonsense]);
        eventually(nonsense, &[502]);
        redis.cli(&["SET", &hash, &good]);
        eventually("the key", &[200]);
    }
    // A record that says to be one of the configuration's consumers is nobody's.
    redis.cli(&["SET", &hash, "{\"name\":\"alice\"}"]);
    eventually("a name that is taken", &[401]);
    redis.cli(&["DEL", &hash]);
    redis.cli(&["LPUSH", &hash, "x"]);
    eventually("another type", &[502]);
    redis.cli(&["DEL", &hash]);
    redis.cli(&["SET", &hash, &good]);
    eventually("the key", &[200]);
    // Hung: requests wait for the store's time at most, and soon not even that.
    redis.signal(Signal::STOP);
    eventually("the refusal", &[502, 503, 504]);
    until("the breaker", || {
        Some(ask(&gateway, "/echo/x", &dave)).filter(|found| found.1 == "store_unavailable")
    });
    let mut times: Vec<_> = (0..20)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(status(&gateway, &dave), 503);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    // The half of them at least, on whatever machine.
    assert!(times[10] < Duration::from_secs(2), "{times:?}");
    redis.signal(Signal::CONT);
    eventually("the key again", &[200]);
    redis.0.kill().unwrap();
    redis.0.wait().unwrap();
    eventually("the refusal", &[502, 503, 504]);
    assert_eq!(status(&gateway, "alice-key"), 200);
    let output = palisade(gateway.dir(), &["list"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("is down"), "{said}");
    // It comes back empty: a key that nobody has.
    let _back = Redis::start(redis.1);
    eventually("an empty store", &[401]);
    assert!(!gateway.log().contains(&dave), "{}", gateway.log());
}
