//! Certificates of clients and of the gateway itself, and certificates that change.

use crate::{
    authority::{Authority, Signed},
    client::{Client, Origin},
    harness::{Gateway, Prepared},
    tls::{certificate, handshake, trusting},
};
use rcgen::{CertifiedKey, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use std::{net::SocketAddr, sync::Arc};

/// A certificate of an authority of its own.
pub fn signed(name: &str) -> Signed {
    Authority::new("authority").sign(name)
}

pub fn presenting(server: &CertifiedKey<KeyPair>, shown: Option<&Signed>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(server.cert.der().clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match shown {
        None => builder.with_no_client_auth(),
        Some(shown) => {
            builder.with_client_auth_cert(vec![shown.leaf.der().clone()], private(&shown.key)).unwrap()
        }
    }
}

pub fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(key.serialize_der()).unwrap()
}

/// True where a request is answered; false where the handshake is refused, which in TLS 1.3 a client may learn
/// only when it reads.
fn served(address: SocketAddr, config: ClientConfig) -> bool {
    let Ok((mut client, _)) = handshake(address, "a.test", config) else { return false };
    if !client.try_send("GET /echo/ HTTP/1.1\r\nHost: a.test\r\n\r\n") || client.is_ended() {
        return false;
    }
    client.response().expect(200);
    true
}

pub fn write_pair(prepared: &Prepared, name: &str, pair: &CertifiedKey<KeyPair>) {
    prepared.write(&format!("certs/{name}.pem"), &pair.cert.pem());
    prepared.write(&format!("certs/{name}.key"), &pair.signing_key.serialize_pem());
}

#[test]
fn clients_show_a_certificate_where_one_is_asked_for() {
    let (server, partner, stranger) = (certificate("a.test"), signed("partner"), signed("partner"));
    let prepared = Gateway::prepare(
        "
listeners:
  required:
    address: 127.0.0.1:0
    tls: {certificates: [{certificate: certs/a.pem, key: certs/a.key}], client_auth: {mode: required, ca: certs/partners.pem}}
  optional:
    address: 127.0.0.1:0
    tls: {certificates: [{certificate: certs/a.pem, key: certs/a.key}], client_auth: {mode: optional, ca: certs/partners.pem}}
routes: {echo: {paths: [/echo/*], upstream: demo}}
",
    );
    write_pair(&prepared, "a", &server);
    prepared.write("certs/partners.pem", &partner.authority.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    for (listener, shown, passes) in [
        ("listener required", None, false),
        ("listener required", Some(&stranger), false),
        ("listener required", Some(&partner), true),
        ("listener optional", None, true),
        ("listener optional", Some(&stranger), false),
        ("listener optional", Some(&partner), true),
    ] {
        let answered = served(gateway.at(listener), presenting(&server, shown));
        assert_eq!(answered, passes, "{listener} {}", shown.is_some());
    }
    gateway.audit(3);
}

/// An origin that asks for a certificate of this authority.
fn asking_origin(own: &CertifiedKey<KeyPair>, ca: &rcgen::Certificate) -> Origin {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![CertificateDer::from(own.cert.der().to_vec())], private(&own.signing_key))
        .unwrap();
    let config = Arc::new(config);
    Origin::start_over("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", move |mut tcp| {
        let mut tls = ServerConnection::new(config.clone()).ok()?;
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).ok()?;
        }
        Some(Box::new(StreamOwned::new(tls, tcp)))
    })
}

#[test]
fn the_gateway_shows_its_certificate_to_an_origin_and_checks_the_origins() {
    let (named, by_address) = (certificate("origin.test"), certificate("127.0.0.1"));
    let (gateway_own, stranger) = (signed("gateway"), signed("gateway"));
    let origin = asking_origin(&named, &gateway_own.authority);
    let addressed = asking_origin(&by_address, &gateway_own.authority);
    let own = "certificate: certs/gw.pem, key: certs/gw.key";
    let prepared = Gateway::prepare(
        &"
upstreams:
  shown: {targets: [{address: NAMED}], tls: {server_name: origin.test, ca: certs/named.pem, OWN}}
  silent: {targets: [{address: NAMED}], tls: {server_name: origin.test, ca: certs/named.pem}}
  stranger: {targets: [{address: NAMED}], tls: {server_name: origin.test, ca: certs/named.pem, certificate: certs/st.pem, key: certs/st.key}}
  forged: {targets: [{address: NAMED}], tls: {server_name: origin.test, ca: certs/addressed.pem, OWN}}
  address: {targets: [{address: ADDRESSED}], tls: {ca: certs/addressed.pem, OWN}}
  no-name: {targets: [{address: NAMED}], tls: {ca: certs/named.pem, OWN}}
routes:
  shown: {paths: [/shown], upstream: shown}
  silent: {paths: [/silent], upstream: silent}
  stranger: {paths: [/stranger], upstream: stranger}
  forged: {paths: [/forged], upstream: forged}
  address: {paths: [/address], upstream: address}
  no-name: {paths: [/no-name], upstream: no-name}
"
        .replace("NAMED", &origin.address.to_string())
        .replace("ADDRESSED", &addressed.address.to_string())
        .replace("OWN", own),
    );
    write_pair(&prepared, "named", &named);
    write_pair(&prepared, "addressed", &by_address);
    for (name, pair) in [("gw", &gateway_own), ("st", &stranger)] {
        prepared.write(&format!("certs/{name}.pem"), &pair.leaf.pem());
        prepared.write(&format!("certs/{name}.key"), &pair.key.serialize_pem());
    }
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    for _ in 0..2 {
        gateway.get("/shown").expect(200);
        gateway.get("/address").expect(200);
        for path in ["/silent", "/stranger", "/forged", "/no-name"] {
            gateway.get(path).expect(502).reason();
        }
    }
}

#[test]
fn a_changed_certificate_is_shown_to_new_connections() {
    let (old, new) = (certificate("a.test"), certificate("a.test"));
    let prepared = Gateway::prepare(
        "
listeners: {secure: {address: 127.0.0.1:0, tls: {certificates: [{certificate: certs/a.pem, key: certs/a.key}]}}}
routes: {echo: {paths: [/echo/*], upstream: demo}}
",
    );
    write_pair(&prepared, "a", &old);
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let address = gateway.at("listener secure");
    let connect =
        |pair| -> Option<Client> { handshake(address, "a.test", trusting(pair, &[])).ok().map(|it| it.0) };
    let mut kept = connect(&old).unwrap();
    kept.request("GET", "/echo/", &[]).expect(200);
    gateway.put("certs/a.pem", &new.cert.pem());
    gateway.put("certs/a.key", &old.signing_key.serialize_pem());
    gateway.hangup("was not reloaded");
    assert!(connect(&old).is_some() && connect(&new).is_none(), "a key that does not fit changes nothing");
    gateway.put("certs/a.key", &new.signing_key.serialize_pem());
    gateway.hangup("is serving");
    crate::harness::until("the new certificate", || connect(&new).map(drop));
    assert!(connect(&old).is_none());
    connect(&new).unwrap().request("GET", "/echo/", &[]).expect(200);
    kept.request("GET", "/echo/", &[]).expect(200);
}
