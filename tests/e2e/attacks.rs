//! What OWASP's API Security Top 10 (2023) describes, tried against the examples: API1 broken object level authorization,
//! API3 broken object property level authorization, API4 unrestricted resource consumption, API5 broken function level
//! authorization, API8 security misconfiguration. Beside each attack stands what must still work.

use crate::{
    client::{Response, head},
    examples::{named, with_token},
    harness::Gateway,
};

const JSON: &str = "Content-Type: application/json";

/// Sends a body of JSON, with a header that says who is calling.
fn send(gateway: &Gateway, method: &str, target: &str, who: &str, body: &str) -> Response {
    let length = format!("Content-Length: {}", body.len());
    let mut client = gateway.connect();
    client.send(head(method, target, &[who, JSON, &length])).send(body);
    client.response()
}

/// Asks until it is refused as too often, more often than any limit of a minute twice: that may end in between.
fn until_limited(gateway: &Gateway, path: &str, who: &str) {
    let mut client = gateway.connect();
    client.request("GET", path, &[who]).expect(200);
    let limited = (0..300).any(|_| client.request("GET", path, &[who]).status == 429);
    assert!(limited, "{path}");
}

/// What a response of any example must not tell.
fn tells_nothing(answer: &Response) {
    for name in ["server", "x-powered-by", "x-aspnet-version"] {
        assert_eq!(answer.header(name), None, "{answer:?}");
    }
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
    for word in ["panicked", ".rs:", "127.0.0.1", "axum", "palisade"] {
        assert!(!answer.text().contains(word), "{answer:?}");
    }
}

mod retail_shop {
    use super::*;

    const CAROL: &str = "apikey: shop-key-of-carol";
    const DAVE: &str = "apikey: shop-key-of-dave";
    const STAFF: &str = "apikey: shop-key-of-warehouse";

    #[test]
    fn api1_orders_and_carts_of_others_are_out_of_reach() {
        let gateway = named("retail-shop");
        send(&gateway, "POST", "/cart", CAROL, "{\"product\":1}").expect(201);
        let order = send(&gateway, "POST", "/orders", CAROL, "").expect(201).json();
        let own = format!("/orders/{}", order["id"]);
        gateway.request("GET", &own, &[CAROL]).expect(200);
        gateway.request("GET", &own, &[DAVE]).expect(404);
        // Nor by naming her, in the query or as the gateway would.
        let named = gateway.request("GET", "/orders?consumer=carol", &[DAVE]).expect(403);
        assert_eq!(named.reason(), "ownership_denied");
        gateway.request("GET", "/orders?consumer=dave&consumer=carol", &[DAVE]).expect(403);
        gateway.request("GET", &own, &[DAVE, "X-Consumer-ID: carol"]).expect(404);
        gateway.request("GET", "/orders?consumer=carol", &[CAROL]).expect(200);
        gateway.request("GET", "/orders?consumer=carol", &[STAFF]).expect(200);
    }

    #[test]
    fn api3_an_order_does_not_say_who_ordered_and_is_written_with_known_fields_alone() {
        let gateway = named("retail-shop");
        let cart = send(&gateway, "POST", "/cart", CAROL, "{\"product\":1}").expect(201).json();
        assert_eq!((cart.get("consumer"), cart["items"][0]["product"].as_u64()), (None, Some(1)));
        send(&gateway, "POST", "/orders", CAROL, "").expect(201);
        let orders = gateway.request("GET", "/orders", &[CAROL]).expect(200).json();
        assert!(orders["orders"][0]["total_cents"].is_u64() && orders["orders"][0].get("consumer").is_none());
        assert_eq!(gateway.request("GET", "/cart", &[STAFF]).expect(200).json()["consumer"], "warehouse");
        // Mass assignment, and a name that two readers would read differently.
        send(&gateway, "POST", "/cart", CAROL, "{\"product\":1,\"price_cents\":1}").expect(400);
        let twice = send(&gateway, "POST", "/cart", CAROL, "{\"quantity\":1,\"product\":1,\"quantity\":99}");
        assert_eq!(twice.expect(400).reason(), "json_name_twice");
    }

    #[test]
    fn api4_bodies_and_requests_are_bounded() {
        let gateway = named("retail-shop");
        let deep = format!("{}1{}", "[".repeat(50), "]".repeat(50));
        assert_eq!(send(&gateway, "POST", "/cart", CAROL, &deep).expect(400).reason(), "json_depth");
        let long = format!("{{\"product\":\"{}\"}}", "x".repeat(40_000));
        send(&gateway, "POST", "/cart", CAROL, &long).expect(413);
        until_limited(&gateway, "/cart", DAVE);
    }

