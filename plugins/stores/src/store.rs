//! The store that plugins call.

use crate::{
    lanes::{Lane, Lanes},
    link::{Failed, Link},
    settings::Settings,
    supervise,
};
use arc_swap::ArcSwapOption;
use palisade_contract::{Answer, Command, Host, Store, StoreError, Task, verdict::BoxFuture};
use parking_lot::Mutex;
use std::{
    fmt, fs,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{sync::Notify, time};

/// The most commands that wait for an answer at once.
const FLYING: usize = 4096;

/// How a store is, for people and metrics.
#[derive(Debug, Clone)]
pub struct Health {
    /// `server`, `cluster` or `sentinel`.
    pub kind: &'static str,
    /// Where it is.
    pub address: String,
    /// True where commands go through: of a cluster, those of all nodes.
    pub up: bool,
    /// Why it is not up; empty where it is, or is only being connected to.
    pub error: String,
    /// Since when it is as it is.
    pub since: SystemTime,
    /// Commands by what came of them.
    pub commands: [(&'static str, u64); OUTCOMES.len()],
}

/// What can come of a command.
const OUTCOMES: [&str; 7] = ["answered", "down", "timeout", "broken", "busy", "refused", "nonsense"];

/// A store on Redis. What looks after its connections ends when this is dropped.
pub struct RedisStore {
    shared: Arc<Shared>,
    _supervisor: Task,
}

/// What commands and the background share.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) settings: Settings,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) link: ArcSwapOption<Link>,
    pub(crate) lanes: Lanes,
    /// Something for the background to look at.
    pub(crate) look: Notify,
    pub(crate) state: Mutex<State>,
    flying: AtomicUsize,
    outcomes: [AtomicU64; OUTCOMES.len()],
}

pub(crate) struct State {
    pub(crate) error: String,
    pub(crate) since: SystemTime,
}

impl RedisStore {
    /// Begins to connect, in the background: a store that is not there is no error.
    ///
    /// # Errors
    /// The file of authorities cannot be read.
    pub fn open(name: &Arc<str>, settings: Settings, host: &Arc<dyn Host>) -> Result<Self, String> {
        let ca = match &settings.ca {
            Some(path) => {
                let read =
                    fs::read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
                if !read.windows(10).any(|window| window == b"-----BEGIN") {
                    return Err(format!("`{}` holds no certificate", path.display()));
                }
                Some(read)
            }
            None => None,
        };
        let shared = Arc::new(Shared {
            name: name.clone(),
            lanes: Lanes::new(settings.kind() == "cluster"),
            settings,
            ca,
            link: ArcSwapOption::empty(),
            look: Notify::new(),
            state: Mutex::new(State { error: String::new(), since: SystemTime::now() }),
            flying: AtomicUsize::new(0),
            outcomes: Default::default(),
        });
        let work = supervise::supervise(shared.clone(), host.clone());
        let supervisor = host.spawn(&format!("the store {name}"), Box::pin(work));
        Ok(RedisStore { shared, _supervisor: supervisor })
    }

    /// How it is reached and what holds of it: a store of the same settings need not be opened anew.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// How it is.
    pub fn health(&self) -> Health {
        let shared = &self.shared;
        let state = shared.state.lock();
        let shut = shared.lanes.shut();
        let connected = shared.link.load().is_some();
        let error = if connected && shut > 0 {
            format!("no answer for {shut} of {} parts of the slots", shared.lanes.count())
        } else {
            state.error.clone()
        };
        let counts = shared.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        let mut commands = OUTCOMES.map(|name| (name, 0));
        for ((_, shown), count) in commands.iter_mut().zip(counts) {
            *shown = count;
        }
        Health {
            kind: shared.settings.kind(),
            address: shared.settings.address(),
            up: connected && shut == 0,
            error,
            since: state.since,
            commands,
        }
    }
}

impl Store for RedisStore {
    fn run(&self, command: Command) -> BoxFuture<'static, Result<Answer, StoreError>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let result = shared.attempt(&command).await;
            let outcome = result.as_ref().map_or_else(StoreError::as_str, |_| OUTCOMES[0]);
            for (name, count) in OUTCOMES.iter().zip(&shared.outcomes) {
                if *name == outcome {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            result
        })
    }
}

impl Shared {
    async fn attempt(&self, command: &Command) -> Result<Answer, StoreError> {
        let lane = self.lanes.of(command.first_key()).filter(|lane| !lane.is_shut());
        let (Some(lane), Some(link)) = (lane, self.link.load_full()) else { return Err(StoreError::Down) };
        let _flying = Flying::enter(&self.flying)?;
        match time::timeout(self.settings.timeout, link.run(command)).await {
            Ok(Ok(answer)) => {
                lane.answered();
                Ok(answer)
            }
            Ok(Err(Failed::Refused(error))) => {
                // It has answered.
                lane.answered();
                Err(error)
            }
            Ok(Err(Failed::Gone(error))) => {
                self.failed(lane, &link, error != StoreError::Timeout);
                Err(error)
            }
            Err(_) => {
                self.failed(lane, &link, false);
                Err(StoreError::Timeout)
            }
        }
    }

    /// A command has no answer. A connection that is of no use is given up at once; one that is slow, when the lane is.
    fn failed(&self, lane: &Lane, link: &Arc<Link>, useless: bool) {
        let shut = lane.failed();
        if useless && !link.is_cluster() {
            let held = self.link.load();
            if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, link)) {
                self.link.compare_and_swap(&held, None);
                self.look.notify_one();
            }
        }
        if shut {
            self.look.notify_one();
        }
    }
}

/// A command that waits for an answer.
struct Flying<'a>(&'a AtomicUsize);

impl<'a> Flying<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self, StoreError> {
        let entered = Flying(count);
        if count.fetch_add(1, Ordering::AcqRel) < FLYING { Ok(entered) } else { Err(StoreError::Busy) }
    }
}

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisStore({} at {})", self.shared.name, self.shared.settings.address())
    }
}

impl State {
    /// Something is otherwise now; true where it is news.
    pub(crate) fn becomes(&mut self, error: &str) -> bool {
        let news = self.error != error;
        if news {
            error.clone_into(&mut self.error);
            self.since = SystemTime::now();
        }
        news
    }
}

/// What a link is asked for in the background takes this at most.
pub(crate) fn patience(settings: &Settings) -> Duration {
    settings.timeout.max(Duration::from_millis(100))
}
