//! TLS by server name, HTTP/2 over it and in plain text.

use crate::support::{Edge, PATIENCE, eventually, limits, received};
use palisade::{
    conf::model::{At, CertificateFiles, Limits, Listener, ListenerTls},
    edge::tls::{self, Term},
};
use palisade_contract::Place;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

/// So long that nothing ends by itself.
const HOUR: Duration = Duration::from_secs(3600);

/// Certificates for these names, in order, and an authority for clients to trust.
struct Certificates {
    _dir: tempfile::TempDir,
    term: Arc<Term>,
    roots: RootCertStore,
    leaves: Vec<CertificateDer<'static>>,
}

fn at<T>(value: T) -> At<T> {
    At { value, place: Place::of_file(Path::new("test.yaml")), path: "listeners.public".into() }
}

fn certificates(names: &[&str], http2: bool) -> Certificates {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (mut written, mut roots, mut leaves) = (Vec::new(), RootCertStore::empty(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        let made = rcgen::generate_simple_self_signed(vec![(*name).to_owned()]).unwrap();
        let file = |ending: &str| dir.path().join(format!("{index}.{ending}"));
        std::fs::write(file("pem"), made.cert.pem()).unwrap();
        std::fs::write(file("key"), made.signing_key.serialize_pem()).unwrap();
        roots.add(made.cert.der().clone()).unwrap();
        leaves.push(made.cert.der().clone());
        written.push(at(CertificateFiles { certificate: file("pem"), key: file("key") }));
    }
    let tls = Some(ListenerTls { certificates: written, client_auth: None });
    let address = at("127.0.0.1:0".parse().unwrap());
    let listener = at(Listener { address, http2, proxy_protocol: false, tls, limits: limits() });
    let terms = tls::terms(&BTreeMap::from([("public".into(), listener)]), None).unwrap();
    Certificates { _dir: dir, term: terms["public"].clone(), roots, leaves }
}

fn client_config(roots: &RootCertStore) -> ClientConfig {
    ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth()
}

/// One request over TLS with this name: the certificate that was shown, and the answer.
fn https(address: SocketAddr, config: ClientConfig, name: &str) -> (CertificateDer<'static>, String) {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(b"GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (stream.conn.peer_certificates().unwrap()[0].clone().into_owned(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_chosen_by_name() {
    let made = certificates(&["one.example", "*.two.example", "deep.two.example"], true);
    let edge = Edge::with(limits(), true, Some(made.term.clone())).await;
    for (name, index) in [("one.example", 0), ("x.two.example", 1), ("deep.two.example", 2)] {
        let (address, config) = (edge.address, client_config(&made.roots));
        let asked = name.to_owned();
        let (shown, answer) =
            tokio::task::spawn_blocking(move || https(address, config, &asked)).await.unwrap();
        assert!(shown == made.leaves[index], "{name}");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
        assert!(answer.to_ascii_lowercase().contains(&format!("x-sni: {name}\r\n")), "{name}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_handshake_ends() {
    let made = certificates(&["one.example"], true);
    let limits = Limits { header_timeout: Duration::from_millis(200), ..limits() };
    let edge = Edge::with(limits, true, Some(made.term.clone())).await;
    assert!(edge.client().await.rest().await.is_empty());
    eventually("an empty registry", || edge.registry.live() == 0).await;
}

/// What a handshake takes is not there for the head any more: whoever was accepted first, goes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_and_the_head_behind_it_have_one_time_together() {
    let made = certificates(&["one.example"], true);
    let time = Duration::from_millis(2500);
    let edge = Edge::with(Limits { header_timeout: time, ..limits() }, true, Some(made.term.clone())).await;
    let (address, config) = (edge.address, Arc::new(client_config(&made.roots)));
    // A machine that is held up shows both ends at once: then it is tried again.
    for _ in 0..5 {
        let config = config.clone();
        let earlier = tokio::task::spawn_blocking(move || {
            let first = TcpStream::connect(address).unwrap();
            first.set_read_timeout(Some(PATIENCE)).unwrap();
            std::thread::sleep(Duration::from_millis(700));
            let mut second = TcpStream::connect(address).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            let name = ServerName::try_from("one.example").unwrap();
            let mut stream = StreamOwned::new(ClientConnection::new(config, name).unwrap(), first);
            stream.write_all(b"GET /a HTTP/1.1\r\n").unwrap();
            stream.flush().unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
            second.set_nonblocking(true).unwrap();
            second.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        if earlier.await.unwrap() {
            return;
        }
    }
    panic!("it had more time than whoever came after it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_handshake_makes_room() {
    let made = certificates(&["one.example"], true);
    let limits = Limits { connections: 1, header_timeout: HOUR, ..limits() };
    let edge = Edge::with(limits, true, Some(made.term.clone())).await;
    let mut silent = edge.client().await;
    eventually("the silent connection", || edge.registry.live() == 1).await;
    let (address, config) = (edge.address, client_config(&made.roots));
    let asked = tokio::task::spawn_blocking(move || https(address, config, "one.example"));
    assert!(asked.await.unwrap().1.starts_with("HTTP/1.1 200 "));
    assert!(silent.rest().await.is_empty());
}

fn h2_client(roots: Option<&Certificates>) -> reqwest::Client {
    let builder = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
    match roots {
        None => builder.http2_prior_knowledge().build().unwrap(),
        Some(made) => {
            let mut config = client_config(&made.roots);
            config.alpn_protocols = vec![b"h2".to_vec()];
            builder.use_preconfigured_tls(config).build().unwrap()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_over_tls_and_in_plain_text() {
    let made = certificates(&["localhost"], true);
    for tls in [false, true] {
        let edge = Edge::with(limits(), true, tls.then(|| made.term.clone())).await;
        let client = h2_client(tls.then_some(&made));
        let (scheme, port) = (if tls { "https" } else { "http" }, edge.address.port());
        let url = format!("{scheme}://localhost:{port}/a");
        let client = if tls { client } else { h2_client(None) };
        for size in [0, 1, 65_536, 1 << 20] {
            let body = crate::support::pattern(size);
            let answer = client.post(&url).body(body.clone()).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
            assert!(answer.headers()["x-peer"].to_str().unwrap().starts_with("127.0.0.1:"));
            assert_eq!(answer.headers()["x-sni"], if tls { "localhost" } else { "none" });
            assert_eq!(answer.text().await.unwrap(), received("POST", "/a", &body));
        }
        assert_eq!(edge.registry.live(), 1, "all on one connection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_in_plain_text_only_where_it_is_wanted() {
    let edge = Edge::with(limits(), true, None).await;
    assert_eq!(edge.client().await.get("/a").await.status, 200);
    let edge = Edge::start(limits()).await;
    let mut client = edge.client().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.status == 400 || answer.status == 505, "{}", answer.head);
    assert_eq!(edge.origin.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_http2_connection_is_closed() {
    let edge = Edge::with(Limits { idle_timeout: Duration::from_secs(1), ..limits() }, true, None).await;
    let url = format!("http://{}/a", edge.address);
    for _ in 0..2 {
        // A client that has learnt of the end of its connection when it asks again is another test's.
        assert_eq!(h2_client(None).get(&url).send().await.unwrap().status(), 200);
        eventually("an empty registry", || edge.registry.live() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_http2_connection_makes_room() {
    let edge = Edge::with(Limits { connections: 1, idle_timeout: HOUR, ..limits() }, true, None).await;
    let client = h2_client(None);
    assert_eq!(client.get(format!("http://{}/a", edge.address)).send().await.unwrap().status(), 200);
    assert_eq!(edge.client().await.get("/b").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_drains() {
    let mut edge = Edge::with(limits(), true, None).await;
    let client = h2_client(None);
    let (url, waiting) = (format!("http://{}/a", edge.address), format!("http://{}/wait", edge.address));
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    let answer = tokio::spawn(client.get(&waiting).send());
    eventually("the request at the origin", || edge.origin.requests() == 2).await;
    edge.drain().await;
    edge.origin.release();
    assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    eventually("an empty registry", || edge.registry.live() == 0).await;
}
