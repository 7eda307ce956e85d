//! The gateway under test: its configuration, its process, its memory.
#![allow(dead_code, reason = "each driver uses some of it")]

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long it may take to start and to reload.
const PATIENCE: Duration = Duration::from_secs(30);

const CONF: &str = "\
version: 1
demo: true
state_dir: STATE
listeners:
  public: {address: 127.0.0.1:0, http2: true}
  secure: {address: 127.0.0.1:0, http2: true, tls: {certificates: [{certificate: cert.pem, key: key.pem}]}}
limits: {connections_per_ip: 10000, body_bytes: 256KiB}
plugins:
  correlation-id: {}
  audit: {file: audit.jsonl, rotate: {size: 20MiB, keep: 1}}
  response-headers: {set: {x-number: 'NUMBER'}}
routes:
  echo: {paths: [/echo/*], upstream: demo}
  bytes: {paths: [/bytes/*], methods: [GET], upstream: demo}
  socket: {paths: [/ws], upstream: demo}
  admin:
    paths: [/admin/*]
    upstream: demo
    plugins: {key-auth: {}, acl: {allow: [gold]}, rate-limiting: {second: 1000000, limit_by: consumer}}
consumers:
  alice: {groups: [gold], key-auth: [{key_sha256: KEY}]}
";

/// A running gateway. It is killed when this is dropped.
pub struct Gateway {
    child: Mutex<Child>,
    id: u32,
    dir: TempDir,
    conf: &'static str,
    pub plain: SocketAddr,
    pub secure: SocketAddr,
    /// Of the listener with TLS, as PEM.
    pub certificate: String,
}

impl Gateway {
    /// Starts the binary on a directory of its own.
    pub fn start(binary: &Path) -> Gateway {
        Gateway::with(binary, CONF, None)
    }

    /// The same with another configuration, and perhaps with no more than so many file descriptors.
    pub fn with(binary: &Path, conf: &'static str, descriptors: Option<u32>) -> Gateway {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf")).unwrap();
        let signed = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
        fs::write(dir.path().join("conf/key.pem"), signed.signing_key.serialize_pem()).unwrap();
        fs::write(dir.path().join("conf/cert.pem"), signed.cert.pem()).unwrap();
        configure(dir.path(), conf, 0, false);
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let binary = fs::canonicalize(binary).unwrap();
        let limit = descriptors.map(|most| format!("ulimit -n {most} && ")).unwrap_or_default();
        let child = Command::new("sh")
            .args(["-c", &format!("{limit}exec \"$0\" \"$@\"")])
            .arg(binary)
            .args(["run", "--threads", "2", "--conf", "conf", "--ports-file", "ports"])
            .current_dir(dir.path())
            .env("PALISADE_LOG", "info")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let id = child.id();
        let begun = Instant::now();
        let ports = loop {
            match fs::read_to_string(dir.path().join("ports")) {
                Ok(text) if text.ends_with('\n') => break text,
                _ => assert!(begun.elapsed() < PATIENCE, "it does not start:\n{}", log_of(dir.path())),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let port = |name: &str| {
            let found = ports.lines().find_map(|line| line.strip_prefix(name));
            found.expect(name).trim().parse().expect(name)
        };
        let (plain, secure) = (port("listener public"), port("listener secure"));
        Gateway { child: Mutex::new(child), id, dir, conf, plain, secure, certificate: signed.cert.pem() }
    }

    /// Resident memory, in KiB.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    /// Processor time so far, in seconds.
    pub fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        // Behind the name, which may hold spaces: user and system time are the 12th and 13th field, in hundredths.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let times = rest.split_whitespace().skip(11).take(2).filter_map(|time| time.parse::<f64>().ok());
        times.sum::<f64>() / 100.0
    }

    /// Open files and sockets.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id)).map_or(0, Iterator::count)
    }

    pub fn is_alive(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    pub fn log(&self) -> String {
        log_of(self.dir.path())
    }

    /// Reloads it, and waits until it says what came of it; false where it does not.
    pub async fn reload(&self, number: u32, broken: bool) -> bool {
        let outcome = if broken { "was not reloaded" } else { "is serving" };
        let before = self.log().matches(outcome).count();
        configure(self.dir.path(), self.conf, number, broken);
        let id = rustix::process::Pid::from_raw(self.id as i32).unwrap();
        let mut waits = rustix::process::kill_process(id, rustix::process::Signal::HUP).is_ok();
        let begun = Instant::now();
        while waits && self.log().matches(outcome).count() == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
            waits = self.is_alive() && begun.elapsed() < PATIENCE;
        }
        waits
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}

fn configure(dir: &Path, conf: &str, number: u32, broken: bool) {
    let text = conf
        .replace("STATE", &dir.join("state").display().to_string())
        .replace("NUMBER", &number.to_string())
        .replace("KEY", KEY_SHA256);
    let text = if broken { text.replace("upstream: demo", "upstream: nowhere") } else { text };
    let half = dir.join("conf/.half");
    fs::write(&half, text).unwrap();
    fs::rename(half, dir.join("conf/palisade.yaml")).unwrap();
}

/// Of `soak-key`.
const KEY_SHA256: &str = "4dd069bee50104e4f4abb22e8f40964c3a5bb3db0fcc01e236cc120a12ea6400";
