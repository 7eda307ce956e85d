//! A client and an origin of HTTP/1.1 that cost next to nothing: what is measured is the gateway.

use crate::tally::Failure;
use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection of a client.
pub struct Client {
    pub tcp: TcpStream,
    buffer: Vec<u8>,
    answers: usize,
}

/// An answer.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// The connection ends with it.
    pub close: bool,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Result<Client, Failure> {
        let tcp = TcpStream::connect(address)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { tcp, buffer: Vec::new(), answers: 0 })
    }

    /// A request and its whole answer.
    pub fn ask(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        match self.tcp.write_all(request) {
            // The other side has gone: whether it has said something first is seen below.
            Err(error) if self.answers == 0 => Err(error.into()),
            _ => self.answer(),
        }
    }

    /// The next answer.
    pub fn answer(&mut self) -> Result<Answer, Failure> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.more()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or(Failure::Other(format!("no status in {head:?}")))?;
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body = match field("content-length:").and_then(|length| length.parse().ok()) {
            Some(length) => self.take(length)?,
            None if field("transfer-encoding:").is_some() => self.chunks()?,
            None => Vec::new(),
        };
        self.answers += 1;
        Ok(Answer { status, body, close: field("connection:") == Some("close") })
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = find(&self.buffer, b"\r\n") {
                    break end;
                }
                self.more()?;
            };
            let line = self.take(end + 2)?;
            let size =
                std::str::from_utf8(&line[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            let size = size.ok_or(Failure::Other("a bad chunk".to_owned()))?;
            body.extend_from_slice(&self.take(size + 2)?[..size]);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, Failure> {
        while self.buffer.len() < count {
            self.more()?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn more(&mut self) -> Result<(), Failure> {
        let mut piece = [0; 16 * 1024];
        let reused = self.answers > 0 && self.buffer.is_empty();
        match self.tcp.read(&mut piece) {
            Ok(0) if reused => Err(Failure::ClosedUnder),
            Ok(0) => Err(Failure::Other("the connection ended in an answer".to_owned())),
            Ok(count) => {
                self.buffer.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(error) if reused && error.kind() != ErrorKind::WouldBlock => Err(Failure::ClosedUnder),
            Err(error) => Err(error.into()),
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// An origin: `/stream` answers in pieces, `/ws` makes a tunnel that echoes, everything else says how long the body was.
pub fn origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || serve(tcp));
        }
    });
    address
}

fn serve(mut tcp: TcpStream) -> Option<()> {
    tcp.set_nodelay(true).ok()?;
    let (mut buffer, mut piece) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        let end = loop {
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                break end + 4;
            }
            more(&mut tcp, &mut buffer, &mut piece)?;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        buffer.drain(..end);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
        while buffer.len() < length {
            more(&mut tcp, &mut buffer, &mut piece)?;
        }
        buffer.drain(..length);
        let path = head.split(' ').nth(1)?;
        if path.starts_with("/ws") {
            return echo(tcp, &mut piece);
        } else if path.starts_with("/stream") {
            tcp.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").ok()?;
            for _ in 0..10 {
                std::thread::sleep(Duration::from_millis(40));
                tcp.write_all(b"a\r\n0123456789\r\n").ok()?;
            }
            tcp.write_all(b"0\r\n\r\n").ok()?;
        } else {
            let body = length.to_string();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            tcp.write_all(answer.as_bytes()).ok()?;
        }
    }
}

fn more(tcp: &mut TcpStream, buffer: &mut Vec<u8>, piece: &mut [u8]) -> Option<()> {
    match tcp.read(piece) {
        Ok(count) if count > 0 => {
            buffer.extend_from_slice(&piece[..count]);
            Some(())
        }
        _ => None,
    }
}

fn echo(mut tcp: TcpStream, piece: &mut [u8]) -> Option<()> {
    tcp.write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .ok()?;
    loop {
        match tcp.read(piece) {
            Ok(count) if count > 0 => tcp.write_all(&piece[..count]).ok()?,
            _ => return None,
        }
    }
}
