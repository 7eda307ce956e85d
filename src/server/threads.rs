//! The threads that serve connections, each with an event loop of its own ([`Workers`](crate::edge::workers::Workers)).
//! What is not a connection (the admin API, checks of health, keys that are fetched) runs beside them.

use std::{
    io,
    num::NonZero,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
};

/// Threads of the runtime for everything else: one that is busy must not keep connections from being accepted.
const BESIDE: usize = 2;
/// How long what a thread computes may take to end.
const END: Duration = Duration::from_secs(1);
/// How often it is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(2);

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

    /// Ends them, and what they still serve. One that computes without an end is left behind: it ends with the process.
    pub(super) fn end(self) {
        self.end.send_replace(());
        let late = Instant::now() + 2 * END;
        for thread in self.running {
            while !thread.is_finished() && Instant::now() < late {
                thread::sleep(LOOK);
            }
            if !thread.is_finished() {
                log::error!("a worker thread does not end: something on it computes without an end");
            } else if thread.join().is_err() {
                log::error!("a worker thread has panicked");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn each_has_a_loop_of_its_own_and_all_end() {
        let threads = Threads::start(Some(3)).unwrap();
        let (say, said) = channel();
        for handle in threads.handles() {
            let say = say.clone();
            handle.spawn(async move { say.send(thread::current().name().unwrap().to_owned()) });
        }
        let mut names: Vec<String> = said.iter().take(3).collect();
        names.sort();
        assert_eq!(names, ["palisade-0", "palisade-1", "palisade-2"]);
        // What they serve is dropped with them.
        let (held, dropped) = channel::<()>();
        threads.handles()[0].spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        threads.end();
        assert!(dropped.recv().is_err());
    }

    #[test]
    fn one_that_never_ends_keeps_nobody() {
        let threads = Threads::start(Some(1)).unwrap();
        let (release, held) = channel::<()>();
        let (say, begun) = channel();
        threads.handles()[0].spawn(async move {
            say.send(()).unwrap();
            let _ = held.recv();
        });
        begun.recv().unwrap();
        threads.end();
        drop(release);
    }
}
