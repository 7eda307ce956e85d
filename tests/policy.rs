//! Policy tests: those of every example that is shipped, those of the documents, and what they are made of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may panic"
)]

use palisade::{conf::model::Config, gateway::Snapshot, policy};
use palisade_plugins::PLUGINS;
use std::{
    fs,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn load(dir: &Path) -> (Config, Snapshot) {
    policy::load(dir, PLUGINS).unwrap_or_else(|error| panic!("{error}"))
}

/// Directories of configurations that are shipped.
fn shipped() -> Vec<PathBuf> {
    let examples = fs::read_dir(root().join("conf/examples")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = examples.filter(|path| path.is_dir()).collect();
    all.push(root().join("conf"));
    all.sort();
    assert!(all.len() > 5);
    all
}

fn cases(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir.join("tests")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Runs files; what failed, as it is reported.
fn run(files: &[PathBuf], dir: &Path) -> Result<String, String> {
    let run = policy::run(files, &load(dir).0, PLUGINS)?;
    let report = policy::report(&run);
    if run.counts().1 == 0 { Ok(report) } else { Err(report) }
}

#[test]
fn every_example_has_policy_tests_and_passes_them() {
    for dir in shipped() {
        let files = cases(&dir);
        assert!(!files.is_empty(), "{} has no policy tests", dir.display());
        if let Err(failed) = run(&files, &dir) {
            panic!("{failed}");
        }
    }
}

#[test]
fn nothing_is_unguarded_in_the_examples() {
    for dir in shipped() {
        let (config, snapshot) = load(&dir);
        if let Err(unguarded) = policy::coverage(&config, &snapshot, PLUGINS).strict(&config) {
            panic!("{unguarded}");
        }
    }
}

#[test]
fn files_of_cases_agree_with_their_schema() {
    let schema = policy::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for file in shipped().iter().flat_map(|dir| cases(dir)) {
        let text = fs::read_to_string(&file).unwrap();
        let node = palisade_contract::conf::parse(&file, &text, &|_| None).unwrap();
        let value: serde_json::Value = node.deserialize().unwrap();
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
    }
}

/// A configuration and a file of cases of it.
fn written(conf: &str, cases: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), conf).unwrap();
    fs::create_dir(dir.path().join("tests")).unwrap();
    let file = dir.path().join("tests/cases.yaml");
    fs::write(&file, cases).unwrap();
    (dir, file)
}

fn try_out(conf: &str, cases: &str) -> Result<String, String> {
    let (dir, file) = written(conf, cases);
    run(&[file], dir.path())
}

#[test]
fn the_examples_of_the_document_pass() {
    let text = fs::read_to_string(root().join("docs/policy-tests.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let conf = blocks.iter().find(|block| block.contains("version: 1")).unwrap();
    let mut count = 0;
    for cases in blocks.iter().filter(|block| block.contains("cases:")) {
        if let Err(failed) = try_out(conf, cases) {
            panic!("{failed}");
        }
        count += 1;
    }
    assert_eq!(count, 4, "the document has lost its examples");
}

const CONF: &str = "version: 1
listeners: {public: {address: 127.0.0.1:8080}, secure: {address: 127.0.0.1:8081}}
upstreams: {api: {targets: [{address: a.invalid:80}]}}
stores: {main: {redis: redis://127.0.0.1:1}}
client_ip: {trusted_proxies: [10.0.0.0/8]}
routes:
  signed: {paths: [/signed], upstream: api, plugins: {hmac-auth: {store: main}}}
  guests: {paths: [/guests], upstream: api, plugins: {key-auth: {anonymous: bob}}}
  prefixed: {paths: [/v1/*], strip_prefix: /v1, upstream: api, plugins: {acl: {allow: [h], mode: monitor}, key-auth: {}}}
  plain: {paths: [/plain/*], upstream: api}
  limited: {paths: [/limited], upstream: api, limits: {body_bytes: 8B}}
  bound: {hosts: [a.example], paths: [/b], methods: [POST], upstream: api, plugins: {json-limits: {}}}
plugins: {response-headers: {set: {x-set: here}, remove: [server]}}
consumers: {alice: {groups: [g], key-auth: [{key_sha256: f80024220afd493b4d9592af870de7afe98061992d28fdb75480c9b717783fa2}]}, bob: {groups: [h]}}
";

#[test]
fn what_comes_is_compared_with_what_is_expected() {
    let good = "cases:
  - name: a
    request: {url: /v1/x?q=1, headers: {apikey: demo-key-alice, x-a: [b, c]}}
    origin: {status: 201, headers: {server: s, x-o: [p, q]}, json: {a: {b: 1, c: 2}}}
    expect:
      status: 201
      plugin: none
      reason: none
      route: prefixed
      principal: alice
      would_deny: [acl]
      headers: {server: null, x-set: here, x-o: 'p, q', content-type: application/json}
      json: {a: {b: 1}}
      body_without: [secret]
      origin: {upstream: api, method: GET, path: '/x?q=1', headers: {apikey: null, x-a: 'b, c', x-consumer-id: alice}}
";
    try_out(CONF, good).unwrap();
    for (from, to, said) in [
        ("status: 201\n      plugin", "status: 200\n      plugin", "- status: 200\n  + status: 201"),
        ("plugin: none", "plugin: acl", "- plugin: acl\n  + plugin: none"),
        ("reason: none", "reason: x", "- reason: x\n  + reason: none"),
        ("route: prefixed", "route: guests", "- route: guests\n  + route: prefixed"),
        ("principal: alice", "principal: none", "- principal: none\n  + principal: alice"),
        ("would_deny: [acl]", "would_deny: []", "- would_deny: \n  + would_deny: acl"),
        ("server: null", "server: s", "- headers.server: s\n  + headers.server: absent"),
        ("x-set: here", "x-set: null", "- headers.x-set: absent\n  + headers.x-set: here"),
        ("{a: {b: 1}}\n      body", "{a: {b: 2}}\n      body", "- json.a.b: 2\n  + json.a.b: 1"),
        ("[secret]", "['b']", "- body_without: no `b`"),
        ("path: '/x?q=1'", "path: /v1/x", "- origin.path: /v1/x\n  + origin.path: /x?q=1"),
        ("apikey: null", "apikey: '*'", "- origin.headers.apikey: any\n  + origin.headers.apikey: absent"),
        (
            "origin: {upstream: api,",
            "origin: {upstream: api, body: x,",
            "- origin.body: x\n  + origin.body: ",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let failed = try_out(CONF, &good.replace(from, to)).unwrap_err();
        assert!(failed.contains(said), "{to}:\n{failed}");
        assert!(failed.contains("a.yaml:9:") && failed.contains("would_deny"), "{failed}");
    }
    let none = good.split("      origin: {up").next().unwrap().to_owned() + "      origin: none\n";
    let failed = try_out(CONF, &none).unwrap_err();
    assert!(failed.contains("- origin: none\n  + origin: GET /x?q=1"), "{failed}");
}

#[test]
fn requests_are_read_as_they_are_on_a_socket() {
    for (request, expect) in [
        ("GET /plain//a/./b/../c", "{status: 200, origin: {path: /plain/a/c}}"),
        ("GET /plain/%61", "{status: 200, origin: {path: /plain/a}}"),
        ("GET /plain/..%2fv1", "{status: 400, route: _none, origin: none}"),
        ("GET /PLAIN/x", "{status: 400, reason: path_ambiguous}"),
        ("GET /plain/a b", "{status: 400, reason: request_line}"),
        ("GET /plain/#x", "{status: 400, reason: target_fragment}"),
        ("GET http://b.example/b", "{status: 404, reason: no_route}"),
        ("GET http://a.example/b", "{status: 405, headers: {allow: POST}}"),
        ("CONNECT /plain", "{status: 405, reason: connect_refused}"),
        ("{url: /plain, headers: {host: [a, b]}}", "{status: 400, reason: host_repeated}"),
        ("{url: /plain, headers: {x_a: b}}", "{status: 400, reason: header_underscore}"),
        (
            "{url: /plain, headers: {x-forwarded-for: 1.2.3.4}}",
            "{status: 200, origin: {headers: {x-forwarded-for: 127.0.0.1}}}",
        ),
        (
            "{url: /plain, client_ip: 10.0.0.1, headers: {x-forwarded-for: 1.2.3.4}}",
            "{status: 200, origin: {headers: {x-real-ip: 1.2.3.4}}}",
        ),
        ("{url: /limited, body: 12345678}", "{status: 200, origin: {method: POST, body: '12345678'}}"),
        ("{url: /limited, body: '123456789'}", "{status: 413, reason: body_too_large, origin: none}"),
        (
            "{url: /limited, body: '123456789', headers: {transfer-encoding: chunked}}",
            "{status: 413, reason: body_too_large, origin: none}",
        ),
        ("{url: 'http://a.example/b', json: {a: 1}}", "{status: 200, origin: {json: {a: 1}}}"),
        (
            "{url: 'http://a.example/b', body: '{\"a\": 1, \"a\": 2}', headers: {content-type: application/json}}",
            "{status: 400, plugin: json-limits, origin: none}",
        ),
        ("GET /guests", "{status: 200, principal: bob}"),
    ] {
        let cases = format!("cases: [{{name: a, request: {request}, expect: {expect}}}]\n");
        if let Err(failed) = try_out(CONF, &cases) {
            panic!("{request}: {failed}");
        }
    }
}

#[test]
fn a_principal_takes_the_place_of_what_authenticates() {
    let case = |route: &str, expect: &str| {
        format!(
            "cases: [{{name: a, request: GET {route}, principal: {{consumer: alice}}, expect: {expect}}}]\n"
        )
    };
    try_out(CONF, &case("/v1/x", "{status: 200, principal: alice}")).unwrap();
    try_out(CONF, &case("/guests", "{status: 200, principal: alice}")).unwrap();
    try_out(CONF, &case("/signed", "{status: 200, principal: alice}")).unwrap();
    let failed = try_out(CONF, &case("/plain/x", "200")).unwrap_err();
    assert!(failed.contains("nothing on the route `plain` authenticates"), "{failed}");
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_place() {
    for (cases, said) in [
        (
            "cases: [{name: a, request: GET /, expct: 200}]",
            "cases.yaml:1:35: cases[0]: unknown field `expct`",
        ),
        ("cases: [{name: a, request: GET /, expct: 200}]", "did you mean `expect`?"),
        ("cases: [{name: a, request: GET /, expect: {status: 200, plugin: alc}}]", "did you mean `acl`?"),
        ("cases: [{name: a, request: GET /, expect: {status: 200, route: plan}}]", "did you mean `plain`?"),
        (
            "cases: [{name: a, request: GET /, principal: {consumer: alcie}, expect: 1}]",
            "did you mean `alice`?",
        ),
        ("cases: [{name: a, request: GET /, principal: {}, expect: 1}]", "nothing says who this is"),
        ("cases: [{name: a, request: {url: /, listener: secur}, expect: 1}]", "did you mean `secure`?"),
        ("cases: [{name: a, request: {url: x}, expect: 1}]", "`x` is not an address"),
        (
            "cases: [{name: a, request: {url: /, body: a, json: b}, expect: 1}]",
            "the body is written more than once",
        ),
        ("cases: [{name: a, request: {url: /, file: none}, expect: 1}]", "cannot read"),
        ("cases: [{name: a, request: {url: /, hedaers: {}}, expect: 1}]", "did you mean `headers`?"),
        (
            "cases: [{name: a, request: GET /, expect: {status: 200, origin: {upstream: apo}}}]",
            "did you mean `api`?",
        ),
        ("cases: [{name: a, request: GET /, expect: two}]", "`two` is not a status"),
        ("cases: [{name: a, request: GET /}]", "a case needs `request` and `expect`"),
        ("cases: [{name: a, repeat: 0, request: GET /, expect: 200}]", "`repeat: 0` cannot be"),
        ("cases: [{name: a, request: GET /, expect: 1, steps: []}]", "has nothing beside them"),
        ("clock: today\ncases: []", "`today` is not a time"),
        ("stores: {man: down}\ncases: []", "did you mean `main`?"),
    ] {
        let failed = try_out(CONF, cases).unwrap_err();
        assert!(failed.contains(said), "{cases}:\n{failed}");
        assert!(failed.contains('^') && failed.contains("help: "), "{cases}:\n{failed}");
    }
}

#[test]
fn a_store_that_is_down_lets_nobody_in() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let conf = CONF.replace(
        "bob: {groups: [h]",
        "bob: {groups: [h], hmac-auth: [{username: bob, secret: a-secret-of-thirty-two-characters}]",
    );
    let sign = |text: &str| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a-secret-of-thirty-two-characters");
        STANDARD.encode(ring::hmac::sign(&key, text.as_bytes()))
    };
    let date = "Thu, 01 Jan 2026 00:00:00 GMT";
    let signature = sign(&format!("date: {date}\n@request-target: get /signed"));
    let header = format!(
        "hmac username=\\\"bob\\\", algorithm=\\\"hmac-sha256\\\", headers=\\\"date @request-target\\\", signature=\\\"{signature}\\\""
    );
    let request = format!("{{url: /signed, headers: {{date: '{date}', authorization: \"{header}\"}}}}");
    let cases = format!(
        "cases:\n  - name: once\n    steps:\n      - {{request: {request}, expect: {{status: 200, principal: bob}}}}\n      \
         - {{request: {request}, expect: {{status: 401, plugin: hmac-auth}}}}\n"
    );
    if let Err(failed) = try_out(&conf, &cases) {
        panic!("{failed}");
    }
    let down = format!(
        "stores: {{main: down}}\ncases: [{{name: a, request: {request}, expect: {{status: 503, plugin: hmac-auth, origin: none}}}}]\n"
    );
    if let Err(failed) = try_out(&conf, &down) {
        panic!("{failed}");
    }
}

/// What the payments example is, with keys that are fetched.
fn fetching(issuer: bool) -> (String, String) {
    let read = |name: &str| fs::read_to_string(root().join("conf/examples/payments").join(name)).unwrap();
    let from = if issuer { "" } else { "jwks: https://bank.example/keys" };
    let conf = read("palisade.yaml").replace("jwks: bank.jwks.json", from);
    let cases = read("tests/payments.yaml");
    let token = cases.split("Bearer ").nth(1).unwrap().split('"').next().unwrap();
    (conf, format!("{{url: /orders, headers: {{authorization: Bearer {token}}}}}"))
}

#[test]
fn keys_are_fetched_from_where_a_file_says() {
    let keys = fs::read_to_string(root().join("conf/examples/payments/bank.jwks.json")).unwrap();
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    let http = format!("http: [{{url: 'https://bank.example/keys', json: {keys}}}]\n");
    let metadata = format!(
        "http:\n  - {{url: 'https://bank.example/.well-known/openid-configuration', json: {{issuer: 'https://bank.example', \
         jwks_uri: 'https://bank.example/keys'}}}}\n  - {{url: 'https://bank.example/keys', method: GET, json: {keys}}}\n"
    );
    let expect =
        |expect: &str, request: &str| format!("cases: [{{name: a, request: {request}, expect: {expect}}}]\n");
    let ((jwks, request), (issuer, _)) = (fetching(false), fetching(true));
    for (conf, http, expected) in [
        (&jwks, &*http, "{status: 200, principal: acme}"),
        (&issuer, &metadata, "{status: 200, principal: acme}"),
        (&jwks, "", "{status: 503, plugin: jwt, origin: none}"),
        (&jwks, "http: [{url: 'https://bank.example/keys', method: POST, json: {}}]\n", "503"),
        (&jwks, "http: [{url: 'https://bank.example/keys', containing: token, json: {}}]\n", "503"),
        (&jwks, "http: [{url: 'https://bank.example/keys', status: 500}]\n", "503"),
    ] {
        if let Err(failed) = try_out(conf, &format!("{http}{}", expect(expected, &request))) {
            panic!("{http}: {failed}");
        }
    }
}

#[test]
fn a_caller_who_tries_many_is_locked_out_until_time_has_passed() {
    let conf = "version: 1
listeners: {public: {address: 127.0.0.1:8080}}
upstreams: {api: {targets: [{address: 127.0.0.1:9}]}}
routes:
  a:
    paths: ['/users/{id}']
    upstream: api
    plugins:
      key-auth: {}
      ownership: {object: path.id, owner: claims.sub, enumeration: {distinct: 2, window: 1m, lockout: 10m}}
consumers: {alice: {key-auth: []}}
";
    let step = |path: &str, expect: &str| {
        format!("{{request: GET {path}, principal: {{id: alice, claims: {{sub: alice}}}}, expect: {expect}}}")
    };
    let cases = format!(
        "cases:\n  - name: a\n    steps:\n      - {}\n      - {}\n      - {}\n      - {}\n      - {}\n",
        step("/users/alice", "200"),
        step("/users/1", "{status: 403, plugin: ownership, origin: none}"),
        step("/users/2", "{status: 403, reason: ownership_enumeration}"),
        step("/users/alice", "{status: 429, reason: ownership_lockout}"),
        step("/users/alice", "200").replace("{request", "{wait: 11m, request"),
    );
    if let Err(failed) = try_out(conf, &cases) {
        panic!("{failed}");
    }
}
