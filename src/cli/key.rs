//! Keys of consumers: made, and hashed into the form that is stored.

use sha2::{Digest, Sha256};

/// Marks a key as one of this gateway's, so that scanners find it where it should not be, and nobody takes it
/// for the hash, which has as many digits.
const PREFIX: &str = "pal_";

/// A key of 256 random bits.
pub(super) fn generate() -> Result<String, String> {
    Ok(format!("{PREFIX}{}", hex::encode(random::<32>()?)))
}

/// The form that a configuration holds.
pub(super) fn sha256(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

/// Random bytes of the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_new_each_time_and_told_from_a_hash() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), PREFIX.len() + 64);
        assert_ne!(one.len(), sha256(&one).len());
    }

    #[test]
    fn the_hash_is_the_one_of_the_standard() {
        // FIPS 180-4, the example of one block.
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
