//! Tokens that nobody makes, answers that say no, and answers that make no sense.

use super::*;
use http::header::WWW_AUTHENTICATE;
use proptest::prelude::*;

#[test]
fn what_is_no_token_is_not_asked_about() {
    let issuer = Issuer::default();
    let plugin = build(&issuer, "cookie_names: [t]");
    let long = "x".repeat(16 * 1024 + 1);
    for token in ["", " t", "t t", "t\tt", "t\u{80}", "ü", &long] {
        send(&plugin, token).denied(401, "token_malformed");
    }
    plugin.run(case(0).header("authorization", "Bearer")).denied(401, "token_malformed");
    plugin.run(case(0).header("authorization", "Bearer a, Bearer b")).denied(401, "token_malformed");
    let twice = case(0).header("authorization", "Bearer a").header("authorization", "Bearer a");
    plugin.run(twice).denied(401, "credential_ambiguous");
    let both = case(0).header("authorization", "Bearer a").header("cookie", "t=a");
    plugin.run(both).denied(401, "credential_ambiguous");
    assert_eq!(issuer.calls(), 0);
    // What means something in a form means nothing to it.
    for token in ["t&client_id=x", "t=1", "t%26a", "t+t", "t;x", "t\"", "a'b\\"] {
        send(&plugin, token).denied(401, "token_inactive");
        let body = issuer.last().into_body();
        assert_eq!(field(&body, "token").unwrap(), token);
        assert_eq!(crate::presented::query_pairs(std::str::from_utf8(&body).unwrap()).count(), 2);
    }
}

#[test]
fn what_the_issuer_refuses_is_refused() {
    let fields = "audience: shop, issuer: https://login.example, maximum_lifetime: 1h, required_claims: [sub, tenant], \
                  required_scopes: ['orders:read']";
    let tenant = |mut answer: Value| {
        answer["tenant"] = json!("acme");
        answer
    };
    for (answer, status, reason) in [
        (json!({"active": false}), 401, "token_inactive"),
        (
            json!({"active": false, "sub": "alice", "exp": NOW + 600, "scope": "orders:read"}),
            401,
            "token_inactive",
        ),
        (tenant(with("exp", json!(NOW))), 401, "token_expired"),
        (tenant(with("exp", json!(NOW - 1))), 401, "token_expired"),
        (tenant(with("nbf", json!(NOW + 1))), 401, "token_not_yet_valid"),
        (tenant(with("iat", json!(NOW + 1))), 401, "token_not_yet_valid"),
        (tenant(with("exp", json!(NOW + 7200))), 401, "token_lifetime"),
        (tenant(with("iss", json!("https://login.example/"))), 401, "token_issuer"),
        (tenant(with("aud", json!("cart"))), 401, "token_audience"),
        (tenant(with("aud", json!([]))), 401, "token_audience"),
        (tenant(with("aud", json!(["cart", "Shop"]))), 401, "token_audience"),
        (tenant(with("aud", json!(1))), 401, "token_claim_invalid"),
        (tenant(with("aud", json!(["shop", 1]))), 401, "token_claim_invalid"),
        (tenant(with("aud", json!({"shop": true}))), 401, "token_claim_invalid"),
        (tenant(with("cnf", json!("x"))), 401, "token_claim_invalid"),
        (good(), 401, "token_claim_missing"),
        (with("tenant", Value::Null), 401, "token_claim_missing"),
        (tenant(with("token_type", json!("DPoP"))), 401, "token_type"),
        (tenant(with("token_type", json!("refresh_token"))), 401, "token_type"),
        (tenant(with("token_use", json!("refresh_token"))), 401, "token_type"),
        (tenant(with("typ", json!("Refresh"))), 401, "token_type"),
        (tenant(with("scope", json!("orders:write"))), 403, "insufficient_scope"),
        (tenant(with("scope", json!("orders:reader orders"))), 403, "insufficient_scope"),
        (tenant(with("scope", json!("Orders:read"))), 403, "insufficient_scope"),
        (tenant(with("scope", json!(""))), 403, "insufficient_scope"),
    ] {
        let issuer = Issuer::default();
        issuer.says("t", &answer);
        let denial = send(&build(&issuer, fields), "t").denied(status, reason);
        let challenge = denial.headers().iter().find(|(name, _)| *name == WWW_AUTHENTICATE).unwrap();
        let error = if status == 403 { "error=\"insufficient_scope\"" } else { "error=\"invalid_token\"" };
        assert!(challenge.1.to_str().unwrap().contains(error), "{answer}");
        assert!(!denial.public_message().contains("alice"));
    }
    let issuer = Issuer::default();
    issuer.says("t", tenant(good()));
    send(&build(&issuer, fields), "t").authenticated();
    // The issuer answers so about tokens that it knows to be of another kind.
    issuer.answers("jwt", 400, "{\"error\":\"unsupported_token_type\"}");
    send(&build(&issuer, ""), "jwt").denied(401, "token_type");
}

