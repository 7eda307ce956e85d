//! `palisade completions`.

use super::print;
use clap::CommandFactory;
use clap_complete::Shell;
use std::{env, path::Path};

const EXAMPLE: &str = "\
Example:
  palisade completions bash > ~/.local/share/bash-completion/completions/palisade
  palisade completions zsh > ~/.zfunc/_palisade
  palisade completions fish > ~/.config/fish/completions/palisade.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// The shell to complete in.
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), name(), &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// A gateway with plugins of its own may have a name of its own.
fn name() -> String {
    let called = env::args_os().next();
    let file = called.as_deref().and_then(|path| Path::new(path).file_name()).and_then(|name| name.to_str());
    file.unwrap_or("palisade").to_owned()
}
