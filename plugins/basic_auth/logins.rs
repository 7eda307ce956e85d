//! Logins that were verified a short while ago, and those that are being verified.

use super::{credential::Users, pool::Pool};
use lru::LruCache;
use palisade_contract::{Counter, Fault, Principal, Secret};
use parking_lot::Mutex;
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use std::{
    collections::HashMap,
    net::IpAddr,
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// The most logins that are remembered, over all parts.
const REMEMBERED: usize = 16_384;
/// They are in so many parts, so that threads seldom wait for one another.
const PARTS: usize = 16;
/// The most requests that wait for one login.
const WAITING: usize = 1024;

/// What stands for a user name and a password: nothing can be told from it without the process's key.
pub(super) type Tag = [u8; 32];

type Part = Mutex<LruCache<Tag, (Instant, Arc<Principal>)>>;
type Answer = Option<Arc<Principal>>;

/// All logins of an instance.
pub(super) struct Logins {
    key: hmac::Key,
    remember: Duration,
    parts: Vec<Part>,
    flying: Mutex<HashMap<Tag, Vec<oneshot::Sender<Answer>>>>,
    users: Users,
    pub(super) verified: Counter,
    pub(super) busy: Counter,
}

impl Logins {
    pub(super) fn new(
        users: Users,
        remember: Duration,
        [verified, busy]: [Counter; 2],
    ) -> Result<Self, String> {
        let mut key = [0u8; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| "the system has no randomness".to_owned())?;
        let size = NonZeroUsize::new(REMEMBERED / PARTS).unwrap_or(NonZeroUsize::MIN);
        Ok(Logins {
            key: hmac::Key::new(hmac::HMAC_SHA256, &key),
            remember,
            parts: (0..PARTS).map(|_| Mutex::new(LruCache::new(size))).collect(),
            flying: Mutex::default(),
            users,
            verified,
            busy,
        })
    }

    /// The tag of what a client has sent: the user name holds no colon, so that no two pairs are the same.
    pub(super) fn tag(&self, user: &str, password: &str) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(user.as_bytes());
        context.update(b":");
        context.update(password.as_bytes());
        context.sign().as_ref().try_into().unwrap_or_default()
    }

    /// Whose login it was, where it was verified a short while ago.
    pub(super) fn remembered(&self, tag: &Tag) -> Option<Arc<Principal>> {
        let mut part = self.part(tag)?.lock();
        let (until, principal) = part.get(tag)?;
        if Instant::now() < *until {
            return Some(principal.clone());
        }
        part.pop(tag);
        None
    }

    fn part(&self, tag: &Tag) -> Option<&Part> {
        self.parts.get(usize::from(tag.first().copied()?) % PARTS)
    }

    /// Verifies a login on the pool's threads; none where it is not good. Requests with the same one wait for the
    /// same verification.
    pub(super) async fn verify(
        self: Arc<Self>,
        pool: &Pool,
        ip: IpAddr,
        tag: Tag,
        user: String,
        password: Secret,
    ) -> Result<Answer, Fault> {
        let (sender, receiver) = oneshot::channel();
        if !self.wait(tag, sender) {
            let logins = self.clone();
            let submitted = pool.submit(ip, move || logins.work(tag, &user, &password));
            if !submitted {
                self.flying.lock().remove(&tag);
            }
        }
        // Whoever answers is gone where there was no room, or a panic.
        receiver.await.map_err(|_| {
            self.busy.add(1);
            Fault::unavailable("verification_busy")
        })
    }

    /// Waits with others; false where this is the first.
    fn wait(&self, tag: Tag, sender: oneshot::Sender<Answer>) -> bool {
        let mut flying = self.flying.lock();
        let waiting = flying.entry(tag).or_default();
        let others = !waiting.is_empty();
        if waiting.len() < WAITING {
            waiting.push(sender);
        }
        others
    }

    /// True where every request that asked has gone.
    fn is_abandoned(&self, tag: &Tag) -> bool {
        let mut flying = self.flying.lock();
        let abandoned = flying.get(tag).is_none_or(|all| all.iter().all(oneshot::Sender::is_closed));
        if abandoned {
            flying.remove(tag);
        }
        abandoned
    }

    fn work(&self, tag: Tag, user: &str, password: &Secret) {
        if self.is_abandoned(&tag) {
            return;
        }
        // Taken off the list whatever happens: a panic must not leave others waiting.
        let landing = Landing { logins: self, tag, landed: false };
        self.verified.add(1);
        let found = self.users.verify(&self.key, user, password.expose());
        if let (Some(principal), false) = (&found, self.remember.is_zero())
            && let Some(part) = self.part(&tag)
        {
            part.lock().put(tag, (Instant::now() + self.remember, principal.clone()));
        }
        landing.answer(&found);
    }
}

/// A login that is being verified.
struct Landing<'a> {
    logins: &'a Logins,
    tag: Tag,
    landed: bool,
}

impl Landing<'_> {
    fn answer(mut self, found: &Answer) {
        self.landed = true;
        for sender in self.logins.flying.lock().remove(&self.tag).into_iter().flatten() {
            // It may be gone.
            let _ = sender.send(found.clone());
        }
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if !self.landed {
            self.logins.flying.lock().remove(&self.tag);
        }
    }
}
