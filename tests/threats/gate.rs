//! A gateway before an origin that keeps what it got. Tests share one as long as any of them runs.

use crate::{
    client::{Client, Response},
    frames::{self, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM, block, frame},
    harness::{Gateway, PATIENCE, until},
    origin::Origin,
};
use parking_lot::Mutex;
use serde_json::Value;
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, LazyLock, Weak},
};

const CONF: &str = "
admin: {address: 127.0.0.1:0}
listeners:
  h2: {address: 127.0.0.1:0, http2: true, limits: {header_count: 20, header_bytes: 4KiB, uri_bytes: 512B}}
  relaxed: {address: 127.0.0.1:0, limits: {paths: relaxed}}
upstreams: {raw: {targets: [{address: ORIGIN}]}}
routes:
  open: {paths: [/*], upstream: raw}
  admin: {paths: [/admin/*], upstream: raw, plugins: {key-auth: {}}}
";

/// A gateway and its origin.
pub struct Gate {
    pub gateway: Gateway,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Gate {
    /// The one that all tests share.
    pub fn shared() -> Arc<Gate> {
        // No test may be the last one to hold it: a process that a static holds is never ended.
        static SHARED: LazyLock<Mutex<Weak<Gate>>> = LazyLock::new(Mutex::default);
        let mut shared = SHARED.lock();
        shared.upgrade().unwrap_or_else(|| {
            let gate = Arc::new(Gate::start(CONF));
            *shared = Arc::downgrade(&gate);
            gate
        })
    }

    /// One of its own; `ORIGIN` in `conf` is the address of an origin that answers `ok` to everything.
    pub fn start(conf: &str) -> Gate {
        Gate::started(conf, Gateway::start)
    }

    /// The same with the plugins that tests need.
    pub fn start_with_test_plugins(conf: &str) -> Gate {
        Gate::started(conf, Gateway::start_with_test_plugins)
    }

    fn started(conf: &str, start: fn(&str) -> Gateway) -> Gate {
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let kept = seen.clone();
        let origin = Origin::start(move |request| {
            kept.lock().push(request.text.clone());
            request.answer(200, "ok")
        });
        Gate { gateway: start(&conf.replace("ORIGIN", &origin.address.to_string())), seen }
    }

    /// What the origin got of the test of this mark, in order.
    pub fn seen(&self, mark: &str) -> Vec<String> {
        self.seen.lock().iter().filter(|text| text.contains(mark)).cloned().collect()
    }

    /// The answer to these bytes, in which `MARK` stands for something of this test.
    pub fn answer(&self, request: impl AsRef<[u8]>) -> (Response, Client, String) {
        let mark = mark();
        let mut client = self.gateway.connect();
        client.send(marked(request.as_ref(), &mark));
        (client.response(), client, mark)
    }

    /// Asserts that these bytes get this answer and no other, that what comes behind them is not taken for a request,
    /// and that nothing of it reaches the origin.
    #[track_caller]
    pub fn refuses(&self, request: impl AsRef<[u8]>, status: u16, reason: &str) {
        let request = request.as_ref();
        let behind = b"GET /MARK/behind HTTP/1.1\r\nHost: a\r\n\r\n";
        let (answer, mut client, mark) = self.answer([request, behind].concat());
        let shown = String::from_utf8_lossy(request);
        assert_eq!(answer.status, status, "{shown:?}: {}", answer.text());
        assert_eq!(answer.reason(), reason, "{shown:?}");
        assert_eq!(answer.json()["request_id"].as_str().map(str::len), Some(32), "{shown:?}");
        assert!(client.is_closed(), "{shown:?}: the connection goes on");
        assert_eq!(self.seen(&mark), Vec::<String>::new(), "{shown:?}");
    }

    /// Asserts that these bytes are a request that is answered with 200: what the origin got.
    #[track_caller]
    pub fn passes(&self, request: impl AsRef<[u8]>) -> String {
        let request = request.as_ref();
        let (answer, _, mark) = self.answer(request);
        assert_eq!(answer.status, 200, "{:?}: {}", String::from_utf8_lossy(request), answer.text());
        let mut seen = self.seen(&mark);
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }

    /// What an HTTP/2 client sees of a request.
    pub fn http2(&self, request: impl Fn(&str) -> Vec<u8>) -> (Outcome, String) {
        let mark = mark();
        let mut connection = Http2::connect(self);
        let outcome = connection.send(&request(&mark));
        (outcome, mark)
    }

    /// The lines of the access record with this text, once there is one.
    pub fn record(&self, text: &str) -> Value {
        let file = self.gateway.state().join("audit.jsonl");
        until("the record", || {
            let lines = std::fs::read_to_string(&file).ok()?;
            let line = lines.lines().find(|line| line.contains(text))?;
            serde_json::from_str(line).ok()
        })
    }

    /// The value of a line of the metrics; 0 where there is none.
    pub fn metric(&self, line: &str) -> u64 {
        let text = Client::connect(self.gateway.at("admin"))
            .request("GET", "/metrics", &["Host: localhost"])
            .expect(200)
            .text();
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or(0)
    }
}

/// What no other request has.
pub fn mark() -> String {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1000);
    format!("mark{}x", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}

fn marked(request: &[u8], mark: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = request;
    while let Some((byte, after)) = rest.split_first() {
        match rest.strip_prefix(b"MARK") {
            Some(after) => {
                out.extend(mark.as_bytes());
                rest = after;
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

/// What becomes of an HTTP/2 request.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer: whether it is a 200, and its body.
    Answer { ok: bool, body: String },
    /// The stream was reset with this code.
    Reset(u8),
    /// The connection was ended with this code.
    Goaway(u8),
    /// It was closed without a word.
    Closed,
}

impl Outcome {
    /// The reason in a problem document; none where it is anything else.
    pub fn reason(&self) -> Option<String> {
        let Outcome::Answer { ok: false, body } = self else { return None };
        serde_json::from_str::<Value>(body).ok()?["reason"].as_str().map(str::to_owned)
    }
}

/// An HTTP/2 connection of raw frames.
pub struct Http2 {
    tcp: TcpStream,
    read: Vec<u8>,
    stream: u32,
}

/// The fields of an ordinary request.
pub fn get(path: &str) -> Vec<(String, String)> {
    [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "gateway.test")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// The frame of a head without a body. Its stream is 1: [`Http2::send`] writes the real one.
pub fn request<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(fields))
}

impl Http2 {
    pub fn connect(gate: &Gate) -> Http2 {
        Http2::connect_to(gate.gateway.at("listener h2"))
    }

    pub fn connect_to(address: SocketAddr) -> Http2 {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.write_all(PREFACE).unwrap();
        Http2 { tcp, read: Vec::new(), stream: 0 }
    }

    /// Sends frames, of stream 1, on the next stream: what becomes of it.
    pub fn send(&mut self, wire: &[u8]) -> Outcome {
        self.stream += if self.stream == 0 { 1 } else { 2 };
        let mut renumbered = Vec::new();
        for (kind, flags, stream, payload) in frames::frames(wire) {
            renumbered.extend(frame(kind, flags, if stream == 1 { self.stream } else { stream }, payload));
        }
        // It may be closed before all of it is sent.
        let _ = self.tcp.write_all(&renumbered);
        loop {
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            let mut piece = [0; 4096];
            match self.tcp.read(&mut piece) {
                Ok(0) => return self.outcome().unwrap_or(Outcome::Closed),
                Ok(count) => self.read.extend(&piece[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Outcome::Closed,
                Err(error) => panic!("nothing comes of it: {error}"),
            }
        }
    }

    fn outcome(&self) -> Option<Outcome> {
        let (mut ok, mut body) = (None, Vec::new());
        for (kind, flags, stream, payload) in frames::frames(&self.read) {
            match kind {
                GOAWAY => return Some(Outcome::Goaway(payload[7])),
                _ if stream != self.stream => continue,
                RST_STREAM if ok.is_none() => return Some(Outcome::Reset(payload[3])),
                // `:status 200` of the static table stands first.
                HEADERS => ok = Some(payload[0] == 0x88),
                DATA => body.extend(payload),
                _ => continue,
            }
            if flags & END_STREAM != 0 && kind != RST_STREAM {
                let body = String::from_utf8(body).unwrap();
                return Some(Outcome::Answer { ok: ok.unwrap_or(false), body });
            }
        }
        None
    }
}
