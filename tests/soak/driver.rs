//! Mixed traffic against a gateway, with reloads in between: what fails, and whether its memory grows.
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

use clap::Parser;
use clients::{KINDS, World};
use gateway::Gateway;
use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet, time::sleep};

/// Mixed traffic against a gateway, with reloads in between.
#[derive(Parser)]
struct Options {
    /// How long, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(4..=86_400))]
    seconds: u64,
    /// Clients at a time.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(10..=5_000))]
    connections: u16,
    /// How much more memory than in the first third of the time it may hold at the end, in MiB.
    #[arg(long, default_value_t = 16)]
    drift: u64,
    /// The binary.
    #[arg(long)]
    gateway: PathBuf,
}

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How long clients may take to come to an end.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let gateway = Gateway::start(&options.gateway);
    let start = gateway.memory();
    let world = Arc::new(World::new(gateway.plain, gateway.secure, &gateway.certificate));
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    for number in 0..usize::from(options.connections) {
        clients.spawn(clients::run(KINDS[number % KINDS.len()], number, world.clone(), stopped.clone()));
    }
    let (samples, reloads) = watch_over(&gateway, Duration::from_secs(options.seconds)).await;
    stop.send_replace(true);
    let ended = tokio::time::timeout(PATIENCE, clients.join_all()).await.is_ok();
    // Peaks come and go; what is held for long does not.
    let third = samples.len() / 3;
    let (warm, end) =
        (median(&samples[third / 2..third.max(1)]), median(&samples[samples.len() - third.max(1)..]));
    report(&options, &gateway, &world, [start, warm, end], reloads);
    let drift = end.saturating_sub(warm);
    let failed = world.failed.load(Ordering::Relaxed);
    let problems = [
        (failed > 0, format!("{failed} requests failed")),
        (reloads.is_none(), "not all reloads were done".to_owned()),
        (!ended, "clients did not come to an end".to_owned()),
        (drift > options.drift << 10, format!("memory grew by {} KiB", drift)),
        (!gateway.is_alive(), "the gateway ended".to_owned()),
        (gateway.log().contains("panic"), "the log tells of a panic".to_owned()),
        (world.idle_kind().is_some(), format!("nothing was done by {:?}", world.idle_kind())),
    ];
    let mut good = true;
    for (_, problem) in problems.iter().filter(|(is, _)| *is) {
        println!("FAILED: {problem}");
        good = false;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Looks at the gateway's memory until the time is over, and reloads it once a second: every third time with a
/// configuration that it must refuse. None where one of the reloads came to nothing.
async fn watch_over(gateway: &Gateway, time: Duration) -> (Vec<u64>, Option<u32>) {
    let begun = Instant::now();
    let (mut samples, mut reloads) = (Vec::new(), 0u32);
    while begun.elapsed() < time {
        sleep(LOOK).await;
        samples.push(gateway.memory());
        if begun.elapsed().as_secs() > u64::from(reloads) {
            reloads += 1;
            if !gateway.reload(reloads, reloads % 3 == 0).await {
                println!("FAILED: reload {reloads} has no outcome");
                return (samples, None);
            }
        }
    }
    (samples, Some(reloads))
}

fn median(samples: &[u64]) -> u64 {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

fn report(options: &Options, gateway: &Gateway, world: &World, memory: [u64; 3], reloads: Option<u32>) {
    let [start, warm, end] = memory;
    let reloads = reloads.unwrap_or(0);
    println!(
        "{} s, {} clients, {reloads} reloads, a third of them refused",
        options.seconds, options.connections
    );
    for (kind, done) in KINDS.iter().zip(&world.done) {
        println!("  {:<12} {:>8}", format!("{kind:?}"), done.load(Ordering::Relaxed));
    }
    println!("failed         {:>8}", world.failed.load(Ordering::Relaxed));
    println!("memory at start {start} KiB, warm {warm} KiB, at the end {end} KiB");
    println!("drift          {} KiB, at most {} KiB", end as i64 - warm as i64, options.drift << 10);
    println!("descriptors    {}", gateway.descriptors());
}
