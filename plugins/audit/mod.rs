//! `audit`: one JSON line for each request.

mod line;
mod queue;
mod text;
mod writer;

pub use writer::flush;

use palisade_contract::{BuildEnv, ConfigError, ConfigErrors, Exchange, Hooks, Plugin, PluginKind, Stage};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{cell::RefCell, sync::Arc};
use writer::{Sink, Writer};

/// Writes the access record: exactly one JSON line for each request, whatever happened to it, with the decision
/// of every plugin that ran. Exactly one of `file` and `stdout`. Bodies, credentials and other headers are never
/// written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A file, relative to `state_dir`; lines are appended.
    file: Option<String>,
    /// Standard output.
    #[serde(default)]
    stdout: bool,
    /// Write the query too. Keys and tokens in queries would then be in the record.
    #[serde(default)]
    query: bool,
    /// What happens when lines come faster than they can be written, or the disk is full, and 16 MiB of them wait:
    /// `drop` loses them, `block` makes requests wait.
    #[serde(default)]
    on_full: OnFull,
}

/// What happens when lines come faster than they can be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Lines are lost, and how many is logged.
    #[default]
    Drop,
    /// The request's end waits.
    Block,
}

/// The plugin.
pub struct Audit {
    writer: Option<Arc<Writer>>,
    query: bool,
    on_full: OnFull,
}

impl PluginKind for Audit {
    const NAME: &'static str = "audit";
    const SUMMARY: &'static str = "Writes one JSON line for each request: the access record.";
    type Config = Config;

    fn stage(_: &Config) -> Stage {
        Stage::Observe
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let sink = match (&config.file, config.stdout) {
            (Some(path), false) => Sink::File(env.path_to_write(path)),
            (None, true) => Sink::Stdout,
            _ => {
                return Err(ConfigError::new("exactly one of `file` and `stdout` says where to")
                    .help("write `file: audit.jsonl`, or `stdout: true`")
                    .into());
            }
        };
        let writer = if env.dry_run {
            None
        } else {
            // Two entries of one file share its writer, or their lines would mix.
            let open = Writer::shared(&sink)
                .map_err(|error| ConfigError::at("file", format!("cannot write {sink}: {error}")))?;
            Some(open)
        };
        Ok(Audit { writer, query: config.query, on_full: config.on_full })
    }
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Plugin for Audit {
    fn hooks(&self) -> Hooks {
        Hooks::LOG
    }

    fn on_log(&self, ex: &Exchange) {
        if let Some(writer) = &self.writer {
            // Made outside the queue's lock, in memory that is used again.
            LINE.with_borrow_mut(|line| {
                line.clear();
                line::write(line, ex, self.query);
                writer.write(line, self.on_full == OnFull::Block);
            });
        }
    }
}

#[cfg(test)]
mod tests;
