//! What runs out: memory, descriptors, and what one client may have.

use crate::{
    client::Client,
    harness::{Gateway, until},
    successors::executable,
    tls::certificate,
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::{
    io::Write,
    net::TcpListener,
    time::{Duration, Instant},
};

const CONF: &str = "
admin: {address: 127.0.0.1:0}
routes: {one: {paths: [/one], plugins: {request-termination: {status_code: 200}}}}
";

fn metrics(admin: &mut Client) -> String {
    admin.request("GET", "/metrics", &["Host: 127.0.0.1"]).expect(200).text()
}

#[test]
fn what_the_edge_refuses_is_counted() {
    let gateway = Gateway::start(CONF);
    gateway.request("GET", "/one", &["Transfer-Encoding: x"]).expect(400);
    let mut admin = Client::connect(gateway.at("admin"));
    let text = metrics(&mut admin);
    let count = text.lines().find(|line| line.starts_with("palisade_edge_refused_total{"));
    assert!(count.is_some_and(|line| line.contains("reason=\"") && line.ends_with(" 1")), "{text}");
}

#[test]
fn without_memory_nobody_new_is_taken_and_it_is_said_why() {
    const LISTENERS: &str = "
client_ip: {trusted_proxies: [127.0.0.0/8]}
listeners:
  secure: {address: 127.0.0.1:0, tls: {certificates: [{certificate: a.pem, key: a.key}]}}
  behind: {address: 127.0.0.1:0, proxy_protocol: true}
";
    let conf = format!("{LISTENERS}{CONF}");
    let prepared = Gateway::prepare(&conf);
    let own = certificate("a.test");
    prepared.write("a.pem", &own.cert.pem());
    prepared.write("a.key", &own.signing_key.serialize_pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    gateway.get("/one").expect(200);
    // Less than it has taken already.
    gateway.rewrite(&format!("limits: {{memory: 16MiB}}\n{conf}"));
    gateway.hangup("is serving");
    let refused = until("a refusal", || Some(gateway.get("/one")).filter(|answer| answer.status == 503));
    assert_eq!(refused.reason(), "memory");
    // Where it could not be read it is not said.
    for listener in ["secure", "behind"] {
        assert_eq!(Client::connect(gateway.at(&format!("listener {listener}"))).rest(), "", "{listener}");
    }
    gateway.wait_for_log("new connections are refused", 1);
    let mut admin = Client::connect(gateway.at("admin"));
    let text = metrics(&mut admin);
    assert!(text.contains("palisade_connections_refused_total{reason=\"memory\"}"), "{text}");
    gateway.rewrite(&format!("limits: {{memory: 64GiB}}\n{conf}"));
    gateway.hangup("is serving");
    until("an answer", || Some(gateway.get("/one")).filter(|answer| answer.status == 200));
}

#[test]
fn without_descriptors_it_goes_on_as_soon_as_there_are_some() {
    let gateway = Gateway::start(CONF);
    let mut admin = Client::connect(gateway.at("admin"));
    metrics(&mut admin);
    let id = Pid::from_raw(i32::try_from(gateway.id()).unwrap());
    // The hard limit stays as it is, or it could not be raised again.
    let few = Rlimit { current: Some(4), maximum: getrlimit(Resource::Nofile).maximum };
    let before = prlimit(id, Resource::Nofile, few).unwrap();
    let mut waiting = gateway.connect();
    gateway.wait_for_log("cannot accept on", 1);
    prlimit(id, Resource::Nofile, before).unwrap();
    waiting.request("GET", "/one", &[]).expect(200);
    let text = metrics(&mut admin);
    assert!(text.contains("palisade_accept_failures_total{reason=\"descriptors\"}"), "{text}");
}

/// The lowest number that no descriptor of a process has: the next one gets it.
fn next_descriptor(process: u32) -> u64 {
    let look = || {
        let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let open: Vec<u64> =
            open.map(|one| one.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        (0..).find(|number| !open.contains(number)).unwrap()
    };
    // What is open for a moment alone is not counted.
    (0..20).map(|_| (look(), std::thread::sleep(Duration::from_millis(10))).0).min().unwrap()
}

#[test]
fn where_a_descriptor_is_missing_somebody_idle_makes_room() {
    let gateway = Gateway::start(&format!("limits: {{idle_timeout: 1h}}\n{CONF}"));
    let mut admin = Client::connect(gateway.at("admin"));
    metrics(&mut admin);
    let mut clients = vec![gateway.connect()];
    clients[0].request("GET", "/one", &[]).expect(200);
    let few =
        Rlimit { current: Some(next_descriptor(gateway.id())), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Pid::from_raw(i32::try_from(gateway.id()).unwrap()), Resource::Nofile, few).unwrap();
    let mut times = Vec::new();
    for _ in 0..10 {
        let begun = Instant::now();
        let mut next = gateway.connect();
        next.request("GET", "/one", &[]).expect(200);
        times.push(begun.elapsed());
        clients.push(next);
    }
    assert!(clients[0].is_closed());
    // Nobody sleeps for that.
    times.sort();
    assert!(times[5] < Duration::from_millis(900), "{times:?}");
    let text = metrics(&mut admin);
    let evicted = text.lines().find_map(|line| {
        line.strip_prefix("palisade_connections_evicted_total{reason=\"descriptors\"} ")?.parse::<u32>().ok()
    });
    // What else was closed meanwhile made room as well.
    assert!((6..=10).contains(&evicted.unwrap_or(0)), "{text}");
}

/// With so few of them connections are bounded by descriptors, before accepting fails.
#[test]
fn connections_are_no_more_than_there_are_descriptors_for() {
    let script = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let text = format!("#!/bin/sh\nulimit -n 150\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_palisade"));
    executable(&script, &text);
    let gateway = Gateway::prepare(CONF).start(&script);
    let mut admin = Client::connect(gateway.at("admin"));
    metrics(&mut admin);
    // Of 150, 37 are kept for other things, and a quarter of the rest for connections to origins.
    let silent: Vec<Client> = (0..120).map(|_| gateway.connect()).collect();
    gateway.get("/one").expect(200);
    gateway.wait_for_log("there are file descriptors for no more connections: idle ones make room", 1);
    let text = metrics(&mut admin);
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse::<u32>().unwrap())
    };
    assert!(value("palisade_connections_evicted_total{reason=\"descriptors\"}") >= 121 - 85, "{text}");
    assert_eq!(value("palisade_accept_failures_total{reason=\"descriptors\"}"), 0, "{text}");
    drop(silent);
}

