//! The command line: one file a subcommand.
//!
//! Exit codes: 0 done; 1 refused, with the reason on standard error; 2 the command line itself is wrong; some commands
//! say more with 3.

mod check;
mod completions;
mod consumers;
mod coverage;
mod demo;
mod docs;
mod explain;
mod hash;
mod init;
mod key;
mod routes;
mod run;
mod schema;
mod table;
mod test;
mod upgrade;
mod waf;

use clap::{Parser, Subcommand};
use palisade_contract::Descriptor;
use std::{path::PathBuf, process::ExitCode};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  refused or failed; the reason is on standard error
  2  the command line itself is wrong

`palisade COMMAND --help` shows an example of each.";

/// An API security gateway: only authentic, authorized, harmless requests get through.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Log lines for people (`human`) or for machines (`json`).
    #[arg(long, global = true, value_enum, hide_possible_values = true, value_name = "FORMAT", default_value_t = crate::logging::Format::Human)]
    log_format: crate::logging::Format,
    /// What is logged: error, warn, info, debug or trace; also PALISADE_LOG.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve requests by a conf directory.
    Run(run::Args),
    /// Replace the running process by a new binary, without losing a request.
    Upgrade(upgrade::Args),
    /// Say everything that `run` would refuse.
    Check(check::Args),
    /// Write a small configuration for an API of your own.
    Init(init::Args),
    /// Run a demonstration: a shop behind the gateway, on this machine.
    Demo(demo::Args),
    /// Make a key for a consumer, or turn one into the form that is stored.
    Hash(hash::Args),
    /// Add, rotate, revoke and list consumers outside of the configuration.
    Consumers(consumers::Args),
    /// Show the compiled routes: what each takes, its plugins in order, where it leads.
    Routes(routes::Args),
    /// Show the way of one request: its route, each decision, what the origin would get.
    Explain(explain::Args),
    /// Show what guards each operation, and which nothing guards.
    Coverage(coverage::Args),
    /// Run policy tests: requests, and what must come of them.
    Test(test::Args),
    /// Check rules of the firewall, and try requests on them.
    Waf(waf::Args),
    /// Print the JSON Schema of the configuration, for editors.
    Schema(schema::Args),
    /// Write the reference of the configuration and its plugins, or check that it is fresh.
    Docs(docs::Args),
    /// Print a completion script for a shell.
    Completions(completions::Args),
}

/// Where the configuration is.
#[derive(Debug, clap::Args)]
struct Conf {
    /// The directory that holds the configuration.
    #[arg(long, value_name = "DIR", default_value = "conf")]
    conf: PathBuf,
}

/// Runs the command line with these plugins.
pub fn main(registry: Vec<Descriptor>) -> ExitCode {
    let cli = Cli::parse();
    if let Err(message) = crate::logging::init(cli.log_format, cli.log_level.as_deref()) {
        return refuse(&message);
    }
    let done = match cli.command {
        Command::Run(args) => run::run(&args, registry),
        Command::Upgrade(args) => upgrade::run(&args, &registry),
        Command::Check(args) => check::run(&args, &registry),
        Command::Init(args) => init::run(&args, &registry),
        Command::Demo(args) => demo::run(&args, registry),
        Command::Hash(args) => hash::run(&args),
        Command::Consumers(args) => consumers::run(&args, &registry),
        Command::Coverage(args) => coverage::run(&args, &registry),
        Command::Explain(args) => explain::run(&args, &registry),
        Command::Routes(args) => routes::run(&args, &registry),
        Command::Schema(args) => schema::run(&args, &registry),
        Command::Docs(args) => docs::run(&args, &registry),
        Command::Completions(args) => completions::run(&args),
        Command::Test(args) => return test::run(&args, &registry).unwrap_or_else(|message| refuse(&message)),
        Command::Waf(args) => return waf::run(&args, &registry).unwrap_or_else(|message| refuse(&message)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => refuse(&message),
    }
}

/// Says why, and fails.
pub(crate) fn refuse(message: &str) -> ExitCode {
    eprint(message);
    ExitCode::FAILURE
}

/// Standard error is where a person looks first; the log may go elsewhere.
fn eprint(message: &str) {
    use std::io::Write;
    // Where standard error is closed nobody reads it.
    let _ = writeln!(std::io::stderr(), "{}", message.trim_end());
}

/// Standard output, for what a command was asked for.
fn print(message: &str) -> Result<(), String> {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{}", message.trim_end()) {
        // The reader (`head`, a pager) has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| format!("cannot write to standard output: {error}")),
    }
}
