//! `mtls`: who is calling by the certificate of the connection, and tokens that are bound to one. The client is curl.

use crate::{
    authority::{Authority, Signed},
    client::Response,
    harness::{Gateway, Prepared},
    mtls::write_pair,
    signer::Signer,
    tls::certificate,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{net::SocketAddr, path::PathBuf, process::Command};

const CONF: &str = "
listeners:
  secure:
    address: 127.0.0.1:0
    http2: true
    tls:
      certificates: [{certificate: certs/a.pem, key: certs/a.key}]
      client_auth: {mode: optional, ca: certs/ca.pem}
routes:
  partner:
    paths: [/echo/partner]
    upstream: demo
    plugins: {mtls: {allow: [{dns: '*.partner.test'}], forward: [x-forwarded-client-cert, client-cert]}}
  anyone: {paths: [/echo/anyone], upstream: demo, plugins: {mtls: {anonymous: bob}}}
  all:
    paths: [/echo/all]
    upstream: demo
    auth: {all: [mtls, jwt]}
    plugins: {mtls: {consumer_optional: true, principal: dns}, jwt: {public_key: key.pem}}
  bound: {paths: [/echo/bound], upstream: demo, plugins: {jwt: {public_key: key.pem}}}
  open: {paths: [/echo/open], upstream: demo}
consumers:
  acme: {groups: [partners], mtls: [{dns: api.partner.test}]}
";

struct Files {
    dir: PathBuf,
    address: SocketAddr,
}

impl Files {
    /// Asks by curl, with a certificate or without one.
    fn curl(&self, shown: Option<&str>, path: &str, headers: &[&str]) -> Response {
        let port = self.address.port();
        let file = |name: &str| self.dir.join("conf/certs").join(name).display().to_string();
        let mut curl = Command::new("curl");
        curl.args(["-s", "-i", "--http1.1", "--max-time", "60", "--cacert", &file("a.pem")])
            .args(["--resolve", &format!("a.test:{port}:127.0.0.1")]);
        if let Some(name) = shown {
            curl.args(["--cert", &file(&format!("{name}.pem")), "--key", &file(&format!("{name}.key"))]);
        }
        for line in headers {
            curl.args(["-H", line]);
        }
        let done = curl.arg(format!("https://a.test:{port}{path}")).output().expect("apt-get install curl");
        let text = String::from_utf8(done.stdout).unwrap();
        let (head, body) =
            text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {:?}", done.status));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Response { status, headers, body: body.as_bytes().to_vec() }
    }
}

fn write_shown(prepared: &Prepared, name: &str, shown: &Signed) {
    prepared.write(&format!("certs/{name}.pem"), &shown.leaf.pem());
    prepared.write(&format!("certs/{name}.key"), &shown.key.serialize_pem());
}

#[test]
fn a_certificate_opens_what_is_its_own() {
    let (server, partners, signer) = (certificate("a.test"), Authority::new("partners"), Signer::new());
    let prepared = Gateway::prepare(CONF);
    write_pair(&prepared, "a", &server);
    prepared.write("certs/ca.pem", &partners.certificate.pem());
    prepared.write("key.pem", &signer.pem());
    let good = partners.sign("api.partner.test");
    for (name, shown) in [
        ("good", &good),
        ("unknown", &partners.sign("other.partner.test")),
        ("elsewhere", &partners.sign("api.elsewhere.test")),
        ("stranger", &Authority::new("partners").sign("api.partner.test")),
    ] {
        write_shown(&prepared, name, shown);
    }
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let files = Files { dir: gateway.dir().to_owned(), address: gateway.at("listener secure") };
    let spoofed =
        ["x-forwarded-client-cert: Hash=evil", "client-cert: :ZXZpbA==:", "client-cert-chain: :ZXZpbA==:"];
    let passed = files.curl(Some("good"), "/echo/partner", &spoofed).expect(200);
    assert_eq!(passed.echoed("x-consumer-id").as_deref(), Some("acme"));
    let print = hex::encode(Sha256::digest(good.leaf.der()));
    assert_eq!(passed.echoed("x-credential-identifier"), Some(print.clone()));
    let told = passed.echoed("x-forwarded-client-cert").unwrap();
    assert!(told.starts_with(&format!("Hash={print};")) && told.ends_with(";DNS=api.partner.test"), "{told}");
    let whole = passed.echoed("client-cert").unwrap();
    assert!(whole.starts_with(":MII") && !passed.text().contains("ZXZpbA"), "{whole}");
    for (shown, reason) in
        [("unknown", "certificate_consumer_unknown"), ("elsewhere", "certificate_not_allowed")]
    {
        assert_eq!(files.curl(Some(shown), "/echo/partner", &[]).expect(401).reason(), reason);
    }
    let none = files.curl(None, "/echo/partner", &spoofed).expect(401);
    assert!(none.header("www-authenticate").is_some_and(|text| text.starts_with("Certificate")));
    // Whoever is of another authority of the same name is not even let in.
    let port = files.address.port();
    assert!(
        !Command::new("curl")
            .args(["-s", "--max-time", "60", "-k", "--resolve", &format!("a.test:{port}:127.0.0.1")])
            .arg("--cert")
            .arg(files.dir.join("conf/certs/stranger.pem"))
            .arg("--key")
            .arg(files.dir.join("conf/certs/stranger.key"))
            .arg(format!("https://a.test:{port}/echo/open"))
            .status()
            .unwrap()
            .success()
    );
    // On a listener without TLS nobody has one, whatever is sent.
    gateway.request("GET", "/echo/partner", &spoofed).expect(401);
    let open = gateway.request("GET", "/echo/open", &spoofed).expect(200);
    assert!(!open.text().contains("evil") && !open.text().contains("ZXZpbA"), "{}", open.text());
    let anonymous = files.curl(None, "/echo/anyone", &[]).expect(200);
    assert_eq!(anonymous.echoed("x-consumer-id").as_deref(), Some("bob"));
    files.curl(Some("unknown"), "/echo/anyone", &[]).expect(401);
}

#[test]
fn a_token_that_is_bound_is_good_with_its_certificate_alone() {
    let (server, partners, signer) = (certificate("a.test"), Authority::new("partners"), Signer::new());
    let prepared = Gateway::prepare(CONF);
    write_pair(&prepared, "a", &server);
    prepared.write("certs/ca.pem", &partners.certificate.pem());
    prepared.write("key.pem", &signer.pem());
    let (own, other) = (partners.sign("own.partner.test"), partners.sign("other.partner.test"));
    write_shown(&prepared, "own", &own);
    write_shown(&prepared, "other", &other);
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let files = Files { dir: gateway.dir().to_owned(), address: gateway.at("listener secure") };
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(own.leaf.der()));
    let claims =
        json!({"iss": "i", "sub": "alice", "exp": Signer::now() + 600, "cnf": {"x5t#S256": thumbprint}});
    let token = format!("authorization: Bearer {}", signer.token("k", &claims));
    for path in ["/echo/bound", "/echo/all"] {
        // Twice: the second time the token is known.
        for _ in 0..2 {
            files.curl(Some("own"), path, &[&token]).expect(200);
            assert_eq!(files.curl(Some("other"), path, &[&token]).expect(401).reason(), "token_certificate");
            files.curl(None, path, &[&token]).expect(401);
        }
    }
    assert_eq!(gateway.request("GET", "/echo/bound", &[&token]).expect(401).reason(), "token_certificate");
    let free = format!("authorization: Bearer {}", signer.good("k"));
    gateway.request("GET", "/echo/bound", &[&free]).expect(200);
    files.curl(Some("own"), "/echo/all", &[]).expect(401);
}
