//! `palisade waf`: what rules hold, and what they say to a request.

mod request;
mod trial;

use super::print;
use clap::Subcommand;
use palisade_contract::Descriptor;
use std::{path::PathBuf, process::ExitCode};

const BOTH: &str = "\
Example:
  palisade waf check conf/waf/*.conf
  palisade waf try --uri \"/?q=<script>\"

`palisade waf COMMAND --help` shows more.";

const CHECK: &str = "\
Example:
  palisade waf check                                  # the rules that come with the gateway
  palisade waf check /usr/share/modsecurity-crs       # a core rule set, as it is installed or unpacked
  palisade waf check conf/waf/*.conf                  # rules of your own

Prints how many rules there are in each phase and family of ids, and each rule with its message. What the engine does not \
run (a variable, an operator, an action) is an error with its file, line and column, and exit code 1: a rule that \
would never match protects nobody.";

const TRY: &str = "\
Example:
  palisade waf try --uri \"/?q=1' or 1=1 --\"
  palisade waf try --method POST --header 'Content-Type: application/json' --body '{\"a\": \"<script>\"}'
  palisade waf try --ruleset crs --paranoia-level 2 --rules 'conf/waf/*.conf' --uri /search
  palisade waf try --conf conf --route shop --uri /products?id=1     # by an entry of a configuration

Prints the rules that match, what they matched on, the scores and the verdict. Characters that an address cannot have \
are percent-encoded; Host, User-Agent, Accept and the body's length are added where they are not given. Nothing is sent.

Exit codes: 0 the request passes, 3 it is refused, 1 rules that do not load, 2 a wrong command line.";

#[derive(Debug, clap::Args)]
#[command(after_help = BOTH)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load rules, and print what they hold or what is wrong with them.
    #[command(after_help = CHECK)]
    Check(Check),
    /// Judge one request, and print the rules that match, the scores and the verdict.
    #[command(after_help = TRY)]
    Try(Box<trial::Args>),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// Files of rules, patterns, or the directory of a core rule set; without any, the rules that come with the gateway.
    #[arg(value_name = "DIR_OR_FILES")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<ExitCode, String> {
    match &args.command {
        Command::Check(Check { files }) => {
            let text = if files.is_empty() {
                palisade_plugins::waf::about_set()
            } else {
                palisade_plugins::waf::about_files(files)
            };
            print(&text?).map(|()| ExitCode::SUCCESS)
        }
        Command::Try(args) => trial::run(args, registry),
    }
}
