//! The gateway under test: its configuration, and the processes that follow one another.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long it may take to start, to reload, and to end.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(5);

const CONF: &str = "\
version: 1
state_dir: STATE
listeners:
  public: {address: 127.0.0.1:0, http2: true}
limits: {connections_per_ip: 10000}
upstreams:
  origin: {targets: [{address: 'ORIGIN'}]}
plugins:
  correlation-id: {}
  response-headers: {set: {x-number: 'NUMBER'}}
routes:
  all: {paths: [/*], upstream: origin}
  here: {paths: [/here], plugins: {request-termination: {status_code: 418}}}
";

/// A gateway, whichever process it is.
pub struct Gateway {
    binary: PathBuf,
    dir: TempDir,
    first: Child,
    /// All that ever ran, the last one serves.
    processes: Vec<u32>,
    origin: SocketAddr,
    pub address: SocketAddr,
}

impl Gateway {
    /// Starts the binary on a directory of its own, in front of an origin.
    pub fn start(binary: &Path, origin: SocketAddr) -> Gateway {
        let binary = fs::canonicalize(binary).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf")).unwrap();
        configure(dir.path(), origin, 0, false);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let first = Command::new(&binary)
            .args(["run", "--threads", "2", "--conf", "conf", "--ports-file", "ports"])
            .current_dir(dir.path())
            .env("PALISADE_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ports = dir.path().join("ports");
        let text =
            until("the gateway", || fs::read_to_string(&ports).ok().filter(|text| text.ends_with('\n')));
        let address = text.trim().rsplit(' ').next().unwrap().parse().unwrap();
        let processes = vec![first.id()];
        Gateway { binary, dir, first, processes, origin, address }
    }

    /// Replaces it by `palisade upgrade`; what that says, where it fails.
    pub fn upgrade(&mut self) -> Result<(), String> {
        let output = Command::new(&self.binary)
            .args(["upgrade", "--conf", "conf"])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout);
        let id = said.strip_prefix("process ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        match id {
            Some(id) if output.status.success() => {
                self.processes.push(id);
                Ok(())
            }
            _ => Err(format!("{}{}", output.status, String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Reloads it, and waits until it says what came of it.
    pub fn reload(&self, number: usize, broken: bool) {
        let outcome = if broken { "was not reloaded" } else { "is serving" };
        let before = self.log().matches(outcome).count();
        configure(self.dir.path(), self.origin, number, broken);
        kill_process(self.current(), Signal::HUP).unwrap();
        until("the reload", || (self.log().matches(outcome).count() > before).then_some(()));
    }

    /// Waits until none but the last process runs; false where one goes on for too long.
    pub fn old_ones_end(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            let _ = self.first.try_wait();
            let (_, old) = self.processes.split_last().unwrap();
            if !old.iter().any(|id| self.runs(*id)) {
                return true;
            }
            if begun.elapsed() > PATIENCE {
                return false;
            }
            sleep(LOOK);
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn current(&self) -> Pid {
        pid(*self.processes.last().unwrap())
    }

    /// A process of ours: another one may have got the number of one that has ended.
    fn runs(&self, id: u32) -> bool {
        fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe == self.binary)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        for id in &self.processes {
            if self.runs(*id) {
                let _ = kill_process(pid(*id), Signal::KILL);
            }
        }
        let _ = self.first.wait();
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).unwrap()).unwrap()
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {what}");
        sleep(LOOK);
    }
}

fn configure(dir: &Path, origin: SocketAddr, number: usize, broken: bool) {
    let text = CONF
        .replace("STATE", &dir.join("state").display().to_string())
        .replace("ORIGIN", &origin.to_string())
        .replace("NUMBER", &number.to_string());
    let text = if broken { text.replace("upstream: origin", "upstream: nowhere") } else { text };
    let half = dir.join("conf/.half");
    fs::write(&half, text).unwrap();
    fs::rename(half, dir.join("conf/palisade.yaml")).unwrap();
}
