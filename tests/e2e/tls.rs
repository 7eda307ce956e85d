//! TLS towards clients and towards origins.

use crate::{
    client::{Client, Origin},
    harness::{Gateway, PATIENCE, until},
    http2::{block_on, json},
};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
};
use std::{
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

/// A certificate that signs itself.
pub fn certificate(host: &str) -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([host.to_owned()]).unwrap()
}

/// A client that trusts it.
pub fn trusting(certificate: &CertifiedKey<KeyPair>, alpn: &[&str]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// A client that takes this certificate for whatever name it asks for.
pub fn believing(certificate: &CertifiedKey<KeyPair>) -> ClientConfig {
    let mut config = trusting(certificate, &[]);
    config.dangerous().set_certificate_verifier(Arc::new(Believing(certificate.cert.der().clone())));
    config
}

#[derive(Debug)]
struct Believing(CertificateDer<'static>);

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        assert_eq!(*shown, self.0, "another certificate is shown");
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A handshake, and the protocol that was agreed on.
pub fn handshake(
    address: SocketAddr,
    host: &'static str,
    config: ClientConfig,
) -> Result<(Client, Option<Vec<u8>>), std::io::Error> {
    let mut tcp = TcpStream::connect(address).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from(host).unwrap();
    let mut tls = ClientConnection::new(Arc::new(config), name).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp)?;
    }
    let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
    Ok((Client::over(StreamOwned::new(tls, tcp.try_clone().unwrap()), tcp), alpn))
}

#[test]
fn certificates_are_chosen_by_the_name_that_is_asked_for() {
    let (a, b) = (certificate("a.test"), certificate("b.test"));
    let prepared = Gateway::prepare(
        "
listeners:
  secure:
    address: 127.0.0.1:0
    http2: true
    tls:
      certificates:
        - {certificate: certs/a.pem, key: certs/a.key}
        - {certificate: certs/b.pem, key: certs/b.key}
routes: {echo: {paths: [/echo/*], upstream: demo}}
",
    );
    for (name, certified) in [("a", &a), ("b", &b)] {
        prepared.write(&format!("certs/{name}.pem"), &certified.cert.pem());
        prepared.write(&format!("certs/{name}.key"), &certified.signing_key.serialize_pem());
    }
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let address = gateway.at("listener secure");
    for (host, certified, other) in [("a.test", &a, &b), ("b.test", &b, &a)] {
        let (mut client, alpn) = handshake(address, host, trusting(certified, &["http/1.1"])).unwrap();
        assert_eq!(alpn.as_deref(), Some(&b"http/1.1"[..]));
        let answer = client.request("GET", "/echo/", &[&format!("Host: {host}")]).expect(200);
        assert_eq!(answer.echoed("x-forwarded-proto").as_deref(), Some("https"));
        assert!(handshake(address, host, trusting(other, &[])).is_err(), "{host}");
    }
    let (_, alpn) = handshake(address, "a.test", trusting(&a, &["h2", "http/1.1"])).unwrap();
    assert_eq!(alpn.as_deref(), Some(&b"h2"[..]));
    block_on(async {
        let _ = ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(trusting(&b, &["h2", "http/1.1"]))
            .resolve("b.test", address)
            .build()
            .unwrap();
        let url = format!("https://b.test:{}/echo/", address.port());
        let answer = client.post(url).body("secret").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
        assert_eq!(json(answer).await["body"]["text"], "secret");
    });
    let lines = gateway.audit(3);
    let alpn: Vec<_> = lines.iter().map(|line| (&line["protocol"], &line["tls_alpn"])).collect();
    assert!(alpn.contains(&(&"HTTP/1.1".into(), &"http/1.1".into())), "{alpn:?}");
    assert!(alpn.contains(&(&"HTTP/2.0".into(), &"h2".into())), "{alpn:?}");
    assert!(lines.iter().all(|line| line["tls"] == "TLSv1.3" && line["listener"] == "secure"), "{lines:?}");
    let sealed =
        |line: &serde_json::Value| line["tls_cipher"].as_str().is_some_and(|name| name.starts_with("TLS"));
    assert!(lines.iter().all(sealed), "{lines:?}");
}

#[test]
fn plain_text_on_a_tls_listener_is_nothing_and_harms_nobody() {
    let a = certificate("a.test");
    let prepared = Gateway::prepare(
        "
listeners: {secure: {address: 127.0.0.1:0, tls: {certificates: [{certificate: a.pem, key: a.key}]}}}
routes: {echo: {paths: [/echo/*], upstream: demo}}
",
    );
    prepared.write("a.pem", &a.cert.pem());
    prepared.write("a.key", &a.signing_key.serialize_pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let address = gateway.at("listener secure");
    let mut plain = Client::connect(address);
    plain.send("GET /echo/ HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut client, alpn) = handshake(address, "a.test", trusting(&a, &["h2", "http/1.1"])).unwrap();
    assert_eq!(alpn.as_deref(), Some(&b"http/1.1"[..]), "HTTP/2 is not switched on");
    client.request("GET", "/echo/", &[]).expect(200);
}

#[test]
fn an_origin_must_prove_who_it_is() {
    let (genuine, other) = (certificate("origin.test"), certificate("origin.test"));
    let key = PrivateKeyDer::try_from(genuine.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![genuine.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let origin = Origin::start_over("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", move |mut tcp| {
        let mut tls = ServerConnection::new(config.clone()).ok()?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).ok()?;
        }
        Some(Box::new(StreamOwned::new(tls, tcp)))
    });
    let prepared = Gateway::prepare(
        &"
upstreams:
  unknown: {targets: [{address: ORIGIN}], tls: {server_name: origin.test}}
  forged: {targets: [{address: ORIGIN}], tls: {server_name: origin.test, ca: certs/other.pem}}
  misnamed: {targets: [{address: ORIGIN}], tls: {server_name: shop.test, ca: certs/origin.pem}}
  genuine: {targets: [{address: ORIGIN}], tls: {server_name: origin.test, ca: certs/origin.pem}}
  nameless: {targets: [{address: ORIGIN}], tls: {ca: certs/origin.pem}}
  checked:
    {targets: [{address: ORIGIN}], tls: {server_name: origin.test, ca: certs/origin.pem}, health: {interval: 20ms}}
  checked-misnamed:
    {targets: [{address: ORIGIN}], tls: {server_name: shop.test, ca: certs/origin.pem}, health: {interval: 20ms}}
routes:
  nameless: {paths: [/nameless], upstream: nameless}
  checked: {paths: [/checked], upstream: checked}
  checked-misnamed: {paths: [/checked-misnamed], upstream: checked-misnamed}
  unknown: {paths: [/unknown], upstream: unknown}
  forged: {paths: [/forged], upstream: forged}
  misnamed: {paths: [/misnamed], upstream: misnamed}
  genuine: {paths: [/genuine], upstream: genuine}
"
        .replace("ORIGIN", &origin.address.to_string()),
    );
    prepared.write("certs/origin.pem", &genuine.cert.pem());
    prepared.write("certs/other.pem", &other.cert.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    // The good one last and first: a connection of its pool must not serve the others.
    gateway.get("/genuine").expect(200);
    for path in ["/unknown", "/forged", "/misnamed", "/nameless"] {
        assert_eq!(gateway.get(path).expect(502).reason(), "upstream_tls", "{path}");
    }
    gateway.get("/genuine").expect(200);
    // Checks ask with the same identity.
    until("the checks", || (gateway.get("/checked-misnamed").status == 503).then_some(()));
    gateway.get("/checked").expect(200);
    for _ in 0..3 {
        origin.received();
    }
    assert!(origin.is_untouched());
}
