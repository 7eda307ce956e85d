//! The access record: one for each request, whatever happens to it, to the disk, or to the process.

use crate::{
    client::{Client, head},
    harness::{Gateway, Prepared, until},
    origin::Origin,
};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Every line of a file; fails where one is not JSON. The last one may not have been written to its end yet.
fn records(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    text[..whole]
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("torn: {line}")))
        .collect()
}

/// Starts a gateway on this alone.
fn start(conf: &str) -> Gateway {
    let prepared = Prepared::empty();
    prepared.write("main.yaml", conf);
    prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref())
}

#[test]
fn one_record_for_each_request_whatever_becomes_of_it() {
    const THREADS: usize = 6;
    const ROUNDS: usize = 20;
    // An origin that takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let conf = "
upstreams: {silent: {targets: [{address: SILENT}]}}
routes:
  ok: {paths: [/ok/*], plugins: {request-termination: {status_code: 204}}}
  key: {paths: [/key/*], upstream: demo, plugins: {key-auth: {}}}
  silent: {paths: [/silent/*], upstream: silent}
  body: {paths: [/body/*], methods: [POST], upstream: silent}
"
    .replace("SILENT", &silent.local_addr().unwrap().to_string());
    let mut gateway = Gateway::start(&conf);
    let address = gateway.address();
    // Ends with the test: nobody waits for it.
    std::thread::spawn(move || silent.incoming().map_while(Result::ok).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let path = |kind: &str| format!("/{kind}/{thread}/{round}");
                    let mut client = Client::connect(address);
                    client.request("GET", &path("ok"), &[]).expect(204);
                    client.request("GET", &path("nothing"), &[]).expect(404);
                    client.request("GET", &path("key"), &[]).expect(401);
                    client.request("GET", &path("edge"), &["Host: a", "Host: b"]).expect(400);
                    // Two that leave: before an answer, and in the middle of a body.
                    let mut client = Client::connect(address);
                    client.send(head("GET", &path("silent"), &[]));
                    client.abort();
                    let mut client = Client::connect(address);
                    client.send(head("POST", &path("body"), &["Content-Length: 100"]) + "ten bytes.");
                    client.abort();
                }
            });
        }
    });
    let count = THREADS * ROUNDS * 6;
    gateway.audit(count);
    gateway.terminate();
    assert!(gateway.wait().success());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut statuses: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for record in records(&gateway.state().join("audit.jsonl")) {
        let path = record["path"].as_str().unwrap().to_owned();
        let kind = path.split('/').nth(1).unwrap().to_owned();
        *statuses.entry((kind, record["status"].as_u64().unwrap())).or_default() += 1;
        *seen.entry(path).or_default() += 1;
    }
    assert_eq!(seen.len(), count);
    assert!(seen.values().all(|times| *times == 1), "{seen:#?}");
    let expected =
        [("body", 499), ("edge", 400), ("key", 401), ("nothing", 404), ("ok", 204), ("silent", 499)];
    let expected = expected.map(|(kind, status)| ((kind.to_owned(), status), THREADS * ROUNDS));
    assert_eq!(statuses, BTreeMap::from(expected));
}

#[test]
fn a_record_says_who_asked_whom_for_how_much_and_how_long_it_took() {
    let origin = Origin::start(|request| request.answer(200, "an answer"));
    let gateway = Gateway::start(&format!(
        "
client_ip: {{trusted_proxies: [127.0.0.0/8], header: x-forwarded-for}}
upstreams: {{raw: {{targets: [{{address: '{}'}}]}}}}
routes: {{any: {{paths: ['/things/{{id}}'], upstream: raw}}}}
",
        origin.address
    ));
    let fields = ["Host: Shop.Test:8080", "Content-Length: 5", "x-forwarded-for: 192.0.2.9"];
    let request = head("POST", "/things/7?token=secret", &fields) + "hello";
    gateway.connect().send(request).response().expect(200);
    let line = &gateway.audit(1)[0];
    let expected = serde_json::json!({
        "route": "any", "upstream": "raw", "method": "POST", "host": "shop.test", "path": "/things/7",
        "params": {"id": "7"}, "protocol": "HTTP/1.1", "client": "192.0.2.9", "listener": "public", "status": 200,
        "request_bytes": 5, "response_bytes": 9, "upstream_address": origin.address.to_string(), "attempts": 1,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(line[name], *value, "{name}: {line:#}");
    }
    assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line:#}");
    let (upstream, whole) = (line["upstream_us"].as_u64().unwrap(), line["duration_us"].as_u64().unwrap());
    assert!(upstream > 0 && upstream <= whole, "{line:#}");
    assert!(!line.to_string().contains("secret"), "{line:#}");
}

#[test]
fn what_was_sent_and_came_is_counted_for_the_record() {
    let broken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = broken.local_addr().unwrap();
    let gateway = Gateway::start(
        &"
upstreams: {broken: {targets: [{address: BROKEN}]}}
consumers: {guest: {}}
routes:
  echo: {paths: [/echo/*], upstream: demo, plugins: {key-auth: {anonymous: guest}}}
  broken: {paths: [/broken], upstream: broken}
"
        .replace("BROKEN", &address.to_string()),
    );
    // It takes connections and says nothing that is HTTP.
    std::thread::spawn(move || {
        for tcp in broken.incoming().map_while(Result::ok) {
            let _ = (&tcp).write_all(b"nonsense\r\n\r\n");
        }
    });
    let mut client = gateway.connect();
    client.send(head("POST", "/echo/a", &["Content-Length: 5"]) + "hello");
    let echo = client.response().expect(200);
    let refused = gateway.request("GET", "/echo/b", &["apikey: wrong"]).expect(401);
    gateway.request("GET", "/echo/c", &["apikey: alice-key"]).expect(200);
    gateway.get("/broken").expect(502);
    let lines = gateway.audit(4);
    let of = |path: &str| lines.iter().find(|line| line["path"] == path).unwrap();
    let passed = of("/echo/a");
    assert_eq!((&passed["request_bytes"], &passed["response_bytes"]), (&5.into(), &echo.body.len().into()));
    assert_eq!((&passed["attempts"], &passed["error"]), (&1.into(), &Value::Null), "{passed}");
    assert_eq!((&passed["consumer"], &passed["anonymous"]), (&"guest".into(), &true.into()), "{passed}");
    let (origin, whole) = (passed["upstream_us"].as_u64().unwrap(), passed["duration_us"].as_u64().unwrap());
    assert!(0 < origin && origin <= whole, "{passed}");
    let own = of("/echo/b");
    assert_eq!((&own["request_bytes"], &own["response_bytes"]), (&0.into(), &refused.body.len().into()));
    assert!(own.get("attempts").is_none() && own.get("upstream_us").is_none(), "{own}");
    let known = of("/echo/c");
    assert_eq!(known["credential"].as_str().map(str::len), Some(12), "{known}");
    assert!(known.get("anonymous").is_none(), "{known}");
    assert!(
        known["decisions"].as_array().unwrap().iter().any(|one| one["ns"].as_u64().unwrap() > 0),
        "{known}"
    );
    let failed = of("/broken");
    assert!(failed["error"].is_string() && failed["attempts"].as_u64() >= Some(1), "{failed}");
}

#[test]
fn no_request_is_served_while_its_record_cannot_be_written() {
    let gateway = Gateway::start(
        "
plugins: {'audit#strict': {file: log/strict.jsonl, on_full: deny, flush: 1ms}}
routes: {any: {paths: [/*], plugins: {request-termination: {status_code: 204}}}}
",
    );
    let (log, file) = (gateway.state().join("log"), gateway.state().join("log/strict.jsonl"));
    gateway.get("/before").expect(204);
    until("the first record", || (records(&file).len() == 1).then_some(()));
    fs::remove_dir_all(&log).unwrap();
    // Those that were admitted before it was known have their record coming.
    let mut count = 0;
    let refused = until("a refusal", || {
        count += 1;
        let answer = gateway.get("/while");
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.reason(), "audit_unavailable");
    fs::create_dir(&log).unwrap();
    until("an admission", || {
        count += 1;
        (gateway.get("/after").status == 204).then_some(())
    });
    let found = until("the records", || Some(records(&file)).filter(|found| found.len() >= count));
    assert_eq!(found.len(), count);
    assert!(found.iter().all(|record| record["path"] != "/before"));
    assert!(gateway.log().contains("cannot be written"));
}

#[test]
fn what_is_lost_is_counted_in_the_metrics() {
    let gateway = Gateway::start(
        "
admin: {address: 127.0.0.1:0}
plugins: {'audit#full': {file: /dev/full, queue: 64KiB, flush: 1ms}}
routes: {any: {paths: [/*], plugins: {request-termination: {status_code: 204}}}}
",
    );
    let path = format!("/{}", "x".repeat(1500));
    let mut count = 0;
    let metrics =
        || Client::connect(gateway.at("admin")).request("GET", "/metrics", &["Host: 127.0.0.1"]).text();
    let of = |text: &str, event: &str| -> u64 {
        let series = format!("palisade_plugin_events_total{{event=\"{event}\",plugin=\"audit#full\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |value| value.parse().unwrap())
    };
    let text = until("lost records", || {
        count += 1;
        gateway.get(&path).expect(204);
        let text = metrics();
        (of(&text, "records_lost") > 0).then_some(text)
    });
    assert!(of(&text, "write_failures") > 0);
    assert!(of(&text, "records_lost") < count);
    // The other record has them all.
    gateway.audit(usize::try_from(count).unwrap());
}

#[test]
fn a_renamed_file_is_opened_again_on_sigusr1() {
    let gateway =
        Gateway::start("routes: {any: {paths: [/*], plugins: {request-termination: {status_code: 204}}}}");
    let (file, old) = (gateway.state().join("audit.jsonl"), gateway.state().join("audit.jsonl.old"));
    gateway.get("/one").expect(204);
    gateway.audit(1);
    fs::rename(&file, &old).unwrap();
    gateway.signal(rustix::process::Signal::USR1);
    gateway.wait_for_log("was opened again", 1);
    assert!(file.exists());
    gateway.get("/two").expect(204);
    assert_eq!(gateway.audit(1)[0]["path"], "/two");
    assert_eq!(records(&old).len(), 1);
}

#[test]
fn a_reload_keeps_the_writer_of_a_file_and_closes_what_is_gone() {
    let route = "routes: {any: {paths: [/*], plugins: {request-termination: {status_code: 204}}}}";
    // Its lines would wait for a minute if the reload did not write them.
    let gateway =
        Gateway::start(&format!("plugins: {{'audit#more': {{file: more.jsonl, flush: 60s}}}}\n{route}"));
    for _ in 0..10 {
        gateway.get("/").expect(204);
    }
    gateway.rewrite(route);
    gateway.hangup("is serving");
    gateway.get("/").expect(204);
    let more = gateway.state().join("more.jsonl");
    until("what the removed sink had", || (records(&more).len() == 10).then_some(()));
    gateway.audit(11);
}

#[test]
fn a_killed_process_leaves_whole_lines_and_the_next_one_goes_on() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("audit.jsonl");
    let conf = "
version: 1
state_dir: DIR
listeners: {public: {address: 127.0.0.1:0}}
plugins: {audit: {file: audit.jsonl, flush: 10ms}}
routes: {any: {paths: [/*], plugins: {request-termination: {status_code: 204}}}}
"
    .replace("DIR", &state.path().display().to_string());
    let start = || start(&conf);
    for round in 0..3 {
        let gateway = start();
        let address = gateway.address();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // Until the other side is gone.
                let mut stream = TcpStream::connect(address).unwrap();
                let request = head("GET", &format!("/{round}"), &[]);
                while stream.write_all(request.as_bytes()).is_ok() {
                    if !stream.read(&mut [0; 1000]).is_ok_and(|count| count > 0) {
                        break;
                    }
                }
            });
            let written =
                || fs::read_to_string(&file).unwrap_or_default().matches(&format!("\"/{round}\"")).count();
            until("two hundred records", || (written() >= 200).then_some(()));
            // Killed by its id, in the middle of its work.
            drop(gateway);
        });
        // A crash of the machine, or a kill between two pages of a write, would leave this.
        let mut text = fs::read_to_string(&file).unwrap();
        let whole = text.rfind('\n').unwrap() + 1;
        let torn = format!("{{\"time\":\"torn in {round}");
        text.truncate(whole);
        fs::write(&file, text + &torn).unwrap();
    }
    let gateway = start();
    gateway.get("/end").expect(204);
    let found = until("the last record", || {
        let text = fs::read_to_string(&file).unwrap();
        text.contains("/end").then(|| records(&file))
    });
    let torn: Vec<_> = found.iter().filter(|record| record["event"] == "line_torn").collect();
    assert_eq!(torn.len(), 3);
    assert_eq!(torn[0]["text"], "{\"time\":\"torn in 0");
    for round in 0..3 {
        let path = format!("/{round}");
        assert!(found.iter().filter(|record| record["path"] == path).count() >= 200);
    }
}

#[test]
fn a_kill_loses_the_flush_window_at_most() {
    is_killed_and_loses_little("");
}

#[test]
fn a_kill_of_one_that_serves_nothing_unrecorded_loses_no_more() {
    is_killed_and_loses_little(", on_full: deny, sync: true");
}

/// Much longer than the configuration says, and much shorter than what a window that is not kept would take.
const SOON: Duration = Duration::from_secs(5);

/// Asks until nobody answers, and notes what was answered.
fn load(address: SocketAddr, client: usize, answered: &Mutex<Vec<String>>) {
    let mut stream = TcpStream::connect(address).unwrap();
    for number in 0.. {
        let path = format!("/{client}/{number}");
        let whole = stream.write_all(head("GET", &path, &[]).as_bytes()).is_ok()
            && stream.read(&mut [0; 1000]).is_ok_and(|count| count > 0);
        if !whole {
            break;
        }
        answered.lock().push(path);
        // So slowly that no batch is ever full: only the window makes it be written.
        std::thread::sleep(Duration::from_millis(150));
    }
}

/// The paths of the records that are whole.
fn recorded(file: &Path) -> Vec<String> {
    records(file).iter().map(|record| record["path"].as_str().unwrap().to_owned()).collect()
}

fn is_killed_and_loses_little(more: &str) {
    const CLIENTS: usize = 2;
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("audit.jsonl");
    let conf = "
version: 1
state_dir: DIR
listeners: {public: {address: 127.0.0.1:0}}
plugins: {audit: {file: audit.jsonl, flush: 100msMORE}}
routes: {any: {paths: [/*], plugins: {request-termination: {status_code: 204}}}}
"
    .replace("MORE", more)
    .replace("DIR", &state.path().display().to_string());
    let start = || start(&conf);
    let mut gateway = start();
    let address = gateway.address();
    let answered = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let answered = answered.clone();
            std::thread::spawn(move || load(address, client, &answered))
        })
        .collect();
    // A machine that is held up delays one or two of them, and not all.
    let (mut fastest, mut due) = (Duration::MAX, Vec::new());
    for _ in 0..5 {
        let enough = due.len() + 4;
        due = until("more answers", || Some(answered.lock().clone()).filter(|all| all.len() >= enough));
        let begun = Instant::now();
        until("the records of what was answered", || {
            let recorded = recorded(&file);
            due.iter().all(|path| recorded.contains(path)).then_some(())
        });
        fastest = fastest.min(begun.elapsed());
    }
    assert!(fastest < SOON, "{fastest:?}");
    gateway.signal(rustix::process::Signal::KILL);
    gateway.wait();
    clients.into_iter().for_each(|client| client.join().unwrap());
    // Whoever reads the file now skips at most a part of a line, at its end.
    let recorded = recorded(&file);
    let once: std::collections::HashSet<&String> = recorded.iter().collect();
    assert_eq!(once.len(), recorded.len(), "a record stands there twice");
    let lost: Vec<_> = due.iter().filter(|path| !once.contains(path)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {:?}", lost.len(), due.len(), lost.first());
    // The next process leaves no torn line.
    let gateway = start();
    gateway.get("/end").expect(204);
    until("the last record", || {
        let found = records(&file);
        found.iter().any(|record| record["path"] == "/end").then_some(())
    });
}
