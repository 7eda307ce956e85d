//! A thread of its own writes lines, so that no request waits for a disk.

use super::{
    queue::{Batch, Queue},
    sink::{Out, Settings, Sink},
    text,
};
use palisade_contract::{Counter, Host};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Between two attempts to write to a sink that takes nothing: doubled from the first to the last.
const RETRY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];
/// How often a failing sink or lost lines are told of.
const COMPLAIN: Duration = Duration::from_secs(10);

/// The way to the thread of one sink. When the last one is let go, the thread writes what waits, and ends.
pub(super) struct Writer {
    queue: Arc<Queue>,
    known: Arc<Known>,
    settings: Arc<Mutex<Settings>>,
}

/// What is counted for the metrics.
#[derive(Debug, Clone)]
pub(super) struct Counts {
    /// Records that nobody will ever read.
    pub(super) lost: Counter,
    /// Attempts to write that failed.
    pub(super) failures: Counter,
}

#[derive(Default)]
struct Writers {
    open: HashMap<Sink, Weak<Writer>>,
    /// Of every thread that has not ended, also where nobody writes any more.
    threads: Vec<Weak<Known>>,
}

/// What is known of a thread from outside.
struct Known {
    queue: Arc<Queue>,
    name: String,
    counts: Counts,
    /// Lost lines that the log has not told of.
    lost: AtomicU64,
}

impl Known {
    /// Writes what waits. What cannot be written by then is lost, and that is said.
    fn flush(&self, until: Instant) {
        let written = self.queue.flush(until);
        let left = if written { 0 } else { self.queue.give_up() };
        self.counts.lost.add(left);
        let lost = self.lost.swap(0, Relaxed) + left;
        if lost > 0 || !written {
            log::error!(
                "{lost} lines of the access record in {} were lost: it was not written to its end",
                self.name
            );
        }
    }
}

fn writers() -> &'static Mutex<Writers> {
    static WRITERS: OnceLock<Mutex<Writers>> = OnceLock::new();
    WRITERS.get_or_init(Mutex::default)
}

fn threads() -> Vec<Arc<Known>> {
    writers().lock().threads.iter().filter_map(Weak::upgrade).collect()
}

/// Writes what waits in all queues, at the end of the process. Gives up after `patience`: the log says how much was
/// lost.
pub fn flush(patience: Duration) {
    let until = Instant::now() + patience;
    for known in threads() {
        known.flush(until);
    }
}

/// Opens all record files again, for who has renamed them.
pub fn reopen() {
    for known in threads() {
        known.queue.reopen();
    }
}

impl Writer {
    /// The writer of a sink: the same one for everybody who writes there.
    pub(super) fn shared(
        sink: &Sink,
        host: &Arc<dyn Host>,
        settings: Settings,
        counts: &Counts,
    ) -> io::Result<Arc<Writer>> {
        let mut all = writers().lock();
        if let Some(writer) = all.open.get(sink).and_then(Weak::upgrade) {
            return Ok(writer);
        }
        let out = sink.open(host)?;
        let writer = Arc::new(Writer::start(out, sink.to_string(), settings, counts.clone())?);
        all.open.retain(|_, writer| writer.strong_count() > 0);
        all.threads.retain(|known| known.strong_count() > 0);
        all.open.insert(sink.clone(), Arc::downgrade(&writer));
        all.threads.push(Arc::downgrade(&writer.known));
        Ok(writer)
    }

