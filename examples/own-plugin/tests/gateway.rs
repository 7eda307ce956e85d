//! The binary knows the plugin, refuses what it does not know, and lets the plugin decide about requests.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

fn palisade(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_own-plugin")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn the_binary_has_the_plugin() {
    let (good, text) = palisade(&["check", "--conf", concat!(env!("CARGO_MANIFEST_DIR"), "/conf")]);
    assert!(good, "{text}");
    let (good, text) = palisade(&["routes", "--conf", concat!(env!("CARGO_MANIFEST_DIR"), "/conf")]);
    assert!(good && text.contains("business-hours"), "{text}");
}

#[test]
fn a_misspelt_name_is_said() {
    let dir = Folder::new("misspelt");
    dir.write(&CONF.replace("business-hours", "busines-hours"));
    let (good, text) = palisade(&["check", "--conf", &dir.path()]);
    assert!(!good && text.contains("did you mean `business-hours`"), "{text}");
}

#[test]
fn the_plain_gateway_does_not_have_it() {
    let dir = Folder::new("plain");
    dir.write(CONF);
    let error = palisade::server::check(&dir.0, palisade::plugins::PLUGINS).err().unwrap().to_string();
    assert!(error.contains("unknown plugin `business-hours`"), "{error}");
}

#[test]
fn hours_decide_about_requests() {
    let hour = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 3600 % 24;
    // Six hours from now, so that no clock strikes in between.
    let later = (hour + 6) % 24;
    let dir = Folder::new("run");
    dir.write(&format!(
        "version: 1
demo: true
state_dir: {state}
listeners: {{public: {{address: 127.0.0.1:0}}}}
routes:
  open: {{paths: [/products/*], upstream: demo, plugins: {{business-hours: {{from: 0, until: 24}}}}}}
  closed: {{paths: [/cart/*], upstream: demo, plugins: {{business-hours: {{from: {later}, until: {}}}}}}}
",
        later + 1,
        state = dir.0.join("state").display()
    ));
    let gateway = Gateway::start(&dir);
    assert_eq!(gateway.status("/products/1"), "200");
    assert_eq!(gateway.status("/cart"), "403");
    assert_eq!(gateway.status("/nothing"), "404");
}

const CONF: &str = include_str!("../conf/palisade.yaml");

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let dir = std::env::temp_dir().join(format!("own-plugin-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    fn write(&self, conf: &str) {
        fs::write(self.0.join("a.yaml"), conf).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary, serving.
struct Gateway {
    process: Child,
    address: String,
}

impl Gateway {
    fn start(dir: &Folder) -> Gateway {
        let ports = dir.0.join("ports");
        let process = Command::new(env!("CARGO_BIN_EXE_own-plugin"))
            .args(["run", "--conf", &dir.path(), "--ports-file", &ports.display().to_string()])
            .spawn()
            .unwrap();
        let mut gateway = Gateway { process, address: String::new() };
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            if let Some(line) =
                text.lines().find(|line| line.starts_with("listener public ") && text.ends_with('\n'))
            {
                gateway.address = line.rsplit(' ').next().unwrap().to_owned();
                return gateway;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not listen");
    }

    /// The status of a request.
    fn status(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
