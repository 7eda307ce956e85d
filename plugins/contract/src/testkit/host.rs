//! A host for tests: answers from a function, and a clock that the test moves.

use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::{
    host::{Host, HttpClient, HttpError, HttpSettings, Task},
    verdict::BoxFuture,
};

/// What a call comes to.
pub type Answer = Result<http::Response<Bytes>, HttpError>;

type Answers = dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, Answer> + Send + Sync;

/// The longest that a test waits for what background work does.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs background work on threads of its own; nothing waits by the real clock.
pub struct TestHost {
    answers: Arc<Answers>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Duration,
    sleepers: Vec<(u64, Duration, Waker)>,
    sleeps: u64,
    calls: Vec<String>,
    tasks: usize,
    computed: usize,
}

impl TestHost {
    /// A host whose dependencies answer so.
    pub fn new(
        answers: impl Fn(http::Request<Bytes>) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) -> Self {
        TestHost { answers: Arc::new(answers), shared: Arc::default() }
    }

    /// A host without a network.
    pub fn offline() -> Self {
        TestHost::new(|_| Box::pin(async { Err(HttpError::Failed("connection refused".to_owned())) }))
    }

    /// The addresses that were called so far.
    pub fn calls(&self) -> Vec<String> {
        self.shared.state.lock().calls.clone()
    }

    /// How often something was computed aside.
    pub fn computed(&self) -> usize {
        self.shared.state.lock().computed
    }

    /// Waits until so many tasks run.
    pub fn until_tasks(&self, count: usize) {
        self.until("tasks", |state| state.tasks == count);
    }

    /// Waits until all background work sleeps, then moves the clock.
    pub fn advance(&self, time: Duration) {
        self.until_asleep();
        let due: Vec<Waker> = {
            let mut state = self.shared.state.lock();
            state.now += time;
            let now = state.now;
            state
                .sleepers
                .iter()
                .filter(|(_, until, _)| *until <= now)
                .map(|(.., waker)| waker.clone())
                .collect()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// Waits until every task sleeps.
    pub fn until_asleep(&self) {
        self.until("sleep", |state| {
            let now = state.now;
            state.sleepers.iter().filter(|(_, until, _)| *until > now).count() >= state.tasks
        });
    }

    /// Waits until there were so many calls.
    pub fn until_calls(&self, count: usize) {
        self.until("calls", |state| state.calls.len() >= count);
    }

    #[allow(clippy::panic, reason = "a test kit")]
    fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        let begun = Instant::now();
        while !holds(&self.shared.state.lock()) {
            if begun.elapsed() > PATIENCE {
                panic!("waited in vain for {what}");
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Host for TestHost {
    fn http(&self, _: &HttpSettings) -> Result<Arc<dyn HttpClient>, String> {
        Ok(Arc::new(Client { answers: self.answers.clone(), shared: self.shared.clone() }))
    }

    fn spawn(&self, _: &str, work: BoxFuture<'static, ()>) -> Task {
        let ended = Arc::new(AtomicBool::new(false));
        let shared = self.shared.clone();
        shared.state.lock().tasks += 1;
        let thread = {
            let ended = ended.clone();
            thread::spawn(move || {
                let mut work = work;
                super::block_on(poll_fn(|cx| {
                    if ended.load(Ordering::Acquire) { Poll::Ready(()) } else { work.as_mut().poll(cx) }
                }));
                drop(work);
                shared.state.lock().tasks -= 1;
            })
        };
        Task::new(move || {
            ended.store(true, Ordering::Release);
            thread.thread().unpark();
        })
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        self.shared.state.lock().computed += 1;
        Box::pin(async move { work() })
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let shared = self.shared.clone();
        let (id, until) = {
            let mut state = shared.state.lock();
            state.sleeps += 1;
            (state.sleeps, state.now + time)
        };
        Box::pin(Sleep { shared, id, until })
    }
}

struct Sleep {
    shared: Arc<Shared>,
    id: u64,
    until: Duration,
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.shared.state.lock().sleepers.retain(|(id, ..)| *id != self.id);
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.state.lock();
        state.sleepers.retain(|(id, ..)| *id != self.id);
        if state.now >= self.until {
            return Poll::Ready(());
        }
        state.sleepers.push((self.id, self.until, cx.waker().clone()));
        Poll::Pending
    }
}

struct Client {
    answers: Arc<Answers>,
    shared: Arc<Shared>,
}

impl HttpClient for Client {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Answer> {
        self.shared.state.lock().calls.push(request.uri().to_string());
        (self.answers)(request)
    }
}
