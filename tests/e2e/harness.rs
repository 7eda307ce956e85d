//! Starts a gateway on a configuration of its own, and stops it.

use crate::client::{Client, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The longest that anything here is waited for. A busy machine is slow; nothing waits when all goes well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What most tests start from: a public listener, an audit file, the demo API as upstream `demo`, and alice
/// (gold) and bob (silver) with the keys `alice-key` and `bob-key`.
const BASE: &str = "\
version: 1
demo: true
state_dir: STATE
listeners: {public: {address: 127.0.0.1:0}}
plugins: {audit: {file: audit.jsonl}}
consumers:
  alice: {groups: [gold], key-auth: [{key_sha256: KEY(alice-key)}]}
  bob: {groups: [silver], key-auth: [{key_sha256: KEY(bob-key)}]}
";

/// A running gateway. It is killed when this is dropped.
pub struct Gateway {
    child: Child,
    dir: TempDir,
    ports: BTreeMap<String, SocketAddr>,
}

impl Gateway {
    /// Starts on the base configuration and `conf`, whose sections are merged. `KEY(text)` in it becomes the
    /// SHA-256 of `text`, `STATE` the directory for what is written.
    pub fn start(conf: &str) -> Gateway {
        Gateway::prepare(conf).start(&PathBuf::from(env!("CARGO_BIN_EXE_palisade")))
    }

    /// The same with the binary that has the plugins of `plugins_gateway.rs`.
    pub fn start_with_test_plugins(conf: &str) -> Gateway {
        let built = Path::new(env!("CARGO_BIN_EXE_palisade")).with_file_name("examples");
        let binary = built.join("e2e_plugins");
        assert!(binary.exists(), "build it first: cargo build --example e2e_plugins");
        Gateway::prepare(conf).start(&binary)
    }

    /// A directory with the configuration, for tests that put more files into it or expect a refusal.
    pub fn prepare(conf: &str) -> Prepared {
        let prepared = Prepared::empty();
        prepared.write("base.yaml", BASE);
        prepared.write("test.yaml", conf);
        prepared
    }

    /// Replaces the test's own configuration file. Nothing is reloaded by that.
    pub fn rewrite(&self, conf: &str) {
        write(self.dir.path(), "test.yaml", conf);
    }

    /// Replaces any file of the configuration. Nothing is reloaded by that.
    pub fn put(&self, name: &str, text: &str) {
        write(self.dir.path(), name, text);
    }

    /// Starts it again, after its process has ended.
    pub fn again(self) -> Gateway {
        let dir = self.dir.path().to_owned();
        let mut gone = std::mem::ManuallyDrop::new(self);
        assert!(gone.child.try_wait().unwrap().is_some(), "it runs");
        let _ = fs::remove_file(dir.join("ports"));
        let kept = std::mem::replace(&mut gone.dir, TempDir::new().unwrap());
        Prepared(kept).start(Path::new(env!("CARGO_BIN_EXE_palisade")))
    }

    /// Where it runs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Starts a second process on the same directory, which must refuse: gives the exit code and standard error.
    pub fn second(&self) -> (i32, String) {
        let binary = Path::new(env!("CARGO_BIN_EXE_palisade"));
        refused(spawn(self.dir.path(), binary, "second", &[]), self.dir.path(), "second.")
    }

    /// The address of a line of the ports file: `listener public`, `admin`, `probes`.
    pub fn at(&self, name: &str) -> SocketAddr {
        *self.ports.get(name).unwrap_or_else(|| panic!("no `{name}` in {:?}", self.ports))
    }

    /// All lines of the ports file.
    pub fn ports(&self) -> &BTreeMap<String, SocketAddr> {
        &self.ports
    }

    /// The public listener.
    pub fn address(&self) -> SocketAddr {
        self.at("listener public")
    }

    /// A connection to the public listener.
    pub fn connect(&self) -> Client {
        Client::connect(self.address())
    }

    /// One request on a connection of its own. `headers` are lines such as `apikey: x`.
    pub fn request(&self, method: &str, target: &str, headers: &[&str]) -> Response {
        self.connect().request(method, target, headers)
    }

    /// A GET without further headers.
    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target, &[])
    }

    /// The lines of the access record, once there are `count` of them; a surplus fails.
    pub fn audit(&self, count: usize) -> Vec<Value> {
        let file = self.dir.path().join("state/audit.jsonl");
        let lines = until("the audit lines", || {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let whole = text.ends_with('\n') || text.is_empty();
            let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            (whole && lines.len() >= count).then_some(lines)
        });
        assert_eq!(lines.len(), count, "{lines:#?}");
        lines
    }

    /// Sends SIGHUP and waits until the log says what came of it: this text, once more than before.
    pub fn hangup(&self, outcome: &str) {
        let before = self.log().matches(outcome).count();
        self.signal(rustix::process::Signal::HUP);
        self.wait_for_log(outcome, before + 1);
    }

    /// Waits until the log holds `text` so many times.
    pub fn wait_for_log(&self, text: &str, times: usize) {
        until(text, || (self.log().matches(text).count() >= times).then_some(()));
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Waits for the process to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the end of the process", || child.try_wait().unwrap())
    }

    /// Where the gateway writes.
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Standard error so far.
    pub fn log(&self) -> String {
        log(self.dir.path())
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the gateway\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration that nobody serves yet.
pub struct Prepared(TempDir);

impl Prepared {
    /// Without any file.
    pub fn empty() -> Prepared {
        let dir = TempDir::new().unwrap();
        fs::create_dir_all(dir.path().join("conf")).unwrap();
        Prepared(dir)
    }

    /// Puts a file into the directory of the configuration, whose folders are made.
    pub fn write(&self, name: &str, text: &str) {
        write(self.0.path(), name, text);
    }

    /// Where it will run.
    pub fn dir(&self) -> &Path {
        self.0.path()
    }

    /// Runs `palisade run` on it, which must refuse: gives the exit code and standard error.
    pub fn refused(&self) -> (i32, String) {
        self.refused_with(&[])
    }

    /// The same with more arguments.
    pub fn refused_with(&self, more: &[&str]) -> (i32, String) {
        let child = spawn(self.0.path(), Path::new(env!("CARGO_BIN_EXE_palisade")), "", more);
        refused(child, self.0.path(), "")
    }

    /// Runs `palisade check` on it: gives the exit code, standard output and standard error.
    pub fn check(&self) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_palisade"))
            .args(["check", "--conf", "conf"])
            .current_dir(self.0.path())
            .env("PALISADE_LOG", "info")
            .output()
            .unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code().unwrap(), out, err)
    }

    /// Starts a gateway and waits until it listens.
    pub fn start(self, binary: &Path) -> Gateway {
        self.start_with(binary, &[], &[])
    }

    /// The same with more arguments and environment.
    pub fn start_with(self, binary: &Path, more: &[&str], environment: &[(&str, &str)]) -> Gateway {
        let child =
            command(self.0.path(), binary, "", more).envs(environment.iter().copied()).spawn().unwrap();
        let mut gateway = Gateway { child, dir: self.0, ports: BTreeMap::new() };
        let file = gateway.dir.path().join("ports");
        let text = until("the ports file", || {
            if let Some(status) = gateway.child.try_wait().unwrap() {
                panic!("the gateway ended: {status}");
            }
            fs::read_to_string(&file).ok().filter(|text| text.ends_with('\n'))
        });
        gateway.ports = text
            .lines()
            .map(|line| {
                let (name, address) = line.rsplit_once(' ').unwrap();
                (name.to_owned(), address.parse().unwrap())
            })
            .collect();
        gateway
    }
}

