//! An edge with a small proxy behind it, an origin, and clients that speak bytes.

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use palisade::{
    budget::{Budget, Collector},
    conf::model::{Limits, Paths},
    edge::{
        Ahead, ConnInfo, EdgeEvents, Guard, Refusal, Registry, conn_info,
        connection::{Bounds, Shared},
        listen::{self, Listener, Settings},
        tls::Term,
        turns::Turns,
        upgrade::Gate,
        workers::Workers,
    },
    respond,
};
use parking_lot::Mutex;
use pingora::{
    http::{RequestHeader, ResponseHeader},
    prelude::HttpPeer,
    protocols::Digest,
    proxy::{FailToProxy, ProxyHttp, Session, http_proxy},
    server::configuration::ServerConf,
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::timeout,
};

/// Longer than anything here takes, so that a test that hangs fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn limits() -> Limits {
    Limits {
        header_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(30),
        header_bytes: 16 * 1024,
        header_count: 50,
        uri_bytes: 4096,
        paths: Paths::Strict,
        body_bytes: 4 << 20,
        buffered_bytes: 64 << 20,
        memory: None,
        connections: 1000,
        connections_per_ip: 1000,
    }
}

/// Forwards everything; what else it does the request says: `x-ahead: MAX` reads the body ahead, `x-limit: MAX`
/// sets its limit, `x-time: MILLISECONDS` its time.
struct Proxy {
    origin: SocketAddr,
    ahead: Arc<Mutex<Vec<Bytes>>>,
}

fn number(request: &RequestHeader, name: &str) -> Option<u64> {
    request.headers.get(name)?.to_str().ok()?.parse().ok()
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Option<Arc<Gate>>;

    fn new_ctx(&self) -> Self::CTX {
        None
    }

    async fn request_filter(&self, session: &mut Session, _: &mut Self::CTX) -> pingora::Result<bool> {
        let guard = Guard::of(session);
        if let Some(guard) = &guard {
            let most = number(session.req_header(), "x-limit").unwrap_or(4 << 20);
            let time = number(session.req_header(), "x-time").unwrap_or(10_000);
            guard.set_body_limit(most, Duration::from_millis(time));
        }
        let (Some(guard), Some(most)) = (guard, number(session.req_header(), "x-ahead")) else {
            return Ok(false);
        };
        if session.req_header_mut().remove_header("expect").is_some() {
            guard.continue_100().await;
        }
        let share = Arc::new(Budget::default()).share(u64::MAX);
        let status = match guard.read_ahead(Collector::new(share, usize::try_from(most).unwrap(), 2)).await {
            Ok((body, _)) => {
                session.set_close_on_response_before_downstream_finish(false);
                self.ahead.lock().push(body);
                return Ok(false);
            }
            Err(Ahead::TooLarge) => 413,
            Err(Ahead::Timeout) => 408,
            Err(Ahead::Full) => 503,
            Err(Ahead::Malformed(_) | Ahead::Closed) => 400,
        };
        session.respond_error(status).await?;
        Ok(true)
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        gate: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let mut peer = Box::new(HttpPeer::new(self.origin, false, String::new()));
        if session.is_upgrade_req() {
            *gate = Some(Gate::prepare(&mut peer));
        }
        Ok(peer)
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _: bool,
        _: &HttpPeer,
        _: std::os::fd::RawFd,
        _: Option<&Digest>,
        gate: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if let Some(gate) = gate {
            gate.close();
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if let Some(info) = conn_info(session) {
            response.insert_header("x-peer", info.peer.to_string())?;
            let name = info.client.tls.as_ref().and_then(|tls| tls.server_name.clone());
            response.insert_header("x-sni", name.as_deref().unwrap_or("none"))?;
        }
        Ok(())
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &pingora::Error,
        _: &mut Self::CTX,
    ) -> FailToProxy {
        let status = match Guard::of(session).and_then(|guard| guard.violation()) {
            Some(refusal) => refusal.status,
            None if *error.esource() == pingora::ErrorSource::Downstream => 0,
            None => 502,
        };
        if status > 0 && session.response_written().is_none() {
            // The client may be gone.
            let _ = session.respond_error(status).await;
        }
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }
}

#[derive(Default)]
pub struct Recorded(Mutex<Vec<(Refusal, Vec<u8>)>>);

impl EdgeEvents for Recorded {
    fn refused<'a>(&'a self, _: &'a ConnInfo, refusal: Refusal, head: &'a [u8]) -> BoxFuture<'a, Vec<u8>> {
        self.0.lock().push((refusal, head.to_vec()));
        let status = http::StatusCode::from_u16(refusal.status).unwrap();
        let answer = respond::Answer::problem(status, refusal.reason, None, "id", &[]);
        let mut head = answer.head().unwrap();
        head.insert_header("connection", "close").unwrap();
        Box::pin(std::future::ready(answer.http1(&head, false)))
    }
}

