//! The store against Redis servers that are down, killed, frozen, slow, full, locked and empty.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may panic")]

#[path = "../../../../tests/e2e/ports.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod ports;
mod servers;

use palisade_contract::{Answer, Store, StoreError};
use palisade_stores::Sentinel;
use servers::{Conf, Server, fails_at_once, free_port, get, sentinel, set, until};
use std::time::{Duration, Instant};

#[tokio::test]
async fn down_at_the_start_then_there() {
    let port = free_port();
    let url = format!("redis://127.0.0.1:{}", port.number());
    let store = Conf::of(&url).open();
    fails_at_once(&store, get("a")).await;
    assert!(!store.health().up);
    let _server = Server::start_on(port, &[]);
    until(&store, set("a", "1"), |result| *result == Ok(Answer::Done)).await.unwrap();
    assert_eq!(store.run(get("a")).await, Ok(Answer::Bytes("1".into())));
    let health = store.health();
    assert!(health.up && health.error.is_empty() && health.kind == "server", "{health:?}");
    assert_eq!(health.commands[0].1, 2);
}

#[tokio::test]
async fn killed_in_flight_then_back_and_empty() {
    let mut server = Server::start(&[]);
    let store = Conf::of(&server.url()).open();
    until(&store, set("a", "1"), Result::is_ok).await.unwrap();
    // These wait for an answer when it is killed.
    let wait = palisade_contract::Command::new("BLPOP").key("none").arg("0");
    let flying: Vec<_> = (0..20).map(|_| tokio::spawn(store.run(wait.clone()))).collect();
    tokio::task::yield_now().await;
    server.kill();
    for one in flying {
        assert!(one.await.unwrap().is_err());
    }
    until(&store, get("a"), |result| *result == Err(StoreError::Down)).await.unwrap_err();
    fails_at_once(&store, get("a")).await;
    server.again();
    assert_eq!(until(&store, get("a"), Result::is_ok).await, Ok(Answer::Nil));
}

#[tokio::test]
async fn frozen_then_thawed() {
    let server = Server::start(&[]);
    let store = Conf { timeout: Duration::from_millis(400), ..Conf::of(&server.url()) }.open();
    until(&store, set("a", "1"), Result::is_ok).await.unwrap();
    server.freeze();
    let begun = Instant::now();
    let first = store.run(get("a")).await;
    assert!(first.is_err() && begun.elapsed() < Duration::from_secs(30), "{first:?} {:?}", begun.elapsed());
    until(&store, get("a"), |result| *result == Err(StoreError::Down)).await.unwrap_err();
    fails_at_once(&store, get("a")).await;
    server.thaw();
    assert_eq!(until(&store, get("a"), Result::is_ok).await, Ok(Answer::Bytes("1".into())));
}

#[tokio::test]
async fn slow_is_waited_for_as_long_as_it_may() {
    let server = Server::start(&["--enable-debug-command", "yes"]);
    let url = server.url();
    let patient = Conf { timeout: Duration::from_secs(20), ..Conf::of(&url) }.open();
    let hasty = Conf { timeout: Duration::from_millis(50), ..Conf::of(&url) }.open();
    until(&patient, set("a", "1"), Result::is_ok).await.unwrap();
    until(&hasty, get("a"), Result::is_ok).await.unwrap();
    let port = server.port;
    let sleeping = std::thread::spawn(move || servers::cli(port, &["DEBUG", "SLEEP", "2"]));
    let late = until(&hasty, get("a"), Result::is_err).await;
    assert!(matches!(late, Err(StoreError::Timeout | StoreError::Down)), "{late:?}");
    assert_eq!(patient.run(get("a")).await, Ok(Answer::Bytes("1".into())));
    sleeping.join().unwrap();
    until(&hasty, get("a"), Result::is_ok).await.unwrap();
}

