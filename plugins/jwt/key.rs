//! One key, and the algorithms that its type allows.

use super::crypto::PROVIDER;
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use palisade_contract::Secret;
use std::sync::atomic::{AtomicBool, Ordering};
use x509_parser::{
    pem::parse_x509_pem,
    prelude::{FromDer, X509Certificate},
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

/// The fewest bytes of a secret.
const MIN_SECRET: usize = 32;
/// The fewest and the most bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const HMAC: &[Algorithm] = &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// Why a key cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyError {
    /// It is for something else, or of a kind that is not known: in a set of keys it is passed over.
    Unsupported(String),
    /// It must not be used.
    Bad(String),
}

fn bad<T>(message: impl Into<String>) -> Result<T, KeyError> {
    Err(KeyError::Bad(message.into()))
}

/// A key that verifies.
pub(super) struct Key {
    /// Its id in a set of keys; none for a key that stands alone.
    pub(super) kid: Option<String>,
    algorithms: Vec<Algorithm>,
    material: DecodingKey,
    /// It has left its set: what it has verified counts no longer.
    withdrawn: AtomicBool,
}

/// A key off its curve would load, and verify nothing. To agree on a secret with it says so: that needs a point of
/// the curve, whatever the secret.
fn is_on_curve(point: &[u8], algorithm: Algorithm) -> bool {
    use ring::agreement::{ECDH_P256, ECDH_P384, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
    let curve = if algorithm == Algorithm::ES256 { &ECDH_P256 } else { &ECDH_P384 };
    EphemeralPrivateKey::generate(curve, &ring::rand::SystemRandom::new())
        .and_then(|own| agree_ephemeral(own, &UnparsedPublicKey::new(curve, point), |_| ()))
        .is_ok()
}

impl Key {
    fn new(algorithms: &[Algorithm], material: DecodingKey) -> Self {
        let algorithms = algorithms.to_vec();
        Key { kid: None, algorithms, material, withdrawn: AtomicBool::new(false) }
    }

    /// A secret: as it is, or `base64:` and its bytes in base64.
    pub(super) fn of_secret(secret: &Secret) -> Result<Self, KeyError> {
        let text = secret.expose();
        let decoded;
        let bytes = match text.strip_prefix("base64:") {
            None => text.as_bytes(),
            Some(encoded) => {
                decoded =
                    STANDARD.decode(encoded).or_else(|_| bad("what follows `base64:` is not base64"))?;
                &decoded
            }
        };
        Key::of_bytes(bytes)
    }

    fn of_bytes(secret: &[u8]) -> Result<Self, KeyError> {
        if secret.len() < MIN_SECRET {
            let message = format!("the secret has {} bytes; {MIN_SECRET} are the fewest", secret.len());
            return bad(message);
        }
        Ok(Key::new(HMAC, DecodingKey::from_secret(secret)))
    }

    /// A public key or a certificate in PEM.
    pub(super) fn of_pem(pem: &str) -> Result<Self, KeyError> {
        let Ok((rest, block)) = parse_x509_pem(pem.as_bytes()) else { return bad("it is not PEM") };
        if pem.contains("PRIVATE KEY") {
            return bad("it is a private key, which no gateway needs");
        }
        if rest.trim_ascii().len() > 1 && parse_x509_pem(rest).is_ok() {
            return bad("it has more than one block of PEM");
        }
        let parsed = match block.label.as_str() {
            "PUBLIC KEY" => {
                SubjectPublicKeyInfo::from_der(&block.contents).ok().filter(|(rest, _)| rest.is_empty())
            }
            "CERTIFICATE" => X509Certificate::from_der(&block.contents)
                .ok()
                .map(|(rest, certificate)| (rest, certificate.tbs_certificate.subject_pki)),
            label => return bad(format!("it is a `{label}`, not a `PUBLIC KEY`")),
        };
        let Some((_, info)) = parsed else { return bad("its content cannot be read") };
        Key::of_info(&info)
    }

    fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        const P256: &str = "1.2.840.10045.3.1.7";
        const P384: &str = "1.3.132.0.34";
        const ED25519: &str = "1.3.101.112";
        let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
        let curve = curve.map(|curve| curve.to_id_string());
        match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => Key::of_rsa(rsa.modulus, rsa.exponent),
            Ok(PublicKey::EC(point)) => match curve.as_deref() {
                Some(P256) => Key::of_point(point.data(), 32, Algorithm::ES256),
                Some(P384) => Key::of_point(point.data(), 48, Algorithm::ES384),
                _ => bad("its curve is neither P-256 nor P-384"),
            },
            _ if info.algorithm.algorithm.to_id_string() == ED25519 => {
                Key::of_edwards(&info.subject_public_key.data)
            }
            _ => bad("it is neither RSA nor on one of the curves P-256, P-384 and Ed25519"),
        }
    }

    fn of_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let strip =
            |number: &[u8]| -> Vec<u8> { number.iter().copied().skip_while(|byte| *byte == 0).collect() };
        let (modulus, exponent) = (strip(modulus), strip(exponent));
        let unused = modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        let bits = modulus.len() * 8 - unused;
        if !RSA_BITS.contains(&bits) {
            return bad(format!(
                "the RSA key has {bits} bits; {} to {} are taken",
                RSA_BITS.start(),
                RSA_BITS.end()
            ));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
        if !odd(&modulus) || !odd(&exponent) || exponent.len() > 4 {
            return bad("the RSA key has a modulus or an exponent that no RSA key has");
        }
        // ring compares the whole padding, which is what forgeries for small exponents need it not to; FIPS 186-5
        // allows none of them, and so nobody has to rely on it.
        if *exponent < [1, 0, 1][..] && exponent.len() <= 3 || exponent.len() < 3 {
            return bad("the RSA key has a public exponent below 65537");
        }
        Ok(Key::new(RSA, DecodingKey::from_rsa_raw_components(&modulus, &exponent)))
    }

    /// `size` is that of a coordinate; the point is uncompressed.
    fn of_point(point: &[u8], size: usize, algorithm: Algorithm) -> Result<Self, KeyError> {
        if point.len() != 1 + 2 * size || point.first() != Some(&4) {
            return bad("its point has not the size of its curve");
        }
        if !is_on_curve(point, algorithm) {
            return bad("its point is not on its curve");
        }
        Ok(Key::new(&[algorithm], DecodingKey::from_ec_der(point)))
    }

    fn of_edwards(point: &[u8]) -> Result<Self, KeyError> {
        if point.len() != 32 {
            return bad("its point has not the size of its curve");
        }
        Ok(Key::new(&[Algorithm::EdDSA], DecodingKey::from_ed_der(point)))
    }

    /// A key of a JWK Set (RFC 7517): what it says of its use and its algorithm holds.
    pub(super) fn of_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let unsupported = |message: &str| Err(KeyError::Unsupported(message.to_owned()));
        let common = &jwk.common;
        if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return unsupported("it is not for signatures");
        }
        if common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return unsupported("it is not for verifying");
        }
        let part = |text: &str| {
            use base64::engine::general_purpose::URL_SAFE_NO_PAD;
            URL_SAFE_NO_PAD.decode(text).or_else(|_| bad("a part of it is not base64url"))
        };
        let mut key = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => Key::of_rsa(&part(&rsa.n)?, &part(&rsa.e)?)?,
            AlgorithmParameters::OctetKey(secret) => Key::of_bytes(&part(&secret.value)?)?,
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Key::of_edwards(&part(&pair.x)?)?
            }
            AlgorithmParameters::EllipticCurve(ec) => {
                let (size, algorithm) = match ec.curve {
                    EllipticCurve::P256 => (32, Algorithm::ES256),
                    EllipticCurve::P384 => (48, Algorithm::ES384),
                    _ => return unsupported("its curve is not known"),
                };
                let (x, y) = (part(&ec.x)?, part(&ec.y)?);
                if x.len() != size || y.len() != size {
                    return bad("its point has not the size of its curve");
                }
                Key::of_point(&[&[4], &*x, &*y].concat(), size, algorithm)?
            }
            _ => return unsupported("its type is not known"),
        };
        if let Some(only) = common.key_algorithm {
            let Ok(only) = Algorithm::try_from(only) else {
                return unsupported("its algorithm is not known");
            };
            if !key.algorithms.contains(&only) {
                return bad(format!("its `alg` is `{only:?}`, which its type does not allow"));
            }
            key.algorithms = vec![only];
        }
        key.kid.clone_from(&common.key_id);
        Ok(key)
    }

    /// What tokens may be signed with that are verified with it.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// True where tokens of the algorithm may be verified with it.
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// True for a secret.
    pub(super) fn is_secret(&self) -> bool {
        self.material.family() == AlgorithmFamily::Hmac
    }

    /// True where the signature is this key's.
    pub(super) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &Vec<u8>) -> bool {
        self.allows(algorithm)
            && (PROVIDER.verifier_factory)(&algorithm, &self.material)
                .is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }

    /// True where both are one key, with one id and one use.
    pub(super) fn is(&self, other: &Key) -> bool {
        use jsonwebtoken::DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let same = match (self.material.kind(), other.material.kind()) {
            (SecretOrDer(one), SecretOrDer(other)) => one == other,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: m, e: f }) => (n, e) == (m, f),
            _ => false,
        };
        same && self.kid == other.kid && self.algorithms == other.algorithms
    }

    /// It is no longer its issuer's.
    pub(super) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    /// True where it is no longer its issuer's.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }
}
