//! Targets that fail: what is sent again, what is not, and who is put aside.

use crate::{
    client::head,
    harness::{Gateway, until},
    origin::Origin,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::time::Instant;

/// Nobody listens there, and nobody can by chance.
const DEAD: &str = "127.0.0.1:1";

fn conf(targets: &[&str], upstream: &str) -> String {
    let targets: Vec<_> = targets.iter().map(|address| format!("{{address: '{address}'}}")).collect();
    format!(
        "
upstreams: {{raw: {{targets: [{}], {upstream}}}}}
routes:
  raw: {{paths: [/*], upstream: raw}}
  closed: {{paths: [/closed], upstream: raw, plugins: {{key-auth: {{}}}}}}
",
        targets.join(", ")
    )
}

fn answering(status: u16) -> Origin {
    Origin::start(move |request| request.answer(status, &status.to_string()))
}

fn with_body(method: &str, path: &str, length: usize) -> String {
    head(method, path, &[&format!("Content-Length: {length}")]) + &"x".repeat(length)
}

/// The attempts that each record tells of.
fn attempts(gateway: &Gateway, count: usize) -> Vec<u64> {
    gateway.audit(count).iter().map(|line| line["attempts"].as_u64().unwrap()).collect()
}

#[test]
fn an_idle_connection_that_is_dead_costs_nobody_an_error() {
    let origin = Origin::start(|request| request.nth == 1 && request.answer(200, "ok"));
    let gateway = Gateway::start(&conf(&[&origin.address.to_string()], "retries: {attempts: 0}"));
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.request("GET", "/", &[]).expect(200);
    }
    assert_eq!(attempts(&gateway, 3), [1, 2, 1], "used once, not kept: the third finds none of the pool");
    // The one for the third was kept; what is not idempotent is not repeated once a byte was sent.
    // Of the same client: when its next request is read, that connection is in the pool again.
    let before = origin.requests();
    client.send(with_body("POST", "/", 3)).response().expect(502);
    assert_eq!(origin.requests(), before + 1);
}

#[test]
fn bodies_of_every_size_come_whole_to_the_target_that_is_tried_next() {
    let origin = Origin::start(|request| {
        let body = request.text.split_once("\r\n\r\n").unwrap().1.to_owned();
        request.answer(200, &hex::encode(Sha256::digest(body)))
    });
    let gateway = Gateway::start(&conf(&[DEAD, &origin.address.to_string()], "keepalive: 8"));
    let mut client = gateway.connect();
    let sizes = [0, 1, 65_535, 65_536, 65_537, 1 << 20];
    for size in sizes {
        // One of two in a row meets the one that is dead first.
        for _ in 0..2 {
            let answer = client.send(with_body("POST", "/", size)).response().expect(200);
            assert_eq!(answer.text(), hex::encode(Sha256::digest("x".repeat(size))), "{size}");
        }
    }
    let all = attempts(&gateway, 2 * sizes.len());
    assert!(all.iter().filter(|count| **count == 2).count() >= 3, "{all:?}");
}

#[test]
fn a_target_without_a_listener_is_passed_over() {
    let origin = answering(200);
    let conf_of_two = conf(&[DEAD, &origin.address.to_string()], "keepalive: 8");
    let gateway = Gateway::start(&format!("admin: {{address: 127.0.0.1:0}}\n{conf_of_two}"));
    let mut client = gateway.connect();
    for _ in 0..6 {
        // Nothing was sent: any method can be tried elsewhere.
        client.send(with_body("POST", "/", 3)).response().expect(200);
    }
    assert_eq!(attempts(&gateway, 6).iter().sum::<u64>(), 9);
    let metrics = crate::life::admin(&gateway, "GET", "/metrics", None).expect(200).text();
    assert!(metrics.contains("palisade_upstream_retries_total{upstream=\"raw\"} 3\n"), "{metrics}");

    let gateway = Gateway::start(&conf(&[DEAD, DEAD.replace(".1:", ".2:").as_str()], "keepalive: 8"));
    assert_eq!(gateway.get("/").expect(502).reason(), "upstream_unreachable");
    assert_eq!(attempts(&gateway, 1), [3]);
    let gateway = Gateway::start(&conf(&[DEAD], "retries: {on: ['503']}"));
    assert_eq!(gateway.get("/").expect(502).reason(), "upstream_unreachable");
    assert_eq!(attempts(&gateway, 1), [1]);
}

#[test]
fn what_is_safe_is_asked_again_elsewhere() {
    let (bad, good) = (answering(503), answering(200));
    let targets = [bad.address.to_string(), good.address.to_string()];
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let gateway = Gateway::start(&conf(&targets, "retries: {attempts: 1, on: ['503'], budget: 100%}"));
    let mut client = gateway.connect();
    for _ in 0..4 {
        client.request("GET", "/", &[]).expect(200);
    }
    for method in ["PUT", "DELETE"] {
        for _ in 0..2 {
            client.send(with_body(method, "/", 10_000)).response().expect(200);
        }
    }
    assert_eq!((bad.requests(), good.requests()), (4, 8));
    let mut statuses: Vec<u16> =
        (0..4).map(|_| client.send(with_body("POST", "/", 3)).response().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503]);
    // A body that cannot be kept cannot be sent again.
    let mut statuses: Vec<u16> =
        (0..2).map(|_| client.send(with_body("PUT", "/", 100_000)).response().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 503]);
    assert_eq!(attempts(&gateway, 14).iter().sum::<u64>(), 14 + 4);
}

#[test]
fn what_was_sent_again_is_what_was_judged() {
    let (sender, seen) = std::sync::mpsc::channel();
    let origin = Origin::start(move |request| {
        sender.send(request.text.clone()).unwrap();
        request.answer(502, "") && request.wait_for_close()
    });
    let gateway = Gateway::start(&conf(
        &[&origin.address.to_string()],
        "retries: {attempts: 2, on: ['502'], budget: 100%}",
    ));
    let request = head("PUT", "/closed", &["apikey: alice-key", "Content-Length: 5"]) + "hello";
    let answer = gateway.connect().send(request).response();
    assert_eq!(answer.status, 502);
    let mut texts: Vec<String> = seen.try_iter().collect();
    assert_eq!(texts.len(), 3);
    let first = texts.remove(0);
    assert!(first.contains("x-consumer-id: alice") && !first.contains("alice-key"), "{first}");
    assert!(first.ends_with("\r\n\r\nhello"));
    assert!(texts.iter().all(|text| *text == first), "{texts:?}");
    // Without a key nothing is sent, however often.
    gateway.request("PUT", "/closed", &[]).expect(401);
    assert!(seen.try_recv().is_err());
    let lines = gateway.audit(2);
    // Which of the two was written first does not matter.
    let sent = lines.iter().find(|line| line["status"] == 502).unwrap();
    assert_eq!(sent["request_bytes"], 5, "the client has sent it once");
    let ran = sent["decisions"].as_array().unwrap().iter();
    assert_eq!(ran.filter(|decision| decision["plugin"] == "key-auth").count(), 1);
}

#[test]
fn a_body_that_plugins_have_seen_in_pieces_is_not_sent_again() {
    let origin = answering(503);
    let conf = conf(&[&origin.address.to_string()], "retries: {attempts: 2, on: ['503'], budget: 100%}");
    let gateway = Gateway::start_with_test_plugins(
        &(conf + "  pieces: {paths: [/pieces], upstream: raw, plugins: {test-pieces: {deny: evil}}}\n"),
    );
    for (path, requests) in [("/pieces", 1), ("/", 3)] {
        let before = origin.requests();
        gateway.connect().send(with_body("PUT", path, 10)).response().expect(503);
        assert_eq!(origin.requests() - before, requests, "{path}");
    }
    // Without a body there is nothing that they could see twice.
    gateway.get("/pieces").expect(503);
    assert_eq!(origin.requests(), 1 + 3 + 3);
}

#[test]
fn what_is_written_is_all_that_is_sent_again() {
    let origin = Origin::start(|_| false);
    for (on, requests) in [("['503']", 1), ("[]", 1), ("[reset]", 3)] {
        let before = origin.requests();
        let gateway =
            Gateway::start(&conf(&[&origin.address.to_string()], &format!("retries: {{on: {on}}}")));
        gateway.get("/").expect(502);
        assert_eq!(origin.requests() - before, requests, "{on}");
    }
}

#[test]
fn an_answer_that_has_begun_is_not_asked_for_again() {
    let origin = Origin::start(|request| {
        request.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        false
    });
    let gateway = Gateway::start(&conf(&[&origin.address.to_string()], "retries: {on: [reset, '502']}"));
    let mut client = gateway.connect();
    client.send(head("GET", "/", &[]));
    assert!(client.rest().ends_with("half"));
    assert_eq!(attempts(&gateway, 1), [1]);
    // Half a head is none.
    let origin = Origin::start(|request| {
        request.send("HTTP/1.1 200 OK\r\nContent-Le");
        false
    });
    let gateway = Gateway::start(&conf(&[&origin.address.to_string()], "retries: {on: [reset]}"));
    gateway.get("/").expect(502);
    gateway.connect().send(with_body("POST", "/", 3)).response().expect(502);
    // The record of the one may be written before that of the other.
    let mut attempts = attempts(&gateway, 2);
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 3]);
}

#[test]
fn retries_keep_to_the_budget() {
    let origin = answering(503);
    let gateway = Gateway::start(&conf(
        &[&origin.address.to_string()],
        "retries: {attempts: 1, on: ['503'], budget: 0%}",
    ));
    let mut client = gateway.connect();
    let begun = Instant::now();
    for _ in 0..20 {
        client.request("GET", "/", &[]).expect(503);
    }
    // Ten retries are free, and after ten seconds ten more; which is long before on any machine but a slow one.
    let free = 10 * (1 + begun.elapsed().as_secs() as usize / 10);
    assert!((20 + 10..=20 + free).contains(&origin.requests()), "{} {free}", origin.requests());
}

#[test]
fn a_target_that_fails_is_put_aside_and_never_the_last_one() {
    let (bad, good) = (answering(500), answering(200));
    let targets = [bad.address.to_string(), good.address.to_string()];
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let outlier = "outlier: {consecutive_failures: 3, eject: 1h}";
    let gateway = Gateway::start(&format!("admin: {{address: 127.0.0.1:0}}\n{}", conf(&targets, outlier)));
    let mut client = gateway.connect();
    for _ in 0..20 {
        client.request("GET", "/", &[]);
    }
    assert_eq!((bad.requests(), good.requests()), (3, 17));
    let shown = crate::life::admin(&gateway, "GET", "/upstreams", None).expect(200).json();
    let states = |shown: &serde_json::Value| -> Vec<_> {
        let upstreams = shown.as_array().unwrap();
        let raw = upstreams.iter().find(|upstream| upstream["name"] == "raw").unwrap();
        raw["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|target| target["addresses"][0]["state"].clone())
            .collect()
    };
    assert_eq!(states(&shown), [json!("ejected"), json!("up")]);
    let metrics = crate::life::admin(&gateway, "GET", "/metrics", None).expect(200).text();
    for (address, up) in [(&bad.address, 0), (&good.address, 1)] {
        let line = format!("palisade_upstream_target_up{{target=\"{address}\",upstream=\"raw\"}} {up}\n");
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
    assert!(metrics.contains("palisade_upstream_ejections_total{upstream=\"raw\"} 1\n"), "{metrics}");
    // A reload forgets nothing of targets that stay.
    gateway.hangup("is serving");
    for _ in 0..6 {
        client.request("GET", "/", &[]).expect(200);
    }
    assert_eq!(bad.requests(), 3);

    let (one, two) = (answering(500), answering(500));
    let targets = [one.address.to_string(), two.address.to_string()];
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let gateway = Gateway::start(&conf(&targets, outlier));
    let mut client = gateway.connect();
    for _ in 0..30 {
        client.request("GET", "/", &[]).expect(500);
    }
    assert_eq!(one.requests().min(two.requests()), 3);
}

#[test]
fn the_least_loaded_target_is_chosen_and_who_leaves_is_counted_out() {
    let held = |request: &mut crate::origin::Request<'_>| match request.path() {
        "/held" => request.wait_for_close(),
        _ => request.answer(200, "ok"),
    };
    let (one, two) = (Origin::start(held), Origin::start(held));
    let targets = [one.address.to_string(), two.address.to_string()];
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let gateway = Gateway::start(&format!(
        "admin: {{address: 127.0.0.1:0}}\n{}",
        conf(&targets, "balance: least_connections")
    ));
    let in_flight = || -> Vec<u64> {
        let shown = crate::life::admin(&gateway, "GET", "/upstreams", None).expect(200).json();
        let upstreams = shown.as_array().unwrap();
        let raw = upstreams.iter().find(|upstream| upstream["name"] == "raw").unwrap();
        let targets = raw["targets"].as_array().unwrap();
        targets.iter().map(|target| target["addresses"][0]["in_flight"].as_u64().unwrap()).collect()
    };
    let mut waiting = Vec::new();
    for count in 1..=4 {
        let mut client = gateway.connect();
        client.send(head("GET", "/held", &[]));
        waiting.push(client);
        until("the request at an origin", || (one.requests() + two.requests() == count).then_some(()));
    }
    assert_eq!((one.requests(), two.requests()), (2, 2));
    assert_eq!(in_flight(), [2, 2]);
    // Clients that leave: recorded as such, their connections closed, their requests no longer counted.
    for client in waiting {
        client.abort();
    }
    until("the requests to be counted out", || (in_flight() == [0, 0]).then_some(()));
    until("the connections to be closed", || (one.closed() + two.closed() == 4).then_some(()));
    assert!(gateway.audit(4).iter().all(|line| line["status"] == 499));

    let mut client = gateway.connect();
    client.send(head("GET", "/held", &[]));
    until("the request at an origin", || (one.requests() + two.requests() == 5).then_some(()));
    let (busy, free) = if one.requests() == 3 { (&one, &two) } else { (&two, &one) };
    let mut other = gateway.connect();
    for _ in 0..5 {
        other.request("GET", "/", &[]).expect(200);
    }
    assert_eq!((busy.requests(), free.requests()), (3, 7));
}

#[test]
fn chance_favours_nobody_and_follows_no_order() {
    let (one, two) = (
        Origin::start(|request| request.answer(200, "1")),
        Origin::start(|request| request.answer(200, "2")),
    );
    let targets = [one.address.to_string(), two.address.to_string()];
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let gateway = Gateway::start(&conf(&targets, "balance: random"));
    let mut client = gateway.connect();
    let order: Vec<String> = (0..100).map(|_| client.request("GET", "/", &[]).expect(200).text()).collect();
    assert!(one.requests() > 25 && two.requests() > 25, "{} {}", one.requests(), two.requests());
    // In turn, nobody would be chosen twice in succession.
    let again = order.windows(2).filter(|pair| pair[0] == pair[1]).count();
    assert!((20..80).contains(&again), "{again} of 99: {order:?}");
}
