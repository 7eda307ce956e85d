//! Keys that are fetched: an issuer that is down, rotates, is slow, or is asked for what it does not have.

use super::{sign::*, *};
use bytes::Bytes;
use palisade_contract::{
    Authentication, HttpError,
    testkit::{Answer, TestHost},
};
use parking_lot::Mutex;
use serde_json::json;
use std::{sync::Arc, task::Poll, thread};

const URL: &str = "https://login.example/keys";

/// An issuer whose answer the test changes.
#[derive(Clone, Default)]
struct Issuer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: std::collections::HashMap<String, String>,
    /// Answers wait.
    held: bool,
}

impl Issuer {
    fn host(&self) -> Arc<TestHost> {
        let state = self.0.clone();
        Arc::new(TestHost::new(move |request| {
            let state = state.clone();
            Box::pin(std::future::poll_fn(move |cx| {
                let state = state.lock();
                if state.held {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(answer(state.answers.get(&request.uri().to_string())))
            }))
        }))
    }

    fn says(&self, url: &str, text: impl ToString) {
        self.0.lock().answers.insert(url.to_owned(), text.to_string());
    }

    fn has(&self, keys: &[Value]) {
        self.says(URL, json!({"keys": keys}));
    }

    fn hold(&self, held: bool) {
        self.0.lock().held = held;
    }
}

fn answer(text: Option<&String>) -> Answer {
    match text {
        Some(text) => Ok(http::Response::new(Bytes::from(text.clone()))),
        None => Err(HttpError::Failed("connection refused".to_owned())),
    }
}

fn start(host: &Arc<TestHost>) -> Instance {
    kit()
        .host(host.clone())
        .build(&format!("{{jwks: '{URL}', refetch_interval: 10s, refresh_interval: 10m}}"))
        .unwrap()
}

/// One that has the issuer's keys, and may fetch again.
fn fetched(issuer: &Issuer) -> (Arc<TestHost>, Instance) {
    let host = issuer.host();
    let plugin = start(&host);
    host.advance(seconds(10));
    host.until_asleep();
    (host, plugin)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn without_keys_requests_are_refused_and_with_them_served() {
    let (issuer, signer) = (Issuer::default(), Signer::p256());
    let host = issuer.host();
    let plugin = start(&host);
    host.until_asleep();
    let token = signer.token_of("ES256", "a", &good());
    send(&plugin, &token).faulted("token_keys_unavailable");
    plugin.run(case()).no_credential();
    send(&plugin, "x.y.z").denied(401, "token_malformed");
    send(&plugin, &signer.token_of("none", "a", &good())).denied(401, "token_algorithm");
    issuer.has(&[signer.jwk("a")]);
    send(&plugin, &token).faulted("token_keys_unavailable");
    assert_eq!(host.calls().len(), 1, "a request starts no call");
    host.advance(seconds(10));
    host.until_calls(2);
    host.until_asleep();
    send(&plugin, &token).authenticated();
    // Down again: the keys stay.
    issuer.says(URL, "<html>");
    host.advance(seconds(10));
    host.advance(seconds(590));
    host.until_calls(3);
    host.until_asleep();
    send(&plugin, &signer.token_of("ES256", "a", &with("sub", json!("bob")))).authenticated();
}

#[test]
fn requests_wait_for_the_first_keys() {
    let (issuer, signer) = (Issuer::default(), Signer::p256());
    issuer.has(&[signer.jwk("a")]);
    issuer.hold(true);
    let host = issuer.host();
    let plugin = start(&host);
    let token = signer.token_of("ES256", "a", &good());
    thread::scope(|scope| {
        let waits = scope.spawn(|| send(&plugin, &token).authenticated());
        host.until_calls(1);
        issuer.hold(false);
        waits.join().unwrap();
    });
    assert_eq!(host.calls(), [URL]);
}

#[test]
fn a_new_key_is_fetched_once_and_an_old_one_ends() {
    let (issuer, old, new) = (Issuer::default(), Signer::p256(), Signer::p256());
    issuer.has(&[old.jwk("old")]);
    let host = issuer.host();
    let plugin = start(&host);
    host.until_asleep();
    let (by_old, by_new) = (old.token_of("ES256", "old", &good()), new.token_of("ES256", "new", &good()));
    send(&plugin, &by_old).authenticated();
    issuer.has(&[new.jwk("new")]);
    // Too early for another fetch: refused at once.
    send(&plugin, &by_new).denied(401, "token_key_unknown");
    assert_eq!(host.calls().len(), 1);
    host.advance(seconds(10));
    host.until_calls(2);
    host.until_asleep();
    send(&plugin, &by_new).authenticated();
    // The old one was remembered as verified; its key is gone.
    send(&plugin, &by_old).denied(401, "token_key_unknown");
}

#[test]
fn many_unknown_keys_are_one_fetch_that_delays_nobody_else() {
    let (issuer, known, new) = (Issuer::default(), Signer::p256(), Signer::p256());
    issuer.has(&[known.jwk("known")]);
    let (host, plugin) = fetched(&issuer);
    issuer.has(&[known.jwk("known"), new.jwk("new")]);
    issuer.hold(true);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| send(&plugin, &new.token_of("ES256", "new", &good())).authenticated()))
            .collect();
        host.until_calls(2);
        // The fetch is under way; a token of a known key does not wait for it.
        send(&plugin, &known.token_of("ES256", "known", &good())).authenticated();
        issuer.hold(false);
        waiting.into_iter().for_each(|waits| drop(waits.join().unwrap()));
    });
    host.until_asleep();
    for count in 0..500 {
        let kid = format!("made-up-{count}");
        send(&plugin, &known.token_of("ES256", &kid, &good())).denied(401, "token_key_unknown");
    }
    assert_eq!(host.calls().len(), 2);
    // What was asked for meanwhile is one more fetch, when it may begin.
    host.advance(seconds(10));
    host.until_calls(3);
    host.until_asleep();
    assert_eq!(host.calls().len(), 3);
}

