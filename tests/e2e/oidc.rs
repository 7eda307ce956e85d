//! Tokens of a real authorization server: the npm package `oidc-provider`, which `./test` installs. Without it these tests
//! say that they are left out.

use crate::{
    client::Response,
    harness::{Gateway, Prepared, until},
    signer::Signer,
    tls::certificate,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{CertifiedKey, KeyPair};
use serde_json::{Value, json};
use std::{
    env,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// An authorization server. It is killed when this is dropped.
struct Provider {
    child: Child,
    issuer: String,
    /// Its certificate as `server.pem`, where it speaks TLS.
    dir: TempDir,
}

impl Provider {
    /// None where the package is not installed and nobody insists on it.
    fn start(server: Option<&CertifiedKey<KeyPair>>, environment: &[(&str, String)]) -> Option<Provider> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        if !home.join("node_modules/oidc-provider").is_dir() {
            assert!(
                env::var_os("NEED_OIDC").is_none(),
                "oidc-provider is not installed: cd tests/oidc && npm ci"
            );
            eprintln!("left out: oidc-provider is not installed (cd tests/oidc && npm ci)");
            return None;
        }
        let dir = TempDir::new().unwrap();
        let mut node = Command::new("node");
        node.arg(home.join("server.mjs")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let log = dir.path().join("server.log");
        node.stderr(std::fs::File::create(&log).unwrap());
        if let Some(own) = server {
            let file = |name: &str| dir.path().join(name);
            std::fs::write(file("server.pem"), own.cert.pem()).unwrap();
            std::fs::write(file("server.key"), own.signing_key.serialize_pem()).unwrap();
            node.env("TLS_CERT", file("server.pem")).env("TLS_KEY", file("server.key"));
        }
        node.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut child = node.spawn().expect("node: apt-get install nodejs");
        let mut issuer = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut issuer).unwrap();
        assert!(issuer.starts_with("http"), "{}", std::fs::read_to_string(&log).unwrap());
        Some(Provider { child, issuer: issuer.trim().to_owned(), dir })
    }

    /// Posts a form; `more` are further arguments of curl.
    fn post(&self, path: &str, form: &[(&str, &str)], more: &[&str]) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--max-time", "60", "-X", "POST"]).args(more);
        if self.issuer.starts_with("https") {
            curl.arg("--cacert").arg(self.dir.path().join("server.pem"));
        }
        for (name, value) in form {
            curl.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let done = curl.arg(format!("{}{path}", self.issuer)).output().expect("apt-get install curl");
        assert!(done.status.success(), "{:?}", done.status);
        serde_json::from_slice(&done.stdout).unwrap_or_default()
    }

    /// A token of the client `app` for `resource`.
    fn token(&self, resource: &str, scope: &str) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "app"),
            ("client_secret", "app-secret"),
            ("resource", resource),
            ("scope", scope),
        ];
        let answer = self.post("/token", &form, &[]);
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    fn revoke(&self, token: &str) {
        let form = [("client_id", "app"), ("client_secret", "app-secret"), ("token", token)];
        self.post("/token/revocation", &form, &[]);
    }

    /// Its keys are others from now on.
    fn rotate(&self) {
        self.post("/test/rotate", &[], &[]);
    }

    fn endpoint(&self) -> String {
        format!("introspection_endpoint: '{}/token/introspection', issuer: '{0}'", self.issuer)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn prepare(conf: &str, keys: &KeyPair) -> Prepared {
    let prepared = Gateway::prepare(conf);
    prepared.write("gateway.key", &keys.serialize_pem());
    prepared
}

fn start(prepared: Prepared) -> Gateway {
    prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref())
}

fn send(gateway: &Gateway, path: &str, token: &str) -> Response {
    gateway.request("GET", path, &[&format!("authorization: Bearer {token}")])
}

#[test]
fn opaque_tokens_are_asked_about_and_revoked() {
    let keys = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut jwk = Signer::of_pem(&keys.serialize_pem()).jwk("gateway-1");
    jwk["alg"] = json!("ES256");
    let environment = [("GATEWAY_JWKS", json!({"keys": [jwk]}).to_string())];
    let Some(provider) = Provider::start(None, &environment) else { return };
    let route = |name: &str, fields: &str| {
        format!(
            "  {name}: {{paths: [/echo/{name}], upstream: demo, plugins: {{oauth2-introspection: {{{}, audience: shop, \
             ttl: 1s, required_scopes: ['orders:read'], claims_to_headers: {{client_id: x-client}}, {fields}}}}}}}\n",
            provider.endpoint()
        )
    };
    let secret = "client_secret: secret-of-the-gateway";
    let conf = [
        "routes:\n".to_owned(),
        // The characters that RFC 6749 §2.3.1 has clients encode.
        route("basic", "client_id: gateway, client_secret: 'a:b%c&d/+e-of-the-gateway'"),
        route(
            "post",
            &format!(
                "client_id: gateway-post, {secret}, introspection_endpoint_auth_method: client_secret_post"
            ),
        ),
        route("key", "client_id: gateway-key, private_key: gateway.key, private_key_id: gateway-1"),
        route("wrong", &format!("client_id: gateway, {secret}")),
        route("forged", "client_id: gateway-key, private_key: other.key, private_key_id: gateway-1"),
    ]
    .concat();
    let prepared = prepare(&conf, &keys);
    let other = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    prepared.write("other.key", &other.serialize_pem());
    let gateway = start(prepared);
    let good = provider.token("urn:opaque:shop", "orders:read orders:write");
    for path in ["/echo/basic", "/echo/post", "/echo/key", "/echo/key"] {
        let passed = send(&gateway, path, &good).expect(200);
        assert_eq!(passed.echoed("x-client").as_deref(), Some("app"), "{path}");
        let others = provider.token("urn:opaque:cart", "orders:read");
        assert_eq!(send(&gateway, path, &others).expect(401).reason(), "token_audience");
        let weak = provider.token("urn:opaque:shop", "orders:write");
        assert_eq!(send(&gateway, path, &weak).expect(403).reason(), "insufficient_scope");
        assert_eq!(send(&gateway, path, "made-up").expect(401).reason(), "token_inactive");
        // It says of its signed tokens that it is not asked about such.
        let signed = provider.token("urn:jwt:shop", "orders:read");
        assert_eq!(send(&gateway, path, &signed).expect(401).reason(), "token_type");
    }
    for path in ["/echo/wrong", "/echo/forged"] {
        assert_eq!(send(&gateway, path, &good).expect(503).reason(), "introspection_unavailable");
    }
    // On a slow machine the first one may end before it was shown.
    let brief = [2, 4, 8, 16].into_iter().find_map(|seconds| {
        let brief = provider.token(&format!("urn:opaque:shop:{seconds}"), "orders:read");
        (send(&gateway, "/echo/basic", &brief).status == 200).then_some(brief)
    });
    let brief = brief.expect("a token that is good");
    provider.revoke(&good);
    until("the revocation", || (send(&gateway, "/echo/basic", &good).status == 401).then_some(()));
    until("the end of its life", || (send(&gateway, "/echo/basic", &brief).status == 401).then_some(()));
}

