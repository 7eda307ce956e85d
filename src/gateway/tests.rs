//! What is wrong across entries is found when the snapshot is compiled.

use crate::{conf, server};

/// The errors of a configuration as `path: message`.
fn errors(routes: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let whole = format!(
        "version: 1
listeners: {{public: {{address: 127.0.0.1:0}}}}
upstreams: {{origin: {{targets: [{{address: 127.0.0.1:9}}]}}}}
consumers: {{alice: {{groups: [gold], key-auth: [{{key_sha256: {}}}]}}}}
{routes}",
        "0".repeat(64)
    );
    std::fs::write(dir.path().join("palisade.yaml"), whole).unwrap();
    match server::check(dir.path(), palisade_plugins::PLUGINS) {
        Ok(_) => Vec::new(),
        Err(conf::LoadError { errors, .. }) => {
            errors.0.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect()
        }
    }
}

#[test]
fn a_condition_about_the_caller_needs_an_authenticator_on_its_route() {
    let open = "routes:
  open:
    paths: [/*]
    upstream: origin
    plugins: {response-headers: {when: 'consumer.name == \"alice\"'}}
";
    assert_eq!(
        errors(open),
        ["routes.open.plugins.response-headers.when: \
          the condition asks who is calling, and nothing on this route authenticates"]
    );
    let authenticated = open.replace("plugins: {", "plugins: {key-auth: {}, ");
    assert_eq!(errors(&authenticated), [""; 0]);
    // An everywhere-entry may ask: other routes authenticate.
    let everywhere = "plugins: {response-headers: {when: 'consumer.name == \"alice\"'}}
routes: {open: {paths: [/*], upstream: origin}}
";
    assert_eq!(errors(everywhere), [""; 0]);
}

#[test]
fn a_mistake_in_a_condition_is_told_with_its_column() {
    let found = errors(
        "routes:
  a:
    paths: [/*]
    upstream: origin
    plugins: {response-headers: {when: \"request.methd == 'GET'\"}}
",
    );
    assert_eq!(
        found,
        ["routes.a.plugins.response-headers.when: \
          `request.methd` is not known (column 1 of the condition)"]
    );
}

#[test]
fn a_route_has_so_many_entries_and_no_more() {
    let with = |count: usize| {
        let entries: String =
            (0..count).map(|n| format!("      ip-restriction#n{n}: {{allow: [10.0.0.0/8]}}\n")).collect();
        format!("routes:\n  a:\n    paths: [/x]\n    upstream: origin\n    plugins:\n{entries}")
    };
    assert_eq!(errors(&with(128)), [""; 0]);
    assert_eq!(errors(&with(129)), ["routes.a: the route has 129 entries, 128 are possible"]);
}

#[test]
fn a_route_that_does_not_compile_hides_no_clash() {
    let found = errors(
        "routes:
  a: {paths: [/x], upstream: nowhere}
  b: {paths: [/x], upstream: origin}
  c: {paths: [/x], upstream: origin}
",
    );
    assert_eq!(
        found.iter().filter(|error| error.contains("can match the same request")).count(),
        2,
        "{found:?}"
    );
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn the_table_shows_all_that_a_route_is() {
    let dir = tempfile::tempdir().unwrap();
    let whole = "version: 1
listeners: {public: {address: 127.0.0.1:0}}
upstreams: {origin: {targets: [{address: 127.0.0.1:9}]}}
plugins: {response-headers: {}}
routes:
  a:
    hosts: [a.test, '*.b.test']
    paths: [/v1/x, /v1/y/*]
    methods: [GET, POST]
    headers: {x-version: '2'}
    strip_prefix: /v1
    pass_headers: [x-http-method-override]
    upstream: origin
    plugins:
      redirect: {location: /z, when: 'request.path == \"/z\"', on_fault: allow}
      ip-restriction: {mode: monitor, deny: [10.0.0.1]}
      correlation-id: {mode: off}
      response-headers#more: {mode: off}
      key-auth: {}
consumers: {alice: {plugins: {response-headers#more: {}}}}
";
    std::fs::write(dir.path().join("palisade.yaml"), whole).unwrap();
    let (_, snapshot) = server::check(dir.path(), palisade_plugins::PLUGINS).unwrap();
    let mut shown = serde_json::to_value(super::view::routes(&snapshot)).unwrap();
    let of_alice = shown[0].as_object_mut().unwrap().remove("consumers").unwrap();
    // What is off for others runs for her.
    let more: Vec<_> = of_alice["alice"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["entry"] == "response-headers#more")
        .collect();
    assert_eq!((more.len(), &more[0]["mode"], &more[0]["scope"]), (1, &"enforce".into(), &"consumer".into()));
    for entry in shown[0]["plugins"].as_array_mut().unwrap() {
        let place = entry["place"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        entry["place"] = place.into();
    }
    let entry = |name: &str,
                 stage: &str,
                 mode: &str,
                 scope: &str,
                 (on_fault, conditional): (&str, bool),
                 place: &str| {
        serde_json::json!({
            "entry": name, "stage": stage, "mode": mode, "scope": scope, "on_fault": on_fault,
            "conditional": conditional, "place": format!("palisade.yaml:{place}"),
        })
    };
    let expected = serde_json::json!([{
        "name": "a",
        "match": {
            "hosts": ["a.test", "*.b.test"],
            "paths": ["/v1/x", "/v1/y/*"],
            "methods": ["GET", "POST"],
            "headers": {"x-version": "2"},
        },
        "upstream": "origin",
        "strip_prefix": "/v1",
        "pass_headers": ["x-http-method-override"],
        "plugins": [
            entry("correlation-id", "screen", "off", "route", ("deny", false), "17:7"),
            entry("ip-restriction", "screen", "monitor", "route", ("deny", false), "16:7"),
            entry("redirect", "screen", "enforce", "route", ("allow", true), "15:7"),
            entry("key-auth", "authenticate", "enforce", "route", ("deny", false), "19:7"),
            entry("response-headers", "transform", "enforce", "everywhere", ("deny", false), "4:11"),
            entry("response-headers#more", "transform", "off", "route", ("deny", false), "18:7"),
        ],
    }]);
    assert_eq!(shown, expected);
}
