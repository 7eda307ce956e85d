//! Requests for a host that their TLS connection is not for.

use crate::{
    client::{Client, Response},
    h2c::Stream,
    harness::{Gateway, Prepared},
    http2::block_on,
    life::admin,
    tls::{believing, certificate, handshake, trusting},
};
use http::Request;
use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::ServerName;
use std::{net::SocketAddr, sync::Arc};
use tokio_rustls::TlsConnector;

const CONF: &str = "
admin: {address: 127.0.0.1:0}
listeners:
  public:
    address: 127.0.0.1:0
    http2: true
    tls:
      certificates:
        - {certificate: certs/a.test.pem, key: certs/a.test.key}
        - {certificate: certs/b.test.pem, key: certs/b.test.key}
  partners:
    address: 127.0.0.1:0
    tls:
      certificates: [{certificate: certs/p.test.pem, key: certs/p.test.key}]
      client_auth: {mode: optional, ca: certs/a.test.pem}
routes:
  any: {paths: [/echo/*], upstream: demo}
  partners: {hosts: [p.test], paths: [/echo/*], upstream: demo}
";

fn prepare(conf: &str) -> (Prepared, [CertifiedKey<KeyPair>; 3]) {
    let prepared = Prepared::empty();
    prepared.write(
        "test.yaml",
        &format!(
            "version: 1\ndemo: true\nstate_dir: STATE\nplugins: {{audit: {{file: audit.jsonl}}}}\n{conf}"
        ),
    );
    let made = ["a.test", "b.test", "p.test"].map(|name| {
        let pair = certificate(name);
        prepared.write(&format!("certs/{name}.pem"), &pair.cert.pem());
        prepared.write(&format!("certs/{name}.key"), &pair.signing_key.serialize_pem());
        pair
    });
    (prepared, made)
}

fn start(conf: &str) -> (Gateway, [CertifiedKey<KeyPair>; 3]) {
    let (prepared, made) = prepare(conf);
    (prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref()), made)
}

fn connect(address: SocketAddr, name: &'static str, trusted: &CertifiedKey<KeyPair>) -> Client {
    handshake(address, name, trusting(trusted, &[])).unwrap().0
}

fn ask(client: &mut Client, host: &str) -> Response {
    client.request("GET", "/echo/", &[&format!("Host: {host}")])
}

#[test]
fn a_host_of_another_certificate_is_misdirected_and_the_connection_goes_on() {
    let (gateway, [a, b, _]) = start(CONF);
    let address = gateway.at("listener public");
    let mut client = connect(address, "b.test", &b);
    ask(&mut client, "b.test").expect(200);
    for host in ["a.test", "A.test:443", "127.0.0.1", "unknown.test"] {
        assert_eq!(ask(&mut client, host).expect(421).reason(), "misdirected", "{host}");
        // What was let through before is not mixed up with what was not.
        ask(&mut client, "B.test.:8443").expect(200);
    }
    ask(&mut connect(address, "a.test", &a), "unknown.test").expect(200);
    ask(&mut connect(address, "a.test", &a), "b.test").expect(421);
    let lines = gateway.audit(11);
    let refused: Vec<_> = lines.iter().filter(|line| line["status"] == 421).collect();
    assert_eq!(refused.len(), 5, "{lines:#?}");
    assert_eq!((&refused[0]["host"], &refused[0]["route"]), (&"a.test".into(), &"_none".into()));
    assert_eq!(
        (&refused[0]["tls_server_name"], &refused[0]["reason"]),
        (&"b.test".into(), &"misdirected".into())
    );
    let metrics = admin(&gateway, "GET", "/metrics", None).expect(200).text();
    let counted = "palisade_requests_total{route=\"_none\",status=\"4xx\"} 5";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
}

#[test]
fn a_host_is_not_reached_around_the_client_certificates_of_its_listener() {
    let (gateway, [a, _, p]) = start(CONF);
    let (public, partners) = (gateway.at("listener public"), gateway.at("listener partners"));
    for (name, host, status) in [
        ("a.test", "p.test", 421),
        // SNI may say what it likes.
        ("p.test", "p.test", 421),
        ("127.0.0.1", "p.test", 421),
        ("127.0.0.1", "127.0.0.1", 200),
        ("127.0.0.1", "b.test", 200),
    ] {
        // What is shown for any of these names is the first certificate, which not all of them fit.
        let mut client = handshake(public, name, believing(&a)).unwrap().0;
        ask(&mut client, host).expect(status);
    }
    for (name, host, status) in [
        ("p.test", "p.test", 200),
        ("p.test", "a.test", 421),
        ("p.test", "127.0.0.1", 421),
        ("127.0.0.1", "127.0.0.1", 200),
        ("127.0.0.1", "p.test", 200),
    ] {
        let mut client = handshake(partners, name, believing(&p)).unwrap().0;
        ask(&mut client, host).expect(status);
    }
}

#[test]
fn a_trusted_proxy_has_a_name_of_its_own_for_the_gateway() {
    let (gateway, [a, b, _]) = start(&format!("{CONF}client_ip: {{trusted_proxies: [127.0.0.0/8]}}\n"));
    ask(&mut connect(gateway.at("listener public"), "b.test", &b), "a.test").expect(200);
    ask(&mut connect(gateway.at("listener public"), "a.test", &a), "p.test").expect(421);
}

#[test]
fn a_request_over_http2_can_be_misdirected() {
    let (gateway, [_, b, _]) = start(CONF);
    let address = gateway.at("listener public");
    block_on(async {
        for (host, status) in [("b.test", 200), ("b.test:8443", 200), ("a.test", 421), ("p.test", 421)] {
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let connector = TlsConnector::from(Arc::new(trusting(&b, &["h2"])));
            let name = ServerName::try_from("b.test").unwrap();
            let tls = connector.connect(name, tcp).await.unwrap();
            let request = Request::get(format!("https://{host}/echo/")).body(()).unwrap();
            let answer = Stream::over(tls, request, true).await.answer().await;
            assert_eq!(answer.0, status, "{host}");
        }
    });
    let lines = gateway.audit(4);
    let refused =
        lines.iter().filter(|line| line["reason"] == "misdirected" && line["protocol"] == "HTTP/2.0");
    assert_eq!(refused.count(), 2, "{lines:#?}");
}
