//! Several issuers on one route: the `iss` of a token chooses one, and no other has a say.

use super::*;
use std::fs;

struct Two {
    a: Signer,
    b: Signer,
    plugin: Instance,
}

/// Two issuers with keys of the same id, the second one with HS256 besides.
fn two(fields: &str) -> Two {
    let (a, b) = (Signer::p256(), Signer::p256());
    let dir = tempfile::tempdir().unwrap();
    for (name, signer) in [("a", &a), ("b", &b)] {
        fs::write(dir.path().join(name), json!({"keys": [signer.jwk("k")]}).to_string()).unwrap();
    }
    let file = |name: &str| dir.path().join(name).display().to_string();
    let yaml = format!(
        "{{issuers: [{{issuer: https://a.example, jwks: '{}', audience: shop, algorithms: [ES256]}}, \
          {{issuer: https://b.example, jwks: '{}', audience: [cart, mart], required_claims: [tenant]}}, \
          {{issuer: c, secret: '{SECRET}'}}], {fields}}}",
        file("a"),
        file("b")
    );
    let plugin = kit().build(&yaml).unwrap();
    Two { a, b, plugin }
}

fn claims(iss: &str, aud: &str) -> Value {
    let mut claims = with("tenant", json!("acme"));
    (claims["iss"], claims["aud"]) = (json!(iss), json!(aud));
    claims
}

#[test]
fn a_token_is_verified_with_the_keys_of_its_own_issuer() {
    let Two { a, b, plugin } = two("");
    let (of_a, of_b) = (claims("https://a.example", "shop"), claims("https://b.example", "cart"));
    let principal = send(&plugin, &a.token_of("ES256", "k", &of_a)).authenticated();
    assert_eq!(&*principal.id, "https://a.example|alice");
    send(&plugin, &b.token_of("ES256", "k", &of_b)).authenticated();
    send(&plugin, &Signer::secret().token("HS256", &claims("c", "any"))).authenticated();
    for (token, reason) in [
        // Signed by one of the issuers, in the name of another.
        (a.token_of("ES256", "k", &of_b), "token_signature"),
        (b.token_of("ES256", "k", &of_a), "token_signature"),
        (a.token_of("ES256", "k", &claims("c", "shop")), "token_algorithm"),
        (Signer::secret().token("HS256", &of_a), "token_algorithm"),
        (Signer::secret().token("HS256", &of_b), "token_algorithm"),
        // What one asks for is not what another does.
        (a.token_of("ES256", "k", &claims("https://a.example", "cart")), "token_audience"),
        (b.token_of("ES256", "k", &claims("https://b.example", "shop")), "token_audience"),
        (
            b.token_of("ES256", "k", &{
                let mut claims = of_b.clone();
                claims.as_object_mut().unwrap().remove("tenant");
                claims
            }),
            "token_claim_missing",
        ),
        (a.token_of("ES256", "other", &of_a), "token_key_unknown"),
        // Nobody's.
        (a.token_of("ES256", "k", &claims("https://A.example", "shop")), "token_issuer"),
        (a.token_of("ES256", "k", &claims("https://a.example/", "shop")), "token_issuer"),
        (a.token_of("ES256", "k", &claims("", "shop")), "token_issuer"),
        (a.token_of("ES256", "k", &without("iss")), "token_claim_missing"),
        (a.token_of("ES256", "k", &with("iss", json!(["https://a.example"]))), "token_claim_invalid"),
        (a.token_of("ES256", "k", &with("iss", Value::Null)), "token_claim_invalid"),
        (a.raw("{\"alg\":\"ES256\",\"kid\":\"k\"}", "[]"), "token_malformed"),
        (
            a.raw(
                "{\"alg\":\"ES256\",\"kid\":\"k\"}",
                "{\"iss\":\"https://b.example\",\"iss\":\"https://a.example\",\"exp\":1900000000}",
            ),
            "token_malformed",
        ),
        (a.token_of("none", "k", &of_a), "token_algorithm"),
    ] {
        send(&plugin, &token).denied(401, reason);
    }
}

