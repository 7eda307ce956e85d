//! Redis servers that the tests start, stop, freeze and fill.

use crate::ports::Port;
use palisade_contract::{
    Answer, Command, Host, HttpClient, HttpSettings, Secret, Store, StoreError, Task, verdict::BoxFuture,
};
use palisade_stores::{RedisStore, Sentinel, Settings, Written};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::PathBuf,
    process::{Child, Command as Process, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// The longest that anything is waited for; nothing waits when all goes well.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What a store's commands may take, where a test says nothing else: a busy machine is slow.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A redis-server. It is killed when this is dropped.
pub struct Server {
    pub port: u16,
    dir: TempDir,
    args: Vec<String>,
    child: Child,
    /// Nobody else gets its ports, also while it is not running: its own, and that of its bus in a cluster.
    _held: (Port, Port),
}

impl Server {
    pub fn start(args: &[&str]) -> Server {
        Server::start_on(free_port(), args)
    }

    pub fn start_on(held: Port, args: &[&str]) -> Server {
        let (port, bus) = (held.number(), Port::free());
        let dir = TempDir::new().unwrap();
        let args: Vec<String> = args
            .iter()
            .map(|arg| {
                arg.replace("DIR", &dir.path().display().to_string())
                    .replace("BUS", &bus.number().to_string())
                    .replace("PORT", &port.to_string())
            })
            .collect();
        let child = spawn(port, &dir, &args);
        Server { port, dir, args, child, _held: (held, bus) }
    }

    /// Ends it at once, whatever it does.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port; it knows nothing but what it has written to its folder.
    pub fn again(&mut self) {
        self.child = spawn(self.port, &self.dir, &self.args);
    }

    pub fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    pub fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What redis-cli says to a command, once it answers.
    pub fn cli(&self, args: &[&str]) -> String {
        cli(self.port, args)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, dir: &TempDir, args: &[String]) -> Child {
    let sentinel = args.iter().any(|arg| arg == "--sentinel");
    let mut process = Process::new("redis-server");
    if sentinel {
        // A sentinel keeps what it knows in its configuration.
        process.arg(dir.path().join("sentinel.conf"));
    } else {
        process.args(["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--protected-mode", "no"]);
        if !args.iter().any(|arg| arg == "--port") {
            process.args(["--port", &port.to_string()]);
        }
        process.arg("--dir").arg(dir.path());
    }
    let child = process.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.unwrap_or_else(|error| {
        panic!("redis-server cannot be started ({error}): apt-get install redis-server")
    })
}

/// A sentinel that watches a primary, alone and quickly.
pub fn sentinel(name: &str, primary: u16) -> Server {
    let (held, dir) = (free_port(), TempDir::new().unwrap());
    let port = held.number();
    let text = format!(
        "port {port}\nbind 127.0.0.1\nprotected-mode no\ndir {}\nsentinel monitor {name} 127.0.0.1 {primary} 1\n\
         sentinel down-after-milliseconds {name} 500\nsentinel failover-timeout {name} 2000\n",
        dir.path().display()
    );
    std::fs::write(dir.path().join("sentinel.conf"), text).unwrap();
    let args = vec!["--sentinel".to_owned()];
    let child = spawn(port, &dir, &args);
    Server { port, dir, args, child, _held: (held, Port::free()) }
}

pub fn cli(port: u16, args: &[&str]) -> String {
    let begun = Instant::now();
    loop {
        let done = Process::new("redis-cli").args(["-p", &port.to_string()]).args(args).output().unwrap();
        if done.status.success() {
            return String::from_utf8(done.stdout).unwrap().trim().to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "{args:?}: {done:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A port that nobody else gets. The nodes of a cluster speak to each other at a port that is greater by ten thousand.
pub fn free_port() -> Port {
    (0..100).map(|_| Port::free()).find(|port| port.number() <= 55_535).unwrap()
}

/// The runtime of the test.
struct Runtime(Handle);

impl Host for Runtime {
    fn http(&self, _: &HttpSettings) -> Result<Arc<dyn HttpClient>, String> {
        Err("nothing is called here".to_owned())
    }

    fn spawn(&self, _: &str, work: BoxFuture<'static, ()>) -> Task {
        let running = self.0.spawn(work);
        Task::new(move || running.abort())
    }

    fn compute(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// What a test writes.
pub struct Conf<'a> {
    pub url: &'a str,
    pub cluster: bool,
    pub nodes: &'a [String],
    pub sentinel: Option<Sentinel>,
    pub timeout: Duration,
    pub ca: Option<PathBuf>,
}

impl<'a> Conf<'a> {
    pub fn of(url: &'a str) -> Self {
        Conf { url, cluster: false, nodes: &[], sentinel: None, timeout: TIMEOUT, ca: None }
    }

    pub fn open(self) -> RedisStore {
        let url = Secret::new(self.url);
        let settings = Settings::parse(Written {
            redis: &url,
            cluster: self.cluster,
            nodes: self.nodes,
            sentinel: self.sentinel,
            timeout: self.timeout,
            pool: 2,
            ca: self.ca,
        });
        let host: Arc<dyn Host> = Arc::new(Runtime(Handle::current()));
        RedisStore::open(&"main".into(), settings.unwrap(), &host).unwrap()
    }
}

pub fn set(key: &str, value: &str) -> Command {
    Command::new("SET").key(key.to_owned()).arg(value.to_owned())
}

pub fn get(key: &str) -> Command {
    Command::new("GET").key(key.to_owned())
}

/// Runs a command until its result is as it should be.
pub async fn until(
    store: &RedisStore,
    command: Command,
    what: impl Fn(&Result<Answer, StoreError>) -> bool,
) -> Result<Answer, StoreError> {
    let begun = Instant::now();
    loop {
        let result = store.run(command.clone()).await;
        if what(&result) {
            return result;
        }
        assert!(begun.elapsed() < PATIENCE, "{result:?} {:?}", store.health());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A store that is down says so in next to no time: in 5 ms, half of a hundred times at least, on whatever machine.
pub async fn fails_at_once(store: &RedisStore, command: Command) {
    let mut times = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        assert_eq!(store.run(command.clone()).await, Err(StoreError::Down));
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    assert!(times[50] < Duration::from_millis(5), "{times:?}");
}
