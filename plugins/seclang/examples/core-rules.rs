//! Runs the gateway's own rules over the requests of the OWASP Core Rule Set's regression suite:
//! `cargo run --release -p seclang --example core-rules -- CRS_DIR`, with a family such as `942` to list what differs in it.
//!
//! A family's attacks are the requests that its rules are to find at any paranoia level; those that recorded engines refuse at
//! the first level stand beside. Its harmless requests are those that its rules are not to find and that no recorded engine
//! refuses at the second level.
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

use seclang::RuleSet;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use suite::{Stage, verdicts::recorded};

/// The files of the rules, in the order in which the gateway reads them.
const FILES: [&str; 13] = [
    "base",
    "setup",
    "protocol",
    "scanners",
    "files",
    "commands",
    "templates",
    "sql",
    "xss",
    "ssrf",
    "objects",
    "responses",
    "verdict",
];

/// Requests, and how many of them are refused.
#[derive(Default)]
struct Count(usize, usize);

impl Count {
    fn add(&mut self, refused: bool) {
        self.0 += 1;
        self.1 += usize::from(refused);
    }
}

/// Attacks, those that are refused at the first level, and harmless requests.
#[derive(Default)]
struct Family([Count; 3]);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next().map(PathBuf::from).or_else(|| suite::folder("everything")) else {
        return ExitCode::FAILURE;
    };
    let only = arguments.next();
    let (Some(first), Some(second)) = (recorded(&folder, 1), recorded(&folder, 2)) else {
        eprintln!("no verdicts are recorded");
        return ExitCode::FAILURE;
    };
    let rules = core();
    let mut families: BTreeMap<u64, Family> = BTreeMap::new();
    for stage in suite::stages(&folder) {
        let Some((expected, _)) = &stage.expect else { continue };
        let all = |verdicts: Option<&Vec<bool>>, wanted: bool| {
            verdicts.is_some_and(|verdicts| verdicts.iter().all(|verdict| *verdict == wanted))
        };
        let transaction = suite::evaluate(&rules, &stage.request);
        let refused = transaction.intervention().is_some();
        let number = stage.rule / 1000;
        let family = families.entry(number).or_default();
        let name = stage.name();
        let harmless = expected.is_empty() && all(second.get(&name), false);
        if !expected.is_empty() {
            family.0[0].add(refused);
            if all(first.get(&name), true) {
                family.0[1].add(refused);
            }
        } else if harmless {
            family.0[2].add(refused);
        }
        let differs = if harmless { refused } else { !refused && all(first.get(&name), true) };
        if only.as_ref().is_some_and(|only| *only == number.to_string()) && differs {
            let matched: Vec<u64> = transaction.matched().iter().map(|rule| rule.id).collect();
            println!(
                "{} {name} {matched:?}\n    {}",
                if refused { "refused" } else { "passed" },
                shown(&stage)
            );
        }
    }
    table(&families);
    ExitCode::SUCCESS
}

fn core() -> Arc<RuleSet> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../waf/core");
    let files = FILES
        .iter()
        .fold(RuleSet::builder(), |builder, file| builder.file(folder.join(format!("{file}.conf"))));
    let limits =
        "SecResponseBodyAccess On\nSecResponseBodyMimeType text/plain text/html text/xml application/json\n";
    files.text("limits", limits).build().unwrap_or_else(|errors| panic!("{errors}"))
}

/// What a request sends, in one line.
fn shown(stage: &Stage) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
    let plain = [&b"host"[..], b"accept", b"connection", b"content-length"];
    let headers =
        stage.request.headers.iter().filter(|(name, _)| !plain.contains(&&*name.to_ascii_lowercase()));
    let headers: Vec<String> =
        headers.map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
    let whole = format!(
        "{} {} [{}] {}",
        text(&stage.request.method),
        text(&stage.request.uri),
        headers.join("; "),
        text(&stage.request.body)
    );
    whole.chars().take(700).collect()
}

fn table(families: &BTreeMap<u64, Family>) {
    println!(
        "{:>6} {:>16} {:>20} {:>16}",
        "family", "attacks refused", "of the first level", "harmless refused"
    );
    let mut all = Family::default();
    let row = |name: &str, family: &Family| {
        let cell = |count: &Count| format!("{} of {}", count.1, count.0);
        let [attacks, first, harmless] = &family.0;
        println!("{name:>6} {:>16} {:>20} {:>16}", cell(attacks), cell(first), cell(harmless));
    };
    for (number, family) in families {
        row(&number.to_string(), family);
        for (sum, count) in all.0.iter_mut().zip(&family.0) {
            sum.0 += count.0;
            sum.1 += count.1;
        }
    }
    row("all", &all);
}
