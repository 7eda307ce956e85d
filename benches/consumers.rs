//! A million keys in a directory of consumers: how long they take to load, what they take of memory, how long a look-up
//! takes.
//!
//! `cargo bench --bench consumers`. Consumers have names of 17 bytes and are in one of 16 sets of groups; every tenth key
//! has an id of its own, every fifth an end. They lie in 256 files, as `palisade consumers add` spreads them. Look-ups are
//! of keys in a shuffled order, so that the figures are those of a table that fits no cache. What is aimed at stands beside
//! what was measured, and where an aim is missed the command fails. The aim for look-ups is the better one of three rounds:
//! somebody else's work on the machine makes one slow, and none fast.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark"
)]

use palisade::consumers::{Directory, Reserved};
use palisade_contract::{ConsumerSource, Step};
use sha2::{Digest, Sha256};
use std::{
    fmt::Write,
    fs,
    hint::black_box,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

const KEYS: u64 = 1_000_000;
const FILES: u64 = 256;
const LOOK_UPS: u64 = 1_000_000;
const ROUNDS: usize = 3;
/// What is aimed at: seconds to load, bytes of each key, nanoseconds of a look-up of a known key.
const MOST_SECONDS: f64 = 10.0;
const MOST_BYTES: u64 = 200;
const MOST_NANOS: u64 = 1000;
/// An odd step walks through all numbers.
const STEP: u64 = 7_368_787;

/// A key as long as those that the gateway makes.
fn key(number: u64) -> String {
    format!("pal_{number:064x}")
}

fn line(number: u64, text: &mut String) {
    let hash = hex::encode(Sha256::digest(key(number)));
    let set = number % 16;
    write!(text, r#"{{"name":"customer-{number:08}","groups":["plan-{}","region-{}"],"#, set % 4, set / 4)
        .unwrap();
    write!(text, r#""key-auth":[{{"key_sha256":"{hash}""#).unwrap();
    if number.is_multiple_of(10) {
        write!(text, r#","id":"key-of-{number}""#).unwrap();
    }
    if number.is_multiple_of(5) {
        text.push_str(r#","expires":"2099-01-31T00:00:00Z""#);
    }
    text.push_str("}]}\n");
}

fn write(dir: &Path) {
    for file in 0..FILES {
        let mut text = String::new();
        (0..KEYS).filter(|number| number % FILES == file).for_each(|number| line(number, &mut text));
        fs::write(dir.join(format!("consumers-{file:02x}.jsonl")), text).unwrap();
    }
}

/// Memory of the process that is there, in bytes.
fn resident() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn open(dir: &Path, previous: Option<&Directory>) -> (Directory, Duration) {
    let begun = Instant::now();
    let directory = Directory::open(dir, Reserved::default(), previous).unwrap();
    (directory, begun.elapsed())
}

fn find(directory: &Directory, key: &[u8]) -> bool {
    let hash: [u8; 32] = Sha256::digest(key).into();
    match directory.find_key(&hash) {
        Step::Now(found) => black_box(found).unwrap().is_some(),
        Step::Later(_) => false,
    }
}

/// The median and the 99th percentile of single look-ups, hash and principal included, in nanoseconds; and the mean over all.
fn look_up(directory: &Directory, step: u64, known: bool) -> [u64; 3] {
    let key = |round: u64| {
        let number = round.wrapping_mul(step) % KEYS;
        key(if known { number } else { number + KEYS })
    };
    let mut single = Vec::new();
    let mut all = Duration::ZERO;
    for start in (0..LOOK_UPS).step_by(1000) {
        let keys: Vec<String> = (start..start + 1000).map(key).collect();
        let begun = Instant::now();
        for key in &keys {
            let one = Instant::now();
            let found = find(directory, key.as_bytes());
            single.push(u64::try_from(one.elapsed().as_nanos()).unwrap());
            assert_eq!(found, known);
        }
        all += begun.elapsed();
    }
    single.sort_unstable();
    let mean = u64::try_from(all.as_nanos()).unwrap() / LOOK_UPS;
    [single[single.len() / 2], single[single.len() * 99 / 100], mean]
}

/// Says whether an aim is reached.
fn aim(what: &str, is: f64, most: f64, unit: &str) -> bool {
    let reached = is <= most;
    let word = if reached { "reached" } else { "MISSED" };
    println!("consumers/aim: {what} of at most {most} {unit}: {is:.1} {unit}, {word}");
    reached
}

fn main() -> ExitCode {
    // `cargo test` runs it too, without optimisation: what that takes says nothing.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("consumers: `cargo bench --bench consumers` measures");
        return ExitCode::SUCCESS;
    }
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let before = resident();
    let (directory, took) = open(dir.path(), None);
    let grown = resident().saturating_sub(before);
    let in_tables = directory.bytes() as u64 / KEYS;
    println!("consumers/load of {KEYS} keys: {took:.2?}");
    println!("consumers/bytes a key: {in_tables} in tables, {} of the process", grown / KEYS);
    let mut best = u64::MAX;
    for round in 0..ROUNDS {
        for (what, step, known) in
            [("a known key", STEP, true), ("an unknown key", STEP, false), ("one key again", 0, true)]
        {
            let [median, high, mean] = look_up(&directory, step, known);
            println!("consumers/look-up of {what}: median {median} ns, 99 % {high} ns, mean {mean} ns");
            if known && step != 0 {
                best = best.min(median);
            }
        }
        if round + 1 < ROUNDS {
            println!("consumers/again");
        }
    }
    let reached = [
        aim("load", took.as_secs_f64(), MOST_SECONDS, "s"),
        aim("memory of a key", in_tables.max(grown / KEYS) as f64, MOST_BYTES as f64, "bytes"),
        aim("a look-up of a known key, median", best as f64, MOST_NANOS as f64, "ns"),
    ];
    // What a change of one consumer costs.
    let path = dir.path().join("consumers-00.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    line(2 * KEYS, &mut text);
    fs::write(&path, text).unwrap();
    let (_, took) = open(dir.path(), Some(&directory));
    println!("consumers/one more key: {took:.2?}");
    if reached.iter().all(|reached| *reached) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
