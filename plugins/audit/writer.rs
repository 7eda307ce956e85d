//! A thread of its own writes lines, so that no request waits for a disk.

use super::queue::{Batch, Queue};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fmt,
    fs::{File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    thread,
    time::{Duration, Instant},
};

/// Between two attempts to write to a disk that takes nothing.
const RETRY: Duration = Duration::from_millis(200);
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

/// The way to the thread of one sink. When the last one is let go, the thread writes what waits, and ends.
pub(super) struct Writer(Arc<Queue>);

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
        writer.flush(until);
    }
}

impl Writer {
    /// The writer of a sink: the same one for everybody who writes there.
    pub(super) fn shared(sink: &Sink) -> io::Result<Arc<Writer>> {
        let mut all = writers().lock();
        if let Some(writer) = all.get(sink).and_then(Weak::upgrade) {
            return Ok(writer);
        }
        let writer = Arc::new(Writer::start(open(sink)?, sink.to_string())?);
        all.retain(|_, writer| writer.strong_count() > 0);
        all.insert(sink.clone(), Arc::downgrade(&writer));
        Ok(writer)
    }

    fn start(out: Box<dyn Write + Send>, name: String) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let worker = Worker { queue: queue.clone(), out, name, lost: 0, complained: None };
        thread::Builder::new().name("audit".to_owned()).spawn(move || worker.work())?;
        Ok(Writer(queue))
    }

    /// Puts a line into the queue. Where it is full, the line is dropped and counted, or with `block` this waits.
    pub(super) fn write(&self, line: &[u8], block: bool) {
        self.0.push(line, block);
    }

    fn flush(&self, until: Instant) {
        if !self.0.flush(until) {
            log::error!("the access record was not written to its end");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.close();
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

/// The thread: takes what waits, writes it, again.
struct Worker {
    queue: Arc<Queue>,
    out: Box<dyn Write + Send>,
    name: String,
    /// Lines that were dropped and have not been told of.
    lost: u64,
    complained: Option<Instant>,
}

impl Worker {
    fn work(mut self) {
        let mut batches = Vec::new();
        loop {
            // What was lost is told of also when nothing follows.
            let closed = self.queue.take(&mut batches, (self.lost > 0).then_some(COMPLAIN));
            self.lost += self.queue.dropped();
            for batch in &batches {
                self.write(batch);
            }
            let done = closed && batches.is_empty();
            self.tell("the queue was full", done);
            if done {
                return;
            }
        }
    }

    /// Writes all of it. A disk that takes nothing is tried again, from the byte where it stopped: no line is
    /// torn, and what comes meanwhile waits in the queue until that is full. When nobody writes any more, the
    /// rest is lost.
    fn write(&mut self, batch: &Batch) {
        let mut rest = &*batch.bytes;
        while let Err(error) = write_some(&mut self.out, &mut rest) {
            self.lost += self.queue.dropped();
            if self.queue.pause(RETRY) {
                let left = rest.iter().filter(|byte| **byte == b'\n').count();
                self.lost += left as u64 + self.queue.abandon();
                return self.tell(&error.to_string(), true);
            }
            if self.complains() {
                let (name, lost) = (&self.name, std::mem::take(&mut self.lost));
                log::error!("the access record in {name} cannot be written, {lost} lines were lost: {error}");
            }
        }
    }

    /// Tells of lost lines, not too often; what is not told of now is told of later.
    fn tell(&mut self, why: &str, now: bool) {
        if self.lost > 0 && (self.complains() || now) {
            log::error!("{} lines of the access record in {} were lost: {why}", self.lost, self.name);
            self.lost = 0;
        }
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
fn write_some(out: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *rest = rest.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::{super::queue::CAPACITY, *};
    use std::sync::mpsc;

    /// A disk that takes nothing until it is told to, and then a few bytes at a time.
    struct Disk {
        told: mpsc::Receiver<()>,
        tried: mpsc::Sender<()>,
        full: bool,
        bytes: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.full && self.told.try_recv().is_err() {
                // Some bytes of a line fit, then none.
                let mut taken = self.bytes.lock();
                let fits = taken.len() < 500;
                if fits {
                    taken.extend_from_slice(&bytes[..500]);
                }
                drop(taken);
                // Told only once it is done: who waits for this looks at the bytes next.
                let _ = self.tried.send(());
                return if fits { Ok(500) } else { Err(io::ErrorKind::StorageFull.into()) };
            }
            self.full = false;
            let count = bytes.len().min(1500);
            self.bytes.lock().extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Full {
        writer: Writer,
        make_room: mpsc::Sender<()>,
        tried: mpsc::Receiver<()>,
        bytes: Arc<Mutex<Vec<u8>>>,
    }

    fn full() -> Full {
        let ((make_room, told), (tries, tried)) = (mpsc::channel(), mpsc::channel());
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let disk = Disk { told, tried: tries, full: true, bytes: bytes.clone() };
        Full { writer: Writer::start(Box::new(disk), "a test".to_owned()).unwrap(), make_room, tried, bytes }
    }

    fn line(number: usize) -> Vec<u8> {
        format!("{number:0>1023}\n").into_bytes()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn a_full_disk_drops_exactly_what_is_counted_and_tears_no_line() {
        let full = full();
        full.writer.write(&line(0), false);
        full.tried.recv().unwrap();
        for number in 1..=20_000 {
            full.writer.write(&line(number), false);
        }
        full.make_room.send(()).unwrap();
        full.writer.flush(soon());
        let bytes = full.bytes.lock();
        // One line was taken before the disk was full.
        let fits = CAPACITY / 1024 + 1;
        assert!(fits < 20_000);
        assert_eq!(bytes.len(), fits * 1024);
        assert!(bytes.chunks(1024).enumerate().all(|(number, found)| found == line(number)));
    }

    #[test]
    fn block_loses_nothing() {
        let full = full();
        thread::scope(|scope| {
            scope.spawn(|| (0..20_000).for_each(|number| full.writer.write(&line(number), true)));
            full.tried.recv().unwrap();
            full.make_room.send(()).unwrap();
        });
        full.writer.flush(soon());
        let bytes = full.bytes.lock();
        assert_eq!(bytes.len(), 20_000 * 1024);
        assert!(bytes.chunks(1024).enumerate().all(|(number, found)| found == line(number)));
    }

    #[test]
    fn what_waits_is_written_after_the_last_user_is_gone() {
        let Full { writer, make_room, tried, bytes } = full();
        make_room.send(()).unwrap();
        let queue = writer.0.clone();
        for number in 0..1000 {
            writer.write(&line(number), false);
        }
        drop(writer);
        // The thread ends with its half of the channel.
        while tried.recv().is_ok() {}
        assert_eq!(bytes.lock().len(), 1000 * 1024);
        assert_eq!(queue.abandon(), 0);
    }

    #[test]
    fn a_flush_on_a_full_disk_gives_up() {
        let full = full();
        full.writer.write(&line(0), true);
        full.tried.recv().unwrap();
        full.writer.flush(Instant::now());
        assert_eq!(full.bytes.lock().len(), 500);
    }
}
