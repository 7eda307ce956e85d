//! What commands print that list something: a table for people, JSON for programs.

use super::{Conf, print};
use serde::Serialize;
use std::path::Path;

/// What such a command is asked.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    conf: Conf,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn conf(&self) -> &Path {
        &self.conf.conf
    }

    pub(super) fn print<T: Serialize>(
        &self,
        listed: &T,
        table: impl FnOnce(&T) -> String,
    ) -> Result<(), String> {
        if self.json {
            return print(&serde_json::to_string_pretty(listed).map_err(|error| error.to_string())?);
        }
        print(&table(listed))
    }
}

/// A line of the table: aligned with its neighbours of the same number of cells, or on its own.
pub(super) enum Row {
    Cells(Vec<String>),
    Line(String),
}

/// Pads each column to its longest cell. Rows of different lengths have columns of their own.
pub(super) fn align(rows: &[Row]) -> String {
    let width = |cells: usize, column: usize| {
        let cell = |row: &Row| match row {
            Row::Cells(row) if row.len() == cells => row.get(column).map(|cell| cell.chars().count()),
            _ => None,
        };
        rows.iter().filter_map(cell).max().unwrap_or(0)
    };
    let mut widths = std::collections::BTreeMap::new();
    let mut text = String::new();
    for row in rows {
        match row {
            Row::Line(line) => text.push_str(line),
            Row::Cells(cells) => {
                let widths = widths.entry(cells.len()).or_insert_with(|| {
                    (0..cells.len()).map(|column| width(cells.len(), column)).collect::<Vec<_>>()
                });
                let line: Vec<String> =
                    cells.iter().zip(widths.iter()).map(|(cell, width)| format!("{cell:width$}")).collect();
                text.push_str(line.join("  ").trim_end());
            }
        }
        text.push('\n');
    }
    text
}