/// What else an edge may be given.
pub struct Tuning {
    pub bounds: Bounds,
    /// Connections of all listeners together.
    pub connections: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning { bounds: Bounds::default(), connections: 10_000 }
    }
}

/// A running edge.
pub struct Edge {
    workers: Arc<Workers<Proxy>>,
    stopping: watch::Receiver<bool>,
    pub address: SocketAddr,
    pub registry: Arc<Registry>,
    pub origin: Origin,
    ahead: Arc<Mutex<Vec<Bytes>>>,
    events: Arc<Recorded>,
    listener: Arc<Listener>,
    stop: watch::Sender<bool>,
    drain: watch::Sender<bool>,
    accepting: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
    reaper: tokio::task::JoinHandle<()>,
}

impl Edge {
    pub async fn start(limits: Limits) -> Self {
        Self::with(limits, false, None).await
    }

    pub async fn with(limits: Limits, http2: bool, tls: Option<Arc<Term>>) -> Self {
        Self::tuned(limits, http2, tls, Tuning::default()).await
    }

    pub async fn tuned(limits: Limits, http2: bool, tls: Option<Arc<Term>>, tuning: Tuning) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let origin = Origin::start().await;
        let ahead: Arc<Mutex<Vec<Bytes>>> = Arc::default();
        let (stop, stopping) = watch::channel(false);
        let (drain, draining) = watch::channel(false);
        let (registry, events) = (Arc::new(Registry::default()), Arc::new(Recorded::default()));
        let workers = Workers::on(&[], || {
            let proxy = Proxy { origin: origin.address, ahead: ahead.clone() };
            Shared {
                proxy: Arc::new(http_proxy(&Arc::new(ServerConf::default()), proxy)),
                registry: registry.clone(),
                events: events.clone(),
                draining: draining.clone(),
                bounds: tuning.bounds,
                handshakes: Turns::default(),
            }
        });
        let socket = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let settings = Settings {
            limits: Arc::new(limits),
            connections: tuning.connections,
            tls,
            http2,
            proxy_protocol: false,
            trusted: Vec::new(),
        };
        let door = registry.door();
        let settings = ArcSwap::from_pointee(settings);
        let listener = Arc::new(Listener { name: "public".into(), address, door, settings });
        let accepting =
            Some(tokio::spawn(listen::accept(workers.clone(), listener.clone(), socket, stopping.clone())));
        let reaped = registry.clone();
        let reaper = tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                reaped.reap();
            }
        });
        Edge {
            workers,
            stopping,
            address,
            registry,
            origin,
            ahead,
            events,
            listener,
            stop,
            drain,
            accepting,
            reaper,
        }
    }

    /// Another listener, with limits of its own: its address.
    pub async fn another(&self, limits: Limits, connections: usize) -> SocketAddr {
        let socket = listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let settings = Settings {
            limits: Arc::new(limits),
            connections,
            tls: None,
            http2: false,
            proxy_protocol: false,
            trusted: Vec::new(),
        };
        let door = self.registry.door();
        let settings = ArcSwap::from_pointee(settings);
        let listener = Arc::new(Listener { name: "another".into(), address, door, settings });
        tokio::spawn(listen::accept(self.workers.clone(), listener, socket, self.stopping.clone()));
        address
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// What was read ahead, in order.
    pub fn ahead(&self) -> Vec<Bytes> {
        self.ahead.lock().clone()
    }

    /// Reason codes of what the edge refused.
    pub fn refused(&self) -> Vec<&'static str> {
        self.events.0.lock().iter().map(|(refusal, _)| refusal.reason).collect()
    }

    /// The heads that came with them.
    pub fn refused_heads(&self) -> Vec<Vec<u8>> {
        self.events.0.lock().iter().map(|(_, head)| head.clone()).collect()
    }

    pub fn settings(&self) -> &ArcSwap<Settings> {
        &self.listener.settings
    }

    /// Stops accepting; answers close their connections from here on.
    pub async fn drain(&mut self) {
        self.stop.send_replace(true);
        self.drain.send_replace(true);
        if let Some(accepting) = self.accepting.take() {
            timeout(PATIENCE, accepting).await.expect("the accept loop ends").unwrap().unwrap();
        }
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.reaper.abort();
    }
}