#[test]
fn a_key_that_is_not_there_is_not_asked_for_again() {
    let (issuer, known) = (Issuer::default(), Signer::p256());
    issuer.has(&[known.jwk("known")]);
    let (host, plugin) = fetched(&issuer);
    let token = known.token_of("ES256", "gone", &good());
    send(&plugin, &token).denied(401, "token_key_unknown");
    host.until_calls(2);
    for _ in 0..3 {
        host.advance(seconds(10));
        host.until_asleep();
        send(&plugin, &token).denied(401, "token_key_unknown");
    }
    assert_eq!(host.calls().len(), 2);
}

#[test]
fn an_issuer_that_fails_says_nothing_about_a_key() {
    let (issuer, known, late) = (Issuer::default(), Signer::p256(), Signer::p256());
    issuer.has(&[known.jwk("known")]);
    let (host, plugin) = fetched(&issuer);
    issuer.says(URL, "<html>");
    let token = late.token_of("ES256", "late", &good());
    send(&plugin, &token).denied(401, "token_key_unknown");
    host.until_calls(2);
    host.until_asleep();
    // It is asked again, as early as may be, and has not the key yet.
    issuer.has(&[known.jwk("known")]);
    host.advance(seconds(10));
    host.until_calls(3);
    host.advance(seconds(10));
    host.until_asleep();
    // Nobody has said that there is none: the next token may ask.
    issuer.has(&[known.jwk("known"), late.jwk("late")]);
    send(&plugin, &token).authenticated();
    assert_eq!(host.calls().len(), 4);
}

#[test]
fn a_key_that_was_not_there_is_asked_for_again_after_a_while() {
    let (issuer, known, late) = (Issuer::default(), Signer::p256(), Signer::p256());
    issuer.has(&[known.jwk("known")]);
    let (host, plugin) = fetched(&issuer);
    let token = late.token_of("ES256", "late", &good());
    send(&plugin, &token).denied(401, "token_key_unknown");
    host.until_calls(2);
    host.until_asleep();
    // Published a moment later.
    issuer.has(&[known.jwk("known"), late.jwk("late")]);
    host.advance(seconds(10));
    host.until_asleep();
    send(&plugin, &token).denied(401, "token_key_unknown");
    host.advance(seconds(49));
    host.until_asleep();
    send(&plugin, &token).denied(401, "token_key_unknown");
    assert_eq!(host.calls().len(), 2);
    host.advance(seconds(1));
    // The source looks at the clock when it is woken by it.
    let served = |_: &_| matches!(send(&plugin, &token).found, Some(Ok(Authentication::Authenticated(_))));
    assert!((0..30_000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        served(&())
    }));
    assert_eq!(host.calls().len(), 3);
}

