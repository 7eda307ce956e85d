//! An issuer that is asked, and what clients, issuers and clocks may do to that.

mod asking;
mod bounds;
mod hostile;
mod load;

use bytes::Bytes;
use http::{Request, Response};
use palisade_contract::{
    Descriptor, HttpError,
    testkit::{Case, Instance, Kit, Ran, TestHost},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime},
};

const DESCRIPTOR: Descriptor =
    Descriptor::authenticator::<super::Oauth2Introspection>().with_credentials::<crate::TokenCredential>();

/// When everything here happens.
const NOW: u64 = 1_800_000_000;
const URL: &str = "https://login.example/introspect";
const FIELDS: &str =
    "introspection_endpoint: https://login.example/introspect, client_id: gw, client_secret: s3cret";

/// An issuer whose answers the test changes.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// By token.
    answers: HashMap<String, (u16, Bytes)>,
    asked: Vec<Request<Bytes>>,
    /// Answers wait.
    held: bool,
    down: bool,
}

impl Issuer {
    fn host(&self) -> Arc<TestHost> {
        let state = self.0.clone();
        Arc::new(TestHost::new(move |request| {
            let state = state.clone();
            let token = field(request.body(), "token").unwrap_or_default();
            state.lock().asked.push(request);
            Box::pin(std::future::poll_fn(move |cx| {
                let state = state.lock();
                if state.held {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                if state.down {
                    return Poll::Ready(Err(HttpError::Failed("connection refused".to_owned())));
                }
                let inactive = (200, Bytes::from("{\"active\":false}"));
                let (status, body) = state.answers.get(&token).cloned().unwrap_or(inactive);
                Poll::Ready(Ok(Response::builder().status(status).body(body).unwrap()))
            }))
        }))
    }

    fn says(&self, token: &str, answer: impl ToString) {
        self.answers(token, 200, answer);
    }

    fn answers(&self, token: &str, status: u16, answer: impl ToString) {
        self.0.lock().answers.insert(token.to_owned(), (status, answer.to_string().into()));
    }

    fn hold(&self, held: bool) {
        self.0.lock().held = held;
    }

    fn is_down(&self, down: bool) {
        self.0.lock().down = down;
    }

    fn calls(&self) -> usize {
        self.0.lock().asked.len()
    }

    fn last(&self) -> Request<Bytes> {
        self.0.lock().asked.last().unwrap().clone()
    }
}

/// A field of a form.
fn field(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).unwrap();
    crate::presented::query_pairs(text)
        .find(|(key, _)| &**key == name.as_bytes())
        .map(|(_, value)| String::from_utf8(value.into_owned()).unwrap())
}