    #[test]
    fn api5_customers_do_not_do_what_is_for_staff() {
        let gateway = named("retail-shop");
        for (method, path) in [("PUT", "/products/1"), ("DELETE", "/products/1"), ("POST", "/products")] {
            gateway.request(method, path, &[]).expect(401);
            let refused = gateway.request(method, path, &[CAROL]).expect(403);
            assert_eq!(refused.reason(), "rbac_denied", "{method}");
            // The origin has no such method; the gateway let it through.
            gateway.request(method, path, &[STAFF]).expect(405);
        }
        // Methods and paths that nobody was granted, and a way to write one as another.
        gateway.request("DELETE", "/orders/1", &[CAROL]).expect(403);
        gateway.request("GET", "/cart", &["apikey: shop-key-of-partner"]).expect(403);
        gateway.request("GET", "/products/1", &["X-HTTP-Method-Override: DELETE"]).expect(200);
        assert!(matches!(gateway.request("DELETE", "/x/..%2fproducts/1", &[CAROL]).status, 400..=404));
    }

    #[test]
    fn api8_answers_tell_nothing_of_what_runs_and_other_sites_read_none() {
        let gateway = named("retail-shop");
        for (method, path) in
            [("GET", "/products/1"), ("GET", "/products/zzz"), ("GET", "/orders"), ("TRACE", "/products/1")]
        {
            tells_nothing(&gateway.request(method, path, &[]));
        }
        let other = gateway.request("GET", "/products/1", &["Origin: https://evil.example"]);
        assert_eq!(other.header("access-control-allow-origin"), None);
        gateway.request("GET", "/products?category=%27%20or%201%3D1--", &[]).expect(403);
    }
}

mod patient_records {
    use super::*;

    const MAY: &str = "x-clinic-key: clinic-key-of-dr-may";
    const RECEPTION: &str = "x-clinic-key: clinic-key-of-reception";
    const ALICE: &str = "x-clinic-key: clinic-key-of-alice";

    #[test]
    fn api1_patients_see_their_own_record_and_who_tries_many_is_locked_out() {
        let gateway = named("patient-records");
        gateway.request("GET", "/profiles/alice", &[ALICE]).expect(200);
        // The same for what there is and what there is not.
        for name in ["bob", "nobody"] {
            let refused = gateway.request("GET", &format!("/profiles/{name}"), &[ALICE]).expect(404);
            assert_eq!(refused.reason(), "ownership_denied");
        }
        for name in 0..10 {
            gateway.request("GET", &format!("/profiles/patient-{name}"), &[ALICE]);
        }
        let locked = gateway.request("GET", "/profiles/alice", &[ALICE]).expect(429);
        assert_eq!(locked.reason(), "ownership_lockout");
        gateway.request("GET", "/profiles/bob", &[MAY]).expect(200);
    }

    #[test]
    fn api3_the_reception_sees_who_and_not_what_about() {
        let gateway = named("patient-records");
        let record = "{\"display_name\":\"Alice Example\",\"bio\":\"NHS 943 476 5919, asthma\"}";
        // The origin lets each change their own alone; it stands for the one that is asked.
        send(&gateway, "PUT", "/profiles/dr-may", MAY, record).expect(200);
        let seen = gateway.request("GET", "/profiles/dr-may", &[MAY]).expect(200).json();
        assert_eq!(seen["bio"], "NHS 943 476 5919, asthma");
        let seen = gateway.request("GET", "/profiles/dr-may", &[RECEPTION]).expect(200).json();
        assert_eq!((&seen["display_name"], &seen["bio"]), (&"Alice Example".into(), &"****".into()));
        assert!(seen.get("changed_by").is_none(), "{seen}");
    }

    #[test]
    fn api4_records_are_small_and_not_read_in_bulk() {
        let gateway = named("patient-records");
        let long = format!("{{\"display_name\":\"{}\"}}", "x".repeat(300 << 10));
        let mut client = gateway.connect();
        let length = format!("Content-Length: {}", long.len());
        client.send(head("PUT", "/profiles/alice", &[MAY, JSON, &length]));
        client.response().expect(413);
        until_limited(&gateway, "/profiles/bob", RECEPTION);
    }

    #[test]
    fn api5_only_physicians_write() {
        let gateway = named("patient-records");
        for who in [RECEPTION, ALICE] {
            let refused =
                send(&gateway, "PUT", "/profiles/alice", who, "{\"display_name\":\"x\"}").expect(403);
            assert_eq!(refused.reason(), "rbac_denied");
        }
        gateway.request("DELETE", "/profiles/alice", &[MAY]).expect(405);
        gateway.request("GET", "/profiles/alice/export", &[MAY]).expect(404);
    }

