//! Threads that verify passwords, and the queue before them. Requests wait without holding a thread of theirs, and a
//! flood of guesses gets no more of the processor than these threads.

use parking_lot::{Condvar, Mutex};
use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    thread,
};

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. They end when it is dropped.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ready: Condvar,
    queue: usize,
    per_ip: usize,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(IpAddr, Job)>,
    /// How many jobs of an address wait or run.
    by_ip: HashMap<IpAddr, usize>,
    ended: bool,
}

impl Pool {
    /// Starts so many threads; none where a configuration is only checked.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub(super) fn start(threads: usize, queue: usize, per_ip: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), ready: Condvar::new(), queue, per_ip });
        // Dropped where one cannot be started: the others end.
        let pool = Pool(shared.clone());
        for _ in 0..threads {
            let shared = shared.clone();
            thread::Builder::new().name("passwords".to_owned()).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Puts a job at the end of the queue; false where it, or the address's share of it, is full.
    pub(super) fn submit(&self, ip: IpAddr, job: impl FnOnce() + Send + 'static) -> bool {
        let (shared, ip) = (&self.0, network(ip));
        let mut state = shared.state.lock();
        let of_ip = state.by_ip.get(&ip).copied().unwrap_or(0);
        if state.waiting.len() >= shared.queue || of_ip >= shared.per_ip {
            return false;
        }
        state.by_ip.insert(ip, of_ip + 1);
        state.waiting.push_back((ip, Box::new(job)));
        shared.ready.notify_one();
        true
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.ready.notify_all();
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let mut state = self.state.lock();
            let (ip, job) = loop {
                if state.ended {
                    return;
                }
                match state.waiting.pop_front() {
                    Some(job) => break job,
                    None => self.ready.wait(&mut state),
                }
            };
            drop(state);
            // A panic costs those who wait for this one a 500, not the thread.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                log::error!("verifying a password panicked");
            }
            let mut state = self.state.lock();
            if let Some(count) = state.by_ip.get_mut(&ip) {
                *count -= 1;
                if *count == 0 {
                    state.by_ip.remove(&ip);
                }
            }
        }
    }
}

/// Who has one address of an IPv6 network has all of them.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
    }
}
