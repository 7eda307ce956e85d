//! Who passes: what follows from what several authenticators find.

use super::*;

/// Who a request with these headers passes as, the attached ones behind the first; or why it does not pass. Entries are
/// named after their header, with `*` where they are monitored, and with `?` where they let somebody pass as guest.
fn asked(rule: Option<AuthRule>, entries: &[&'static str], headers: &[(&'static str, &str)]) -> String {
    let metrics = crate::metrics::Metrics::new();
    let slots = entries.iter().enumerate().map(|(rank, written)| {
        let name = written.trim_end_matches(['*', '?']);
        let mode = if written.contains('*') { Mode::Monitor } else { Mode::Enforce };
        let info =
            Arc::new(EntryInfo::new(name, "test", Scope::Route, Place::of_file(Path::new("a.yaml")), mode));
        Arc::new(Slot {
            id: rank + 1,
            stage: Stage::Authenticate,
            rank,
            built: Built::Authenticator(Arc::new(Says(HeaderName::from_static(name)))),
            on_fault: OnFault::Deny,
            when: None,
            anonymous: written.contains('?').then(|| consumer("guest")),
            metrics: metrics.entry("route", &info),
            info,
        })
    });
    let chain = Chain::new(slots.collect(), rule.as_ref());
    let mut ex = exchange();
    for (name, value) in headers {
        ex.request.append_header(*name, *value).unwrap();
    }
    match chain.screen(&mut ex, &mut Run::new(Instant::now())).now_or_never().unwrap() {
        Some(Stop::Denied(denial)) => {
            // Two of one kind ask for the same thing once.
            assert_eq!(denial.headers().len(), usize::from(denial.status() == 401));
            denial.reason().to_owned()
        }
        Some(other) => format!("{other:?}"),
        None => {
            let all = ex.principal().map(|one| &one.id).into_iter();
            let all = all.chain(ex.attached().iter().map(|one| &one.id));
            all.map(|id| &**id).collect::<Vec<_>>().join("+")
        }
    }
}

#[test]
fn who_is_proved_follows_from_the_rule_and_what_each_finds() {
    let keys = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    let any = |names: &[&str]| Some(AuthRule::Any(keys(names)));
    let all = |names: &[&str]| Some(AuthRule::All(keys(names)));
    let (plain, missing, left) = (&["a", "b"][..], "credential_missing", "credential_unsupported");
    for (rule, entries, headers, expected) in [
        // The first that finds a credential decides, in the order that is written.
        (any(&["a", "b"]), plain, &[("a", "good"), ("b", "good")][..], "a"),
        (any(&["b", "a"]), plain, &[("a", "good"), ("b", "good")], "b"),
        (any(&["a", "b"]), plain, &[("a", "good"), ("b", "wrong")], "a"),
        (any(&["b", "a"]), plain, &[("a", "good"), ("b", "wrong")], "wrong"),
        (any(&["a", "b"]), plain, &[("b", "good")], "b"),
        (any(&["a", "b"]), plain, &[], missing),
        (any(&["a", "b"]), &["a", "b?"], &[], "guest"),
        (any(&["a", "b"]), &["a?", "b"], &[("b", "wrong")], "wrong"),
        // What one leaves to the others somebody must take.
        (any(&["a", "b"]), plain, &[("a", "left"), ("b", "good")], "b"),
        (any(&["a", "b"]), plain, &[("a", "left")], left),
        (any(&["a", "b"]), &["a", "b?"], &[("a", "left")], left),
        (all(&["a", "b"]), plain, &[("a", "good"), ("b", "good")], "a+b"),
        (all(&["b", "a"]), plain, &[("a", "good"), ("b", "good")], "b+a"),
        (all(&["a", "b"]), plain, &[("a", "good")], missing),
        (all(&["a", "b"]), plain, &[("a", "good"), ("b", "left")], left),
        (all(&["a", "b"]), plain, &[("a", "good"), ("b", "wrong")], "wrong"),
        (all(&["a", "b"]), &["a?", "b"], &[("b", "good")], "guest+b"),
        (all(&["a", "b"]), &["a?", "b"], &[("a", "left"), ("b", "good")], left),
        // Monitored they refuse nobody.
        (None, &["a*"], &[], ""),
        (None, &["a*"], &[("a", "wrong")], ""),
        (None, &["a*"], &[("a", "left")], ""),
        (None, &["a*"], &[("a", "good")], "a"),
        (None, &["a*?"], &[], "guest"),
        (any(&["a", "b"]), &["a*", "b"], &[("a", "wrong"), ("b", "good")], "b"),
        (any(&["a", "b"]), &["a*", "b"], &[("a", "wrong")], missing),
    ] {
        let told = format!("{rule:?} {entries:?} {headers:?}");
        assert_eq!(asked(rule, entries, headers), expected, "{told}");
    }
}
