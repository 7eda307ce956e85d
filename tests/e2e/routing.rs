//! Which route takes a request, and what the origin gets to see of it.

use crate::{client::Origin, harness::Gateway};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn routes_are_chosen_by_host_path_method_and_headers() {
    let gateway = Gateway::start(
        "
routes:
  echo: {paths: [/echo, /echo/*], upstream: demo}
  only-get: {paths: ['/only/{id}'], methods: [GET, DELETE], plugins: {request-termination: {status_code: 201}}}
  shop: {hosts: [shop.test], paths: [/who], plugins: {request-termination: {status_code: 202}}}
  below: {hosts: ['*.shop.test'], paths: [/who], plugins: {request-termination: {status_code: 203}}}
  v2: {paths: [/version], headers: {x-version: '2'}, plugins: {request-termination: {status_code: 205}}}
",
    );
    let none = gateway.get("/nothing").expect(404);
    assert_eq!(none.reason(), "no_route");
    assert_eq!(none.header("cache-control"), Some("no-store"));
    gateway.get("/echo/x").expect(200);
    gateway.get("/only/7").expect(201);
    gateway.get("/only/").expect(404);
    let refused = gateway.request("POST", "/only/7", &[]).expect(405);
    assert_eq!(refused.reason(), "method_not_allowed");
    let mut allowed: Vec<_> = refused.header("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert!(allowed.contains(&"DELETE") && allowed.contains(&"GET") && !allowed.contains(&"POST"));
    gateway.request("GET", "/who", &["Host: shop.test"]).expect(202);
    gateway.request("GET", "/who", &["Host: SHOP.test:8080"]).expect(202);
    gateway.request("GET", "/who", &["Host: a.b.shop.test"]).expect(203);
    gateway.request("GET", "/who", &["Host: other.test"]).expect(404);
    gateway.request("GET", "/version", &["x-version: 2"]).expect(205);
    gateway.request("GET", "/version", &["x-version: 3"]).expect(404);
    gateway.get("/version").expect(404);
}

#[test]
fn who_gets_past_no_route_is_recorded_with_the_route_whose_path_it_was() {
    let gateway = Gateway::start(
        "
routes:
  only-get: {paths: [/only], methods: [GET], plugins: {request-termination: {status_code: 201}}}
  v2: {paths: [/version], headers: {x-version: '2'}, plugins: {request-termination: {status_code: 205}}}
",
    );
    gateway.request("POST", "/only", &[]).expect(405);
    gateway.get("/version").expect(404);
    gateway.get("/nothing").expect(404);
    let records = gateway.audit(3);
    for (record, reason, route) in [
        (&records[0], "method_not_allowed", Some("the path belongs to route `only-get` (")),
        (&records[1], "no_route", Some("the path belongs to route `v2` (")),
        (&records[2], "no_route", None),
    ] {
        let decision = &record["decisions"][0];
        let said = |field: &str| decision[field].as_str().map(str::to_owned);
        assert_eq!(
            (said("plugin"), said("effect")),
            (Some("palisade".into()), Some("deny".into())),
            "{record}"
        );
        assert_eq!(said("reason").as_deref(), Some(reason), "{record}");
        let detail = said("detail");
        assert_eq!(detail.is_some(), route.is_some(), "{record}");
        let place = |detail: &str| detail.contains(".yaml:");
        assert!(detail.is_none_or(|text| text.starts_with(route.unwrap()) && place(&text)), "{record}");
    }
}

#[test]
fn a_protected_path_has_no_second_spelling() {
    let gateway = Gateway::start(
        "
routes:
  all: {paths: [/*], upstream: demo}
  admin: {paths: [/admin/*], plugins: {request-termination: {status_code: 403}}}
",
    );
    for path in
        ["/admin", "/admin/x", "/a/../admin/x", "//admin/x", "/%61dmin/x", "/./admin", "/x/%2e%2e/admin"]
    {
        assert_eq!(gateway.get(path).status, 403, "{path}");
    }
    for path in ["/ADMIN/x", "/admin;a=1/x", "/admin./x", "/admin%20/x"] {
        assert_eq!(gateway.get(path).expect(400).reason(), "path_ambiguous", "{path}");
    }
    for path in
        ["/admin%2fx", "/a\\..\\admin", "/%252e%252e/admin", "/a/..;/admin", "/a%00", "/%zz", "/%c0%ae"]
    {
        assert_eq!(gateway.get(path).status, 400, "{path}");
    }
    gateway.get("/administrator").expect(404).json();
}

#[test]
fn a_look_alike_of_a_route_is_refused_though_no_route_has_its_path() {
    let gateway = Gateway::start(
        "
routes:
  admin: {paths: [/admin/*], methods: [GET], plugins: {request-termination: {status_code: 204}}}
  Upper: {paths: [/Upper], plugins: {request-termination: {status_code: 204}}}
",
    );
    for path in ["/admin", "/admin/X;y", "/Upper"] {
        gateway.get(path).expect(204);
    }
    for path in ["/Admin", "/ADMIN/x", "/admin;a=1/x", "/admin./x", "/admin%20/x", "/upper", "/UPPER"] {
        assert_eq!(gateway.get(path).expect(400).reason(), "path_ambiguous", "{path}");
    }
    assert_eq!(gateway.request("DELETE", "/Admin", &[]).expect(400).reason(), "path_ambiguous");
    for path in ["/administrator", "/Public;x/y", "/uppe"] {
        assert_eq!(gateway.get(path).expect(404).reason(), "no_route", "{path}");
    }
    assert_eq!(gateway.request("OPTIONS", "*", &[]).expect(404).reason(), "no_route");
}

#[test]
fn the_origin_gets_the_path_that_was_routed() {
    let origin = Origin::start(OK);
    let gateway = Gateway::start(
        &"
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes:
  all: {paths: [/*], upstream: raw}
  v1: {paths: [/v1/*], strip_prefix: /v1, upstream: raw}
"
        .replace("ORIGIN", &origin.address.to_string()),
    );
    for (sent, arrives) in [
        ("/a/../b", "/b"),
        ("//a//b/?x=/../y", "/a/b/?x=/../y"),
        ("/%7euser/%e2%9c%93", "/~user/%E2%9C%93"),
        ("/v1/cart?a=1", "/cart?a=1"),
        ("/v1", "/"),
        ("/v1/", "/"),
        ("/x/../v1/cart", "/cart"),
    ] {
        gateway.get(sent).expect(200);
        let request = origin.received();
        assert_eq!(request.lines().next(), Some(&*format!("GET {arrives} HTTP/1.1")), "{sent}");
    }
    gateway.get("/v1/%2e%2e%2fx").expect(400);
    assert!(origin.is_untouched());
}

#[test]
fn only_the_gateway_says_who_calls() {
    let origin = Origin::start(OK);
    let gateway = Gateway::start(
        &"
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes: {all: {paths: [/*], upstream: raw, plugins: {key-auth: {}}}}
"
        .replace("ORIGIN", &origin.address.to_string()),
    );
    let forged = [
        "X-Consumer-Id: root",
        "x-consumer-groups: admins",
        "x.consumer.id: root",
        "X-Consumer-Custom: root",
        "x-credential-identifier: root",
        "x-forwarded-for: 10.9.9.9",
        "x-forwarded-host: evil.test",
        "x-forwarded-proto: https",
        "x-real-ip: 10.9.9.9",
        "forwarded: for=10.9.9.9",
        "x-original-url: /admin",
        "x-http-method-override: DELETE",
        "proxy: evil",
        "connection: close, x-judged, x-consumer-id",
        "x-judged: 1",
        "x-kept: yes",
        "apikey: alice-key",
    ];
    gateway.request("GET", "/", &forged).expect(200);
    let request = origin.received().to_ascii_lowercase();
    let value = |name: &str| {
        let lines: Vec<_> =
            request.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect();
        assert!(lines.len() < 2, "{request}");
        lines.first().map(|line| (*line).to_owned())
    };
    for absent in ["root", "admins", "10.9.9.9", "evil", "override", "original", "connection:", "alice-key"] {
        assert!(!request.contains(absent), "`{absent}` in {request}");
    }
    assert_eq!(value("x-consumer-id").as_deref(), Some("alice"));
    assert_eq!(value("x-consumer-groups").as_deref(), Some("gold"));
    assert!(value("x-credential-identifier").is_some());
    assert_eq!(value("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    assert_eq!(value("x-real-ip").as_deref(), Some("127.0.0.1"));
    assert_eq!(value("x-forwarded-proto").as_deref(), Some("http"));
    assert_eq!(value("x-forwarded-host").as_deref(), Some("gateway.test"));
    assert_eq!(value("x-forwarded-port"), Some(gateway.address().port().to_string()));
    assert_eq!(value("x-kept").as_deref(), Some("yes"));
    // What was judged cannot be taken away again by naming it in `Connection`.
    assert_eq!(value("x-judged").as_deref(), Some("1"));
    let id = gateway.audit(1)[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(value("x-request-id"), Some(id));
}

#[test]
fn a_trusted_proxy_vouches_for_its_client() {
    let gateway = Gateway::start(
        "
client_ip: {trusted_proxies: [127.0.0.0/8]}
routes: {echo: {paths: [/echo], upstream: demo, plugins: {ip-restriction: {deny: [10.9.9.9]}}}}
",
    );
    let answer = gateway.request("GET", "/echo", &["x-forwarded-for: 10.9.9.9, 10.1.1.1"]).expect(200);
    assert_eq!(answer.echoed("x-real-ip").as_deref(), Some("10.1.1.1"));
    gateway.request("GET", "/echo", &["x-forwarded-for: 10.1.1.1, 10.9.9.9"]).expect(403);
    for (said, told) in
        [("https", "https"), ("HTTPS", "https"), ("http", "http"), ("ftp", "http"), ("https, http", "http")]
    {
        let said = format!("x-forwarded-proto: {said}");
        let answer = gateway.request("GET", "/echo", &["x-forwarded-for: 10.1.1.1", &said]).expect(200);
        assert_eq!(answer.echoed("x-forwarded-proto").as_deref(), Some(told), "{said}");
    }
}

#[test]
fn the_origin_is_told_the_chain_as_verified_and_nothing_else() {
    let gateway = Gateway::start(
        "
client_ip: {trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]}
routes: {echo: {paths: [/echo], upstream: demo}}
",
    );
    for (sent, client, chain) in [
        ("203.0.113.9", "203.0.113.9", "203.0.113.9, 127.0.0.1"),
        ("198.51.100.7, 203.0.113.9, 10.0.0.2", "203.0.113.9", "203.0.113.9, 10.0.0.2, 127.0.0.1"),
        ("198.51.100.7, unknown, 10.0.0.2", "10.0.0.2", "10.0.0.2, 127.0.0.1"),
        ("unknown", "127.0.0.1", "127.0.0.1"),
    ] {
        let sent = format!("x-forwarded-for: {sent}");
        let fields =
            [&sent, "x-real-ip: 192.0.2.1", "forwarded: for=192.0.2.2", "x-forwarded-host: evil.test"];
        let answer = gateway.request("GET", "/echo", &fields).expect(200);
        let told = |name: &str| answer.echoed(name).unwrap_or_default();
        assert_eq!((told("x-real-ip").as_str(), told("x-forwarded-for").as_str()), (client, chain), "{sent}");
        assert_eq!((told("x-forwarded-host").as_str(), told("forwarded").as_str()), ("gateway.test", ""));
    }
}

#[test]
fn another_header_may_name_the_client_and_then_no_other_does() {
    let gateway = Gateway::start(
        "
client_ip: {trusted_proxies: [127.0.0.0/8], header: x-client}
routes: {echo: {paths: [/echo], upstream: demo}}
",
    );
    let fields = ["x-client: 203.0.113.9", "x-forwarded-for: 198.51.100.7"];
    let answer = gateway.request("GET", "/echo", &fields).expect(200);
    assert_eq!(answer.echoed("x-real-ip").as_deref(), Some("203.0.113.9"));
    assert_eq!(answer.echoed("x-forwarded-for").as_deref(), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(answer.echoed("x-client"), None);
    assert_eq!(gateway.audit(1)[0]["client"], "203.0.113.9");
    let answer = gateway.request("GET", "/echo", &fields[1..]).expect(200);
    assert_eq!(answer.echoed("x-real-ip").as_deref(), Some("127.0.0.1"));
}

#[test]
fn an_id_of_the_clients_own_reaches_the_origin_only_where_it_is_taken() {
    let gateway = Gateway::start(
        "
routes:
  taken: {paths: [/echo/taken], upstream: demo, plugins: {correlation-id: {header_name: x-trace, trust_client: true}}}
  made: {paths: [/echo/made], upstream: demo, plugins: {correlation-id: {header_name: x-trace}}}
  none: {paths: [/echo/none], upstream: demo}
",
    );
    let sent = |path: &str| gateway.request("GET", path, &["x-trace: mine", "x.trace: mine"]).expect(200);
    let taken = sent("/echo/taken");
    assert_eq!((taken.echoed("x-trace").as_deref(), taken.header("x-trace")), (Some("mine"), Some("mine")));
    let made = sent("/echo/made");
    assert_eq!(made.echoed("x-trace").as_deref(), made.header("x-trace"));
    assert_ne!(made.header("x-trace"), Some("mine"));
    let none = sent("/echo/none");
    assert_eq!((none.echoed("x-trace"), none.echoed("x.trace")), (None, None));
}
