//! `palisade schema`.

use super::print;
use palisade_contract::Descriptor;

const EXAMPLE: &str = "\
Example:
  palisade schema > palisade.schema.json
  palisade schema --tests > palisade-tests.schema.json      # of files of policy tests

An editor that speaks the YAML language server completes and checks every file that begins with
  # yaml-language-server: $schema=palisade.schema.json
(the path is relative to that file).";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// The schema of files of policy tests.
    #[arg(long)]
    tests: bool,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let schema = if args.tests { crate::policy::schema() } else { crate::conf::schema::schema(registry) };
    print(&serde_json::to_string_pretty(&schema).map_err(|error| error.to_string())?)
}
