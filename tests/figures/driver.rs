//! What the gateway withstands, in figures: each against a gateway of its own, with what it should be.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "it is a test"
)]

mod bodies;
mod bombs;
mod credentials;
mod floods;
#[path = "../soak/gateway.rs"]
mod gateway;
mod idle;
mod net;
#[path = "../e2e/signer.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod signer;
mod slow;

use clap::{Parser, ValueEnum};
use gateway::Gateway;
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// What the connection layer withstands, in figures.
#[derive(Parser)]
struct Options {
    /// Which.
    #[arg(value_enum, required = true)]
    figures: Vec<Figure>,
    /// Connections, where the figure is about many of them; by default those that the targets are for.
    #[arg(long, value_parser = clap::value_parser!(u32).range(50..=9_500))]
    connections: Option<u32>,
    /// For a debug build on a busy machine: twice the memory, more time, and no latency.
    #[arg(long)]
    lenient: bool,
    /// The binary.
    #[arg(long)]
    gateway: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Figure {
    /// Idle connections, plain and TLS: memory, and whether it is given back.
    Idle,
    /// Heads that never end, over HTTP/1, TLS and HTTP/2: when they are closed, and what others feel of it.
    Slowloris,
    /// Few file descriptors and many silent connections: whether others are served.
    Descriptors,
    /// HTTP/2 blocks of many small fields: memory for each byte sent.
    Bomb,
    /// Floods of HTTP/2 frames: how soon they end.
    Floods,
    /// Endless, compressed and deep bodies: how soon they end, and memory.
    Bodies,
    /// Floods of credentials that are not good: what refusing costs, and what others feel of it.
    Credentials,
}

/// The gateway that all figures are about; idle connections may last.
const CONF: &str = "\
version: 1
demo: true
state_dir: STATE
listeners:
  public: {address: 127.0.0.1:0, http2: true}
  secure: {address: 127.0.0.1:0, http2: true, tls: {certificates: [{certificate: cert.pem, key: key.pem}]}}
limits: {connections_per_ip: 10000, idle_timeout: 5m, body_bytes: 256KiB}
routes:
  ready: {paths: [/ready], plugins: {request-termination: {status_code: 200, body: NUMBER}}}
  echo: {paths: [/echo/*], upstream: demo}
";

/// What has been measured, against what it should be.
pub struct Report {
    failed: Vec<String>,
    lenient: bool,
}

impl Report {
    /// A figure that must not be more than its target.
    fn most(&mut self, what: &str, figure: f64, target: f64, unit: &str) {
        self.line(what, figure, &format!("≤ {target} {unit}"), figure <= target, unit);
    }

    /// A figure that must not be less.
    fn least(&mut self, what: &str, figure: f64, target: f64, unit: &str) {
        self.line(what, figure, &format!("≥ {target} {unit}"), figure >= target, unit);
    }

    /// One that a debug build on a busy machine cannot reach.
    fn quiet(&mut self, what: &str, figure: f64, target: f64, unit: &str) {
        let target_text = format!("≤ {target} {unit}");
        if self.lenient && figure > target {
            show(what, figure, &target_text, "not judged here", unit);
        } else {
            self.line(what, figure, &target_text, figure <= target, unit);
        }
    }

    /// Memory, of which a debug build takes more.
    fn memory(&mut self, what: &str, figure: f64, target: f64, unit: &str) {
        let target = if self.lenient { 2.0 * target } else { target };
        self.most(what, figure, target, unit);
    }

    /// Processor time, of which a debug build takes ten times as much.
    fn cpu(&mut self, what: &str, figure: f64, target: f64, unit: &str) {
        let target = if self.lenient { 10.0 * target } else { target };
        self.most(what, figure, target, unit);
    }

    /// Seconds until something is over, of which a debug build on a busy machine takes more.
    fn seconds(&mut self, what: &str, figure: f64, target: f64) {
        let target = if self.lenient { target + 20.0 } else { target };
        self.most(what, figure, target, "s");
    }

    /// A share that a debug build says nothing of.
    fn share(&mut self, what: &str, figure: f64, target: f64) {
        if self.lenient {
            show(what, figure, &format!("≥ {target} %"), "not judged here", "%");
        } else {
            self.least(what, figure, target, "%");
        }
    }

    fn line(&mut self, what: &str, figure: f64, target: &str, good: bool, unit: &str) {
        if !good {
            self.failed.push(format!("{what}: {figure:.2} {unit}, {target}"));
        }
        show(what, figure, target, if good { "PASS" } else { "FAIL" }, unit);
    }
}

fn show(what: &str, figure: f64, target: &str, verdict: &str, unit: &str) {
    println!("  {what:<58} {figure:>9.2} {unit:<6} {target:<16} {verdict}");
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let mut report = Report { failed: Vec::new(), lenient: options.lenient };
    let many = |most: u32| options.connections.unwrap_or(most) as usize;
    let start = |descriptors| Gateway::with(&options.gateway, CONF, descriptors);
    for figure in &options.figures {
        match figure {
            Figure::Idle => idle::run(&start, many(9_000), &mut report).await,
            Figure::Slowloris => slow::slowloris(&start, many(5_000), &mut report).await,
            Figure::Descriptors => slow::descriptors(&start, &mut report).await,
            Figure::Bomb => bombs::run(&options.gateway, &mut report).await,
            Figure::Floods => floods::floods(&start, &mut report).await,
            Figure::Bodies => bodies::run(&start, &mut report).await,
            Figure::Credentials => credentials::run(&options.gateway, &mut report).await,
        }
    }
    for figure in &report.failed {
        println!("FAILED: {figure}");
    }
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Memory of a gateway once it has been the same for a moment, in KiB.
async fn settled(gateway: &Gateway) -> f64 {
    let mut last = gateway.memory();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let now = gateway.memory();
        if now.abs_diff(last) < 200 {
            return now as f64;
        }
        last = now;
    }
    last as f64
}
