//! The users that consumers are known as, as written and as verified.

use super::hash::Stored;
use palisade_contract::{BuildEnv, ConfigError, Principal, Secret};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use ring::hmac;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny},
};
use std::{collections::HashMap, sync::Arc};

/// The longest user name, in bytes.
const MAX_USER: usize = 128;

/// A user name and the stored form of its password. A consumer may have several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicCredential {
    /// The user name, without a colon.
    username: String,
    /// The stored form of the password, `$argon2id$…`: `palisade hash --password` makes it. bcrypt (`$2b$…`) is taken too.
    password_hash: Secret,
    /// Known from other gateways; refused with a word on what to write.
    #[serde(default, rename = "password", deserialize_with = "refuse_plain")]
    #[schemars(skip)]
    _plain: (),
}

fn refuse_plain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    IgnoredAny::deserialize(deserializer)?;
    Err(D::Error::custom(
        "a password is not stored as it is; help: write `password_hash`: `palisade hash --password` makes it",
    ))
}

struct User {
    stored: Stored,
    principal: Arc<Principal>,
}

/// All users.
pub(super) struct Users {
    all: Vec<User>,
    by_name: HashMap<String, usize>,
}

impl Users {
    /// Reads all consumers' users. A name belongs to one of them.
    pub(super) fn read(env: &BuildEnv<'_>, errors: &mut Vec<ConfigError>) -> Self {
        let (mut all, mut by_name, mut seen) = (Vec::new(), HashMap::new(), HashMap::new());
        for (consumer, credential, place) in env.credentials::<BasicCredential>() {
            let placed = |error: ConfigError| ConfigError {
                path: format!("consumers.{}.basic-auth", consumer.name),
                ..error.place(place.clone())
            };
            let name = credential.username.as_str();
            if name.is_empty() || name.len() > MAX_USER || name.contains(|c: char| c == ':' || c.is_control())
            {
                let error = ConfigError::new("this cannot be a user name");
                let help = format!("write 1 to {MAX_USER} bytes without a colon or a control character");
                errors.push(placed(error.help(help)));
                continue;
            }
            let stored = match Stored::parse(credential.password_hash.expose()) {
                Ok(stored) => stored,
                Err(wrong) => {
                    let error = ConfigError::new(format!("`password_hash`: {wrong}"));
                    errors.push(placed(error.help("`palisade hash --password` makes it from a password")));
                    continue;
                }
            };
            if let Some((owner, first)) = seen.insert(name, (consumer.name.clone(), place.clone())) {
                let error =
                    ConfigError::new(format!("this user name belongs to the consumer `{owner}` already"));
                let error = error.help("give each a name of its own").other("the first one is here", first);
                errors.push(placed(error));
                continue;
            }
            by_name.insert(name.to_owned(), all.len());
            let principal = Arc::new(Principal::of_consumer(consumer.clone(), Some(shown(name))));
            all.push(User { stored, principal });
        }
        Users { all, by_name }
    }

    /// Whose login it is; none where it is not good. A name that nobody has costs what one of those costs that somebody
    /// has: always the same one, as with a name that is there.
    pub(super) fn verify(&self, key: &hmac::Key, name: &str, password: &str) -> Option<Arc<Principal>> {
        if let Some(user) = self.by_name.get(name).and_then(|index| self.all.get(*index)) {
            return user.stored.verify(password).then(|| user.principal.clone());
        }
        let tag = hmac::sign(key, name.as_bytes());
        let drawn = tag.as_ref().first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let index = usize::try_from(drawn % (self.all.len() as u64).max(1)).unwrap_or(0);
        if let Some(other) = self.all.get(index) {
            other.stored.verify(password);
        }
        None
    }
}

/// The name as a header can carry it.
fn shown(name: &str) -> Arc<str> {
    if name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%') {
        name.into()
    } else {
        utf8_percent_encode(name, NON_ALPHANUMERIC).to_string().into()
    }
}
