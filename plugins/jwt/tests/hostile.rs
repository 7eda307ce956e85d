//! Tokens that somebody forges.

use super::{sign::*, *};
use proptest::prelude::*;
use serde_json::json;

fn refused(plugin: &Instance, token: &str) {
    let denial = match send(plugin, token).found {
        Some(Ok(palisade_contract::Authentication::Rejected(denial))) => denial,
        other => panic!("{token}: {other:?}"),
    };
    assert_eq!(denial.status(), 401, "{token}");
}

fn with_header(signer: &Signer, header: Value) -> String {
    signer.raw(&header.to_string(), &good().to_string())
}

#[test]
fn no_algorithm_but_the_keys_own() {
    let (es, hs) = (Signer::p256(), Signer::secret());
    let plugins = [kit().build(&pem(&es)).unwrap(), kit().build(&pem(&Signer::Rsa)).unwrap(), secret()];
    let body = b64(good().to_string());
    for plugin in &plugins {
        for none in [
            "none", "None", "NONE", "nOnE", "", "null", "HS256 ", "hs256", "es256", "RS1", "HS1", "dir",
            "ES256K",
        ] {
            for end in ["", "AA", &b64(es.sign("", b""))] {
                refused(plugin, &format!("{}.{body}.{end}", b64(json!({"alg": none}).to_string())));
            }
        }
        for alg in [json!(null), json!(1), json!(["HS256"]), json!({"a": 1})] {
            refused(plugin, &format!("{}.{body}.AA", b64(json!({"alg": alg}).to_string())));
        }
        refused(plugin, &format!("{}.{body}.AA", b64("{}")));
    }
    // The public key as the secret, in each form that it has.
    for signer in [&es, &Signer::Rsa] {
        let plugin = kit().build(&pem(signer)).unwrap();
        let pem_text = signer.pem();
        let body_lines: String = pem_text.lines().filter(|line| !line.starts_with('-')).collect();
        for secret in [pem_text.clone(), pem_text.trim().to_owned(), format!("{pem_text}\n"), body_lines] {
            for alg in ["HS256", "HS384", "HS512"] {
                send(&plugin, &Signer::Secret(secret.clone()).token(alg, &good()))
                    .denied(401, "token_algorithm");
            }
        }
        let message = format!("{}.{body}", b64(json!({"alg": "HS256"}).to_string()));
        let der = pem_body(&pem_text);
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &der), message.as_bytes());
        refused(&plugin, &format!("{message}.{}", b64(tag)));
    }
    drop(hs);
}

#[test]
fn a_key_id_finds_its_key_and_nothing_else() {
    let (es, other) = (Signer::p256(), Signer::p384());
    let mut pinned = Signer::Rsa.jwk("pinned");
    pinned["alg"] = json!("PS256");
    let mut encryption = es.jwk("encryption");
    encryption["use"] = json!("enc");
    let mut signing = es.jwk("signing");
    signing["key_ops"] = json!(["sign"]);
    let set = json!({"keys": [es.jwk("a"), other.jwk("b"), pinned, encryption, signing, {"kty": "new", "kid": "n"}]});
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k.json"), set.to_string()).unwrap();
    let plugin = kit().build(&format!("jwks: {}", dir.path().join("k.json").display())).unwrap();
    send(&plugin, &es.token_of("ES256", "a", &good())).authenticated();
    send(&plugin, &other.token_of("ES384", "b", &good())).authenticated();
    send(&plugin, &es.token("ES256", &good())).authenticated();
    send(&plugin, &Signer::Rsa.token_of("PS256", "pinned", &good())).authenticated();
    for (token, reason) in [
        (es.token_of("ES256", "b", &good()), "token_algorithm"),
        (other.token_of("ES384", "a", &good()), "token_algorithm"),
        (Signer::Rsa.token_of("RS256", "pinned", &good()), "token_algorithm"),
        (es.token_of("ES256", "encryption", &good()), "token_key_unknown"),
        (es.token_of("ES256", "signing", &good()), "token_key_unknown"),
        (Signer::p256().token_of("ES256", "a", &good()), "token_signature"),
    ] {
        send(&plugin, &token).denied(401, reason);
    }
    for kid in [
        "",
        "A",
        "a ",
        "../../../../dev/null",
        "/etc/passwd",
        "' OR '1'='1",
        "a' UNION SELECT 'x",
        "a\u{0}",
        "*",
        "n",
        "http://127.0.0.1/k",
        "${env:HOME}",
    ] {
        send(&plugin, &es.token_of("ES256", kid, &good())).denied(401, "token_key_unknown");
    }
    send(&plugin, &es.token_of("ES256", &"k".repeat(300), &good())).denied(401, "token_malformed");
    for kid in [json!(1), json!(null), json!(["a"]), json!({"a": 1})] {
        let token = with_header(&es, json!({"alg": "ES256", "kid": kid}));
        send(&plugin, &token).denied(401, "token_malformed");
    }
}

