//! Runs the regression suite of a core rule set: `cargo run --release -p seclang --example crs-suite -- CRS_DIR`.
//!
//! Prints pass and fail for each folder of tests, the comparison with recorded verdicts where there are some, and the sums.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people who test"
)]

#[path = "../tests/suite/mod.rs"]
mod suite;

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode, time::Instant};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from).or_else(|| suite::folder("everything"))
    else {
        return ExitCode::FAILURE;
    };
    let stages = suite::stages(&folder);
    let started = Instant::now();
    let rules = suite::rules(&folder, suite::SUITE, std::env::var_os("SECLANG_REFERENCE").is_some());
    println!("{} rules loaded in {:.0?}", rules.len(), started.elapsed());
    let started = Instant::now();
    let mut files: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut failed = Vec::new();
    for stage in &stages {
        let Some((expect, none)) = &stage.expect else { continue };
        let transaction = suite::evaluate(&rules, &stage.request);
        let found: Vec<u64> = transaction.matched().iter().map(|rule| rule.id).collect();
        let passed = expect.iter().all(|id| found.contains(id)) && !none.iter().any(|id| found.contains(id));
        let counts = files.entry(&stage.file).or_default();
        if passed {
            counts.0 += 1;
        } else {
            counts.1 += 1;
            failed.push(format!(
                "{}: expected {expect:?}, and none of {none:?}; found {found:?}",
                stage.name()
            ));
        }
    }
    println!("{} stages evaluated in {:.0?}", stages.len(), started.elapsed());
    for (file, (passed, failed)) in &files {
        println!("{passed:5} passed {failed:5} failed  {file}");
    }
    failed.iter().for_each(|failure| println!("failed {failure}"));
    for level in [1, 2] {
        let Some(comparison) = suite::verdicts::compare(&folder, &stages, level) else {
            println!("verdicts at paranoia level {level}: none recorded");
            continue;
        };
        println!(
            "verdicts at paranoia level {level}: {} as both anchors, {} that both block and we pass, {} that both pass and we \
             block, {} on which they differ",
            comparison.same,
            comparison.missed.len(),
            comparison.extra.len(),
            comparison.open
        );
        println!("  passed: {:?}\n  blocked: {:?}", comparison.missed, comparison.extra);
    }
    let passed: usize = files.values().map(|counts| counts.0).sum();
    println!("{passed} passed, {} failed", failed.len());
    ExitCode::from(u8::from(failed.len() > 5))
}
