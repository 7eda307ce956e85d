//! A successor takes over while clients go on.

use crate::{
    client::{Client, head},
    h2c::Stream,
    harness::{Gateway, until},
    http2::block_on,
    life::admin,
    origin::Origin,
    successors::{Successor, run_upgrade, script, upgrade},
};
use std::{
    io::{Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
};

const CONF: &str = "routes: {echo: {paths: [/echo/*], upstream: demo}}";

#[test]
fn an_upgrade_loses_nothing() {
    let mut gateway = Gateway::start(CONF);
    // A port that the system has picked cannot be asked for by the successor again: the socket is what it gets.
    let address = gateway.address();
    let mut kept = gateway.connect();
    kept.request("GET", "/echo/before", &[]).expect(200);
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                Client::connect(address).request("GET", "/echo/load", &[]).expect(200);
                count += 1;
            }
            count
        })
    };
    let successor = Successor::of(&gateway);
    successor.wait_for_log("the predecessor drains");
    gateway.wait_for_log("a successor has taken over", 1);
    assert_eq!(successor.at("listener public"), address);
    // Its connection is still with the old process, which answers and says goodbye.
    assert_eq!(kept.request("GET", "/echo/kept", &[]).expect(200).header("connection"), Some("close"));
    assert!(kept.is_closed());
    assert_eq!(gateway.wait().code(), Some(0));
    let mut after = Client::connect(address);
    for _ in 0..20 {
        after.request("GET", "/echo/after", &[]).expect(200);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(load.join().unwrap() > 0, "every request was answered");
}

#[test]
fn a_successor_without_a_predecessor_says_so() {
    let (code, text) = Gateway::prepare(CONF).refused_with(&["--upgrade"]);
    assert_eq!(code, 1);
    assert!(text.contains("start without `--upgrade`"), "{text}");
}

#[test]
fn palisade_upgrade_replaces_the_process_again_and_again() {
    let admin_too = format!("admin: {{address: 127.0.0.1:0, probes: 127.0.0.1:0}}\n{CONF}");
    let mut gateway = Gateway::start(&admin_too);
    let mut kept = gateway.connect();
    kept.request("GET", "/echo/before", &[]).expect(200);
    let mut probe = Client::connect(gateway.at("probes"));
    probe.request("GET", "/readyz", &[]).expect(200);
    let second = upgrade(&gateway, &[]);
    assert_ne!(second.0, gateway.id());
    // What is asked from here on is asked of the new process.
    admin(&gateway, "GET", "/readyz", None).expect(200);
    let served = |text: &str| {
        let metrics = admin(&gateway, "GET", "/metrics", None).expect(200).text();
        metrics.lines().any(|line| line.starts_with("palisade_requests_total{") && line.ends_with(text))
    };
    assert!(!served(" 1"), "it has served nothing yet");
    gateway.get("/echo/new").expect(200);
    until("the count", || served(" 1").then_some(()));
    assert_eq!(kept.request("GET", "/echo/kept", &[]).expect(200).header("connection"), Some("close"));
    assert!(kept.is_closed());
    assert_eq!(gateway.wait().code(), Some(0));
    let mut held = gateway.connect();
    held.request("GET", "/echo/held", &[]).expect(200);
    // The successor can be replaced as well, by any name of a binary; the directory may be named in another way.
    let binary = script(&gateway, "exec \"$real\" \"$@\"");
    let third = upgrade(&gateway, &["--binary", &binary, "--run-dir", "state/run"]);
    assert!(held.request("GET", "/echo/held", &[]).expect(200).header("connection").is_some());
    until("the end of the second process", || (!second.is_alive()).then_some(()));
    gateway.get("/echo/third").expect(200);
    third.signal(rustix::process::Signal::TERM);
    until("the end of the third process", || (!third.is_alive()).then_some(()));
    let output = run_upgrade(&gateway, &[]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("no process that runs on `conf` has a control socket in"), "{text}");
}

/// An origin that echoes, streams for as long as the test says, or makes a tunnel.
fn origin(held: std::sync::mpsc::Receiver<()>) -> Origin {
    let held = Mutex::new(held);
    Origin::start(move |request| match request.path() {
        "/stream" => {
            let sent = request.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nfirst");
            held.lock().unwrap().recv().unwrap();
            let _ = sent && request.send("second");
            false
        }
        "/held" => {
            held.lock().unwrap().recv().unwrap();
            request.answer(200, "held")
        }
        "/ws" => {
            request.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
            let mut piece = [0; 64];
            while let Ok(count) = request.stream.read(&mut piece) {
                if count == 0 || request.stream.write_all(&piece[..count]).is_err() {
                    break;
                }
            }
            false
        }
        _ => {
            let length = request.content().len();
            request.answer(200, &length.to_string())
        }
    })
}

