//! libmodsecurity, driven by a small C program over pipes: `apt-get install libmodsecurity3`, and a C compiler.

use super::{BASE, Request};
use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

const DRIVER: &str = include_str!("../../benches/modsecurity.c");

/// A running libmodsecurity with its rules.
pub struct ModSecurity {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    /// How long it took to load its rules.
    pub load: Duration,
    folder: PathBuf,
}

impl Drop for ModSecurity {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl ModSecurity {
    /// Builds and starts it, or says why not.
    pub fn start(rules: &Path, extra: &str) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("seclang-{}-{:x}", std::process::id(), extra.len()));
        fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let (source, program) = (folder.join("modsecurity.c"), folder.join("modsecurity"));
        fs::write(&source, DRIVER).map_err(|error| error.to_string())?;
        let built = Command::new("cc")
            .args(["-O2", "-o"])
            .args([&program, &source])
            .arg("-l:libmodsecurity.so.3")
            .output()
            .map_err(|error| format!("no C compiler: {error}"))?;
        if !built.status.success() {
            return Err(format!(
                "libmodsecurity3 is not installed: {}",
                String::from_utf8_lossy(&built.stderr)
            ));
        }
        let mut files =
            vec![folder.join("base.conf"), rules.join("crs-setup.conf.example"), folder.join("extra.conf")];
        // The same code page as ours, which needs no file.
        let mapping = folder.join("best_fit.mapping");
        fs::write(&mapping, include_str!("../../data/best_fit_ascii.mapping"))
            .map_err(|error| error.to_string())?;
        let base = format!("{BASE}\nSecUnicodeMapFile {} 20127\n", mapping.display());
        fs::write(&files[0], base).map_err(|error| error.to_string())?;
        fs::write(&files[2], format!("{extra}\n")).map_err(|error| error.to_string())?;
        let mut more: Vec<_> = fs::read_dir(rules.join("rules"))
            .map_err(|error| error.to_string())?
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "conf"))
            .collect();
        more.sort();
        files.extend(more);
        let mut child = Command::new(&program)
            .args(&files)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut load = [0; 8];
        output
            .read_exact(&mut load)
            .map_err(|error| format!("libmodsecurity did not load the rules: {error}"))?;
        Ok(Self { child, input, output, load: Duration::from_nanos(u64::from_le_bytes(load)), folder })
    }

    /// Whether it stops a request, and the ids in its log.
    pub fn evaluate(&mut self, request: &Request) -> (bool, Vec<u64>) {
        self.send(b"E", request);
        let mut head = [0; 5];
        self.output.read_exact(&mut head).unwrap();
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let mut log = vec![0; length];
        self.output.read_exact(&mut log).unwrap();
        let log = String::from_utf8_lossy(&log).into_owned();
        let ids =
            log.split("[id \"").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok()).collect();
        (head[0] != 0, ids)
    }

    /// How long one request takes, over so many rounds.
    pub fn time(&mut self, request: &Request, rounds: u32) -> Duration {
        let mut kind = vec![b'T'];
        kind.extend(rounds.to_le_bytes());
        self.send(&kind, request);
        let mut time = [0; 8];
        self.output.read_exact(&mut time).unwrap();
        Duration::from_nanos(u64::from_le_bytes(time)) / rounds
    }

    /// The most resident memory so far, in bytes.
    pub fn memory(&self) -> u64 {
        memory(&format!("/proc/{}/status", self.child.id()))
    }

    fn send(&mut self, kind: &[u8], request: &Request) {
        let mut out = kind.to_vec();
        let number = |out: &mut Vec<u8>, number: usize| out.extend((number as u32).to_le_bytes());
        let text = |out: &mut Vec<u8>, text: &[u8]| {
            number(out, text.len());
            out.extend_from_slice(text);
        };
        let fields = |out: &mut Vec<u8>, fields: &[(Vec<u8>, Vec<u8>)]| {
            number(out, fields.len());
            for (name, value) in fields {
                text(out, name);
                text(out, value);
            }
        };
        text(&mut out, &request.method);
        text(&mut out, &request.uri);
        text(&mut out, request.protocol.strip_prefix(b"HTTP/").unwrap_or(&request.protocol));
        fields(&mut out, &request.headers);
        text(&mut out, &request.body);
        match &request.response {
            Some(response) => {
                number(&mut out, usize::from(response.status));
                fields(&mut out, &response.headers);
                text(&mut out, &response.body);
            }
            None => [0; 3].into_iter().for_each(|zero| number(&mut out, zero)),
        }
        self.input.write_all(&out).unwrap();
        self.input.flush().unwrap();
    }
}

/// The most resident memory of a process, in bytes.
pub fn memory(status: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
