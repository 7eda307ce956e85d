use super::*;
use crate::conf::model::{HashOn, Target};
use palisade_contract::Place;
use std::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

fn at<T>(value: T) -> At<T> {
    At { value, path: "upstreams.u".to_owned(), place: Place::of_file(Path::new("u.yaml")) }
}

fn upstream(targets: &[(&str, u16)], balance: Balance) -> Upstream {
    let target =
        |(host, weight): &(&str, u16)| at(Target { host: (*host).to_owned(), port: 80, weight: *weight });
    let written = Written { targets: targets.iter().map(target).collect(), ..written(balance) };
    Upstream::compile(&Arc::from("u"), &at(written), None, false).unwrap()
}

/// An upstream of names that nobody has asked for; each stands for an address at first.
pub(super) fn named(hosts: &[&str]) -> Upstream {
    let written = Written {
        targets: hosts
            .iter()
            .map(|host| at(Target { host: (*host).to_owned(), port: 80, weight: 1 }))
            .collect(),
        ..written(Balance::RoundRobin)
    };
    let resolved = (0..hosts.len()).map(|index| addresses(&[&format!("127.0.0.{}", 99 - index)])).collect();
    Upstream::of(&Arc::from("u"), Blueprint { written, identity: None }, resolved, None)
}

/// The addresses of one of its targets.
pub(super) fn stands_for(upstream: &Upstream, index: usize) -> Vec<SocketAddr> {
    upstream.resolved.load()[index].clone()
}

fn written(balance: Balance) -> Written {
    Written {
        balance,
        targets: Vec::new(),
        timeouts: Timeouts::default(),
        tls: None,
        protocol: Protocol::Http1,
        keepalive: 2,
        outlier: None,
        slow_start: None,
        health: None,
        retries: model::Retries::default(),
    }
}

#[test]
fn targets_are_chosen_by_weight() {
    for (targets, rounds) in
        [(&[("127.0.0.1", 1)][..], 5), (&[("127.0.0.9", 2), ("127.0.0.1", 1), ("::1", 3)], 60)]
    {
        let upstream = upstream(targets, Balance::RoundRobin);
        let mut counts = BTreeMap::new();
        for _ in 0..rounds {
            let peer = upstream.pick(&Key(Vec::new()), &[]).unwrap().peer;
            let address = *peer._address.as_inet().unwrap();
            assert_eq!(peer.group_key, peer::group_key("u", None));
            *counts.entry(address.ip().to_string()).or_insert(0) += 1;
        }
        let weights: u32 = targets.iter().map(|(_, weight)| u32::from(*weight)).sum();
        for (host, weight) in targets {
            assert_eq!(counts.get(*host), Some(&(rounds * u32::from(*weight) / weights)), "{host}");
        }
    }
}

#[test]
fn chance_and_hashing_keep_to_weights() {
    for balance in [Balance::Random, Balance::Hash(HashOn::Path)] {
        let upstream = upstream(&[("127.0.0.1", 1), ("127.0.0.2", 4)], balance.clone());
        let heavy = counts(&upstream, 5_000)["127.0.0.2"];
        // Where each would get the same, 2500.
        assert!((3_500..4_500).contains(&heavy), "{balance:?}: {heavy} of 5000");
    }
}

