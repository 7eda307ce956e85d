//! Compares verdicts and rules with libmodsecurity on the stages of the suite that are named: CRS_DIR LEVEL NAME….
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

use std::path::PathBuf;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, level, names @ ..] = arguments.as_slice() else {
        eprintln!("usage: compare CRS_DIR LEVEL STAGE…");
        return;
    };
    let folder = PathBuf::from(folder);
    let extra = suite::level(level.parse().unwrap());
    let rules = suite::rules(&folder, &extra, false);
    let mut other = suite::differential::ModSecurity::start(&folder, &extra).unwrap();
    for stage in suite::stages(&folder).iter().filter(|stage| names.contains(&stage.name())) {
        let ours = suite::evaluate(&rules, &stage.request);
        let ids: Vec<u64> = ours.matched().iter().map(|rule| rule.id).collect();
        println!("{}: ours {:?} {ids:?}", stage.name(), ours.intervention());
        println!("  libmodsecurity {:?}", other.evaluate(&stage.request));
    }
}
