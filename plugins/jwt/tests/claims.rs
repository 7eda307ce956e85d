//! What claims must say.

use super::{sign::*, *};
use serde_json::json;

fn plugin(fields: &str) -> Instance {
    kit().build(&format!("secret: '{SECRET}'\n{fields}")).unwrap()
}

fn judged(fields: &str, claims: &Value, reason: Option<&str>) {
    let ran = send(&plugin(fields), &Signer::secret().token("HS256", claims));
    match reason {
        None => drop(ran.authenticated()),
        Some(reason) => drop(ran.denied(401, reason)),
    }
}

#[test]
fn times_are_whole_seconds_and_hold() {
    const BAD: Option<&str> = Some("token_claim_invalid");
    for (name, value, reason) in [
        ("exp", json!(NOW), Some("token_expired")),
        ("exp", json!(NOW - 1), Some("token_expired")),
        ("exp", json!(0), Some("token_expired")),
        ("exp", json!(NOW + 1), None),
        ("nbf", json!(NOW + 1), Some("token_not_yet_valid")),
        ("nbf", json!(NOW), None),
        ("iat", json!(NOW + 1), Some("token_not_yet_valid")),
    ] {
        judged("", &with(name, value), reason);
    }
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!((NOW + 60).to_string()),
            json!(-1),
            json!(1.5),
            json!(NOW as f64 + 60.5),
            json!(1e300),
            json!(u64::MAX),
            json!(253_402_300_800_i64),
            json!(null),
            json!(true),
            json!([NOW + 60]),
            json!({}),
        ] {
            judged("", &with(name, value.clone()), BAD);
            judged("require_expiration: false", &with(name, value), BAD);
        }
    }
    judged("", &without("exp"), Some("token_claim_missing"));
    judged("require_expiration: false", &without("exp"), None);
    judged("leeway: 10s", &with("exp", json!(NOW - 9)), None);
    judged("leeway: 10s", &with("exp", json!(NOW - 10)), Some("token_expired"));
    judged("leeway: 10s", &with("nbf", json!(NOW + 10)), None);
    judged("leeway: 10s", &with("nbf", json!(NOW + 11)), Some("token_not_yet_valid"));
    judged("leeway: 10s", &with("iat", json!(NOW + 10)), None);
    judged("leeway: 10s", &with("iat", json!(NOW + 11)), Some("token_not_yet_valid"));
}

#[test]
fn lifetimes_are_bounded() {
    for (claims, reason) in [
        (json!({"iat": NOW, "exp": NOW + 300}), None),
        (json!({"iat": NOW, "exp": NOW + 301}), Some("token_lifetime")),
        (json!({"iat": NOW - 200, "exp": NOW + 101}), Some("token_lifetime")),
        (json!({"exp": NOW + 300}), None),
        (json!({"exp": NOW + 301}), Some("token_lifetime")),
        (json!({"iat": NOW}), Some("token_claim_missing")),
        // Of a clock that is fast: it has begun all the same.
        (json!({"iat": NOW + 5, "exp": NOW + 305}), None),
        (json!({"iat": NOW + 5, "exp": NOW + 306}), Some("token_lifetime")),
    ] {
        judged(
            "{maximum_lifetime: 5m, require_expiration: false, leeway: 5s}"
                .trim_matches(['{', '}'])
                .replace(", ", "\n")
                .as_str(),
            &claims,
            reason,
        );
    }
}

#[test]
fn issuer_audience_and_required_claims() {
    let issuer = "issuer: https://login.example";
    for (fields, claims, reason) in [
        (issuer, good(), None),
        (issuer, with("iss", json!("https://login.example/")), Some("token_issuer")),
        (issuer, with("iss", json!("HTTPS://login.example")), Some("token_issuer")),
        (issuer, with("iss", json!(["https://login.example"])), Some("token_claim_invalid")),
        (issuer, with("iss", json!(null)), Some("token_claim_invalid")),
        (issuer, without("iss"), Some("token_claim_missing")),
        ("audience: shop", good(), None),
        ("audience: [cart, shop]", good(), None),
        ("audience: shop", with("aud", json!(["x", "shop"])), None),
        ("audience: shop", with("aud", json!([])), Some("token_audience")),
        ("audience: shop", with("aud", json!("")), Some("token_audience")),
        ("audience: shop", with("aud", json!("Shop")), Some("token_audience")),
        ("audience: shop", with("aud", json!("shop x")), Some("token_audience")),
        ("audience: shop", with("aud", json!(["x", ["shop"]])), Some("token_claim_invalid")),
        ("audience: shop", with("aud", json!([1, "shop"])), Some("token_claim_invalid")),
        ("audience: shop", with("aud", json!({"shop": 1})), Some("token_claim_invalid")),
        ("audience: shop", with("aud", json!(7)), Some("token_claim_invalid")),
        ("audience: shop", with("aud", json!(null)), Some("token_claim_invalid")),
        ("audience: shop", without("aud"), Some("token_claim_missing")),
        ("", without("aud"), None),
        ("", with("sub", json!(7)), Some("token_claim_invalid")),
        ("", with("jti", json!({})), Some("token_claim_invalid")),
        ("required_claims: [sub, tenant]", good(), Some("token_claim_missing")),
        ("required_claims: [sub, tenant]", with("tenant", json!(null)), Some("token_claim_missing")),
        ("required_claims: [sub, tenant]", with("tenant", json!("a")), None),
    ] {
        judged(fields, &claims, reason);
    }
}