#[test]
fn a_token_without_a_key_id_is_tried_with_few_keys_and_one_with_it_with_those_that_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let load = |keys: Vec<Value>| {
        std::fs::write(dir.path().join("k.json"), json!({"keys": keys}).to_string()).unwrap();
        kit().build(&format!("jwks: {}", dir.path().join("k.json").display())).unwrap()
    };
    let all: Vec<Signer> = (0..6).map(|_| Signer::p256()).collect();
    let plugin = load(all.iter().enumerate().map(|(index, one)| one.jwk(&index.to_string())).collect());
    for (index, signer) in all.iter().enumerate() {
        send(&plugin, &signer.token_of("ES256", &index.to_string(), &good())).authenticated();
        let ran = send(&plugin, &signer.token("ES256", &with("jti", json!("without"))));
        // Each try takes the time of a verification, and anybody may ask for it.
        if index < 4 { drop(ran.authenticated()) } else { drop(ran.denied(401, "token_signature")) }
    }
    let mut nameless = all[0].jwk("");
    nameless.as_object_mut().unwrap().remove("kid");
    let plugin = load(vec![nameless, all[1].jwk("b")]);
    for (signer, kid, reason) in [
        (&all[0], "any", None),
        (&all[1], "b", None),
        (&all[0], "b", Some("token_signature")),
        (&all[1], "any", Some("token_signature")),
    ] {
        let ran = send(&plugin, &signer.token_of("ES256", kid, &good()));
        match reason {
            None => drop(ran.authenticated()),
            Some(reason) => drop(ran.denied(401, reason)),
        }
    }
}

#[test]
fn neither_a_key_nor_its_cryptography_takes_another_algorithm() {
    use crate::jwt::{crypto::PROVIDER, key::Key};
    use jsonwebtoken::{Algorithm, DecodingKey};
    let point = Signer::p256();
    let Signer::P256(pair) = &point else { panic!("it is one") };
    let raw = pair.public_key_raw().to_vec();
    let message = b"a message";
    // The key is known to all: an HMAC by it is nobody's signature.
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &raw), message);
    let key = Key::of_pem(&point.pem()).ok().unwrap();
    assert!(key.verifies(Algorithm::ES256, message, &point.sign("ES256", message)));
    assert!(!key.verifies(Algorithm::HS256, message, &tag.as_ref().to_vec()));
    for algorithm in [Algorithm::HS256, Algorithm::RS256, Algorithm::EdDSA] {
        assert!((PROVIDER.verifier_factory)(&algorithm, &DecodingKey::from_ec_der(&raw)).is_err());
    }
    // Of one family, and another algorithm than the key's.
    let rsa = Key::of_pem(RSA_PUBLIC).ok().unwrap();
    assert!(rsa.verifies(Algorithm::RS256, message, &Signer::Rsa.sign("RS256", message)));
    let mut only = Signer::Rsa.jwk("k");
    only["alg"] = json!("PS256");
    let only = Key::of_jwk(&serde_json::from_value(only).unwrap()).ok().unwrap();
    assert!(!only.verifies(Algorithm::RS256, message, &Signer::Rsa.sign("RS256", message)));
}

#[test]
fn a_token_brings_no_key_and_no_extension() {
    let (ours, theirs) = (Signer::p256(), Signer::p256());
    let plugin = kit().build(&pem(&ours)).unwrap();
    for (name, value) in [
        ("jwk", theirs.jwk("x")),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("x5c", json!([b64("certificate")])),
    ] {
        let header = json!({"alg": "ES256", name: value});
        send(&plugin, &with_header(&theirs, header.clone())).denied(401, "token_signature");
        // Our own issuer may name its keys so: nobody looks there.
        send(&plugin, &with_header(&ours, header)).authenticated();
    }
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!(["b64"])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
    ] {
        send(&plugin, &with_header(&ours, json!({"alg": "ES256", name: value})))
            .denied(401, "token_malformed");
    }
    // An unencoded payload.
    let header = b64(json!({"alg": "ES256", "b64": false, "crit": ["b64"]}).to_string());
    let message = format!("{header}.{}", good());
    refused(&plugin, &format!("{message}.{}", b64(ours.sign("", message.as_bytes()))));
}

