//! Lines on their way from requests to the thread that writes them.
//!
//! Lines are gathered in batches that are handed over whole and used again: nothing is copied twice, and a batch
//! stays small enough for a processor's cache. The writing thread is woken by the first line after a silence and
//! by a full batch; in between it looks by itself, once in a flush window, so that nearly no request pays for a
//! wake-up.

use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// Lines that may wait, in bytes.
pub(super) const CAPACITY: usize = 16 << 20;
/// How long a line may wait before it is written.
const WINDOW: Duration = Duration::from_millis(50);
/// Lines that are handed over together, in bytes.
const BATCH: usize = 64 << 10;
/// Batches that are kept to be used again.
const SPARE: usize = 4;

/// Whole lines.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// Lines that wait, up to a bound.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// The writing thread has something to do.
    filled: Condvar,
    /// There is room, or everything is written.
    emptied: Condvar,
}

#[derive(Default)]
struct State {
    /// Takes lines.
    current: Batch,
    /// Have taken all they can.
    full: Vec<Batch>,
    spare: Vec<Batch>,
    /// Bytes in `current` and `full`.
    waiting: usize,
    /// The writing thread has lines that are not written yet.
    writing: bool,
    rest: Rest,
    dropped: u64,
    closed: bool,
    /// Somebody waits for the lines to be written.
    hurry: bool,
}

/// What the writing thread does, as far as it must be woken.
#[derive(Default, PartialEq, Eq)]
enum Rest {
    /// It looks by itself soon.
    #[default]
    None,
    /// Until the end of the window, or a full batch.
    Nap,
    /// Until there is a line.
    Sleep,
}

impl State {
    fn is_due(&self) -> bool {
        !self.full.is_empty() || self.hurry || self.closed
    }

    fn put(&mut self, line: &[u8]) {
        if self.current.bytes.len() + line.len() > BATCH {
            let next = self.spare.pop().unwrap_or_default();
            self.full.push(std::mem::replace(&mut self.current, next));
        }
        if self.current.bytes.capacity() == 0 {
            self.current.bytes.reserve_exact(BATCH);
        }
        self.current.bytes.extend_from_slice(line);
        self.current.lines += 1;
        self.waiting += line.len();
    }

    /// True where the writing thread must be woken; that is said once.
    fn wakes(&mut self) -> bool {
        let wakes = match self.rest {
            Rest::None => false,
            Rest::Nap => !self.full.is_empty(),
            Rest::Sleep => true,
        };
        if wakes {
            self.rest = Rest::None;
        }
        wakes
    }
}

impl Queue {
    /// Puts a line into the queue. Where it is full, the line is dropped and counted, or with `block` this waits.
    pub(super) fn push(&self, line: &[u8], block: bool) {
        let mut state = self.state.lock();
        while state.waiting + line.len() > CAPACITY {
            if !block {
                state.dropped += 1;
                return;
            }
            self.emptied.wait(&mut state);
        }
        state.put(line);
        let wakes = state.wakes();
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// For the writing thread: gives back what is written, waits for lines and takes them all. True where no
    /// others can come. After `patience` without a line it comes back without any.
    pub(super) fn take(&self, batches: &mut Vec<Batch>, patience: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        for mut batch in batches.drain(..) {
            if state.spare.len() < SPARE {
                batch.bytes.clear();
                batch.lines = 0;
                state.spare.push(batch);
            }
        }
        state.writing = false;
        self.emptied.notify_all();
        let mut until = Instant::now() + WINDOW;
        while !state.is_due() {
            state.rest = Rest::Nap;
            if !self.filled.wait_until(&mut state, until).timed_out() {
                continue;
            }
            if state.waiting > 0 {
                break;
            }
            state.rest = Rest::Sleep;
            match patience {
                None => self.filled.wait(&mut state),
                Some(patience) if self.filled.wait_for(&mut state, patience).timed_out() => break,
                Some(_) => {}
            }
            until = Instant::now() + WINDOW;
        }
        state.rest = Rest::None;
        std::mem::swap(&mut state.full, batches);
        if state.current.lines > 0 {
            let next = state.spare.pop().unwrap_or_default();
            batches.push(std::mem::replace(&mut state.current, next));
        }
        state.waiting = 0;
        state.writing = !batches.is_empty();
        state.closed
    }

    /// For the writing thread: waits before it tries again. True where nobody puts lines in any more.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.closed {
            self.filled.wait_for(&mut state, time);
        }
        state.closed
    }

    /// How many lines were dropped since this was asked last.
    pub(super) fn dropped(&self) -> u64 {
        std::mem::take(&mut self.state.lock().dropped)
    }

    /// Lets go of everything that waits; how many lines that were.
    pub(super) fn abandon(&self) -> u64 {
        let mut state = self.state.lock();
        let lines = state.full.drain(..).map(|batch| batch.lines).sum::<u64>();
        state.waiting = 0;
        lines + std::mem::take(&mut state.current).lines
    }

    /// Waits until everything is written; false where that takes too long.
    pub(super) fn flush(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        state.hurry = true;
        self.filled.notify_one();
        let mut done = true;
        while done && (state.waiting > 0 || state.writing) {
            done = !self.emptied.wait_until(&mut state, until).timed_out();
        }
        state.hurry = false;
        done
    }

    /// No lines come any more: the thread writes what waits, and ends.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }
}
