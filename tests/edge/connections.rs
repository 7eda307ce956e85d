//! Who may be connected, for how long, and who makes room.

use crate::support::{Client, Edge, PATIENCE, Tuning, eventually, limits};
use palisade::{conf::model::Limits, edge::connection::Bounds};
use std::time::Duration;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed() {
    let edge = Edge::start(Limits { idle_timeout: Duration::from_millis(200), ..limits() }).await;
    let mut client = edge.client().await;
    assert_eq!(client.get("/a").await.status, 200);
    assert!(client.rest().await.is_empty());
    eventually("an empty registry", || edge.registry.live() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_speaks_has_the_time_of_a_head() {
    let edge = Edge::start(Limits { header_timeout: Duration::from_millis(200), ..limits() }).await;
    let mut client = edge.client().await;
    // Nothing was asked, so nothing is answered.
    assert!(client.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_idle_makes_room_and_nobody_else() {
    let edge = Edge::start(Limits { connections: 4, ..limits() }).await;
    let mut clients = Vec::new();
    for count in 1..=4 {
        let mut client = edge.client().await;
        assert_eq!(client.get("/a").await.status, 200);
        clients.push(client);
        // One after the other, so that it is known which is idle longest.
        eventually("an idle connection", || edge.registry.stats().idle == count).await;
    }
    assert_eq!(edge.registry.stats().evicted, [0; 5], "nobody goes before somebody comes");
    let mut fifth = edge.client().await;
    assert_eq!(fifth.get("/a").await.status, 200);
    assert!(clients.remove(0).rest().await.is_empty());
    for client in &mut clients {
        assert_eq!(client.get("/b").await.status, 200);
    }
    assert_eq!(edge.registry.stats().evicted, [0, 1, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_connection_does_not_make_room() {
    let edge = Edge::start(Limits { connections: 1, ..limits() }).await;
    let mut busy = edge.client().await;
    busy.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the request at the origin", || edge.origin.requests() == 1).await;
    let mut waiting = edge.client().await;
    waiting.send("GET /b HTTP/1.1\r\nhost: a\r\n\r\n").await;
    edge.origin.release();
    assert_eq!(busy.answer().await.status, 200);
    assert_eq!(waiting.answer().await.status, 200);
    assert_eq!(edge.origin.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_makes_room() {
    let edge = Edge::start(Limits { connections: 1, ..limits() }).await;
    let mut slow = edge.client().await;
    slow.send("GET / HTTP/1.1\r\n").await;
    eventually("the slow connection", || edge.registry.stats().idle == 1).await;
    assert_eq!(edge.client().await.get("/a").await.status, 200);
    assert!(slow.rest().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_share() {
    let edge = Edge::start(Limits { connections_per_ip: 2, ..limits() }).await;
    let mut one = edge.client().await;
    let mut two = edge.client().await;
    assert_eq!(one.get("/a").await.status, 200);
    assert_eq!(two.get("/a").await.status, 200);
    let mut three = edge.client().await;
    assert!(three.rest().await.is_empty());
    assert_eq!(edge.registry.stats().refused, [1, 0]);
    assert_eq!(Client::connect_from("127.0.0.2", edge.address).await.get("/a").await.status, 200);
    drop(one);
    eventually("room", || edge.registry.live() == 1).await;
    assert_eq!(edge.client().await.get("/a").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_while_it_listens() {
    let edge = Edge::start(Limits { connections_per_ip: 0, ..limits() }).await;
    assert!(edge.client().await.rest().await.is_empty());
    let old = edge.settings().load_full();
    let settings = palisade::edge::listen::Settings {
        limits: std::sync::Arc::new(limits()),
        connections: old.connections,
        tls: None,
        http2: old.http2,
        proxy_protocol: false,
        trusted: Vec::new(),
    };
    edge.settings().store(std::sync::Arc::new(settings));
    assert_eq!(edge.client().await.get("/a").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_finishes_what_is_in_flight() {
    let mut edge = Edge::start(limits()).await;
    let (mut busy, mut idle) = (edge.client().await, edge.client().await);
    assert_eq!(idle.get("/a").await.status, 200);
    busy.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    eventually("the request at the origin", || edge.origin.requests() == 2).await;
    edge.drain().await;
    assert!(TcpStream::connect(edge.address).await.is_err(), "nobody listens");
    assert!(idle.is_open(), "a client that is about to send is still answered");
    let answer = idle.get("/b").await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(idle.rest().await.is_empty());
    // The client sees the end of its connection before the registry does.
    eventually("one is busy", || edge.registry.busy() == 1).await;
    edge.origin.release();
    assert_eq!(busy.answer().await.status, 200);
    eventually("nobody is busy", || edge.registry.busy() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_let_go() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    client.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut byte = [0];
    timeout(PATIENCE, client.0.read_exact(&mut byte)).await.unwrap().unwrap();
    drop(client);
    eventually("an empty registry", || edge.registry.live() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_listener_has_its_own_connections_and_all_have_some_together() {
    let tuning = Tuning { connections: 4, ..Tuning::default() };
    let edge = Edge::tuned(Limits { connections: 3, ..limits() }, false, None, tuning).await;
    let small = edge.another(Limits { connections: 1, ..limits() }, 4).await;
    let mut first = edge.client().await;
    assert_eq!(first.get("/a").await.status, 200);
    eventually("an idle connection", || edge.registry.stats().idle == 1).await;
    let (mut one, mut two) = (Client::connect(small).await, Client::connect(small).await);
    // The second makes the first of its listener go, though one of another has been idle longer.
    assert_eq!(two.get("/a").await.status, 200);
    assert!(one.rest().await.is_empty());
    assert_eq!(edge.registry.stats().evicted, [0, 1, 0, 0, 0]);
    let mut third = edge.client().await;
    let mut fourth = edge.client().await;
    assert_eq!((third.get("/a").await.status, fourth.get("/a").await.status), (200, 200));
    eventually("four idle connections", || edge.registry.stats().idle == 4).await;
    // All four are in use: the longest idle of all goes for one of either listener.
    let mut fifth = edge.client().await;
    assert_eq!(fifth.get("/a").await.status, 200);
    assert!(first.rest().await.is_empty());
    let evicted = edge.registry.stats().evicted;
    assert_eq!(evicted.iter().sum::<u64>(), 2, "{evicted:?}");
    assert_eq!(two.get("/b").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_bound_connections_too() {
    let edge = Edge::start(limits()).await;
    edge.registry.set_descriptors(2);
    let (mut one, mut two) = (edge.client().await, edge.client().await);
    assert_eq!(one.get("/a").await.status, 200);
    // The one that has not said anything yet is idle as well.
    eventually("two idle connections", || edge.registry.stats().idle == 2).await;
    assert_eq!(two.get("/a").await.status, 200);
    eventually("two idle connections", || edge.registry.stats().idle == 2).await;
    let mut three = edge.client().await;
    assert_eq!(three.get("/a").await.status, 200);
    assert_eq!(two.get("/a").await.status, 200);
    assert!(one.rest().await.is_empty());
    assert_eq!(edge.registry.stats().evicted, [0, 0, 1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_after_so_many_requests() {
    let Bounds { requests, stalled } = Bounds::default();
    assert_eq!((requests, stalled), (10_000, Duration::from_secs(30)));
    let bounds = Bounds { requests: 3, ..Bounds::default() };
    let edge = Edge::tuned(limits(), false, None, Tuning { bounds, ..Tuning::default() }).await;
    let mut client = edge.client().await;
    for number in 1..=3 {
        let answer = client.get("/a").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection") == Some("close"), number == 3, "{number}: {}", answer.head);
    }
    assert!(client.rest().await.is_empty());
}
