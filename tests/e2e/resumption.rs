//! TLS sessions that are resumed, and those that must not be.

use crate::{
    authority::Authority,
    harness::{Gateway, PATIENCE, until},
    mtls::{presenting, write_pair},
    tls::{certificate, trusting},
};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned, pki_types::ServerName, version};
use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, SystemTime},
};

/// One request on a connection of its own: how the handshake went; none where the client was not let in. What
/// tickets come with the answer are in the configuration then.
pub fn visit(address: SocketAddr, config: &ClientConfig) -> Option<HandshakeKind> {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("a.test").unwrap();
    let mut tls = ClientConnection::new(Arc::new(config.clone()), name).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).ok()?;
    }
    let kind = tls.handshake_kind().unwrap();
    let mut stream = BufReader::new(StreamOwned::new(tls, tcp));
    let request = b"GET /echo/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    stream.get_mut().write_all(request).and_then(|()| stream.get_mut().flush()).ok()?;
    let mut status = String::new();
    stream.read_line(&mut status).ok()?;
    if status.is_empty() {
        return None;
    }
    assert_eq!(status, "HTTP/1.1 200 OK\r\n");
    Some(kind)
}

const FULL: Option<HandshakeKind> = Some(HandshakeKind::Full);
const RESUMED: Option<HandshakeKind> = Some(HandshakeKind::Resumed);

fn conf(more: &str) -> String {
    format!(
        "
listeners:
  secure: {{address: 127.0.0.1:0, tls: {{certificates: [{{certificate: certs/a.pem, key: certs/a.key}}]{more}}}}}
  other: {{address: 127.0.0.1:0, tls: {{certificates: [{{certificate: certs/a.pem, key: certs/a.key}}]}}}}
routes: {{echo: {{paths: [/echo/*], upstream: demo}}}}
"
    )
}

#[test]
fn sessions_are_resumed_until_something_about_them_changes() {
    let (server, next) = (certificate("a.test"), certificate("a.test"));
    let prepared = Gateway::prepare(&conf(""));
    write_pair(&prepared, "a", &server);
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let address = gateway.at("listener secure");
    let clients: Vec<ClientConfig> = [&version::TLS13, &version::TLS12]
        .into_iter()
        .map(|version| {
            let trusting = trusting(&server, &[]);
            let mut roots = rustls::RootCertStore::empty();
            for pair in [&server, &next] {
                roots.add(pair.cert.der().clone()).unwrap();
            }
            ClientConfig::builder_with_provider(trusting.crypto_provider().clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth()
        })
        .collect();
    for client in &clients {
        let seen = [(); 3].map(|()| visit(address, client));
        assert_eq!(seen, [FULL, RESUMED, RESUMED]);
    }
    gateway.rewrite(&conf("").replace("/echo/*]", "/echo/*, /more]"));
    // The second one begins when the listeners have what the first one has read.
    gateway.hangup("is serving");
    gateway.hangup("is serving");
    for client in &clients {
        assert_eq!(visit(address, client), RESUMED, "nothing about it has changed");
    }
    for client in &clients {
        assert_eq!(visit(gateway.at("listener other"), client), FULL, "tickets are for one listener");
        assert_eq!([(); 2].map(|()| visit(address, client)), [FULL, RESUMED]);
    }
    gateway.put("certs/a.pem", &next.cert.pem());
    gateway.put("certs/a.key", &next.signing_key.serialize_pem());
    gateway.hangup("is serving");
    for client in &clients {
        until("a new session", || (visit(address, client) == FULL).then_some(()));
        assert_eq!(visit(address, client), RESUMED);
    }
}

#[test]
fn a_ticket_does_not_outlive_the_rules_for_client_certificates() {
    let server = certificate("a.test");
    let (partners, others) = (Authority::new("partners"), Authority::new("others"));
    let asking = |mode: &str| conf(&format!(", client_auth: {{mode: {mode}, ca: certs/ca.pem}}"));
    let prepared = Gateway::prepare(&asking("optional"));
    write_pair(&prepared, "a", &server);
    prepared.write("certs/ca.pem", &partners.certificate.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let (address, open) = (gateway.at("listener secure"), gateway.at("listener other"));
    let partner = presenting(&server, Some(&partners.sign("partner")));
    let nobody = presenting(&server, None);
    // `settled` is what shows that the listener has changed.
    let reloaded = |settled: &dyn Fn() -> bool| {
        gateway.hangup("is serving");
        until("the new rules", || settled().then_some(()));
    };
    for client in [&partner, &nobody] {
        assert_eq!([(); 2].map(|()| visit(address, client)), [FULL, RESUMED]);
    }
    gateway.put("certs/ca.pem", &(partners.certificate.pem() + &others.certificate.pem()));
    let other = presenting(&server, Some(&others.sign("other")));
    reloaded(&|| visit(address, &other).is_some());
    assert_eq!([(); 2].map(|()| visit(address, &partner)), [FULL, RESUMED], "another authority");
    assert_eq!(visit(address, &other), RESUMED);
    gateway.put("certs/ca.pem", &partners.certificate.pem());
    reloaded(&|| visit(address, &presenting(&server, Some(&others.sign("other")))).is_none());
    assert_eq!(visit(address, &other), None, "its authority has gone");
    assert_eq!([(); 2].map(|()| visit(address, &nobody)), [FULL, RESUMED]);
    gateway.rewrite(&asking("required"));
    reloaded(&|| visit(address, &presenting(&server, None)).is_none());
    assert_eq!(visit(address, &nobody), None, "a certificate has become required");
    // One that was begun where nobody asks.
    assert_eq!([(); 2].map(|()| visit(open, &nobody)), [FULL, RESUMED]);
    assert_eq!(visit(address, &nobody), None);
    assert_eq!([(); 2].map(|()| visit(address, &partner)), [FULL, RESUMED]);
}

#[test]
fn a_ticket_does_not_outlive_the_certificate_that_the_client_has_shown() {
    let (server, partners) = (certificate("a.test"), Authority::new("partners"));
    let prepared = Gateway::prepare(&conf(", client_auth: {mode: optional, ca: certs/ca.pem}"));
    write_pair(&prepared, "a", &server);
    prepared.write("certs/ca.pem", &partners.certificate.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let address = gateway.at("listener secure");
    // On a slow machine the first one may end before it was shown twice.
    let client = [2, 4, 8, 16, 32].into_iter().find_map(|seconds| {
        let end = SystemTime::now() + Duration::from_secs(seconds);
        let client = presenting(&server, Some(&partners.sign_until("partner", end)));
        ([(); 2].map(|()| visit(address, &client)) == [FULL, RESUMED]).then_some(client)
    });
    let client = client.expect("a session that is resumed");
    until("the end of the certificate", || visit(address, &client).is_none().then_some(()));
}
