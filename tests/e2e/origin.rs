//! An origin that does what a test says, connection by connection.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

/// An origin whose every request is answered by a function. It listens until the test ends.
pub struct Origin {
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    opened: AtomicUsize,
    closed: AtomicUsize,
    requests: AtomicUsize,
}

/// What the function is given.
pub struct Request<'a> {
    /// The number of the request on its connection, from 1.
    pub nth: usize,
    /// Head and body as they came, what is not UTF-8 replaced.
    pub text: String,
    pub stream: &'a mut TcpStream,
    reset: bool,
}

impl Request<'_> {
    /// The body, without chunks.
    pub fn content(&self) -> String {
        let (head, body) = self.text.split_once("\r\n\r\n").unwrap_or_default();
        if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            return body.to_owned();
        }
        let (mut content, mut rest) = (String::new(), body);
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).unwrap();
            content.push_str(&after[..size]);
            rest = if size == 0 { "" } else { &after[size + 2..] };
        }
        content
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        let target = self.text.split(' ').nth(1).unwrap_or_default();
        target.split('?').next().unwrap_or_default()
    }

    /// Sends bytes; false where the gateway has closed the connection.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Answers with a status and a short body.
    pub fn answer(&mut self, status: u16, body: &str) -> bool {
        self.send(format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }

    /// Ends the connection, with a reset.
    pub fn reset(&mut self) -> bool {
        self.reset = true;
        false
    }

    /// Waits until the gateway closes the connection.
    pub fn wait_for_close(&mut self) -> bool {
        while self.stream.read(&mut [0; 1024]).is_ok_and(|count| count > 0) {}
        false
    }
}

impl Origin {
    /// Calls `serve` for each request; the connection ends where it says false.
    pub fn start(serve: impl Fn(&mut Request<'_>) -> bool + Send + Sync + 'static) -> Origin {
        Origin::on("127.0.0.1:0", serve)
    }

    /// The same on an address of the test's choice.
    pub fn on(address: &str, serve: impl Fn(&mut Request<'_>) -> bool + Send + Sync + 'static) -> Origin {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let (shared, serve) = (counts.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (counts, serve) = (shared.clone(), serve.clone());
                counts.opened.fetch_add(1, SeqCst);
                std::thread::spawn(move || {
                    stream.set_nodelay(true).unwrap();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut nth = 0;
                    while let Some(text) = read(&mut reader) {
                        counts.requests.fetch_add(1, SeqCst);
                        nth += 1;
                        let mut request = Request { nth, text, stream: &mut stream, reset: false };
                        if !serve(&mut request) {
                            if request.reset {
                                // The other handle goes first: the last one says goodbye.
                                drop(reader);
                                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
                                    .unwrap();
                                drop(stream);
                                counts.closed.fetch_add(1, SeqCst);
                                return;
                            }
                            break;
                        }
                    }
                    let _ = stream.shutdown(std::net::Shutdown::Both);
                    counts.closed.fetch_add(1, SeqCst);
                });
            }
        });
        Origin { address, counts }
    }

    /// Connections accepted so far.
    pub fn opened(&self) -> usize {
        self.counts.opened.load(SeqCst)
    }

    /// Connections that have ended.
    pub fn closed(&self) -> usize {
        self.counts.closed.load(SeqCst)
    }

    /// Requests read so far.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let (mut request, mut length, mut chunked) = (Vec::new(), 0, false);
    loop {
        let start = request.len();
        if reader.read_until(b'\n', &mut request).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&request[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        chunked |= line == "transfer-encoding: chunked\r\n";
        if line == "\r\n" {
            break;
        }
    }
    if chunked {
        read_chunks(reader, &mut request)?;
    }
    let start = request.len();
    request.resize(start + length, 0);
    reader.read_exact(&mut request[start..]).ok()?;
    Some(String::from_utf8_lossy(&request).into_owned())
}

/// A chunked body as it came, trailers and all.
fn read_chunks(reader: &mut BufReader<TcpStream>, request: &mut Vec<u8>) -> Option<()> {
    let mut last = false;
    loop {
        let start = request.len();
        if reader.read_until(b'\n', request).ok()? == 0 {
            return None;
        }
        let line = &request[start..];
        if last && line == b"\r\n" {
            return Some(());
        }
        if !last {
            let size = std::str::from_utf8(line).ok()?.trim().split(';').next()?;
            let size = usize::from_str_radix(size, 16).ok()?;
            last = size == 0;
            if !last {
                let start = request.len();
                request.resize(start + size + 2, 0);
                reader.read_exact(&mut request[start..]).ok()?;
            }
        }
    }
}