fn good() -> Value {
    json!({
        "active": true, "iss": "https://login.example", "sub": "alice", "aud": "shop", "client_id": "app",
        "scope": "orders:read orders:write", "token_type": "Bearer", "exp": NOW + 600, "iat": NOW,
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut answer = good();
    answer[name] = value;
    answer
}

fn build(issuer: &Issuer, fields: &str) -> Instance {
    Kit::of(DESCRIPTOR).host(issuer.host()).build(&format!("{{{FIELDS}, {fields}}}")).unwrap()
}

/// So many milliseconds after the beginning.
fn case(after: u64) -> Case {
    Case::get("/").started(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW * 1000 + after))
}

fn at(plugin: &Instance, after: u64, token: &str) -> Ran {
    plugin.run(case(after).header("authorization", &format!("Bearer {token}")))
}

fn send(plugin: &Instance, token: &str) -> Ran {
    at(plugin, 0, token)
}

#[test]
fn an_answer_says_who_is_calling() {
    let issuer = Issuer::default();
    issuer.says("t1", good());
    issuer.says("t2", json!({"active": true, "client_id": "batch"}));
    let fields = "audience: shop, issuer: https://login.example, required_scopes: ['orders:read'], \
                  claims_to_headers: {sub: x-user-id, scope: x-scopes}";
    let plugin = build(&issuer, fields);
    let ran = send(&plugin, "t1");
    let principal = ran.authenticated();
    assert_eq!(&*principal.id, "https://login.example|alice");
    assert_eq!(principal.claims["client_id"], "app");
    assert!(!principal.claims.contains_key("active"));
    assert_eq!(principal.words("scope").collect::<Vec<_>>(), ["orders:read", "orders:write"]);
    let set: Vec<_> = ran.ex.origin_changes().set_headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(set, ["x-scopes", "x-user-id"]);
    plugin.run(case(0)).no_credential();
    plugin.run(case(0).header("authorization", "Basic YTpi")).no_credential();
    // An answer may name no issuer: then the one that was asked answers for it.
    let plugin = build(&issuer, "hide_credentials: true");
    let ran = send(&plugin, "t2");
    assert_eq!(&*ran.authenticated().id, "https://login.example/introspect|batch");
    assert_eq!(ran.ex.origin_changes().remove_headers, ["authorization"]);
}

#[test]
fn a_consumer_is_found_by_what_the_answer_says() {
    let issuer = Issuer::default();
    issuer.says("t1", good());
    issuer.says("t2", with("client_id", json!("other")));
    let kit = Kit::of(DESCRIPTOR).host(issuer.host()).consumer("acme", &["gold"], &["key: app"]);
    let plugin = kit.build(&format!("{{{FIELDS}, consumer_claim: client_id}}")).unwrap();
    let principal = send(&plugin, "t1").authenticated();
    assert_eq!((&*principal.id, principal.groups().len()), ("acme", 1));
    send(&plugin, "t2").denied(401, "token_consumer_unknown");
    let plugin =
        kit.build(&format!("{{{FIELDS}, consumer_claim: client_id, consumer_optional: true}}")).unwrap();
    assert!(send(&plugin, "t2").authenticated().consumer.is_none());
}

#[test]
fn what_is_left_to_others_is_theirs() {
    let issuer = Issuer::default();
    issuer.says("opaque", good());
    issuer.says("a.b.c", good());
    let plugin = build(&issuer, "jwt_tokens: pass, hide_credentials: true");
    send(&plugin, "opaque").authenticated();
    for token in
        ["a.b.c", "eyJhbGciOiJub25lIn0.e30.", "a.b.c.d.e", "a.b.c=", "opaque ", "eyJ", "", "op,aque", "a%2eb"]
    {
        let ran = send(&plugin, token);
        ran.not_mine();
        assert!(ran.ex.origin_changes().is_empty(), "{token}");
    }
    assert_eq!(issuer.calls(), 1);
    // Without that a JWT is asked about like any other.
    send(&build(&issuer, ""), "a.b.c").authenticated();
}

#[test]
fn a_bound_token_comes_with_its_certificate() {
    let issuer = Issuer::default();
    let thumbprint = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, [7; 32]);
    issuer.says("bound", with("cnf", json!({"x5t#S256": thumbprint})));
    issuer.says("loose", good());
    issuer.says("odd", with("cnf", json!({"x5t#S256": "AAAA"})));
    let with_certificate = |sha256: [u8; 32], token: &str| {
        let certificate = Arc::new(palisade_contract::PeerCertificate { chain: Vec::new(), sha256 });
        case(0).header("authorization", &format!("Bearer {token}")).client(|client| {
            let (version, cipher) = ("TLSv1.3".into(), "TLS13_AES_128_GCM_SHA256".into());
            let certificate = Some(certificate);
            client.tls =
                Some(palisade_contract::Tls { version, cipher, server_name: None, alpn: None, certificate });
        })
    };
    let plugin = build(&issuer, "");
    plugin.run(with_certificate([7; 32], "bound")).authenticated();
    // It is remembered now; the certificate is asked for all the same.
    plugin.run(with_certificate([8; 32], "bound")).denied(401, "token_certificate");
    send(&plugin, "bound").denied(401, "token_certificate");
    send(&plugin, "loose").authenticated();
    send(&plugin, "odd").denied(401, "token_claim_invalid");
    let plugin = build(&issuer, "certificate_binding: required");
    send(&plugin, "loose").denied(401, "token_certificate");
    plugin.run(with_certificate([7; 32], "loose")).denied(401, "token_certificate");
    plugin.run(with_certificate([7; 32], "bound")).authenticated();
}
