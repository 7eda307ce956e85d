use super::*;
use palisade_contract::{
    Descriptor,
    testkit::{Case, Kit},
};
use serde_json::json;

const TABLE: &str = "
grants:
  - {methods: [GET, HEAD], paths: [/orders/*], anyone: true}
  - {methods: [POST], paths: [/orders], roles: [buyer, admin]}
  - {methods: [DELETE], paths: ['/orders/{id}'], roles: [admin], groups: [staff]}
  - {methods: [PUT], paths: ['/orders/{id}'], scopes: ['orders:write'], claims: {tenant: acme}}
";

fn kit() -> Kit {
    Kit::of(Descriptor::of::<Rbac>()).consumer("alice", &["staff", "other"], &[])
}

#[test]
fn what_no_row_grants_is_refused() {
    let plugin = kit().build(TABLE).unwrap();
    let all = json!({"roles": ["admin"], "scope": "orders:write", "tenant": "acme"});
    for (method, path, claims, passes) in [
        ("GET", "/orders/7", json!({}), true),
        ("GET", "/orders", json!({}), true),
        ("GET", "/", all.clone(), false),
        ("OPTIONS", "/orders/7", all.clone(), false),
        ("POST", "/orders", json!({"roles": ["buyer"]}), true),
        ("POST", "/orders", json!({"roles": "x buyer"}), true),
        ("POST", "/orders", json!({"roles": ["Buyer", "buyer x"]}), false),
        ("POST", "/orders", json!({"role": ["buyer"]}), false),
        ("POST", "/orders/7", all.clone(), false),
        ("DELETE", "/orders/7", json!({"roles": ["admin"]}), true),
        ("DELETE", "/orders/7", json!({"roles": ["buyer"]}), false),
        ("DELETE", "/orders/7/lines", all.clone(), false),
        ("PUT", "/orders/7", json!({"scope": "a orders:write", "tenant": ["x", "acme"]}), true),
        ("PUT", "/orders/7", json!({"scope": "orders:write"}), false),
        ("PUT", "/orders/7", json!({"scope": "orders:write", "tenant": "acme2"}), false),
        ("PUT", "/orders/7", json!({"tenant": "acme"}), false),
        ("PATCH", "/orders/7", all, false),
    ] {
        let ran = plugin.run(Case::new(method, path).principal("bob", &[]).claims(claims.clone()));
        if passes {
            ran.passed();
        } else {
            ran.denied(403, "rbac_denied");
        }
    }
    plugin.run(Case::new("DELETE", "/orders/7").principal("alice", &["staff"])).passed();
    plugin.run(Case::new("DELETE", "/orders/7").principal("alice", &["other"])).denied(403, "rbac_denied");
    plugin.run(Case::get("/orders")).denied(403, "rbac_denied");
}

#[test]
fn the_rights_of_two_credentials_are_not_put_together() {
    let plugin = kit().build(TABLE).unwrap();
    let put = |first, second| {
        let case = Case::new("PUT", "/orders/7").principal("a", &[]).claims(first).besides();
        plugin.run(case.principal("b", &[]).claims(second))
    };
    put(json!({"scope": "orders:write"}), json!({"tenant": "acme"})).denied(403, "rbac_denied");
    put(json!({}), json!({"scope": "orders:write", "tenant": "acme"})).passed();
}

#[test]
fn mistakes_are_refused_at_load() {
    for (yaml, words) in [
        ("grants: []", "nothing is granted"),
        ("grants: [{methods: [GET], paths: [/a]}]", "does not say whom"),
        ("grants: [{methods: [GET], paths: [/a], anyone: true, roles: [a]}]", "for anyone, and asks"),
        ("grants: [{methods: [], paths: [/a], anyone: true}]", "grants nothing"),
        ("grants: [{methods: [GET], paths: [], anyone: true}]", "grants nothing"),
        ("grants: [{methods: [get], paths: [/a], anyone: true}]", "not a method"),
        ("grants: [{methods: [GET], paths: [a], anyone: true}]", "does not begin with"),
        ("grants: [{methods: [GET], paths: [/a], groups: [staf]}]", "did you mean `staff`"),
        ("grants: [{methods: [GET], path: [/a], anyone: true}]", "paths"),
    ] {
        let error = kit().build(yaml).map(drop).unwrap_err();
        assert!(error.contains(words), "{yaml}: {error}");
    }
}