#[test]
fn a_type_that_is_asked_for_is_needed() {
    let strict = plugin("typ: at+jwt");
    let signed = |header: Value| Signer::secret().raw(&header.to_string(), &good().to_string());
    send(&strict, &signed(json!({"alg": "HS256", "typ": "at+jwt"}))).authenticated();
    send(&strict, &signed(json!({"alg": "HS256", "typ": "application/AT+JWT"}))).authenticated();
    send(&strict, &signed(json!({"alg": "HS256", "typ": "JWT"}))).denied(401, "token_type");
    send(&strict, &signed(json!({"alg": "HS256"}))).denied(401, "token_type");
    send(&strict, &signed(json!({"alg": "HS256", "typ": 1}))).denied(401, "token_malformed");
}

#[test]
fn claims_become_headers() {
    let plugin = plugin("claims_to_headers: {sub: x-user-id, roles: x-roles, n.deep: x-deep}");
    let names = plugin.built.plugin().writes_to_origin();
    assert_eq!(names.len(), 3);
    let told = |claims: &Value| {
        let ran = send(&plugin, &Signer::secret().token("HS256", claims));
        ran.authenticated();
        let set = &ran.ex.origin_changes().set_headers;
        let mut set: Vec<String> =
            set.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        set.sort();
        set
    };
    assert_eq!(told(&good()), ["x-user-id: alice"]);
    assert_eq!(told(&with("roles", json!(["a", 1, true]))), ["x-roles: a,1,true", "x-user-id: alice"]);
    assert_eq!(told(&with("n", json!({"deep": 5}))), ["x-deep: 5", "x-user-id: alice"]);
    for bad in [
        with("sub", json!("a\r\nx-admin: 1")),
        with("sub", json!("a\u{0}")),
        with("sub", json!("a\u{7f}")),
        with("sub", json!("a\u{85}")),
        with("roles", json!(["a,b"])),
        with("roles", json!([["a"]])),
        with("roles", json!({"a": 1})),
        with("roles", json!(null)),
    ] {
        send(&plugin, &Signer::secret().token("HS256", &bad)).denied(401, "token_claim_invalid");
    }
}

#[test]
fn a_claim_names_the_consumer() {
    let kit = kit().consumer("alice", &["gold"], &["key: client-7"]).consumer("bob", &[], &[]);
    let kit = kit.consumer("carol", &[], &["key: '42'"]);
    let strict = kit.build(&format!("{{secret: '{SECRET}', consumer_claim: azp}}")).unwrap();
    let optional =
        kit.build(&format!("{{secret: '{SECRET}', consumer_claim: azp, consumer_optional: true}}")).unwrap();
    for (azp, id) in [
        (json!("client-7"), "alice"),
        (json!("alice"), "alice"),
        (json!("bob"), "bob"),
        (json!("42"), "carol"),
        (json!(42), "carol"),
    ] {
        let principal = send(&strict, &Signer::secret().token("HS256", &with("azp", azp))).authenticated();
        assert_eq!(&*principal.id, id);
        assert_eq!(principal.consumer.as_ref().map(|consumer| &*consumer.name), Some(id));
    }
    for azp in
        [json!("nobody"), json!("Alice"), json!(["alice"]), json!(null), json!(""), json!(42.5), json!(true)]
    {
        let token = Signer::secret().token("HS256", &with("azp", azp));
        send(&strict, &token).denied(401, "token_consumer_unknown");
        let principal = send(&optional, &token).authenticated();
        assert!(principal.consumer.is_none());
        assert_eq!(&*principal.id, "https://login.example|alice");
    }
}

#[test]
fn scopes_are_words_or_items() {
    let strict = plugin("required_scopes: [read, write]");
    for (scope, passes) in [
        (json!("write read"), true),
        (json!(["read", "x", "write"]), true),
        (json!("read"), false),
        (json!(["read write"]), false),
        (json!(["read"]), false),
        (json!("read,write"), false),
        (json!({"read": 1, "write": 1}), false),
        (json!(null), false),
    ] {
        let ran = send(&strict, &Signer::secret().token("HS256", &with("scope", scope.clone())));
        if passes {
            ran.authenticated();
            continue;
        }
        let denial = ran.denied(403, "insufficient_scope");
        let challenge = denial.headers()[0].1.to_str().unwrap();
        assert!(
            challenge.ends_with("error=\"insufficient_scope\", scope=\"read write\""),
            "{scope}: {challenge}"
        );
    }
}

#[test]
fn an_id_that_a_header_can_hold_tells_the_credential() {
    let long = "x".repeat(129);
    for (jti, shown) in [
        ("j-1", true),
        (&long[..128], true),
        (&long, false),
        ("", false),
        ("a b", false),
        ("a\r\nx-consumer-id: root", false),
        ("\u{e9}", false),
    ] {
        let token = Signer::secret().token("HS256", &with("jti", json!(jti)));
        let principal = send(&plugin(""), &token).authenticated();
        assert_eq!(principal.credential.as_deref(), shown.then_some(jti), "{jti:?}");
    }
}

#[test]
fn a_refusal_says_how_to_do_it_and_nothing_else() {
    let refused = send(&secret(), &Signer::p256().token("HS256", &good())).denied(401, "token_signature");
    assert_eq!(refused.public_message(), "The token is not valid here");
    let (name, value) = &refused.headers()[0];
    assert_eq!(name, "www-authenticate");
    let text = value.to_str().unwrap();
    assert!(text.starts_with("Bearer realm=\"palisade\", error=\"invalid_token\""), "{text}");
}
