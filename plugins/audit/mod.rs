//! `audit`: one JSON line for each request.
//!
//! [`line`] makes a line, [`queue`] takes it to the thread of its [`sink`], which is in [`writer`].

mod config;
mod fields;
mod line;
mod mask;
mod queue;
mod sink;
mod text;
mod writer;

pub use config::{Config, OnFull};
pub use writer::{flush, reopen};

use line::Layout;
use palisade_contract::{
    BuildEnv, ConfigError, ConfigErrors, Control, Exchange, Fault, Hooks, Plugin, PluginKind, Stage, Step,
    Verdict,
};
use queue::Queue;
use sink::Settings;
use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use writer::{Counts, Writer};

/// The plugin.
pub struct Audit {
    /// None where the configuration is only checked.
    writer: Option<Arc<Writer>>,
    layout: Layout,
    settings: Settings,
    /// The writer knows these settings.
    adopted: AtomicBool,
    on_full: OnFull,
}

impl PluginKind for Audit {
    const NAME: &'static str = "audit";
    const SUMMARY: &'static str = "Writes one JSON line for each request: the access record.";
    const CONTROLS: &'static [Control] = &[Control::Audit];
    type Config = Config;

    /// What is not served without a record is asked for its place first of all.
    fn stage(config: &Config) -> Stage {
        if config.on_full == OnFull::Drop { Stage::Observe } else { Stage::Screen }
    }

    fn build(config: Config, env: &BuildEnv<'_>) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let sink = config.sink(env).map_err(|error| errors.push(error));
        let (settings, field, on_full) = (config.settings(&mut errors), config.sink_field(), config.on_full);
        let layout = config.layout(env, &mut errors);
        let (Ok(sink), Some(layout), true) = (sink, layout, errors.is_empty()) else {
            return Err(errors.into());
        };
        let writer = if env.dry_run || env.trial {
            None
        } else {
            let counts =
                Counts { lost: env.counter("records_lost"), failures: env.counter("write_failures") };
            // Two entries of one sink share its writer, or their lines would mix.
            let open = Writer::shared(&sink, env.host, settings.clone(), &counts).map_err(|error| {
                ConfigError::at(field, format!("cannot write {sink}: {error}")).help(
                    "make the place writable for the user that the gateway runs as, or name another one",
                )
            })?;
            Some(open)
        };
        Ok(Audit { writer, layout, settings, adopted: AtomicBool::new(false), on_full })
    }
}

/// A place in the queue that a request holds for its record.
#[derive(Default)]
struct Place {
    queue: Option<Arc<Queue>>,
    taken: AtomicBool,
}

impl Place {
    fn take(&self) -> Option<&Arc<Queue>> {
        self.queue.as_ref().filter(|_| !self.taken.swap(true, Ordering::AcqRel))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(queue) = self.take() {
            queue.redeem(None);
        }
    }
}

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Audit {
    /// Holds a promised place until the request is over.
    fn hold(ex: &mut Exchange, queue: &Arc<Queue>) {
        ex.state::<Place>().queue = Some(queue.clone());
    }
}

impl Plugin for Audit {
    fn hooks(&self) -> Hooks {
        if self.on_full == OnFull::Drop { Hooks::LOG } else { Hooks::REQUEST | Hooks::LOG }
    }

    fn must_not_fail_open(&self) -> Option<&'static str> {
        match self.on_full {
            OnFull::Drop => None,
            OnFull::Block => Some("on_full: block"),
            OnFull::Deny => Some("on_full: deny"),
        }
    }

    fn on_request<'a>(&'a self, ex: &'a mut Exchange) -> Step<'a> {
        let Some(writer) = self.writer.as_ref().filter(|_| self.on_full != OnFull::Drop) else {
            return Step::CONTINUE;
        };
        let queue = writer.queue();
        if queue.promise(ex.begun()) {
            Audit::hold(ex, queue);
            return Step::CONTINUE;
        }
        if self.on_full == OnFull::Deny {
            return Step::Now(Err(Fault::unavailable("audit_unavailable")));
        }
        Step::Later(Box::pin(async move {
            queue.place().await;
            Audit::hold(ex, queue);
            Ok(Verdict::Continue)
        }))
    }

    fn on_log(&self, ex: &Exchange) {
        let Some(writer) = &self.writer else { return };
        if !self.adopted.load(Ordering::Relaxed) && !self.adopted.swap(true, Ordering::AcqRel) {
            // The first request of a new configuration: until then the old one may have stayed.
            writer.adopt(&self.settings);
        }
        // Made outside the queue's lock, in memory that is used again.
        LINE.with_borrow_mut(|line| {
            line.clear();
            line::write(line, ex, &self.layout);
            let place = if self.on_full == OnFull::Drop { None } else { ex.state_ref::<Place>() };
            match place.and_then(Place::take) {
                Some(queue) => queue.redeem(Some(line)),
                None => writer.queue().push(line),
            }
        });
    }
}

#[cfg(test)]
mod tests;
