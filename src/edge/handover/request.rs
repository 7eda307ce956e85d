//! Asking a running process to let another binary take its place.

use super::{
    HandoverError, Result, broken,
    channel::{check_user, own_user},
    socket_path,
    successor::connect,
};
use std::{path::Path, time::Duration};

/// Longer than a running process waits for anything in an upgrade, all together.
const PATIENCE: Duration = Duration::from_secs(600);

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Upgraded {
    /// The process of this id serves now, and the old one accepts nothing any more.
    By(u32),
    /// The old process goes on, and this is why.
    Kept(String),
    /// No process runs on the directory.
    Nobody,
}

/// Asks the process that runs on `conf_dir` to start `binary` and hand over to it. `binary` counts from the root.
///
/// # Errors
/// The process cannot be reached, or went away without a word.
pub async fn upgrade(run_dir: &Path, conf_dir: &Path, binary: &Path) -> Result<Upgraded> {
    let Some(mut channel) = connect(&socket_path(run_dir, conf_dir)?).await? else {
        return Ok(Upgraded::Nobody);
    };
    if own_user() != 0 {
        check_user(channel.peer()?, own_user())?;
    }
    let Some(path) = binary.to_str().filter(|_| binary.is_absolute()) else {
        return Err(HandoverError::Refused(format!("`{}` is no path that can be sent", binary.display())));
    };
    channel.send(&format!("upgrade {path}"), None).await?;
    let answer = channel.receive(PATIENCE).await?;
    match answer.split_once(' ') {
        Some(("upgraded", id)) => Ok(Upgraded::By(id.parse().map_err(|_| broken())?)),
        Some(("kept" | "refused", why)) => Ok(Upgraded::Kept(why.to_owned())),
        _ => Err(broken()),
    }
}
