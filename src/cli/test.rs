//! `palisade test`.

use super::{Conf, print};
use crate::policy;
use palisade_contract::Descriptor;
use std::{fs, path::PathBuf, process::ExitCode};

/// The exit code where a case failed.
const FAILED: u8 = 3;

const EXAMPLE: &str = "\
Example:
  palisade test conf/tests/*.yaml --conf conf
  palisade test --junit results.xml                 # all files in conf/tests

A case is a request and what must come of it:
  cases:
    - name: a customer cannot change products
      request: {method: PUT, url: /products/1, headers: {apikey: shop-key-of-carol}}
      expect: {status: 403, plugin: acl, reason: acl_denied, origin: none}

Requests go through the real chain, without sockets: the clock stands still, dependencies and stores are mocked. Of a \
case that failed it prints what differs, and each decision with the file and line of its entry. \
`palisade schema --tests` is for editors.

Exit codes: 0 all passed, 3 a case failed, 1 a file or the configuration is wrong, 2 a wrong command line.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Files of cases; without any, those in the folder `tests` of the configuration.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    conf: Conf,
    /// Also write what came of it as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<ExitCode, String> {
    let conf = &args.conf.conf;
    let files = if args.files.is_empty() { found(conf.join("tests"))? } else { args.files.clone() };
    let (config, _) = policy::load(conf, registry).map_err(|error| error.to_string())?;
    let run = policy::run(&files, &config, registry)?;
    if let Some(file) = &args.junit {
        let failed = |error| format!("cannot write `{}`: {error}", file.display());
        fs::write(file, run.junit()).map_err(failed)?;
    }
    print(&policy::report(&run))?;
    let (_, failed) = run.counts();
    Ok(if failed > 0 { FAILED.into() } else { ExitCode::SUCCESS })
}

/// The files of cases in a folder, by name.
fn found(dir: PathBuf) -> Result<Vec<PathBuf>, String> {
    let shown = dir.display();
    let entries = fs::read_dir(&dir).map_err(|error| {
        format!("cannot read `{shown}`: {error}\nhelp: put files of cases there, or name them: `palisade test cases.yaml --conf DIR`")
    })?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "yaml")).collect();
    files.sort();
    if files.is_empty() { Err(format!("`{shown}` holds no file of cases (`*.yaml`)")) } else { Ok(files) }
}