#[tokio::test]
async fn full_is_refused_and_nothing_else_is() {
    let server = Server::start(&["--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let store = Conf::of(&server.url()).open();
    until(&store, set("a", "1"), Result::is_ok).await.unwrap();
    let much = "x".repeat(100_000);
    let mut refused = None;
    for index in 0..200 {
        if let Err(error) = store.run(set(&format!("k{index}"), &much)).await {
            refused = Some(error);
            break;
        }
    }
    assert_eq!(refused, Some(StoreError::Refused("OOM".to_owned())));
    for _ in 0..20 {
        assert!(store.run(set("b", &much)).await.is_err());
    }
    assert_eq!(store.run(get("a")).await, Ok(Answer::Bytes("1".into())));
    assert!(store.health().up);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_not_shown() {
    let server = Server::start(&["--requirepass", "right-hunter2"]);
    server.cli(&["PING"]);
    let at = format!("127.0.0.1:{}", server.port);
    for url in [
        format!("redis://:wrong-hunter2@{at}"),
        format!("redis://{at}"),
        format!("redis://me:x-hunter2@{at}"),
    ] {
        let store = Conf::of(&url).open();
        let begun = Instant::now();
        while store.health().error.is_empty() {
            assert!(begun.elapsed() < servers::PATIENCE && !store.health().up);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(store.run(get("a")).await, Err(StoreError::Down));
        let shown = format!("{store:?} {:?} {:?}", store.health(), store.settings());
        assert!(!shown.contains("hunter2") && shown.contains(&at), "{shown}");
        let said = store.health().error;
        assert!(
            said.contains("refuses the user or the password") || said.contains("asks for a password"),
            "{said}"
        );
    }
    let url = format!("redis://:right-hunter2@{at}/2");
    until(&Conf::of(&url).open(), set("a", "1"), Result::is_ok).await.unwrap();
}

#[tokio::test]
async fn what_it_refuses_is_told_by_its_code_alone() {
    let server = Server::start(&[]);
    let store = Conf::of(&server.url()).open();
    until(&store, set("a", "text"), Result::is_ok).await.unwrap();
    let push = palisade_contract::Command::new("LPUSH").key("a").arg("hunter2");
    assert_eq!(store.run(push).await, Err(StoreError::Refused("WRONGTYPE".to_owned())));
    let unknown = palisade_contract::Command::new("NOSUCH").key("a").arg("hunter2");
    assert_eq!(store.run(unknown).await, Err(StoreError::Refused("ERR".to_owned())));
    assert!(store.health().up);
    let several = palisade_contract::Command::new("MGET").key("a").key("b");
    let expect = Answer::List(vec![Answer::Bytes("text".into()), Answer::Nil]);
    assert_eq!(store.run(several).await, Ok(expect));
    assert_eq!(store.run(palisade_contract::Command::new("INCR").key("n")).await, Ok(Answer::Int(1)));
}

#[tokio::test]
async fn tls_is_verified() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (cert, key) = (file("s.pem", made.cert.pem()), file("s.key", made.signing_key.serialize_pem()));
    let stranger = file("o.pem", other.cert.pem());
    let (cert_text, key_text) = (cert.display().to_string(), key.display().to_string());
    let server = Server::start(&[
        "--port",
        "0",
        "--tls-port",
        "PORT",
        "--tls-cert-file",
        &cert_text,
        "--tls-key-file",
        &key_text,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{}", server.port);
    let store = Conf { ca: Some(cert), ..Conf::of(&url) }.open();
    until(&store, set("a", "1"), Result::is_ok).await.unwrap();
    for ca in [Some(stranger), None] {
        let store = Conf { ca, ..Conf::of(&url) }.open();
        let begun = Instant::now();
        while store.health().error.is_empty() {
            assert!(begun.elapsed() < servers::PATIENCE && !store.health().up);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(store.run(get("a")).await, Err(StoreError::Down));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_which_one_is_gone() {
    let args = [
        "--cluster-enabled",
        "yes",
        // By default ten thousand above the other one, where there may be none.
        "--cluster-port",
        "BUS",
        "--cluster-require-full-coverage",
        "no",
        "--cluster-node-timeout",
        "60000",
    ];
    let mut servers = [Server::start(&args), Server::start(&args), Server::start(&args)];
    let nodes: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    servers.iter().for_each(|server| assert_eq!(server.cli(&["PING"]), "PONG"));
    let create = ["--cluster", "create", &nodes[0], &nodes[1], &nodes[2], "--cluster-yes"];
    servers[0].cli(&create);
    for server in &servers {
        let begun = Instant::now();
        while !server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(begun.elapsed() < servers::PATIENCE);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let url = servers[0].url();
    let store = Conf { cluster: true, nodes: &nodes[1..], ..Conf::of(&url) }.open();
    let keys: Vec<String> = (0..60).map(|index| format!("key-{index}")).collect();
    for key in &keys {
        until(&store, set(key, key), Result::is_ok).await.unwrap();
    }
    let held: Vec<usize> = servers.iter().map(|server| server.cli(&["DBSIZE"]).parse().unwrap()).collect();
    assert!(held.iter().sum::<usize>() == 60 && held.iter().all(|count| *count > 0), "{held:?}");
    let gone: Vec<String> = servers[2].cli(&["KEYS", "*"]).lines().map(str::to_owned).collect();
    servers[2].kill();
    for key in &gone {
        until(&store, get(key), |result| *result == Err(StoreError::Down)).await.unwrap_err();
    }
    fails_at_once(&store, get(&gone[0])).await;
    assert!(!store.health().up);
    for key in keys.iter().filter(|key| !gone.contains(key)) {
        let found = until(&store, get(key), Result::is_ok).await;
        assert_eq!(found, Ok(Answer::Bytes(key.clone().into())));
    }
    servers[2].again();
    for key in &gone {
        // It kept its slots and nothing else.
        assert_eq!(until(&store, get(key), Result::is_ok).await, Ok(Answer::Nil));
    }
    let begun = Instant::now();
    while !store.health().up {
        assert!(begun.elapsed() < servers::PATIENCE, "{:?}", store.health());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn sentinels_tell_where_the_primary_went() {
    let mut primary = Server::start(&[]);
    assert_eq!(primary.cli(&["PING"]), "PONG");
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {}", primary.port)]);
    let watching = sentinel("mymaster", primary.port);
    let known = Some(Sentinel {
        nodes: vec!["127.0.0.1:1".to_owned(), format!("127.0.0.1:{}", watching.port)],
        username: None,
        password: None,
    });
    let store = Conf { sentinel: known, ..Conf::of("redis://mymaster") }.open();
    until(&store, set("a", "1"), Result::is_ok).await.unwrap();
    let begun = Instant::now();
    let is_known = || watching.cli(&["SENTINEL", "REPLICAS", "mymaster"]).contains(&replica.port.to_string());
    while replica.cli(&["GET", "a"]) != "1" || !is_known() {
        assert!(begun.elapsed() < servers::PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    primary.kill();
    until(&store, set("b", "2"), Result::is_ok).await.unwrap();
    assert_eq!(store.run(get("a")).await, Ok(Answer::Bytes("1".into())));
    assert_eq!(replica.cli(&["GET", "b"]), "2");
}
