//! Targets that cannot be connected to, and connections that have died in the pool.

use crate::{
    client::head,
    harness::{Gateway, until},
    health::states,
    origin::Origin,
};
use std::net::{SocketAddr, TcpListener};

fn conf(targets: &[SocketAddr], more: &str) -> String {
    let targets: Vec<_> = targets.iter().map(|address| format!("{{address: '{address}'}}")).collect();
    format!(
        "
admin: {{address: 127.0.0.1:0}}
upstreams: {{raw: {{targets: [{}], retries: {{attempts: 0}}, {more}}}}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
        targets.join(", ")
    )
}

/// An address of this machine where nobody listens.
fn nobody(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}

#[test]
fn where_all_targets_are_down_the_answer_comes_at_once() {
    let targets = [nobody("127.0.0.81"), nobody("127.0.0.82")];
    let gateway = Gateway::start(&conf(&targets, "outlier: {consecutive_failures: 2, eject: 1h}"));
    for _ in 0..4 {
        assert_eq!(gateway.get("/").expect(502).reason(), "upstream_unreachable");
    }
    assert_eq!(states(&gateway), ["ejected", "ejected"]);
    for _ in 0..3 {
        assert_eq!(gateway.get("/").expect(503).reason(), "no_healthy_target");
    }
    // Nobody was asked.
    let lines = gateway.audit(7);
    assert!(
        lines
            .iter()
            .filter(|line| line["status"] == 503)
            .all(|line| line["attempts"].is_null() || line["attempts"] == 0)
    );
}

#[test]
fn a_probe_finds_out_that_a_target_is_back() {
    let target = nobody("127.0.0.83");
    let gateway = Gateway::start(&conf(&[target], "outlier: {consecutive_failures: 1, eject: 50ms}"));
    let status = || gateway.get("/").status;
    assert_eq!(status(), 502);
    until("nobody to ask", || (status() == 503).then_some(()));
    until("a probe", || (status() == 502).then_some(()));
    until("nobody to ask again", || (status() == 503).then_some(()));
    let origin = Origin::on(&target.to_string(), |request| request.answer(200, "back"));
    until("a probe that finds it", || (status() == 200).then_some(()));
    for _ in 0..5 {
        assert_eq!(status(), 200);
    }
    assert_eq!(states(&gateway), ["up"]);
    assert!(origin.requests() >= 6);
}

#[test]
fn a_dead_idle_connection_is_no_failure_of_its_target() {
    // Each connection serves one request, and dies with the next one.
    let origin = || Origin::start(|request| request.nth == 1 && request.answer(200, "ok"));
    let (one, two) = (origin(), origin());
    let outlier = "outlier: {consecutive_failures: 1, eject: 1h}";
    let gateway = Gateway::start(&conf(&[one.address, two.address], outlier));
    let mut client = gateway.connect();
    for _ in 0..2 {
        client.request("GET", "/", &[]).expect(200);
    }
    // Of the same client: when its next request is read, the connection of the last one is in the pool again.
    for mut client in [client, gateway.connect()] {
        // It may have been read: it is not sent again.
        client.send(head("POST", "/", &["Content-Length: 1"]) + "x").response().expect(502);
    }
    assert_eq!([one.requests(), two.requests()], [2, 2]);
    assert_eq!(states(&gateway), ["up", "up"]);
    // One that dies with its first request is another matter.
    let ill = Origin::start(|_| false);
    let gateway = Gateway::start(&conf(&[ill.address, two.address], outlier));
    for _ in 0..2 {
        gateway.connect().send(head("POST", "/", &["Content-Length: 1"]) + "x").response();
    }
    let mut states = states(&gateway);
    states.sort();
    assert_eq!(states, ["ejected", "up"]);
}
