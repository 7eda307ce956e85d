//! What the clients have done, what failed, and how long it took.

use std::{
    fmt,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Requests on a connection that is kept.
    KeepAlive,
    /// The same, and the connection waits for seconds between them.
    Idle,
    /// A connection for each request.
    New,
    /// A body that comes in pieces.
    SlowPost,
    /// An answer that comes in pieces.
    Streamed,
    /// Streams of an HTTP/2 connection.
    Http2,
    /// Messages over a WebSocket.
    WebSocket,
}

pub const KINDS: [Kind; 7] =
    [Kind::KeepAlive, Kind::Idle, Kind::New, Kind::SlowPost, Kind::Streamed, Kind::Http2, Kind::WebSocket];

/// What happens to the gateway meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is measured.
    Warm,
    /// Nothing happens.
    Steady,
    /// It is upgraded.
    Upgrades,
    /// It is reloaded.
    Reloads,
}

const PHASES: [Phase; 4] = [Phase::Warm, Phase::Steady, Phase::Upgrades, Phase::Reloads];

/// Why a request came to nothing.
#[derive(Debug)]
pub enum Failure {
    /// A connection that had served a request was closed before the first byte of the next answer.
    ClosedUnder,
    /// Anything else.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::ClosedUnder => f.write_str("a connection that waited was closed under its client"),
            Failure::Other(why) => f.write_str(why),
        }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Other(error.to_string())
    }
}

#[derive(Default)]
struct Counts {
    done: [AtomicU64; KINDS.len()],
    failed: AtomicU64,
    closed_under: AtomicU64,
    /// Of requests that nothing but the gateway delays, in microseconds: all of them, and those that ended while nothing
    /// had happened to it for a while.
    times: Mutex<[Vec<u32>; 2]>,
}

/// All that is counted.
#[derive(Default)]
pub struct Tally {
    phase: AtomicUsize,
    counts: [Counts; PHASES.len()],
    stopped: AtomicBool,
    /// Something happens to the gateway, or has happened just now.
    pub disturbed: AtomicBool,
    /// HTTP/2 streams that a farewell has crossed, and that the gateway has not looked at.
    pub unprocessed: AtomicU64,
    /// Between two requests of a client that does not wait for anything, in microseconds.
    pub period: AtomicU64,
}

impl Tally {
    pub fn begin(&self, phase: Phase) {
        self.phase.store(phase as usize, Relaxed);
    }

    /// Counts a request that began at `begun`.
    pub fn done(&self, kind: Kind, begun: Instant) {
        let counts = &self.counts[self.phase.load(Relaxed)];
        counts.done[kind as usize].fetch_add(1, Relaxed);
        if matches!(kind, Kind::KeepAlive | Kind::Idle | Kind::New) {
            let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
            let mut times = counts.times.lock().unwrap();
            times[0].push(micros);
            if !self.disturbed.load(Relaxed) {
                times[1].push(micros);
            }
        }
    }

    pub fn failed(&self, kind: Kind, failure: &Failure) {
        let counts = &self.counts[self.phase.load(Relaxed)];
        let before = counts.failed.fetch_add(1, Relaxed);
        if matches!(failure, Failure::ClosedUnder) {
            counts.closed_under.fetch_add(1, Relaxed);
        }
        if before < 10 {
            println!("{kind:?}: {failure}");
        }
    }

    /// Requests of a phase so far.
    pub fn requests(&self, phase: Phase) -> u64 {
        self.counts[phase as usize].done.iter().map(|done| done.load(Relaxed)).sum()
    }

    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    pub fn report(&self, phase: Phase) -> Report {
        let counts = &self.counts[phase as usize];
        let [all, quiet] = counts.times.lock().unwrap().clone().map(Times::of);
        Report {
            phase,
            done: counts.done.each_ref().map(|done| done.load(Relaxed)),
            failed: counts.failed.load(Relaxed),
            closed_under: counts.closed_under.load(Relaxed),
            p50: all.at(500),
            p99: all.at(990),
            most: all.at(1000),
            quiet: quiet.at(990),
        }
    }
}

/// In order.
struct Times(Vec<u32>);

impl Times {
    fn of(mut times: Vec<u32>) -> Times {
        times.sort_unstable();
        Times(times)
    }

    /// How long so many of a thousand took at most.
    fn at(&self, share: usize) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let micros = self.0.get((self.0.len() * share / 1000).min(last)).copied();
        Duration::from_micros(micros.unwrap_or(0).into())
    }
}

/// What came of a phase.
pub struct Report {
    phase: Phase,
    pub done: [u64; KINDS.len()],
    pub failed: u64,
    pub closed_under: u64,
    p50: Duration,
    pub p99: Duration,
    most: Duration,
    /// The 99th percentile between what happened to the gateway.
    pub quiet: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.done.iter().sum();
        writeln!(
            f,
            "{:?}: {all} requests, {} failed, {} of them on an idle connection that was closed under its client",
            self.phase, self.failed, self.closed_under
        )?;
        let kinds: Vec<String> =
            KINDS.iter().zip(self.done).map(|(kind, done)| format!("{kind:?} {done}")).collect();
        writeln!(f, "  {}", kinds.join(", "))?;
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        write!(
            f,
            "  p50 {:.2} ms, p99 {:.2} ms, longest {:.1} ms; between what happened p99 {:.2} ms",
            millis(self.p50),
            millis(self.p99),
            millis(self.most),
            millis(self.quiet)
        )
    }
}
