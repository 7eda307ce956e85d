//! Having the process that runs on a directory replaced.

use super::environment;
use crate::{
    conf,
    edge::handover::{self, Upgraded},
};
use palisade_contract::Descriptor;
use std::path::Path;

/// Has the process that runs on `dir` start `binary` and hand over to it; the id of the new process, once the old one
/// accepts nothing any more. It is found by the control socket in `run_dir`, by default where the configuration has it.
///
/// # Errors
/// Why the old process was kept, or that there is none.
pub fn upgrade(
    dir: &Path,
    run_dir: Option<&Path>,
    binary: &Path,
    registry: &[Descriptor],
) -> Result<u32, String> {
    let found = match run_dir {
        Some(found) => found.to_owned(),
        // What else is wrong with it is said by the new binary, in the environment of the running process.
        None => conf::read(dir, registry, &environment).config.run_dir,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    match runtime.block_on(handover::upgrade(&found, dir, binary)) {
        Ok(Upgraded::By(id)) => Ok(id),
        Ok(Upgraded::Kept(why)) => Err(format!("the old process was kept: {why}")),
        Ok(Upgraded::Nobody) => Err(format!(
            "no process that runs on `{}` has a control socket in `{}`: say with `--run-dir` where it is (the \
             `RUNTIME_DIRECTORY` or `run_dir` of that process), or start one with `palisade run`",
            dir.display(),
            found.display()
        )),
        Err(error) => Err(format!("cannot upgrade: {error}")),
    }
}
