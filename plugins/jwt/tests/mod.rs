//! Tokens that are really signed, good ones and hostile ones.

mod bound;
mod claims;
mod denied;
mod fetched;
mod forged;
mod hostile;
mod issuers;
mod load;
mod sign;

use palisade_contract::{
    Descriptor,
    testkit::{Case, Instance, Kit, Ran},
};
use serde_json::{Value, json};
use sign::{SECRET, Signer};
use std::time::{Duration, SystemTime};

const DESCRIPTOR: Descriptor =
    Descriptor::authenticator::<super::Jwt>().with_credentials::<crate::TokenCredential>();

/// When everything here happens.
const NOW: i64 = 1_800_000_000;

fn kit() -> Kit {
    Kit::of(DESCRIPTOR)
}

fn case() -> Case {
    Case::get("/").started(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64))
}

fn good() -> Value {
    json!({"iss": "https://login.example", "sub": "alice", "aud": "shop", "exp": NOW + 60, "iat": NOW})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn send(plugin: &Instance, token: &str) -> Ran {
    plugin.run(case().header("authorization", &format!("Bearer {token}")))
}

/// YAML of a key in PEM.
fn pem(signer: &Signer) -> String {
    let text: String = signer.pem().lines().map(|line| format!("  {line}\n")).collect();
    format!("public_key: |\n{text}")
}

fn secret() -> Instance {
    kit().build(&format!("secret: '{SECRET}'")).unwrap()
}

#[test]
fn each_algorithm_verifies_its_own_signatures_and_no_other() {
    let (p256, p384, ed) = (Signer::p256(), Signer::p384(), Signer::ed());
    let all: [(&Signer, &[&str]); 4] = [
        (&p256, &["ES256"]),
        (&p384, &["ES384"]),
        (&ed, &["EdDSA"]),
        (&Signer::Rsa, &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
    ];
    let names: Vec<&str> = all.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    for (signer, own) in all {
        let plugin = kit().build(&pem(signer)).unwrap();
        let set = json!({"keys": [signer.jwk("k")]}).to_string();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keys.json"), set).unwrap();
        let file = dir.path().join("keys.json").display().to_string();
        let jwks = kit().build(&format!("jwks: {file}")).unwrap();
        for name in &names {
            let token = signer.token(name, &good());
            if own.contains(name) {
                for plugin in [&plugin, &jwks] {
                    let principal = send(plugin, &token).authenticated();
                    assert_eq!(&*principal.id, "https://login.example|alice", "{name}");
                    assert_eq!(principal.claims["aud"], "shop");
                }
                let pinned = kit().build(&format!("{}algorithms: [{name}]", pem(signer))).unwrap();
                send(&pinned, &token).authenticated();
                for other in own.iter().filter(|other| *other != name) {
                    let pinned = kit().build(&format!("{}algorithms: [{other}]", pem(signer))).unwrap();
                    send(&pinned, &token).denied(401, "token_algorithm");
                }
            } else {
                send(&plugin, &token).denied(401, "token_algorithm");
                send(&jwks, &token).denied(401, "token_algorithm");
            }
        }
    }
    for name in ["HS256", "HS384", "HS512"] {
        let plugin = kit().build(&format!("{{secret: '{SECRET}', algorithms: [{name}]}}")).unwrap();
        send(&plugin, &Signer::secret().token(name, &good())).authenticated();
    }
    let bytes = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, SECRET);
    let plugin = kit().build(&format!("secret: base64:{bytes}")).unwrap();
    send(&plugin, &Signer::secret().token("HS256", &good())).authenticated();
    send(&secret(), &Signer::secret().token("HS512", &good())).denied(401, "token_algorithm");
}

#[test]
fn a_token_stands_in_one_place() {
    let token = Signer::secret().token("HS256", &good());
    let plugin = secret();
    let bearer = format!("Bearer {token}");
    plugin.run(case().header("authorization", &format!("bEaReR {token}"))).authenticated();
    plugin.run(case()).no_credential();
    plugin.run(case().header("authorization", "Basic YTpi")).no_credential();
    plugin.run(case().header("authorization", &format!("Bearers {token}"))).no_credential();
    plugin.run(case().header("authorization", &token)).no_credential();
    plugin.run(case().header("cookie", &format!("token={token}"))).no_credential();
    let twice = case().header("authorization", &bearer);
    plugin.run(twice.header("authorization", &bearer)).denied(401, "credential_ambiguous");
    let other = case().header("authorization", "Basic YTpi");
    plugin.run(other.header("authorization", &bearer)).denied(401, "credential_ambiguous");
    for wrong in [
        "Bearer",
        "Bearer ",
        &format!("Bearer  {token}"),
        &format!("{bearer}, {bearer}"),
        &format!("{bearer} x"),
    ] {
        plugin.run(case().header("authorization", wrong)).denied(401, "token_malformed");
    }
    let yaml = format!(
        "{{secret: '{SECRET}', header_names: [authorization, x-token], cookie_names: [t], query_names: [jwt], \
         hide_credentials: true}}"
    );
    let plugin = kit().build(&yaml).unwrap();
    for case in [
        case().header("x-token", &token),
        case().header("x-token", &bearer),
        case().header("cookie", &format!("a=b; t={token}")),
    ] {
        let ran = plugin.run(case);
        ran.authenticated();
        assert_eq!(ran.ex.origin_changes().remove_cookies, ["t".into()]);
        assert_eq!(ran.ex.origin_changes().remove_query, ["jwt".into()]);
    }
    let query = Case::get(&format!("/?jwt={token}"))
        .started(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64));
    let ran = plugin.run(query.header("authorization", "Basic YTpi"));
    ran.authenticated();
    assert!(ran.ex.origin_changes().remove_headers.is_empty(), "another scheme stays");
    let both = case().header("authorization", &bearer).header("cookie", &format!("t={token}"));
    plugin.run(both).denied(401, "credential_ambiguous");
    assert_eq!(send(&plugin, &token).ex.origin_changes().remove_headers, ["authorization"]);
    assert!(send(&secret(), &token).ex.origin_changes().is_empty());
}

