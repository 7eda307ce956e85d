//! `palisade check`.

use super::{Conf, print};
use crate::server;
use palisade_contract::Descriptor;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    conf: Conf,
}

pub(super) fn run(args: &Args, registry: &[Descriptor]) -> Result<(), String> {
    let (config, snapshot) = server::check(&args.conf.conf, registry).map_err(|error| error.to_string())?;
    print(&format!(
        "{}: {} routes, {} upstreams, {} consumers in {} files: good",
        config.dir.display(),
        snapshot.routes.len(),
        snapshot.upstreams.len(),
        config.consumers.len(),
        config.files.len()
    ))
}
