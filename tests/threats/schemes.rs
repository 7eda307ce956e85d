//! Credentials of machine clients: what holds for a key holds for a password, a signature and a token that an issuer is asked
//! about. What a certificate says is in the tables beside `mtls`: it is nowhere in a request.
//!
//! Case: CVE-2026-31838 (Istio: only one of several values checked).

use crate::{client::Client, gate::Gate, issuers::Issuer, signer::Signer};
use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use ring::hmac;
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock, Weak};

/// `sesame`, at a price of nothing.
const HASH: &str =
    "$argon2id$v=19$m=64,t=1,p=1$c2l4dGVlbi1ieXRlcy0xNg$8NOb8xpjxdc9t9FZoDeHUmxLTbQ99mYZFvHFZdMrhXI";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A gateway with one route for each scheme, and the issuer that it asks.
struct Schemes {
    gate: Gate,
    issuer: Issuer,
}

fn schemes() -> Arc<Schemes> {
    // No test may be the last one to hold it: a process that a static holds is never ended.
    static SHARED: LazyLock<Mutex<Weak<Schemes>>> = LazyLock::new(Mutex::default);
    let mut shared = SHARED.lock();
    shared.upgrade().unwrap_or_else(|| {
        let started = Arc::new(start());
        *shared = Arc::downgrade(&started);
        started
    })
}

