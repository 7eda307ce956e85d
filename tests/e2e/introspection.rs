//! Opaque tokens over the network: an issuer that is asked, is down, slow, or answers what is no answer.

use crate::{
    client::Response,
    harness::{Gateway, until},
    issuers::{GOOD, Issuer},
    ports::Port,
    signer::Signer,
};
use serde_json::json;
use std::time::Instant;

fn conf(fields: &str) -> String {
    format!(
        "
routes:
  any:
    paths: [/echo/*]
    upstream: demo
    plugins: {{oauth2-introspection: {{{fields}}}, acl: {{scopes: ['orders:read']}}}}
  open: {{paths: [/echo/open], upstream: demo}}
"
    )
}

fn ask(gateway: &Gateway, token: &str) -> Response {
    gateway.request("GET", "/echo/", &[&format!("authorization: Bearer {token}")])
}

#[test]
fn an_answer_decides_and_is_remembered() {
    let endpoint = Issuer::start(None);
    let fields = format!(
        "{}, audience: shop, claims_to_headers: {{sub: x-user-id}}, ttl: 1h",
        endpoint.introspection()
    );
    let gateway = Gateway::start(&conf(&fields));
    let missing = gateway.get("/echo/").expect(401);
    assert_eq!(missing.reason(), "credential_missing");
    assert_eq!(missing.header("www-authenticate").unwrap(), "Bearer realm=\"palisade\"");
    for _ in 0..3 {
        let passed = gateway.request("GET", "/echo/", &["authorization: Bearer t0k3n", "x-user-id: admin"]);
        assert_eq!(passed.expect(200).echoed("x-user-id").as_deref(), Some("u-1"));
    }
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].starts_with("post /introspect http/1.1\r\n"), "{asked:?}");
    assert!(asked[0].contains("authorization: basic z3c6ahvudgvymi1vzi10agutz2f0zxdheq=="), "{asked:?}");
    assert!(asked[0].ends_with("token=t0k3n&token_type_hint=access_token"), "{asked:?}");
    let open = gateway.request("GET", "/echo/open", &["x-user-id: admin"]).expect(200);
    assert_eq!(open.echoed("x-user-id"), None);
    endpoint.says("{\"active\":false}");
    let refused = ask(&gateway, "another").expect(401);
    assert_eq!(refused.reason(), "token_inactive");
    assert!(refused.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
    assert_eq!(refused.header("content-type").unwrap(), "application/problem+json");
    endpoint.says(&GOOD.replace("orders:read", "profile"));
    assert_eq!(ask(&gateway, "weak").expect(403).reason(), "insufficient_scope");
    endpoint.says(&GOOD.replace("shop", "cart"));
    assert_eq!(ask(&gateway, "others").expect(401).reason(), "token_audience");
    // Neither tokens nor the gateway's own secret are anywhere in what is written down.
    let written = format!("{}{:?}", gateway.log(), gateway.audit(8));
    for secret in ["t0k3n", "hunter2"] {
        assert!(!written.contains(secret), "{written}");
    }
}

#[test]
fn what_is_no_answer_opens_nothing() {
    let endpoint = Issuer::start(None);
    let gateway = Gateway::start(&conf(&format!("{}, timeout: 20s", endpoint.introspection())));
    let elsewhere = Issuer::start(None);
    let location = format!("http://{}/introspect", elsewhere.address);
    let huge = format!("{{\"active\":true,\"x\":\"{}\"}}", "x".repeat(300_000));
    let chunked =
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8000\r\n".to_owned() + &" ".repeat(0x8000);
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n{\"active\":true}";
    let ok = |body: &str| format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    for (count, raw) in [
        ok("<html><title>Sign in</title>{\"active\":true}</html>"),
        ok(&huge),
        ok("{\"active\":\"true\"}"),
        ok("{\"active\":1,\"sub\":\"u-1\",\"scope\":\"orders:read\"}"),
        ok("{\"active\":true,\"exp\":\"never\"}"),
        ok(""),
        ok("true"),
        format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"),
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"),
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 15\r\n\r\n{\"active\":true}".to_owned(),
        "HTTP/1.1 500 No\r\ncontent-length: 15\r\n\r\n{\"active\":true}".to_owned(),
        "{\"active\":true}".to_owned(),
        format!("{chunked}\r\n0"),
        long.to_owned(),
        String::new(),
    ]
    .into_iter()
    .enumerate()
    {
        endpoint.raw(raw.clone());
        let refused = ask(&gateway, &format!("t{count}")).expect(503);
        assert_eq!(refused.reason(), "introspection_unavailable", "{raw}");
        // Nothing of it was remembered, and nobody is locked out by it.
        endpoint.says(GOOD);
        ask(&gateway, &format!("t{count}")).expect(200);
    }
    assert_eq!(elsewhere.asked(), Vec::<String>::new(), "tokens go where the configuration says");
    assert!(gateway.log().contains("tokens that are not remembered are refused"));
}

#[test]
fn a_silent_issuer_delays_nobody_for_long() {
    let endpoint = Issuer::start(None);
    let gateway = Gateway::start(&conf(&format!("{}, timeout: 300ms, ttl: 1h", endpoint.introspection())));
    // A busy machine may need more than one try.
    until("an answer in time", || (ask(&gateway, "known").status == 200).then_some(()));
    let before = endpoint.asked().len();
    endpoint.falls_silent();
    for count in 0..5 {
        assert_eq!(ask(&gateway, &format!("t{count}")).expect(503).reason(), "introspection_unavailable");
    }
    until("the calls that nobody answers", || (endpoint.asked().len() >= before + 5).then_some(()));
    // From here on one in a second waits; what is known, and what needs no token, goes on.
    let (begun, calls) = (Instant::now(), endpoint.asked().len());
    for count in 0..50 {
        ask(&gateway, &format!("u{count}")).expect(503);
        ask(&gateway, "known").expect(200);
        gateway.get("/echo/open").expect(200);
    }
    let (more, allowed) = (endpoint.asked().len() - calls, begun.elapsed().as_secs() as usize + 2);
    assert!(more <= allowed, "{more} calls, {allowed} at most");
    endpoint.says(GOOD);
    until("the issuer", || (ask(&gateway, "later").status == 200).then_some(()));
}

#[test]
fn an_issuer_that_is_down_is_asked_when_it_is_there() {
    let port = Port::free();
    let address = port.address();
    let fields =
        format!("introspection_endpoint: 'http://{address}/introspect', client_id: gw, client_secret: s");
    let gateway = Gateway::start(&conf(&fields));
    for _ in 0..8 {
        assert_eq!(ask(&gateway, "t").expect(503).reason(), "introspection_unavailable");
    }
    let endpoint = Issuer::start(Some(address));
    until("the issuer", || (ask(&gateway, "t").status == 200).then_some(()));
    drop(endpoint);
    ask(&gateway, "t").expect(200);
}

#[test]
fn revocation_is_seen_after_the_stated_time() {
    let endpoint = Issuer::start(None);
    let gateway = Gateway::start(&conf(&format!("{}, ttl: 1s", endpoint.introspection())));
    ask(&gateway, "t").expect(200);
    endpoint.says("{\"active\":false}");
    until("the revocation", || (ask(&gateway, "t").status == 401).then_some(()));
    assert!(endpoint.asked().len() >= 2);
}

#[test]
fn jwts_and_opaque_tokens_stand_side_by_side() {
    let (signer, stranger, endpoint) = (Signer::new(), Signer::new(), Issuer::start(None));
    let prepared = Gateway::prepare(&format!(
        "
routes:
  both:
    paths: [/echo/both]
    upstream: demo
    auth: {{any: [oauth2-introspection, jwt]}}
    plugins:
      jwt: {{public_key: key.pem, opaque_tokens: pass, anonymous: bob}}
      oauth2-introspection: {{{}, jwt_tokens: pass}}
  signed:
    paths: [/echo/signed]
    upstream: demo
    plugins: {{jwt: {{public_key: key.pem, opaque_tokens: pass, anonymous: bob}}}}
",
        endpoint.introspection()
    ));
    prepared.write("key.pem", &signer.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let send =
        |path: &str, token: &str| gateway.request("GET", path, &[&format!("authorization: Bearer {token}")]);
    let over = signer.token("k", &json!({"iss": "i", "sub": "a", "exp": Signer::now() - 1}));
    let stolen = signer.good("k");
    send("/echo/both", "opaque").expect(200);
    send("/echo/both", &stolen).expect(200);
    assert_eq!(endpoint.asked().len(), 1, "nobody is asked about a JWT");
    // What one refuses the other does not take, in whatever way it is written.
    let unsigned = stolen.rsplit_once('.').unwrap().0.to_owned();
    for (token, reason) in [
        (over.clone(), "token_expired"),
        (stranger.good("k"), "token_signature"),
        (format!("{stolen}="), "token_malformed"),
        (format!("{stolen}.x"), "token_malformed"),
        (format!("{unsigned}."), "token_signature"),
        (unsigned.split('.').next().unwrap().to_owned(), "token_malformed"),
        (format!("{over}%20"), "token_malformed"),
        ("opaque opaque".to_owned(), "token_malformed"),
        (String::new(), "token_malformed"),
    ] {
        assert_eq!(send("/echo/both", &token).expect(401).reason(), reason, "{token}");
    }
    assert_eq!(endpoint.asked().len(), 1);
    // A token that is left to others and that nobody takes is a wrong one: it is not anonymous.
    assert_eq!(send("/echo/signed", "opaque").expect(401).reason(), "credential_unsupported");
    gateway.get("/echo/signed").expect(200);
}