    #[test]
    fn api8_nothing_is_kept_by_caches_and_errors_tell_nothing() {
        let gateway = named("patient-records");
        let seen = gateway.request("GET", "/profiles/alice", &[MAY]).expect(200);
        assert_eq!(seen.header("cache-control"), Some("no-store"));
        for (method, path) in [("GET", "/profiles/alice"), ("GET", "/admin"), ("TRACE", "/profiles/alice")] {
            tells_nothing(&gateway.request(method, path, &[]));
        }
        send(&gateway, "PUT", "/profiles/alice", MAY, "{\"bio\":\"<script>alert(1)</script>\"}").expect(403);
    }
}

mod social_profiles {
    use super::*;

    const ALICE: &str = "apikey: social-key-of-alice";
    const BOB: &str = "apikey: social-key-of-bob";
    const PARTNER: &str = "apikey: social-key-of-partner";

    #[test]
    fn api1_nobody_changes_the_profile_of_another() {
        let gateway = named("social-profiles");
        let change = "{\"display_name\":\"Mallory\"}";
        let refused = send(&gateway, "PUT", "/profiles/alice", BOB, change).expect(403);
        assert_eq!(refused.reason(), "ownership_denied");
        send(&gateway, "PUT", "/profiles/%61lice", BOB, change).expect(403);
        send(&gateway, "PUT", "/profiles/bob", BOB, "{\"display_name\":\"Bob\"}").expect(200);
        assert_eq!(gateway.get("/profiles/alice").expect(200).json()["display_name"], "Alice Example");
    }

    #[test]
    fn api3_what_people_write_is_shown_without_what_nobody_should_see() {
        let gateway = named("social-profiles");
        let change =
            "{\"display_name\":\"Alice\",\"bio\":\"mail alice@example.com, card 4111 1111 1111 1111\"}";
        send(&gateway, "PUT", "/profiles/alice", ALICE, change).expect(200);
        let seen = gateway.get("/profiles/alice").expect(200).json();
        assert_eq!(seen["bio"], "mail ****, card **** **** **** 1111");
        assert!(seen.get("changed_by").is_none(), "{seen}");
        send(&gateway, "PUT", "/profiles/alice", ALICE, "{\"display_name\":\"A\",\"verified\":true}")
            .expect(400);
    }

    #[test]
    fn api4_changes_are_few_and_small() {
        let gateway = named("social-profiles");
        let long = format!("{{\"display_name\":\"A\",\"bio\":\"{}\"}}", "x".repeat(3000));
        let refused = send(&gateway, "PUT", "/profiles/alice", ALICE, &long).expect(400);
        assert_eq!(refused.reason(), "json_string_length");
        let change = || send(&gateway, "PUT", "/profiles/alice", ALICE, "{\"display_name\":\"A\"}");
        change().expect(200);
        // A few in a minute, and not many in an hour.
        assert!((0..25).any(|_| change().status == 429));
    }

    #[test]
    fn api5_what_is_for_partners_is_not_for_users() {
        let gateway = named("social-profiles");
        // The origin refuses it, because it lets each change their own alone: the gateway let the partner through.
        let partner =
            send(&gateway, "PUT", "/profiles/alice", PARTNER, "{\"display_name\":\"A\"}").expect(403);
        assert_eq!(partner.reason(), "not_your_profile");
        let user = send(&gateway, "PUT", "/profiles/alice", BOB, "{\"display_name\":\"A\"}").expect(403);
        assert_eq!(user.reason(), "ownership_denied");
        for method in ["DELETE", "PATCH", "POST"] {
            gateway.request(method, "/profiles/alice", &[ALICE]).expect(405);
        }
    }

    #[test]
    fn api8_other_sites_neither_read_nor_write() {
        let gateway = named("social-profiles");
        tells_nothing(&gateway.get("/profiles/alice"));
        tells_nothing(&gateway.get("/admin"));
        for origin in ["https://evil.example", "https://app.example.com.evil.example", "null"] {
            let origin = format!("Origin: {origin}");
            let read = gateway.request("GET", "/profiles/alice", &[&origin]);
            assert_eq!(read.header("access-control-allow-origin"), None);
            let body = "{\"display_name\":\"B\"}";
            let length = format!("Content-Length: {}", body.len());
            let mut client = gateway.connect();
            client.send(head("PUT", "/profiles/bob", &[BOB, JSON, &origin, &length])).send(body);
            client.response().expect(403);
        }
        let own = gateway.request("GET", "/profiles/alice", &["Origin: https://app.example.com"]);
        assert_eq!(own.header("access-control-allow-origin"), Some("https://app.example.com"));
    }
}

