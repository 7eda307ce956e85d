//! A token's verification beside ring's own of the same signature: `cargo bench -p palisade-plugins --bench jwt`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use palisade_contract::{
    Descriptor,
    testkit::{Case, Kit},
};
use palisade_plugins::Jwt;
use rcgen::{KeyPair, PublicKeyData};
use ring::{
    rand::SystemRandom,
    rsa,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_SHA256, UnparsedPublicKey,
    },
};

const CLAIMS: &str = r#"{"iss":"https://login.example","sub":"alice","aud":"shop","exp":4102444800,"iat":1700000000,
"scope":"orders:read orders:write","tenant":"acme","email":"alice@example.com"}"#;

fn message(algorithm: &str) -> String {
    let header = format!("{{\"alg\":\"{algorithm}\",\"typ\":\"JWT\"}}");
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(CLAIMS))
}

fn compare(c: &mut Criterion, name: &str, pem: &str, message: &str, signature: &[u8], alone: impl Fn()) {
    let token = format!("authorization: Bearer {message}.{}", URL_SAFE_NO_PAD.encode(signature));
    let (header, value) = token.split_once(": ").unwrap();
    let case = || Case::get("/").header(header, value);
    let key: String = pem.lines().map(|line| format!("  {line}\n")).collect();
    let kit = Kit::of(Descriptor::authenticator::<Jwt>());
    let each = kit.build(&format!("public_key: |\n{key}cache_size: 0")).unwrap();
    let cached = kit.build(&format!("public_key: |\n{key}")).unwrap();
    each.run(case()).authenticated();
    cached.run(case()).authenticated();
    c.bench_function(&format!("{name}, ring alone"), |b| b.iter(&alone));
    c.bench_function(&format!("{name}, each time"), |b| {
        b.iter_batched(case, |case| each.run(case), BatchSize::SmallInput);
    });
    c.bench_function(&format!("{name}, remembered"), |b| {
        b.iter_batched(case, |case| cached.run(case), BatchSize::SmallInput);
    });
}

fn jwt(c: &mut Criterion) {
    let random = SystemRandom::new();
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let signer =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pair.serialize_der(), &random).unwrap();
    let text = message("ES256");
    let signature = signer.sign(&random, text.as_bytes()).unwrap();
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.der_bytes());
    let alone = || public.verify(text.as_bytes(), signature.as_ref()).unwrap();
    compare(c, "ES256", &pair.public_key_pem(), &text, signature.as_ref(), alone);

    let private: String =
        include_str!("../jwt/tests/rsa.pem").lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(private).unwrap();
    let pair = rsa::KeyPair::from_pkcs8(&der).unwrap();
    let text = message("RS256");
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref());
    let alone = || public.verify(text.as_bytes(), &signature).unwrap();
    compare(c, "RS256", include_str!("../jwt/tests/rsa.pub.pem"), &text, &signature, alone);
}

criterion_group!(benches, jwt);
criterion_main!(benches);
