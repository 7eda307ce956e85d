//! What hooks see of answers that the gateway makes, and what several entries want of bodies together.

use super::*;
use palisade_contract::Reply;

/// Does what it is told to, in the hooks that it has.
struct Part {
    name: &'static str,
    hooks: Hooks,
    /// `deny`, `reply`, or nothing.
    request: &'static str,
    denies_response: bool,
    need: BodyNeed,
    ran: Arc<Mutex<Vec<&'static str>>>,
}

impl Plugin for Part {
    fn hooks(&self) -> Hooks {
        self.hooks
    }

    fn request_body(&self) -> BodyNeed {
        self.need
    }

    fn response_body(&self) -> BodyNeed {
        self.need
    }

    fn keeps_request_body(&self) -> bool {
        self.name == "keeps"
    }

    fn on_request<'a>(&'a self, _: &'a mut Exchange) -> Step<'a> {
        match self.request {
            "deny" => Denial::forbidden("denied").into(),
            "reply" => Reply::new(http::StatusCode::OK, "replied").into(),
            _ => Step::CONTINUE,
        }
    }

    fn on_response<'a>(&'a self, _: &'a mut Exchange, _: &'a mut ResponseHeader) -> Step<'a> {
        self.ran.lock().push(self.name);
        if self.denies_response { Denial::forbidden("late").into() } else { Step::CONTINUE }
    }
}

/// Parts by name, stage, hooks and what they do to a request.
type Parts<'a> = &'a [(&'static str, Stage, Hooks, &'static str)];

fn chain(parts: Parts<'_>, mode: Mode, change: impl Fn(&mut Part)) -> (Chain, Arc<Mutex<Vec<&'static str>>>) {
    let (ran, metrics) = (Arc::new(Mutex::new(Vec::new())), crate::metrics::Metrics::new());
    let slots = parts.iter().enumerate().map(|(rank, &(name, stage, hooks, request))| {
        let place = Place::of_file(Path::new("a.yaml"));
        let info = Arc::new(EntryInfo::new(name, "part", Scope::Route, place, mode));
        let (need, ran) = (BodyNeed::None, ran.clone());
        let mut part = Part { name, hooks, request, denies_response: false, need, ran };
        change(&mut part);
        Arc::new(Slot {
            id: rank + 1,
            stage,
            rank,
            built: Built::Plugin(Arc::new(part)),
            on_fault: OnFault::Deny,
            when: None,
            anonymous: None,
            metrics: metrics.entry("route", &info),
            info,
        })
    });
    (Chain::new(slots.collect(), None), ran)
}

/// How the request ends, and which response hooks see the gateway's own answer.
fn answered(chain: &Chain, ran: &Mutex<Vec<&'static str>>) -> (&'static str, Vec<&'static str>) {
    let (mut ex, mut run) = (exchange(), Run::new(Instant::now()));
    let mut stop = chain.screen(&mut ex, &mut run).now_or_never().unwrap();
    if stop.is_none() {
        stop = chain.request(&mut ex, &mut run).now_or_never().unwrap();
    }
    let ended = match stop {
        None => "passes",
        Some(Stop::Denied(denial)) => denial.reason(),
        Some(Stop::Replied(reply)) => reply.reason(),
        Some(Stop::Faulted(fault)) => fault.reason(),
    };
    let mut head = ResponseHeader::build(403, None).unwrap();
    let refused = chain.response(&mut ex, &mut run, &mut head, true).now_or_never().unwrap();
    assert!(refused.is_none(), "an answer of the gateway's own is not refused");
    let seen = std::mem::take(&mut *ran.lock());
    (ended, seen)
}

#[test]
fn an_own_answer_is_seen_by_those_whose_turn_had_come() {
    let (all, late) = (Hooks::ALL, Hooks::RESPONSE);
    for (parts, ended, seen) in [
        (
            &[
                ("a", Stage::Screen, all, "deny"),
                ("b", Stage::Screen, late, ""),
                ("c", Stage::Limit, all, ""),
            ][..],
            "denied",
            &["a"][..],
        ),
        (
            &[
                ("a", Stage::Screen, late, ""),
                ("b", Stage::Limit, all, "deny"),
                ("c", Stage::Limit, late, ""),
            ],
            "denied",
            &["b", "a"],
        ),
        (
            &[("a", Stage::Screen, late, ""), ("b", Stage::Limit, all, ""), ("c", Stage::Limit, late, "")],
            "passes",
            &["c", "b", "a"],
        ),
        (&[("a", Stage::Limit, all, "reply"), ("b", Stage::Transform, all, "")], "replied", &["a"]),
    ] {
        let (made, ran) = chain(parts, Mode::Enforce, |_| {});
        assert_eq!(answered(&made, &ran), (ended, seen.to_vec()), "{parts:?}");
    }
}

#[test]
fn who_refuses_an_own_answer_keeps_no_other_from_seeing_it() {
    let parts: Parts<'_> = &[("a", Stage::Screen, Hooks::ALL, ""), ("b", Stage::Limit, Hooks::ALL, "deny")];
    let (made, ran) = chain(parts, Mode::Enforce, |part| part.denies_response = part.name == "b");
    assert_eq!(answered(&made, &ran), ("denied", vec!["b", "a"]));
}

#[test]
fn what_is_monitored_neither_refuses_nor_answers() {
    for request in ["deny", "reply"] {
        let (made, ran) = chain(&[("a", Stage::Limit, Hooks::ALL, request)], Mode::Monitor, |_| {});
        assert_eq!(answered(&made, &ran).0, "passes", "{request}");
    }
}

#[test]
fn of_what_entries_want_of_bodies_the_most_holds_and_the_smallest_limit() {
    let (none, stream, whole) = (BodyNeed::None, BodyNeed::Stream, |max| BodyNeed::Whole { max });
    for (needs, together, reframes) in [
        ([none, none], none, false),
        ([none, stream], stream, true),
        ([stream, whole(9)], whole(9), false),
        ([whole(9), stream], whole(9), false),
        ([whole(9), whole(5)], whole(5), false),
        ([whole(5), whole(9)], whole(5), false),
    ] {
        let parts: Parts<'_> =
            &[("a", Stage::Inspect, Hooks::ALL, ""), ("b", Stage::Inspect, Hooks::ALL, "")];
        let (made, _) = chain(parts, Mode::Enforce, |part| part.need = needs[usize::from(part.name == "b")]);
        assert_eq!((made.request_body_need(), made.response_body_need()), (together, together), "{needs:?}");
        assert_eq!(made.reframes_request(), reframes, "{needs:?}");
    }
    let keeps: Parts<'_> =
        &[("keeps", Stage::Inspect, Hooks::ALL, ""), ("keeps", Stage::Limit, Hooks::ALL, "")];
    let (made, _) = chain(keeps, Mode::Enforce, |part| part.need = stream);
    assert!(!made.reframes_request());
}
