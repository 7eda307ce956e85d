//! `palisade check`.

use super::{Conf, print};
use crate::policy;
use crate::server::{
    self,
    expiry::{self, Kind},
    relaxed,
};
use palisade_contract::{Descriptor, conf::words::count};

const EXAMPLE: &str = "\
Example:
  palisade check --conf conf && systemctl reload palisade
  palisade check --conf conf --strict

Every error is reported at once, each with its file, line and column, and what to write instead. Nothing is \
started, and no file is written. Certificates and keys are read, and it says until when they are good; one that has \
expired is a warning, as it would be served. So is an operation that nothing guards: an origin is behind it, nothing \
authenticates, and its route does not say `public: true`. With `--strict` that is an error.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    conf: Conf,
    /// Fail on an operation that nothing guards.
    #[arg(long)]
    strict: bool,
}

/// Names some of the routes that everybody may use though nothing says that this is meant.
fn warn(unguarded: &[&str]) {
    const SHOWN: usize = 3;
    if unguarded.is_empty() {
        return;
    }
    let shown = unguarded.get(..SHOWN).unwrap_or(unguarded).join("`, `");
    let more = if unguarded.len() > SHOWN { " and others" } else { "" };
    log::warn!(
        "nothing guards route `{shown}`{more}: add an authenticator, or write `public: true` where everybody may; \
         `palisade check --strict` refuses it, `palisade coverage` shows it"
    );
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let (config, snapshot) = server::check(&args.conf.conf, registry).map_err(|error| error.to_string())?;
    let coverage = policy::coverage(&config, &snapshot, registry);
    if args.strict {
        coverage.strict(&config)?;
    }
    warn(&coverage.unguarded());
    let ends = expiry::all(&config);
    expiry::warn(&ends);
    relaxed::warn(&config);
    let mut text = format!(
        "{}: {}, {}, {} in {}: good",
        config.dir.display(),
        count(snapshot.routes.len(), "route"),
        count(snapshot.upstreams.len(), "upstream"),
        count(config.consumers.len(), "consumer"),
        count(config.files.len(), "file")
    );
    for dated in ends.iter().filter(|dated| matches!(dated.kind, Kind::Own | Kind::Revocations)) {
        text.push_str(&format!("\n{}: `{}` is good until {}", dated.key, dated.file.display(), dated.to));
    }
    print(&text)
}
