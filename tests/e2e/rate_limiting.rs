//! Several limits on one route.

use crate::{client::Response, harness::Gateway};

fn all<'a>(answer: &'a Response, name: &str) -> Vec<&'a str> {
    let fields = answer.headers.iter().filter(|(key, _)| key == name);
    let mut values: Vec<_> = fields.map(|(_, value)| value.as_str()).collect();
    values.sort_unstable();
    values
}

/// The names of the limits in a list of fields.
fn limits(answer: &Response) -> Vec<String> {
    let name = |field: &str| field.split(';').take(2).collect::<Vec<_>>().join(";");
    all(answer, "ratelimit").into_iter().map(name).collect()
}

#[test]
fn two_labels_on_a_route_both_limit_and_both_tell() {
    let gateway = Gateway::start(
        "
routes:
  any:
    paths: [/echo/*]
    upstream: demo
    plugins:
      rate-limiting: {hour: 4, limit_by: ip}
      rate-limiting#user: {hour: 2, limit_by: 'header:x-user'}
",
    );
    let ask = |user: &str| gateway.request("GET", "/echo/", &[&format!("x-user: {user}")]);
    let first = ask("a").expect(200);
    assert_eq!(all(&first, "ratelimit-policy"), ["\"hour\";q=4;w=3600", "\"user-hour\";q=2;w=3600"]);
    assert_eq!(limits(&first), ["\"hour\";r=3", "\"user-hour\";r=1"]);
    ask("a").expect(200);
    // Refused by the second one, and counted by the first, as its page says.
    let refused = ask("a").expect(429);
    assert_eq!(refused.reason(), "rate_limited");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(limits(&refused), ["\"hour\";r=1", "\"user-hour\";r=0"]);
    ask("b").expect(200);
    // Refused by the first one; the second is not asked and has nothing to tell.
    let refused = ask("b").expect(429);
    assert_eq!(limits(&refused), ["\"hour\";r=0"]);
    let lines = gateway.audit(5);
    let refusing: Vec<_> = lines
        .iter()
        .filter(|line| line["status"] == 429)
        .map(|line| line["decisions"].to_string().contains("rate-limiting#user"))
        .collect();
    assert_eq!(refusing.len(), 2);
    assert!(refusing.contains(&true) && refusing.contains(&false), "{lines:#?}");
}
