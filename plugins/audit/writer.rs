//! A thread of its own writes lines, so that no request waits for a disk.

use parking_lot::{Condvar, Mutex};
use std::{
    collections::HashMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

/// Lines that may wait, in bytes.
const QUEUE: usize = 16 << 20;
/// How long a line may wait before it is written.
const WINDOW: Duration = Duration::from_millis(100);
/// How often a failing disk or lost lines are told of.
const COMPLAIN: Duration = Duration::from_secs(10);

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Sink {
    File(PathBuf),
    Stdout,
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::File(path) => write!(f, "`{}`", path.display()),
            Sink::Stdout => f.write_str("standard output"),
        }
    }
}

/// The queue of one sink.
pub(super) struct Writer {
    queue: Mutex<Queue>,
    /// Lines are there.
    filled: Condvar,
    /// There is room, or everything is written.
    emptied: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    writing: bool,
    dropped: u64,
    closed: bool,
    /// Somebody waits for the queue to be written.
    hurry: bool,
}

type Writers = Mutex<HashMap<Sink, Weak<Writer>>>;

fn writers() -> &'static Writers {
    static WRITERS: OnceLock<Writers> = OnceLock::new();
    WRITERS.get_or_init(Writers::default)
}

/// Writes what waits in all queues, at the end of the process. Gives up after `patience`.
pub fn flush(patience: Duration) {
    let open: Vec<Arc<Writer>> = writers().lock().values().filter_map(Weak::upgrade).collect();
    let until = Instant::now() + patience;
    for writer in open {
        let mut queue = writer.queue.lock();
        queue.hurry = true;
        writer.filled.notify_all();
        while !queue.lines.is_empty() || queue.writing {
            if writer.emptied.wait_until(&mut queue, until).timed_out() {
                log::error!("the access record was not written to its end");
                break;
            }
        }
    }
}

impl Writer {
    /// The writer of a sink: the same one for everybody who writes there.
    pub(super) fn shared(sink: &Sink) -> io::Result<Arc<Writer>> {
        let mut all = writers().lock();
        if let Some(writer) = all.get(sink).and_then(Weak::upgrade) {
            return Ok(writer);
        }
        let out = open(sink)?;
        let writer =
            Arc::new(Writer { queue: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() });
        let weak = Arc::downgrade(&writer);
        let name = sink.to_string();
        std::thread::Builder::new().name("audit".to_owned()).spawn(move || work(&weak, out, &name))?;
        all.retain(|_, writer| writer.strong_count() > 0);
        all.insert(sink.clone(), Arc::downgrade(&writer));
        Ok(writer)
    }

    /// Puts a line into the queue. Where it is full, the line is dropped and counted, or with `block` this waits.
    pub(super) fn write(&self, line: impl FnOnce(&mut Vec<u8>), block: bool) {
        let mut queue = self.queue.lock();
        while queue.lines.len() >= QUEUE {
            if !block {
                queue.dropped += 1;
                return;
            }
            self.emptied.wait(&mut queue);
        }
        let was_empty = queue.lines.is_empty();
        line(&mut queue.lines);
        if was_empty {
            self.filled.notify_one();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.filled.notify_all();
    }
}

fn open(sink: &Sink) -> io::Result<Box<dyn Write + Send>> {
    match sink {
        Sink::Stdout => Ok(Box::new(io::stdout())),
        Sink::File(path) => {
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            Ok(Box::new(append(path)?))
        }
    }
}

/// Only the gateway's own user may read who called what.
fn append(path: &PathBuf) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Takes what waits, writes it, again; ends when nobody writes any more.
fn work(writer: &Weak<Writer>, mut out: Box<dyn Write + Send>, name: &str) {
    let mut batch = Vec::new();
    let mut complained: Option<Instant> = None;
    loop {
        // Held only while waiting: the last user's drop must be seen.
        let Some(shared) = writer.upgrade() else { return };
        let dropped = {
            let mut queue = shared.queue.lock();
            if queue.lines.is_empty() && !queue.closed {
                shared.filled.wait_for(&mut queue, Duration::from_millis(500));
            }
            if !queue.lines.is_empty() && !queue.hurry {
                // Lines of one window go in one write.
                shared.filled.wait_for(&mut queue, WINDOW);
            }
            std::mem::swap(&mut queue.lines, &mut batch);
            queue.writing = !batch.is_empty();
            std::mem::take(&mut queue.dropped)
        };
        let written =
            if batch.is_empty() { Ok(()) } else { out.write_all(&batch).and_then(|()| out.flush()) };
        let lost =
            if written.is_err() { batch.iter().filter(|byte| **byte == b'\n').count() as u64 } else { 0 };
        if dropped + lost > 0 && complained.is_none_or(|then| then.elapsed() >= COMPLAIN) {
            let why = written.as_ref().err().map_or("the queue was full".to_owned(), ToString::to_string);
            log::error!("{} lines of the access record in {name} were lost: {why}", dropped + lost);
            complained = Some(Instant::now());
        }
        batch.clear();
        shared.queue.lock().writing = false;
        shared.emptied.notify_all();
    }
}
