//! What runs out: memory, descriptors, and what one client may have.

use crate::{
    client::Client,
    harness::{Gateway, until},
};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use std::{io::Write, net::TcpListener};

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
    let gateway = Gateway::start(CONF);
    gateway.get("/one").expect(200);
    // Less than it has taken already.
    gateway.rewrite(&format!("limits: {{memory: 16MiB}}\n{CONF}"));
    gateway.hangup("is serving");
    let refused = until("a refusal", || Some(gateway.get("/one")).filter(|answer| answer.status == 503));
    assert_eq!(refused.reason(), "memory");
    gateway.wait_for_log("new connections are refused", 1);
    let mut admin = Client::connect(gateway.at("admin"));
    let text = metrics(&mut admin);
    assert!(text.contains("palisade_connections_refused_total{reason=\"memory\"}"), "{text}");
    gateway.rewrite(&format!("limits: {{memory: 64GiB}}\n{CONF}"));
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
