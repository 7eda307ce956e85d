//! The core rule set: its suite, the recorded verdicts of other engines, and the fast way against the plain one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    reason = "tests may panic"
)]

mod suite;

use seclang::{RuleSet, Transaction};
use std::sync::Arc;
use suite::{Request, Stage};

/// Stages that fail in every engine that is fed requests and no connections, with the reason.
const CEILING: [(&str, &str); 5] = [
    (
        "920181-1-0",
        "a server would refuse a length beside a transfer coding, or drop it, before rules see it",
    ),
    ("920430-5-0", "a server would give the protocol of a request line without one; here it is empty"),
    ("920620-1-0", "a server would join two fields of one name, or refuse them"),
    ("920640-5-0", "the suite expects a server that reads no body without a length"),
    ("921140-1-0", "a server would refuse a line end in a field"),
];

/// Whether a stage passes, and what it found.
fn check(rules: &Arc<RuleSet>, stage: &Stage) -> bool {
    let Some((expect, none)) = &stage.expect else { return true };
    let transaction = suite::evaluate(rules, &stage.request);
    let found: Vec<u64> = transaction.matched().iter().map(|rule| rule.id).collect();
    expect.iter().all(|id| found.contains(id)) && !none.iter().any(|id| found.contains(id))
}

#[test]
fn the_suite_passes_but_for_what_no_engine_passes() {
    let Some(folder) = suite::folder("the suite of the core rule set") else { return };
    let rules = suite::rules(&folder, suite::SUITE, false);
    let stages = suite::stages(&folder);
    assert_eq!(stages.iter().filter(|stage| stage.expect.is_some()).count(), 5016);
    let failed: Vec<String> = stages.iter().filter(|stage| !check(&rules, stage)).map(Stage::name).collect();
    assert_eq!(failed, CEILING.map(|(name, _)| name));
}

#[test]
fn verdicts_are_those_of_both_anchors() {
    let Some(folder) = suite::folder("recorded verdicts") else { return };
    let stages = suite::stages(&folder);
    for level in [1, 2] {
        let Some(comparison) = suite::verdicts::compare(&folder, &stages, level) else {
            eprintln!("skipped recorded verdicts at paranoia level {level}: CRS_VERDICTS does not name them");
            continue;
        };
        assert!(comparison.same > 4900, "{comparison:?}");
        assert_eq!(
            comparison.missed,
            Vec::<String>::new(),
            "blocked by both anchors and passed here, level {level}"
        );
        assert_eq!(
            comparison.extra,
            Vec::<String>::new(),
            "passed by both anchors and blocked here, level {level}"
        );
    }
}

/// All that a transaction leaves behind.
fn outcome(transaction: &Transaction) -> impl PartialEq + std::fmt::Debug + use<> {
    let tx: Vec<_> = transaction
        .tx()
        .into_iter()
        .map(|(name, value)| [name, value].map(|text| text.escape_ascii().to_string()))
        .collect();
    (transaction.intervention().cloned(), transaction.matched().to_vec(), transaction.scores(), tx)
}

fn compare_ways(fast: &Arc<RuleSet>, plain: &Arc<RuleSet>, name: &str, request: &Request) {
    let (fast, plain) = (outcome(&suite::evaluate(fast, request)), outcome(&suite::evaluate(plain, request)));
    assert!(fast == plain, "{name}\nfast  {fast:?}\nplain {plain:?}");
}

#[test]
fn the_fast_way_finds_what_the_plain_one_does() {
    let Some(folder) = suite::folder("fast against plain") else { return };
    let stages = suite::stages(&folder);
    let extras = [suite::level(1), suite::level(3), suite::SUITE.to_string()];
    for (number, extra) in extras.iter().enumerate() {
        let (fast, plain) = (suite::rules(&folder, extra, false), suite::rules(&folder, extra, true));
        for (at, stage) in stages.iter().enumerate() {
            // Unoptimised, a part of the suite at each level says as much.
            if cfg!(debug_assertions) && at % 12 != number * 4 {
                continue;
            }
            compare_ways(&fast, &plain, &stage.name(), &stage.request);
        }
    }
}
