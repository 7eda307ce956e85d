//! `palisade demo`: the default configuration, out of the binary.

use super::{key, print};
use crate::{
    conf::{self, model::Config},
    server::{self, RunOptions},
};
use palisade_contract::Descriptor;
use std::{
    env, fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The files of `conf/`.
const FILES: [(&str, &str); 4] = [
    ("palisade.yaml", include_str!("../../conf/palisade.yaml")),
    ("routes.yaml", include_str!("../../conf/routes.yaml")),
    ("consumers.yaml", include_str!("../../conf/consumers.yaml")),
    ("specs/demo.yaml", include_str!("../../conf/specs/demo.yaml")),
];

/// What to try: the status that comes, curl's arguments, the path.
const TRY: [(u16, &str, &str); 7] = [
    (200, "", "/products/1"),
    (405, "-X DELETE", "/products/1"),
    (401, "", "/cart"),
    (201, "-H 'apikey: demo-key-alice' -H 'content-type: application/json' -d '{\"product\": 4}'", "/cart"),
    (403, "-H 'apikey: demo-key-alice'", "/profiles/carol"),
    (200, "-H 'apikey: demo-key-bob'", "/profiles/carol"),
    (200, "-H 'apikey: demo-key-bob'", "/echo/what-the-origin-received"),
];

const EXAMPLE: &str = "\
Example:
  palisade demo
  PALISADE_ADDRESS=127.0.0.1:8888 palisade demo

A small shop behind the gateway, on this machine, without any file: what to try is printed. Ctrl-C ends it, \
and nothing is left behind.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Write the real addresses to this file, one `NAME ADDRESS` a line: for port 0.
    #[arg(long, value_name = "FILE")]
    ports_file: Option<PathBuf>,
}

pub(super) fn run(args: &Args, registry: Vec<Descriptor>) -> Result<(), String> {
    // The process works in the temporary directory, so that its state goes there too.
    let ports_file = match &args.ports_file {
        Some(file) => Some(std::path::absolute(file).map_err(|error| error.to_string())?),
        None => None,
    };
    let temporary = Temporary::new()?;
    let dir = temporary.0.join("conf");
    unpack(&dir).map_err(|error| format!("cannot write to `{}`: {error}", dir.display()))?;
    env::set_current_dir(&temporary.0).map_err(|error| format!("{}: {error}", temporary.0.display()))?;
    let config = conf::load(&dir, &registry, &server::environment).map_err(|error| error.to_string())?;
    print(&instructions(&config, &temporary.0))?;
    server::run(&RunOptions { dir, upgrade: false, again: None, ports_file, threads: None }, registry)
}

fn unpack(dir: &Path) -> std::io::Result<()> {
    fs::create_dir(dir)?;
    fs::create_dir(dir.join("specs"))?;
    FILES.iter().try_for_each(|(name, text)| fs::write(dir.join(name), text))
}

fn instructions(config: &Config, temporary: &Path) -> String {
    let public = config.listeners.get("public").map(|listener| listener.value.address.value.to_string());
    let admin = config.admin.as_ref().map(|admin| admin.value.address.value.to_string());
    let mut text = String::from("Try:\n");
    for (status, options, path) in TRY {
        let space = if options.is_empty() { "" } else { " " };
        let address = public.as_deref().unwrap_or_default();
        text.push_str(&format!("  curl -i{space}{options} http://{address}{path}    # {status}\n"));
    }
    if let Some(admin) = admin {
        text.push_str(&format!("  curl http://{admin}/routes\n  curl http://{admin}/metrics\n"));
    }
    text.push_str(&format!("  tail -f {}\n", temporary.join("var/audit.jsonl").display()));
    text
}

/// A directory that only this user may enter, removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self, String> {
        let path = env::temp_dir().join(format!("palisade-demo-{}", hex::encode(key::random::<8>()?)));
        // Fails where somebody else has made it: the name cannot be guessed.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| format!("cannot create `{}`: {error}", path.display()))?;
        Ok(Temporary(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("cannot remove `{}`: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_default_configuration_is_embedded() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
        // What else is below are examples and tests: data of the documents.
        let files = |below: &str| {
            let all = fs::read_dir(dir.join(below)).unwrap().map(|entry| entry.unwrap());
            let files = all.filter(|entry| entry.file_type().unwrap().is_file());
            let names = files.map(|entry| format!("{below}{}", entry.file_name().to_str().unwrap()));
            names.collect::<Vec<_>>()
        };
        let there: BTreeSet<String> = files("").into_iter().chain(files("specs/")).collect();
        assert_eq!(there, FILES.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}
