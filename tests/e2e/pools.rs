//! Connections to origins: who may share them, and what a reload leaves of them.

use crate::{
    authority::Signed,
    harness::{Gateway, PATIENCE, Prepared, until},
    health::states,
    mtls::{private, signed},
    origin::Origin,
};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto::ring, server::WebPkiClientVerifier,
};
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// What an origin saw of a request: the number of its connection, from 0; the name that was asked for; whether a
/// certificate was shown; the path.
type Seen = (usize, String, bool, String);

/// An origin over TLS that tells who came over which connection.
struct Strict {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Strict {
    /// It takes clients without a certificate, and those whose certificate one of these authorities has signed.
    fn start(own: &CertifiedKey<KeyPair>, known: &[&Signed]) -> Strict {
        let mut roots = RootCertStore::empty();
        for signed in known {
            roots.add(signed.authority.der().clone()).unwrap();
        }
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            .with_single_cert(vec![own.cert.der().clone()], private(&own.signing_key))
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let shared = seen.clone();
        std::thread::spawn(move || {
            for (number, tcp) in listener.incoming().map_while(Result::ok).enumerate() {
                let (config, seen) = (config.clone(), shared.clone());
                std::thread::spawn(move || serve(number, tcp, config, &seen));
            }
        });
        Strict { address, seen }
    }

    /// What came since the last call.
    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn serve(
    number: usize,
    mut tcp: TcpStream,
    config: Arc<ServerConfig>,
    seen: &Mutex<Vec<Seen>>,
) -> Option<()> {
    tcp.set_read_timeout(Some(2 * PATIENCE)).unwrap();
    let mut tls = ServerConnection::new(config).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).ok()?;
    }
    let name = tls.server_name().unwrap_or_default().to_owned();
    let shown = tls.peer_certificates().is_some();
    let mut stream = BufReader::new(StreamOwned::new(tls, tcp));
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read_until(b'\n', &mut head).ok()? == 0 {
                return None;
            }
        }
        let head = String::from_utf8(head).ok()?;
        let path = head.split(' ').nth(1)?.to_owned();
        seen.lock().unwrap().push((number, name.clone(), shown, path));
        stream.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok()?;
        stream.get_mut().flush().ok()?;
    }
}

/// A certificate for `a.test` and `b.test`, an origin that has it, and a configuration's files.
fn strict(conf: &str) -> (Strict, Prepared) {
    let own = generate_simple_self_signed(["a.test".to_owned(), "b.test".to_owned()]).unwrap();
    let (us, others) = (signed("gateway"), signed("gateway"));
    let origin = Strict::start(&own, &[&us, &others]);
    let prepared = Gateway::prepare(&conf.replace("ORIGIN", &origin.address.to_string()));
    prepared.write("certs/origin.pem", &own.cert.pem());
    prepared.write("certs/stranger.pem", &signed("stranger").authority.pem());
    for (name, pair) in [("us", &us), ("others", &others)] {
        prepared.write(&format!("certs/{name}.pem"), &pair.leaf.pem());
        prepared.write(&format!("certs/{name}.key"), &pair.key.serialize_pem());
    }
    (origin, prepared)
}

#[test]
fn who_is_somebody_else_has_connections_of_its_own() {
    let upstreams = [
        ("plain", "server_name: a.test, ca: certs/origin.pem", "a.test", false),
        ("same", "server_name: a.test, ca: certs/origin.pem", "a.test", false),
        ("named", "server_name: b.test, ca: certs/origin.pem", "b.test", false),
        (
            "us",
            "server_name: a.test, ca: certs/origin.pem, certificate: certs/us.pem, key: certs/us.key",
            "a.test",
            true,
        ),
        (
            "others",
            "server_name: a.test, ca: certs/origin.pem, certificate: certs/others.pem, key: certs/others.key",
            "a.test",
            true,
        ),
    ];
    let mut conf = "upstreams:\n".to_owned();
    for (name, tls, ..) in upstreams {
        conf += &format!("  {name}: {{targets: [{{address: ORIGIN}}], tls: {{{tls}}}}}\n");
    }
    conf += "  wary: {targets: [{address: ORIGIN}], tls: {server_name: a.test, ca: certs/stranger.pem}}\nroutes:\n";
    for name in upstreams.map(|(name, ..)| name).into_iter().chain(["wary"]) {
        conf += &format!("  {name}: {{paths: [/{name}], upstream: {name}}}\n");
    }
    let (origin, prepared) = strict(&conf);
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    // One client: when its next request is read, the connection of the last one is in the pool again.
    let mut client = gateway.connect();
    for _ in 0..3 {
        for (name, ..) in upstreams {
            client.request("GET", &format!("/{name}"), &[]).expect(200);
        }
        // It does not believe the origin, however many connections wait that others believe.
        assert_eq!(gateway.get("/wary").expect(502).reason(), "upstream_tls");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 15);
    let mut connections = std::collections::BTreeSet::new();
    for (name, _, server_name, shown) in upstreams {
        let path = format!("/{name}");
        let own: Vec<_> = seen.iter().filter(|(.., asked)| *asked == path).collect();
        assert_eq!(own.len(), 3, "{seen:?}");
        assert!(own.iter().all(|seen| seen.0 == own[0].0), "{name} keeps its connection: {seen:?}");
        assert_eq!((&*own[0].1, own[0].2), (server_name, shown), "{name}");
        assert!(connections.insert(own[0].0), "{name} has the connection of another: {seen:?}");
    }
}