fn conf(origin: &Origin, more: &str) -> String {
    format!(
        "
{more}
listeners: {{h2: {{address: 127.0.0.1:0, http2: true}}}}
upstreams: {{raw: {{targets: [{{address: '{}'}}]}}}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
        origin.address
    )
}

fn tunnel(gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    let fields =
        ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"];
    client.send(head("GET", "/ws", &fields));
    assert_eq!(client.response().status, 101);
    client
}

fn echoes(tunnel: &mut Client, text: &str) {
    tunnel.send(text);
    tunnel.wait_for(text);
}

#[test]
fn what_is_in_flight_ends_in_the_old_process() {
    let (release, held) = channel();
    let origin = origin(held);
    // On whatever machine the upgrade is over before anything of this is too late.
    let limits = "drain_timeout: 5m\nlimits: {header_timeout: 5m, body_timeout: 5m, idle_timeout: 5m}";
    let mut gateway = Gateway::start(&conf(&origin, limits));
    let mut upload = gateway.connect();
    upload.send(head("POST", "/up", &["Content-Length: 10"])).send("half ");
    let mut chunked = gateway.connect();
    chunked.send(head("POST", "/up", &["Transfer-Encoding: chunked"])).send("4\r\nhalf\r\n");
    let mut half = gateway.connect();
    half.send("GET /half HTTP/1.1\r\nHo");
    let mut silent = gateway.connect();
    let mut tunnel = tunnel(&gateway);
    echoes(&mut tunnel, "before");
    let mut stream = gateway.connect();
    stream.send(head("GET", "/stream", &[]));
    stream.wait_for("first");
    block_on(async {
        let mut h2 = Stream::open(gateway.at("listener h2"), "/up", Some("half")).await;
        assert_eq!(h2.again("/quick").await, 200);
        until("the connections at the origin", || (origin.opened() >= 5).then_some(()));
        let next = tokio::task::block_in_place(|| upgrade(&gateway, &[]));
        gateway.get("/new").expect(200);
        h2.piece(" of it");
        h2.end();
        let (status, body, _) = h2.answer().await;
        assert_eq!((status, &body[..]), (200, &b"10"[..]), "half of it");
        assert!(h2.is_told_to_go().await, "the client knows that it should connect again");
        drop(h2);
        tokio::task::block_in_place(|| {
            upload.send("rest!");
            assert_eq!(upload.response().expect(200).text(), "10");
            chunked.send("2\r\nof\r\n0\r\n\r\n");
            assert_eq!(chunked.response().expect(200).text(), "6");
            for (client, rest) in
                [(&mut half, "st: a\r\n\r\n"), (&mut silent, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")]
            {
                assert_eq!(client.send(rest).response().expect(200).header("connection"), Some("close"));
            }
            echoes(&mut tunnel, "after");
            release.send(()).unwrap();
            stream.wait_for("second");
            stream.wait_for("0\r\n\r\n");
            assert!(gateway.log().matches("drained in").count() == 0, "the tunnel is open");
            tunnel.abort();
            // What began before the upgrade was answered as ever, and waits for the next request.
            drop((upload, chunked, stream));
            // It does not wait for anything else.
            assert_eq!(gateway.wait().code(), Some(0));
        });
        drop(next);
    });
    assert!(
        gateway.log().contains("drained in") && !gateway.log().contains("connections cut"),
        "{}",
        gateway.log()
    );
}

#[test]
fn tunnels_and_streams_are_cut_at_the_written_limit() {
    let (_release, held) = channel();
    let origin = origin(held);
    // Long enough for the tunnel to be tried before, and shorter than a stream without progress is borne with.
    let limits = "drain_timeout: 8s\nlimits: {idle_timeout: 8s}";
    let mut gateway = Gateway::start(&conf(&origin, limits));
    let (mut tunnel, mut stream) = (tunnel(&gateway), gateway.connect());
    echoes(&mut tunnel, "before");
    stream.send(head("GET", "/stream", &[]));
    stream.wait_for("first");
    let _next = upgrade(&gateway, &[]);
    echoes(&mut tunnel, "after");
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(gateway.log().contains(", 2 connections cut"), "{}", gateway.log());
    assert!(tunnel.is_closed());
    // It had no length: that it was cut shows by the missing last chunk.
    assert!(!stream.rest().ends_with("0\r\n\r\n"));
}

#[test]
fn sigquit_changes_nothing_but_the_log() {
    let gateway = Gateway::start(CONF);
    let mut client = gateway.connect();
    client.request("GET", "/echo/before", &[]).expect(200);
    gateway.signal(rustix::process::Signal::QUIT);
    gateway.wait_for_log("SIGQUIT ignored", 1);
    let answer = client.request("GET", "/echo/after", &[]).expect(200);
    assert_ne!(answer.header("connection"), Some("close"));
    gateway.get("/echo/new").expect(200);
}

#[test]
fn sigterm_ends_the_wait_for_idle_connections() {
    let mut gateway = Gateway::start(CONF);
    let mut idle = gateway.connect();
    idle.request("GET", "/echo/before", &[]).expect(200);
    let _next = upgrade(&gateway, &[]);
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(idle.is_closed());
    gateway.get("/echo/new").expect(200);
}
