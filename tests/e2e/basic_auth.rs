//! User names and passwords, by curl and by hand.

use crate::harness::{Gateway, until};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// `open:sesame`, at a low price.
const CONF: &str = "
routes:
  basic: {paths: [/echo/basic], upstream: demo, plugins: {basic-auth: {realm: orders}}}
  kept: {paths: [/echo/kept], upstream: demo, plugins: {basic-auth: {hide_credentials: false, cache: 0s}}}
  any: {paths: [/echo/any], upstream: demo, auth: {any: [basic-auth, key-auth]}, plugins: {basic-auth: {}, key-auth: {}}}
  anyone: {paths: [/echo/anyone], upstream: demo, plugins: {basic-auth: {anonymous: bob}}}
  full: {paths: [/echo/full], upstream: demo, plugins: {basic-auth: {concurrency: 1, queue: 1, queue_per_ip: 1, cache: 0s}}}
consumers: {carol: {groups: [gold], basic-auth: [{username: carol, password_hash: 'HASH'}]}}
";

/// What `palisade hash --password` makes of a password.
fn hash(password: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["hash", "--password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    text.trim().strip_prefix("password_hash: '").unwrap().strip_suffix('\'').unwrap().to_owned()
}

fn basic(login: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(login))
}

#[test]
fn a_password_opens_and_a_wrong_one_does_not() {
    let gateway = Gateway::start(&CONF.replace("HASH", &hash("open:sesame")));
    let url = |path: &str| format!("http://{}{path}", gateway.address());
    let curl = |login: &str, path: &str| {
        let done = Command::new("curl")
            .args(["-s", "--max-time", "60", "-w", "\n%{http_code}", "-u", login, &url(path)])
            .output()
            .expect("curl: apt-get install curl");
        let text = String::from_utf8(done.stdout).unwrap();
        let (body, status) = text.rsplit_once('\n').unwrap();
        (status.parse::<u16>().unwrap(), body.to_owned())
    };
    let (status, body) = curl("carol:open:sesame", "/echo/basic");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("carol") && !body.to_ascii_lowercase().contains("authorization"), "{body}");
    let wrong = [curl("carol:wrong", "/echo/basic"), curl("nobody:open:sesame", "/echo/basic")];
    let told = wrong.map(|(status, body)| {
        let mut problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, problem["reason"].as_str()), (401, Some("credential_unknown")));
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    });
    assert_eq!(told[0], told[1], "which half was wrong is told");
    let refused = gateway.get("/echo/basic").expect(401);
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"orders\", charset=\"UTF-8\""));
    let kept = gateway.request("GET", "/echo/kept", &[&basic("carol:open:sesame")]).expect(200);
    assert_eq!(
        kept.echoed("authorization"),
        basic("carol:open:sesame").strip_prefix("Authorization: ").map(str::to_owned)
    );
    assert_eq!(kept.echoed("x-consumer-id").as_deref(), Some("carol"));
    assert_eq!(kept.echoed("x-credential-identifier").as_deref(), Some("carol"));
    gateway.request("GET", "/echo/any", &["apikey: alice-key"]).expect(200);
    gateway.request("GET", "/echo/any", &[&basic("carol:open:sesame")]).expect(200);
    let both = gateway.request("GET", "/echo/any", &[&basic("carol:x"), "apikey: alice-key"]).expect(401);
    assert_eq!(both.reason(), "credential_unknown");
    assert_eq!(gateway.get("/echo/anyone").expect(200).echoed("x-consumer-id").as_deref(), Some("bob"));
    gateway.request("GET", "/echo/anyone", &[&basic("carol:x")]).expect(401);
    let log = std::fs::read_to_string(gateway.state().join("audit.jsonl")).unwrap() + &gateway.log();
    for secret in
        ["open:sesame", &STANDARD.encode("carol:open:sesame"), &STANDARD.encode("carol:wrong"), "argon2id"]
    {
        assert!(!log.contains(secret), "{secret} is written down");
    }
}

#[test]
fn a_flood_of_guesses_is_refused_and_others_are_served() {
    let conf = CONF.replace("HASH", &hash("open:sesame"));
    let gateway = Gateway::start(&conf);
    gateway.request("GET", "/echo/basic", &[&basic("carol:open:sesame")]).expect(200);
    let flood = || -> Vec<u16> {
        std::thread::scope(|scope| {
            let guesses: Vec<_> = (0..12)
                .map(|guess| {
                    let gateway = &gateway;
                    scope.spawn(move || {
                        gateway
                            .request("GET", "/echo/full", &[&basic(&format!("carol:guess-{guess}"))])
                            .status
                    })
                })
                .collect();
            // While they wait, a login that is remembered and a route without passwords are served.
            gateway.request("GET", "/echo/basic", &[&basic("carol:open:sesame")]).expect(200);
            guesses.into_iter().map(|guess| guess.join().unwrap()).collect()
        })
    };
    // Where the machine lets one after the other come, none is too many.
    until("guesses that come at once", || {
        let statuses = flood();
        assert!(statuses.iter().all(|status| matches!(status, 401 | 503)), "{statuses:?}");
        assert!(statuses.contains(&401), "{statuses:?}");
        statuses.contains(&503).then_some(())
    });
    gateway.request("GET", "/echo/full", &[&basic("carol:open:sesame")]).expect(200);
}
