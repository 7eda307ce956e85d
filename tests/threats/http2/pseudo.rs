//! Pseudo-header fields (RFC 9113 §8.3).

use super::{PROTOCOL_ERROR, changed, ends, refused, reset, without};
use crate::{
    frames::{END_HEADERS, END_STREAM, HEADERS, block, frame},
    gate::{Gate, Outcome, get, request},
};

#[test]
fn a_missing_method_is_refused() {
    reset(|path| request(&without(path, ":method")));
}

#[test]
fn a_missing_scheme_is_refused() {
    reset(|path| request(&without(path, ":scheme")));
}

#[test]
fn a_missing_path_is_refused() {
    reset(|mark| {
        let mut fields = without("/", ":path");
        fields.push(("x-mark".into(), mark.into()));
        request(&fields)
    });
}

/// Pingora answers, with a bare 400.
#[test]
fn a_missing_authority_is_refused() {
    ends(
        |path| request(&without(path, ":authority")),
        |outcome| matches!(outcome, Outcome::Answer { ok: false, .. }),
    );
}

#[test]
fn a_pseudo_header_twice_is_refused() {
    for (name, value) in [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "a")] {
        reset(|path| {
            let mut fields = get(path);
            fields.insert(4, (name.into(), value.into()));
            request(&fields)
        });
    }
}

#[test]
fn a_late_pseudo_header_is_refused() {
    reset(|path| {
        let mut fields = without(path, ":scheme");
        fields.extend([("x".to_owned(), "y".to_owned()), (":scheme".to_owned(), "http".to_owned())]);
        request(&fields)
    });
}

/// The library drops one at the head of trailers, and refuses one behind a field.
#[test]
fn a_pseudo_header_in_trailers_reaches_nobody() {
    for (fields, refused) in
        [(&[(":path", "/admin/x")][..], false), (&[("x", "y"), (":path", "/admin/x")][..], true)]
    {
        let gate = Gate::shared();
        let (outcome, mark) = gate.http2(|mark| {
            [
                frame(HEADERS, END_HEADERS, 1, &block(&changed(&format!("/{mark}"), ":method", "POST"))),
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields)),
            ]
            .concat()
        });
        assert_eq!(outcome == Outcome::Reset(PROTOCOL_ERROR), refused, "{outcome:?}");
        assert!(gate.seen(&mark).iter().all(|seen| !seen.contains("admin")), "{:?}", gate.seen(&mark));
    }
}

#[test]
fn an_unknown_pseudo_header_is_refused() {
    reset(|path| {
        let mut fields = get(path);
        fields.insert(0, (":color".into(), "red".into()));
        request(&fields)
    });
}

#[test]
fn a_pseudo_header_of_responses_is_refused() {
    reset(|path| {
        let mut fields = get(path);
        fields.insert(0, (":status".into(), "200".into()));
        request(&fields)
    });
}

#[test]
fn an_empty_scheme_is_refused() {
    for scheme in ["", "ftp", "javascript"] {
        refused("target_malformed", |path| request(&changed(path, ":scheme", scheme)));
    }
}

#[test]
fn an_empty_path_is_refused() {
    reset(|mark| request(&with_path("", mark)));
}

fn with_path(path: &str, mark: &str) -> Vec<(String, String)> {
    let mut fields = changed("/", ":path", path);
    fields.push(("x-mark".into(), mark.into()));
    fields
}

#[test]
fn a_path_that_does_not_begin_with_a_slash_is_refused() {
    for path in ["admin/x", "..", "http://a/x", "a:80"] {
        ends(
            |mark| request(&with_path(path, mark)),
            |outcome| !matches!(outcome, Outcome::Answer { ok: true, .. }),
        );
    }
}

#[test]
fn an_asterisk_for_another_method_than_options_is_refused() {
    refused("target_malformed", |mark| request(&with_path("*", mark)));
}

#[test]
fn a_control_character_in_the_path_is_refused() {
    for path in ["/a\0b", "/a\rb", "/a\nb", "/a b", "/a\tb", "/a\x7fb"] {
        ends(
            |mark| request(&with_path(path, mark)),
            |outcome| !matches!(outcome, Outcome::Answer { ok: true, .. }),
        );
    }
}

/// The library cuts it off before anybody sees it: rules, record and origin have the same path.
#[test]
fn a_fragment_is_seen_by_nobody() {
    let gate = Gate::shared();
    let (outcome, mark) = gate.http2(|mark| request(&get(&format!("/{mark}#/../admin"))));
    let seen = gate.seen(&mark);
    assert!(matches!(outcome, Outcome::Answer { ok: true, .. }), "{outcome:?}");
    assert!(seen[0].starts_with(&format!("GET /{mark} HTTP/1.1\r\n")), "{seen:?}");
    // Rules hold for what is before it.
    let (outcome, mark) = gate.http2(|mark| request(&get(&format!("/admin/{mark}#/../../{mark}"))));
    assert!(matches!(outcome, Outcome::Answer { ok: false, .. }), "{outcome:?}");
    assert!(gate.seen(&mark).is_empty());
}
