//! Processes that take over from a gateway.

use crate::harness::{Gateway, spawn, until};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// A process that the test has started with `--upgrade`. It is killed when this is dropped.
pub struct Successor {
    child: Child,
    dir: PathBuf,
}

impl Successor {
    /// Takes over from a gateway.
    pub fn of(gateway: &Gateway) -> Successor {
        let binary = Path::new(env!("CARGO_BIN_EXE_palisade"));
        Successor {
            child: spawn(gateway.dir(), binary, "next", &["--upgrade"]),
            dir: gateway.dir().to_owned(),
        }
    }

    /// Waits until its log says something.
    pub fn wait_for_log(&self, text: &str) {
        let file = self.dir.join("next.log");
        until(text, || fs::read_to_string(&file).unwrap_or_default().contains(text).then_some(()));
    }

    /// The address of a line of its ports file.
    pub fn at(&self, name: &str) -> SocketAddr {
        let file = self.dir.join("next.ports");
        until(name, || {
            let text = fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))?;
            text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        })
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = fs::read_to_string(self.dir.join("next.log")).unwrap_or_default();
            eprintln!("--- log of the successor\n{text}");
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that a gateway has started, by its id. It is killed when this is dropped.
pub struct Adopted(pub u32);

impl Adopted {
    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// True while it runs.
    pub fn is_alive(&self) -> bool {
        let state = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        // One that nobody has waited for is dead as well.
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0).unwrap()).unwrap()
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), Signal::KILL);
    }
}

/// Runs `palisade upgrade` on the directory of a gateway.
pub fn run_upgrade(gateway: &Gateway, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_palisade"))
        .args(["upgrade", "--conf", "conf"])
        .args(more)
        .current_dir(gateway.dir())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Upgrades a gateway, which must do. What runs then is another process than before.
pub fn upgrade(gateway: &Gateway, more: &[&str]) -> Adopted {
    let output = run_upgrade(gateway, more);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), gateway.log());
    let id = said.strip_prefix("process ").and_then(|rest| rest.split(' ').next()).unwrap();
    Adopted(id.parse().unwrap())
}

/// Upgrades a gateway, which must be kept: why.
pub fn kept(gateway: &Gateway, more: &[&str]) -> String {
    let output = run_upgrade(gateway, more);
    let why = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{why}\n{}", gateway.log());
    why
}

/// A script in the directory of a gateway that stands for a binary.
pub fn script(gateway: &Gateway, text: &str) -> String {
    let path = gateway.dir().join("binary");
    executable(&path, &format!("#!/bin/sh\nreal='{}'\n{text}\n", env!("CARGO_BIN_EXE_palisade")));
    path.display().to_string()
}

/// Writes a file that can be executed. Another process does: a file that anybody has open for writing cannot be executed,
/// and what this process has open, all processes have for a moment that other tests start just then.
pub fn executable(path: &Path, text: &str) {
    let mut install = Command::new("install")
        .args(["-m", "700", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("install: apt-get install coreutils");
    install.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(install.wait().unwrap().success());
}
