//! What is refused at load, and where the error points.

use super::{build, route};

/// Each error as `line:column path: message | help | other line:column`.
fn errors(routes: &[(&str, &str)]) -> Vec<String> {
    let written: Vec<_> = routes.iter().map(|(name, text)| route(name, text)).collect();
    let errors = build(&written).map(|_| ()).expect_err("the routes are refused");
    let show = |error: palisade_contract::ConfigError| {
        let place = error.place.unwrap();
        let other = error.other.map(|(label, place)| format!(" | {label} {}:{}", place.line, place.column));
        format!(
            "{}:{} {}: {}{}",
            place.line,
            place.column,
            error.path,
            error.message,
            other.unwrap_or_default()
        )
    };
    errors.into_iter().map(show).collect()
}

fn accepted(routes: &[(&str, &str)]) {
    let written: Vec<_> = routes.iter().map(|(name, text)| route(name, text)).collect();
    if let Err(errors) = build(&written) {
        panic!("{errors:?}");
    }
}

#[test]
fn routes_that_can_both_match_are_refused() {
    let same = |one: &str, other: &str| errors(&[("a", one), ("b", other)]);
    assert_eq!(
        same("- /x", "- /x"),
        [
            "2:10 routes.b.paths[0]: `/x` and `/x` of route `a` can match the same request equally well | the other one 1:10"
        ]
    );
    assert_eq!(same("- /a/{x}", "- /a/{y}").len(), 1);
    assert_eq!(same("- /x", "- /x/").len(), 1);
    assert_eq!(same("- /x GET,PUT", "- /x PUT").len(), 1);
    assert_eq!(same("- /x - x-v=1", "- /x - x-v=1").len(), 1);
    assert_eq!(same("- /x - x-v=1", "- /x GET x-w=1").len(), 1);
    // Once, however many hosts they share.
    assert_eq!(same("a.test,b.test,*.c.test /x", "*.c.test,b.test,a.test /x").len(), 1);
    // Once for each later route, however many earlier ones it clashes with.
    assert_eq!(errors(&[("a", "- /x"), ("b", "- /x"), ("c", "- /x")]).len(), 2);

    accepted(&[("a", "- /x GET"), ("b", "- /x PUT")]);
    accepted(&[("a", "- /x - x-v=1"), ("b", "- /x - x-v=2")]);
    accepted(&[("a", "- /x - x-v=1"), ("b", "- /x")]);
    accepted(&[("a", "- /x - x-v=1 x-w=1"), ("b", "- /x - x-v=1")]);
    accepted(&[("a", "- /x - x-v=1 x-w=1"), ("b", "- /x - x-w=2 x-v=1")]);
    accepted(&[("a", "a.test /x"), ("b", "b.test /x"), ("c", "*.test /x"), ("d", "- /x")]);
    accepted(&[("a", "- /x"), ("b", "- /x/*"), ("c", "- /x/{y}")]);
}

#[test]
fn look_alike_patterns_are_refused() {
    assert_eq!(
        errors(&[("a", "- /admin/*"), ("b", "- /Admin/*")]),
        [concat!(
            "1:10 routes.a.paths[0]: `/admin/*` and `/Admin/*` of route `b` look alike to an origin that ignores case, ",
            "`;…` or trailing dots and spaces | the other one 2:10"
        )]
    );
    for (one, other) in [
        ("- /a;v=1/b", "- /a/b"),
        ("- /a./b", "- /a/b"),
        ("- /a%20/b", "- /a/b"),
        ("- /.../a", "- /a"),
        ("- /.../*", "- /*"),
        ("- /A/{x}", "- /a/{y}"),
        ("- /%C3%89", "- /%C3%A9"),
        ("- /a%24", "- /a$"),
        ("- /A GET", "- /a PUT"),
    ] {
        assert_eq!(errors(&[("a", one), ("b", other)]).len(), 1, "{one} {other}");
    }
    assert_eq!(errors(&[("a", "- /A,/a")]).len(), 1);
    // Another class of pattern, another host: no look-alikes.
    accepted(&[("a", "- /a"), ("b", "- /A/*"), ("c", "- /A/{x}")]);
    accepted(&[("a", "a.test /a"), ("b", "b.test /A"), ("c", "- /A")]);
}

#[test]
fn what_can_never_match_is_refused() {
    assert_eq!(
        errors(&[("a", "- /,/*,/{x}/*")]),
        ["1:11 routes.a.paths[1]: `/*` can never match: other paths of its hosts cover all that is below it"]
    );
    let covered = [
        vec!["/", "/{x}", "/{x}/{y}/*", "/*"],
        vec!["/a", "/a/{x}/*", "/a/*"],
        vec!["/a/a", "/{x}/a/{y}/*", "/a/a/*"],
        vec!["/{x}", "/{y}/{z}", "/{x}/{y}/{z}/*", "/{x}/*"],
    ];
    for paths in covered {
        assert_eq!(errors(&[("a", &format!("- {}", paths.join(",")))]).len(), 1, "{paths:?}");
        for leave_out in 0..paths.len() - 1 {
            let mut fewer = paths.clone();
            fewer.remove(leave_out);
            accepted(&[("a", &format!("- {}", fewer.join(",")))]);
        }
    }
    // Reachable on one of its hosts.
    accepted(&[("a", "a.test,b.test /*"), ("b", "a.test /,/{x}/*")]);
    assert_eq!(errors(&[("a", "a.test,b.test /*"), ("b", "a.test,b.test /,/{x}/*")]).len(), 1);
}

#[test]
fn each_mistake_is_reported_at_its_place() {
    assert_eq!(
        errors(&[("a", "h:80,*,h,H orders,/a/../b,/ok,/ok/"), ("b", "- -"), ("c", "- /c - x-v=")]),
        [
            "1:20 routes.a.hosts[0]: `h:80` holds a port",
            "1:21 routes.a.hosts[1]: `*` is not a host",
            "1:23 routes.a.hosts[3]: `H` stands twice in this route | the first one 1:22",
            "1:10 routes.a.paths[0]: `orders` does not start with a slash",
            "1:11 routes.a.paths[1]: `/a/../b` can never match: dot segments are resolved before a route is looked up",
            "1:13 routes.a.paths[3]: `/ok/` stands twice in this route | the first one 1:12",
            "2:1 routes.b: a route without a path can never match",
        ]
    );
    for (path, reason) in [
        ("/...", "path_blank_segment"),
        ("/..;x", "path_dot_parameter"),
        ("/%2565", "path_double_encoding"),
        ("/%E2%80%A4", "path_lookalike"),
        ("/%FF", "path_utf8"),
    ] {
        let found = errors(&[("a", &format!("- {path}"))]);
        assert!(found.len() == 1 && found[0].ends_with(&format!("is refused ({reason})")), "{found:?}");
    }
    let mut spaced = route("a", "- /a - x-v=1");
    for value in [" 1", "1 ", "1\n", "\u{7f}"] {
        spaced.headers[0].1 = value.to_owned();
        let errors = build(std::slice::from_ref(&spaced)).map(|_| ()).unwrap_err();
        assert_eq!(errors.len(), 1, "{value:?}");
        assert_eq!(errors[0].path, "routes.a.headers.x-v");
    }
}
