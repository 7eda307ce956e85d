//! That what is written in the configuration, and what is counted, reaches where it should.

use crate::{
    client::Client,
    harness::{Gateway, until},
    life::admin,
    origin::Origin,
    successors::executable,
};
use std::{net::TcpListener, time::Instant};

fn metrics(gateway: &Gateway) -> String {
    admin(gateway, "GET", "/metrics", None).expect(200).text()
}

/// Waits for a line of the metrics: what is counted after an answer comes a moment later.
fn counted(gateway: &Gateway, line: &str) {
    let mut last = String::new();
    let found = |text: &str| text.lines().any(|found| found == line);
    let begun = Instant::now();
    while !found(&last) {
        assert!(begun.elapsed() < crate::harness::PATIENCE, "`{line}` is not in\n{last}");
        last = metrics(gateway);
    }
}

#[test]
fn what_happens_is_counted() {
    let conf = "
admin: {address: 127.0.0.1:0}
plugins: {'audit#gone': {file: gone.jsonl}}
routes: {shop: {paths: [/echo/*], upstream: demo, plugins: {key-auth: {}, acl: {allow: [gold], mode: monitor}}}}
";
    let gateway = Gateway::start(conf);
    let mut client = gateway.connect();
    client.request("GET", "/echo/", &[]).expect(401);
    client.request("GET", "/echo/", &["apikey: wrong"]).expect(401);
    client.request("GET", "/echo/", &["apikey: alice-key"]).expect(200);
    client.request("GET", "/echo/", &["apikey: bob-key"]).expect(200);
    client
        .request("PURGE", "/unheard-of?x=unheard-of", &["Host: unheard-of", "apikey: unheard-of"])
        .expect(404);
    for line in [
        r#"palisade_decisions_total{effect="deny",plugin="key-auth",reason="credential_missing",route="shop"} 1"#,
        r#"palisade_decisions_total{effect="would_deny",plugin="acl",reason="acl_denied",route="shop"} 1"#,
        r#"palisade_decisions_total{effect="authenticated",plugin="key-auth",reason="",route="shop"} 2"#,
        r#"palisade_plugin_duration_seconds_count{plugin="acl"} 2"#,
        r#"palisade_upstream_requests_total{outcome="answered",upstream="demo"} 2"#,
        r#"palisade_upstream_duration_seconds_count{upstream="demo"} 2"#,
        r#"palisade_requests_total{route="shop",status="4xx"} 2"#,
        r#"palisade_request_duration_seconds_count{route="shop"} 4"#,
        r#"palisade_requests_total{route="_none",status="4xx"} 1"#,
        r#"palisade_connections{state="idle"} 1"#,
        r#"palisade_connections_accepted_total 1"#,
        r#"palisade_config_last_load_successful 1"#,
        r#"palisade_plugin_events_total{event="records_lost",plugin="audit#gone"} 0"#,
    ] {
        counted(&gateway, line);
    }
    let text = metrics(&gateway);
    for word in ["unheard-of", "PURGE", "alice", "127.0.0.1:"] {
        let shown: Vec<&str> = text.lines().filter(|line| line.contains(word)).collect();
        // Of addresses only those of the configuration.
        assert!(shown.iter().all(|line| line.starts_with("palisade_upstream_target_up{")), "{shown:?}");
    }
    drop(client);
    counted(&gateway, r#"palisade_connections{state="idle"} 0"#);
    gateway.rewrite("routes: {a: {paths: [/], upstream: nowhere}}");
    gateway.hangup("was not reloaded");
    counted(&gateway, r#"palisade_reloads_total{result="failure"} 1"#);
    counted(&gateway, "palisade_config_last_load_successful 0");
    counted(&gateway, "palisade_config_generation 1");
    // What no configuration names any more is not shown any more.
    gateway.rewrite("admin: {address: 127.0.0.1:0}\nroutes: {other: {paths: [/other], upstream: demo}}");
    gateway.hangup("is serving");
    counted(&gateway, "palisade_config_generation 2");
    // It goes with a later reload: until then requests may be in flight, and a file be written.
    until("what is gone to be shown no more", || {
        gateway.hangup("is serving");
        let text = metrics(&gateway);
        let gone = ["\"shop\"", "\"key-auth\"", "\"acl\"", "\"audit#gone\""];
        gone.iter().all(|name| !text.contains(name)).then_some(())
    });
}

#[test]
fn a_narrower_entry_replaces_the_wider_one_whole_or_changes_what_every_entry_has() {
    let gateway = Gateway::start(
        "
plugins:
  response-headers: {set: {x-a: wide, x-b: wide}}
  rate-limiting: {day: 1, limit_by: ip}
routes:
  replaced: {paths: [/echo/replaced], upstream: demo, plugins: {response-headers: {set: {x-a: narrow}}, rate-limiting: {mode: off}}}
  kept: {paths: [/echo/kept], upstream: demo, plugins: {response-headers: {when: 'request.method == \"PUT\"'}, rate-limiting: {mode: monitor}}}
  wide: {paths: [/echo/wide], upstream: demo}
",
    );
    let set = |method: &str, path: &str| {
        let answer = gateway.request(method, path, &[]).expect(200);
        ["x-a", "x-b"].map(|name| answer.header(name).map(str::to_owned).unwrap_or_default())
    };
    for _ in 0..2 {
        assert_eq!(set("GET", "/echo/replaced"), ["narrow", ""]);
        // The condition binds the response hook; the fields are the wider entry's.
        assert_eq!(set("GET", "/echo/kept"), ["", ""]);
        assert_eq!(set("PUT", "/echo/kept"), ["wide", "wide"]);
    }
    // The one that is only recorded counts with the everywhere-entry that it changes.
    gateway.get("/echo/wide").expect(429);
}

#[test]
fn an_anonymous_consumer_stands_in_for_one_authenticator_of_all() {
    let gateway = Gateway::start(
        "
consumers: {guest: {groups: [guests]}}
routes:
  all:
    paths: [/echo/*]
    upstream: demo
    auth: {all: [key-auth, 'key-auth#second']}
    plugins: {key-auth: {anonymous: guest}, 'key-auth#second': {key_names: [x-second]}}
",
    );
    let who =
        |headers: &[&str]| gateway.request("GET", "/echo/", headers).expect(200).echoed("x-consumer-id");
    assert_eq!(who(&["x-second: bob-key"]).as_deref(), Some("guest"));
    assert_eq!(who(&["apikey: alice-key", "x-second: bob-key"]).as_deref(), Some("alice"));
    gateway.get("/echo/").expect(401);
    gateway.request("GET", "/echo/", &["apikey: wrong", "x-second: bob-key"]).expect(401);
    gateway.request("GET", "/echo/", &["apikey: alice-key"]).expect(401);
}

#[test]
fn limits_of_connections_come_from_the_configuration() {
    let gateway = Gateway::start(
        "
admin: {address: 127.0.0.1:0}
listeners:
  few: {address: 127.0.0.1:0, limits: {connections: 1}}
  short: {address: 127.0.0.1:0, limits: {idle_timeout: 200ms}}
  shared: {address: 127.0.0.1:0, limits: {connections_per_ip: 1}}
routes: {all: {paths: [/*], upstream: demo}}
",
    );
    let mut short = Client::connect(gateway.at("listener short"));
    short.request("GET", "/products", &[]).expect(200);
    assert!(short.is_closed(), "nothing was asked for in time");
    let mut first = Client::connect(gateway.at("listener few"));
    first.request("GET", "/products", &[]).expect(200);
    let mut second = Client::connect(gateway.at("listener few"));
    second.request("GET", "/products", &[]).expect(200);
    assert!(first.is_closed(), "there is room for one, and the idle one makes it");
    second.request("GET", "/products", &[]).expect(200);
    gateway.wait_for_log("all 1 connections of listener `few` are in use: idle ones make room", 1);
    let mut first = Client::connect(gateway.at("listener shared"));
    first.request("GET", "/products", &[]).expect(200);
    assert!(
        Client::connect(gateway.at("listener shared")).is_closed(),
        "there is one of that address already"
    );
    gateway.wait_for_log("has 1 connections to listener `shared` (`connections_per_ip`): more are closed", 1);
    for line in [
        r#"palisade_connections_evicted_total{reason="timeout"} 1"#,
        r#"palisade_connections_evicted_total{reason="listener"} 1"#,
        r#"palisade_connections_refused_total{reason="connections_per_ip"} 1"#,
    ] {
        counted(&gateway, line);
    }
}

#[test]
fn all_listeners_have_some_connections_together() {
    let gateway = Gateway::start(
        "
admin: {address: 127.0.0.1:0}
limits: {connections: 2}
listeners: {other: {address: 127.0.0.1:0}}
routes: {all: {paths: [/*], upstream: demo}}
",
    );
    let ask = |client: &mut Client| drop(client.request("GET", "/products", &[]).expect(200));
    let mut first = gateway.connect();
    ask(&mut first);
    let mut other = Client::connect(gateway.at("listener other"));
    ask(&mut other);
    ask(&mut Client::connect(gateway.at("listener other")));
    assert!(first.is_closed(), "the longest idle of all goes");
    ask(&mut other);
    gateway.wait_for_log("all 2 connections are in use: idle ones make room", 1);
    counted(&gateway, r#"palisade_connections_evicted_total{reason="connections"} 1"#);
}

#[test]
fn an_origin_that_takes_nothing_is_given_up_after_its_time() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::start(
        &"
limits: {body_bytes: 1GiB}
upstreams: {raw: {targets: [{address: ORIGIN}], timeouts: {write: 300ms}}}
routes: {raw: {paths: [/*], upstream: raw}}
"
        .replace("ORIGIN", &origin.local_addr().unwrap().to_string()),
    );
    let mut client = gateway.connect();
    client.send(crate::client::head("POST", "/", &["Content-Length: 104857600"]));
    let piece = vec![b'x'; 1 << 20];
    // Until the gateway reads no more.
    let _ = (0..100).all(|_| client.try_send(&piece));
    let line = &gateway.audit(1)[0];
    assert_eq!((&line["status"], &line["reason"]), (&504.into(), &"upstream_timeout".into()), "{line}");
}

#[test]
fn a_connection_to_an_origin_is_kept_no_longer_than_written() {
    let origin = Origin::start(|request| request.answer(200, "ok"));
    let gateway = Gateway::start(&format!(
        "
upstreams: {{raw: {{targets: [{{address: '{}'}}], timeouts: {{idle: 200ms}}}}}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
        origin.address
    ));
    gateway.get("/").expect(200);
    until("the idle connection to be closed", || (origin.closed() == 1).then_some(()));
    gateway.get("/").expect(200);
}

#[test]
fn the_limit_of_descriptors_is_raised_as_far_as_it_goes() {
    let script = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let text = format!("#!/bin/sh\nulimit -S -n 256\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_palisade"));
    executable(&script, &text);
    let conf = "
admin: {address: 127.0.0.1:0}
limits: {connections: 20}
routes: {a: {paths: [/], upstream: demo}}
";
    let gateway = Gateway::prepare(conf).start(&script);
    let hard = std::process::Command::new("sh").args(["-c", "ulimit -H -n"]).output().unwrap();
    let hard = String::from_utf8(hard.stdout).unwrap();
    let text = metrics(&gateway);
    let most = text.lines().find_map(|line| line.strip_prefix("palisade_process_max_fds ")).unwrap();
    let most: f64 = most.parse().unwrap();
    assert!(most > 256.0, "{most}");
    if let Ok(hard) = hard.trim().parse::<f64>() {
        assert_eq!(most, hard);
    }
}
