//! Targets that are asked whether they are well.

use crate::{
    harness::{Gateway, until},
    http2::block_on,
    life::admin,
    origin::Origin,
};
use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::SeqCst},
};

/// An origin whose `/healthz` answers with a status of the test's choice.
pub fn origin(health: u16) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(health));
    let shared = status.clone();
    let origin = Origin::start(move |request| match request.path() {
        "/healthz" => {
            assert!(
                request.text.contains("\r\nhost: 127.0.0.1:")
                    || request.text.contains("\r\nHost: 127.0.0.1:")
            );
            request.answer(shared.load(SeqCst), "")
        }
        _ => request.answer(200, "ok"),
    });
    (origin, status)
}

fn conf(targets: &[&Origin], health: &str) -> String {
    let targets: Vec<_> = targets.iter().map(|origin| format!("{{address: '{}'}}", origin.address)).collect();
    format!(
        "
admin: {{address: 127.0.0.1:0}}
upstreams: {{raw: {{targets: [{}], health: {health}}}}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
        targets.join(", ")
    )
}

/// The state of each target.
pub fn states(gateway: &Gateway) -> Vec<String> {
    let shown = admin(gateway, "GET", "/upstreams", None).expect(200).json();
    let upstreams = shown.as_array().unwrap();
    let raw = upstreams.iter().find(|upstream| upstream["name"] == "raw").unwrap();
    let targets = raw["targets"].as_array().unwrap();
    targets.iter().map(|target| target["addresses"][0]["state"].as_str().unwrap().to_owned()).collect()
}

const OFTEN: &str =
    "{path: /healthz, interval: 20ms, timeout: 20s, healthy: 2, unhealthy: 2, expect: [200, 204]}";

#[test]
fn who_is_not_well_gets_no_requests() {
    let ((one, first), (two, second)) = (origin(503), origin(204));
    let gateway = Gateway::start(&conf(&[&one, &two], OFTEN));
    let all = |expected: [&str; 2]| until("the checks", || (states(&gateway) == expected).then_some(()));
    all(["down", "up"]);
    let mut client = gateway.connect();
    for _ in 0..6 {
        client.request("GET", "/", &[]).expect(200);
    }
    assert_eq!(gateway.audit(6).iter().filter(|line| line["attempts"] == 1).count(), 6);
    second.store(500, SeqCst);
    all(["down", "down"]);
    assert_eq!(client.request("GET", "/", &[]).expect(503).reason(), "no_healthy_target");
    let metrics = admin(&gateway, "GET", "/metrics", None).expect(200).text();
    let line = format!("palisade_upstream_target_up{{target=\"{}\",upstream=\"raw\"}} 0\n", one.address);
    assert!(metrics.contains(&line), "{metrics}");
    first.store(200, SeqCst);
    all(["up", "down"]);
    gateway.get("/").expect(200);
    gateway.wait_for_log("is not well: status 500", 1);
}

#[test]
fn a_target_that_does_not_answer_or_listen_is_not_well() {
    let silent = Origin::start(|request| request.wait_for_close());
    let gateway = Gateway::start(&conf(&[&silent], "{path: /healthz, interval: 20ms, timeout: 100ms}"));
    until("the checks", || (states(&gateway) == ["down"]).then_some(()));

    let listening = Origin::start(|request| request.answer(200, "ok"));
    let dead = "{address: '127.0.0.1:1'}, ";
    let conf = conf(&[&listening], "{interval: 20ms}").replace("targets: [", &format!("targets: [{dead}"));
    let gateway = Gateway::start(&conf);
    until("the checks", || (states(&gateway) == ["down", "up"]).then_some(()));
    until("more checks", || (listening.opened() > 3).then_some(()));
    assert_eq!(listening.requests(), 0, "a connection is enough");
    gateway.get("/").expect(200);
}

#[test]
fn a_target_is_asked_no_more_often_than_written() {
    let ((seldom, _), (often, _)) = (origin(200), origin(200));
    let hourly = OFTEN.replace("interval: 20ms", "interval: 1h");
    let gateway = Gateway::start(&conf(&[&seldom], &hourly).replace(
        "upstreams: {",
        &format!("upstreams: {{other: {{targets: [{{address: '{}'}}], health: {OFTEN}}}, ", often.address),
    ));
    until("many checks of the other", || (often.requests() > 30).then_some(()));
    assert_eq!(seldom.requests(), 1);
    assert_eq!(states(&gateway), ["up"]);
}

#[test]
fn a_target_is_asked_in_the_protocol_of_its_upstream() {
    block_on(async {
        let demo = palisade::demo::start().unwrap();
        let conf = "
upstreams:
  h2: {targets: [{address: ORIGIN}], protocol: http2, health: {path: /echo/, interval: 20ms, timeout: 20s, expect: [204]}}
  grpc: {targets: [{address: ORIGIN}], protocol: grpc, health: {path: /echo/, interval: 20ms, timeout: 20s}}
routes: {h2: {paths: [/h2], upstream: h2}, grpc: {paths: [/grpc], upstream: grpc}}
"
        .replace("ORIGIN", &demo.address().to_string());
        tokio::task::block_in_place(|| {
            let gateway = Gateway::start(&conf);
            let told = |upstream: &str, why: &str| {
                let line = format!("upstream {upstream}: {} is not well: {why}", demo.address());
                gateway.wait_for_log(&line, 1);
            };
            told("h2", "status 200\n");
            // It answers, and says nothing of whether it serves.
            told("grpc", "status 200, grpc-status -");
        });
    });
}

#[test]
fn checks_end_with_their_upstream() {
    let ((gone, _), (stays, _)) = (origin(200), origin(200));
    let both = conf(&[&gone], OFTEN).replace(
        "upstreams: {",
        &format!("upstreams: {{other: {{targets: [{{address: '{}'}}], health: {OFTEN}}}, ", stays.address),
    );
    let gateway = Gateway::start(&both);
    until("checks of both", || (gone.requests() > 2 && stays.requests() > 2).then_some(()));
    gateway.rewrite(
        &conf(&[&stays], OFTEN)
            .replace("upstreams: {raw", "upstreams: {other")
            .replace("upstream: raw", "upstream: other"),
    );
    gateway.hangup("is serving");
    let (seen, checks) = (gone.requests(), stays.requests());
    until("more checks", || (stays.requests() > checks + 10).then_some(()));
    // One may have been under way.
    assert!(gone.requests() <= seen + 1, "{} {seen}", gone.requests());
}
