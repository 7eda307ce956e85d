//! `palisade coverage`.

use super::table::{List, Row, align};
use crate::policy::{self, Coverage, Operation};
use palisade_contract::{Control, Descriptor, Mode};

const EXAMPLE: &str = "\
Example:
  palisade coverage --conf conf
  palisade coverage --conf conf --json | jq '.[] | select(.unguarded)'

For each operation: what guards it, by the keys of the entries. Under AUTHENTICATION stands `public` where the route says \
so, `open` where `anonymous` lets requests without a credential pass, `optional` where what authenticates may be skipped, \
and `NONE` where nothing authenticates; `!` marks what `palisade check --strict` refuses. An entry in brackets does not \
always refuse: (monitor), (when).";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    list: List,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let (config, snapshot) = policy::load(args.list.conf(), registry).map_err(|error| error.to_string())?;
    args.list.print(&policy::coverage(&config, &snapshot, registry), table)
}

fn table(coverage: &Coverage) -> String {
    if coverage.operations.is_empty() {
        return "no routes".to_owned();
    }
    let shown = |control: &&Control| {
        **control != Control::Authentication
            && coverage.operations.iter().any(|operation| operation.controls.contains_key(control))
    };
    let controls: Vec<Control> = Control::ALL.iter().filter(shown).copied().collect();
    let mut head =
        vec![String::new(), "OPERATION".to_owned(), "ROUTE".to_owned(), "AUTHENTICATION".to_owned()];
    head.extend(controls.iter().map(|control| control.as_str().replace('_', "-").to_uppercase()));
    let mut rows = vec![Row::Cells(head)];
    for operation in &coverage.operations {
        for target in &operation.targets {
            rows.push(Row::Cells(row(operation, target, &controls)));
        }
        for (consumer, missing) in &operation.without {
            rows.push(Row::Line(format!("   for consumer {consumer}: without {}", missing.join(", "))));
        }
    }
    let absent: Vec<&str> = Control::ALL
        .iter()
        .filter(|control| !controls.contains(control) && **control != Control::Authentication)
        .map(|control| control.as_str())
        .collect();
    if !absent.is_empty() {
        rows.push(Row::Line(format!("nowhere: {}", absent.join(", "))));
    }
    align(&rows)
}

fn row(operation: &Operation, target: &str, controls: &[Control]) -> Vec<String> {
    let methods = if operation.methods.is_empty() { "any".to_owned() } else { operation.methods.join(",") };
    let mark = if operation.unguarded { "!" } else { "" };
    let by = entries(operation, Control::Authentication);
    let access = match (operation.access, &operation.anonymous) {
        ("authenticated", _) => by,
        ("none", _) if operation.upstream.is_none() => "answered here".to_owned(),
        ("none", _) => "NONE".to_owned(),
        ("public", _) => "public".to_owned(),
        (access, Some(consumer)) => format!("{access} as {consumer}: {by}"),
        (access, None) => format!("{access}: {by}"),
    };
    // Operations of a description stand below their route.
    let below = if operation.declared.is_some() { "  " } else { "" };
    let mut cells =
        vec![mark.to_owned(), format!("{below}{methods} {target}"), operation.route.clone(), access];
    cells.extend(controls.iter().map(|control| entries(operation, *control)));
    cells
}

fn entries(operation: &Operation, control: Control) -> String {
    let guards = operation.controls.get(&control).map(Vec::as_slice).unwrap_or_default();
    let shown = guards.iter().map(|guard| {
        let mut text = guard.entry.clone();
        if guard.mode == Mode::Monitor {
            text.push_str(" (monitor)");
        }
        if guard.conditional {
            text.push_str(" (when)");
        }
        text
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}
