use super::*;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit},
};
use serde_json::{Value, json};

fn kit() -> Kit {
    Kit::of(Descriptor::of::<Acl>())
}

#[test]
fn groups_decide() {
    for (yaml, groups, passes) in [
        ("allow: [gold]", &["gold"][..], true),
        ("allow: [gold]", &["silver", "gold"], true),
        ("allow: [gold]", &["silver"], false),
        ("allow: [gold]", &["Gold"], false),
        ("allow: [gold]", &[], false),
        ("deny: [bad]", &[], true),
        ("deny: [bad]", &["bad"], false),
        ("{allow: [gold], deny: [bad]}", &["gold", "bad"], false),
    ] {
        let ran = kit().build(yaml).unwrap().run(Case::get("/").principal("alice", groups));
        if passes {
            ran.passed();
        } else {
            ran.denied(403, "acl_denied");
        }
    }
    kit().build("deny: [bad]").unwrap().run(Case::get("/")).denied(403, "acl_denied");
    kit().build("scopes: [a]").unwrap().run(Case::get("/")).denied(403, "acl_denied");
}

#[test]
fn a_group_that_nobody_is_in_is_refused_unless_tokens_may_name_it() {
    let kit = kit().consumer("alice", &["gold", "bad"], &[]);
    for yaml in ["deny: [badd]", "allow: [gold, badd]"] {
        let error = kit.build(yaml).map(drop).unwrap_err();
        assert!(error.contains("no consumer is in the group `badd`"), "{error}");
        assert!(error.contains("did you mean `bad`?"), "{error}");
    }
    kit.build("{allow: [gold], deny: [bad]}").unwrap();
    kit.build("{deny: [badd], groups_claim: groups}").unwrap();
}

/// Without a consumer, as a token alone gives it.
fn judged(plugin: &Instance, claims: &Value, reason: Option<&str>) {
    let case = Case::get("/").principal("x", &["gold"]).claims(claims.clone()).unmapped();
    let ran = plugin.run(case);
    match reason {
        None => drop(ran.passed()),
        Some(reason) => drop(ran.denied(403, reason)),
    }
}

#[test]
fn groups_come_from_claims_too() {
    const DENIED: Option<&str> = Some("acl_denied");
    for (yaml, claims, reason) in [
        ("{allow: [staff], groups_claim: groups}", json!({"groups": ["x", "staff"]}), None),
        ("{allow: [staff], groups_claim: groups}", json!({"groups": "staff x"}), None),
        ("{allow: [staff], groups_claim: groups}", json!({"groups": ["x"]}), DENIED),
        ("{allow: [staff], groups_claim: groups}", json!({"groups": ["staff x"]}), DENIED),
        ("{allow: [staff], groups_claim: groups}", json!({"groups": {"staff": 1}}), DENIED),
        ("{allow: [staff], groups_claim: groups}", json!({"roles": ["staff"]}), DENIED),
        ("{allow: [gold], groups_claim: groups}", json!({"groups": []}), DENIED),
        ("{allow: [staff]}", json!({"groups": ["staff"]}), DENIED),
        ("{allow: [staff], groups_claim: realm.roles}", json!({"realm": {"roles": ["staff"]}}), None),
        ("{deny: [bad], groups_claim: groups}", json!({"groups": ["x"]}), None),
        ("{deny: [bad], groups_claim: groups}", json!({"groups": ["bad"]}), DENIED),
        ("{deny: [bad], groups_claim: groups}", json!({}), DENIED),
        ("{allow: [staff], deny: [bad], groups_claim: groups}", json!({"groups": ["staff", "bad"]}), DENIED),
    ] {
        judged(&kit().build(yaml).unwrap(), &claims, reason);
    }
    // A consumer's own groups count beside those of its token.
    let plugin = kit().build("{allow: [gold], deny: [bad], groups_claim: groups}").unwrap();
    plugin.run(Case::get("/").principal("alice", &["gold"])).passed();
    let bad = Case::get("/").principal("alice", &["gold"]).claims(json!({"groups": ["bad"]}));
    plugin.run(bad).denied(403, "acl_denied");
}

#[test]
fn scopes_are_needed() {
    const MISSING: Option<&str> = Some("insufficient_scope");
    for (yaml, claims, reason) in [
        ("scopes: [a, b]", json!({"scope": "b c a"}), None),
        ("scopes: [a, b]", json!({"scope": ["a", "b"]}), None),
        ("scopes: [a, b]", json!({"scope": "a"}), MISSING),
        ("scopes: [a, b]", json!({"scope": "ab a,b A B"}), MISSING),
        ("scopes: [a]", json!({}), MISSING),
        ("scopes: [a]", json!({"scope": {"a": 1}}), MISSING),
        ("scopes: [a]", json!({"scp": ["a"]}), MISSING),
        ("{scopes: [a], scope_claim: scp}", json!({"scp": ["a"]}), None),
        ("any_scope: [a, b]", json!({"scope": "b"}), None),
        ("any_scope: [a, b]", json!({"scope": "c"}), MISSING),
        ("{scopes: [a], any_scope: [b, c]}", json!({"scope": "a c"}), None),
        ("{scopes: [a], any_scope: [b, c]}", json!({"scope": "b c"}), MISSING),
    ] {
        judged(&kit().build(yaml).unwrap(), &claims, reason);
    }
    let plugin = kit().build("{scopes: [a, 'b:c'], any_scope: [d]}").unwrap();
    let denial = plugin.run(Case::get("/").principal("x", &[])).denied(403, "insufficient_scope");
    let (name, value) = &denial.headers()[0];
    assert_eq!(name, "www-authenticate");
    assert_eq!(value, "Bearer error=\"insufficient_scope\", scope=\"a b:c d\"");
}