/// Waits until something is so. Of a time in which the whole machine was held up little counts.
pub async fn eventually(what: &str, check: impl Fn() -> bool) {
    let mut waited = Duration::ZERO;
    while !check() {
        assert!(waited < PATIENCE, "{what} does not come about");
        let begun = std::time::Instant::now();
        tokio::time::sleep(Duration::from_millis(2)).await;
        waited += begun.elapsed().min(Duration::from_secs(3));
    }
}

/// A client that speaks bytes.
pub struct Client(pub TcpStream);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Client(timeout(PATIENCE, TcpStream::connect(address)).await.expect("a connection").unwrap())
    }

    /// From another address of this machine.
    pub async fn connect_from(from: &str, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        Client(timeout(PATIENCE, socket.connect(address)).await.expect("a connection").unwrap())
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await.expect("room to write").unwrap();
    }

    /// The next answer with a length.
    pub async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, read_answer(&mut self.0)).await.expect("an answer").expect("a whole answer")
    }

    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        self.answer().await
    }

    /// Everything until the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A reset ends it as well.
        let _ = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("the end");
        rest
    }

    /// True where the connection is open and silent.
    pub fn is_open(&self) -> bool {
        let mut byte = [0];
        matches!(self.0.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).await.ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

async fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let head = read_head(stream).await?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).await.ok()?;
    Some(answer)
}

/// What the origin answers with: what it has received.
pub fn received(method: &str, path: &str, body: &[u8]) -> String {
    let sum = body.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{method} {path} {} {sum}", body.len())
}

/// An origin that says what it received. `/wait` answers once [`Origin::release`] is called; an upgrade is
/// taken at `/ws` and echoes; `/large` answers with 64 MiB.
pub struct Origin {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
    gate: watch::Sender<bool>,
}

impl Origin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (gate, opened) = watch::channel(false);
        let count = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, count.clone(), opened.clone()));
            }
        });
        Origin { address, requests, gate }
    }

    /// Requests whose head was read.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn release(&self) {
        self.gate.send_replace(true);
    }
}

async fn serve(
    mut stream: TcpStream,
    requests: Arc<AtomicUsize>,
    mut gate: watch::Receiver<bool>,
) -> Option<()> {
    loop {
        let head = read_head(&mut stream).await?;
        requests.fetch_add(1, Ordering::SeqCst);
        let mut words = head.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        if path == "/ws" {
            stream
                .write_all(
                    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                )
                .await
                .ok()?;
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.ok()?;
            return None;
        }
        let body = read_body(&mut stream, &head.to_ascii_lowercase()).await?;
        if path == "/wait" {
            gate.wait_for(|open| *open).await.ok()?;
        }
        if path == "/large" {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n").await.ok()?;
            stream.write_all(&vec![b'x'; 64 << 20]).await.ok()?;
            continue;
        }
        let text = received(&method, &path, &body);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len());
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

async fn read_body(stream: &mut TcpStream, head: &str) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(stream.read_u8().await.ok()?);
            }
            let size = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.ok()?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
    body.resize(length.unwrap_or(0), 0);
    stream.read_exact(&mut body).await.ok()?;
    Some(body)
}

/// Bytes that are told apart wherever they are cut.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// A body in chunks of this size.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    for chunk in body.chunks(size) {
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}
