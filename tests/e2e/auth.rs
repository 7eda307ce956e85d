//! Who may pass: keys, groups, conditions, modes, and what a refusal looks like.

use crate::{client::Client, harness::Gateway};

const GOLD: &str = "
routes:
  gold: {paths: [/echo/*], upstream: demo, plugins: {key-auth: {}, acl: {allow: [gold]}}}
";

#[test]
fn without_a_good_key_nobody_passes() {
    let gateway = Gateway::start(GOLD);
    let missing = gateway.get("/echo/").expect(401);
    assert_eq!(missing.reason(), "credential_missing");
    assert!(missing.header("www-authenticate").unwrap().starts_with("Key"));
    let wrong = gateway.request("GET", "/echo/", &["apikey: wrong"]).expect(401);
    assert_ne!(wrong.reason(), "credential_missing");
    gateway.request("GET", "/echo/", &["apikey: bob-key"]).expect(403);
    gateway.request("GET", "/echo/?apikey=alice-key", &[]).expect(401);
    gateway.request("GET", "/echo/", &["cookie: apikey=alice-key"]).expect(401);
    let passed = gateway.request("GET", "/echo/", &["apikey: alice-key"]).expect(200);
    assert_eq!(passed.echoed("x-consumer-id").as_deref(), Some("alice"));
    let lines = gateway.audit(6);
    // A line is written after its answer: the order of requests is not that of lines.
    let of = |status: u64| lines.iter().filter(|line| line["status"] == status).collect::<Vec<_>>();
    assert_eq!(of(401).len(), 4);
    assert_eq!(of(403)[0]["consumer"], "bob");
    assert_eq!(of(200)[0]["consumer"], "alice");
    assert!(!lines.iter().any(|line| line.to_string().contains("alice-key")), "{lines:?}");
}

#[test]
fn the_origin_does_not_see_the_key() {
    let gateway = Gateway::start(
        "
routes:
  hidden:
    paths: [/echo/*]
    upstream: demo
    plugins: {key-auth: {key_in_query: true, key_in_cookie: true}}
  shown:
    paths: [/echo/shown]
    upstream: demo
    plugins: {key-auth: {hide_credentials: false}}
",
    );
    gateway.request("GET", "/echo/a", &["apikey: alice-key"]).expect(200);
    let header = gateway.request("GET", "/echo/a", &["APIKEY: alice-key", "x-a: 1"]).expect(200);
    assert_eq!(header.echoed("apikey"), None);
    assert_eq!(header.echoed("x-a").as_deref(), Some("1"));
    let query = gateway.get("/echo/a?a=1&apikey=alice-key&b=2").expect(200);
    assert_eq!(query.json()["target"], "/echo/a?a=1&b=2");
    let cookie = gateway.request("GET", "/echo/a", &["cookie: a=1; apikey=alice-key; b=2"]).expect(200);
    assert_eq!(cookie.echoed("cookie").as_deref(), Some("a=1; b=2"));
    let shown = gateway.request("GET", "/echo/shown", &["apikey: alice-key"]).expect(200);
    assert_eq!(shown.echoed("apikey").as_deref(), Some("alice-key"));
}

#[test]
fn anonymous_stands_for_no_credential_and_never_for_a_wrong_one() {
    let gateway = Gateway::start(
        "
consumers: {guest: {groups: [guests]}}
routes: {all: {paths: [/echo/*], upstream: demo, plugins: {key-auth: {anonymous: guest}}}}
",
    );
    assert_eq!(gateway.get("/echo/").expect(200).echoed("x-consumer-id").as_deref(), Some("guest"));
    gateway.request("GET", "/echo/", &["apikey: wrong"]).expect(401);
    let alice = gateway.request("GET", "/echo/", &["apikey: alice-key"]).expect(200);
    assert_eq!(alice.echoed("x-consumer-id").as_deref(), Some("alice"));
}

#[test]
fn authenticators_go_together_as_written() {
    let gateway = Gateway::start(
        "
routes:
  any:
    paths: [/echo/any]
    upstream: demo
    auth: {any: [key-auth, key-auth#second]}
    plugins: {key-auth: {}, 'key-auth#second': {key_names: [x-second], realm: second}}
  all:
    paths: [/echo/all]
    upstream: demo
    auth: {all: ['key-auth#second', key-auth]}
    plugins: {key-auth: {}, 'key-auth#second': {key_names: [x-second]}}
",
    );
    gateway.request("GET", "/echo/any", &["apikey: alice-key"]).expect(200);
    gateway.request("GET", "/echo/any", &["x-second: bob-key"]).expect(200);
    gateway.request("GET", "/echo/any", &["apikey: wrong", "x-second: bob-key"]).expect(401);
    let none = gateway.get("/echo/any").expect(401);
    assert_eq!(none.headers.iter().filter(|(name, _)| name == "www-authenticate").count(), 2);
    gateway.request("GET", "/echo/all", &["apikey: alice-key"]).expect(401);
    gateway.request("GET", "/echo/all", &["x-second: bob-key"]).expect(401);
    let both = gateway.request("GET", "/echo/all", &["apikey: alice-key", "x-second: bob-key"]).expect(200);
    assert_eq!(both.echoed("x-consumer-id").as_deref(), Some("bob"), "the first named gives the principal");
}

#[test]
fn monitor_records_and_lets_pass() {
    let gateway = Gateway::start(
        "
routes:
  watched:
    paths: [/echo/*]
    upstream: demo
    plugins: {key-auth: {}, acl: {allow: [gold], mode: monitor}}
  off: {paths: [/echo/off], upstream: demo, plugins: {key-auth: {}, acl: {allow: [gold], mode: 'off'}}}
",
    );
    gateway.request("GET", "/echo/", &["apikey: bob-key"]).expect(200);
    let line = &gateway.audit(1)[0];
    let decisions = line["decisions"].as_array().unwrap();
    let acl = decisions.iter().find(|decision| decision["plugin"] == "acl").unwrap();
    assert_eq!((&acl["effect"], &acl["reason"]), (&"would_deny".into(), &"acl_denied".into()));
    assert_eq!(
        (&acl["detail"], &acl["place"]),
        (&"no group is allowed".into(), &"conf/test.yaml:6:29".into())
    );
    gateway.get("/echo/").expect(401);
    gateway.request("GET", "/echo/off", &["apikey: bob-key"]).expect(200);
    let lines = gateway.audit(3);
    let line = lines.iter().find(|line| line["route"] == "off").unwrap();
    assert!(!line["decisions"].to_string().contains("acl"), "{line}");
}

#[test]
fn doors_that_would_stand_open_are_refused_at_load() {
    for (conf, place, why) in [
        (
            "routes: {a: {paths: [/*], upstream: demo, plugins: {key-auth: {on_fault: allow}}}}",
            "routes.a.plugins.key-auth.on_fault",
            "allow",
        ),
        (
            "routes: {a: {paths: [/*], upstream: demo, plugins: {key-auth: {}, acl: {allow: [x], on_fault: allow}}}}\nconsumers: {c: {groups: [x]}}",
            "routes.a.plugins.acl.on_fault",
            "allow",
        ),
        (
            "routes: {a: {paths: [/*], upstream: demo, plugins: {acl: {allow: [x]}}}}\nconsumers: {c: {groups: [x]}}",
            "routes.a",
            "authenticat",
        ),
        (
            "routes: {a: {paths: [/*], upstream: demo, plugins: {key-auth: {mode: monitor}}}}",
            "routes.a.plugins.key-auth",
            "optional",
        ),
        (
            "routes: {a: {paths: [/*], upstream: demo, plugins: {key-auth: {}, 'key-auth#b': {}}}}",
            "routes.a",
            "auth",
        ),
    ] {
        let (code, text) = Gateway::prepare(conf).refused();
        assert_eq!(code, 1, "{conf}: {text}");
        assert!(
            text.contains(place) && text.contains(why) && text.contains("test.yaml:1:"),
            "{conf}: {text}"
        );
    }
}

#[test]
fn conditions_decide_whether_an_entry_runs() {
    let gateway = Gateway::start(
        "
routes:
  writes:
    paths: [/echo/*]
    upstream: demo
    auth: optional
    plugins: {key-auth: {when: 'request.method != \"GET\"'}}
",
    );
    gateway.get("/echo/").expect(200);
    gateway.request("DELETE", "/echo/", &[]).expect(401);
    gateway.request("DELETE", "/echo/", &["apikey: alice-key"]).expect(200);
    let (code, text) = Gateway::prepare(
        "routes: {a: {paths: [/*], upstream: demo, plugins: {ip-restriction: {deny: [10.0.0.1], when: 'request.nothing == 1'}}}}",
    )
    .refused();
    assert_eq!(code, 1);
    assert!(text.contains("when"), "{text}");
}

#[test]
fn a_consumer_has_limits_of_its_own() {
    let gateway = Gateway::start(
        "
consumers:
  carol:
    key-auth: [{key_sha256: KEY(carol-key)}]
    plugins: {request-size-limiting: {allowed_payload_size: 10B}}
routes:
  all:
    paths: [/echo/*]
    upstream: demo
    plugins: {key-auth: {}, request-size-limiting: {allowed_payload_size: 20B}}
",
    );
    for (key, size, status) in
        [("alice-key", 20, 200), ("alice-key", 21, 413), ("carol-key", 10, 200), ("carol-key", 11, 413)]
    {
        let mut client = gateway.connect();
        let body = "x".repeat(size);
        client.send(format!(
            "POST /echo/ HTTP/1.1\r\nHost: a\r\napikey: {key}\r\nContent-Length: {size}\r\n\r\n{body}"
        ));
        assert_eq!(client.response().status, status, "{key} {size}");
    }
}

#[test]
fn decisions_are_explained_to_those_who_may_see_them() {
    let gateway = Gateway::start(
        "
client_ip: {trusted_proxies: [127.0.0.1]}
routes:
  explained:
    paths: [/echo/*]
    upstream: demo
    explain: {header: x-why, allow: [10.1.0.0/16]}
    plugins: {key-auth: {}, acl: {allow: [gold]}}
",
    );
    let refused =
        gateway.request("GET", "/echo/", &["apikey: bob-key", "x-forwarded-for: 10.1.2.3"]).expect(403);
    let why = refused.header("x-why").unwrap();
    let expected = r"^route=explained; key-auth=authenticated conf/test\.yaml:8:15 \d+us; acl=deny acl_denied conf/test\.yaml:8:29 \d+us$";
    assert!(regex::Regex::new(expected).unwrap().is_match(why), "{why}");
    let passed =
        gateway.request("GET", "/echo/", &["apikey: alice-key", "x-forwarded-for: 10.1.2.3"]).expect(200);
    assert!(passed.header("x-why").unwrap().contains("key-auth=authenticated"));
    let other =
        gateway.request("GET", "/echo/", &["apikey: bob-key", "x-forwarded-for: 10.2.2.3"]).expect(403);
    assert_eq!(other.header("x-why"), None);
}

#[test]
fn operators_write_their_own_error_bodies() {
    let prepared = Gateway::prepare(
        "
errors:
  404: {content_type: text/plain, body: 'nothing here'}
  401: {content_type: text/plain, body: 'where no route says more'}
routes:
  own:
    paths: [/echo/*]
    upstream: demo
    plugins: {key-auth: {}}
    errors: {401: {content_type: text/html, file: ../pages/401.html}}
  plain: {paths: [/plain], upstream: demo, plugins: {key-auth: {}}}
",
    );
    prepared.write("../pages/401.html", "<p>log in");
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let answer = gateway.get("/echo/").expect(401);
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert!(answer.header("www-authenticate").is_some());
    assert_eq!(answer.text(), "<p>log in");
    assert_eq!(gateway.get("/plain").expect(401).text(), "where no route says more");
    assert_eq!(gateway.get("/nothing").expect(404).text(), "nothing here");
}

#[test]
fn addresses_are_restricted() {
    let gateway = Gateway::start(
        "
routes:
  closed: {paths: [/echo/closed], upstream: demo, plugins: {ip-restriction: {allow: [10.0.0.0/8]}}}
  open: {paths: [/echo/open], upstream: demo, plugins: {ip-restriction: {allow: [127.0.0.0/8]}}}
",
    );
    gateway.get("/echo/closed").expect(403);
    gateway.request("GET", "/echo/closed", &["x-forwarded-for: 10.1.1.1"]).expect(403);
    gateway.get("/echo/open").expect(200);
}

#[test]
fn an_ipv4_client_of_an_ipv6_listener_is_what_its_address_says() {
    let conf = "
listeners: {both: {address: '[::]:0'}}
client_ip: {trusted_proxies: [TRUSTED]}
routes:
  all: {paths: [/echo/*], upstream: demo}
  near: {paths: [/echo/near], upstream: demo, plugins: {ip-restriction: {allow: [127.0.0.0/8]}}}
";
    for (trusted, named) in [("", "127.0.0.1"), ("127.0.0.1", "203.0.113.9")] {
        let gateway = Gateway::start(&conf.replace("TRUSTED", trusted));
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], gateway.at("listener both").port()));
        let mut client = Client::connect(address);
        let answer = client.request("GET", "/echo/near", &[]).expect(200);
        for name in ["x-real-ip", "x-forwarded-for"] {
            assert_eq!(answer.echoed(name).as_deref(), Some("127.0.0.1"), "{name}");
        }
        assert_eq!(gateway.audit(1)[0]["client"], "127.0.0.1");
        let answer = client.request("GET", "/echo/", &["x-forwarded-for: 203.0.113.9"]).expect(200);
        assert_eq!(answer.echoed("x-real-ip").as_deref(), Some(named), "{trusted}");
    }
}
