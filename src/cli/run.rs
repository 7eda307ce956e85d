//! `palisade run`.

use super::Conf;
use crate::server::{self, RunOptions};
use palisade_contract::Descriptor;
use std::path::PathBuf;

const EXAMPLE: &str = "\
Example:
  palisade run --conf /etc/palisade
  palisade run --conf /etc/palisade --upgrade     # takes over from the one that runs

SIGHUP reads the configuration again: all of it is taken, or none. SIGTERM and SIGINT finish what is in \
flight, then stop.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    conf: Conf,
    /// Take over the sockets of the process that runs on the same directory, without losing a request.
    #[arg(long)]
    upgrade: bool,
    /// Write the real addresses to this file, one `NAME ADDRESS` a line: for port 0.
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
    /// Threads that serve connections, each those it was given; one for each core by default.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

pub(super) fn run(args: &Args, registry: Vec<Descriptor>) -> Result<(), String> {
    let options = RunOptions {
        dir: args.conf.conf.clone(),
        upgrade: args.upgrade,
        again: Some(std::env::args_os().skip(1).collect()),
        ports_file: args.ports_file.clone(),
        threads: args.threads,
    };
    server::run(&options, registry)
}
