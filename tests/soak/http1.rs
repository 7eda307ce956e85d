//! A small HTTP/1.1 client that shows what it does to a connection.

use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(30);

/// A response.
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
    /// The connection ends with it.
    pub close: bool,
}

/// A connection.
pub struct Client {
    pub tcp: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> io::Result<Client> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        Ok(Client { tcp, buffer: Vec::new() })
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tcp.write_all(bytes).await
    }

    /// The next response, or why there is none.
    pub async fn response(&mut self) -> io::Result<Response> {
        match timeout(PATIENCE, self.read()).await {
            Ok(response) => response,
            Err(_) => Err(io::Error::other("no response in time")),
        }
    }

    async fn read(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or(bad("status"))?;
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let body = match (field("content-length:"), field("transfer-encoding:")) {
            (Some(length), _) => self.take(length.parse().map_err(|_| bad("length"))?).await?,
            (None, Some(_)) => self.chunks().await?,
            (None, None) => Vec::new(),
        };
        Ok(Response { status, body, close: field("connection:") == Some("close") })
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                    break end;
                }
                self.more().await?;
            };
            let line = self.take(end + 2).await?;
            let size =
                std::str::from_utf8(&line[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
            let size = size.ok_or(bad("chunk"))?;
            body.extend(self.take(size + 2).await?[..size].iter());
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            self.more().await?;
        }
        Ok(self.buffer.drain(..count).collect())
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.tcp.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::other(format!("a response with a bad {what}"))
}