#[test]
fn certificates_prove_the_gateway_and_bind_tokens() {
    let (server, own, partner) =
        (certificate("127.0.0.1"), certificate("gateway.test"), certificate("partner.test"));
    let mut jwk = Signer::of_pem(&own.signing_key.serialize_pem()).jwk("gateway");
    jwk["x5c"] = json!([STANDARD.encode(own.cert.der())]);
    let environment = [("GATEWAY_TLS_JWKS", json!({"keys": [jwk]}).to_string())];
    let Some(provider) = Provider::start(Some(&server), &environment) else { return };
    let fields = format!("{}, ca: server.pem, client_id: gateway-tls", provider.endpoint());
    let conf = format!(
        "
routes:
  tls:
    paths: [/echo/tls]
    upstream: demo
    plugins: {{oauth2-introspection: {{{fields}, certificate: own.pem, key: own.key}}}}
  stranger:
    paths: [/echo/stranger]
    upstream: demo
    plugins: {{oauth2-introspection: {{{fields}, certificate: partner.pem, key: partner.key}}}}
"
    );
    let prepared = prepare(&conf, &own.signing_key);
    prepared.write("server.pem", &server.cert.pem());
    for (name, pair) in [("own", &own), ("partner", &partner)] {
        prepared.write(&format!("{name}.pem"), &pair.cert.pem());
        prepared.write(&format!("{name}.key"), &pair.signing_key.serialize_pem());
    }
    let file = |name: &str| prepared.dir().join("conf").join(name).display().to_string();
    let shown = ["--cert", &file("partner.pem"), "--key", &file("partner.key")].map(str::to_owned);
    let gateway = start(prepared);
    let loose = provider.token("urn:opaque:shop", "orders:read");
    send(&gateway, "/echo/tls", &loose).expect(200);
    assert_eq!(send(&gateway, "/echo/stranger", &loose).expect(503).reason(), "introspection_unavailable");
    // A token that was made for a certificate is of no use without it.
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "bound"),
        ("client_secret", "app-secret"),
        ("resource", "urn:opaque:shop"),
    ];
    let answer = provider.post("/token", &form, &shown.each_ref().map(String::as_str));
    let bound = answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}"));
    assert_eq!(send(&gateway, "/echo/tls", bound).expect(401).reason(), "token_certificate");
}

#[test]
fn keys_are_discovered_and_rotate_while_it_serves() {
    let Some(provider) = Provider::start(None, &[]) else { return };
    let conf = format!(
        "
routes:
  both:
    paths: [/echo/both]
    upstream: demo
    auth: {{any: [jwt, oauth2-introspection]}}
    plugins:
      jwt: {{issuer: '{}', audience: shop, typ: at+jwt, refetch_interval: 1s, opaque_tokens: pass}}
      oauth2-introspection: {{{}, client_id: gateway-post, client_secret: secret-of-the-gateway,
                             introspection_endpoint_auth_method: client_secret_post, jwt_tokens: pass}}
",
        provider.issuer,
        provider.endpoint()
    );
    let gateway = Gateway::start(&conf);
    let old = provider.token("urn:jwt:shop", "orders:read");
    until("the keys", || (send(&gateway, "/echo/both", &old).status == 200).then_some(()));
    let others = provider.token("urn:jwt:cart", "orders:read");
    assert_eq!(send(&gateway, "/echo/both", &others).expect(401).reason(), "token_audience");
    send(&gateway, "/echo/both", &provider.token("urn:opaque:shop", "orders:read")).expect(200);
    for _ in 0..3 {
        provider.rotate();
        let new = provider.token("urn:jwt:shop", "orders:read");
        until("the new key", || (send(&gateway, "/echo/both", &new).status == 200).then_some(()));
        assert_eq!(send(&gateway, "/echo/both", &old).expect(401).reason(), "token_key_unknown");
    }
    // While it is gone its keys stay in use, and nobody can be asked.
    let last = provider.token("urn:jwt:shop", "orders:read");
    drop(provider);
    send(&gateway, "/echo/both", &last).expect(200);
    assert_eq!(send(&gateway, "/echo/both", "opaque").expect(503).reason(), "introspection_unavailable");
}
