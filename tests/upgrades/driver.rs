//! Mixed load on a gateway that is upgraded, and then reloaded, again and again: what fails, and how long it takes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a test"
)]

mod clients;
mod gateway;
mod http1;
mod tally;

use clap::Parser;
use gateway::Gateway;
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    thread::sleep,
    time::{Duration, Instant},
};
use tally::{KINDS, Phase, Report, Tally};

/// Mixed load on a gateway that is upgraded, and then reloaded, again and again.
#[derive(Parser)]
struct Options {
    /// The binary.
    #[arg(long)]
    gateway: PathBuf,
    /// How often it is upgraded.
    #[arg(long, default_value_t = 20)]
    upgrades: usize,
    /// How often it is reloaded, every other time with a configuration that it must refuse.
    #[arg(long, default_value_t = 20)]
    reloads: usize,
    /// Requests while it is upgraded, and again while it is reloaded; half of it where the time is over before, or with
    /// `--lenient` a hundredth.
    #[arg(long, default_value_t = 200_000)]
    requests: u64,
    /// The most seconds that each of the two may take.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// For a debug build on a busy machine: fewer requests are enough, and their latency is shown and not judged.
    #[arg(long)]
    lenient: bool,
}

/// How long the gateway is measured while nothing happens to it.
const STEADY: Duration = Duration::from_secs(15);
/// How long it runs as fast as it can, to learn how fast that is.
const WARM: Duration = Duration::from_secs(3);
/// The share of that which is asked for: a gateway without any reserve shows how its queue is, and nothing else.
const SHARE: f64 = 0.75;
/// How much longer requests may take than while nothing happens; and what is no matter, whatever the ratio is: one
/// process that waits for its turn on a busy machine.
const RATIO: f64 = 1.5;
const NO_MATTER: Duration = Duration::from_millis(40);
/// How long after something has happened to the gateway nothing is counted as steady.
const AFTERWARDS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let options = Options::parse();
    let mut gateway = Gateway::start(&options.gateway, http1::origin());
    let tally = Arc::new(Tally::default());
    let clients = clients::start(gateway.address, &tally);
    set_pace(&tally);
    tally.begin(Phase::Steady);
    sleep(STEADY);
    let mut problems = Vec::new();
    phase(&options, &tally, Phase::Upgrades, options.upgrades, |number| {
        if let Err(why) = gateway.upgrade() {
            problems.push(format!("upgrade {number} came to nothing: {why}"));
        }
    });
    phase(&options, &tally, Phase::Reloads, options.reloads, |number| {
        gateway.reload(number, number % 2 == 0);
    });
    tally.stop();
    for client in clients {
        client.join().unwrap();
    }
    if !gateway.old_ones_end() {
        problems.push("a process that was replaced does not end".to_owned());
    }
    for text in ["panic", "connections cut", "a listener failed"] {
        if gateway.log().contains(text) {
            problems.push(format!("the log tells of `{text}`"));
        }
    }
    judge(&options, &tally, &mut problems);
    if problems.is_empty() {
        println!("nothing was lost in {} upgrades and {} reloads", options.upgrades, options.reloads);
        return ExitCode::SUCCESS;
    }
    // What failed comes last: of a long output often only the end is seen.
    println!("--- log of the gateway\n{}", gateway.log());
    for problem in problems {
        println!("FAILED: {problem}");
    }
    ExitCode::FAILURE
}

/// Finds out how fast the gateway is here, and has the clients ask for a part of that.
fn set_pace(tally: &Tally) {
    sleep(WARM);
    let before = tally.requests(Phase::Warm);
    sleep(WARM);
    let most = (tally.requests(Phase::Warm) - before) as f64 / WARM.as_secs_f64();
    let period = clients::FAST as f64 * 1e6 / (most * SHARE).max(1.0);
    tally.period.store(period as u64, Ordering::Relaxed);
    println!("{most:.0} requests a second are the most; the load is {:.0}", most * SHARE);
    sleep(Duration::from_secs(1));
}

/// Does something so many times, evenly over all requests of the phase.
fn phase(options: &Options, tally: &Tally, phase: Phase, times: usize, mut act: impl FnMut(usize)) {
    tally.begin(phase);
    let (begun, mut acted) = (Instant::now(), Instant::now());
    for number in 1..=times + 1 {
        let due = options.requests * number as u64 / (times as u64 + 1);
        let late = Duration::from_secs(options.seconds) * number as u32 / (times as u32 + 1);
        while tally.requests(phase) < due && begun.elapsed() < late {
            sleep(Duration::from_millis(10));
            if acted.elapsed() > AFTERWARDS {
                tally.disturbed.store(false, Ordering::Relaxed);
            }
        }
        if number <= times {
            tally.disturbed.store(true, Ordering::Relaxed);
            act(number);
            acted = Instant::now();
        }
    }
    tally.disturbed.store(false, Ordering::Relaxed);
    println!("{phase:?}: {:.1} s", begun.elapsed().as_secs_f64());
}

fn judge(options: &Options, tally: &Tally, problems: &mut Vec<String>) {
    let steady = tally.report(Phase::Steady);
    let reports =
        [Phase::Warm, Phase::Steady, Phase::Upgrades, Phase::Reloads].map(|phase| tally.report(phase));
    for report in &reports {
        println!("{report}");
        if report.failed > 0 {
            problems.push(format!("{} requests failed", report.failed));
        }
    }
    let unprocessed = tally.unprocessed.load(Ordering::Relaxed);
    println!(
        "{unprocessed} HTTP/2 streams were crossed by a farewell that says they do not count, as RFC 9113 has it"
    );
    if unprocessed > options.upgrades as u64 {
        problems.push(format!("{unprocessed} HTTP/2 streams were crossed by a farewell"));
    }
    for (report, times) in reports[2..].iter().zip([options.upgrades, options.reloads]) {
        if times > 0 {
            compare(options, &steady, report, problems);
        }
    }
}

fn compare(options: &Options, steady: &Report, report: &Report, problems: &mut Vec<String>) {
    // Others may have begun to use this machine since: what counts is the smaller of the two.
    let [before, between] =
        [steady.p99, report.quiet].map(|steady| report.p99.as_secs_f64() / steady.as_secs_f64().max(1e-6));
    println!(
        "p99 is {before:.2} times the steady one of before, {between:.2} times that of between; {RATIO} is the most, \
         beyond {NO_MATTER:?}"
    );
    if before.min(between) > RATIO && report.p99 > NO_MATTER && !options.lenient {
        problems.push(format!("p99 is {:.2} times the steady one", before.min(between)));
    }
    let all: u64 = report.done.iter().sum();
    if all < options.requests {
        println!("only {all} requests in {} s: this machine is busy, or slow", options.seconds);
    }
    if all < options.requests / if options.lenient { 100 } else { 2 } {
        problems.push(format!("{all} requests prove nothing"));
    }
    for (kind, _) in KINDS.iter().zip(report.done).filter(|(_, done)| *done == 0) {
        problems.push(format!("nothing was done by {kind:?}"));
    }
}