#[test]
fn signatures_have_one_form() {
    let signer = Signer::p256();
    let plugin = kit().build(&pem(&signer)).unwrap();
    let token = signer.token("ES256", &good());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let raw = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature).unwrap();
    send(&plugin, &token).authenticated();
    let mut flipped = raw.clone();
    flipped[10] ^= 1;
    let (r, s) = raw.split_at(32);
    let integer = |number: &[u8]| {
        let mut der = vec![2, 0];
        if number[0] >= 0x80 {
            der.push(0);
        }
        der.extend_from_slice(number);
        der[1] = (der.len() - 2) as u8;
        der
    };
    let body = [integer(r), integer(s)].concat();
    let der = [&[0x30, body.len() as u8], &*body].concat();
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    for (what, bytes) in [
        ("nothing", vec![]),
        ("zero", vec![0; 64]),
        ("r is zero", [&[0; 32], s].concat()),
        ("s is zero", [r, &[0; 32]].concat()),
        ("r is the order", [&*order, s].concat()),
        ("both are the order", [&*order, &*order].concat()),
        ("ones", vec![0xff; 64]),
        ("DER", der),
        ("padded", [&[0], r, &[0], s].concat()),
        ("a byte more", [&*raw, &[0]].concat()),
        ("a byte less", raw[..63].to_vec()),
        ("half", r.to_vec()),
        ("one bit", flipped),
        ("another message's", signer.sign("", b"other")),
    ] {
        let refused = send(&plugin, &format!("{message}.{}", b64(&bytes)));
        drop(refused.denied(401, "token_signature"));
        let _ = what;
    }
    let rsa = kit().build(&pem(&Signer::Rsa)).unwrap();
    let token = Signer::Rsa.token("RS256", &good());
    let message = token.rsplit_once('.').unwrap().0;
    // Padding that a lax reader takes: too short, and a digest with something after it.
    let mut short = vec![0, 1, 0xff, 0xff, 0];
    short.resize(256, 0xaa);
    for bytes in [
        vec![0; 256],
        vec![0; 255],
        vec![1],
        vec![0xff; 256],
        short,
        [Signer::Rsa.sign("RS256", message.as_bytes()), vec![0]].concat(),
    ] {
        send(&rsa, &format!("{message}.{}", b64(&bytes))).denied(401, "token_signature");
    }
    let swapped = format!("{message}.{}", b64(Signer::Rsa.sign("PS256", message.as_bytes())));
    send(&rsa, &swapped).denied(401, "token_signature");
    let ed = Signer::ed();
    let plugin = kit().build(&pem(&ed)).unwrap();
    let message = ed.token("EdDSA", &good()).rsplit_once('.').unwrap().0.to_owned();
    for bytes in [vec![0; 64], vec![0; 63], vec![0xff; 64]] {
        send(&plugin, &format!("{message}.{}", b64(&bytes))).denied(401, "token_signature");
    }
    let hs = Signer::secret().token("HS256", &good());
    let (message, signature) = hs.rsplit_once('.').unwrap();
    for wrong in ["", &signature[..40], &b64([0; 32])] {
        send(&secret(), &format!("{message}.{wrong}")).denied(401, "token_signature");
    }
}

