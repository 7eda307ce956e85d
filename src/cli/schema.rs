//! `palisade schema`.

use super::print;
use palisade_contract::Descriptor;

const EXAMPLE: &str = "\
Example:
  palisade schema > palisade.schema.json

An editor that speaks the YAML language server completes and checks every file that begins with
  # yaml-language-server: $schema=palisade.schema.json
(the path is relative to that file).";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let schema = crate::conf::schema::schema(registry);
    print(&serde_json::to_string_pretty(&schema).map_err(|error| error.to_string())?)
}
