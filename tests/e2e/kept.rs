//! Upgrades of which nothing comes: the old process goes on as if nothing had been.

use crate::{
    client::Client,
    harness::{Gateway, until},
    ports::Port,
    successors::{kept, run_upgrade, script, upgrade},
};
use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::Signal,
};
use std::{
    io::{IoSlice, Read, Write},
    net::TcpListener,
    os::{
        fd::AsFd,
        unix::net::{UnixListener, UnixStream},
    },
};

const CONF: &str = "routes: {echo: {paths: [/echo/*], upstream: demo}}";

/// It answers on an old connection, which goes on, and on new ones.
fn serves(gateway: &Gateway, kept: &mut Client) {
    let answer = kept.request("GET", "/echo/kept", &[]).expect(200);
    assert_ne!(answer.header("connection"), Some("close"));
    for _ in 0..5 {
        gateway.get("/echo/new").expect(200);
    }
}

#[test]
fn a_broken_configuration_keeps_the_old_process() {
    let gateway = Gateway::start(CONF);
    let mut client = gateway.connect();
    serves(&gateway, &mut client);
    for wrong in [
        "routes:\n  echo: {pahts: [/echo/*], upstream: demo}\n  two: {paths: [two], upstream: nowhere}",
        "not: [yaml",
    ] {
        gateway.rewrite(wrong);
        let why = kept(&gateway, &[]);
        assert!(why.contains("the old process was kept: ") && why.contains("test.yaml:"), "{why}");
        serves(&gateway, &mut client);
    }
    gateway.rewrite(CONF);
    let _next = upgrade(&gateway, &[]);
    gateway.get("/echo/after").expect(200);
}

#[test]
fn a_binary_that_crashes_at_the_start_keeps_the_old_process() {
    let gateway = Gateway::start(CONF);
    let mut client = gateway.connect();
    serves(&gateway, &mut client);
    for (text, why) in [
        ("exit 1", "says nothing and ends with exit status: 1"),
        ("[ $1 = check ] && exec \"$real\" \"$@\"; exit 7", "ended before it took over (exit status: 7)"),
        ("[ $1 = check ] && exec \"$real\" \"$@\"; kill -SEGV $$", "(signal: 11 (SIGSEGV)"),
    ] {
        let binary = script(&gateway, text);
        let told = kept(&gateway, &["--binary", &binary]);
        assert!(told.contains(why), "{told}");
        serves(&gateway, &mut client);
    }
    let told = kept(&gateway, &["--binary", "/nothing/there"]);
    assert!(told.contains("cannot start `/nothing/there`"), "{told}");
    serves(&gateway, &mut client);
    let _next = upgrade(&gateway, &[]);
    gateway.get("/echo/after").expect(200);
}

#[test]
fn an_address_that_is_taken_keeps_the_old_process() {
    let gateway = Gateway::start(CONF);
    let mut client = gateway.connect();
    // Nobody else gets it when it is no longer taken.
    let port = Port::free();
    let address = port.address();
    let taken = TcpListener::bind(address).unwrap();
    gateway.rewrite(&format!("listeners: {{more: {{address: '{address}'}}}}\n{CONF}"));
    let told = kept(&gateway, &[]);
    assert!(told.contains(&format!("cannot listen on {address}")), "{told}");
    serves(&gateway, &mut client);
    // What a reload cannot do an upgrade can: listeners come and go.
    drop(taken);
    let _next = upgrade(&gateway, &[]);
    Client::connect(address).request("GET", "/echo/more", &[]).expect(200);
}

#[test]
fn a_process_that_is_killed_can_be_started_again() {
    let mut gateway = Gateway::start(CONF);
    gateway.get("/echo/before").expect(200);
    gateway.signal(Signal::KILL);
    gateway.wait();
    let output = run_upgrade(&gateway, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("start one with `palisade run`"));
    // The control socket that it has left stands in nobody's way.
    assert_eq!(std::fs::read_dir(gateway.state().join("run")).unwrap().count(), 1);
    let again = gateway.again();
    again.get("/echo/after").expect(200);
}

#[test]
fn a_predecessor_that_is_killed_before_it_has_handed_over_is_lost() {
    let gateway = Gateway::start(CONF);
    let mut kept = gateway.connect();
    kept.request("GET", "/echo/before", &[]).expect(200);
    // The new binary kills the old one when it has checked the configuration; it cannot have the sockets then.
    let binary =
        script(&gateway, &format!("[ $1 = check ] || kill -9 {}; exec \"$real\" \"$@\"", gateway.id()));
    let output = run_upgrade(&gateway, &["--binary", &binary]);
    assert_eq!(output.status.code(), Some(1), "nobody says that it was done");
    // All that waited is lost with it, and the port is free for whoever starts it again.
    assert!(kept.is_closed());
    until("the end of both", || std::net::TcpStream::connect(gateway.address()).is_err().then_some(()));
    let again = gateway.again();
    again.get("/echo/after").expect(200);
}

/// One message of a handover.
fn frame(text: &str) -> Vec<u8> {
    [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn expect(stream: &mut UnixStream, text: &str) {
    let mut received = vec![0; 4 + text.len()];
    stream.read_exact(&mut received).unwrap();
    assert_eq!(received, frame(text));
}

#[test]
fn a_predecessor_that_is_killed_after_it_has_handed_over_leaves_its_successor_serving() {
    let prepared = Gateway::prepare(CONF);
    let (conf, run) = (prepared.dir().join("conf"), prepared.dir().join("state/run"));
    std::fs::create_dir_all(&run).unwrap();
    let path = palisade::edge::handover::socket_path(&run, &conf).unwrap();
    let control = UnixListener::bind(&path).unwrap();
    let public = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = public.local_addr().unwrap();
    // It gives its socket away, is asked for what it knows, and dies.
    let predecessor = std::thread::spawn(move || {
        let (mut stream, _) = control.accept().unwrap();
        expect(&mut stream, "hello 2");
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut fds = SendAncillaryBuffer::new(&mut space);
        let sockets = [public.as_fd()];
        assert!(fds.push(SendAncillaryMessage::ScmRights(&sockets)));
        let message = frame("socket listener public");
        sendmsg(&stream, &[IoSlice::new(&message)], &mut fds, SendFlags::empty()).unwrap();
        stream.write_all(&frame("sockets 1")).unwrap();
        expect(&mut stream, "state");
    });
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_palisade"));
    let gateway = prepared.start_with(binary, &["--upgrade"], &[]);
    predecessor.join().unwrap();
    assert_eq!(gateway.address(), address);
    gateway.get("/echo/after").expect(200);
    gateway.wait_for_log("the predecessor is gone", 1);
    // It can be replaced as any other.
    let _next = upgrade(&gateway, &[]);
    gateway.get("/echo/next").expect(200);
}