    fn start(out: Box<dyn Out>, name: String, settings: Settings, counts: Counts) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(settings.bounds));
        let settings = Arc::new(Mutex::new(settings));
        let known = Arc::new(Known {
            queue: queue.clone(),
            name: name.clone(),
            counts: counts.clone(),
            lost: AtomicU64::new(0),
        });
        let worker = Worker {
            queue: queue.clone(),
            settings: settings.clone(),
            out,
            name,
            counts,
            known: known.clone(),
            untold: 0,
            complained: None,
        };
        thread::Builder::new().name("audit".to_owned()).spawn(move || worker.work())?;
        Ok(Writer { queue, known, settings })
    }

    /// What a newer configuration says.
    pub(super) fn adopt(&self, settings: &Settings) {
        self.queue.set(settings.bounds);
        *self.settings.lock() = settings.clone();
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The thread: takes what waits, writes it, again.
struct Worker {
    queue: Arc<Queue>,
    settings: Arc<Mutex<Settings>>,
    out: Box<dyn Out>,
    name: String,
    counts: Counts,
    known: Arc<Known>,
    /// Lost lines that the record itself has not told of.
    untold: u64,
    complained: Option<Instant>,
}

impl Worker {
    fn work(mut self) {
        let mut batches = Vec::new();
        loop {
            // What was lost is told of also when nothing follows.
            let patience = (self.lost() + self.untold > 0).then_some(COMPLAIN);
            let taken = self.queue.take(&mut batches, patience);
            self.lose(taken.dropped);
            if taken.reopen {
                self.reopen();
            }
            let settings = self.settings.lock().clone();
            // What was dropped by now came after the lines that had filled the queue.
            let missing = std::mem::take(&mut self.untold);
            for batch in &batches {
                self.write(batch, &settings);
            }
            self.tell_record(missing, &settings);
            if settings.sync && !batches.is_empty() {
                self.sync();
            }
            let done = taken.closed && batches.is_empty();
            self.tell("the queue was full", done);
            if done {
                return;
            }
        }
    }

    /// Writes all of it. A sink that takes nothing is tried again, from where it stopped: no line is torn, and
    /// what comes meanwhile waits in the queue until that is full. When nobody writes any more, the rest is lost.
    fn write(&mut self, batch: &Batch, settings: &Settings) {
        let mut rest = &*batch.bytes;
        let mut wait = RETRY[0];
        // What is not durable is not written, where it has to be.
        let mut written = 0;
        let mut write = |lines: u64| {
            if settings.sync { 0 } else { lines.saturating_sub(std::mem::replace(&mut written, lines)) }
        };
        while let Err(error) =
            self.out.prepare(settings, rest.len()).and_then(|()| write_some(&mut *self.out, &mut rest))
        {
            self.counts.failures.add(1);
            let left = (rest.iter().filter(|byte| **byte == b'\n').count() as u64).min(batch.lines);
            self.queue.wrote(write(batch.lines - left));
            if self.complains() {
                log::error!("the access record in {} cannot be written: {error}", self.name);
            }
            let meanwhile = self.queue.pause(wait);
            wait = (wait * 2).min(RETRY[1]);
            self.lose(meanwhile.dropped);
            if meanwhile.reopen {
                self.reopen();
            }
            if meanwhile.closed {
                self.lose(left + self.queue.abandon());
                return self.tell(&error.to_string(), true);
            }
        }
        self.queue.progress(write(batch.lines));
    }

    /// Until it is done: what is not durable was not written.
    fn sync(&mut self) {
        while let Err(error) = self.out.sync() {
            self.counts.failures.add(1);
            if self.complains() {
                log::error!("the access record in {} cannot be made durable: {error}", self.name);
            }
            let meanwhile = self.queue.pause(RETRY[0]);
            self.lose(meanwhile.dropped);
            if meanwhile.reopen {
                self.reopen();
            }
            if meanwhile.closed {
                return;
            }
        }
        self.queue.progress(0);
    }

    fn reopen(&mut self) {
        match self.out.reopen() {
            Ok(()) => log::info!("the access record in {} was opened again", self.name),
            Err(error) => log::error!("the access record in {} cannot be opened again: {error}", self.name),
        }
    }

    fn lose(&mut self, count: u64) {
        self.known.lost.fetch_add(count, Relaxed);
        self.untold += count;
        self.counts.lost.add(count);
    }

    /// Says in the record itself that there are lines missing, at the place where they are missing.
    fn tell_record(&mut self, missing: u64, settings: &Settings) {
        if missing == 0 {
            return;
        }
        let mut line = b"{\"time\":\"".to_vec();
        text::time(&mut line, SystemTime::now());
        line.extend_from_slice(b"\",\"event\":\"records_lost\",\"count\":");
        text::number(&mut line, missing);
        line.extend_from_slice(b"}\n");
        self.write(&Batch { bytes: line, lines: 0 }, settings);
    }

    /// Tells of lost lines, not too often; what is not told of now is told of later.
    fn tell(&mut self, why: &str, now: bool) {
        if self.lost() > 0 && (self.complains() || now) {
            let lost = self.known.lost.swap(0, Relaxed);
            log::error!("{lost} lines of the access record in {} were lost: {why}", self.name);
        }
    }

    fn lost(&self) -> u64 {
        self.known.lost.load(Relaxed)
    }

    fn complains(&mut self) -> bool {
        let due = self.complained.is_none_or(|then| then.elapsed() >= COMPLAIN);
        if due {
            self.complained = Some(Instant::now());
        }
        due
    }
}

/// Writes until nothing is left; after an error `rest` is what is still to be written.
fn write_some(out: &mut dyn Out, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