#[test]
fn a_token_is_written_in_one_way() {
    let signer = Signer::secret();
    let plugin = secret();
    let token = signer.token("HS256", &good());
    send(&plugin, &token).authenticated();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let last = signature.chars().last().unwrap();
    // The last digit has bits that do not count.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let next = alphabet.chars().nth(alphabet.find(last).unwrap() | 1).unwrap();
    let loose = format!("{message}.{}{next}", &signature[..signature.len() - 1]);
    assert_ne!(loose, token);
    for wrong in [
        loose,
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        message.to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.x.y"),
        format!("{header}.{payload}..{signature}.x"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}=="),
        format!("{header}=.{payload}.{signature}"),
        format!("{header} .{payload}.{signature}"),
        format!("{header}. {payload}.{signature}"),
        format!("{header}.{payload}.{signature}\t"),
        format!("{token}x"),
        format!("{token}AAAA"),
        token.replace('.', ".."),
        token.replace('.', "%2e"),
        format!("{header}.{payload}.+/+/"),
        format!("\"{token}\""),
        format!("{token},{token}"),
        format!("{token};a=b"),
    ] {
        refused(&plugin, &wrong);
    }
    // Signed, and still to be read in two ways.
    let claims = good().to_string();
    let inner = &claims[1..claims.len() - 1];
    for (header, claims) in [
        ("{\"alg\":\"HS256\",\"alg\":\"HS256\"}", claims.clone()),
        ("{\"alg\":\"none\",\"alg\":\"HS256\"}", claims.clone()),
        ("{\"alg\":\"HS256\",\"kid\":\"a\",\"kid\":\"b\"}", claims.clone()),
        ("{\"alg\":\"HS256\"} x", claims.clone()),
        ("[\"HS256\"]", claims.clone()),
        ("{\"alg\":\"HS256\"}", format!("{{{inner},\"sub\":\"admin\"}}")),
        ("{\"alg\":\"HS256\"}", format!("{{{inner},\"\\u0073ub\":\"admin\"}}")),
        ("{\"alg\":\"HS256\"}", format!("{{{inner},\"exp\":9999999999}}")),
        ("{\"alg\":\"HS256\"}", format!("{{{inner},\"x\":{{\"a\":1,\"a\":2}}}}")),
        ("{\"alg\":\"HS256\"}", format!("{claims} {claims}")),
        ("{\"alg\":\"HS256\"}", format!("{claims}\0")),
        ("{\"alg\":\"HS256\"}", format!("\u{feff}{claims}")),
        ("{\"alg\":\"HS256\"}", "[]".to_owned()),
        ("{\"alg\":\"HS256\"}", "\"x\"".to_owned()),
        ("{\"alg\":\"HS256\"}", "null".to_owned()),
        ("{\"alg\":\"HS256\"}", String::new()),
        ("{\"alg\":\"HS256\"}", format!("{{{inner},\"x\":{}}}", "[".repeat(5000))),
        ("{\"alg\":\"HS256\"}", format!("{{{inner},\"x\":\"{}\"}}", "x".repeat(20_000))),
    ] {
        refused(&plugin, &signer.raw(header, &claims));
    }
}

#[test]
fn a_token_of_another_key_or_in_parts_is_refused() {
    let (ours, theirs) = (Signer::p256(), Signer::p256());
    let plugin = kit().build(&pem(&ours)).unwrap();
    send(&plugin, &theirs.token("ES256", &good())).denied(401, "token_signature");
    let (one, two) = (ours.token("ES256", &good()), ours.token("ES256", &with("sub", json!("bob"))));
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (one, two) = (parts(&one), parts(&two));
    send(&plugin, &format!("{}.{}.{}", one[0], two[1], one[2])).denied(401, "token_signature");
    // After a good one, which is remembered.
    send(&plugin, &one.join(".")).authenticated();
    send(&plugin, &format!("{}.{}.{}", one[0], two[1], one[2])).denied(401, "token_signature");
    // Five parts: encrypted.
    send(&plugin, &format!("{}.a.b.c.d", b64(json!({"alg": "dir", "enc": "A256GCM"}).to_string())))
        .denied(401, "token_malformed");
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_nothing_gets_in(
        text in "[ -~]{0,80}|([A-Za-z0-9_-]{0,30}\\.){0,5}[A-Za-z0-9_-]{0,30}",
        header in "\\{\"alg\":\"(HS256|ES256|none)\"(,\"[a-z]{1,4}\":(\"[a-z]{0,3}\"|[0-9]{1,20}|null|\\[\\]))?\\}",
        claims in "\\{(\"(exp|nbf|iat|aud|iss|sub)\":(\"[a-z]{0,3}\"|-?[0-9]{1,22}(\\.[0-9])?|null|\\[\"x\"\\]),?){0,4}\\}",
    ) {
        let plugin = secret();
        refused(&plugin, &text);
        let stranger = Signer::Secret("another secret, also of thirty-two bytes".to_owned());
        refused(&plugin, &stranger.raw(&header, &claims));
        // Well signed: whatever it says, an answer comes.
        let ran = send(&plugin, &Signer::secret().raw(&header, &claims));
        prop_assert!(matches!(ran.found, Some(Ok(_))));
    }
}
