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
    let written = Written {
        balance,
        targets: targets.iter().map(target).collect(),
        timeouts: Timeouts::default(),
        tls: None,
        protocol: Protocol::Http1,
        keepalive: 2,
        outlier: None,
        slow_start: None,
        health: None,
        retries: model::Retries::default(),
    };
    Upstream::compile(&Arc::from("u"), &at(written), None, false).unwrap()
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
fn a_target_that_stays_is_the_same_after_a_reload() {
    let before = upstream(&[("127.0.0.1", 1), ("127.0.0.2", 1)], Balance::RoundRobin);
    let written = |host: &str| at(Target { host: host.to_owned(), port: 80, weight: 3 });
    let after = Written {
        balance: Balance::RoundRobin,
        targets: vec![written("127.0.0.2"), written("127.0.0.3")],
        timeouts: Timeouts::default(),
        tls: None,
        protocol: Protocol::Http1,
        keepalive: 2,
        outlier: None,
        slow_start: None,
        health: None,
        retries: model::Retries::default(),
    };
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
    assert!(target.standing.failed(&outlier, Instant::now(), || true).is_some());
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
    let written = |host: &str| Written {
        balance: Balance::Hash(HashOn::Path),
        targets: vec![at(Target { host: host.to_owned(), port: 80, weight: 1 })],
        timeouts: Timeouts::default(),
        tls: None,
        protocol: Protocol::Http1,
        keepalive: 2,
        outlier: None,
        slow_start: None,
        health: None,
        retries: model::Retries::default(),
    };
    let unknown = at(written("no-such-host.invalid"));
    let errors = Upstream::compile(&Arc::from("u"), &unknown, None, false).unwrap_err();
    assert!(errors[0].message.contains("cannot resolve `no-such-host.invalid`"), "{errors:?}");
    let checked = Upstream::compile(&Arc::from("u"), &unknown, None, true).unwrap();
    assert!(checked.pick(&Key(Vec::new()), &[]).is_none());
}
