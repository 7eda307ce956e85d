//! Hosts: one, well formed, the same in the target and in the field, and one that the connection is for.

use crate::{
    gate::Gate,
    harness::{Gateway, PATIENCE},
};

#[test]
fn no_host_is_refused_in_every_version() {
    let gate = Gate::shared();
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        gate.refuses(format!("GET /MARK {version}\r\n\r\n"), 400, "host_missing");
    }
    gate.refuses("GET http://a/MARK HTTP/1.1\r\n\r\n", 400, "host_missing");
}

#[test]
fn two_hosts_are_refused() {
    let gate = Gate::shared();
    gate.refuses("GET /MARK HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host_repeated");
    gate.refuses("GET /MARK HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", 400, "host_repeated");
}

#[test]
fn a_host_that_is_no_authority_is_refused() {
    let gate = Gate::shared();
    for host in [
        "", "a b", "a/b", "a/../b", "user@a", "a:b", "a:", "a:99999", "a,b", "[::1", "[x]", "::1", "a?b",
        "a#b", "a\\b", "a\tb", "http://a",
    ] {
        gate.refuses(format!("GET /MARK HTTP/1.1\r\nHost: {host}\r\n\r\n"), 400, "host_malformed");
    }
    let long = "a".repeat(254);
    gate.refuses(format!("GET /MARK HTTP/1.1\r\nHost: {long}\r\n\r\n"), 400, "host_malformed");
}

#[test]
fn a_host_that_differs_from_the_target_is_refused() {
    let gate = Gate::shared();
    gate.refuses("GET http://b/MARK HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_mismatch");
    gate.refuses("GET http://a:81/MARK HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host_mismatch");
    gate.refuses("GET http://u@a/MARK HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target_malformed");
}

#[test]
fn names_addresses_and_ports_work() {
    let gate = Gate::shared();
    for host in
        ["a", "a.b-c.example", "A.Example:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:443", "a."]
    {
        gate.passes(format!("GET /MARK HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
}

#[test]
fn http_1_0_with_a_host_works() {
    Gate::shared().passes("GET /MARK HTTP/1.0\r\nHost: a\r\n\r\n");
}

/// SNI of one listener's host, `Host` of another one that asks for client certificates: 421, and the connection goes on.
#[test]
fn sni_and_host_that_disagree_are_misdirected() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let prepared = Gateway::prepare(
        "
listeners:
  open:
    address: 127.0.0.1:0
    http2: true
    tls: {certificates: [{certificate: open.pem, key: open.key}]}
  closed:
    address: 127.0.0.1:0
    tls:
      certificates: [{certificate: closed.pem, key: closed.key}]
      client_auth: {mode: required, ca: closed.pem}
routes: {any: {paths: [/echo/*], upstream: demo}}
",
    );
    let [open, _closed] = ["open", "closed"].map(|name| {
        let made = rcgen::generate_simple_self_signed(vec![format!("{name}.test")]).unwrap();
        prepared.write(&format!("{name}.pem"), &made.cert.pem());
        prepared.write(&format!("{name}.key"), &made.signing_key.serialize_pem());
        made
    });
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(open.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let address = gateway.at("listener open");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder()
        .use_preconfigured_tls(config)
        .resolve("open.test", address)
        .timeout(PATIENCE)
        .no_proxy()
        .build()
        .unwrap();
    let url = format!("https://open.test:{}/echo/", address.port());
    runtime.block_on(async {
        for (host, status) in [("open.test", 200), ("closed.test", 421), ("open.test", 200)] {
            let answer = client.get(&url).header("host", host).send().await.unwrap();
            assert_eq!(answer.status(), status, "{host}");
        }
    });
}
