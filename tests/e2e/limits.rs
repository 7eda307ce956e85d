//! How often one caller may call: what is counted together, what a client is told, what survives.

use crate::harness::Gateway;

/// Statuses of as many requests.
fn statuses(gateway: &Gateway, target: &str, headers: &[&str], times: usize) -> Vec<u16> {
    (0..times).map(|_| gateway.request("GET", target, headers).status).collect()
}

#[test]
fn addresses_are_counted_before_anybody_has_proved_anything() {
    let gateway = Gateway::start(
        "
routes:
  a: {paths: [/echo/a], upstream: demo, plugins: {key-auth: {}, 'rate-limiting#burst': {day: 2, limit_by: ip}}}
  b: {paths: [/echo/b], upstream: demo, plugins: {'rate-limiting#burst': {day: 2, limit_by: ip}}}
",
    );
    assert_eq!(statuses(&gateway, "/echo/a", &["apikey: wrong"], 3), [401, 401, 429]);
    assert_eq!(statuses(&gateway, "/echo/a", &["apikey: alice-key"], 1), [429]);
    let passed = gateway.get("/echo/b").expect(200);
    assert_eq!(passed.header("ratelimit-policy"), Some("\"burst-day\";q=2;w=86400"));
    assert!(passed.header("ratelimit").unwrap().starts_with("\"burst-day\";r=1;t="));
    gateway.get("/echo/b").expect(200);
    let refused = gateway.get("/echo/b").expect(429);
    assert_eq!(refused.reason(), "rate_limited");
    assert!(refused.header("ratelimit").unwrap().starts_with("\"burst-day\";r=0;t="));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((86_400..=86_400 * 6 / 5).contains(&wait), "{wait}");
}

#[test]
fn an_entry_counts_where_it_is_written() {
    let gateway = Gateway::start(
        "
plugins: {rate-limiting: {day: 3, limit_by: ip}}
routes:
  a: {paths: [/echo/a], upstream: demo}
  b: {paths: [/echo/b], upstream: demo}
",
    );
    assert_eq!(statuses(&gateway, "/echo/a", &[], 2), [200, 200]);
    // Across routes, and for what no route takes.
    assert_eq!(statuses(&gateway, "/nowhere", &[], 1), [404]);
    assert_eq!(statuses(&gateway, "/echo/b", &[], 1), [429]);
    assert_eq!(statuses(&gateway, "/nowhere", &[], 1), [429]);
}

const BY_CONSUMER: &str = "
routes:
  a: {paths: [/echo/a], upstream: demo, plugins: {key-auth: {}, rate-limiting: {day: 2, limit_by: consumer}}}
  b: {paths: [/echo/b], upstream: demo, plugins: {key-auth: {}, rate-limiting: {day: 2, limit_by: consumer}}}
consumers:
  partner: {key-auth: [{key_sha256: KEY(partner-key)}], plugins: {rate-limiting: {day: 3}}}
  other: {key-auth: [{key_sha256: KEY(other-key)}], plugins: {rate-limiting: {day: 3}}}
";

#[test]
fn a_consumer_may_have_limits_of_its_own_that_hold_on_all_routes() {
    let gateway = Gateway::start(BY_CONSUMER);
    let alice = &["apikey: alice-key"];
    assert_eq!(statuses(&gateway, "/echo/a", alice, 3), [200, 200, 429]);
    assert_eq!(statuses(&gateway, "/echo/b", alice, 3), [200, 200, 429]);
    let partner = &["apikey: partner-key"];
    assert_eq!(statuses(&gateway, "/echo/a", partner, 2), [200, 200]);
    assert_eq!(statuses(&gateway, "/echo/b", partner, 2), [200, 429]);
    let other = &["apikey: other-key"];
    assert_eq!(statuses(&gateway, "/echo/b", other, 4), [200, 200, 200, 429]);
}

#[test]
fn a_reload_keeps_counts_and_a_changed_number_applies_to_them() {
    let conf = |number: usize| {
        format!(
            "routes: {{a: {{paths: [/echo/a], upstream: demo, plugins: {{rate-limiting: {{day: {number}, limit_by: ip}}}}}}}}\n"
        )
    };
    let gateway = Gateway::start(&conf(2));
    assert_eq!(statuses(&gateway, "/echo/a", &[], 3), [200, 200, 429]);
    gateway.rewrite(&conf(3));
    gateway.hangup("configuration 2 is serving");
    assert_eq!(statuses(&gateway, "/echo/a", &[], 2), [200, 429]);
    gateway.rewrite(&conf(1));
    gateway.hangup("configuration 3 is serving");
    assert_eq!(statuses(&gateway, "/echo/a", &[], 1), [429]);
}

#[test]
fn in_monitor_mode_it_is_only_recorded() {
    let gateway = Gateway::start(
        "routes: {a: {paths: [/echo/a], upstream: demo, plugins: {rate-limiting: {mode: monitor, day: 1, limit_by: ip}}}}\n",
    );
    assert_eq!(statuses(&gateway, "/echo/a", &[], 3), [200; 3]);
    let would = gateway.audit(3).iter().filter(|line| line.to_string().contains("would_deny")).count();
    assert_eq!(would, 2);
}
