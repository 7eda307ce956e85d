//! What is known of tokens that were seen before. What bad tokens come to has a cache of its own, or none: a client
//! without a good token drives out nothing.

use lru::LruCache;
use parking_lot::Mutex;
use ring::{
    digest, hmac,
    rand::{SecureRandom, SystemRandom},
};
use std::{num::NonZeroUsize, sync::Arc};

/// A power of two.
const SHARDS: usize = 16;

/// A keyed hash of a token.
pub(crate) type Id = [u8; 32];
type Shard<T> = Mutex<LruCache<Id, Arc<T>>>;

/// At most as many as it was made for; the longest unused goes first.
pub(crate) struct Cache<T> {
    /// A token is known by a keyed hash: whoever reads the memory finds no token, and nobody can make two of one hash.
    secret: hmac::Key,
    shards: Vec<Shard<T>>,
}

impl<T> Cache<T> {
    /// None where nothing is to be remembered, or the system has no randomness.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let each = NonZeroUsize::new(size.div_ceil(SHARDS))?;
        let mut secret = [0u8; digest::SHA256_OUTPUT_LEN];
        SystemRandom::new().fill(&mut secret).ok()?;
        let shards = (0..SHARDS.min(size)).map(|_| Mutex::new(LruCache::new(each))).collect();
        Some(Cache { secret: hmac::Key::new(hmac::HMAC_SHA256, &secret), shards })
    }

    /// What a token is known by.
    pub(crate) fn id(&self, token: &[u8]) -> Id {
        let tag = hmac::sign(&self.secret, token);
        tag.as_ref().try_into().unwrap_or_default()
    }

    /// What is known, where it still holds.
    pub(crate) fn get(&self, id: &Id, holds: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
        let mut shard = self.shard(id)?.lock();
        let known = shard.get(id)?;
        if !holds(known) {
            shard.pop(id);
            return None;
        }
        Some(known.clone())
    }

    /// Remembers.
    pub(crate) fn put(&self, id: Id, known: Arc<T>) {
        if let Some(shard) = self.shard(&id) {
            shard.lock().put(id, known);
        }
    }

    fn shard(&self, id: &Id) -> Option<&Shard<T>> {
        let first = id.first().copied().map_or(0, usize::from);
        self.shards.get(first % self.shards.len().max(1))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}
