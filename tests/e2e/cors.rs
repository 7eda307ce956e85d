//! Browsers: preflights, refusals that a page may read, redirects.

use crate::harness::Gateway;

const CONF: &str = "
routes:
  api:
    paths: [/echo/*]
    methods: [GET]
    upstream: demo
    plugins: {key-auth: {}, cors: {origins: [https://app.test], headers: [apikey]}}
  plain: {paths: [/plain], methods: [GET], upstream: demo}
";
const PREFLIGHT: [&str; 3] = [
    "origin: https://app.test",
    "access-control-request-method: GET",
    "access-control-request-headers: apikey",
];

#[test]
fn preflights_are_answered_before_anybody_authenticates() {
    let gateway = Gateway::start(CONF);
    let answer = gateway.request("OPTIONS", "/echo/x", &PREFLIGHT).expect(204);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.test"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("apikey"));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("GET"));
    let strange = gateway.request(
        "OPTIONS",
        "/echo/x",
        &["origin: https://evil.test", "access-control-request-method: GET"],
    );
    assert_eq!(strange.header("access-control-allow-origin"), None);
    gateway.request("OPTIONS", "/echo/x", &[]).expect(405);
    gateway.request("OPTIONS", "/plain", &PREFLIGHT).expect(405);
    let line = gateway.audit(4).into_iter().find(|line| line["status"] == 204).unwrap();
    assert_eq!(line["route"], "api");
}

#[test]
fn a_refusal_can_be_read_by_the_pages_that_may_call() {
    let gateway = Gateway::start(CONF);
    let refused = gateway.request("GET", "/echo/x", &["origin: https://app.test"]).expect(401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.test"));
    assert!(refused.header("vary").unwrap().to_ascii_lowercase().contains("origin"));
    let passed =
        gateway.request("GET", "/echo/x", &["origin: https://app.test", "apikey: alice-key"]).expect(200);
    assert_eq!(passed.header("access-control-allow-origin"), Some("https://app.test"));
    let strange = gateway.request("GET", "/echo/x", &["origin: https://evil.test"]).expect(401);
    assert_eq!(strange.header("access-control-allow-origin"), None);
}

#[test]
fn everywhere_entries_also_decorate_what_no_route_took() {
    let gateway = Gateway::start(
        "
plugins: {cors: {origins: ['*']}, correlation-id: {}, response-headers: {}}
routes: {echo: {paths: [/echo/*], upstream: demo}}
",
    );
    let nothing = gateway.request("GET", "/nothing", &["origin: https://any.test"]).expect(404);
    assert_eq!(nothing.header("access-control-allow-origin"), Some("*"));
    assert_eq!(nothing.header("x-content-type-options"), Some("nosniff"));
    let id = nothing.header("x-request-id").unwrap().to_owned();
    assert_eq!(gateway.audit(1)[0]["id"], id);
}

#[test]
fn redirects_and_terminations_answer_by_themselves() {
    let gateway = Gateway::start(
        "
routes:
  moved: {paths: [/old/*], plugins: {redirect: {location: 'https://new.test{path}{query}', status: 301}}}
  secure: {paths: [/echo/*], upstream: demo, plugins: {redirect: {to: https, port: 8443}}}
  gone: {paths: [/gone], plugins: {request-termination: {status_code: 410, message: closed}}}
",
    );
    let moved = gateway.get("/x/../old/%61?b=c").expect(301);
    assert_eq!(moved.header("location"), Some("https://new.test/old/a?b=c"));
    let secure = gateway.get("/echo/a").expect(308);
    assert_eq!(secure.header("location"), Some("https://gateway.test:8443/echo/a"));
    assert!(gateway.get("/gone").expect(410).text().contains("closed"));
}
