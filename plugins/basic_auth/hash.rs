//! Stored forms of passwords: argon2id, and bcrypt for those that come from elsewhere.

use argon2::{
    Algorithm, Argon2, Params, PasswordHash, PasswordHasher, PasswordVerifier, Version,
    password_hash::{PasswordHashString, SaltString},
};
use ring::rand::{SecureRandom, SystemRandom};

/// What a verification may cost: memory in KiB, passes, lanes.
const MOST_MEMORY: u32 = 256 << 10;
const MOST_PASSES: u32 = 16;
const MOST_LANES: u32 = 8;
/// bcrypt's cost is the logarithm of its rounds.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 8..=15;
/// bcrypt looks at no more bytes.
const BCRYPT_BYTES: usize = 72;
/// What a new hash costs: 19 MiB, two passes, one lane.
const MEMORY: u32 = 19 << 10;
const PASSES: u32 = 2;

/// A stored password that can be verified, at a cost that has bounds.
pub(super) enum Stored {
    Argon2(PasswordHashString),
    Bcrypt(String),
}

impl Stored {
    /// Reads a stored form. Nothing of it is in the error: it may be the password.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.starts_with("$2") {
            let hash: bcrypt::HashParts = text.parse().map_err(|_| "this is no bcrypt hash")?;
            if !BCRYPT_COSTS.contains(&hash.get_cost()) {
                return Err("the cost of this bcrypt hash is not from 8 to 15");
            }
            return Ok(Stored::Bcrypt(text.to_owned()));
        }
        if !text.starts_with("$argon2id$") {
            return Err("this is neither an argon2id nor a bcrypt hash");
        }
        let hash = PasswordHash::new(text).map_err(|_| "this is no argon2id hash")?;
        let params =
            Params::try_from(&hash).map_err(|_| "the parameters of this argon2id hash are not good")?;
        if hash.version != Some(19) || hash.salt.is_none() || hash.hash.is_none_or(|hash| hash.len() < 16) {
            return Err("this argon2id hash has no salt, less than 16 bytes, or another version than 19");
        }
        if params.m_cost() > MOST_MEMORY || params.t_cost() > MOST_PASSES || params.p_cost() > MOST_LANES {
            return Err("this argon2id hash costs more than 256 MiB, 16 passes or 8 lanes");
        }
        Ok(Stored::Argon2(hash.serialize()))
    }

    /// Takes as long as the hash costs, whatever the password is.
    pub(super) fn verify(&self, password: &str) -> bool {
        match self {
            Stored::Argon2(hash) => {
                Argon2::default().verify_password(password.as_bytes(), &hash.password_hash()).is_ok()
            }
            Stored::Bcrypt(hash) => {
                // What bcrypt would not look at must not make another password the same.
                let all = password.len() <= BCRYPT_BYTES;
                bcrypt::verify(password, hash).unwrap_or(false) && all
            }
        }
    }
}

/// The stored form of a password.
///
/// # Errors
/// The system has no randomness.
pub fn hash_password(password: &str) -> Result<String, String> {
    let mut salt = [0u8; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| "the system has no randomness".to_owned())?;
    let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
    let params = Params::new(MEMORY, PASSES, 1, None).map_err(|error| error.to_string())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2
        .hash_password(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|error| error.to_string())
}
