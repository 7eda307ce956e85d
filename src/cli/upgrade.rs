//! `palisade upgrade`.

use super::{Conf, print};
use crate::server;
use palisade_contract::Descriptor;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Example:
  palisade upgrade --conf /etc/palisade --run-dir /run/palisade     # as root
  palisade upgrade --conf conf --binary ./palisade-0.2

The process that runs on the directory checks the configuration with the new binary, starts it in its own environment, \
and hands the listening sockets over once it is ready. 0: the new process serves, and the old one accepts nothing any \
more and finishes what is in flight. 1: the old process goes on, and the reason is on standard error. Going back is the \
same with the older binary.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    conf: Conf,
    /// The new binary; by default the one that this command is.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Where the running process has its control socket; by default as the configuration says.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let binary = match &args.binary {
        // As it is named: where a link leads to another release is its owner's business.
        Some(path) => std::path::absolute(path).map_err(|error| format!("`{}`: {error}", path.display()))?,
        None => {
            std::env::current_exe().map_err(|error| format!("cannot tell which binary this is: {error}"))?
        }
    };
    let done = server::upgrade(&args.conf.conf, args.run_dir.as_deref(), &binary, registry)?;
    print(&format!("process {done} serves; the old one finishes what is in flight"))
}
