use super::*;
use bytes::Bytes;
use palisade_contract::{
    CredentialPlace, Decision, Descriptor, Effect, HttpError, Outcome, Tls,
    testkit::{Case, Kit, TestHost, block_on},
};
use parking_lot::Mutex;
use std::time::{Duration, Instant, UNIX_EPOCH};

const DESCRIPTOR: Descriptor = Descriptor::of::<Audit>();

fn lines(yaml: &str, cases: Vec<Case>) -> Vec<serde_json::Value> {
    lines_of(Kit::of(DESCRIPTOR), yaml, cases)
}

fn lines_of(kit: Kit, yaml: &str, cases: Vec<Case>) -> Vec<serde_json::Value> {
    let dir = tempfile::tempdir().unwrap();
    let plugin = kit.state_dir(dir.path()).build(yaml).unwrap();
    for case in cases {
        plugin.run(case).passed();
    }
    flush(Duration::from_secs(60));
    let text = std::fs::read_to_string(dir.path().join("log/audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_line_for_each_request() {
    let hostile = Case::get("/a?apikey=secret").host("exa\"mple\n").header("authorization", "Bearer secret");
    let found = lines("file: log/audit.jsonl", vec![Case::get("/x").principal("alice", &["gold"]), hostile]);
    assert_eq!(found.len(), 2);
    assert_eq!(
        (&found[0]["path"], &found[0]["status"], &found[0]["consumer"]),
        (&"/x".into(), &200.into(), &"alice".into())
    );
    assert_eq!((&found[0]["route"], &found[0]["client"]), (&"_none".into(), &"192.0.2.1".into()));
    assert_eq!(found[1]["host"], "exa\"mple\n");
    assert!(!found[1].to_string().contains("secret"));
    assert!(found[1]["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
}

#[test]
fn a_line_is_bounded_and_says_what_it_left_out() {
    let long = format!("/{}?{}", "p".repeat(30_000), "\u{e9}".repeat(5000));
    let dir = tempfile::tempdir().unwrap();
    let plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build("{file: a.jsonl, query: true}").unwrap();
    let mut ex = plugin.run(Case::get(&long).host(&"\u{1}".repeat(9000))).ex;
    let many = Decision {
        entry: Some(plugin.info.clone()),
        effect: Effect::Deny,
        reason: Some("no"),
        detail: Some("d".repeat(500).into()),
        nanos: u32::MAX,
    };
    ex.host_side().decisions.extend(vec![many; 200]);
    ex.host_side().outcome.error = Some("e".repeat(9000));
    plugin.built.plugin().on_log(&ex);
    flush(Duration::from_secs(60));
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
    for line in text.lines() {
        assert!(line.len() < line::LONGEST, "{}", line.len());
        let found: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(found["truncated"], true);
        assert!(found["path"].as_str().unwrap().ends_with("pp\u{2026}"));
        assert!(found["host"].as_str().unwrap().starts_with('\u{1}'));
        assert_eq!(found["status"], 200);
    }
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn findings_are_written_as_they_are_and_cut_to_fit() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build("file: a.jsonl").unwrap();
    let mut ex = plugin.run(Case::get("/")).ex;
    let what = serde_json::json!({"score": 5, "rules": [{"id": 1, "message": "a \"b\"\n", "none": null}], "on": true});
    ex.set_finding(&"waf".into(), "replaced".into());
    ex.set_finding(&"waf".into(), what.clone());
    plugin.built.plugin().on_log(&ex);
    let long = serde_json::json!(vec![vec!["x".repeat(300); 10]; 100]);
    ex.set_finding(&"waf#b".into(), long);
    let deep = (0..100).fold(serde_json::json!(1), |inner, _| serde_json::json!({"a": [inner]}));
    ex.set_finding(&"waf#c".into(), deep);
    plugin.built.plugin().on_log(&ex);
    flush(Duration::from_secs(60));
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
    let found: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(found[0].get("findings").is_none());
    assert_eq!(found[1]["findings"], serde_json::json!([{"plugin": "waf", "found": what}]));
    assert!(found[1].get("truncated").is_none());
    assert_eq!(found[2]["truncated"], true);
    assert!(found[2]["findings"][1]["found"].as_array().unwrap().len() > 1);
    assert!(text.lines().all(|line| line.len() < line::LONGEST));
}

#[test]
fn decisions_say_which_entry_decided_what() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build("file: a.jsonl").unwrap();
    let mut ex = plugin.run(Case::get("/")).ex;
    let decision = |entry, detail: Option<&'static str>| Decision {
        entry,
        effect: Effect::WouldDeny,
        reason: Some("no"),
        detail: detail.map(Into::into),
        nanos: 7,
    };
    ex.host_side().decisions.extend([decision(Some(plugin.info.clone()), None), decision(None, Some("x\n"))]);
    plugin.built.plugin().on_log(&ex);
    flush(Duration::from_secs(60));
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
    let found: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    let expected = serde_json::json!([
        {"plugin": "audit", "place": "test.yaml:1:1", "effect": "would_deny", "reason": "no", "ns": 7},
        {"plugin": "palisade", "effect": "would_deny", "reason": "no", "detail": "x\n", "ns": 7}
    ]);
    assert_eq!(found["decisions"], expected);
}

#[test]
fn the_query_only_when_asked_for() {
    let found = lines_of(
        Kit::of(DESCRIPTOR).credential_places(Vec::new()),
        "{file: log/audit.jsonl, query: true, on_full: block}",
        vec![Case::get("/a?b=c")],
    );
    assert_eq!(found[0]["query"], "b=c");
}

#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let _plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build("file: a.jsonl").unwrap();
    let mode = std::fs::metadata(dir.path().join("a.jsonl")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn fields_are_chosen() {
    let case =
        || Case::get("/a?b=c&token=t").header("user-agent", "x\"\u{e9}y").header("authorization", "Bearer s");
    let conf = "{file: log/audit.jsonl, fields: {include: [status, query, anonymous]}, headers: [Authorization, user-agent, absent]}";
    let places = vec![CredentialPlace::Query("k".into())];
    let kit = Kit::of(DESCRIPTOR).credential_places(places);
    assert_eq!(
        lines_of(kit, conf, vec![case()])[0],
        serde_json::json!({
            "status": 200,
            "query": "b=c&token=[masked]",
            "headers": {"authorization": "[masked]", "user-agent": "x\"\u{e9}y"}
        })
    );
    let found = lines("{file: log/audit.jsonl, fields: {exclude: [time, decisions]}}", vec![case()]);
    let line = found[0].as_object().unwrap();
    assert!(!line.contains_key("time") && !line.contains_key("decisions") && !line.contains_key("query"));
    assert_eq!(line["protocol"], "HTTP/1.1");
    assert_eq!(line["trace"], "00000000000000000000000000000001");
    let found = lines("{file: log/audit.jsonl, fields: {include: [anonymous]}}", vec![case()]);
    assert_eq!(found[0], serde_json::json!({}));
}

#[test]
fn every_field_says_what_it_is_for() {
    const ALL: &str = "time, id, trace, route, upstream, method, host, path, query, params, protocol, client, peer, \
                       listener, tls, tls_cipher, tls_alpn, tls_server_name, principal, consumer, credential, \
                       anonymous, status, reason, error, request_bytes, response_bytes, duration_us, \
                       upstream_address, attempts, upstream_us, decisions, findings";
    let dir = tempfile::tempdir().unwrap();
    let kit = Kit::of(DESCRIPTOR).state_dir(dir.path()).credential_places(Vec::new());
    let plugin = kit.build(&format!("{{file: a.jsonl, fields: {{include: [{ALL}]}}}}")).unwrap();
    let tls = Tls {
        version: "TLSv1.3".into(),
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        server_name: Some("shop.test".into()),
        alpn: Some("h2"),
        certificate: None,
    };
    let case = Case::new("PUT", "/p/42?a=b").host("shop.test").path_param("id", "42").principal("alice", &[]);
    let case = case.started(UNIX_EPOCH + Duration::from_millis(1_800_000_000_250)).client(|client| {
        client.ip = "192.0.2.7".parse().unwrap();
        client.peer = "[2001:db8::9]:555".parse().unwrap();
        client.listener = "secure".into();
        client.tls = Some(tls);
    });
    let mut ex = case.exchange();
    ex.request.set_version(http::Version::HTTP_2);
    ex.set_finding(&"waf".into(), 1.into());
    let host = ex.host_side();
    (host.route, host.upstream) = (Some("checkout".into()), Some("shop".into()));
    let principal = host.principal.as_mut().map(Arc::make_mut).unwrap();
    (principal.id, principal.credential, principal.anonymous) = ("it".into(), Some("alice-1".into()), true);
    let (effect, reason) = (Effect::Deny, Some("no"));
    host.decisions.push(Decision { entry: None, effect, reason, detail: None, nanos: 3 });
    host.outcome = Outcome {
        status: 502,
        request_bytes: 11,
        response_bytes: 12,
        upstream_address: Some(([127, 0, 0, 1], 3000).into()),
        attempts: 2,
        upstream_time: Some(Duration::from_micros(34)),
        duration: Duration::from_micros(56),
        reason: Some("upstream_broken"),
        error: Some("broken".to_owned()),
    };
    plugin.built.plugin().on_log(&ex);
    flush(Duration::from_secs(60));
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
    let expected = serde_json::json!({
        "time": "2027-01-15T08:00:00.250Z", "id": "00000000000000000000000000000001",
        "trace": "00000000000000000000000000000001", "route": "checkout", "upstream": "shop", "method": "PUT",
        "host": "shop.test", "path": "/p/42", "query": "a=b", "params": {"id": "42"}, "protocol": "HTTP/2.0",
        "client": "192.0.2.7", "peer": "[2001:db8::9]:555", "listener": "secure", "tls": "TLSv1.3",
        "tls_cipher": "TLS13_AES_128_GCM_SHA256", "tls_alpn": "h2", "tls_server_name": "shop.test",
        "principal": "it", "consumer": "alice", "credential": "alice-1", "anonymous": true, "status": 502,
        "reason": "upstream_broken", "error": "broken", "request_bytes": 11, "response_bytes": 12,
        "duration_us": 56, "upstream_address": "127.0.0.1:3000", "attempts": 2, "upstream_us": 34,
        "decisions": [{"plugin": "palisade", "effect": "deny", "reason": "no", "ns": 3}],
        "findings": [{"plugin": "waf", "found": 1}],
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(text.trim()).unwrap(), expected);
    assert_eq!(expected.as_object().unwrap().len(), ALL.split(',').count());
}

#[test]
fn what_authenticators_take_for_a_credential_is_masked() {
    let conf = "{file: log/audit.jsonl, query: true, headers: [x-clinic-key, x-other]}";
    let case = || {
        Case::get("/?k=1&x=2").header("x-clinic-key", "a").header("x-clinic-key", "b").header("x-other", "c")
    };
    let key = CredentialPlace::Header(http::HeaderName::from_static("x-clinic-key"));
    let kit = Kit::of(DESCRIPTOR).credential_places(vec![key, CredentialPlace::Query("k".into())]);
    let found = lines_of(kit, conf, vec![case()]);
    assert_eq!(found[0]["query"], "k=[masked]&x=2");
    assert_eq!(found[0]["headers"], serde_json::json!({"x-clinic-key": "[masked]", "x-other": "c"}));
    // Nobody has said yet what holds credentials: everything may.
    let found = lines(conf, vec![case()]);
    assert_eq!(found[0]["query"], "k=[masked]&x=[masked]");
    assert_eq!(found[0]["headers"]["x-other"], "[masked]");
}

#[test]
fn the_record_that_was_asked_for_is_named_or_masked() {
    let dir = tempfile::tempdir().unwrap();
    let record = |conf: &str| {
        let plugin = Kit::of(DESCRIPTOR).state_dir(dir.path()).build(conf).unwrap();
        let mut ex = plugin.run(Case::get("/patients/42/notes")).ex;
        ex.host_side().path_params = vec![("id".into(), "42".to_owned())];
        plugin.built.plugin().on_log(&ex);
        flush(Duration::from_secs(60));
        let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
        serde_json::from_str::<serde_json::Value>(text.lines().last().unwrap()).unwrap()
    };
    let found = record("{file: a.jsonl}");
    assert_eq!((&found["params"]["id"], &found["path"]), (&"42".into(), &"/patients/42/notes".into()));
    let found = record("{file: a.jsonl, mask: {params: [id]}}");
    assert_eq!(found["params"]["id"], "[masked]");
    assert_eq!(found["path"], "/patients/[masked]/notes");
}

#[test]
fn a_full_device_is_handled_as_written() {
    // It takes no byte, and says that it is full.
    let kit = |conf: &str| {
        let kit = Kit::of(DESCRIPTOR);
        let plugin = kit.build(conf).unwrap();
        (kit, plugin)
    };
    let (_kit, plugin) = kit("{file: /dev/full, on_full: deny, flush: 1ms}");
    assert_eq!(plugin.stage, Stage::Screen);
    // The first is admitted: nobody knows yet. Its record stays, and no other is admitted.
    let mut tries = 0;
    while plugin.run(Case::get("/")).verdict.is_ok() {
        tries += 1;
        assert!(tries < 1_000_000, "it admits what it cannot record");
    }
    plugin.run(Case::get("/")).faulted("audit_unavailable");
    drop(plugin);
    let (kit, plugin) =
        kit("{file: /dev/full, on_full: drop, queue: 64KiB, flush: 1ms, fields: {include: [path]}}");
    assert_eq!(plugin.stage, Stage::Observe);
    for _ in 0..5000 {
        plugin.run(Case::get(&format!("/{}", "x".repeat(1000)))).passed();
    }
    drop(plugin);
    flush(Duration::from_secs(60));
    // Every one of them, exactly: those that waited are lost with the writer.
    let since = Instant::now();
    while kit.counted("records_lost") < 5000 && since.elapsed() < Duration::from_secs(30) {
        std::thread::yield_now();
    }
    assert_eq!(kit.counted("records_lost"), 5000);
    assert!(kit.counted("write_failures") > 0);
}

#[test]
fn two_entries_of_one_file_share_it_and_a_removed_one_is_written_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let kit = Kit::of(DESCRIPTOR).state_dir(dir.path());
    let conf = "{file: a.jsonl, flush: 60s, fields: {include: [path]}}";
    let (one, two) = (kit.build(conf).unwrap(), kit.build(conf).unwrap());
    for number in 0..500 {
        one.run(Case::get(&format!("/{number}")));
        two.run(Case::get(&format!("/{number}")));
    }
    drop((one, two));
    flush(Duration::from_secs(60));
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
    let expected: String = (0..1000).map(|number| format!("{{\"path\":\"/{}\"}}\n", number / 2)).collect();
    assert_eq!(text, expected);
}

#[test]
fn a_collector_gets_every_line_and_a_refused_batch_again() {
    type Call = (String, String, Vec<u8>);
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let seen = calls.clone();
    let host = TestHost::new(move |request| {
        let header =
            |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let mut calls = seen.lock();
        // The first answer is a failure, the second gets lost.
        let answer = match calls.len() {
            0 => Ok(http::Response::builder().status(503).body(Bytes::new()).unwrap()),
            1 => Err(HttpError::Timeout),
            _ => Ok(http::Response::new(Bytes::new())),
        };
        let fields = [header("authorization"), header("content-type"), request.method().to_string()];
        calls.push((request.uri().to_string(), fields.join(", "), request.body().to_vec()));
        Box::pin(async { answer })
    });
    let kit = Kit::of(DESCRIPTOR).host(Arc::new(host));
    let conf =
        "{http: {url: \"https://c.test/in\", headers: {authorization: Bearer x}}, fields: {include: [path]}}";
    let plugin = kit.build(conf).unwrap();
    for path in ["/a", "/b"] {
        plugin.run(Case::get(path)).passed();
    }
    flush(Duration::from_secs(30));
    let calls = calls.lock();
    assert!(calls.len() >= 3);
    let first = &calls[0];
    assert_eq!((&*first.0, &*first.1), ("https://c.test/in", "Bearer x, application/x-ndjson, POST"));
    assert!(calls[..3].iter().all(|call| call == first), "the same batch until it is taken");
    let taken: Vec<u8> = calls[2..].iter().flat_map(|call| call.2.clone()).collect();
    assert_eq!(String::from_utf8(taken).unwrap(), "{\"path\":\"/a\"}\n{\"path\":\"/b\"}\n");
    assert_eq!(kit.counted("write_failures"), 2);
}

#[test]
fn what_a_collector_is_shown_is_shown_to_nobody_else() {
    let conf = "{http: {url: \"https://c.test/in\", headers: {authorization: Bearer hunter2}}}";
    let config: Config = serde_json::from_value(serde_json::json!({
        "http": {"url": "https://c.test/in", "headers": {"authorization": "Bearer hunter2"}},
    }))
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let kit = Kit::of(DESCRIPTOR);
    let error = kit.build(&conf.replace("Bearer hunter2", "\"Bearer hunter2\\n\"")).unwrap_err();
    let said = error.split("\n").next().unwrap();
    assert!(said.contains("characters that a header cannot have") && !said.contains("hunter2"), "{error}");
}

#[test]
fn with_block_a_request_waits_for_a_place() {
    let dir = tempfile::tempdir().unwrap();
    let kit = Kit::of(DESCRIPTOR).state_dir(dir.path());
    let plugin = kit.build("{file: a.jsonl, on_full: block, queue: 64KiB}").unwrap();
    let hook = |ex: &mut Exchange| match plugin.built.plugin().on_request(ex) {
        Step::Now(done) => Some(done),
        Step::Later(_) => None,
    };
    let mut held: Vec<Exchange> = (0..8).map(|_| Case::get("/held").exchange()).collect();
    assert!(held.iter_mut().all(|ex| matches!(hook(ex), Some(Ok(Verdict::Continue)))));
    let mut waiting = Case::get("/waited").exchange();
    assert!(hook(&mut waiting).is_none());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let done = block_on(plugin.built.plugin().on_request(&mut waiting).resolve());
            plugin.built.plugin().on_log(&waiting);
            matches!(done, Ok(Verdict::Continue))
        });
        held.drain(..).for_each(|ex| plugin.built.plugin().on_log(&ex));
        assert!(waits.join().unwrap());
    });
    flush(Duration::from_secs(60));
    let text = std::fs::read_to_string(dir.path().join("a.jsonl")).unwrap();
    assert_eq!((text.matches("/held").count(), text.matches("/waited").count()), (8, 1));
}

