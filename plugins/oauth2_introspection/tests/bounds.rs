//! How long an answer holds, how many are remembered, how often is asked, and who waits for whom.

use super::*;
use palisade_contract::{Authentication, Step};
use std::{
    task::{Context, Waker},
    thread,
};

#[test]
fn an_answer_holds_for_its_time_and_not_beyond_the_tokens() {
    let issuer = Issuer::default();
    issuer.says("t", good());
    issuer.says("short", with("exp", json!(NOW + 4)));
    let plugin = build(&issuer, "ttl: 10s");
    let first = send(&plugin, "t").authenticated();
    let again = at(&plugin, 9_999, "t").authenticated();
    assert!(Arc::ptr_eq(&first, &again));
    assert_eq!(issuer.calls(), 1);
    // It is revoked: that is seen after `ttl`.
    issuer.says("t", json!({"active": false}));
    at(&plugin, 9_999, "t").authenticated();
    at(&plugin, 10_000, "t").denied(401, "token_inactive");
    assert_eq!(issuer.calls(), 2);
    send(&plugin, "short").authenticated();
    at(&plugin, 3_999, "short").authenticated();
    assert_eq!(issuer.calls(), 3);
    // Over, whatever the issuer says.
    at(&plugin, 4_000, "short").denied(401, "token_expired");
    assert_eq!(issuer.calls(), 4);
    // The leeway is part of its time.
    let plugin = build(&issuer, "ttl: 10s, leeway: 2s");
    send(&plugin, "short").authenticated();
    at(&plugin, 5_999, "short").authenticated();
    at(&plugin, 6_000, "short").denied(401, "token_expired");
}

#[test]
fn a_clock_that_is_set_back_makes_no_answer_last() {
    let issuer = Issuer::default();
    issuer.says("t", good());
    let plugin = build(&issuer, "ttl: 10s, leeway: 60s");
    at(&plugin, 20_000, "t").authenticated();
    at(&plugin, 16_000, "t").authenticated();
    assert_eq!(issuer.calls(), 1);
    at(&plugin, 10_000, "t").authenticated();
    assert_eq!(issuer.calls(), 2);
}

#[test]
fn a_refusal_holds_for_a_moment() {
    let issuer = Issuer::default();
    let plugin = build(&issuer, "ttl: 10s, negative_ttl: 2s");
    for after in [0, 1, 1_999] {
        at(&plugin, after, "t").denied(401, "token_inactive");
    }
    assert_eq!(issuer.calls(), 1);
    issuer.says("t", good());
    at(&plugin, 2_000, "t").authenticated();
    // Without any time each request asks.
    let plugin = build(&issuer, "ttl: 0s");
    for _ in 0..3 {
        send(&plugin, "t").authenticated();
        send(&plugin, "unknown").denied(401, "token_inactive");
    }
    assert_eq!(issuer.calls(), 8);
}

#[test]
fn made_up_tokens_drive_out_no_good_one() {
    let issuer = Issuer::default();
    issuer.says("t", good());
    let plugin = build(&issuer, "cache_size: 16");
    send(&plugin, "t").authenticated();
    for count in 0..200 {
        send(&plugin, &format!("made-up-{count}")).denied(401, "token_inactive");
    }
    let calls = issuer.calls();
    send(&plugin, "t").authenticated();
    assert_eq!(issuer.calls(), calls);
}

#[test]
fn requests_with_one_token_are_one_call() {
    let issuer = Issuer::default();
    issuer.says("t", good());
    issuer.hold(true);
    let host = issuer.host();
    let plugin = Kit::of(DESCRIPTOR).host(host.clone()).build(&format!("{{{FIELDS}}}")).unwrap();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(|| send(&plugin, "t").authenticated())).collect();
        host.until_calls(1);
        issuer.hold(false);
        let all: Vec<_> = waiting.into_iter().map(|waits| waits.join().unwrap()).collect();
        assert!(all.iter().all(|one| Arc::ptr_eq(one, &all[0])));
    });
    assert_eq!(issuer.calls(), 1);
}

/// Begins a request and leaves it where it is.
fn begin<'a>(
    plugin: &'a Instance,
    ex: &'a mut palisade_contract::Exchange,
) -> palisade_contract::verdict::BoxFuture<'a, Result<Authentication, palisade_contract::Fault>> {
    let palisade_contract::Built::Authenticator(authenticator) = &plugin.built else {
        panic!("no authenticator")
    };
    let Step::Later(mut future) = authenticator.authenticate(ex) else { panic!("it waits for nothing") };
    assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    future
}

