//! What came of policy tests, for people.

use super::{
    judge::{self, Difference},
    run::{CaseRan, Failure, Run, Why},
};
use crate::proxy::Tried;
use palisade_contract::Effect;
use std::fmt::Write;

/// The failures in full, then a line that counts.
pub fn report(run: &Run) -> String {
    let mut text = String::new();
    for file in &run.files {
        for case in &file.cases {
            if let Some(failure) = &case.failure {
                text.push_str(&failed(case, failure));
                text.push('\n');
            }
        }
    }
    let (all, bad) = run.counts();
    let seconds = run.time.as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "a rate, shown without decimals")]
    let rate = all as f64 / seconds.max(1e-9);
    let files = match run.files.len() {
        1 => "1 file".to_owned(),
        several => format!("{several} files"),
    };
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{all} cases in {files}: {} passed, {bad} failed; {} requests in {seconds:.3} s, {rate:.0} cases a second",
        all - bad,
        run.requests
    );
    text
}

/// A failed case: where it stands, what differs, and who decided.
pub(super) fn failed(case: &CaseRan, failure: &Failure) -> String {
    let mut text = format!("FAILED {}: {}\n", case.place, case.name);
    let _ = match &failure.step {
        Some((number, place)) => writeln!(text, "  step {number} ({place}): {}", failure.request),
        None => writeln!(text, "  {}", failure.request),
    };
    match &failure.why {
        Why::Untried(why) => _ = writeln!(text, "  {why}"),
        Why::Different(differences, tried) => {
            for difference in differences {
                differs(&mut text, difference);
            }
            decisions(&mut text, tried);
        }
    }
    text
}

fn differs(text: &mut String, Difference { what, expected, got }: &Difference) {
    for (sign, value) in [('-', expected), ('+', got)] {
        for (index, line) in value.lines().chain(value.is_empty().then_some("")).enumerate() {
            let lead = if index == 0 { format!("{what}:") } else { " ".repeat(what.len() + 1) };
            let _ = writeln!(text, "  {sign} {lead} {}", printable(line));
        }
    }
}

/// The decision record; the entry that decided is marked.
pub(super) fn decisions(text: &mut String, tried: &Tried) {
    let decided = judge::ended(tried).map(std::ptr::from_ref);
    let _ = writeln!(text, "  decisions (route {}):", tried.route.name);
    for decision in tried.ex.decisions() {
        let mark = if decided == Some(std::ptr::from_ref(decision)) { '>' } else { ' ' };
        let (key, place) = match &decision.entry {
            Some(entry) => (&*entry.key, entry.place.to_string()),
            None => ("palisade", String::new()),
        };
        let reason = decision.reason.unwrap_or_default();
        let _ = write!(text, "  {mark} {key:24} {:14} {reason:24} {place}", decision.effect.as_str());
        text.truncate(text.trim_end().len());
        text.push('\n');
        if let Some(detail) = &decision.detail {
            let _ = writeln!(text, "      {}", printable(detail));
        }
    }
    if decided.is_none() {
        let line = match tried.reason {
            Some(reason) => format!("  > {:24} {:14} {reason}", "palisade", Effect::Deny.as_str()),
            None => format!("  > the origin answered {}", tried.answer.status.as_u16()),
        };
        let _ = writeln!(text, "{line}");
    }
}

/// What clients and origins send may hold characters that move the cursor.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