#[test]
fn a_key_stays_with_its_target() {
    let upstream = upstream(&[("127.0.0.1", 1), ("127.0.0.2", 1)], Balance::Hash(HashOn::Path));
    let chosen =
        |key: &str| upstream.pick(&Key(key.as_bytes().to_vec()), &[]).unwrap().peer._address.to_string();
    let mut seen = BTreeSet::new();
    for number in 0..64 {
        let key = number.to_string();
        assert_eq!(chosen(&key), chosen(&key));
        seen.insert(chosen(&key));
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_target_that_leaves_takes_its_own_keys_along_and_no_others() {
    let hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"];
    let of = |hosts: &[&str]| {
        let targets: Vec<_> = hosts.iter().map(|host| (*host, 1)).collect();
        let upstream = upstream(&targets, Balance::Hash(HashOn::Path));
        let chosen = |key: u32| {
            let pick = upstream.pick(&Key(key.to_be_bytes().to_vec()), &[]).unwrap();
            pick.lease.target().address
        };
        (0..2_000).map(chosen).collect::<Vec<_>>()
    };
    let before = of(&hosts);
    let gone: SocketAddr = "127.0.0.3:80".parse().unwrap();
    let ejected = {
        let targets: Vec<_> = hosts.iter().map(|host| (*host, 1)).collect();
        let upstream = upstream(&targets, Balance::Hash(HashOn::Path));
        eject(&upstream, "127.0.0.3");
        let chosen = |key: u32| {
            let pick = upstream.pick(&Key(key.to_be_bytes().to_vec()), &[]).unwrap();
            pick.lease.target().address
        };
        (0..2_000).map(chosen).collect::<Vec<_>>()
    };
    for after in [of(&["127.0.0.1", "127.0.0.2", "127.0.0.4"]), ejected] {
        let mut moved = BTreeMap::<SocketAddr, usize>::new();
        for (before, after) in before.iter().zip(&after) {
            if *before == gone {
                *moved.entry(*after).or_default() += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        assert!(!moved.contains_key(&gone) && moved.len() == 3, "its keys are shared out: {moved:?}");
    }
}

#[test]
fn no_more_requests_share_the_pool_than_it_may_keep_connections() {
    let upstream = upstream(&[("127.0.0.1", 1)], Balance::RoundRobin);
    let pick = || upstream.pick(&Key(Vec::new()), &[]).unwrap();
    let shared = |pick: &Pick| {
        let kept = pick.peer.options.idle_timeout != Some(Duration::ZERO);
        assert_eq!(kept, pick.peer.group_key == peer::group_key("u", None));
        kept
    };
    let mut picks = vec![pick(), pick(), pick(), pick()];
    assert_eq!(picks.iter().map(shared).collect::<Vec<_>>(), [true, true, false, false]);
    picks.truncate(1);
    assert!(shared(&pick()));
    assert_eq!(picks.first().unwrap().lease.target().in_flight(), 1);
}

#[test]
fn a_connection_that_carries_many_requests_is_shared_by_as_many() {
    let target = at(Target { host: "127.0.0.1".to_owned(), port: 80, weight: 1 });
    let http2 = Written {
        targets: vec![target],
        protocol: Protocol::Http2,
        keepalive: 1,
        ..written(Balance::RoundRobin)
    };
    let upstream = Upstream::compile(&Arc::from("u"), &at(http2), None, false).unwrap();
    let pick = || upstream.pick(&Key::default(), &[]).unwrap();
    let is_kept = |pick: &Pick| pick.peer.options.idle_timeout != Some(Duration::ZERO);
    let picks: Vec<_> = (0..=peer::H2_STREAMS).map(|_| pick()).collect();
    assert_eq!(picks.iter().filter(|pick| is_kept(pick)).count(), peer::H2_STREAMS);
    drop(picks);
    // One with a connection to itself is kept as one, and not among those that are shared.
    let (mut first, mut second) = (pick(), pick());
    let shared = first.peer.group_key;
    first.set_apart(&upstream);
    second.set_apart(&upstream);
    assert!(is_alone(&first.peer) && first.peer.group_key != shared);
    assert!(is_kept(&first) && !is_kept(&second), "no more are kept than written");
}

#[test]
fn a_target_that_stays_is_the_same_after_a_reload() {
    let before = upstream(&[("127.0.0.1", 1), ("127.0.0.2", 1)], Balance::RoundRobin);
    let stands = |host: &str| at(Target { host: host.to_owned(), port: 80, weight: 3 });
    let targets = vec![stands("127.0.0.2"), stands("127.0.0.3")];
    let after = Written { targets, ..written(Balance::RoundRobin) };
    let after = Upstream::compile(&Arc::from("u"), &at(after), Some(&before), false).unwrap();
    let target = |upstream: &Upstream, host: &str| {
        upstream.set.load().target(format!("{host}:80").parse().unwrap()).cloned()
    };
    let (stays, stayed) = (target(&before, "127.0.0.2"), target(&after, "127.0.0.2"));
    assert!(Arc::ptr_eq(&stays.unwrap(), &stayed.unwrap()));
    assert!(target(&after, "127.0.0.3").is_some() && target(&after, "127.0.0.1").is_none());
}

/// How often each address is chosen.
fn counts(upstream: &Upstream, rounds: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for round in 0..rounds {
        let key = Key(round.to_string().into_bytes());
        let pick = upstream.pick(&key, &[]).unwrap();
        *counts.entry(pick.lease.target().address.ip().to_string()).or_insert(0) += 1;
    }
    counts
}

const THREE: [(&str, u16); 3] = [("127.0.0.1", 1), ("127.0.0.2", 1), ("127.0.0.3", 1)];

fn eject(upstream: &Upstream, host: &str) {
    let outlier = Outlier { consecutive_failures: 1, eject: Duration::from_secs(3600) };
    let target = upstream.set.load().target(format!("{host}:80").parse().unwrap()).cloned().unwrap();
    assert!(target.standing.failed(&outlier, Instant::now(), false, || true).is_some());
}

#[test]
fn what_a_target_loses_goes_to_all_others() {
    for balance in
        [Balance::RoundRobin, Balance::Random, Balance::LeastConnections, Balance::Hash(HashOn::Path)]
    {
        let upstream = upstream(&THREE, balance.clone());
        eject(&upstream, "127.0.0.2");
        let counts = counts(&upstream, 600);
        assert_eq!(counts.get("127.0.0.2"), None, "{balance:?}");
        for host in ["127.0.0.1", "127.0.0.3"] {
            assert!((200..=400).contains(&counts[host]), "{balance:?} {counts:?}");
        }
        eject(&upstream, "127.0.0.1");
        eject(&upstream, "127.0.0.3");
        assert!(upstream.pick(&Key(Vec::new()), &[]).is_none(), "{balance:?}");
    }
}

#[test]
fn what_was_tried_is_tried_again_only_where_there_is_nothing_else() {
    for balance in
        [Balance::RoundRobin, Balance::Random, Balance::LeastConnections, Balance::Hash(HashOn::Path)]
    {
        let upstream = upstream(&THREE, balance.clone());
        let mut tried: Vec<SocketAddr> = Vec::new();
        for _ in 0..3 {
            let pick = upstream.pick(&Key(b"key".to_vec()), &tried).unwrap();
            let address = pick.lease.target().address;
            assert!(!tried.contains(&address), "{balance:?}");
            tried.push(address);
        }
        assert!(upstream.pick(&Key(b"key".to_vec()), &tried).is_some());
    }
}

#[test]
fn a_share_that_grows_begins_small() {
    for balance in [Balance::RoundRobin, Balance::Random, Balance::Hash(HashOn::Path)] {
        let mut upstream = upstream(&THREE, balance.clone());
        upstream.rules.slow_start = Some(Duration::from_secs(3600));
        let target = upstream.set.load().target("127.0.0.2:80".parse().unwrap()).cloned().unwrap();
        target.standing.begin_slowly(Instant::now());
        let chosen = counts(&upstream, 3000).get("127.0.0.2").copied().unwrap_or_default();
        assert!((40..250).contains(&chosen), "{balance:?} {chosen}");
    }
}

#[test]
fn a_key_does_not_wander_while_a_share_grows() {
    let mut upstream = upstream(&THREE, Balance::Hash(HashOn::Path));
    upstream.rules.slow_start = Some(Duration::from_secs(3600));
    let target = upstream.set.load().target("127.0.0.2:80".parse().unwrap()).cloned().unwrap();
    target.standing.begin_slowly(Instant::now());
    let chosen = |key: u32| {
        let pick = upstream.pick(&Key(key.to_be_bytes().to_vec()), &[]).unwrap();
        pick.lease.target().address
    };
    let first: Vec<_> = (0..600).map(chosen).collect();
    assert_eq!((0..600).map(chosen).collect::<Vec<_>>(), first);
}

#[test]
fn while_one_request_finds_out_whether_a_target_is_back_the_others_are_told_at_once() {
    let upstream = upstream(&[("127.0.0.1", 1)], Balance::RoundRobin);
    let outlier = Outlier { consecutive_failures: 1, eject: Duration::from_millis(1) };
    let target = upstream.set.load().members[0].target.clone();
    let long_ago = Instant::now() - Duration::from_secs(10);
    assert!(target.standing.failed(&outlier, long_ago, true, || true).is_some());
    let begun = Instant::now();
    assert!(upstream.pick(&Key::default(), &[]).is_some(), "it is over: somebody tries");
    let others = (0..1_000).filter(|_| upstream.pick(&Key::default(), &[]).is_some()).count();
    // On a machine that was held up the time of the first one may be over.
    assert!(others == 0 || begun.elapsed() >= Duration::from_secs(1), "{others} went after it");
}

#[test]
fn a_target_that_a_reload_brings_begins_slowly_and_no_other() {
    let slow = |hosts: &[&str], balance: &Balance| Written {
        targets: hosts
            .iter()
            .map(|host| at(Target { host: (*host).to_owned(), port: 80, weight: 1 }))
            .collect(),
        slow_start: Some(Duration::from_secs(3600)),
        ..written(balance.clone())
    };
    for balance in
        [Balance::RoundRobin, Balance::Random, Balance::LeastConnections, Balance::Hash(HashOn::Path)]
    {
        let compile = |hosts: &[&str], previous: Option<&Upstream>| {
            Upstream::compile(&Arc::from("u"), &at(slow(hosts, &balance)), previous, false).unwrap()
        };
        // Nobody is new where all are.
        let first = compile(&["127.0.0.1", "127.0.0.2"], None);
        assert!(first.addresses().iter().all(|address| address.state == State::Up));
        let second = compile(&["127.0.0.1", "127.0.0.2", "127.0.0.3"], Some(&first));
        let states: Vec<_> = second.addresses().iter().map(|address| address.state).collect();
        assert_eq!(states, [State::Up, State::Up, State::Ramping], "{balance:?}");
        // Held, so that those in flight count where that is what is looked at.
        let picks: Vec<_> =
            (0..420).map(|key: u32| second.pick(&Key(key.to_be_bytes().to_vec()), &[]).unwrap()).collect();
        let new =
            picks.iter().filter(|pick| pick.lease.target().address.to_string() == "127.0.0.3:80").count();
        assert!((2..40).contains(&new), "{balance:?}: {new} of 420");
    }
}

#[test]
fn where_nobody_can_be_connected_to_all_are_put_aside() {
    let mut upstream = upstream(&THREE, Balance::RoundRobin);
    upstream.outlier = Some(Outlier { consecutive_failures: 2, eject: Duration::from_secs(3600) });
    let fail = |failure| {
        for pick in (0..3).filter_map(|_| upstream.pick(&Key(Vec::new()), &[])) {
            upstream.failed(pick.lease.target(), failure);
        }
    };
    (0..9).for_each(|_| fail(Failure::Reset { asks: false }));
    let away = upstream.addresses().iter().filter(|address| address.state == State::Ejected).count();
    assert_eq!(away, 1, "who serves some requests serves more than nobody");
    (0..9).for_each(|_| fail(Failure::Connect));
    assert!(upstream.pick(&Key(Vec::new()), &[]).is_none());
}

#[test]
fn the_least_loaded_for_its_weight_is_chosen() {
    let upstream = upstream(&[("127.0.0.1", 1), ("127.0.0.2", 3)], Balance::LeastConnections);
    let picks: Vec<_> = (0..40).map(|_| upstream.pick(&Key(Vec::new()), &[]).unwrap()).collect();
    let heavy =
        picks.iter().filter(|pick| pick.lease.target().address.ip().to_string() == "127.0.0.2").count();
    assert_eq!(heavy, 30);
}

fn addresses(hosts: &[&str]) -> Vec<SocketAddr> {
    hosts.iter().map(|host| format!("{host}:80").parse().unwrap()).collect()
}

#[test]
fn the_addresses_of_a_name_share_its_weight() {
    let upstream = upstream(&[("localhost", 2), ("127.0.0.9", 1)], Balance::RoundRobin);
    resolve::follow(&upstream, 0, Ok(addresses(&["127.0.0.1", "127.0.0.2", "127.0.0.3"])));
    let counts = counts(&upstream, 90);
    for (host, count) in [("127.0.0.1", 20), ("127.0.0.2", 20), ("127.0.0.3", 20), ("127.0.0.9", 30)] {
        assert_eq!(counts[host], count, "{host}");
    }
}

#[test]
fn a_name_that_stands_for_something_else_is_followed() {
    let upstream = upstream(&[("localhost", 1)], Balance::RoundRobin);
    resolve::follow(&upstream, 0, Ok(addresses(&["127.0.0.1", "127.0.0.2"])));
    let target = |host: &str| upstream.set.load().target(addresses(&[host])[0]).cloned();
    let (stays, lease) = (target("127.0.0.2").unwrap(), target("127.0.0.2").unwrap().begin().0);
    resolve::follow(&upstream, 0, Ok(addresses(&["127.0.0.2", "127.0.0.3"])));
    assert!(target("127.0.0.1").is_none() && target("127.0.0.3").is_some());
    assert!(Arc::ptr_eq(&stays, &target("127.0.0.2").unwrap()));
    assert_eq!(stays.in_flight(), 1);
    // A resolver that fails changes nothing.
    resolve::follow(&upstream, 0, Err(std::io::ErrorKind::NotFound.into()));
    assert!(target("127.0.0.2").is_some() && target("127.0.0.3").is_some());
    assert_eq!(upstream.targets()[0].addresses.len(), 2);
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn names_are_asked_for_again_while_it_serves() {
    let upstream = Arc::new(upstream(&[("localhost", 1)], Balance::RoundRobin));
    let stands_for = || upstream.resolved.load().first().cloned().unwrap();
    let real = stands_for();
    resolve::follow(&upstream, 0, Ok(addresses(&["127.0.0.77"])));
    upstream.start();
    for _ in 0..60 {
        if stands_for() == real {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(stands_for(), real);
    upstream.stop();
    assert!(upstream.tasks.lock().is_empty());
}

#[test]
fn a_name_that_does_not_resolve_is_an_error_of_who_serves() {
    let target = at(Target { host: "no-such-host.invalid".to_owned(), port: 80, weight: 1 });
    let unknown = at(Written { targets: vec![target], ..written(Balance::Hash(HashOn::Path)) });
    let errors = Upstream::compile(&Arc::from("u"), &unknown, None, false).unwrap_err();
    assert!(errors[0].message.contains("cannot resolve `no-such-host.invalid`"), "{errors:?}");
    let checked = Upstream::compile(&Arc::from("u"), &unknown, None, true).unwrap();
    assert!(checked.pick(&Key(Vec::new()), &[]).is_none());
}
