//! The process's own log: lines for people or JSON, by `log` and `env_logger`, on standard error.
//!
//! A message may hold what a client sent. No message can forge a line or move a terminal's cursor: control
//! characters and those that change the direction of text are escaped, and what follows a line break is indented.

use std::{
    collections::HashMap,
    fmt::Write as _,
    io::Write as _,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use log::{Level, LevelFilter, Record};
use parking_lot::Mutex;

/// Libraries that speak of single requests. Each request has its record; they speak up when asked for more.
const QUIET: [&str; 6] = ["pingora", "pingora_core", "pingora_proxy", "h2", "hyper", "rustls"];

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `filter` is a level, or levels by module as in `info,palisade::edge=debug`; it beats the
/// environment's `PALISADE_LOG`, and `info` is the default.
///
/// # Errors
/// A level that there is not, for a person to read.
pub fn init(format: Format, filter: Option<&str>) -> Result<(), String> {
    let written = filter.map(str::to_owned).or_else(|| std::env::var("PALISADE_LOG").ok());
    let filters = filters(written.as_deref().unwrap_or("info"))?;
    let mut builder = env_logger::Builder::new();
    for (module, level) in filters {
        builder.filter(module.as_deref(), level);
    }
    builder.format(move |out, record| {
        let style = out.default_level_style(record.level());
        let line = match format {
            Format::Human => human(Timestamp::now(), record, &style.render().to_string()),
            Format::Json => json(Timestamp::now(), record),
        };
        writeln!(out, "{line}")
    });
    // A second start in one process (tests) keeps the first logger.
    let _ = builder.try_init();
    Ok(())
}

/// Logs at most once in `period` for each `what`, so that a flood does not fill the disk. How many were left
/// out is told with the next one.
pub fn every(period: Duration, what: &'static str, log: impl FnOnce()) {
    static LAST: Mutex<Option<HashMap<&'static str, Last>>> = Mutex::new(None);
    // The lock is given back before anything is written.
    let due = LAST.lock().get_or_insert_default().entry(what).or_default().take(period);
    if let Some(left_out) = due {
        log();
        if left_out > 0 {
            log::info!("{left_out} more messages like this were left out since the last one");
        }
    }
}

/// The last time something was logged, and how often it was left out since.
#[derive(Default)]
struct Last {
    at: Option<Instant>,
    left_out: u64,
}

impl Last {
    fn take(&mut self, period: Duration) -> Option<u64> {
        let now = Instant::now();
        if self.at.is_some_and(|at| now.duration_since(at) < period) {
            self.left_out += 1;
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

type Filters = Vec<(Option<String>, LevelFilter)>;

/// Levels by module; none stands for every module.
fn filters(text: &str) -> Result<Filters, String> {
    let level = |word: &str| {
        word.parse::<LevelFilter>().map_err(|_| {
            format!("`{word}` is no log level; write off, error, warn, info, debug or trace, or MODULE=LEVEL")
        })
    };
    let (mut general, mut modules) = (LevelFilter::Info, Filters::new());
    for part in text.split(',').map(str::trim) {
        match part.split_once('=') {
            Some((module, word)) => modules.push((Some(module.trim().to_owned()), level(word.trim())?)),
            None => general = level(part)?,
        }
    }
    let mut all = vec![(None, general)];
    if general < LevelFilter::Debug {
        all.extend(QUIET.map(|module| (Some(module.to_owned()), LevelFilter::Off)));
    }
    // The last one of a module counts.
    all.extend(modules);
    Ok(all)
}

/// `2026-11-24T07:10:00.123Z INFO  palisade::server: a message`, with the level in `style`.
fn human(time: Timestamp, record: &Record<'_>, style: &str) -> String {
    let reset = if style.is_empty() { "" } else { "\x1b[0m" };
    let mut line =
        format!("{time:.3} {style}{:<5}{reset} {}: ", record.level().as_str(), escaped(record.target()));
    line += &escaped(&record.args().to_string());
    line
}

/// One object: `time`, `level`, `target`, `message`.
fn json(time: Timestamp, record: &Record<'_>) -> String {
    let level = match record.level() {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    let document = serde_json::json!({
        "time": format!("{time:.3}"),
        "level": level,
        "target": record.target(),
        "message": record.args().to_string(),
    });
    let mut line = String::new();
    for c in document.to_string().chars() {
        // JSON lets them stand as they are. They can only be inside a string, where this means the same.
        if misleads(c) {
            // Writing to a string does not fail.
            let _ = write!(line, "\\u{:04x}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

/// Reports of several lines stay readable, but no line of theirs begins as a line of the log does.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\n    "),
            c if misleads(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, line and paragraph separators, and what changes the direction of text.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-24T07:10:00.123Z";

    fn lines(message: &str) -> (String, String) {
        let time: Timestamp = TIME.parse().unwrap();
        let args = format_args!("{message}");
        let record = Record::builder().level(Level::Info).target("palisade").args(args).build();
        (human(time, &record, ""), json(time, &record))
    }

    #[test]
    fn lines_look_as_documented() {
        let (human, json) = lines("started");
        assert_eq!(human, format!("{TIME} INFO  palisade: started"));
        let expected =
            format!(r#"{{"time":"{TIME}","level":"info","target":"palisade","message":"started"}}"#);
        assert_eq!(json, expected);
        let midnight: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
        assert_eq!(format!("{midnight:.3}"), "2026-11-24T00:00:00.000Z");
    }

    #[test]
    fn a_message_cannot_forge_a_line_nor_move_the_cursor() {
        for (message, shown) in [
            ("a\nb", "a\n    b"),
            ("a\r\nb", "a\\u{d}\n    b"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\u{9b}2Jb", "a\\u{9b}2Jb"),
            ("a\0\x7f\t", "a\\u{0}\\u{7f}\\u{9}"),
            ("user\u{202e}txt", "user\\u{202e}txt"),
            ("a\u{2028}b", "a\\u{2028}b"),
            ("größe ✓", "größe ✓"),
        ] {
            let (human, json) = lines(message);
            assert_eq!(human, format!("{TIME} INFO  palisade: {shown}"));
            assert!(!json.chars().any(misleads), "{json:?}");
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(read["message"], message);
        }
    }

    #[test]
    fn levels_are_chosen_by_module() {
        let quiet = |text: &str| {
            filters(text).unwrap().iter().any(|f| *f == (Some("pingora".to_owned()), LevelFilter::Off))
        };
        assert!(quiet("info") && quiet("WARN") && !quiet("debug") && !quiet("trace"));
        let chosen = filters("warn, palisade::edge=trace,pingora=error").unwrap();
        assert_eq!(chosen.first(), Some(&(None, LevelFilter::Warn)));
        let last = |module: &str| chosen.iter().rev().find(|(m, _)| m.as_deref() == Some(module)).unwrap().1;
        assert_eq!((last("palisade::edge"), last("pingora")), (LevelFilter::Trace, LevelFilter::Error));
        for bad in ["", "loud", "info,", "info,palisade=", "info;debug", "palisade=loud"] {
            assert!(filters(bad).unwrap_err().contains("is no log level"), "{bad}");
        }
    }

    #[test]
    fn a_flood_logs_once_and_is_counted() {
        let mut count = 0;
        for _ in 0..100 {
            every(Duration::from_secs(3600), "a test", || count += 1);
        }
        assert_eq!(count, 1);
        let mut last = Last::default();
        assert_eq!(last.take(Duration::MAX), Some(0));
        assert_eq!([last.take(Duration::MAX), last.take(Duration::MAX)], [None, None]);
        assert_eq!(last.take(Duration::ZERO), Some(2));
        assert_eq!(last.take(Duration::ZERO), Some(0));
    }
}