fn start() -> Schemes {
    let issuer = Issuer::start(None);
    let gate = Gate::start(&format!(
        "
admin: {{address: 127.0.0.1:0, token: admin-token-of-tests}}
upstreams: {{raw: {{targets: [{{address: ORIGIN}}]}}}}
routes:
  basic: {{paths: [/basic/*], upstream: raw, plugins: {{basic-auth: {{}}}}}}
  hmac: {{paths: [/hmac/*], upstream: raw, plugins: {{hmac-auth: {{refuse_replays: false, enforce_headers: [date]}}}}}}
  token:
    paths: [/token/*]
    upstream: raw
    plugins: {{oauth2-introspection: {{{}, audience: shop, ttl: 0s, timeout: 30s}}}}
consumers:
  carol: {{basic-auth: [{{username: carol, password_hash: '{HASH}'}}]}}
  acme: {{hmac-auth: [{{username: acme, secret: {SECRET}}}]}}
",
        issuer.introspection()
    ));
    Schemes { gate, issuer }
}

fn basic(login: impl AsRef<[u8]>) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(login))
}

fn date() -> String {
    jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A signed date, and by whom it says that it is; `change` makes another signature of the good one.
fn signed_by(user: &str, change: impl Fn(&str) -> String) -> String {
    let date = date();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let mac = change(&STANDARD.encode(hmac::sign(&key, format!("date: {date}").as_bytes())));
    format!(
        "date: {date}\r\nauthorization: hmac username=\"{user}\", algorithm=\"hmac-sha256\", headers=\"date\", \
         signature=\"{mac}\"\r\n"
    )
}

fn signed() -> String {
    signed_by("acme", str::to_owned)
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

/// The status and reason of a request with these lines; what is refused reaches no origin, and says how to do it and not
/// what was wrong.
#[track_caller]
fn ask(scheme: &str, lines: &str) -> (u16, String) {
    let schemes = schemes();
    let gate = &schemes.gate;
    let (answer, _, mark) = gate.answer(format!("GET /{scheme}/MARK HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
    assert_eq!(!gate.seen(&mark).is_empty(), answer.status == 200, "{lines:?}");
    if answer.status == 200 {
        return (200, String::new());
    }
    assert_eq!(answer.header("content-type").unwrap(), "application/problem+json", "{lines:?}");
    let text = answer.text();
    assert!(!["carol", "acme", "sesame", SECRET].iter().any(|word| text.contains(word)), "{text}");
    if answer.status == 401 {
        let challenge = answer.header("www-authenticate").unwrap();
        let begin = match scheme {
            "basic" => "Basic realm=\"palisade\", charset=\"UTF-8\"",
            "hmac" => "hmac realm=\"palisade\"",
            _ => "Bearer realm=\"palisade\"",
        };
        assert!(challenge.starts_with(begin), "{challenge}");
        // RFC 6750 §3.1: without a token nothing is said of an error.
        let says_error = scheme == "token" && answer.reason() != "credential_missing";
        assert_eq!(challenge.contains("error=\"invalid_token\""), says_error, "{challenge}");
    }
    (answer.status, answer.reason())
}

#[track_caller]
fn refused(scheme: &str, lines: &str, reason: &str) {
    assert_eq!(ask(scheme, lines), (401, reason.to_owned()), "{scheme}: {lines:?}");
}

#[test]
fn what_is_good_works() {
    for (scheme, lines) in [("basic", basic("carol:sesame")), ("hmac", signed()), ("token", bearer("t0k3n"))]
    {
        assert_eq!(ask(scheme, &lines), (200, String::new()), "{scheme}");
    }
}

#[test]
fn none_and_one_of_another_scheme_are_refused() {
    for scheme in ["basic", "hmac", "token"] {
        refused(scheme, "", "credential_missing");
        for line in
            ["apikey: alice-key\r\n", "authorization: Digest x\r\n", "proxy-authorization: Basic x\r\n"]
        {
            refused(scheme, line, "credential_missing");
        }
    }
    refused("basic", &bearer("t0k3n"), "credential_missing");
    refused("hmac", &basic("acme:sesame"), "credential_missing");
    refused("token", &basic("carol:sesame"), "credential_missing");
}

#[test]
fn two_values_are_refused() {
    for (scheme, good, other) in [
        ("basic", basic("carol:sesame"), basic("carol:wrong")),
        ("hmac", signed(), signed_by("nobody", str::to_owned).split_once("\r\n").unwrap().1.to_owned()),
        ("token", bearer("t0k3n"), bearer("other")),
    ] {
        let second =
            good.rsplit_once("authorization").map(|(_, rest)| format!("Authorization{rest}")).unwrap();
        for lines in
            [format!("{good}{second}"), format!("{good}{other}"), format!("{good}authorization: Bogus x\r\n")]
        {
            refused(scheme, &lines, "credential_ambiguous");
        }
        let before = format!("authorization: Bogus x\r\n{good}");
        refused(scheme, &before, "credential_ambiguous");
    }
}

#[test]
fn the_comparison_is_exact() {
    for login in [
        "Carol:sesame",
        "carol:Sesame",
        "carol:sesam",
        "carol:sesame ",
        "carol:sesamee",
        "carol: sesame",
        "xcarol:sesame",
        "carol :sesame",
        "carol@x:sesame",
        "acme:sesame",
        "carol:",
        "carol:*",
    ] {
        refused("basic", &basic(login), "credential_unknown");
    }
    for user in ["Acme", "acm", "acmex", "carol", "*"] {
        refused("hmac", &signed_by(user, str::to_owned), "signature_invalid");
    }
    let bytes = |mac: &str, change: fn(&mut Vec<u8>)| {
        let mut bytes = STANDARD.decode(mac).unwrap();
        change(&mut bytes);
        STANDARD.encode(bytes)
    };
    for change in [
        |mac: &mut Vec<u8>| mac.truncate(16),
        |mac: &mut Vec<u8>| mac.push(0),
        |mac: &mut Vec<u8>| mac.clear(),
        |mac: &mut Vec<u8>| mac.reverse(),
        |mac: &mut Vec<u8>| mac.fill(0),
    ] {
        refused("hmac", &signed_by("acme", |mac| bytes(mac, change)), "signature_invalid");
    }
}

#[test]
fn a_list_is_another_credential() {
    let login = STANDARD.encode("carol:sesame");
    for value in [
        format!("{login}, Basic {login}"),
        format!("{login},{login}"),
        format!("{login} {login}"),
        format!("{login};"),
    ] {
        refused("basic", &format!("authorization: Basic {value}\r\n"), "credential_malformed");
    }
    let signed = signed().trim_end().to_owned();
    for more in [",", ", username=\"acme\"", ", hmac x", " x"] {
        refused("hmac", &format!("{signed}{more}\r\n"), "credential_malformed");
    }
    for token in ["t0k3n, t0k3n", "t0k3n t0k3n", "t0k3n, Bearer t0k3n"] {
        refused("token", &bearer(token), "token_malformed");
    }
}

#[test]
fn a_nul_is_refused() {
    let schemes = schemes();
    for (scheme, lines) in [("basic", basic("carol:sesame")), ("hmac", signed()), ("token", bearer("t0k3n"))]
    {
        let lines = lines.replace("\r\n", "\0\r\n");
        let request = format!("GET /{scheme}/MARK HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        schemes.gate.refuses(request, 400, "header_control_character");
    }
    for login in ["carol:sesame\0", "carol\0:sesame", "\0carol:sesame", "carol:sesame\n"] {
        refused("basic", &basic(login), "credential_malformed");
    }
    let named = signed_by("acme\\0", str::to_owned);
    refused("hmac", &named, "credential_malformed");
}

#[test]
fn a_credential_has_one_way_to_be_written() {
    let login = STANDARD.encode("carol:sesame");
    for value in [
        login.trim_end_matches('=').to_owned() + "===",
        STANDARD.encode("carol:sesame ").replace('=', ""),
        format!("{login}="),
        login.to_lowercase(),
        format!("%{login}"),
        String::new(),
    ] {
        let (status, _) = ask("basic", &format!("authorization: Basic {value}\r\n"));
        assert_eq!(status, 401, "{value}");
    }
    refused("basic", &basic(b"carol:sesame\xff"), "credential_malformed");
    refused("basic", &basic(format!("carol:{}", "x".repeat(5000))), "credential_malformed");
    // What no issuer makes is nobody asked about.
    let calls = schemes().issuer.calls();
    for token in ["", "t\u{fc}", "t\tt", &"x".repeat(16_500)] {
        refused("token", &bearer(token), "token_malformed");
    }
    let schemes = schemes();
    assert!(schemes.issuer.asked()[calls..].iter().all(|asked| !asked.contains("token=x")));
}

#[test]
fn a_credential_in_the_query_or_under_another_name_is_none() {
    let schemes = schemes();
    let gate = &schemes.gate;
    for (path, lines) in [
        ("/token/MARK?access_token=t0k3n", ""),
        ("/basic/MARK?authorization=Basic%20Y2Fyb2w6c2VzYW1l", ""),
        ("/basic/MARK", "x-authorization: Basic Y2Fyb2w6c2VzYW1l\r\n"),
        ("/token/MARK", "cookie: access_token=t0k3n\r\n"),
    ] {
        let (answer, ..) = gate.answer(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!((answer.status, answer.reason()), (401, "credential_missing".to_owned()), "{path}");
    }
}

/// What becomes of a token of which the issuer says this. The issuer is one of the test's own: others go on meanwhile.
fn of_answers(rows: &[(Value, u16, &str)]) {
    let Schemes { gate, issuer } = start();
    for (more, status, reason) in rows {
        let mut answer = json!({"active": true, "sub": "u-1", "aud": "shop", "exp": Signer::now() + 600});
        answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        issuer.says(&answer.to_string());
        let (found, _, mark) =
            gate.answer("GET /token/MARK HTTP/1.1\r\nHost: a\r\nauthorization: Bearer t\r\n\r\n");
        assert_eq!(found.status, *status, "{more}: {}", found.text());
        assert_eq!(gate.seen(&mark).is_empty(), *status != 200, "{more}");
        if *status != 200 {
            assert_eq!(found.reason(), *reason, "{more}");
        }
    }
    for twice in
        ["\"exp\":1,\"exp\":4102444800", "\"active\":false,\"aud\":\"shop\"", "\"sub\":\"a\",\"sub\":\"b\""]
    {
        issuer.says(&format!("{{\"active\":true,\"aud\":\"shop\",{twice}}}"));
        let (found, ..) =
            gate.answer("GET /token/MARK HTTP/1.1\r\nHost: a\r\nauthorization: Bearer t\r\n\r\n");
        assert_eq!((found.status, found.reason()), (503, "introspection_unavailable".to_owned()), "{twice}");
    }
}

#[test]
fn what_an_issuer_says_is_held_to_the_rules_of_tokens() {
    let now = Signer::now();
    // An answer that makes no sense is no word about the token: it opens nothing, and is not the client's fault.
    let nonsense = (503, "introspection_unavailable");
    let mut rows = vec![
        (json!({}), 200, ""),
        (json!({"aud": ["cart", "shop"]}), 200, ""),
        (json!({"active": false}), 401, "token_inactive"),
        (json!({"exp": now - 1}), 401, "token_expired"),
        (json!({"nbf": now + 3600}), 401, "token_not_yet_valid"),
        (json!({"iat": now + 3600}), 401, "token_not_yet_valid"),
        (json!({"aud": "cart"}), 401, "token_audience"),
        (json!({"aud": []}), 401, "token_audience"),
        (json!({"aud": "Shop"}), 401, "token_audience"),
        (json!({"aud": {"shop": 1}}), 401, "token_claim_invalid"),
        (json!({"aud": ["shop", 1]}), 401, "token_claim_invalid"),
        (json!({"token_type": "refresh_token"}), 401, "token_type"),
    ];
    for name in ["exp", "nbf", "iat"] {
        for value in
            [json!("4102444800"), json!(-1), json!(4102444800.5), json!(1e300), json!(null), json!([1])]
        {
            rows.push((json!({name: value}), nonsense.0, nonsense.1));
        }
    }
    for value in [json!("true"), json!(1), json!(null), json!([true])] {
        rows.push((json!({"active": value}), nonsense.0, nonsense.1));
    }
    of_answers(&rows);
}

#[test]
fn nothing_secret_is_written_down() {
    let Schemes { gate, issuer } = start();
    let send = |scheme: &str, lines: &str| {
        gate.answer(format!("GET /{scheme}/MARK HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
    };
    let signed = signed();
    let mac =
        signed.split_once("signature=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap().to_owned();
    for (scheme, lines, status) in [
        ("basic", basic("carol:sesame"), 200),
        ("basic", basic("carol:s3cr3t"), 401),
        ("basic", basic("carol:s3cr3t\n"), 401),
        ("hmac", signed.clone(), 200),
        ("hmac", signed.replace("acme", "nobody"), 401),
        ("hmac", signed.replace("hmac-sha256", "hmac-md5"), 401),
        ("token", bearer("s3cr3t-token"), 200),
        ("token", bearer("s3cr3t-token, s3cr3t-token"), 401),
    ] {
        assert_eq!(send(scheme, &lines).0.status, status, "{lines}");
    }
    for answer in ["s3cr3t-answer", "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\ns3cr3t-answer"] {
        issuer.raw(answer);
        assert_eq!(send("token", &bearer("s3cr3t-token")).0.status, 503);
    }
    let (_, _, last) = send("basic", "");
    gate.record(&last);
    let audit = std::fs::read_to_string(gate.gateway.state().join("audit.jsonl")).unwrap();
    let mut written = format!("{}\n{audit}", gate.gateway.log());
    let token = "authorization: Bearer admin-token-of-tests";
    for path in ["/metrics", "/routes", "/upstreams", "/stores", "/config/status", "/lockouts"] {
        let mut admin = Client::connect(gate.gateway.at("admin"));
        written.push_str(&admin.request("GET", path, &["Host: localhost", token]).expect(200).text());
    }
    let login = STANDARD.encode("carol:sesame");
    for secret in ["s3cr3t", "sesame", &login, SECRET, &mac, "hunter2", "argon2id", "admin-token-of-tests"] {
        let line = written.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}
