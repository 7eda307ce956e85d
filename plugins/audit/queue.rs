//! Lines on their way from requests to the thread that writes them.
//!
//! Lines are gathered in batches that are handed over whole and used again: nothing is copied twice, and a batch
//! stays small enough for a processor's cache. The writing thread is woken by the first line after a silence and
//! by a full batch; in between it looks by itself, once in a flush window, so that nearly no request pays for a
//! wake-up.

use super::line::LONGEST;
use parking_lot::{Condvar, Mutex};
use std::{
    pin::pin,
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Lines that are handed over together, in bytes.
pub(super) const BATCH: usize = 64 << 10;
/// Batches that are kept to be used again.
const SPARE: usize = 4;
/// A write that takes longer than this has failed, as far as new requests are concerned.
const STUCK: Duration = Duration::from_secs(2);

/// Whole lines.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// Lines that wait, up to a bound.
pub(super) struct Queue {
    state: Mutex<State>,
    /// The writing thread has something to do.
    filled: Condvar,
    /// There is room, or everything is written.
    emptied: Condvar,
    /// Tells requests that wait for a place to ask again. One that is let go leaves nothing behind.
    room: Notify,
}

/// What a queue may hold, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes that may wait or be promised.
    pub(super) capacity: usize,
    /// How long a line may wait before it is written.
    pub(super) flush: Duration,
}

struct State {
    bounds: Bounds,
    /// Takes lines.
    current: Batch,
    /// Have taken all they can.
    full: Vec<Batch>,
    spare: Vec<Batch>,
    /// Bytes in `current` and `full`.
    waiting: usize,
    /// Bytes that the writing thread has, lines of them that are not written yet, and since when.
    in_hand: usize,
    unwritten: u64,
    since: Option<Instant>,
    /// Bytes promised to requests that were admitted.
    promised: usize,
    /// The last write failed.
    failing: bool,
    /// A request was refused a place since the last time that those who wait were told to ask again.
    refused: bool,
    rest: Rest,
    dropped: u64,
    closed: bool,
    /// The file is to be opened again.
    reopen: bool,
    /// So many wait for the lines to be written.
    hurry: usize,
}

/// What the writing thread does, as far as it must be woken.
#[derive(PartialEq, Eq)]
enum Rest {
    /// It looks by itself soon.
    None,
    /// Until the end of the window, or a full batch.
    Nap,
    /// Until there is a line.
    Sleep,
}

/// What the writing thread finds.
pub(super) struct Taken {
    /// No lines come any more.
    pub(super) closed: bool,
    /// The file is to be opened again.
    pub(super) reopen: bool,
    /// Lines that were dropped since the last time.
    pub(super) dropped: u64,
}

impl State {
    fn is_due(&self) -> bool {
        !self.full.is_empty() || self.hurry > 0 || self.closed || self.reopen
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.waiting + self.in_hand + self.promised + bytes <= self.bounds.capacity
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

    fn abandon(&mut self) -> u64 {
        let lines = self.full.drain(..).map(|batch| batch.lines).sum::<u64>();
        self.waiting = 0;
        lines + std::mem::take(&mut self.current).lines
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

    fn admits(&self, now: Instant) -> bool {
        let stuck = self.since.is_some_and(|since| now.saturating_duration_since(since) > STUCK);
        !self.failing && !stuck && self.has_room(LONGEST)
    }
}

impl Queue {
    pub(super) fn new(bounds: Bounds) -> Self {
        let state = State {
            bounds,
            current: Batch::default(),
            full: Vec::new(),
            spare: Vec::new(),
            waiting: 0,
            in_hand: 0,
            unwritten: 0,
            since: None,
            promised: 0,
            failing: false,
            refused: false,
            rest: Rest::None,
            dropped: 0,
            closed: false,
            reopen: false,
            hurry: 0,
        };
        Queue {
            state: Mutex::new(state),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            room: Notify::new(),
        }
    }

    /// Other bounds from now on.
    pub(super) fn set(&self, bounds: Bounds) {
        self.state.lock().bounds = bounds;
    }

    /// Puts a line into the queue, or counts it as dropped where there is no room.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if !state.has_room(line.len()) {
            state.dropped += 1;
            return;
        }
        state.put(line);
        let wakes = state.wakes();
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// Promises a place for one line. False where lines cannot be written at present, or too many wait.
    pub(super) fn promise(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let admits = state.admits(now);
        if admits {
            state.promised += LONGEST;
        } else {
            state.refused = true;
        }
        admits
    }

    /// Promises a place as soon as there is one.
    pub(super) async fn place(&self) {
        loop {
            let mut room = pin!(self.room.notified());
            // From here on it hears of room, also of what there is after the answer and before the wait.
            room.as_mut().enable();
            if self.promise(Instant::now()) {
                return;
            }
            room.await;
        }
    }

    /// Keeps a promise with this line, or takes it back.
    pub(super) fn redeem(&self, line: Option<&[u8]>) {
        let mut state = self.state.lock();
        state.promised = state.promised.saturating_sub(LONGEST);
        if let Some(line) = line {
            state.put(line);
        }
        let wakes = state.wakes();
        let room = !state.failing && std::mem::take(&mut state.refused);
        drop(state);
        if wakes {
            self.filled.notify_one();
        }
        if room {
            self.room.notify_waiters();
        }
    }

    /// For the writing thread: what it took is written. Waits for more and takes that. After `patience` without
    /// a line it comes back without any.
    pub(super) fn take(&self, batches: &mut Vec<Batch>, patience: Option<Duration>) -> Taken {
        let mut state = self.state.lock();
        for mut batch in batches.drain(..) {
            if state.spare.len() < SPARE {
                batch.bytes.clear();
                batch.lines = 0;
                state.spare.push(batch);
            }
        }
        (state.in_hand, state.unwritten, state.since) = (0, 0, None);
        self.emptied.notify_all();
        if std::mem::take(&mut state.refused) {
            self.room.notify_waiters();
        }
        let mut until = Instant::now() + state.bounds.flush;
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
            until = Instant::now() + state.bounds.flush;
        }
        state.rest = Rest::None;
        std::mem::swap(&mut state.full, batches);
        if state.current.lines > 0 {
            let next = state.spare.pop().unwrap_or_default();
            batches.push(std::mem::replace(&mut state.current, next));
        }
        state.in_hand = std::mem::take(&mut state.waiting);
        state.unwritten = batches.iter().map(|batch| batch.lines).sum();
        state.since = (state.in_hand > 0).then(Instant::now);
        Taken {
            closed: state.closed,
            reopen: std::mem::take(&mut state.reopen),
            dropped: std::mem::take(&mut state.dropped),
        }
    }

