//! Hooks of a chain: in which order they run, what a condition binds, what a panic costs.

mod answers;
mod rules;

use super::*;
use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderName, HeaderValue};
use palisade_contract::{
    Authentication, Authenticator, Body, Client, CredentialPlace, Effect, Exchange, Hooks, Mode, Place,
    Presented, RequestHeader, ResponseHeader, Scope, Step, Tried, Verdict,
};
use parking_lot::Mutex;
use std::{net::SocketAddr, path::Path, time::Instant};

/// Notes which of its hooks run, and panics in one of them.
struct Noting {
    name: &'static str,
    ran: Arc<Mutex<Vec<String>>>,
    panics: Option<&'static str>,
}

impl Noting {
    #[allow(clippy::panic, reason = "that is what it is for")]
    fn note(&self, hook: &'static str) {
        self.ran.lock().push(format!("{} {hook}", self.name));
        if self.panics == Some(hook) {
            panic!("asked to");
        }
    }
}

impl Plugin for Noting {
    fn request_body(&self) -> BodyNeed {
        BodyNeed::Whole { max: 100 }
    }

    fn response_body(&self) -> BodyNeed {
        BodyNeed::Whole { max: 100 }
    }

    fn on_request<'a>(&'a self, _: &'a mut Exchange) -> Step<'a> {
        self.note("request");
        Step::CONTINUE
    }

    fn on_request_body<'a>(&'a self, _: &'a mut Exchange, _: &'a mut Body) -> Step<'a> {
        self.note("request_body");
        Step::CONTINUE
    }

    fn on_response<'a>(&'a self, _: &'a mut Exchange, _: &'a mut ResponseHeader) -> Step<'a> {
        self.note("response");
        Step::CONTINUE
    }

    fn on_response_body(&self, _: &mut Exchange, _: &mut Body) -> Result<Verdict, Fault> {
        self.note("response_body");
        Ok(Verdict::Continue)
    }

    fn on_log(&self, _: &Exchange) {
        self.note("log");
    }
}

