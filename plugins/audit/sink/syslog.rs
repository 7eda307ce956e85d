//! Syslog (RFC 5424): a datagram for each line over a Unix socket (RFC 5424 has no transport of its own there) or
//! UDP (RFC 5426), or a stream with octet counting over TCP (RFC 6587 §3.4.1).

use super::Out;
use std::{
    fmt,
    io::{self, Write},
    net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    time::{Duration, SystemTime},
};

/// How long a collector may take to accept a connection, or bytes.
const PATIENCE: Duration = Duration::from_secs(3);
/// `informational` (RFC 5424 §6.2.1).
const SEVERITY: u8 = 6;

/// A collector, and what messages say of their sender.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) struct Target {
    pub(in super::super) to: To,
    pub(in super::super) facility: u8,
    pub(in super::super) app_name: String,
    pub(in super::super) hostname: String,
}

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in super::super) enum To {
    Unix(PathBuf),
    Udp(String),
    Tcp(String),
}

impl To {
    /// `unix:/dev/log`, `udp:HOST:PORT`, `tcp:HOST:PORT`.
    pub(in super::super) fn parse(text: &str) -> Option<To> {
        let (scheme, rest) = text.split_once(':')?;
        let rest = rest.strip_prefix("//").filter(|_| scheme != "unix").unwrap_or(rest);
        let host_port = || {
            let (host, port) = rest.rsplit_once(':')?;
            let port: u16 = port.parse().ok()?;
            (!host.is_empty() && port != 0).then(|| rest.to_owned())
        };
        match scheme {
            "unix" if rest.starts_with('/') => Some(To::Unix(PathBuf::from(rest))),
            "udp" => host_port().map(To::Udp),
            "tcp" => host_port().map(To::Tcp),
            _ => None,
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            To::Unix(path) => write!(f, "unix:{}", path.display()),
            To::Udp(address) => write!(f, "udp:{address}"),
            To::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

/// A connected collector.
pub(super) struct SyslogOut {
    to: To,
    socket: Option<Socket>,
    /// What stands before the time of each message.
    before: String,
    /// What stands between the time and the line.
    after: String,
    message: Vec<u8>,
    /// What TCP has not taken yet of the message that is being sent.
    unsent: usize,
}

impl SyslogOut {
    pub(super) fn open(target: &Target) -> io::Result<Self> {
        let before = format!("<{}>1 ", target.facility * 8 + SEVERITY);
        let after = format!(" {} {} {} access - ", target.hostname, target.app_name, std::process::id());
        let (message, unsent) = (Vec::new(), 0);
        let mut out = SyslogOut { to: target.to.clone(), socket: None, before, after, message, unsent };
        out.connect()?;
        Ok(out)
    }

    fn connect(&mut self) -> io::Result<&mut Socket> {
        let socket = match &self.to {
            To::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Socket::Unix(socket)
            }
            To::Udp(address) => {
                let to = resolve(address)?;
                let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                Socket::Udp(socket)
            }
            To::Tcp(address) => {
                let socket = TcpStream::connect_timeout(&resolve(address)?, PATIENCE)?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Socket::Tcp(socket)
            }
        };
        // What a broken connection has got of a message is no message: it is sent whole again.
        self.unsent = self.message.len();
        Ok(self.socket.insert(socket))
    }

    /// The line as a message.
    fn frame(&mut self, line: &[u8]) {
        let mut time = Vec::new();
        super::super::text::time(&mut time, SystemTime::now());
        let length = self.before.len() + time.len() + self.after.len() + line.len();
        self.message.clear();
        if matches!(self.to, To::Tcp(_)) {
            super::super::text::number(&mut self.message, length);
            self.message.push(b' ');
        }
        for part in [self.before.as_bytes(), &time, self.after.as_bytes(), line] {
            self.message.extend_from_slice(part);
        }
        self.unsent = self.message.len();
    }

    fn send(&mut self) -> io::Result<()> {
        if self.socket.is_none() {
            self.connect()?;
        }
        let Some(socket) = &mut self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        match socket {
            Socket::Unix(socket) => socket.send(&self.message).map(drop)?,
            Socket::Udp(socket) => socket.send(&self.message).map(drop)?,
            Socket::Tcp(socket) => {
                while self.unsent > 0 {
                    let from = self.message.len() - self.unsent;
                    self.unsent -= socket.write(self.message.get(from..).unwrap_or_default())?;
                }
            }
        }
        self.message.clear();
        self.unsent = 0;
        Ok(())
    }
}

impl Out for SyslogOut {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let line = lines.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if self.message.is_empty() {
            self.frame(line);
        }
        // A collector that was started again is found at the second attempt.
        if self.send().is_err() {
            self.socket = None;
            self.send().inspect_err(|_| self.socket = None)?;
        }
        Ok((line.len() + 1).min(lines.len()))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.connect().map(drop)
    }
}

fn resolve(address: &str) -> io::Result<SocketAddr> {
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("`{address}` has no address"));
    address.to_socket_addrs()?.next().ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, net::TcpListener};

    const PATIENT: Option<Duration> = Some(Duration::from_secs(30));

    fn target(to: To) -> Target {
        Target { to, facility: 16, app_name: "palisade".to_owned(), hostname: "gw1".to_owned() }
    }

    /// The line of a message, whose head is checked.
    fn line(message: &str) -> &str {
        let parts: Vec<&str> = message.splitn(8, ' ').collect();
        let [version, time, host, app, pid, id, data, line] = parts[..] else { panic!("{message}") };
        assert_eq!((version, host, app, id, data), ("<134>1", "gw1", "palisade", "access", "-"));
        assert_eq!(pid, std::process::id().to_string());
        assert!(time.parse::<jiff::Timestamp>().is_ok());
        line
    }

    fn all(out: &mut SyslogOut, mut lines: &[u8]) {
        while !lines.is_empty() {
            lines = &lines[out.write(lines).unwrap()..];
        }
    }

    #[test]
    fn a_datagram_for_each_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let unix = UnixDatagram::bind(&path).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap().to_string();
        unix.set_read_timeout(PATIENT).unwrap();
        udp.set_read_timeout(PATIENT).unwrap();
        for to in [To::Unix(path.clone()), To::Udp(address)] {
            let mut out = SyslogOut::open(&target(to.clone())).unwrap();
            all(&mut out, b"{\"a\":1}\n{\"b\":2}\n");
            for expected in ["{\"a\":1}", "{\"b\":2}"] {
                let mut buffer = [0; 1000];
                let count = match &to {
                    To::Unix(_) => unix.recv(&mut buffer).unwrap(),
                    _ => udp.recv(&mut buffer).unwrap(),
                };
                assert_eq!(line(std::str::from_utf8(&buffer[..count]).unwrap()), expected);
            }
        }
        // The daemon is started again.
        let mut out = SyslogOut::open(&target(To::Unix(path.clone()))).unwrap();
        drop(unix);
        std::fs::remove_file(&path).unwrap();
        assert!(out.write(b"x\n").is_err());
        let unix = UnixDatagram::bind(&path).unwrap();
        unix.set_read_timeout(PATIENT).unwrap();
        all(&mut out, b"x\n");
        let mut buffer = [0; 1000];
        let count = unix.recv(&mut buffer).unwrap();
        assert_eq!(line(std::str::from_utf8(&buffer[..count]).unwrap()), "x");
    }

    #[test]
    fn tcp_counts_octets_and_sends_a_message_whole_again_on_another_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut out = SyslogOut::open(&target(To::Tcp(address))).unwrap();
        let (first, _) = listener.accept().unwrap();
        all(&mut out, b"{\"a\":1}\n");
        let mut text = [0; 1000];
        first.set_read_timeout(PATIENT).unwrap();
        let count = (&first).read(&mut text).unwrap();
        let (length, message) = std::str::from_utf8(&text[..count]).unwrap().split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        assert_eq!(line(message), "{\"a\":1}");
        // The connection breaks when it has taken a part of the next message.
        out.frame(b"{\"b\":2}");
        out.unsent -= 10;
        if let Some(Socket::Tcp(broken)) = &out.socket {
            broken.shutdown(std::net::Shutdown::Both).unwrap();
        }
        all(&mut out, b"{\"b\":2}\n");
        let (mut second, _) = listener.accept().unwrap();
        second.set_read_timeout(PATIENT).unwrap();
        drop(out);
        let mut text = String::new();
        second.read_to_string(&mut text).unwrap();
        let (length, message) = text.split_once(' ').unwrap();
        assert_eq!(length.parse::<usize>().unwrap(), message.len());
        assert_eq!(line(message), "{\"b\":2}");
    }

    #[test]
    fn targets() {
        for (text, expected) in [
            ("unix:/dev/log", Some("unix:/dev/log")),
            ("udp:127.0.0.1:514", Some("udp:127.0.0.1:514")),
            ("tcp://[::1]:601", Some("tcp:[::1]:601")),
            ("tcp:logs.internal:601", Some("tcp:logs.internal:601")),
            ("unix:dev/log", None),
            ("udp:127.0.0.1", None),
            ("udp::514", None),
            ("tcp:host:0", None),
            ("tls:host:1", None),
            ("/dev/log", None),
            ("", None),
        ] {
            assert_eq!(To::parse(text).map(|to| to.to_string()).as_deref(), expected, "{text}");
        }
    }
}
