//! What plugins have outside of requests where nothing is run: dependencies that answer as a file says, and a clock that
//! only moves when it is told to.

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use palisade_contract::{Host, HttpClient, HttpError, HttpSettings, Task, verdict::BoxFuture};
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::watch};

/// How often work in the background gets its turn before a request comes: what it does without waiting takes few.
const TURNS: usize = 64;

/// What a dependency answers.
#[derive(Debug, Clone)]
pub(super) struct Dependency {
    pub(super) url: String,
    pub(super) method: Option<Method>,
    pub(super) containing: Option<String>,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A host without a network.
pub(super) struct Mocked {
    runtime: Handle,
    dependencies: Arc<[Dependency]>,
    now: watch::Sender<Duration>,
}

impl Mocked {
    /// On the runtime that this is called on.
    pub(super) fn new(dependencies: Vec<Dependency>) -> Self {
        let now = watch::Sender::new(Duration::ZERO);
        Mocked { runtime: Handle::current(), dependencies: dependencies.into(), now }
    }

    /// Lets time pass, and what waits for it happen.
    pub(super) async fn advance(&self, time: Duration) {
        self.now.send_modify(|now| *now += time);
        self.settle().await;
    }

    /// Lets work in the background come to where it waits.
    pub(super) async fn settle(&self) {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }
}

impl Host for Mocked {
    fn http(&self, settings: &HttpSettings) -> Result<Arc<dyn HttpClient>, String> {
        Ok(Arc::new(Client { dependencies: self.dependencies.clone(), max_bytes: settings.max_bytes }))
    }

    fn spawn(&self, name: &str, work: BoxFuture<'static, ()>) -> Task {
        let name = name.to_owned();
        let running = self.runtime.spawn(async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                log::error!("background work panicked and has ended: {name}");
            }
        });
        Task::new(move || running.abort())
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let mut clock = self.now.subscribe();
        let until = clock.borrow().saturating_add(time);
        Box::pin(async move {
            if clock.wait_for(|now| *now >= until).await.is_err() {
                // The clock is gone, and time with it.
                std::future::pending::<()>().await;
            }
        })
    }
}

struct Client {
    dependencies: Arc<[Dependency]>,
    max_bytes: usize,
}

impl HttpClient for Client {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, HttpError>> {
        let url = request.uri().to_string();
        let fits = |dependency: &&Dependency| {
            let holds = |text: &String| memchr::memmem::find(request.body(), text.as_bytes()).is_some();
            same_address(&dependency.url, &url)
                && dependency.method.as_ref().is_none_or(|method| method == request.method())
                && dependency.containing.as_ref().is_none_or(holds)
        };
        let answer = match self.dependencies.iter().find(fits) {
            None => Err(HttpError::Failed(format!("no entry of `http` answers {} {url}", request.method()))),
            Some(found) if found.body.len() > self.max_bytes => Err(HttpError::TooLarge),
            Some(found) => {
                let mut response = Response::new(found.body.clone());
                *response.status_mut() = found.status;
                *response.headers_mut() = found.headers.clone();
                Ok(response)
            }
        };
        Box::pin(async move { answer })
    }
}

/// An address without a path is that of the root.
fn same_address(one: &str, other: &str) -> bool {
    one.strip_suffix('/').unwrap_or(one) == other.strip_suffix('/').unwrap_or(other)
}
