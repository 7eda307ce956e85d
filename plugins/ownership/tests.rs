use super::*;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit},
};
use serde_json::json;

fn kit() -> Kit {
    Kit::of(Descriptor::of::<Ownership>())
}

fn build(yaml: &str) -> Instance {
    kit().build(yaml).unwrap()
}

fn alice(case: Case) -> Case {
    case.principal("alice", &[]).claims(json!({"sub": "7", "n": 8, "tenants": ["a", "b", 3], "empty": ""}))
}

fn verdict(plugin: &Instance, case: Case, reason: Option<&str>) {
    let ran = plugin.run(alice(case));
    match reason {
        None => drop(ran.passed()),
        Some("ownership_unreadable") => drop(ran.denied(400, "ownership_unreadable")),
        Some(reason) => drop(ran.denied(403, reason)),
    }
}

const DENIED: Option<&str> = Some("ownership_denied");
const UNREADABLE: Option<&str> = Some("ownership_unreadable");

#[test]
fn a_path_names_what_is_the_callers() {
    for (owner, id, reason) in [
        ("claims.sub", "7", None),
        ("claims.sub", "8", DENIED),
        ("claims.sub", "07", DENIED),
        ("claims.sub", "7%20", DENIED),
        ("claims.sub", "%ff", UNREADABLE),
        ("claims.sub", "", UNREADABLE),
        ("claims.empty", "", UNREADABLE),
        ("claims.n", "8", None),
        ("claims.tenants", "b", None),
        ("claims.tenants", "3", None),
        ("claims.tenants", "c", DENIED),
        ("claims.none", "7", DENIED),
        ("consumer", "alice", None),
        ("consumer", "bob", DENIED),
        ("principal", "alice", None),
    ] {
        let plugin = build(&format!("{{object: path.id, owner: {owner}}}"));
        verdict(&plugin, Case::get("/").path_param("id", id), reason);
    }
    let plugin = build("{object: path.id, owner: claims.sub}");
    verdict(&plugin, Case::get("/"), DENIED);
    plugin.run(Case::get("/").path_param("id", "7")).denied(403, "ownership_denied");
    let decoded = build("{object: path.id, owner: consumer}");
    decoded.run(Case::get("/").path_param("id", "a%2Fb").principal("a/b", &[])).passed();
    build("{object: path.id, owner: claims.sub, hide: true}")
        .run(alice(Case::get("/").path_param("id", "8")))
        .denied(404, "ownership_denied");
}

#[test]
fn every_value_that_an_origin_could_take_counts() {
    let plugin = build("{object: query.id, owner: claims.tenants}");
    for (query, reason) in [
        ("id=a", None),
        ("x=1&id=a&id=b", None),
        ("id=a&id=c", DENIED),
        ("id=c&id=a", DENIED),
        ("id=a&ID=c", DENIED),
        ("id=a&id[]=c", DENIED),
        ("id=a&id%5B0%5D=c", DENIED),
        ("id=a;id=c", DENIED),
        ("id=a&%69d=c", DENIED),
        ("id=a&+id=c", DENIED),
        ("id=%61", None),
        ("id=a+", DENIED),
        ("id=", UNREADABLE),
        ("id", UNREADABLE),
        ("id=%ff", UNREADABLE),
        ("ids=a", DENIED),
        ("", DENIED),
    ] {
        verdict(&plugin, Case::get(&format!("/?{query}")), reason);
    }
    verdict(&build("{object: query.id, owner: claims.sub, optional: true}"), Case::get("/?ids=9"), None);
    let header = build("{object: header.X-Tenant, owner: claims.tenants}");
    verdict(&header, Case::get("/").header("x-tenant", "a"), None);
    verdict(&header, Case::get("/").header("x-tenant", "a").header("x-tenant", "c"), DENIED);
    verdict(&header, Case::get("/"), DENIED);
}

