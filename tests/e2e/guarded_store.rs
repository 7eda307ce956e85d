//! Two gateways with `credential-guard` count together in Redis, and each for itself while that is gone.

use crate::{
    client::{Client, Response},
    guarded::HASH,
    harness::{Gateway, until},
    signed::{PASSWORD, Redis},
};
use base64::{Engine, engine::general_purpose::STANDARD};

fn conf(port: u16) -> String {
    format!(
        "
admin: {{address: 127.0.0.1:0, token: admin-token-of-tests}}
stores: {{main: {{redis: 'redis://:{PASSWORD}@127.0.0.1:{port}', timeout: 5s}}}}
routes:
  basic:
    paths: [/echo/*]
    upstream: demo
    plugins:
      basic-auth: {{}}
      credential-guard:
        store: main
        ip: {{failures: 8, window: 24h}}
        account: {{failures: 4, window: 24h}}
        account_everywhere: {{failures: 12, window: 24h}}
        all: {{failures: 200, window: 24h}}
        max_lockout: 24h
consumers: {{carol: {{basic-auth: [{{username: carol, password_hash: '{HASH}'}}]}}}}
"
    )
}

fn ask(gateway: &Gateway, source: &str, user: &str, password: &str) -> u16 {
    let login = format!("authorization: Basic {}", STANDARD.encode(format!("{user}:{password}")));
    Client::connect_from(source, gateway.address()).request("GET", "/echo/a", &[&login]).status
}

fn admin(gateway: &Gateway, method: &str, path: &str) -> Response {
    let token = "authorization: Bearer admin-token-of-tests";
    Client::connect(gateway.at("admin")).request(method, path, &["Host: localhost", token])
}

fn until_up(gateway: &Gateway) {
    until("the store", || admin(gateway, "GET", "/stores").text().contains("\"up\":true").then_some(()));
}

/// The statuses of so many guesses, at both gateways by turns.
fn guesses(gateways: &[Gateway; 2], source: &str, user: impl Fn(usize) -> String) -> Vec<u16> {
    let guess = |number: usize| {
        let password = format!("guess {source} {number}");
        ask(&gateways[number % 2], source, &user(number), &password)
    };
    (0..12).map(guess).collect()
}

fn looked(failures: usize) -> Vec<u16> {
    (0..12).map(|number| if number < failures { 401 } else { 429 }).collect()
}

#[test]
fn two_gateways_count_together_and_alone_without_their_store() {
    let mut redis = Redis::start(None);
    let port = redis.1;
    let gateways = [Gateway::start(&conf(port)), Gateway::start(&conf(port))];
    gateways.iter().for_each(until_up);
    let [one, other] = &gateways;
    // Of an address, and of an account from an address.
    assert_eq!(guesses(&gateways, "127.0.8.1", |number| format!("user{number}")), looked(8));
    assert_eq!(guesses(&gateways, "127.0.8.2", |_| "carol".to_owned()), looked(4));
    // Who is known to one of them is known to the other, though strangers from there are refused.
    assert_eq!(ask(one, "127.0.8.3", "carol", "sesame"), 200);
    assert_eq!(guesses(&gateways, "127.0.8.3", |number| format!("user{number}")), looked(8));
    assert_eq!(ask(other, "127.0.8.3", "carol", "sesame"), 200);
    assert_eq!(ask(other, "127.0.8.3", "dave", "x"), 429);
    // The account is guessed at from everywhere: each address has one guess, at whichever gateway.
    let bots: Vec<Vec<u16>> =
        (10..20).map(|bot| guesses(&gateways, &format!("127.0.8.{bot}"), |_| "carol".to_owned())).collect();
    assert_eq!((&bots[0], &bots[1], &bots[9]), (&looked(4), &looked(4), &looked(1)));
    assert_eq!(ask(one, "127.0.8.4", "carol", "sesame"), 200, "and she has her first one");
    // A lockout that one of them ends is ended for both, when that was believed for its second.
    assert!(ask(one, "127.0.8.2", "carol", "sesame") == 429 && ask(other, "127.0.8.1", "eve", "x") == 429);
    admin(one, "DELETE", "/lockouts?account=carol").expect(200);
    admin(one, "DELETE", "/lockouts?ip=127.0.8.1").expect(200);
    for gateway in &gateways {
        until("its end", || (ask(gateway, "127.0.8.2", "carol", "sesame") == 200).then_some(()));
        until("its end", || (ask(gateway, "127.0.8.1", "carol", "sesame") == 200).then_some(()));
    }
    // Nothing that stands for a password is in the store.
    let keys = redis_keys(port);
    assert!(
        keys.contains("credential-guard") && !keys.contains("carol") && !keys.contains("sesame"),
        "{keys}"
    );
    redis.0.kill().unwrap();
    redis.0.wait().unwrap();
    // Each has counted for itself, and goes on: the other's failures are not known to it.
    let alone =
        (0..12).map(|number| ask(one, "127.0.9.1", &format!("user{number}"), "x")).collect::<Vec<_>>();
    assert_eq!(alone, looked(8));
    assert_eq!(ask(other, "127.0.9.1", "user-x", "x"), 401);
    assert_eq!(ask(one, "127.0.8.3", "carol", "sesame"), 200);
    let metrics = admin(one, "GET", "/metrics").expect(200).text();
    assert!(metrics.contains("event=\"store_failed\""), "{metrics}");
    let _back = Redis::start(Some(port));
    gateways.iter().for_each(until_up);
    assert_eq!(guesses(&gateways, "127.0.9.2", |number| format!("user{number}")), looked(8));
}

fn redis_keys(port: u16) -> String {
    let done = std::process::Command::new("redis-cli")
        .args(["--no-auth-warning", "-a", PASSWORD, "-p", &port.to_string(), "keys", "*"])
        .output()
        .expect("redis-cli: apt-get install redis-tools");
    assert!(done.status.success());
    String::from_utf8(done.stdout).unwrap()
}
