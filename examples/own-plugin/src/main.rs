//! A gateway with a plugin of its own. It has every subcommand: run, check, routes, docs and the rest.

use own_plugin::BusinessHours;
use std::process::ExitCode;

fn main() -> ExitCode {
    palisade::builder().plugin::<BusinessHours>().run()
}