mod payments {
    use super::*;

    fn token(claims: &str) -> String {
        with_token(&format!("authorization: Bearer TOKEN({claims})"))
    }

    fn acme(scope: &str) -> String {
        token(&format!("{{\"tenant\":\"acme\",\"scope\":\"{scope}\"}}"))
    }

    #[test]
    fn api1_a_tenant_pays_and_looks_for_itself_alone() {
        let gateway = named("payments");
        let writer = acme("payments:write payments:read");
        for body in ["{\"tenant\":\"others\"}", "{\"amount\":1}"] {
            let refused = send(&gateway, "POST", "/orders", &writer, body).expect(403);
            assert_eq!(refused.reason(), "ownership_denied", "{body}");
        }
        for body in ["{\"tenant\":\"acme\",\"tenant\":\"others\"}", "{\"tenant\":[\"acme\",\"others\"]}"] {
            let refused = send(&gateway, "POST", "/orders", &writer, body).expect(400);
            assert_eq!(refused.reason(), "ownership_unreadable", "{body}");
        }
        // The origin has an empty cart: it was asked.
        send(&gateway, "POST", "/orders", &writer, "{\"tenant\":\"acme\"}").expect(409);
        gateway.request("GET", "/orders?tenant=others", &[&writer]).expect(403);
        gateway.request("GET", "/orders?tenant=acme", &[&writer]).expect(200);
    }

    #[test]
    fn api3_bodies_have_one_reading_and_few_fields() {
        let gateway = named("payments");
        let writer = acme("payments:write");
        let many: Vec<String> = (0..30).map(|number| format!("\"f{number}\":1")).collect();
        let body = format!("{{\"tenant\":\"acme\",{}}}", many.join(","));
        assert_eq!(
            send(&gateway, "POST", "/orders", &writer, &body).expect(400).reason(),
            "json_object_entries"
        );
        let body = "{\"tenant\":\"acme\",\"amount\":1,\"amount\":2}";
        // Whoever reads the body first refuses it.
        assert_eq!(
            send(&gateway, "POST", "/orders", &writer, body).expect(400).reason(),
            "ownership_unreadable"
        );
        let text = "{\"tenant\":\"acme\"}";
        let length = format!("Content-Length: {}", text.len());
        let mut client = gateway.connect();
        client.send(head("POST", "/orders", &[&writer, "Content-Type: text/plain", &length])).send(text);
        client.response().expect(415);
    }

    #[test]
    fn api4_bodies_heads_and_requests_are_bounded() {
        let gateway = named("payments");
        let writer = acme("payments:write payments:read");
        let long = format!("{{\"tenant\":\"acme\",\"note\":\"{}\"}}", "x".repeat(9 << 10));
        send(&gateway, "POST", "/orders", &writer, &long).expect(413);
        gateway.request("GET", "/orders", &[&format!("x-long: {}", "x".repeat(9 << 10))]).expect(431);
        until_limited(&gateway, "/orders", &writer);
    }

    #[test]
    fn api5_who_may_read_may_not_pay() {
        let gateway = named("payments");
        let body = "{\"tenant\":\"acme\"}";
        let refused = send(&gateway, "POST", "/orders", &acme("payments:read"), body).expect(403);
        assert_eq!(refused.reason(), "rbac_denied");
        gateway.request("GET", "/orders", &[&acme("payments:write")]).expect(403);
        gateway.request("DELETE", "/orders/1", &[&acme("payments:read payments:write")]).expect(405);
        gateway.request("GET", "/orders/1/refunds", &[&acme("payments:read")]).expect(403);
    }

    #[test]
    fn api8_nothing_else_is_there_and_errors_tell_nothing() {
        let gateway = named("payments");
        for (method, path) in [("GET", "/echo"), ("GET", "/admin"), ("TRACE", "/orders"), ("GET", "/orders")]
        {
            let answer = gateway.request(method, path, &[]);
            assert!(matches!(answer.status, 401 | 404 | 405 | 501), "{answer:?}");
            tells_nothing(&answer);
        }
        let unsigned = "authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIiwidGVuYW50IjoiYWNtZSJ9.";
        gateway.request("GET", "/orders", &[unsigned]).expect(401);
        let seen = gateway.request("GET", "/orders", &[&acme("payments:read")]).expect(200);
        assert_eq!(seen.header("cache-control"), Some("no-store"));
    }
}
