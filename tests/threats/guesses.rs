//! Guesses: however a guesser changes his requests, his address has so many failures; and nobody is locked out by others.

use crate::{client::Response, gate::Gate};

const CONF: &str = "
listeners: {h2: {address: 127.0.0.1:0, http2: true}}
client_ip: {trusted_proxies: [127.0.0.0/8], header: x-forwarded-for}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
plugins:
  credential-guard:
    ip: {failures: 4, window: 24h}
    credential: {failures: 2, window: 24h}
    max_lockout: 24h
routes:
  open: {paths: [/*], upstream: raw}
  key: {paths: [/admin/*], upstream: raw, plugins: {key-auth: {key_in_query: true, key_in_cookie: true}}}
  basic: {paths: [/login/*], upstream: raw, plugins: {basic-auth: {}}}
  any:
    paths: [/any/*]
    upstream: raw
    auth: {any: [key-auth, basic-auth]}
    plugins: {key-auth: {anonymous: bob}, basic-auth: {}}
";

/// The statuses of requests from one client.
fn statuses(gate: &Gate, client: &str, requests: &[&str]) -> Vec<u16> {
    requests.iter().map(|request| ask(gate, client, request).status).collect()
}

/// A request line with, after `|`, further header fields.
fn ask(gate: &Gate, client: &str, request: &str) -> Response {
    let (line, fields) = request.split_once('|').unwrap_or((request, ""));
    let fields = fields.split('|').filter(|field| !field.is_empty());
    let fields: String = fields.map(|field| format!("{field}\r\n")).collect();
    let head = format!("{line} HTTP/1.1\r\nHost: a\r\nx-forwarded-for: {client}\r\n{fields}\r\n");
    gate.answer(head).0
}

#[test]
fn a_guess_in_any_disguise_is_one() {
    // Clients here try the same keys.
    let gate = Gate::start(&CONF.replace("failures: 2", "failures: 50"));
    for (client, requests) in [
        // Another path, method, place and name each time.
        (
            "192.0.2.1",
            &[
                "GET /admin/a|apikey: 1",
                "POST /admin/b|APIKEY: 2|content-length: 0",
                "GET /admin/c?apikey=3",
                "GET /admin/d|cookie: apikey=4",
            ][..],
        ),
        // Ways of writing that are none.
        (
            "192.0.2.2",
            &[
                "GET /admin/a|apikey: ",
                "GET /admin/a|apikey: x|apikey: y",
                "GET /admin/a?apikey=alice-key|apikey: alice-key",
                "GET /admin/a|apikey: alice-key, x",
            ],
        ),
        (
            "192.0.2.3",
            &[
                "GET /login/a|authorization: Basic bm9ib2R5Ong=",
                "GET /login/a|authorization: bAsIc   bm9ib2R5Onk=",
                "GET /login/a|authorization: Basic ?",
                "GET /login/a|authorization: Basic YTpi|authorization: Basic YTpj",
            ],
        ),
        // Where a request without a credential is anonymous, and another authenticator is asked first.
        (
            "192.0.2.4",
            &[
                "GET /any/a|apikey: 1",
                "GET /any/a|authorization: Basic bm9ib2R5OjE=",
                "GET /any/a|apikey: 2|authorization: Basic bm9ib2R5OjI=",
                "GET /any/a|apikey: 3",
            ],
        ),
        // A client cannot say where it comes from; what the proxy does not vouch for is not believed.
        (
            "203.0.113.9, 192.0.2.5",
            &[
                "GET /admin/a|apikey: 1|x-real-ip: 198.51.100.1",
                "GET /admin/a|apikey: 2|true-client-ip: 198.51.100.2",
                "GET /admin/a|apikey: 3|forwarded: for=198.51.100.3",
                "GET /admin/a|apikey: 4|x-client-ip: 198.51.100.4",
            ],
        ),
        // An IPv6 network has many addresses, and IPv4 in IPv6 is IPv4.
        ("2001:db8::1", &["GET /admin/a|apikey: 1", "GET /admin/a|apikey: 2"]),
        ("2001:db8::2:3:4:5", &["GET /admin/a|apikey: 3", "GET /admin/a|apikey: 4"]),
        ("::ffff:192.0.2.6", &["GET /admin/a|apikey: 1", "GET /admin/a|apikey: 2"]),
        ("192.0.2.6", &["GET /admin/a|apikey: 3", "GET /admin/a|apikey: 4"]),
    ] {
        let found = statuses(&gate, client, requests);
        assert!(found.iter().all(|status| *status == 401), "{client}: {found:?}");
    }
    for client in
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "2001:db8::9", "192.0.2.6"]
    {
        let refused = ask(&gate, client, "GET /admin/a|apikey: alice-key");
        assert_eq!((refused.status, refused.reason()), (429, "too_many_failures".to_owned()), "{client}");
        let basic = ask(&gate, client, "GET /login/a|authorization: Basic bm9ib2R5Ong=");
        assert_eq!(basic.status, 429, "{client}");
    }
    // What must still work: others, other networks, and who sends no credential.
    assert_eq!(ask(&gate, "192.0.2.7", "GET /admin/a|apikey: alice-key").status, 200);
    assert_eq!(ask(&gate, "2001:db8:0:1::1", "GET /admin/a|apikey: alice-key").status, 200);
    assert_eq!(statuses(&gate, "192.0.2.1", &["GET /x", "GET /any/a", "GET /admin/a"]), [200, 200, 401]);
}

#[test]
fn the_answer_tells_nothing_of_what_was_wrong() {
    let gate = Gate::start(CONF);
    let told = |client: &str, requests: &[&str]| {
        let answers: Vec<_> = requests.iter().map(|request| ask(&gate, client, request)).collect();
        let last = answers.last().unwrap();
        let mut problem = last.json();
        assert_eq!(last.status, 429, "{problem}");
        assert!(last.header("www-authenticate").is_none());
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    let same = "GET /login/a|authorization: Basic bm9ib2R5Ong=";
    let credential = told("198.51.100.1", &[same, same, same]);
    let others: Vec<String> = (0..5).map(|number| format!("GET /admin/a|apikey: {number}")).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    assert_eq!(told("198.51.100.2", &others), credential);
}
