//! Several workers: each serves its own connections, and has its own to origins.

use crate::{
    client::{Client, head},
    harness::{Gateway, until},
    life::admin,
    origin::Origin,
    successors::{Successor, upgrade},
};
use std::path::Path;

const WORKERS: usize = 3;

fn start(origin: &Origin, more: &str) -> Gateway {
    let conf = format!(
        "
admin: {{address: 127.0.0.1:0}}
upstreams: {{raw: {{targets: [{{address: '{}'}}]}}}}
routes: {{raw: {{paths: [/*], upstream: raw{more}}}}}
",
        origin.address
    );
    let threads = WORKERS.to_string();
    Gateway::prepare(&conf).start_with(
        Path::new(env!("CARGO_BIN_EXE_palisade")),
        &["--threads", &threads],
        &[],
    )
}

fn echo() -> Origin {
    Origin::start(|request| request.answer(200, "ok"))
}

/// The worker threads of a process.
fn workers(gateway: &Gateway) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.id())).unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("palisade-")).count()
}

#[test]
fn connections_are_spread_and_stay_with_their_worker() {
    let origin = Origin::start(|request| request.answer(200, &request.nth.to_string()));
    let gateway = start(&origin, "");
    assert_eq!(workers(&gateway), WORKERS);
    let mut clients: Vec<Client> = (0..4 * WORKERS).map(|_| gateway.connect()).collect();
    let mut ask = |client: usize| {
        let answer = clients[client].request("GET", "/", &[]).expect(200).text();
        answer.parse::<usize>().unwrap()
    };
    for client in 0..4 * WORKERS {
        ask(client);
    }
    // One request at a time: each worker needs one connection to the origin, and uses no other's.
    assert_eq!(origin.opened(), WORKERS);
    for client in 0..WORKERS {
        let first = ask(client);
        for more in 1..10 {
            assert_eq!(ask(client), first + more, "on the same connection");
        }
    }
    assert_eq!(origin.opened(), WORKERS);
}

#[test]
fn places_that_are_free_are_taken_first() {
    let origin = echo();
    let gateway = start(&origin, "");
    let mut clients: Vec<Client> = (0..WORKERS).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| drop(client.request("GET", "/", &[]).expect(200)));
    assert_eq!(origin.opened(), WORKERS);
    // Whoever leaves one makes room there: the next comes to the same, whose connection to the origin is idle.
    for _ in 0..WORKERS {
        clients.remove(0).abort();
        let open = || {
            let text = admin(&gateway, "GET", "/metrics", None).expect(200).text();
            let of = |line: &str| {
                line.strip_prefix("palisade_connections{state=\"idle\"} ")?.parse::<usize>().ok()
            };
            text.lines().find_map(of).unwrap()
        };
        until("the connection to be gone", || (open() == WORKERS - 1).then_some(()));
        let mut next = gateway.connect();
        next.request("GET", "/", &[]).expect(200);
        clients.push(next);
        assert_eq!(origin.opened(), WORKERS);
    }
}

#[test]
fn limits_hold_over_all_of_them() {
    let origin = echo();
    let gateway = start(&origin, ", plugins: {rate-limiting: {minute: 7, limit_by: ip}}");
    let mut clients: Vec<Client> = (0..WORKERS).map(|_| gateway.connect()).collect();
    let answers = (0..10).map(|turn| clients[turn % WORKERS].request("GET", "/", &[]).status);
    let answers: Vec<u16> = answers.collect();
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 7, "{answers:?}");
}

#[test]
fn all_of_them_drain() {
    let origin = Origin::start(|request| {
        let length = request.content().len();
        request.answer(200, &length.to_string())
    });
    let mut gateway = start(&origin, "");
    let mut halves: Vec<Client> = (0..2 * WORKERS).map(|_| gateway.connect()).collect();
    for half in &mut halves {
        half.send(head("POST", "/", &["Content-Length: 10"])).send("half ");
    }
    until("all at the origin", || (origin.opened() == halves.len()).then_some(()));
    let next = upgrade(&gateway, &[]);
    gateway.get("/").expect(200);
    for half in &mut halves {
        assert_eq!(half.send("rest!").response().expect(200).text(), "10");
    }
    // What was answered waits for its next request.
    drop(halves);
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!gateway.log().contains("connections cut"), "{}", gateway.log());
    drop(next);
}

#[test]
fn a_successor_may_have_another_number_of_them() {
    let origin = echo();
    let mut gateway = start(&origin, "");
    gateway.get("/").expect(200);
    let successor = Successor::of(&gateway);
    successor.wait_for_log("the predecessor drains");
    assert_eq!(gateway.wait().code(), Some(0));
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.connect()).collect();
    clients.iter_mut().for_each(|client| drop(client.request("GET", "/", &[]).expect(200)));
}
