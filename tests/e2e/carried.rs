//! What a process knows goes on in the one that takes over, and what systemd is told.

use crate::{
    harness::{Gateway, until},
    health::states,
    issuers::Issuer,
    origin::Origin,
    ports::Port,
    signer::Signer,
    successors::{kept, script, upgrade},
};
use serde_json::json;
use std::{os::unix::net::UnixDatagram, sync::atomic::Ordering::SeqCst, time::Duration};

const LIMITED: &str = "
routes:
  one: {paths: [/one], plugins: {rate-limiting: {hour: 5, limit_by: ip}, request-termination: {status_code: 201}}}
";

#[test]
fn counts_go_on() {
    let gateway = Gateway::start(LIMITED);
    let ask = |status: u16| drop(gateway.get("/one").expect(status));
    for _ in 0..3 {
        ask(201);
    }
    let first = upgrade(&gateway, &[]);
    ask(201);
    // And in the one after that, with another number.
    gateway.rewrite(&LIMITED.replace("hour: 5", "hour: 6"));
    let _second = upgrade(&gateway, &[]);
    ask(201);
    ask(201);
    ask(429);
    drop(first);
}

#[test]
fn an_issuer_that_is_down_is_no_matter() {
    let signer = Signer::new();
    // Nobody else listens there when it is gone.
    let port = Port::free();
    let issuer = Issuer::start(Some(port.address()));
    issuer.has(&[signer.jwk("k")]);
    let address = issuer.address;
    let conf = format!(
        "routes: {{any: {{paths: [/echo/*], upstream: demo, plugins: {{jwt: {{issuer: 'http://{address}'}}}}}}}}"
    );
    let gateway = Gateway::start(&conf);
    let token = signer
        .token("k", &json!({"iss": format!("http://{address}"), "sub": "a", "exp": Signer::now() + 600}));
    let bearer = format!("authorization: Bearer {token}");
    let ask = || gateway.request("GET", "/echo/", &[&bearer]).status;
    until("the keys", || (ask() == 200).then_some(()));
    drop(issuer);
    until("the address", || std::net::TcpStream::connect(address).is_err().then_some(()));
    let _next = upgrade(&gateway, &[]);
    for _ in 0..5 {
        assert_eq!(ask(), 200);
    }
}

#[test]
fn what_is_known_of_targets_goes_on() {
    let bad = Origin::start(|request| request.answer(500, "bad"));
    let (ill, status) = crate::health::origin(503);
    let good = Origin::start(|request| request.answer(200, "good"));
    let gateway = Gateway::start(&format!(
        "
admin: {{address: 127.0.0.1:0}}
upstreams:
  raw:
    targets: [{{address: '{}'}}, {{address: '{}'}}]
    outlier: {{consecutive_failures: 2, eject: 1h}}
  checked:
    targets: [{{address: '{}'}}]
    health: {{path: /healthz, interval: 20ms, timeout: 20s, healthy: 2, unhealthy: 2, expect: [200]}}
routes:
  raw: {{paths: [/*], upstream: raw}}
  checked: {{paths: [/checked], upstream: checked}}
",
        bad.address, good.address, ill.address
    ));
    let mut client = gateway.connect();
    until("the ejection", || {
        client.request("GET", "/", &[]);
        (states(&gateway) == ["ejected", "up"]).then_some(())
    });
    until("the checks", || (gateway.get("/checked").status == 503).then_some(()));
    let before = bad.requests();
    let _next = upgrade(&gateway, &[]);
    assert_eq!(states(&gateway), ["ejected", "up"]);
    for _ in 0..10 {
        gateway.get("/").expect(200);
    }
    assert_eq!(bad.requests(), before);
    assert_eq!(gateway.get("/checked").expect(503).reason(), "no_healthy_target");
    status.store(200, SeqCst);
    until("the checks", || (gateway.get("/checked").status == 200).then_some(()));
}

/// The next thing that systemd is told, as lines.
fn told(socket: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let count = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..count]).lines().map(str::to_owned).collect()
}

#[test]
fn systemd_is_told_who_serves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let conf = "routes: {echo: {paths: [/echo/*], upstream: demo}}";
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_palisade"));
    let mut gateway = Gateway::prepare(conf).start_with(binary, &[], &environment);
    let first = told(&socket);
    assert!(first.contains(&"READY=1".to_owned()), "{first:?}");
    assert!(!first.iter().any(|line| line.starts_with("MAINPID")), "{first:?}");
    // Of an upgrade that comes to nothing it hears nothing.
    let broken = script(&gateway, "[ $1 = check ] || exit 1");
    kept(&gateway, &["--binary", &broken]);
    let next = upgrade(&gateway, &[]);
    let second = told(&socket);
    for line in ["READY=1".to_owned(), format!("MAINPID={}", next.0)] {
        assert!(second.contains(&line), "{second:?}");
    }
    // The old one ends without a word: it is not the service that stops.
    assert_eq!(gateway.wait().code(), Some(0));
    next.signal(rustix::process::Signal::TERM);
    let last = told(&socket);
    assert!(last.contains(&"STOPPING=1".to_owned()), "{last:?}");
    until("the end", || (!next.is_alive()).then_some(()));
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(socket.recv(&mut [0; 16]).is_err(), "nothing else was said");
}