/// What ran, and where the request stopped.
struct Outcome {
    ran: Vec<String>,
    stopped: Option<&'static str>,
    decisions: Vec<(Effect, Option<&'static str>)>,
}

/// Passes a request through entries: name, stage, condition, and the hook that panics.
fn pass(entries: &[(&'static str, Stage, Option<&str>, Option<&'static str>)]) -> Outcome {
    let (ran, metrics) = (Arc::new(Mutex::new(Vec::new())), crate::metrics::Metrics::new());
    let slot = |(id, &(name, stage, when, panics)): (usize, &(&'static str, Stage, Option<&str>, _))| {
        let place = Place::of_file(Path::new("a.yaml"));
        let info = Arc::new(EntryInfo::new(name, "noting", Scope::Route, place, Mode::Enforce));
        assert!(Hooks::ALL.contains(Hooks::LOG));
        Arc::new(Slot {
            id: id + 1,
            stage,
            rank: 0,
            built: Built::Plugin(Arc::new(Noting { name, ran: ran.clone(), panics })),
            // A panic is never let through.
            on_fault: OnFault::Allow,
            when: when.map(|when| Arc::new(When::compile(when, stage).unwrap())),
            anonymous: None,
            metrics: metrics.entry("route", &info),
            info,
        })
    };
    let chain = Chain::new(entries.iter().enumerate().map(slot).collect(), None);
    let mut ex = exchange();
    let mut run = Run::new(Instant::now());
    let stop = all(&chain, &mut ex, &mut run).now_or_never().unwrap();
    chain.log(&mut ex, &mut run);
    let stopped = stop.map(|stop| match stop {
        Stop::Faulted(fault) => fault.reason(),
        _ => "something else",
    });
    let decisions = ex.host_side().decisions.iter().map(|line| (line.effect, line.reason)).collect();
    Outcome { ran: ran.lock().clone(), stopped, decisions }
}

fn exchange() -> Exchange {
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let client = Client {
        ip: peer.ip(),
        peer,
        https: false,
        behind_proxy: false,
        proxies: Vec::new(),
        listener: "public".into(),
        port: 80,
        tls: None,
    };
    let request = RequestHeader::build("GET", b"/", None).unwrap();
    Exchange::new(request, Arc::new(client), "id".into())
}

async fn all(chain: &Chain, ex: &mut Exchange, run: &mut Run) -> Option<Stop> {
    let body = || Body::new(Bytes::from_static(b"body"), true);
    let mut stop = chain.screen(ex, run).await;
    if stop.is_none() {
        stop = chain.request(ex, run).await;
    }
    if stop.is_none() {
        stop = chain.request_body(ex, run, &mut body()).await;
    }
    if stop.is_none() {
        stop = chain.response(ex, run, &mut ResponseHeader::build(200, None).unwrap(), false).await;
    }
    stop.or_else(|| chain.response_body(ex, run, &mut body()))
}

#[test]
fn requests_pass_in_the_order_of_stages_and_responses_in_reverse() {
    let entries = [
        ("b", Stage::Transform, None, None),
        ("a", Stage::Transform, None, None),
        ("c", Stage::Screen, None, None),
    ];
    let outcome = pass(&entries);
    let order = |hook: &str| -> Vec<String> {
        let ran = outcome.ran.iter().filter_map(|line| line.strip_suffix(hook));
        ran.map(|name| name.trim().to_owned()).collect()
    };
    assert_eq!(order(" request"), ["c", "a", "b"]);
    assert_eq!(order(" request_body"), ["c", "a", "b"]);
    assert_eq!(order(" response"), ["b", "a", "c"]);
    assert_eq!(order(" response_body"), ["b", "a", "c"]);
    assert_eq!(order(" log"), ["c", "a", "b"]);
    assert_eq!(outcome.stopped, None);
}

#[test]
fn a_condition_binds_every_hook() {
    for stage in [Stage::Screen, Stage::Transform] {
        let outcome = pass(&[
            ("no", stage, Some("request.method == 'POST'"), None),
            ("yes", stage, Some("request.method == 'GET'"), None),
        ]);
        let ran = ["request", "request_body", "response", "response_body", "log"];
        assert_eq!(outcome.ran, ran.map(|hook| format!("yes {hook}")), "{stage:?}");
        assert!(outcome.decisions.contains(&(Effect::Skipped, None)));
    }
}

#[test]
fn a_panic_in_any_hook_costs_the_request_and_is_never_let_through() {
    for hook in ["request", "request_body", "response", "response_body"] {
        for stage in [Stage::Screen, Stage::Transform] {
            let outcome = pass(&[("a", stage, None, Some(hook))]);
            assert_eq!(outcome.stopped, Some("plugin_panicked"), "{hook}");
            assert_eq!(outcome.decisions.last(), Some(&(Effect::Fault, Some("plugin_panicked"))), "{hook}");
            assert_eq!(outcome.ran.last().map(String::as_str), Some("a log"), "it is recorded all the same");
        }
    }
}

#[test]
fn a_panic_in_the_log_keeps_nobody_else_from_theirs() {
    let outcome = pass(&[("a", Stage::Observe, None, Some("log")), ("b", Stage::Observe, None, None)]);
    assert_eq!(outcome.stopped, None);
    assert!(outcome.ran.ends_with(&["a log".to_owned(), "b log".to_owned()]), "{:?}", outcome.ran);
}

fn consumer(name: &str) -> Arc<Principal> {
    let consumer = palisade_contract::Consumer { name: name.into(), groups: Vec::new() };
    Arc::new(Principal::of_consumer(Arc::new(consumer), None))
}

/// Says of the credential in a header what the header says.
struct Says(HeaderName);

impl Plugin for Says {}

impl Authenticator for Says {
    fn authenticate<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a, Authentication> {
        let said = ex.header(&self.0).map(|value| value.to_str().unwrap());
        Step::Now(Ok(match said {
            None | Some("nothing") => Authentication::NoCredential,
            Some("good") => Authentication::Authenticated(consumer(self.0.as_str())),
            Some("left") => Authentication::NotMine,
            Some("scope") => Authentication::Rejected(Denial::forbidden("scope")),
            Some("old") => Authentication::Rejected(Denial::unauthorized("old").genuine()),
            Some("down") => return Step::Now(Err(Fault::unavailable("down"))),
            Some(_) => Authentication::Rejected(Denial::unauthorized("wrong")),
        }))
    }

    fn credential_places(&self) -> Vec<CredentialPlace> {
        vec![CredentialPlace::Header(self.0.clone())]
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Test")
    }
}

/// Notes what it sees of credentials; refuses before or after where it is to.
struct Watching(Arc<Mutex<Vec<String>>>, &'static str);

impl Plugin for Watching {
    fn hooks(&self) -> Hooks {
        Hooks::CREDENTIAL
    }

    fn on_credential<'a>(&'a self, _: &'a mut Exchange, presented: &'a Presented) -> Step<'a> {
        self.0.lock().push(format!("before {}", presented.digest()[0]));
        if self.1 == "before" { Denial::forbidden("before").into() } else { Step::CONTINUE }
    }

    fn on_authentication<'a>(
        &'a self,
        _: &'a mut Exchange,
        presented: &'a Presented,
        tried: Tried,
    ) -> Step<'a> {
        self.0.lock().push(format!("{tried:?} {}", presented.digest()[0]));
        if self.1 == "after" { Denial::forbidden("after").into() } else { Step::CONTINUE }
    }
}