    /// For the writing thread: a write failed. Waits before the next attempt. What was asked for meanwhile.
    pub(super) fn pause(&self, time: Duration) -> Taken {
        let mut state = self.state.lock();
        state.failing = true;
        if !state.closed && !state.reopen {
            self.filled.wait_for(&mut state, time);
        }
        Taken {
            closed: state.closed,
            reopen: std::mem::take(&mut state.reopen),
            dropped: std::mem::take(&mut state.dropped),
        }
    }

    /// For the writing thread: so many lines are written, though perhaps not all that it has.
    pub(super) fn wrote(&self, lines: u64) {
        let mut state = self.state.lock();
        state.unwritten = state.unwritten.saturating_sub(lines);
    }

    /// For the writing thread: a batch is written, and with it so many lines.
    pub(super) fn progress(&self, lines: u64) {
        let mut state = self.state.lock();
        state.since = Some(Instant::now());
        state.unwritten = state.unwritten.saturating_sub(lines);
        if std::mem::take(&mut state.failing) {
            state.refused = false;
            drop(state);
            self.room.notify_waiters();
        }
    }

    /// Lets go of everything that waits; how many lines that were.
    pub(super) fn abandon(&self) -> u64 {
        self.state.lock().abandon()
    }

    /// Lets go of everything, also of what the writing thread has and has not written; how many lines that were.
    pub(super) fn give_up(&self) -> u64 {
        let mut state = self.state.lock();
        state.abandon() + std::mem::take(&mut state.unwritten) + std::mem::take(&mut state.dropped)
    }

    /// Waits until everything is written; false where that takes too long.
    pub(super) fn flush(&self, until: Instant) -> bool {
        let mut state = self.state.lock();
        state.hurry += 1;
        self.filled.notify_one();
        let mut done = true;
        while done && state.waiting + state.in_hand > 0 {
            done = !self.emptied.wait_until(&mut state, until).timed_out();
        }
        state.hurry -= 1;
        done
    }

    /// The file is opened again before the next line is written.
    pub(super) fn reopen(&self) {
        self.state.lock().reopen = true;
        self.filled.notify_one();
    }

    /// No lines come any more: the thread writes what waits, and ends.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(places: usize) -> Queue {
        Queue::new(Bounds { capacity: places * LONGEST, flush: Duration::from_millis(1) })
    }

    #[test]
    fn a_promise_keeps_a_place_for_its_line_alone() {
        let (queue, now) = (queue(2), Instant::now());
        assert!(queue.promise(now) && queue.promise(now));
        assert!(!queue.promise(now));
        queue.push(b"x\n");
        queue.redeem(None);
        assert!(queue.promise(now));
        queue.redeem(Some(b"a\n"));
        queue.redeem(Some(b"b\n"));
        let mut batches = Vec::new();
        assert_eq!(queue.take(&mut batches, None).dropped, 1);
        assert_eq!(batches[0].bytes, b"a\nb\n");
    }

    #[test]
    fn a_batch_has_its_size_at_most_and_whole_lines() {
        let queue = queue(100);
        let lines: Vec<Vec<u8>> = (0..90).map(|number| format!("{number:0>5000}\n").into_bytes()).collect();
        lines.iter().for_each(|line| queue.push(line));
        let mut batches = Vec::new();
        queue.take(&mut batches, None);
        assert!(batches.len() > 1 && batches.iter().all(|batch| batch.bytes.len() <= BATCH));
        assert_eq!(batches.iter().map(|batch| batch.lines).sum::<u64>(), 90);
        assert!(batches.iter().all(|batch| batch.bytes.ends_with(b"\n")));
        assert_eq!(batches.iter().flat_map(|batch| batch.bytes.clone()).collect::<Vec<_>>(), lines.concat());
    }

    #[test]
    fn nothing_is_promised_while_lines_cannot_be_written() {
        let (queue, now) = (queue(9), Instant::now());
        let _ = queue.pause(Duration::ZERO);
        assert!(!queue.promise(now));
        queue.progress(0);
        assert!(queue.promise(now));
        // The writing thread took a line and has not come back.
        queue.redeem(Some(b"a\n"));
        let mut batches = Vec::new();
        queue.take(&mut batches, None);
        assert!(queue.promise(now));
        assert!(!queue.promise(Instant::now() + STUCK + Duration::from_secs(1)));
        queue.close();
        queue.take(&mut batches, None);
        assert!(queue.promise(Instant::now() + STUCK + Duration::from_secs(1)));
    }
}
