//! Tokens, and an issuer that gives its keys away over HTTP.

use crate::mtls::private;
pub use crate::signer::Signer;
use parking_lot::Mutex;
use rcgen::{CertifiedKey, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// An HTTP server whose answer the test changes. It ends with its last connection after it is dropped.
pub struct Issuer {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    keys: Vec<Value>,
    /// Is sent instead of the keys.
    raw: Option<Vec<u8>>,
    calls: usize,
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
        let config = ServerConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], private(&own.signing_key))
            .unwrap();
        Issuer::serving(None, Some(Arc::new(config)))
    }

    fn serving(at: Option<SocketAddr>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind(at.unwrap_or(([127, 0, 0, 1], 0).into())).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { tls, ..State::default() }));
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

    pub fn url(&self) -> String {
        format!("{}/keys", self.name())
    }

    /// Its address as tokens name it.
    pub fn name(&self) -> String {
        let scheme = if self.state.lock().tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn has(&self, keys: &[Value]) {
        let mut state = self.state.lock();
        (state.keys, state.raw, state.is_silent) = (keys.to_vec(), None, false);
    }

    /// Answers with these bytes, head and body.
    pub fn says(&self, raw: impl Into<Vec<u8>>) {
        self.state.lock().raw = Some(raw.into());
    }

    pub fn falls_silent(&self) {
        self.state.lock().is_silent = true;
    }

    /// How often it was asked.
    pub fn calls(&self) -> usize {
        self.state.lock().calls
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

fn answer(stream: impl Read + Write, tcp: TcpStream, name: &str, state: &Mutex<State>) {
    let mut stream = BufReader::new(stream);
    let mut lines = stream.by_ref().lines();
    let Some(Ok(request)) = lines.next() else { return };
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let mut state = state.lock();
    state.calls += 1;
    if state.is_silent {
        state.silent.push(tcp);
        return;
    }
    let body = if request.contains("openid-configuration") {
        json!({"issuer": name, "jwks_uri": format!("{name}/keys")})
    } else {
        json!({"keys": state.keys})
    };
    let body = body.to_string();
    let whole =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    let answer = state.raw.clone().unwrap_or(whole.into_bytes());
    drop(state);
    let stream = stream.get_mut();
    let _ = stream.write_all(&answer).and_then(|()| stream.flush());
}
