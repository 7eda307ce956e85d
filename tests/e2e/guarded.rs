//! `credential-guard` in front of every authenticator: guesses get nowhere, and who is known gets in.

use crate::{
    authority::Authority,
    client::{Client, Response},
    harness::{Gateway, until},
    mtls::{presenting, write_pair},
    signer::Signer,
    successors::upgrade,
    tls::{certificate, handshake},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;

/// `sesame`, at a price of nothing.
pub const HASH: &str =
    "$argon2id$v=19$m=64,t=1,p=1$c2l4dGVlbi1ieXRlcy0xNg$8NOb8xpjxdc9t9FZoDeHUmxLTbQ99mYZFvHFZdMrhXI";

/// Windows of a day: nothing here waits for one to end.
const GUARD: &str = "ip: {failures: 6, window: 24h}, account: {failures: 3, window: 24h}, \
    credential: {failures: 2, window: 24h}, account_everywhere: {failures: 12, window: 24h}, \
    all: {failures: 120, window: 24h}, max_lockout: 24h";

fn conf(routes: &str) -> String {
    let guard = format!("{{{GUARD}}}");
    format!(
        "
admin: {{address: 127.0.0.1:0, token: admin-token-of-tests}}
plugins: {{credential-guard: {guard}}}
{routes}
consumers:
  carol: {{basic-auth: [{{username: carol, password_hash: '{HASH}'}}]}}
  partner: {{mtls: [{{dns: api.partner.test}}]}}
  acme: {{hmac-auth: [{{username: acme, secret: 0123456789abcdef0123456789abcdef}}]}}
"
    )
}

fn basic(user: &str, password: &str) -> String {
    format!("authorization: Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

fn from(gateway: &Gateway, source: &str, path: &str, headers: &[&str]) -> Response {
    Client::connect_from(source, gateway.address()).request("GET", path, headers)
}

/// The statuses of so many requests from one address, each with a header of its own.
fn statuses(gateway: &Gateway, source: &str, path: &str, header: impl Fn(usize) -> String) -> Vec<u16> {
    (0..10).map(|number| from(gateway, source, path, &[&header(number)]).status).collect()
}

fn looked(failures: usize) -> Vec<u16> {
    (0..10).map(|number| if number < failures { 401 } else { 429 }).collect()
}

#[test]
fn whatever_the_scheme_an_address_has_so_many_failures() {
    let signer = Signer::new();
    let prepared = Gateway::prepare(&conf(
        "
routes:
  key: {paths: [/echo/key], upstream: demo, plugins: {key-auth: {}}}
  basic: {paths: [/echo/basic], upstream: demo, plugins: {basic-auth: {}}}
  hmac: {paths: [/echo/hmac], upstream: demo, plugins: {hmac-auth: {}}}
  jwt: {paths: [/echo/jwt], upstream: demo, plugins: {jwt: {public_key: key.pem}}}
  any:
    paths: [/echo/any]
    upstream: demo
    auth: {any: [key-auth, basic-auth]}
    plugins: {key-auth: {anonymous: bob}, basic-auth: {}}
  all: {paths: [/echo/all], upstream: demo, auth: {all: [key-auth, basic-auth]}, plugins: {key-auth: {}, basic-auth: {}}}
  optional: {paths: [/echo/optional], upstream: demo, auth: optional, plugins: {key-auth: {mode: monitor}}}
",
    ));
    prepared.write("key.pem", &signer.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let key = |number: usize| format!("apikey: wrong-{number}");
    let expired = |number: usize| {
        let claims = json!({"sub": "alice", "exp": Signer::now() - 600, "jti": number});
        format!("authorization: Bearer {}", signer.token("k", &claims))
    };
    let stranger = Signer::new();
    let unsigned = |number: usize| {
        let claims = json!({"sub": "alice", "exp": Signer::now() + 600, "jti": number});
        format!("authorization: Bearer {}", stranger.token("k", &claims))
    };
    let forged = |number: usize| {
        let date = jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let signature = STANDARD.encode([u8::try_from(number).unwrap(); 32]);
        format!(
            "date: {date}\r\nauthorization: hmac username=\"user{number}\", algorithm=\"hmac-sha256\", \
             headers=\"date @request-target\", signature=\"{signature}\""
        )
    };
    let spread = |number: usize| basic(&format!("user{number}"), "password");
    // Without a credential nothing is guessed.
    for _ in 0..20 {
        from(&gateway, "127.0.1.1", "/echo/key", &[]).expect(401);
        from(&gateway, "127.0.1.1", "/echo/any", &[]).expect(200);
    }
    assert_eq!(statuses(&gateway, "127.0.1.1", "/echo/key", key), looked(6));
    assert_eq!(statuses(&gateway, "127.0.1.2", "/echo/basic", spread), looked(6));
    assert_eq!(statuses(&gateway, "127.0.1.3", "/echo/hmac", forged), looked(6));
    assert_eq!(statuses(&gateway, "127.0.1.4", "/echo/jwt", unsigned), looked(6));
    // What the issuer has signed is no guess; the same again is refused unseen.
    assert_eq!(statuses(&gateway, "127.0.1.10", "/echo/jwt", expired), [401; 10]);
    let one = expired(11);
    let again = statuses(&gateway, "127.0.1.11", "/echo/jwt", |_| one.clone());
    assert_eq!((&again[..2], &again[2..]), (&[401; 2][..], &[429; 8][..]));
    assert_eq!(statuses(&gateway, "127.0.1.5", "/echo/any", key), looked(6));
    assert_eq!(statuses(&gateway, "127.0.1.6", "/echo/any", spread), looked(6));
    assert_eq!(
        statuses(&gateway, "127.0.1.7", "/echo/all", |n| format!("apikey: alice-key\r\n{}", spread(n))),
        looked(6)
    );
    // A monitored authenticator lets pass, and what it has seen counts.
    let passed = (0..10).map(|number| if number < 6 { 200 } else { 429 }).collect::<Vec<u16>>();
    assert_eq!(statuses(&gateway, "127.0.1.8", "/echo/optional", key), passed);
    // One address has one count, whatever it tries; and others are not touched.
    let refused = from(&gateway, "127.0.1.1", "/echo/basic", &[&basic("carol", "sesame")]).expect(429);
    assert_eq!(refused.reason(), "too_many_failures");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() > 1000);
    assert!(refused.header("www-authenticate").is_none());
    from(&gateway, "127.0.1.9", "/echo/basic", &[&basic("carol", "sesame")]).expect(200);
    from(&gateway, "127.0.1.9", "/echo/jwt", &[&format!("authorization: Bearer {}", signer.good("k"))])
        .expect(200);
    // Nor is who sends no credential.
    from(&gateway, "127.0.1.1", "/echo/any", &[]).expect(200);
    let metrics = admin(&gateway, "GET", "/metrics").expect(200).text();
    assert!(metrics.contains("event=\"lockout_ip\"") && metrics.contains("event=\"refused\""), "{metrics}");
}

fn admin(gateway: &Gateway, method: &str, path: &str) -> Response {
    let token = "authorization: Bearer admin-token-of-tests";
    Client::connect(gateway.at("admin")).request(method, path, &["Host: localhost", token])
}

const BASIC: &str = "routes: {basic: {paths: [/echo/*], upstream: demo, plugins: {basic-auth: {}}}}";

#[test]
fn a_victim_is_never_locked_out_by_others() {
    let gateway = Gateway::start(&conf(BASIC));
    let right = basic("carol", "sesame");
    let home = |expected| from(&gateway, "127.0.2.1", "/echo/a", &[&right]).expect(expected);
    home(200);
    // Somebody behind the same address guesses at others, and many elsewhere guess at her.
    for number in 0..10 {
        from(&gateway, "127.0.2.1", "/echo/a", &[&basic(&format!("user{number}"), "x")]);
    }
    assert_eq!(from(&gateway, "127.0.2.1", "/echo/a", &[&basic("dave", "x")]).status, 429);
    for bot in 1..50 {
        for guess in 0..4 {
            from(
                &gateway,
                &format!("127.0.3.{bot}"),
                "/echo/a",
                &[&basic("carol", &format!("{bot}-{guess}"))],
            );
        }
    }
    home(200);
    // Elsewhere too she gets in on the first try.
    from(&gateway, "127.0.2.2", "/echo/a", &[&right]).expect(200);
    // A reload changes nothing of that.
    gateway.hangup("is serving");
    home(200);
    assert_eq!(from(&gateway, "127.0.2.1", "/echo/a", &[&basic("dave", "x")]).status, 429);
    // What was locked out is in the record, hers by name and others' without.
    let lines = until("the record", || Some(gateway.audit(212)));
    let findings: Vec<String> =
        lines.iter().filter_map(|line| line.get("findings")).map(ToString::to_string).collect();
    let all = findings.join("\n");
    assert!(all.contains("locked_out") && all.contains("\"carol\"") && !all.contains("user3"), "{all}");
    assert!(!all.contains(&STANDARD.encode("carol:sesame")) && !all.contains("sesame\""), "{all}");
}

#[test]
fn stuffing_from_many_addresses_leaves_each_of_them_little() {
    let gateway = Gateway::start(&conf(BASIC));
    let mut verified = Vec::new();
    for bot in 1..=60 {
        let tries = statuses(&gateway, &format!("127.0.4.{bot}"), "/echo/a", |number| {
            basic(&format!("user-{bot}-{number}"), "stolen")
        });
        verified.push(tries.iter().filter(|status| **status == 401).count());
    }
    // 120 failures in all, and from then on a quarter of six: one.
    assert_eq!((&verified[..20], &verified[20..]), (&[6; 20][..], &[1; 40][..]));
    from(&gateway, "127.0.5.1", "/echo/a", &[&basic("carol", "sesame")]).expect(200);
    // One stolen login from many addresses is refused unseen.
    let mut gone = Vec::new();
    for bot in 1..=5 {
        gone.push(from(&gateway, &format!("127.0.6.{bot}"), "/echo/a", &[&basic("eve", "stolen")]).status);
    }
    assert_eq!(gone, [401, 401, 429, 429, 429]);
}

#[test]
fn what_is_locked_out_is_listed_and_ended_with_the_token() {
    let gateway = Gateway::start(&conf(BASIC));
    let tries =
        |source: &str| statuses(&gateway, source, "/echo/a", |number| basic("carol", &number.to_string()));
    from(&gateway, "127.0.7.9", "/echo/a", &[&basic("carol", "sesame")]).expect(200);
    assert_eq!(tries("127.0.7.1"), looked(3));
    let list = admin(&gateway, "GET", "/lockouts").expect(200).json();
    let one = &list["lockouts"][0];
    assert_eq!(
        (&one["kind"], &one["account"], &one["network"]),
        (&json!("account"), &json!("carol"), &json!("127.0.7.1"))
    );
    assert_eq!(one["entry"], "credential-guard");
    let mut without = Client::connect(gateway.at("admin"));
    without.request("GET", "/lockouts", &["Host: localhost"]).expect(401);
    without.request("DELETE", "/lockouts?all=true", &["Host: localhost"]).expect(401);
    from(&gateway, "127.0.7.1", "/echo/a", &[&basic("carol", "sesame")]).expect(429);
    assert_eq!(admin(&gateway, "DELETE", "/lockouts?account=carol").expect(200).json()["ended"], 1);
    from(&gateway, "127.0.7.1", "/echo/a", &[&basic("carol", "sesame")]).expect(200);
    assert_eq!(admin(&gateway, "GET", "/lockouts").expect(200).json()["lockouts"], json!([]));
    assert_eq!(admin(&gateway, "DELETE", "/lockouts?ip=127.0.7.1").expect(200).json()["ended"], 0);
    admin(&gateway, "DELETE", "/lockouts").expect(400);
}

/// What is locked out: what it is of, whose network, and whose account.
fn locked_out(gateway: &Gateway) -> Vec<String> {
    let list = admin(gateway, "GET", "/lockouts").expect(200).json();
    let all = list["lockouts"].as_array().unwrap().iter();
    let mut all: Vec<String> =
        all.map(|one| format!("{} {} {}", one["kind"], one["network"], one["account"])).collect();
    all.sort();
    all
}

#[test]
fn an_upgrade_frees_nobody_and_forgets_nobody() {
    let gateway = Gateway::start(&conf(BASIC));
    let right = basic("carol", "sesame");
    let ask = |source: &str, login: &str| from(&gateway, source, "/echo/a", &[login]).status;
    let spread = |number: usize| basic(&format!("user{number}"), "password");
    assert_eq!(ask("127.0.11.1", &right), 200);
    assert_eq!(statuses(&gateway, "127.0.11.1", "/echo/a", spread), looked(6));
    // Others than before: the same once more would be locked out wherever it came from.
    for number in 20..24 {
        assert_eq!(ask("127.0.11.2", &spread(number)), 401);
    }
    let guess = |number: usize| basic("carol", &number.to_string());
    assert_eq!(statuses(&gateway, "127.0.11.3", "/echo/a", guess), looked(3));
    let before = locked_out(&gateway);
    assert_eq!(before.len(), 2, "{before:?}");
    let _next = upgrade(&gateway, &[]);
    // Locked out as before, and to be seen; who is known gets in.
    assert_eq!(locked_out(&gateway), before);
    assert_eq!((ask("127.0.11.1", &spread(50)), ask("127.0.11.1", &right)), (429, 200));
    assert_eq!(ask("127.0.11.3", &right), 429);
    // Who had two failures left has two.
    let rest: Vec<u16> = (10..14).map(|number| ask("127.0.11.2", &spread(number))).collect();
    assert_eq!(rest, [401, 401, 429, 429]);
    // What the predecessor began its successor ends.
    let end = |whom: &str| admin(&gateway, "DELETE", &format!("/lockouts?{whom}")).expect(200).json();
    assert_eq!(end("account=carol")["ended"], 1);
    assert_eq!(ask("127.0.11.3", &right), 200);
    assert_eq!(end("ip=127.0.11.1")["ended"], 1);
    assert_eq!(ask("127.0.11.1", &spread(51)), 401);
}

#[test]
fn who_tries_many_ids_is_listed_stays_locked_out_and_is_let_in_again() {
    let gateway = Gateway::start(
        "
admin: {address: 127.0.0.1:0, token: admin-token-of-tests}
routes:
  user:
    paths: ['/echo/{user}']
    upstream: demo
    plugins:
      key-auth: {}
      ownership: {object: path.user, owner: consumer, enumeration: {distinct: 3, lockout: 1h}}
",
    );
    let ask = |user: &str| gateway.request("GET", &format!("/echo/{user}"), &["apikey: alice-key"]);
    ask("alice").expect(200);
    assert_eq!(admin(&gateway, "GET", "/lockouts").expect(200).json()["lockouts"], json!([]));
    for user in ["bob", "carol", "dave"] {
        ask(user).expect(403);
    }
    assert_eq!(ask("alice").expect(429).reason(), "ownership_lockout");
    let _next = upgrade(&gateway, &[]);
    assert_eq!(ask("alice").expect(429).reason(), "ownership_lockout");
    let list = admin(&gateway, "GET", "/lockouts").expect(200).json();
    let one = &list["lockouts"][0];
    let said = [&one["entry"], &one["route"], &one["kind"], &one["account"]];
    assert_eq!(said, [&json!("ownership"), &json!("user"), &json!("caller"), &json!("alice")]);
    assert!(one["seconds_left"].as_u64().is_some_and(|left| left > 3000), "{list}");
    let end = |whom: &str| admin(&gateway, "DELETE", &format!("/lockouts?{whom}")).expect(200).json();
    assert_eq!((&end("account=bob")["ended"], &end("ip=127.0.0.1")["ended"]), (&json!(0), &json!(0)));
    ask("alice").expect(429);
    assert_eq!(end("account=alice")["ended"], 1);
    ask("alice").expect(200);
}

#[test]
fn a_certificate_that_is_good_for_nobody_counts_and_one_that_is_known_passes() {
    let (server, partners) = (certificate("a.test"), Authority::new("partners"));
    let prepared = Gateway::prepare(&conf(
        "
listeners:
  secure:
    address: 127.0.0.1:0
    tls: {certificates: [{certificate: certs/a.pem, key: certs/a.key}], client_auth: {mode: optional, ca: certs/ca.pem}}
routes:
  partner: {paths: [/echo/partner], upstream: demo, plugins: {mtls: {}}}
  key: {paths: [/echo/key], upstream: demo, plugins: {key-auth: {}}}
",
    ));
    write_pair(&prepared, "a", &server);
    prepared.write("certs/ca.pem", &partners.certificate.pem());
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let ask = |shown: &crate::authority::Signed, path: &str, header: &str| {
        let config = presenting(&server, Some(shown));
        let (mut client, _) = handshake(gateway.at("listener secure"), "a.test", config).unwrap();
        client.request("GET", path, &["Host: a.test", header]).status
    };
    let (good, unknown) = (partners.sign("api.partner.test"), partners.sign("nobody.partner.test"));
    assert_eq!(ask(&good, "/echo/partner", "x: y"), 200);
    let shown = (0..4).map(|_| ask(&unknown, "/echo/partner", "x: y")).collect::<Vec<_>>();
    assert_eq!(shown, [401, 401, 429, 429], "the same again is refused unseen");
    let keys = (0..6).map(|number| ask(&good, "/echo/key", &format!("apikey: {number}"))).collect::<Vec<_>>();
    assert_eq!(keys, [401, 401, 401, 401, 401, 401], "a certificate is no guess");
    assert_eq!(ask(&good, "/echo/key", "apikey: 6"), 429);
    // The address is locked out; its certificate was good here.
    assert_eq!(ask(&good, "/echo/partner", "x: y"), 200);
    assert_eq!(
        ask(&partners.sign("api.partner.test"), "/echo/partner", "x: y"),
        429,
        "this one was never seen"
    );
}