#[test]
fn without_keys_only_a_token_that_may_be_good_is_our_fault() {
    let signer = Signer::p256();
    let host = Issuer::default().host();
    let fields = "audience: shop, maximum_lifetime: 1h, required_claims: [iss]";
    let plugin = kit().host(host.clone()).build(&format!("{{jwks: '{URL}', {fields}}}")).unwrap();
    host.until_asleep();
    for (token, reason) in [
        (signer.token_of("ES256", "a", &with("exp", json!(NOW - 1))), "token_expired"),
        (signer.token_of("ES256", "a", &with("nbf", json!(NOW + 1))), "token_not_yet_valid"),
        (signer.token_of("ES256", "a", &with("exp", json!(NOW + 7200))), "token_lifetime"),
        (signer.token_of("ES256", "a", &with("exp", json!("soon"))), "token_claim_invalid"),
        (signer.token_of("ES256", "a", &with("aud", json!("cart"))), "token_audience"),
        (signer.token_of("ES256", "a", &without("iss")), "token_claim_missing"),
        (signer.token_of("HS256", "a", &good()), "token_algorithm"),
        (signer.raw("{\"alg\":\"ES256\"}", "[]"), "token_malformed"),
        (format!("{}.{}.AAAA", b64("{\"alg\":\"ES256\"}"), b64(good().to_string())), "token_signature"),
        (
            format!("{}.{}.{}", b64("{\"alg\":\"ES256\"}"), b64(good().to_string()), b64([0; 64])),
            "token_signature",
        ),
        (
            format!("{}.{}.{}", b64("{\"alg\":\"RS256\"}"), b64(good().to_string()), b64([1; 64])),
            "token_signature",
        ),
    ] {
        send(&plugin, &token).denied(401, reason);
    }
    send(&plugin, &signer.token_of("ES256", "a", &good())).faulted("token_keys_unavailable");
}

#[test]
fn a_token_that_is_over_fetches_no_keys() {
    let (issuer, known) = (Issuer::default(), Signer::p256());
    issuer.has(&[known.jwk("known")]);
    let (host, plugin) = fetched(&issuer);
    let over = known.token_of("ES256", "unknown", &with("exp", json!(NOW - 1)));
    send(&plugin, &over).denied(401, "token_key_unknown");
    host.until_asleep();
    assert_eq!(host.calls().len(), 1);
}

#[test]
fn a_key_that_was_not_there_is_asked_for_again_after_the_regular_fetch() {
    let (issuer, known, late) = (Issuer::default(), Signer::p256(), Signer::p256());
    issuer.has(&[known.jwk("known")]);
    let (host, plugin) = fetched(&issuer);
    let token = late.token_of("ES256", "late", &good());
    send(&plugin, &token).denied(401, "token_key_unknown");
    host.until_calls(2);
    for (more, calls) in [(10, 2), (590, 3), (10, 3)] {
        host.advance(seconds(more));
        host.until_calls(calls);
        host.until_asleep();
    }
    issuer.has(&[known.jwk("known"), late.jwk("late")]);
    send(&plugin, &token).authenticated();
    assert_eq!(host.calls().len(), 4);
}

#[test]
fn the_regular_fetch_comes_in_time() {
    let issuer = Issuer::default();
    issuer.has(&[Signer::p256().jwk("a")]);
    let host = issuer.host();
    let _plugin = start(&host);
    for round in 1..4 {
        host.until_calls(round);
        host.advance(seconds(10));
        host.advance(seconds(589));
        host.until_asleep();
        assert_eq!(host.calls().len(), round);
        host.advance(seconds(1));
    }
}

#[test]
fn an_issuer_is_believed_about_itself_only() {
    const META: &str = "https://login.example/.well-known/openid-configuration";
    let signer = Signer::p256();
    let cases = [
        (json!({"issuer": "https://login.example", "jwks_uri": URL}), true),
        (json!({"issuer": "https://login.example/", "jwks_uri": URL}), false),
        (json!({"issuer": "https://evil.example", "jwks_uri": URL}), false),
        (json!({"jwks_uri": URL}), false),
        (json!({"issuer": "https://login.example"}), false),
        (json!({"issuer": "https://login.example", "jwks_uri": "http://127.0.0.1/keys"}), false),
        (json!({"issuer": "https://login.example", "jwks_uri": "file:///etc/passwd"}), false),
        (json!([]), false),
    ];
    for (metadata, works) in cases {
        let issuer = Issuer::default();
        issuer.says(META, &metadata);
        for url in [URL, "http://127.0.0.1/keys", "file:///etc/passwd"] {
            issuer.says(url, json!({"keys": [signer.jwk("a")]}));
        }
        let host = issuer.host();
        let plugin = kit().host(host.clone()).build("issuer: https://login.example").unwrap();
        host.until_asleep();
        let ran = send(&plugin, &signer.token_of("ES256", "a", &good()));
        if works {
            ran.authenticated();
            send(&plugin, &signer.token_of("ES256", "a", &with("iss", json!("https://x.example"))))
                .denied(401, "token_issuer");
        } else {
            ran.faulted("token_keys_unavailable");
        }
    }
}

