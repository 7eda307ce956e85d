//! A server that stands for an issuer of tokens: it gives its keys away, is asked about tokens, or does neither.

use parking_lot::Mutex;
use rcgen::{CertifiedKey, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// What it says of every token, where the test says nothing else.
pub const GOOD: &str =
    "{\"active\":true,\"sub\":\"u-1\",\"scope\":\"orders:read\",\"aud\":\"shop\",\"client_id\":\"app\"}";

/// An HTTP server whose answers the test changes. It ends with its last connection after it is dropped.
pub struct Issuer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    keys: Vec<Value>,
    /// What is said of a token.
    said: String,
    /// Is sent instead of any other answer, head and body.
    raw: Option<Vec<u8>>,
    /// Requests as they came, their heads in lower case.
    asked: Vec<String>,
    closed: bool,
    /// Speaks TLS.
    tls: Option<Arc<ServerConfig>>,
    /// Answers to nobody.
    silent: Vec<TcpStream>,
    is_silent: bool,
}

impl Issuer {
    /// At an address of the system's choice, or at one that is known already.
    pub fn start(at: Option<SocketAddr>) -> Self {
        Issuer::serving(at, None)
    }

    /// Over TLS.
    pub fn start_tls(own: &CertifiedKey<KeyPair>) -> Self {
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        Issuer::serving(None, Some(Arc::new(config)))
    }

    fn serving(at: Option<SocketAddr>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(at.unwrap_or(([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            keys: Vec::new(),
            said: GOOD.to_owned(),
            raw: None,
            asked: Vec::new(),
            closed: false,
            tls,
            silent: Vec::new(),
            is_silent: false,
        }));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().closed {
                    return;
                }
                let shared = shared.clone();
                thread::spawn(move || serve(stream.unwrap(), &shared));
            }
        });
        Issuer { address, state }
    }

    /// Where its keys are.
    pub fn url(&self) -> String {
        format!("{}/keys", self.name())
    }

    /// Its address as tokens name it.
    pub fn name(&self) -> String {
        let scheme = if self.state.lock().tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Gives away these keys.
    pub fn has(&self, keys: &[Value]) {
        let mut state = self.state.lock();
        (state.keys, state.raw, state.is_silent) = (keys.to_vec(), None, false);
    }

    /// Says this of every token.
    pub fn says(&self, body: &str) {
        let mut state = self.state.lock();
        (state.said, state.raw, state.is_silent) = (body.to_owned(), None, false);
    }

    /// Answers everything with these bytes, head and body.
    pub fn raw(&self, answer: impl Into<Vec<u8>>) {
        let mut state = self.state.lock();
        (state.raw, state.is_silent) = (Some(answer.into()), false);
    }

    pub fn falls_silent(&self) {
        self.state.lock().is_silent = true;
    }

    /// How often it was asked.
    pub fn calls(&self) -> usize {
        self.state.lock().asked.len()
    }

    /// What it was asked.
    pub fn asked(&self) -> Vec<String> {
        self.state.lock().asked.clone()
    }

    /// The fields with which `oauth2-introspection` asks it.
    pub fn introspection(&self) -> String {
        format!(
            "introspection_endpoint: '{}/introspect', client_id: gw, client_secret: hunter2-of-the-gateway",
            self.name()
        )
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.silent.clear();
        drop(state);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(tcp: TcpStream, state: &Mutex<State>) {
    let tls = state.lock().tls.clone();
    let at = tcp.local_addr().unwrap();
    match tls {
        None => answer(tcp.try_clone().unwrap(), tcp, &format!("http://{at}"), state),
        Some(config) => {
            let stream = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp.try_clone().unwrap());
            answer(stream, tcp, &format!("https://{at}"), state);
        }
    }
}

/// A request, its head in lower case; none where it breaks off.
fn read(stream: &mut impl BufRead) -> Option<String> {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        text.push_str(&line.to_ascii_lowercase());
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some(text + &String::from_utf8(body).unwrap())
}

fn answer(stream: impl Read + Write, tcp: TcpStream, name: &str, state: &Mutex<State>) {
    let mut stream = BufReader::new(stream);
    let Some(request) = read(&mut stream) else { return };
    let mut state = state.lock();
    let target = request.split(' ').nth(1).unwrap().to_owned();
    state.asked.push(request);
    if state.is_silent {
        state.silent.push(tcp);
        return;
    }
    let body = match target.as_str() {
        "/introspect" => state.said.clone(),
        target if target.contains("openid-configuration") => {
            json!({"issuer": name, "jwks_uri": format!("{name}/keys")}).to_string()
        }
        _ => json!({"keys": state.keys}).to_string(),
    };
    let whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = state.raw.clone().unwrap_or(whole.into_bytes());
    drop(state);
    let stream = stream.get_mut();
    let _ = stream.write_all(&answer).and_then(|()| stream.flush());
}