#[test]
fn who_leaves_while_waiting_for_a_place_leaves_nothing_behind() {
    struct Nobody;
    impl std::task::Wake for Nobody {
        fn wake(self: Arc<Self>) {}
    }
    let dir = tempfile::tempdir().unwrap();
    let kit = Kit::of(DESCRIPTOR).state_dir(dir.path());
    let plugin = kit.build("{file: a.jsonl, on_full: block, queue: 64KiB}").unwrap();
    let hook = |ex: &mut Exchange| matches!(plugin.built.plugin().on_request(ex), Step::Now(_));
    let mut held: Vec<Exchange> = (0..8).map(|_| Case::get("/").exchange()).collect();
    assert!(held.iter_mut().all(hook));
    let task = Arc::new(Nobody);
    let waker = std::task::Waker::from(task.clone());
    for _ in 0..100 {
        let mut leaving = Case::get("/").exchange();
        let Step::Later(mut waits) = plugin.built.plugin().on_request(&mut leaving) else {
            panic!("no wait")
        };
        assert!(waits.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&task), 1, "the queue holds on to requests that are over");
}

#[test]
fn a_request_that_ends_without_its_record_gives_its_place_back() {
    let dir = tempfile::tempdir().unwrap();
    let kit = Kit::of(DESCRIPTOR).state_dir(dir.path());
    let plugin = kit.build("{file: a.jsonl, on_full: deny, queue: 64KiB}").unwrap();
    let ask = || {
        let mut ex = Case::get("/").exchange();
        let passed = matches!(plugin.built.plugin().on_request(&mut ex), Step::Now(Ok(Verdict::Continue)));
        passed.then_some(ex)
    };
    let held: Vec<_> = std::iter::from_fn(ask).collect();
    assert_eq!(held.len(), (64 << 10) / line::LONGEST);
    drop(held);
    assert!(ask().is_some());
}