#[test]
fn an_issuer_whose_name_ends_with_a_slash_is_found() {
    const META: &str = "https://login.example/.well-known/openid-configuration";
    let (issuer, signer) = (Issuer::default(), Signer::p256());
    issuer.says(META, json!({"issuer": "https://login.example/", "jwks_uri": URL}));
    issuer.has(&[signer.jwk("a")]);
    let host = issuer.host();
    let plugin = kit().host(host.clone()).build("issuer: https://login.example/").unwrap();
    host.until_asleep();
    let token = signer.token_of("ES256", "a", &with("iss", json!("https://login.example/")));
    send(&plugin, &token).authenticated();
    assert_eq!(host.calls(), [META, URL]);
}

#[test]
fn bad_keys_of_an_issuer_are_passed_over() {
    let (issuer, signer) = (Issuer::default(), Signer::p256());
    let secret = Signer::secret();
    let mut weak = Signer::Rsa.jwk("weak");
    weak["n"] = json!(b64([0xff; 128]));
    let mut off = signer.jwk("off");
    off["y"] = json!(b64([7; 32]));
    issuer.has(&[weak, secret.jwk("secret"), off, json!({"kty": "EC"}), json!(1), signer.jwk("a")]);
    let host = issuer.host();
    let plugin = start(&host);
    host.until_asleep();
    send(&plugin, &signer.token_of("ES256", "a", &good())).authenticated();
    send(&plugin, &Signer::Rsa.token_of("RS256", "weak", &good())).denied(401, "token_key_unknown");
    send(&plugin, &signer.token_of("ES256", "off", &good())).denied(401, "token_key_unknown");
    send(&plugin, &secret.token_of("HS256", "secret", &good())).denied(401, "token_algorithm");
    // With nothing else there is no key at all.
    let issuer = Issuer::default();
    issuer.has(&[secret.jwk("secret")]);
    let host = issuer.host();
    let plugin = start(&host);
    host.until_asleep();
    send(&plugin, &signer.token_of("ES256", "a", &good())).faulted("token_keys_unavailable");
}

#[test]
fn a_source_is_shared_and_ends_with_its_last_holder() {
    let issuer = Issuer::default();
    issuer.has(&[Signer::p256().jwk("a")]);
    let host = issuer.host();
    let kit = kit().host(host.clone());
    let yaml = format!("jwks: '{URL}'");
    let old = kit.build(&yaml).unwrap();
    host.until_asleep();
    let new = kit.build(&format!("{{jwks: '{URL}', audience: shop}}")).unwrap();
    drop(old);
    host.until_tasks(1);
    assert_eq!(host.calls().len(), 1);
    drop(new);
    host.until_tasks(0);
    let again = kit.build(&yaml).unwrap();
    host.until_calls(2);
    // What is fetched in another way is not what others have fetched.
    let file = tempfile::NamedTempFile::new().unwrap();
    let ca = file.path().display();
    let _others: Vec<_> =
        ["fetch_timeout: 1s".to_owned(), "refresh_interval: 1h".to_owned(), format!("ca: {ca}")]
            .iter()
            .map(|more| kit.build(&format!("{{jwks: '{URL}', {more}}}")).unwrap())
            .collect();
    host.until_calls(5);
    drop(again);
}

#[test]
fn keys_are_there_at_once_in_the_process_that_takes_over() {
    let (issuer, signer) = (Issuer::default(), Signer::p256());
    issuer.has(&[signer.jwk("a")]);
    let configuration = format!("{{jwks: '{URL}', refetch_interval: 10s, refresh_interval: 10m}}");
    let old_host = issuer.host();
    let old = kit().host(old_host.clone());
    let _before = old.build(&configuration).unwrap();
    old_host.until_asleep();
    // The issuer is down when the new process starts.
    issuer.says(URL, "<html>");
    let new_host = issuer.host();
    let new = kit().host(new_host.clone());
    let after = new.build(&configuration).unwrap();
    new_host.until_asleep();
    let token = signer.token_of("ES256", "a", &good());
    send(&after, &token).faulted("token_keys_unavailable");
    new.take_over_from(&old);
    send(&after, &token).authenticated();
    // What was fetched is newer than what is handed over.
    let newer = Signer::p256();
    issuer.has(&[newer.jwk("b")]);
    let later_host = issuer.host();
    let later = kit().host(later_host.clone());
    let fresh = later.build(&configuration).unwrap();
    later_host.until_asleep();
    later.take_over_from(&old);
    send(&fresh, &newer.token_of("ES256", "b", &good())).authenticated();
    send(&fresh, &token).denied(401, "token_key_unknown");
    issuer.says(URL, "<html>");
    // And it hands them on.
    let third = kit().host(new_host.clone());
    let last = third.build(&configuration).unwrap();
    third.take_over_from(&new);
    send(&last, &token).authenticated();
    assert!(old_host.calls().len() == 1 && !new_host.calls().is_empty());
}
