//! The threads that serve connections.
//!
//! Each worker is one thread with an event loop of its own, and a connection stays on the one that it was given to: what
//! serves it, what it waits for and its connections to origins are never handed from thread to thread. A runtime that
//! lets threads take work from each other costs a seventh more CPU time a request (`benches/side_by_side/run`).

use super::connection::Shared;
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::runtime::Handle;

/// All workers; there is one at least.
pub struct Workers<P> {
    first: Worker<P>,
    others: Vec<Worker<P>>,
}

/// One thread, and what its connections share.
struct Worker<P> {
    shared: Arc<Shared<P>>,
    runtime: Handle,
    connections: Arc<AtomicUsize>,
}

/// A connection's place with a worker; it is free when this goes.
pub(super) struct Seat(Arc<AtomicUsize>);

impl<P> Workers<P> {
    /// One worker for each of these runtimes, each with what `share` makes for it; without any, one on the runtime that
    /// this is called on.
    pub fn on(runtimes: &[Handle], share: impl Fn() -> Shared<P>) -> Arc<Self> {
        let worker =
            |runtime: Handle| Worker { shared: Arc::new(share()), runtime, connections: Arc::default() };
        let mut runtimes = runtimes.iter().cloned();
        let first = worker(runtimes.next().unwrap_or_else(Handle::current));
        Arc::new(Workers { first, others: runtimes.map(worker).collect() })
    }

    /// What the connections of the first one share: of what all workers have in common.
    pub(super) fn shared(&self) -> &Arc<Shared<P>> {
        &self.first.shared
    }

    /// Has the worker with the fewest connections serve one more.
    pub(super) fn serve<F>(&self, serve: impl FnOnce(Arc<Shared<P>>, Seat) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let load = |worker: &Worker<P>| worker.connections.load(Ordering::Relaxed);
        let fewer = |least, worker| if load(worker) < load(least) { worker } else { least };
        let worker = self.others.iter().fold(&self.first, fewer);
        worker.connections.fetch_add(1, Ordering::Relaxed);
        worker.runtime.spawn(serve(worker.shared.clone(), Seat(worker.connections.clone())));
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