#[test]
fn claims_must_fit() {
    const DENIED: Option<&str> = Some("acl_denied");
    for (yaml, claims, reason) in [
        ("claims: {tenant: acme}", json!({"tenant": "acme"}), None),
        ("claims: {tenant: acme}", json!({"tenant": ["x", "acme"]}), None),
        ("claims: {tenant: acme}", json!({"tenant": "acme2"}), DENIED),
        ("claims: {tenant: acme}", json!({"tenant": "acme x"}), DENIED),
        ("claims: {tenant: acme}", json!({"tenant": {"acme": 1}}), DENIED),
        ("claims: {tenant: acme}", json!({}), DENIED),
        ("claims: {tenant: [acme, other]}", json!({"tenant": "other"}), None),
        ("claims: {level: 3}", json!({"level": 3}), None),
        ("claims: {level: 3}", json!({"level": "3"}), DENIED),
        ("claims: {level: '3'}", json!({"level": 3}), DENIED),
        ("claims: {verified: true}", json!({"verified": true}), None),
        ("claims: {verified: true}", json!({"verified": "true"}), DENIED),
        ("claims: {verified: true}", json!({"verified": 1}), DENIED),
        ("claims: {org.unit: a}", json!({"org": {"unit": "a"}}), None),
        ("claims: {tenant: acme, level: 3}", json!({"tenant": "acme"}), DENIED),
        ("{claims: {tenant: acme}, scopes: [a]}", json!({"tenant": "acme", "scope": "a"}), None),
    ] {
        judged(&kit().build(yaml).unwrap(), &claims, reason);
    }
}

/// Two principals with these claims and groups; the second gives the principal.
fn both(attached: (&[&str], Value), first: (&[&str], Value)) -> Case {
    let case = Case::get("/").principal("service", attached.0).claims(attached.1).besides();
    case.principal("alice", first.0).claims(first.1)
}

#[test]
fn the_rights_of_several_credentials_are_not_put_together() {
    let none = || json!({});
    for (yaml, attached, first, reason) in [
        // One of them has it all, whichever.
        ("scopes: [a, b]", json!({"scope": "a b"}), none(), None),
        ("scopes: [a, b]", none(), json!({"scope": "a b"}), None),
        ("scopes: [a, b]", json!({"scope": "a"}), json!({"scope": "b"}), Some("insufficient_scope")),
        (
            "{scopes: [a], any_scope: [b, c]}",
            json!({"scope": "a"}),
            json!({"scope": "c"}),
            Some("insufficient_scope"),
        ),
        ("{scopes: [a], claims: {t: 1}}", json!({"scope": "a"}), json!({"t": 1}), Some("insufficient_scope")),
        ("{scopes: [a], claims: {t: 1}}", json!({"scope": "a", "t": 1}), none(), None),
        ("{scopes: [a], claims: {t: 1}}", json!({"scope": "a", "t": 1}), json!({"t": 1}), None),
        ("claims: {t: 1, u: 2}", json!({"t": 1}), json!({"u": 2}), Some("acl_denied")),
        ("claims: {t: 1, u: 2}", none(), json!({"u": 2, "t": 1}), None),
    ] {
        let ran = kit().build(yaml).unwrap().run(both((&[], attached), (&[], first)));
        match reason {
            None => drop(ran.passed()),
            Some(reason) => drop(ran.denied(403, reason)),
        }
    }
    for (yaml, attached, first, passes) in [
        ("deny: [bad]", &["bad"][..], &[][..], false),
        ("deny: [bad]", &[], &["bad"], false),
        ("deny: [bad]", &["gold"], &["gold"], true),
        ("allow: [gold]", &["gold"], &["silver"], false),
        ("allow: [gold]", &["silver"], &["gold"], true),
    ] {
        let ran = kit().build(yaml).unwrap().run(both((attached, none()), (first, none())));
        if passes {
            ran.passed();
        } else {
            ran.denied(403, "acl_denied");
        }
    }
    let claimed = |group: &str| both((&[], json!({"groups": [group]})), (&[], none()));
    let plugin = kit().build("{allow: [staff], deny: [bad], groups_claim: groups}").unwrap();
    plugin.run(claimed("staff")).passed();
    plugin.run(claimed("bad")).denied(403, "acl_denied");
    plugin.run(claimed("x")).denied(403, "acl_denied");
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, words) in [
        ("{}", "nothing says who may pass"),
        ("{allow: [], deny: [bad]}", "allow: the list is empty"),
        ("{scopes: []}", "scopes: the list is empty"),
        ("{allow: , deny: [bad]}", "allow"),
        ("{allow: [a], deny: [a]}", "allowed and denied"),
        ("{groups_claim: g, scopes: [a]}", "no group is allowed or denied"),
        ("{scopes: ['a b']}", "`a b` is not a scope"),
        ("{any_scope: [a, 'b\"']}", "any_scope[1]"),
        ("{claims: {a: []}}", "has no value"),
        ("{claims: {a: {b: c}}}", "claims"),
        ("{claims: {a: 1.5}}", "claims"),
    ] {
        let error = kit().build(yaml).map(drop).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
}