#[test]
fn what_is_no_answer_is_refused_and_not_remembered() {
    let large = format!("{{\"active\":true,\"x\":\"{}\"", "x".repeat(40_000));
    let deep = format!("{{\"active\":true,\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
    for (status, answer) in [
        (200, ""),
        (200, "<html><body>{\"active\":true}</body></html>"),
        (200, "true"),
        (200, "null"),
        (200, "[]"),
        (200, "[{\"active\":true}]"),
        (200, "\"active\""),
        (200, "{}"),
        (200, "{\"sub\":\"alice\"}"),
        (200, "{\"active\":\"true\"}"),
        (200, "{\"active\":\"false\"}"),
        (200, "{\"active\":1}"),
        (200, "{\"active\":null}"),
        (200, "{\"active\":[true]}"),
        (200, "{\"active\":{}}"),
        (200, "{\"Active\":true}"),
        (200, "{\"active\":false,\"active\":true}"),
        (200, "{\"active\":true,\"active\":true}"),
        (200, "{\"active\":true,\"\\u0061ctive\":false}"),
        (200, "{\"active\":true,\"sub\":\"a\",\"sub\":\"b\"}"),
        (200, "{\"active\":true} {\"active\":true}"),
        (200, "{\"active\":true}x"),
        (200, "\u{feff}{\"active\":true}"),
        (200, "{\"active\":true,}"),
        (200, "{'active':true}"),
        (200, "{\"active\":TRUE}"),
        (200, "active=true"),
        (200, "{\"active\":true,\"exp\":\"1900000000\"}"),
        (200, "{\"active\":true,\"exp\":-1}"),
        (200, "{\"active\":true,\"exp\":1900000000.5}"),
        (200, "{\"active\":true,\"exp\":1e12}"),
        (200, "{\"active\":true,\"exp\":1900000000000}"),
        (200, "{\"active\":true,\"exp\":null}"),
        (200, "{\"active\":true,\"nbf\":[]}"),
        (200, "{\"active\":true,\"iat\":\"now\"}"),
        (200, "{\"active\":true,\"scope\":[\"a\"]}"),
        (200, "{\"active\":true,\"scope\":1}"),
        (200, "{\"active\":true,\"sub\":1}"),
        (200, "{\"active\":true,\"iss\":{}}"),
        (200, "{\"active\":true,\"client_id\":null}"),
        (200, "{\"active\":true,\"token_type\":[\"Bearer\"]}"),
        (200, &large),
        (200, &deep),
        (201, "{\"active\":true}"),
        (204, ""),
        (301, "{\"active\":true}"),
        (302, "{\"active\":true}"),
        (307, "{\"active\":true}"),
        (400, "{\"error\":\"invalid_request\"}"),
        (400, "{\"error\":\"unsupported_token_type\",\"active\":true}"),
        (401, "{\"error\":\"unsupported_token_type\"}"),
        (401, "{\"active\":true}"),
        (403, "{\"active\":false}"),
        (404, "{\"active\":true}"),
        (500, "{\"active\":true}"),
        (503, "{\"active\":true}"),
    ] {
        let issuer = Issuer::default();
        issuer.answers("t", status, answer);
        let plugin = build(&issuer, "");
        send(&plugin, "t").faulted("introspection_unavailable");
        issuer.says("t", good());
        send(&plugin, "t").authenticated();
        assert_eq!(issuer.calls(), 2, "{answer}");
    }
}

#[test]
fn a_fault_tells_the_operator_and_holds_no_token() {
    let issuer = Issuer::default();
    issuer.says("s3cr3t-token", "{\"active\":\"s3cr3t-answer\"}");
    let ran = send(&build(&issuer, ""), "s3cr3t-token");
    let told = format!("{} {:?}", ran.found.as_ref().unwrap().as_ref().unwrap_err(), ran.found);
    assert!(told.contains("`active` is neither true nor false"), "{told}");
    assert!(!told.contains("s3cr3t"), "{told}");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_nothing_gets_in(
        answer in "\\PC{0,60}|\\{\"active\":(true|false|1|\"true\")(,\"(exp|sub|aud|scope|cnf)\":(\"x\"|1|\\[\\]|null)){0,3}\\}",
        token in "\\PC{0,30}",
        status in 100u16..600,
    ) {
        let response = Response::builder().status(status).body(Bytes::from(answer.clone())).unwrap();
        let read = crate::oauth2_introspection::answer::read(&response);
        if let Ok(crate::oauth2_introspection::answer::Said::Active(_)) = read {
            let says_so = answer.starts_with("{\"active\":true");
            prop_assert!(status == 200 && says_so);
        }
        let issuer = Issuer::default();
        let header = format!("Bearer {token}");
        if http::HeaderValue::from_str(&header).is_ok() {
            let found = build(&issuer, "").run(case(0).header("authorization", &header)).found;
            prop_assert!(!matches!(found, Some(Ok(palisade_contract::Authentication::Authenticated(_)))));
        }
    }
}
