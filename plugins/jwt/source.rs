//! Keys that are fetched, in the background: a request never starts a call, at most it waits for one.

use super::{
    fetch::Fetcher,
    keyset::{Candidates, KeySet, Origin},
    token::Unverified,
};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures::future::{Either, select};
use lru::LruCache;
use palisade_contract::{Carry, Host, Task};
use parking_lot::Mutex;
use std::{num::NonZeroUsize, sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};

/// The most key ids that are remembered as unknown.
const MAX_ABSENT: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// How long an id is remembered as unknown, in times of [`Timing::refetch`].
const ABSENT_FOR: u32 = 6;

/// When keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timing {
    /// Between two fetches, when nothing else asks for one.
    pub(super) refresh: Duration,
    /// Between two fetches at least, whatever asks for one.
    pub(super) refetch: Duration,
}

/// A set of keys that is fetched as long as this is held.
pub(super) struct Source {
    shared: Arc<Shared>,
    _fetching: Task,
}

struct Shared {
    keys: ArcSwapOption<KeySet>,
    /// The text that they stand in, for the process that takes over.
    text: Mutex<Bytes>,
    progress: watch::Sender<Progress>,
    /// Asks for a fetch; remembered while none may begin.
    wanted: Notify,
    /// Ids that a fetch has not found.
    absent: Mutex<LruCache<Box<str>, ()>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Fetching,
    /// No fetch may begin yet.
    Resting,
    /// A fetch begins when it is asked for.
    Ready,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    /// Fetches that are done.
    done: u64,
    phase: Phase,
    /// The last one failed.
    failed: bool,
}

impl Source {
    /// Starts fetching.
    pub(super) fn start(host: &Arc<dyn Host>, name: &str, fetcher: Fetcher, timing: Timing) -> Self {
        let shared = Arc::new(Shared {
            keys: ArcSwapOption::empty(),
            text: Mutex::default(),
            progress: watch::Sender::new(Progress::default()),
            wanted: Notify::new(),
            absent: Mutex::new(LruCache::new(MAX_ABSENT)),
        });
        let work = fetch_for_ever(shared.clone(), host.clone(), name.to_owned(), fetcher, timing);
        let task = host.spawn(&format!("the keys of {name}"), Box::pin(work));
        Source { shared, _fetching: task }
    }

    /// The keys, as of the last fetch that succeeded.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        self.shared.keys.load_full()
    }

    /// True where a request may have to wait: for the first keys while they are fetched, or for a key of an unknown
    /// id. False says that waiting would change nothing now.
    pub(super) fn worth_waiting(&self, kid: Option<&str>) -> bool {
        let resting = self.shared.progress.borrow().phase == Phase::Resting;
        if kid.is_some_and(|kid| self.shared.absent.lock().get(kid).is_some()) {
            return false;
        }
        if resting && self.shared.keys.load().is_some() {
            // The next fetch comes as early as it may.
            self.shared.wanted.notify_one();
        }
        !resting
    }

    /// Waits for the fetch that is under way, or for one that it asks for: then it is true.
    pub(super) async fn fetched(&self) -> bool {
        let mut progress = self.shared.progress.subscribe();
        let before = *progress.borrow();
        if before.phase == Phase::Resting {
            return false;
        }
        let asks = before.phase == Phase::Ready;
        if asks {
            self.shared.wanted.notify_one();
        }
        // An error says that the work has ended: then nothing comes any more.
        let _ = progress.wait_for(|progress| progress.done > before.done).await;
        asks
    }

    /// A fetch has not brought this key: it is not fetched for again until the next regular one, or for
    /// [`ABSENT_FOR`]. A new key may be in use some time before its issuer publishes it everywhere.
    pub(super) fn remember_absent(&self, token: &Unverified<'_>) {
        let Some(kid) = &token.kid else { return };
        let unknown = self
            .keys()
            .is_some_and(|keys| matches!(keys.candidates(Some(kid), token.algorithm), Candidates::UnknownId));
        if unknown && !self.shared.progress.borrow().failed {
            self.shared.absent.lock().put(kid.as_str().into(), ());
        }
    }
}

/// The process that takes over can verify tokens at once, also while the issuer is down; it fetches for itself as well.
impl Carry for Source {
    fn carry(&self) -> Option<Vec<u8>> {
        let text = self.shared.text.lock().clone();
        (!text.is_empty()).then(|| text.to_vec())
    }

    fn take_over(&self, carried: &[u8]) {
        let Ok(keys) = KeySet::read(carried, Origin::Fetched) else { return };
        // What was fetched meanwhile is newer.
        let before = self.shared.keys.compare_and_swap(&None::<Arc<KeySet>>, Some(Arc::new(keys)));
        if before.is_none() {
            *self.shared.text.lock() = Bytes::copy_from_slice(carried);
        }
    }
}

async fn fetch_for_ever(
    shared: Arc<Shared>,
    host: Arc<dyn Host>,
    name: String,
    fetcher: Fetcher,
    timing: Timing,
) {
    let mut told = false;
    loop {
        shared.progress.send_modify(|progress| progress.phase = Phase::Fetching);
        let fetched = fetcher.fetch().await;
        let failed = fetched.is_err();
        match fetched {
            Ok((new, text)) => {
                *shared.text.lock() = text;
                let old = shared.keys.load_full();
                let new = match &old {
                    Some(old) => new.replacing(old),
                    None => new,
                };
                shared.keys.store(Some(Arc::new(new)));
                if told || old.is_none() {
                    log::info!("the keys of {name} are here");
                }
                told = false;
            }
            Err(error) => {
                if !told {
                    let kept =
                        if shared.keys.load().is_some() { "; those of before stay in use" } else { "" };
                    log::warn!("the keys of {name} cannot be fetched: {error}{kept}");
                }
                told = true;
            }
        }
        shared.progress.send_modify(|progress| {
            *progress = Progress { done: progress.done + 1, phase: Phase::Resting, failed };
        });
        host.sleep(timing.refetch).await;
        if !failed {
            shared.progress.send_modify(|progress| progress.phase = Phase::Ready);
            let regular = host.sleep(timing.refresh.saturating_sub(timing.refetch));
            let wanted = std::pin::pin!(shared.wanted.notified());
            // Since the last fetch: what was put there before it, and is asked for, came with it or did not.
            let forget = host.sleep(timing.refetch.saturating_mul(ABSENT_FOR - 1));
            let next = match select(select(regular, wanted), forget).await {
                Either::Left((next, _)) => next,
                Either::Right((_, next)) => {
                    shared.absent.lock().clear();
                    next.await
                }
            };
            if matches!(next, Either::Left(_)) {
                shared.absent.lock().clear();
            }
        }
    }
}