/// A request takes two. What the ones to origins take besides, idle clients make room for.
#[test]
fn where_requests_take_more_descriptors_idle_connections_go() {
    const REQUESTS: usize = 40;
    let script = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    let text = format!("#!/bin/sh\nulimit -n 150\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_palisade"));
    executable(&script, &text);
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::prepare(&format!(
        "
upstreams: {{held: {{targets: [{{address: '{}'}}], timeouts: {{read: 120s, total: 120s}}}}}}
routes: {{held: {{paths: [/held], upstream: held}}}}
limits: {{idle_timeout: 1h, header_timeout: 10m}}
",
        origin.local_addr().unwrap()
    ))
    .start(&script);
    let open = || std::fs::read_dir(format!("/proc/{}/fd", gateway.id())).unwrap().count();
    let most = 140;
    // Below what connections are bounded by, 85, and above what all may take, 132.
    let idle = most - 2 * REQUESTS - open();
    assert!(idle + REQUESTS < 85, "{idle}");
    let idle: Vec<Client> = (0..idle).map(|_| gateway.connect()).collect();
    let mut held: Vec<Client> = (0..REQUESTS).map(|_| gateway.connect()).collect();
    for client in &mut held {
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    gateway.wait_for_log("file descriptors running out: ", 1);
    until("room", || (open() <= 132).then_some(()));
    assert!(!gateway.log().contains("cannot accept on"), "{}", gateway.log());
    drop((idle, held));
}

#[test]
fn a_client_behind_a_trusted_proxy_has_its_share_of_requests() {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::start(&format!(
        "
client_ip: {{trusted_proxies: [127.0.0.0/8]}}
limits: {{connections_per_ip: 2}}
upstreams: {{held: {{targets: [{{address: '{}'}}]}}}}
routes:
  held: {{paths: [/held], upstream: held}}
  one: {{paths: [/one], plugins: {{request-termination: {{status_code: 200}}}}}}
",
        origin.local_addr().unwrap()
    ));
    let held = b"GET /held HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n";
    let mut clients = [gateway.connect(), gateway.connect()];
    let origins = clients.each_mut().map(|client| {
        client.send(held);
        origin.accept().unwrap().0
    });
    let ask = |ip: &str| gateway.request("GET", "/one", &[&format!("X-Forwarded-For: {ip}")]);
    assert_eq!(ask("192.0.2.1").expect(429).reason(), "requests_per_ip");
    ask("192.0.2.2").expect(200);
    // The proxy itself is not counted.
    gateway.get("/one").expect(200);
    for mut origin in origins {
        origin.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
    clients.iter_mut().for_each(|client| drop(client.response().expect(200)));
    until("room", || Some(ask("192.0.2.1")).filter(|answer| answer.status == 200));
}