#[test]
fn whoever_leaves_takes_no_answer_along() {
    let issuer = Issuer::default();
    issuer.says("t", good());
    issuer.hold(true);
    let plugin = build(&issuer, "max_calls: 4");
    let request = |token: &str| case(0).header("authorization", &format!("Bearer {token}")).exchange();
    let (mut first, mut second) = (request("t"), request("t"));
    let leader = begin(&plugin, &mut first);
    let mut follower = begin(&plugin, &mut second);
    drop(leader);
    issuer.hold(false);
    let found = follower.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(found, Poll::Ready(Ok(Authentication::Authenticated(_)))), "{found:?}");
    assert_eq!(issuer.calls(), 1);
    drop(follower);
    // Calls that nobody waits for any more hold no place: one address has one of four.
    issuer.hold(true);
    for count in 0..10 {
        let mut ex = request(&format!("left-{count}"));
        drop(begin(&plugin, &mut ex));
    }
    issuer.hold(false);
    send(&plugin, "another").denied(401, "token_inactive");
}

#[test]
fn one_address_keeps_nobody_else_waiting() {
    let issuer = Issuer::default();
    issuer.says("t", good());
    issuer.hold(true);
    let kit = Kit::of(DESCRIPTOR).host(issuer.host());
    let plugin = kit.build(&format!("{{{FIELDS}, max_calls: 4}}")).unwrap();
    let request =
        |ip: &str, token: &str| case(0).from(ip).header("authorization", &format!("Bearer {token}"));
    let mut ex = request("2001:db8::1", "made-up").exchange();
    let waits = begin(&plugin, &mut ex);
    for token in ["a", "b"] {
        plugin.run(request("2001:db8::2", token)).faulted("introspection_busy");
    }
    assert_eq!(kit.counted("busy"), 2);
    let mut other = request("2001:db8:0:1::1", "t").exchange();
    let mut follows = begin(&plugin, &mut other);
    issuer.hold(false);
    let found = follows.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(found, Poll::Ready(Ok(Authentication::Authenticated(_)))), "{found:?}");
    drop(waits);
    plugin.run(request("2001:db8::2", "a")).denied(401, "token_inactive");
}

#[test]
fn a_slow_issuer_costs_a_request_its_timeout() {
    let issuer = Issuer::default();
    issuer.hold(true);
    let host = issuer.host();
    let kit = Kit::of(DESCRIPTOR).host(host.clone());
    let plugin = kit.build(&format!("{{{FIELDS}, timeout: 2s}}")).unwrap();
    thread::scope(|scope| {
        let waits = scope.spawn(|| send(&plugin, "t").faulted("introspection_unavailable"));
        host.until_calls(1);
        // It sleeps once it has been polled; then its time passes.
        for _ in 0..30_000 {
            host.advance(Duration::from_secs(2));
            if waits.is_finished() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        waits.join().unwrap();
    });
    assert_eq!((kit.counted("asked"), kit.counted("failed")), (1, 1));
    issuer.hold(false);
    issuer.says("t", good());
    send(&plugin, "t").authenticated();
}

#[test]
fn an_issuer_that_is_down_is_left_alone() {
    let issuer = Issuer::default();
    issuer.says("t", good());
    issuer.says("other", good());
    let plugin = build(&issuer, "ttl: 1h");
    send(&plugin, "t").authenticated();
    issuer.is_down(true);
    for _ in 0..20 {
        send(&plugin, "other").faulted("introspection_unavailable");
    }
    // Each was asked twice: a connection that was kept may have ended just then.
    assert_eq!(issuer.calls(), 1 + 5 * 2, "after five failures nobody is asked for a second");
    // What is known goes on.
    send(&plugin, "t").authenticated();
    for _ in 0..5 {
        at(&plugin, 1_000, "other").faulted("introspection_unavailable");
    }
    assert_eq!(issuer.calls(), 1 + 6 * 2);
    issuer.is_down(false);
    at(&plugin, 2_000, "other").authenticated();
    at(&plugin, 2_001, "unknown").denied(401, "token_inactive");
    // An issuer that answers nonsense about a client's token is not gone for others.
    for count in 0..10 {
        issuer.answers(&format!("poison-{count}"), 500, "");
        at(&plugin, 2_002, &format!("poison-{count}")).faulted("introspection_unavailable");
    }
    at(&plugin, 2_003, "unknown-2").denied(401, "token_inactive");
}