#[test]
fn what_is_asked_of_all_is_asked_of_each() {
    let Two { a, b, plugin } = two("required_claims: [sub], required_scopes: [read], leeway: 10s");
    for (signer, iss, aud) in [(&a, "https://a.example", "shop"), (&b, "https://b.example", "mart")] {
        let mut good = claims(iss, aud);
        send(&plugin, &signer.token_of("ES256", "k", &good)).denied(403, "insufficient_scope");
        good["scope"] = json!("write read");
        good["exp"] = json!(NOW - 9);
        send(&plugin, &signer.token_of("ES256", "k", &good)).authenticated();
        good.as_object_mut().unwrap().remove("sub");
        send(&plugin, &signer.token_of("ES256", "k", &good)).denied(401, "token_claim_missing");
    }
}

#[test]
fn mistakes_are_refused() {
    let secret = format!("{{issuer: a, secret: '{SECRET}'}}");
    for (fields, words) in [
        ("{issuers: []}", "the list is empty"),
        ("{issuers: [{jwks: 'https://a.example/keys'}]}", "it has no name"),
        ("{issuers: [{issuer: '', jwks: 'https://a.example/keys'}]}", "it has no name"),
        (&format!("{{issuers: [{secret}, {secret}]}}"), "it is there already"),
        (&format!("{{issuers: [{secret}], audience: shop}}"), "it would belong to none of them"),
        (&format!("{{issuers: [{secret}], issuer: b}}"), "it would belong to none of them"),
        (&format!("{{issuers: [{secret}], secret: '{SECRET}'}}"), "it would belong to none of them"),
        (&format!("{{issuers: [{secret}], algorithms: [HS256]}}"), "it would belong to none of them"),
        ("{issuers: [{issuer: a, secret: short}]}", "32 are the fewest"),
        ("{issuers: [{issuer: 'http://a.example'}]}", "not fetched over TLS"),
        (
            &format!("{{issuers: [{{issuer: a, secret: '{SECRET}', algorithms: [ES256]}}]}}"),
            "can be used with these",
        ),
        (&format!("{{issuers: [{{issuer: a, secret: '{SECRET}', leeway: 1s}}]}}"), "leeway"),
        (&format!("{{issuers: [{{issuer: a, secret: '{SECRET}', ca: x.pem}}]}}"), "nothing is fetched"),
    ] {
        let error = kit().build(fields).map(drop).unwrap_err();
        assert!(error.contains(words), "{fields}: {error}");
        assert!(!error.contains("\nmore"), "{error}");
    }
}

#[test]
fn opaque_tokens_are_left_to_others_and_nothing_else_is() {
    let token = Signer::secret().token("HS256", &good());
    let yaml = format!("{{secret: '{SECRET}', opaque_tokens: pass, hide_credentials: true}}");
    let plugin = kit().build(&yaml).unwrap();
    send(&plugin, &token).authenticated();
    for opaque in ["2YotnFZFEjr1zCsicMWpAA", "ory_at_a.b", "a=="] {
        let ran = send(&plugin, opaque);
        ran.not_mine();
        assert!(ran.ex.origin_changes().is_empty());
        send(&secret(), opaque).denied(401, "token_malformed");
    }
    plugin.run(case()).no_credential();
    let cut = token.rsplit_once('.').unwrap().0;
    for broken in [
        &format!("{token}="),
        &format!("{token} "),
        &format!("{token}.x"),
        cut,
        "",
        "a,b",
        "a b",
        "..",
        "eyJhbGciOiJub25lIn0",
    ] {
        send(&plugin, broken).denied(401, "token_malformed");
    }
    let twice = case().header("authorization", "Bearer a").header("authorization", "Bearer b");
    plugin.run(twice).denied(401, "credential_ambiguous");
}
