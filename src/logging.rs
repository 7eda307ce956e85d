//! The process's own log: lines for people or JSON, by `log` and `env_logger`.

use log::{Level, LevelFilter, Record};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    io::{self, Write},
    time::{Duration, Instant},
};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `level` beats the environment's `PALISADE_LOG`; `info` is the default.
///
/// # Errors
/// An unknown level.
pub fn init(format: Format, level: Option<&str>) -> Result<(), String> {
    let written = level.map(str::to_owned).or_else(|| std::env::var("PALISADE_LOG").ok());
    let filter = match &written {
        None => LevelFilter::Info,
        Some(text) => text
            .parse()
            .map_err(|_| format!("`{text}` is no log level; there are error, warn, info, debug and trace"))?,
    };
    let mut builder = env_logger::Builder::new();
    builder.filter_level(filter);
    if filter < LevelFilter::Debug {
        // Each request has its record; libraries speak up when asked for more.
        for module in ["pingora", "pingora_core", "pingora_proxy", "h2", "hyper", "rustls"] {
            builder.filter_module(module, LevelFilter::Off);
        }
    }
    match format {
        Format::Human => builder.format(human),
        Format::Json => builder.format(json),
    };
    // A second start in one process (tests) keeps the first logger.
    let _ = builder.try_init();
    Ok(())
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn human(out: &mut env_logger::fmt::Formatter, record: &Record<'_>) -> io::Result<()> {
    let style = out.default_level_style(record.level());
    let text = escaped(&record.args().to_string());
    writeln!(out, "{} {style}{:5}{style:#} {text}", now(), record.level())
}

fn json(out: &mut env_logger::fmt::Formatter, record: &Record<'_>) -> io::Result<()> {
    let line = serde_json::json!({
        "time": now(),
        "level": match record.level() {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        },
        "target": record.target(),
        "message": record.args().to_string(),
    });
    writeln!(out, "{line}")
}

/// Control characters could forge lines or move a terminal's cursor. Line breaks of our own reports stay.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Logs at most once in `period` for each `what`, so that a flood does not fill the disk.
pub fn every(period: Duration, what: &'static str, log: impl FnOnce()) {
    static LAST: Mutex<Option<HashMap<&'static str, Instant>>> = Mutex::new(None);
    let now = Instant::now();
    {
        let mut last = LAST.lock();
        let last = last.get_or_insert_default();
        if last.get(what).is_some_and(|then| now.duration_since(*then) < period) {
            return;
        }
        last.insert(what, now);
    }
    log();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(escaped("a\x1b[2Jb\r\nc"), "a\\u{1b}[2Jb\\r\nc");
    }

    #[test]
    fn a_flood_logs_once() {
        let mut count = 0;
        for _ in 0..100 {
            every(Duration::from_secs(3600), "test", || count += 1);
        }
        assert_eq!(count, 1);
    }
}
