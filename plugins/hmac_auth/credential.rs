//! The secrets that consumers sign with.

use super::Algorithm;
use palisade_contract::{BuildEnv, ConfigError, Principal, Secret};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{collections::HashMap, sync::Arc};

const MAX_USER: usize = 128;
/// 128 bits.
const SHORTEST: usize = 16;

/// A user name and the secret that its requests are signed with. A consumer may have several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HmacCredential {
    /// The user name: visible ASCII without `"`, `\`.
    username: String,
    /// The secret, of 16 bytes at least; best a reference, `${env:…}`.
    secret: Secret,
}

/// Who signs, by name.
pub(super) struct Signers {
    all: HashMap<String, Signer>,
    /// Is computed with where nobody has the name.
    nobody: [hmac::Key; 3],
}

struct Signer {
    keys: [hmac::Key; 3],
    principal: Arc<Principal>,
}

fn keys(secret: &[u8]) -> [hmac::Key; 3] {
    Algorithm::ALL.map(|algorithm| hmac::Key::new(algorithm.of_ring(), secret))
}

impl Signers {
    pub(super) fn read(env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Self {
        let (mut all, mut seen) = (HashMap::new(), HashMap::new());
        for (consumer, credential, place) in env.credentials::<HmacCredential>() {
            let mut wrong = |error: ConfigError| {
                let path = format!("consumers.{}.hmac-auth", consumer.name);
                errors.push(ConfigError { path, ..error.place(place.clone()) });
            };
            let name = credential.username.as_str();
            let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
            if name.is_empty() || name.len() > MAX_USER || !name.bytes().all(plain) {
                let help = format!("write 1 to {MAX_USER} letters, digits and signs without spaces");
                wrong(ConfigError::new("this cannot be a user name").help(help));
                continue;
            }
            if credential.secret.expose().len() < SHORTEST {
                let error = ConfigError::new(format!("the secret has fewer than {SHORTEST} bytes"));
                wrong(error.help("make one with `palisade hash --new`"));
                continue;
            }
            if let Some((owner, first)) = seen.insert(name, (consumer.name.clone(), place.clone())) {
                let error =
                    ConfigError::new(format!("this user name belongs to the consumer `{owner}` already"));
                wrong(error.help("give each a name of its own").other("the first one is here", first));
                continue;
            }
            let principal = Arc::new(Principal::of_consumer(consumer.clone(), Some(name.into())));
            let keys = keys(credential.secret.expose().as_bytes());
            all.insert(name.to_owned(), Signer { keys, principal });
        }
        let mut random = [0u8; 32];
        if SystemRandom::new().fill(&mut random).is_err() {
            let error = ConfigError::new("the system has no randomness");
            errors.push(error.help("see to the system's resources, and try again"));
        }
        Signers { all, nobody: keys(&random) }
    }

    /// Whose signature it is. A name that nobody has costs the same.
    pub(super) fn verify(
        &self,
        name: &str,
        algorithm: Algorithm,
        text: &[u8],
        signature: &[u8],
    ) -> Option<Arc<Principal>> {
        let signer = self.all.get(name);
        let keys = signer.map_or(&self.nobody, |signer| &signer.keys);
        let [sha256, sha384, sha512] = keys;
        let key = match algorithm {
            Algorithm::Sha256 => sha256,
            Algorithm::Sha384 => sha384,
            Algorithm::Sha512 => sha512,
        };
        let good = hmac::verify(key, text, signature).is_ok();
        signer.filter(|_| good).map(|signer| signer.principal.clone())
    }
}
