use super::{
    super::{line::LONGEST, queue::Bounds},
    *,
};
use std::sync::mpsc;

/// Lines that may wait, of 1 KiB each.
const PLACES: usize = 1000;

/// A disk that takes nothing until it is told to, and then a few bytes at a time.
struct Disk {
    told: mpsc::Receiver<()>,
    tried: mpsc::Sender<()>,
    full: bool,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Out for Disk {
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
}

struct Full {
    writer: Writer,
    make_room: mpsc::Sender<()>,
    tried: mpsc::Receiver<()>,
    bytes: Arc<Mutex<Vec<u8>>>,
    counts: Counts,
}

impl Full {
    /// A writer whose disk has taken a part of line 0, and failed.
    fn with_a_torn_line() -> Full {
        let full = full();
        full.writer.queue.push(&line(0));
        full.tried.recv().unwrap();
        full.tried.recv().unwrap();
        full
    }
}

fn full() -> Full {
    let ((make_room, told), (tries, tried)) = (mpsc::channel(), mpsc::channel());
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let disk = Disk { told, tried: tries, full: true, bytes: bytes.clone() };
    let counts = Counts { lost: Counter::default(), failures: Counter::default() };
    let bounds = Bounds { capacity: PLACES * 1024, flush: Duration::from_millis(50) };
    let settings = Settings { bounds, sync: false, rotate: None };
    let writer = Writer::start(Box::new(disk), "a test".to_owned(), settings, counts.clone()).unwrap();
    Full { writer, make_room, tried, bytes, counts }
}

fn line(number: usize) -> Vec<u8> {
    format!("{number:0>1023}\n").into_bytes()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn are_lines_from_0(bytes: &[u8]) -> bool {
    bytes.chunks(1024).enumerate().all(|(number, found)| found == line(number))
}

#[test]
fn a_full_disk_drops_exactly_what_is_counted_and_tears_no_line() {
    let full = Full::with_a_torn_line();
    for number in 1..=20_000 {
        full.writer.queue.push(&line(number));
    }
    full.make_room.send(()).unwrap();
    assert!(full.writer.queue.flush(soon()));
    // The record says itself what it lacks, before the next line.
    full.writer.queue.push(b"next\n");
    assert!(full.writer.queue.flush(soon()));
    let bytes = full.bytes.lock();
    let lost = 20_001 - PLACES;
    assert!(are_lines_from_0(&bytes[..PLACES * 1024]));
    let rest = std::str::from_utf8(&bytes[PLACES * 1024..]).unwrap();
    let (told, next) = rest.split_once('\n').unwrap();
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    assert_eq!((&told["event"], &told["count"]), (&"records_lost".into(), &lost.into()));
    assert_eq!(next, "next\n");
    assert_eq!(full.counts.lost.get(), lost as u64);
    assert!(full.counts.failures.get() > 0);
}

#[test]
fn what_was_promised_is_written_and_no_more_is_promised_while_the_disk_fails() {
    let full = full();
    let queue = &full.writer.queue;
    let admitted = (0..).take_while(|_| queue.promise(Instant::now())).count();
    assert_eq!(admitted, PLACES * 1024 / LONGEST);
    queue.redeem(Some(&line(0)));
    full.tried.recv().unwrap();
    // A second attempt follows the first failure: the failure is known by then.
    full.tried.recv().unwrap();
    full.tried.recv().unwrap();
    assert!(!queue.promise(Instant::now()));
    (1..admitted).for_each(|number| queue.redeem(Some(&line(number))));
    assert!(!queue.promise(Instant::now()));
    full.make_room.send(()).unwrap();
    assert!(queue.flush(soon()));
    assert!(queue.promise(Instant::now()));
    let bytes = full.bytes.lock();
    assert_eq!(bytes.len(), admitted * 1024);
    assert!(are_lines_from_0(&bytes));
    assert_eq!(full.counts.lost.get(), 0);
}

#[test]
fn who_waits_for_a_place_gets_one_when_the_disk_is_back() {
    let full = Full::with_a_torn_line();
    full.tried.recv().unwrap();
    let queue = full.writer.queue.clone();
    let waiting = thread::spawn(move || {
        palisade_contract::testkit::block_on(queue.place());
        queue.redeem(Some(&line(1)));
    });
    full.make_room.send(()).unwrap();
    waiting.join().unwrap();
    assert!(full.writer.queue.flush(soon()));
    let bytes = full.bytes.lock();
    assert!(bytes.len() == 2048 && are_lines_from_0(&bytes));
}

#[test]
fn what_waits_is_written_after_the_last_user_is_gone() {
    let Full { writer, make_room, tried, bytes, .. } = full();
    make_room.send(()).unwrap();
    let queue = writer.queue.clone();
    for number in 0..PLACES {
        queue.push(&line(number));
    }
    drop(writer);
    // The thread ends with its half of the channel.
    while tried.recv().is_ok() {}
    let bytes = bytes.lock();
    assert!(bytes.len() == PLACES * 1024 && are_lines_from_0(&bytes));
    assert_eq!(queue.abandon(), 0);
}

#[test]
fn what_a_closed_writer_cannot_write_is_counted() {
    let Full { writer, tried, counts, make_room, .. } = Full::with_a_torn_line();
    for number in 1..=10 {
        writer.queue.push(&line(number));
    }
    drop(writer);
    while tried.recv().is_ok() {}
    assert_eq!(counts.lost.get(), 11);
    drop(make_room);
}

#[test]
fn a_flush_on_a_full_disk_gives_up() {
    let full = Full::with_a_torn_line();
    assert!(!full.writer.queue.flush(Instant::now()));
    assert_eq!(full.bytes.lock().len(), 500);
}

#[test]
fn what_is_not_written_at_the_end_is_counted() {
    let full = Full::with_a_torn_line();
    for number in 1..=10 {
        full.writer.queue.push(&line(number));
    }
    full.writer.known.flush(Instant::now());
    assert_eq!(full.counts.lost.get(), 11);
    // Nothing is counted twice.
    full.writer.known.flush(Instant::now());
    assert_eq!(full.counts.lost.get(), 11);
}

#[test]
fn of_what_the_thread_has_only_what_is_not_written_is_lost() {
    let queue = Queue::new(Bounds { capacity: 1 << 20, flush: Duration::ZERO });
    let mut batches = Vec::new();
    for number in 0..5 {
        queue.push(&line(number));
    }
    queue.take(&mut batches, None);
    queue.push(&line(5));
    queue.wrote(2);
    assert_eq!((queue.give_up(), queue.give_up()), (4, 0));
}

/// A disk that takes everything and cannot make it durable until it is told to.
struct Forgetful(mpsc::Receiver<()>, mpsc::Sender<()>);

impl Out for Forgetful {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn sync(&mut self) -> io::Result<()> {
        let _ = self.1.send(());
        self.0.try_recv().map_err(io::Error::other)
    }
}

#[test]
fn what_is_not_durable_was_not_written() {
    let ((heal, healed), (tries, tried)) = (mpsc::channel(), mpsc::channel());
    let bounds = Bounds { capacity: 1 << 20, flush: Duration::from_millis(1) };
    let settings = Settings { bounds, sync: true, rotate: None };
    let counts = Counts { lost: Counter::default(), failures: Counter::default() };
    let disk = Box::new(Forgetful(healed, tries));
    let writer = Writer::start(disk, "a test".to_owned(), settings, counts.clone()).unwrap();
    writer.queue.push(b"x\n");
    // The second attempt follows the first failure.
    tried.recv().unwrap();
    tried.recv().unwrap();
    assert!(!writer.queue.promise(Instant::now()));
    assert!(!writer.queue.flush(Instant::now()));
    heal.send(()).unwrap();
    assert!(writer.queue.flush(soon()));
    assert!(writer.queue.promise(Instant::now()));
    assert!(counts.failures.get() > 0);
}

#[test]
fn a_sink_that_goes_on_failing_is_told_of_now_and_then() {
    let full = Full::with_a_torn_line();
    let mut worker = Worker {
        queue: full.writer.queue.clone(),
        settings: full.writer.settings.clone(),
        out: Box::new(Forgetful(mpsc::channel().1, mpsc::channel().0)),
        name: "a test".to_owned(),
        counts: full.counts.clone(),
        known: full.writer.known.clone(),
        untold: 0,
        complained: None,
    };
    assert_eq!([0; 3].map(|_| worker.complains()), [true, false, false]);
    worker.complained = Instant::now().checked_sub(COMPLAIN);
    assert_eq!([0; 2].map(|_| worker.complains()), [true, false]);
}
