//! One canonical request: no path that some origin would resolve into a protected prefix reaches an origin without
//! the plugins of that prefix having run.
//!
//! Many cases through the edge's reading and the router in this process, and some over sockets. `SEED=N` chooses
//! other cases, `CASES=N` more of them.

mod attacks;
mod decoders;

use crate::{client::Origin, harness::Gateway};
use attacks::{Attack, PROTECTED, attacks, path_of};
use decoders::{Step, decode};
use palisade::{
    conf::model::Paths,
    edge::{
        canonical,
        framing::{self, HeadLimits},
    },
    gateway::Snapshot,
    router::Lookup,
};
use pingora::http::RequestHeader;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::cell::Cell;

const ROUTES: &str = "
routes:
  open: {paths: [/*], upstream: raw}
  protected:
    paths: ['/admin/*', /secret, '/api/{version}/keys/*', '/Private/*', '/caf%C3%A9/*']
    upstream: raw
    plugins: {key-auth: {}}
";

/// What becomes of a request without a credential.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    Protected,
    /// It goes to the origin with this target.
    Open(String),
}

/// The way of a request through the edge and the router, without the network.
fn outcome(snapshot: &Snapshot, target: &str, rules: Paths) -> Outcome {
    let head = format!("GET {target} HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    let limits = HeadLimits { bytes: 32 << 10, count: 100, target: 8 << 10 };
    match framing::scan(head.as_bytes(), &limits) {
        Ok(Some(found)) if found.length == head.len() => {}
        _ => return Outcome::Refused,
    }
    let Ok(mut request) = RequestHeader::build("GET", target.as_bytes(), None) else {
        return Outcome::Refused;
    };
    if canonical::target(&mut request, rules).is_err() {
        return Outcome::Refused;
    }
    match snapshot.router.find("gateway.test", request.uri.path(), &request.method, &request.headers) {
        Lookup::Found(found) if &*found.route.name == "protected" => Outcome::Protected,
        Lookup::Found(_) => Outcome::Open(request.uri.to_string()),
        _ => Outcome::Refused,
    }
}

/// True where a decoder resolves the target into what is protected. A decoder that ignores case compares without it.
fn is_protected(target: &str, decoder: &[Step]) -> bool {
    let read = decode(path_of(target), decoder);
    let case = decoder.iter().filter(|step| matches!(step, Step::Lower | Step::Upper | Step::Simple));
    let folded = |text: &str| case.clone().fold(text.to_owned(), |text, step| step.apply(&text));
    PROTECTED.iter().any(|pattern| covers(pattern, &read, &folded))
}

fn covers(pattern: &str, path: &str, folded: &dyn Fn(&str) -> String) -> bool {
    let (pattern, prefix) = pattern.strip_suffix("/*").map_or((pattern, false), |pattern| (pattern, true));
    let path: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let pattern: Vec<&str> = pattern.split('/').collect();
    let length = if prefix { path.len() >= pattern.len() } else { path.len() == pattern.len() };
    let same = |(wanted, found): (&&str, &&str)| {
        if wanted.starts_with('{') { !found.is_empty() } else { folded(wanted) == *found }
    };
    length && pattern.iter().zip(&path).all(same)
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn runner(cases: u32) -> TestRunner {
    let seed = number("SEED", 4);
    eprintln!("SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&seed.to_le_bytes());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn snapshot() -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    let head = "version: 1
listeners: {public: {address: 127.0.0.1:0}}
upstreams: {raw: {targets: [{address: 127.0.0.1:9}]}}
consumers: {alice: {key-auth: [{key_sha256: KEY}]}}
";
    std::fs::write(dir.path().join("all.yaml"), head.replace("KEY", &"0".repeat(64)) + ROUTES).unwrap();
    palisade::server::check(dir.path(), palisade_plugins::PLUGINS).map(|(_, snapshot)| snapshot).unwrap()
}

/// Fails where the target reaches the origin although a decoder resolves it, or what the origin gets, into what is
/// protected.
fn judge(attack: &Attack, outcome: &Outcome) -> Result<(), String> {
    let Outcome::Open(forwarded) = outcome else { return Ok(()) };
    for decoder in &attack.decoders {
        for target in [&attack.target, forwarded] {
            if is_protected(target, decoder) {
                let read = decode(path_of(target), decoder);
                return Err(format!(
                    "{:?} reaches the origin as {forwarded:?}, and {target:?} is {read:?} for {decoder:?}",
                    attack.target
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn no_spelling_of_a_protected_path_reaches_an_origin_unseen() {
    no_spelling_reaches_an_origin_unseen(Paths::Strict);
}

#[test]
fn relaxed_paths_open_nothing_that_is_protected() {
    no_spelling_reaches_an_origin_unseen(Paths::Relaxed);
}

fn no_spelling_reaches_an_origin_unseen(rules: Paths) {
    let snapshot = snapshot();
    let cases = number("CASES", 20_000);
    let [hits, refused, protected, open] = [const { Cell::new(0u32) }; 4];
    let count = |cell: &Cell<u32>| cell.set(cell.get() + 1);
    let found = runner(cases).run(&attacks(), |attack| {
        let outcome = outcome(&snapshot, &attack.target, rules);
        if attack.decoders.iter().any(|decoder| is_protected(&attack.target, decoder)) {
            count(&hits);
        }
        match &outcome {
            Outcome::Refused => count(&refused),
            Outcome::Protected => count(&protected),
            Outcome::Open(_) => count(&open),
        }
        judge(&attack, &outcome).map_err(proptest::test_runner::TestCaseError::fail)
    });
    if let Err(error) = found {
        panic!("{error}");
    }
    // The test would hold as well where nothing is tried, or nothing gets through.
    for (what, count) in [("resolved", hits), ("refused", refused), ("protected", protected), ("open", open)]
    {
        assert!(count.get() > cases / 20, "only {} of {cases} cases are {what}", count.get());
    }
}

#[test]
fn a_gateway_lets_no_spelling_through_either() {
    let origin = Origin::start("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let upstream = format!("upstreams: {{raw: {{targets: [{{address: '{}'}}]}}}}", origin.address);
    let gateway = Gateway::start(&(upstream + ROUTES));
    let snapshot = snapshot();
    let mut runner = runner(1);
    for _ in 0..number("CASES", 20_000) / 50 {
        let attack = attacks().new_tree(&mut runner).unwrap().current();
        let mut client = gateway.connect();
        client.send(format!(
            "GET {} HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n",
            attack.target
        ));
        let status = client.response().status;
        let found = match status {
            200 => {
                let head = origin.received();
                Outcome::Open(head.split(' ').nth(1).unwrap_or_default().to_owned())
            }
            401 => Outcome::Protected,
            _ => Outcome::Refused,
        };
        assert!(origin.is_untouched(), "{attack:?} was answered with {status} and reached the origin");
        judge(&attack, &found).unwrap();
        // What was tried by the thousand is what the gateway does.
        assert_eq!(found, outcome(&snapshot, &attack.target, Paths::Strict), "{attack:?} {status}");
    }
}