/// What is seen of a request with these headers, and how it ends; `first` may be monitored.
fn watched(
    headers: &[(&'static str, &str)],
    refuses: &'static str,
    mode: Mode,
) -> (Vec<String>, &'static str) {
    let (seen, metrics) = (Arc::new(Mutex::new(Vec::new())), crate::metrics::Metrics::new());
    let watching = Built::Plugin(Arc::new(Watching(seen.clone(), refuses)));
    // One that stands behind Authenticate is not asked.
    let late = Built::Plugin(Arc::new(Watching(seen.clone(), "before")));
    let says = |name| Built::Authenticator(Arc::new(Says(HeaderName::from_static(name))));
    let entries = [
        ("watching", Stage::Screen, watching, Mode::Enforce),
        ("late", Stage::Authorize, late, Mode::Enforce),
        ("first", Stage::Authenticate, says("first"), mode),
        ("second", Stage::Authenticate, says("second"), Mode::Enforce),
    ];
    let slots = entries.into_iter().enumerate().map(|(id, (name, stage, built, mode))| {
        let place = Place::of_file(Path::new("a.yaml"));
        let info = Arc::new(EntryInfo::new(name, "test", Scope::Route, place, mode));
        let metrics = metrics.entry("route", &info);
        let (when, anonymous, on_fault) = (None, None, OnFault::Deny);
        Arc::new(Slot { id: id + 1, stage, rank: id, built, on_fault, when, anonymous, metrics, info })
    });
    let chain = Chain::new(slots.collect(), None);
    let mut ex = exchange();
    for (name, value) in headers {
        ex.request.append_header(*name, *value).unwrap();
    }
    let stop = chain.screen(&mut ex, &mut Run::new(Instant::now())).now_or_never().unwrap();
    let ended = match stop {
        None => "passes",
        Some(Stop::Denied(denial)) => denial.reason(),
        Some(Stop::Faulted(fault)) => fault.reason(),
        Some(Stop::Replied(_)) => "replied",
    };
    let seen = seen.lock().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    (seen, ended)
}

#[test]
fn what_authenticators_look_at_is_seen_before_and_after() {
    use Mode::{Enforce, Monitor};
    for (headers, refuses, mode, seen, ended) in [
        (&[][..], "", Enforce, &[][..], "credential_missing"),
        (&[("first", "good")], "", Enforce, &["before", "Good"], "passes"),
        (&[("first", "wrong"), ("second", "good")], "", Enforce, &["before", "Bad"], "wrong"),
        (
            &[("first", "nothing"), ("second", "wrong")],
            "",
            Enforce,
            &["before", "Open", "before", "Bad"],
            "wrong",
        ),
        (&[("second", "good")], "", Enforce, &["before", "Good"], "passes"),
        // Genuine and not enough, and not known: no failure.
        (&[("first", "scope")], "", Enforce, &["before", "Open"], "scope"),
        (&[("first", "old")], "", Enforce, &["before", "Stale"], "old"),
        (&[("first", "down")], "", Enforce, &["before", "Open"], "down"),
        // Monitored it lets pass, and is seen.
        (
            &[("first", "wrong"), ("second", "good")],
            "",
            Monitor,
            &["before", "Bad", "before", "Good"],
            "passes",
        ),
        (&[("first", "good")], "before", Enforce, &["before"], "before"),
        (&[("first", "good")], "after", Enforce, &["before", "Good"], "after"),
        // What was refused stays refused as it was.
        (&[("first", "wrong")], "after", Enforce, &["before", "Bad"], "wrong"),
    ] {
        let found = watched(headers, refuses, mode);
        assert_eq!(
            found,
            (seen.iter().map(|word| (*word).to_owned()).collect(), ended),
            "{headers:?} {refuses}"
        );
    }
}
