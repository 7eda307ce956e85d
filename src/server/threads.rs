//! The threads that serve connections, each with an event loop of its own ([`Workers`](crate::edge::workers::Workers)).
//! What is not a connection (the admin API, checks of health, keys that are fetched) runs beside them.

use std::{
    io,
    num::NonZero,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
};

/// Threads of the runtime for everything else: one that is busy must not keep connections from being accepted.
const BESIDE: usize = 2;
/// How long what a thread computes may take to end.
const END: Duration = Duration::from_secs(1);

/// The runtime for everything that is no connection.
///
/// # Errors
/// Its threads cannot be started.
pub(super) fn beside() -> Result<Runtime, String> {
    let runtime =
        Builder::new_multi_thread().worker_threads(BESIDE).enable_all().thread_name("palisade").build();
    runtime.map_err(|error| format!("cannot start threads: {error}"))
}

/// The threads that serve connections.
pub(super) struct Threads {
    handles: Vec<Handle>,
    running: Vec<JoinHandle<()>>,
    end: watch::Sender<()>,
}

impl Threads {
    /// So many, one for each core where that is not said.
    ///
    /// # Errors
    /// They cannot be started.
    pub(super) fn start(count: Option<usize>) -> Result<Self, String> {
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let count = count.unwrap_or_else(cores).max(1);
        let (end, ended) = watch::channel(());
        let mut threads = Threads { handles: Vec::new(), running: Vec::new(), end };
        for number in 0..count {
            let started = threads.one(number, ended.clone());
            started.map_err(|error| format!("cannot start worker threads: {error}"))?;
        }
        Ok(threads)
    }

    fn one(&mut self, number: usize, mut ended: watch::Receiver<()>) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        self.handles.push(runtime.handle().clone());
        let run = move || {
            // An error says that whoever would end it is gone.
            let _ = runtime.block_on(ended.changed());
            runtime.shutdown_timeout(END);
        };
        self.running.push(thread::Builder::new().name(format!("palisade-{number}")).spawn(run)?);
        Ok(())
    }

    /// Their event loops.
    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Ends them, and what they still serve.
    pub(super) fn end(self) {
        self.end.send_replace(());
        for thread in self.running {
            if thread.join().is_err() {
                log::error!("a worker thread has panicked");
            }
        }
    }
}
