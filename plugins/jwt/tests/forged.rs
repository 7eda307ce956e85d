//! PKCS#1 v1.5 signatures that a lenient reader takes: made with the private key, which is all that is right about them,
//! or as the cube root of what such a reader looks at.

use super::{sign::*, *};
use crate::jwt::crypto::PROVIDER;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use num_bigint::BigUint;
use ring::digest::{SHA256, digest};

/// What stands before a SHA-256 (RFC 8017 §9.2, note 1).
const INFO: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 0x05, 0, 0x04, 0x20];

/// Modulus and private exponent of the tests' key.
fn private() -> (BigUint, BigUint) {
    // Past the header of PKCS#8, the numbers of an RSAPrivateKey (RFC 8017 §A.1.2) stand one after another.
    let der = pem_body(include_str!("rsa.pem"));
    let mut rest = &der[26..];
    let mut next = |tag: u8| {
        assert_eq!(rest[0], tag);
        let (head, length) = match rest[1] {
            0x81 => (3, usize::from(rest[2])),
            0x82 => (4, usize::from(rest[2]) << 8 | usize::from(rest[3])),
            short => (2, usize::from(short)),
        };
        let content = &rest[head..head + length];
        rest = if tag == 0x30 { &rest[head..] } else { &rest[head + length..] };
        BigUint::from_bytes_be(content)
    };
    next(0x30);
    let _version = next(2);
    let (modulus, _public) = (next(2), next(2));
    (modulus, next(2))
}

/// A signature whose opened form is this.
fn sign(opened: &[u8], (modulus, exponent): &(BigUint, BigUint)) -> Vec<u8> {
    let signature = BigUint::from_bytes_be(opened).modpow(exponent, modulus).to_bytes_be();
    [vec![0; 256 - signature.len()], signature].concat()
}

fn padded(kind: u8, fill: u8, padding: usize, rest: &[u8]) -> Vec<u8> {
    [&[0, kind], &*vec![fill; padding], &[0], rest].concat()
}

#[test]
fn nothing_but_the_whole_padding_is_a_signature() {
    let key = private();
    let plugin = kit().build(&pem(&Signer::Rsa)).unwrap();
    let message = format!("{}.{}", b64("{\"alg\":\"RS256\"}"), b64(good().to_string()));
    let hash = digest(&SHA256, message.as_bytes());
    let hash = hash.as_ref();
    let right = [&INFO, hash].concat();
    let edited = |at: usize, byte: u8| {
        let mut info = right.clone();
        info[at] = byte;
        info
    };
    let without_null = [&[0x30, 0x2f, 0x30, 0x0b], &INFO[4..15], &[0x04, 0x20], hash].concat();
    let long_length = [&[0x30, 0x81, 0x31], &INFO[2..], hash].concat();
    let in_null = [&[0x30, 0x33, 0x30, 0x0f], &INFO[4..15], &[0x05, 2, 7, 7, 0x04, 0x20], hash].concat();
    let with = |info: &[u8]| padded(1, 0xff, 253 - info.len(), info);
    let garbage = |padding: usize| {
        let mut opened = padded(1, 0xff, padding, &right);
        opened.resize(256, 0xa5);
        opened
    };
    let token = |opened: &[u8]| {
        assert_eq!(opened.len(), 256);
        format!("{message}.{}", b64(sign(opened, &key)))
    };
    send(&plugin, &token(&with(&right))).authenticated();
    let mut zero_inside = with(&right);
    zero_inside[100] = 0;
    for (what, opened) in [
        ("a short padding and garbage behind", garbage(8)),
        ("no padding and garbage behind", garbage(0)),
        ("one byte behind", garbage(201)),
        ("bytes behind that are counted in", with(&[&[0x30, 0x33], &right[2..], &[0, 0]].concat())),
        ("no NULL", with(&without_null)),
        ("bytes in the NULL", with(&in_null)),
        ("a length in two bytes", with(&long_length)),
        ("the identifier of SHA-512", with(&edited(14, 3))),
        ("an unknown identifier", with(&edited(10, 0x66))),
        ("the hash alone", with(hash)),
        ("block type 0", padded(0, 0, 202, &right)),
        ("block type 2", padded(2, 0xff, 202, &right)),
        ("another fill", padded(1, 0xfe, 202, &right)),
        ("a zero in the fill", zero_inside),
        ("a first byte", [&[1][..], &with(&right)[1..]].concat()),
    ] {
        let answer = send(&plugin, &token(&opened));
        println!("{what}");
        answer.denied(401, "token_signature");
    }
    // The signature and the modulus added: the same remainder, in more bytes or none at all.
    let right = BigUint::from_bytes_be(&sign(&with(&right), &key));
    let more = (right + &key.0).to_bytes_be();
    send(&plugin, &format!("{message}.{}", b64(more))).denied(401, "token_signature");
}

#[test]
fn a_cube_root_signs_nothing() {
    let modulus = URL_SAFE_NO_PAD.decode(Signer::Rsa.jwk("k")["n"].as_str().unwrap()).unwrap();
    let message = b"a message";
    let right = [&INFO, digest(&SHA256, message).as_ref()].concat();
    let key = DecodingKey::from_rsa_raw_components(&modulus, &[3]);
    let verifier = (PROVIDER.verifier_factory)(&Algorithm::RS256, &key).unwrap();
    for padding in [0, 8, 64] {
        // The least number whose cube begins so; what follows is garbage.
        let mut opened = padded(1, 0xff, padding, &right);
        let begins = opened.len();
        opened.resize(256, 0xff);
        let root = BigUint::from_bytes_be(&opened).cbrt();
        let cube = root.pow(3).to_bytes_be();
        // A number of 255 bytes: the first one is the zero.
        if padding < 64 {
            assert_eq!(cube[..begins - 1], opened[1..begins], "a forgery that a lenient reader takes");
        }
        let signature = [vec![0; 256 - root.to_bytes_be().len()], root.to_bytes_be()].concat();
        assert!(verifier.verify(message, &signature).is_err(), "{padding}");
    }
    // And no such key is taken.
    for exponent in [&[1][..], &[3], &[17], &[1, 1], &[0, 0, 3], &[0xff, 0xff]] {
        let mut jwk = Signer::Rsa.jwk("k");
        jwk["e"] = json!(b64(exponent));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k.json");
        std::fs::write(&file, json!({"keys": [jwk]}).to_string()).unwrap();
        let error = kit().build(&format!("jwks: {}", file.display())).map(drop).unwrap_err();
        assert!(error.contains("public exponent below 65537"), "{exponent:?}: {error}");
    }
}