/// A process that does not outlive a test that has failed.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a process that must not start.
fn refused(child: Child, dir: &Path, name: &str) -> (i32, String) {
    let log = || fs::read_to_string(dir.join(format!("{name}log"))).unwrap_or_default();
    let ports = dir.join(format!("{name}ports"));
    let mut child = Killed(child);
    let status = until("the end of the process", || {
        let ended = child.0.try_wait().unwrap();
        assert!(ended.is_some() || !ports.exists(), "it started instead of refusing:\n{}", log());
        ended
    });
    (status.code().unwrap(), log())
}

/// Runs it on the directory; its log and ports file are `log` and `ports`, or `NAME.log` and `NAME.ports`.
pub fn spawn(dir: &Path, binary: &Path, name: &str, more: &[&str]) -> Child {
    command(dir, binary, name, more).spawn().unwrap()
}

fn command(dir: &Path, binary: &Path, name: &str, more: &[&str]) -> Command {
    let file = |what: &str| if name.is_empty() { what.to_owned() } else { format!("{name}.{what}") };
    let log = fs::File::create(dir.join(file("log"))).unwrap();
    let mut command = Command::new(binary);
    // One worker, so that what a test says of connections to origins holds: each worker has its own. What several do is in
    // `workers.rs`, and in the drivers for soaks, upgrades and figures, which start as many as there are cores.
    let threads: &[&str] = if more.contains(&"--threads") { &[] } else { &["--threads", "1"] };
    command
        .args(["run", "--conf", "conf", "--ports-file", &file("ports")])
        .args(threads)
        .args(more)
        .current_dir(dir)
        .env("PALISADE_LOG", "info")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

/// Polls until there is something, and fails when there is nothing for too long. Of a time in which the whole machine was
/// held up little counts: whoever is waited for was held up as well.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut waited = Duration::ZERO;
    loop {
        let begun = Instant::now();
        if let Some(found) = look() {
            return found;
        }
        assert!(waited < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
        waited += begun.elapsed().min(Duration::from_secs(3));
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    let conf = dir.join("conf");
    let state = dir.join("state").display().to_string();
    let yaml = name.ends_with(".yaml");
    let mut text = if yaml { text.replace("STATE", &state) } else { text.to_owned() };
    while yaml && let Some((before, rest)) = text.split_once("KEY(") {
        let (key, after) = rest.split_once(')').unwrap();
        text = format!("{before}{}{after}", hex::encode(Sha256::digest(key)));
    }
    let path = conf.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Renamed into place, so that a gateway that watches never reads half a file. Dotfiles are no configuration.
    let half = conf.join(".half");
    fs::write(&half, text).unwrap();
    fs::rename(half, path).unwrap();
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}