#[test]
fn a_reload_changes_how_a_file_is_written_that_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let kit = Kit::of(DESCRIPTOR).state_dir(dir.path());
    let before = kit.build("file: a.jsonl").unwrap();
    (0..3).for_each(|_| drop(before.run(Case::get("/before")).passed()));
    flush(Duration::from_secs(60));
    assert!(!dir.path().join("a.jsonl.1").exists());
    let after = kit.build("{file: a.jsonl, rotate: {size: 1B, keep: 2}}").unwrap();
    for path in ["/one", "/two", "/three"] {
        after.run(Case::get(path)).passed();
        flush(Duration::from_secs(60));
    }
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    for (name, path) in [("a.jsonl", "/three"), ("a.jsonl.1", "/two"), ("a.jsonl.2", "/one")] {
        assert!(read(name).contains(path), "{name}: {}", read(name));
    }
    assert!(!dir.path().join("a.jsonl.3").exists(), "no more are kept than written");
}

#[test]
fn what_is_written_of_a_file_is_what_its_writer_gets() {
    let settings = |written: serde_json::Value| {
        let mut errors = Vec::new();
        let settings = serde_json::from_value::<Config>(written).unwrap().settings(&mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        settings
    };
    let bounds = |capacity, flush| queue::Bounds { capacity, flush: Duration::from_millis(flush) };
    assert_eq!(
        settings(serde_json::json!({"file": "a"})),
        Settings { bounds: bounds(64 << 20, 50), sync: false, rotate: None }
    );
    let rotate = sink::Rotate { size: Some(10 << 20), every: Some(Duration::from_secs(86_400)), keep: 30 };
    assert_eq!(
        settings(serde_json::json!({
            "file": "a", "queue": "1MiB", "flush": "20ms", "sync": true,
            "rotate": {"size": "10MiB", "every": "1d", "keep": 30},
        })),
        Settings { bounds: bounds(1 << 20, 20), sync: true, rotate: Some(rotate) }
    );
}

#[test]
fn mistakes_are_refused_at_load() {
    let kit = Kit::of(DESCRIPTOR);
    for (yaml, expected) in [
        ("{}", "exactly one"),
        ("{file: a, stdout: true}", "exactly one"),
        ("{file: /proc/no/such/place}", "cannot write"),
        ("{stdout: true, rotate: {every: 1d}}", "only a file can be rotated"),
        ("{file: a, rotate: {keep: 3}}", "nothing says when"),
        ("{file: a, rotate: {size: 1MiB, keep: 0}}", "between 1 and 10000"),
        ("{file: a, rotate: {size: 0B}}", "of no size"),
        ("{file: a, rotate: {every: 10ms}}", "the shortest time"),
        ("{file: a, fields: {include: []}}", "needs a field"),
        ("{file: a, fields: {include: [id], exclude: [id]}}", "cannot both"),
        ("{file: a, fields: {include: [stauts]}}", "did you mean `status`"),
        ("{file: a, headers: [\"a b\"]}", "is not the name of a header"),
        ("{file: a, headers: [a, A]}", "named twice"),
        ("{file: a, flush: 0ms}", "between `1ms` and `60s`"),
        ("{file: a, queue: 1KiB}", "at least `64KiB`"),
        ("{syslog: {to: localhost}}", "not the place of a collector"),
        ("{syslog: {to: \"unix:/no/such/socket\"}}", "cannot write"),
        ("{syslog: {to: \"udp:127.0.0.1:514\", facility: 24}}", "from 0 to 23"),
        ("{syslog: {to: \"udp:127.0.0.1:514\", app_name: a b}}", "visible characters"),
        ("{http: {url: /x}}", "not an `http` or `https` address"),
        ("{http: {url: \"ftp://x/\"}}", "not an `http` or `https` address"),
        ("{http: {url: \"https://a:b@x/\"}}", "without a password"),
        ("{http: {url: \"https://x/\", headers: {host: x}}}", "is set by the gateway"),
        ("{http: {url: \"https://x/\", headers: {\"a b\": x}}}", "is not the name of a header"),
        ("{http: {url: \"https://x/\", timeout: 0s}}", "between `1ms` and `5m`"),
        ("{fil: a}", "did you mean `file`"),
    ] {
        assert!(kit.build(yaml).unwrap_err().contains(expected), "{yaml}");
    }
}