#[test]
fn what_was_verified_is_remembered_until_its_end() {
    let claims = with("exp", json!(NOW + 10));
    let token = Signer::secret().token("HS256", &claims);
    let at = |plugin: &Instance, after: u64| {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64 + after);
        plugin.run(Case::get("/").started(time).header("authorization", &format!("Bearer {token}")))
    };
    let plugin = secret();
    let first = at(&plugin, 0).authenticated();
    let again = at(&plugin, 9).authenticated();
    assert!(std::sync::Arc::ptr_eq(&first, &again), "it was verified twice");
    at(&plugin, 10).denied(401, "token_expired");
    let forgetful = kit().build(&format!("{{secret: '{SECRET}', cache_size: 0}}")).unwrap();
    let (first, again) = (at(&forgetful, 0).authenticated(), at(&forgetful, 0).authenticated());
    assert!(!std::sync::Arc::ptr_eq(&first, &again));
}

#[test]
fn the_cache_is_bounded_and_holds_no_bad_token() {
    let config: super::Config = serde_json::from_value(json!({"secret": SECRET, "cache_size": 32})).unwrap();
    let mut errors = Vec::new();
    let common = config.common(&mut errors);
    let checks = super::config::Checks::new(&config.alone(), &common, None, &mut errors);
    let keys =
        super::keyset::KeySet::one(super::key::Key::of_secret(config.secret.as_ref().unwrap()).ok().unwrap());
    let cache = crate::tokens::cache::Cache::new(config.cache_size).unwrap();
    for count in 0..500 {
        let token = Signer::secret().token("HS256", &with("jti", json!(count.to_string())));
        let read = super::token::Unverified::read(token.as_bytes()).ok().unwrap();
        let verified = super::verify::verify(&read, &keys, &checks, NOW).ok().unwrap();
        let id = cache.id(token.as_bytes());
        cache.put(id, std::sync::Arc::new(verified));
        assert!(cache.get(&id, |known| known.holds(NOW)).is_some());
        assert!(cache.len() <= 32);
    }
    assert!(cache.get(&cache.id(b"another"), |known| known.holds(NOW)).is_none());
}