#[test]
fn a_reload_that_makes_somebody_else_of_an_upstream_keeps_none_of_its_connections() {
    let conf = |tls: &str| {
        format!(
            "upstreams: {{raw: {{targets: [{{address: ORIGIN}}], tls: {{{tls}}}}}}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
"
        )
    };
    let first = "server_name: a.test, ca: certs/origin.pem, certificate: certs/us.pem, key: certs/us.key";
    let (origin, prepared) = strict(&conf(first));
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let mut client = gateway.connect();
    let mut ask = |tls: &str, status: u16| {
        gateway.rewrite(&conf(tls).replace("ORIGIN", &origin.address.to_string()));
        gateway.hangup("is serving");
        client.request("GET", "/", &[]).expect(status);
        origin.seen()
    };
    let one = ask(first, 200);
    assert_eq!(one, [(0, "a.test".to_owned(), true, "/".to_owned())]);
    assert_eq!(ask(first, 200), one, "nothing has changed");
    for (tls, name, shown, connection) in [
        ("server_name: a.test, ca: certs/origin.pem", "a.test", false, 1),
        ("server_name: b.test, ca: certs/origin.pem", "b.test", false, 2),
        (&first.replace("us.", "others."), "a.test", true, 3),
    ] {
        assert_eq!(ask(tls, 200), [(connection, name.to_owned(), shown, "/".to_owned())]);
    }
    assert_eq!(ask(&first.replace("origin", "stranger"), 502), []);
}

#[test]
fn two_upstreams_of_one_address_do_not_share_connections() {
    let origin = Origin::start(|request| request.answer(200, "ok"));
    let gateway = Gateway::start(
        &"
upstreams: {one: {targets: [{address: ORIGIN}]}, two: {targets: [{address: ORIGIN}]}}
routes: {one: {paths: [/one], upstream: one}, two: {paths: [/two], upstream: two}}
"
        .replace("ORIGIN", &origin.address.to_string()),
    );
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.request("GET", "/one", &[]).expect(200);
        client.request("GET", "/two", &[]).expect(200);
    }
    assert_eq!((origin.opened(), origin.requests()), (2, 6));
}

#[test]
fn a_name_that_is_empty_is_refused_and_verifies_nothing_away() {
    for name in ["''", "\"\""] {
        let prepared = Gateway::prepare(&format!(
            "
upstreams: {{raw: {{targets: [{{address: '127.0.0.1:1'}}], tls: {{server_name: {name}}}}}}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
"
        ));
        let (code, log) = prepared.refused();
        assert!(code != 0 && log.contains("upstreams.raw.tls.server_name"), "{code} {log}");
    }
}

#[test]
fn targets_that_stay_keep_their_connections_and_what_is_known_of_them() {
    // The first check of each is answered, the others hang: what is known after a reload is what was known before.
    let checked = |status: u16| {
        let checks = AtomicUsize::new(0);
        Origin::start(move |request| match request.path() {
            "/healthz" if checks.fetch_add(1, SeqCst) == 0 => {
                request.answer(status, "");
                false
            }
            "/healthz" => request.wait_for_close(),
            _ => request.answer(200, "ok"),
        })
    };
    let (well, ill, new) = (checked(200), checked(503), checked(200));
    let conf = |targets: &[&Origin], more: &str| {
        let targets: Vec<_> =
            targets.iter().map(|origin| format!("{{address: '{}'}}", origin.address)).collect();
        format!(
            "
admin: {{address: 127.0.0.1:0}}
upstreams:
  raw:
    targets: [{}]
    health: {{path: /healthz, interval: 20ms, timeout: 19s}}
    {more}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
            targets.join(", ")
        )
    };
    let gateway = Gateway::start(&conf(&[&well, &ill], ""));
    until("the first checks", || (states(&gateway) == ["up", "down"]).then_some(()));
    let mut client = gateway.connect();
    client.request("GET", "/", &[]).expect(200);
    // Connections that checks have opened come and go; that of the requests is one of the others.
    let kept = |origin: &Origin| origin.requests();
    assert!(kept(&ill) <= 2);
    for (targets, more, expected) in [
        (vec![&ill, &well], "keepalive: 64", vec!["down", "up"]),
        (vec![&well, &ill], "retries: {attempts: 0}", vec!["up", "down"]),
    ] {
        gateway.rewrite(&conf(&targets, more));
        gateway.hangup("is serving");
        assert_eq!(states(&gateway), expected);
        for _ in 0..4 {
            client.request("GET", "/", &[]).expect(200);
        }
    }
    gateway.rewrite(&conf(&[&ill, &well, &new], ""));
    gateway.hangup("is serving");
    assert_eq!(states(&gateway)[..2], ["down", "up"]);
}

#[test]
fn a_reload_keeps_the_connections_of_targets_that_stay() {
    let (stays, goes, comes) = (
        Origin::start(|request| request.answer(200, "stays")),
        Origin::start(|request| request.answer(200, "goes")),
        Origin::start(|request| request.answer(200, "comes")),
    );
    let conf = |targets: [&Origin; 2]| {
        format!(
            "
upstreams: {{raw: {{targets: [{{address: '{}'}}, {{address: '{}'}}]}}}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
            targets[0].address, targets[1].address
        )
    };
    let gateway = Gateway::start(&conf([&stays, &goes]));
    let mut client = gateway.connect();
    let mut round = |count: usize| {
        for _ in 0..count {
            client.request("GET", "/", &[]).expect(200);
        }
    };
    round(4);
    assert_eq!(
        [&stays, &goes, &comes].map(|origin| (origin.opened(), origin.requests())),
        [(1, 2), (1, 2), (0, 0)]
    );
    gateway.rewrite(&conf([&comes, &stays]));
    gateway.hangup("is serving");
    round(4);
    assert_eq!(
        [&stays, &goes, &comes].map(|origin| (origin.opened(), origin.requests())),
        [(1, 4), (1, 2), (1, 2)]
    );
}
