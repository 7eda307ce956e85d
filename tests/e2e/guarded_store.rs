//! Two gateways with `credential-guard` count together in Redis, in a server or a cluster, and each for itself while that is
//! gone.

use crate::{
    client::{Client, Response},
    guarded::HASH,
    harness::{Gateway, until},
    ports::Port,
    signed::{PASSWORD, Redis},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::process::Command;
use tempfile::TempDir;

fn conf(port: u16) -> String {
    conf_of(&format!("redis: 'redis://:{PASSWORD}@127.0.0.1:{port}'"))
}

fn conf_of(store: &str) -> String {
    format!(
        "
admin: {{address: 127.0.0.1:0, token: admin-token-of-tests}}
stores: {{main: {{{store}, timeout: 5s}}}}
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
    cli(port, &["keys", "*"])
}

/// What redis-cli says, once the server answers.
fn cli(port: u16, args: &[&str]) -> String {
    until("redis-cli", || {
        let mut command = Command::new("redis-cli");
        command.args(["--no-auth-warning", "-a", PASSWORD, "-p", &port.to_string()]).args(args);
        let done = command.output().expect("redis-cli: apt-get install redis-tools");
        done.status.success().then(|| String::from_utf8(done.stdout).unwrap())
    })
}

/// Three servers that divide the slots among them, each with its folder and the port of its bus.
fn cluster() -> Vec<(Redis, (TempDir, Port))> {
    let start = |_: i32| {
        let (dir, held) = (TempDir::new().unwrap(), Port::free());
        let bus = held.number().to_string();
        let folder = dir.path().to_str().unwrap();
        let more = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--dir", folder];
        let lasting = ["--cluster-require-full-coverage", "no", "--cluster-node-timeout", "60000"];
        (Redis::start_with(None, &[&more[..], &lasting].concat()), (dir, held))
    };
    let servers: Vec<_> = (0..3).map(start).collect();
    let nodes: Vec<String> = servers.iter().map(|(redis, _)| format!("127.0.0.1:{}", redis.1)).collect();
    servers.iter().for_each(|(redis, _)| assert!(cli(redis.1, &["PING"]).contains("PONG")));
    let create = ["--cluster", "create", &nodes[0], &nodes[1], &nodes[2], "--cluster-yes"];
    cli(servers[0].0.1, &create);
    for (redis, _) in &servers {
        let is_whole = || cli(redis.1, &["CLUSTER", "INFO"]).contains("cluster_state:ok");
        until("the cluster", || is_whole().then_some(()));
    }
    servers
}

/// How often a store did not answer.
fn store_failures(gateway: &Gateway) -> u64 {
    let metrics = admin(gateway, "GET", "/metrics").expect(200).text();
    let of_event = metrics.lines().filter(|line| line.contains("event=\"store_failed\""));
    of_event.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn in_a_cluster_what_is_counted_together_lies_together() {
    let mut servers = cluster();
    let port = servers[0].0.1;
    let conf = conf_of(&format!("redis: 'redis://:{PASSWORD}@127.0.0.1:{port}', cluster: true"));
    let gateways = [Gateway::start(&conf), Gateway::start(&conf)];
    gateways.iter().for_each(until_up);
    let [one, other] = &gateways;
    // Accounts and addresses are spread over all servers; an account and what it fails from an address are on one.
    let accounts: Vec<String> = (0..12).map(|number| format!("user{number}")).collect();
    for (number, account) in accounts.iter().enumerate() {
        let source = format!("127.0.12.{}", number + 1);
        assert_eq!(guesses(&gateways, &source, |_| account.clone()), looked(4), "{account}");
    }
    assert_eq!(ask(one, "127.0.13.1", "carol", "sesame"), 200);
    assert_eq!(guesses(&gateways, "127.0.13.1", |number| format!("other{number}")), looked(8));
    assert_eq!(ask(other, "127.0.13.1", "carol", "sesame"), 200, "she is known to both");
    assert_eq!((store_failures(one), store_failures(other)), (0, 0));
    let held: Vec<usize> = servers.iter().map(|(redis, _)| redis_keys(redis.1).lines().count()).collect();
    assert!(held.iter().all(|count| *count > 3), "{held:?}");
    // What one ends is ended for both.
    admin(one, "DELETE", "/lockouts?account=user3").expect(200);
    until("its end", || (ask(other, "127.0.12.4", "user3", "a new guess") == 401).then_some(()));
    // Without one of the servers each counts for itself what lay there, and nobody has more than that.
    servers.remove(2);
    for (number, account) in accounts.iter().enumerate() {
        let source = format!("127.0.14.{}", number + 1);
        let tried = (0..12).map(|guess| ask(one, &source, account, &format!("{number} {guess}")));
        assert_eq!(tried.filter(|status| *status == 401).count(), 4, "{account}");
    }
}