#[test]
fn bodies_name_ids_that_are_each_checked() {
    let one = build("{object: body.order.tenant, owner: claims.tenants}");
    let all = build("{object: 'body.items[].tenant', owner: claims.tenants}");
    let json =
        |body: &'static str| Case::new("POST", "/").header("content-type", "application/json").body(body);
    for (plugin, body, reason) in [
        (&one, r#"{"order":{"tenant":"a"}}"#, None),
        (&one, r#"{"order":{"tenant":3}}"#, None),
        (&one, r#"{"order":{"tenant":"c"}}"#, DENIED),
        (&one, r#"{"order":{"tenant":3.0}}"#, UNREADABLE),
        (&one, r#"{"order":{"tenant":["a"]}}"#, UNREADABLE),
        (&one, r#"{"order":{"tenant":null}}"#, UNREADABLE),
        (&one, r#"{"order":{"tenant":"a","tenant":"c"}}"#, UNREADABLE),
        (&one, r#"{"order":{"tenant":"a","Tenant":"c"}}"#, UNREADABLE),
        (&one, r#"{"order":{"TENANT":"c"}}"#, DENIED),
        (&one, r#"{"order":[]}"#, UNREADABLE),
        (&one, r#"{"order":{}}"#, DENIED),
        (&one, "[]", UNREADABLE),
        (&one, "a=1", UNREADABLE),
        (&one, "", DENIED),
        (&all, r#"{"items":[{"tenant":"a"},{"tenant":"b"}]}"#, None),
        (&all, r#"{"items":[{"tenant":"a"},{"tenant":"c"}]}"#, DENIED),
        (&all, r#"{"items":[{"tenant":"a"},{}]}"#, UNREADABLE),
        (&all, r#"{"items":{"tenant":"a"}}"#, UNREADABLE),
        (&all, r#"{"items":[]}"#, DENIED),
    ] {
        verdict(plugin, json(body), reason);
    }
    let ids = build("{object: 'body.ids[]', owner: claims.tenants}");
    verdict(&ids, json(r#"{"ids":["a","b"]}"#), None);
    verdict(&ids, json(r#"{"ids":["a","c"]}"#), DENIED);
    let form = build("{object: body.tenant, owner: claims.tenants}");
    let typed =
        |value: &str, body: &'static str| Case::new("POST", "/").header("content-type", value).body(body);
    verdict(&form, typed("application/x-www-form-urlencoded", "tenant=a"), None);
    verdict(&form, typed("application/x-www-form-urlencoded", "tenant=a&tenant=c"), DENIED);
    verdict(&form, typed("text/plain", r#"{"tenant":"a"}"#), UNREADABLE);
    let coded = typed("application/json", "{}").header("content-encoding", "zstd");
    form.run(alice(coded)).denied(415, "encoding_unknown");
}

#[test]
fn some_need_not_own_it_and_two_credentials_are_not_put_together() {
    let plugin = build("{object: query.id, owner: claims.sub, unless: {groups: [support], scopes: [all]}}");
    let other = |case: Case| case.claims(json!({"sub": "1"}));
    plugin.run(other(Case::get("/?id=7").principal("x", &["support"]))).passed();
    plugin.run(other(Case::get("/?id=7").principal("x", &["other"]))).denied(403, "ownership_denied");
    plugin.run(Case::get("/?id=7").principal("x", &[]).claims(json!({"scope": "a all"}))).passed();
    let both = |first: &str, second: &str| {
        let case = Case::get("/?id=7&id=8").principal("a", &[]).claims(json!({"sub": first})).besides();
        plugin.run(case.principal("b", &[]).claims(json!({"sub": second})))
    };
    both("7", "8").denied(403, "ownership_denied");
}

#[test]
fn who_tries_many_is_told_of_and_locked_out() {
    let kit = kit();
    let plugin =
        kit.build("{object: query.id, owner: claims.sub, enumeration: {distinct: 3, lockout: 1h}}").unwrap();
    let ask = |id: u32| plugin.run(alice(Case::get(&format!("/?id={id}"))));
    for _ in 0..5 {
        ask(100).denied(403, "ownership_denied");
    }
    ask(101).denied(403, "ownership_denied");
    ask(7).passed();
    assert_eq!(kit.counted("enumeration"), 0);
    ask(102).denied(403, "ownership_enumeration");
    assert_eq!(kit.counted("enumeration"), 1);
    let denial = ask(7).denied(429, "ownership_lockout");
    assert!(denial.headers().iter().any(|(name, _)| name == RETRY_AFTER));
    plugin.run(Case::get("/?id=1").principal("bob", &[]).claims(json!({"sub": "1"}))).passed();
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, words) in [
        ("{object: user_id, owner: claims.sub}", "does not say where"),
        ("{object: cookie.a, owner: claims.sub}", "does not say where"),
        ("{object: path., owner: claims.sub}", "has no name"),
        ("{object: 'body.a..b', owner: claims.sub}", "without a name"),
        ("{object: 'body.a[0]', owner: claims.sub}", "without a name"),
        ("{object: 'header.a b', owner: claims.sub}", "name of a header"),
        ("{object: path.a, owner: sub}", "is nobody"),
        ("{object: path.a, owner: claims.}", "is nobody"),
        ("{object: path.a, owner: claims.sub, enumeration: {distinct: 0}}", "from 1 to"),
        ("{object: path.a}", "owner"),
    ] {
        let error = kit().build(yaml).map(drop).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
}
