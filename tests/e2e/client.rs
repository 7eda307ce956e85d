//! A client that sends exactly the bytes it is told to, and an origin that keeps exactly those it got.

use crate::harness::PATIENCE;
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

/// A response, its body without the framing.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The only value of a header; none where it is missing. `name` is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "more than one `{name}`: {self:?}");
        value
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The reason in a problem document, which this must be.
    pub fn reason(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        problem["reason"].as_str().unwrap().to_owned()
    }

    /// Asserts a status, and shows the response where it is another.
    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        self
    }

    /// A header that the demo API's `/echo` says it received.
    pub fn echoed(&self, name: &str) -> Option<String> {
        let document = self.json();
        let mut fields = document["headers"].as_array().unwrap().iter().filter(|field| field[0] == name);
        let value = fields.next().map(|field| field[1].as_str().unwrap().to_owned());
        assert!(fields.next().is_none(), "more than one `{name}`: {document}");
        value
    }
}

/// Anything that bytes can be read from and written to.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    tcp: TcpStream,
}

impl Client {
    /// Plain text.
    pub fn connect(address: SocketAddr) -> Client {
        let tcp = connect(address);
        Client::over(tcp.try_clone().unwrap(), tcp)
    }

    /// Plain text, from an address of this machine.
    pub fn connect_from(source: &str, address: SocketAddr) -> Client {
        let domain = socket2::Domain::for_address(address);
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source.parse().unwrap(), 0).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let tcp: TcpStream = socket.into();
        patient(&tcp);
        Client::over(tcp.try_clone().unwrap(), tcp)
    }

    /// Over something that is laid over `tcp`.
    pub fn over(stream: impl Stream + 'static, tcp: TcpStream) -> Client {
        Client { stream: BufReader::new(Box::new(stream)), tcp }
    }

    /// Sends bytes as they are. Where the other side has closed meanwhile, what it has said can still be read.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        let stream = self.stream.get_mut();
        if let Err(error) = stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()) {
            let closed = matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
            assert!(closed, "{error}");
        }
        self
    }

    /// Sends bytes that the other side may no longer want to read.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()).is_ok()
    }

    /// A request without a body, for the host `gateway.test` unless `headers` name another.
    pub fn request(&mut self, method: &str, target: &str, headers: &[&str]) -> Response {
        self.send(head(method, target, headers));
        self.response_to(method)
    }

    /// The next response, interim ones included.
    pub fn response(&mut self) -> Response {
        self.response_to("GET")
    }

    /// The next response to a request of this method.
    pub fn response_to(&mut self, method: &str) -> Response {
        let status = self.line();
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut response =
            Response { status: status.expect("a status line"), headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line();
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap();
            response.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if method != "HEAD" && response.status >= 200 && !matches!(response.status, 204 | 304) {
            response.body = self.body(&response);
        }
        response
    }

    /// Reads on until `text` has come.
    pub fn wait_for(&mut self, text: &str) {
        let mut seen = Vec::new();
        while !seen.ends_with(text.as_bytes()) {
            let mut byte = [0];
            let count = self.stream.read(&mut byte).unwrap();
            assert!(count > 0, "the connection ended before {text:?}: {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&byte);
        }
    }

    /// All that comes until the other side closes, or breaks off.
    pub fn rest(&mut self) -> String {
        let mut seen = Vec::new();
        // What came before a reset stays.
        let _ = self.stream.read_to_end(&mut seen);
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// True where the other side closes now, without another byte.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        loop {
            match self.stream.read(&mut byte) {
                Ok(read) => return read == 0,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }

    /// Waits for the next byte: true where none comes any more. The byte can still be read.
    pub fn is_ended(&mut self) -> bool {
        self.stream.fill_buf().map_or(true, <[u8]>::is_empty)
    }

    /// Closes the sending side; what comes can still be read.
    pub fn half_close(&mut self) -> &mut Client {
        self.tcp.shutdown(Shutdown::Write).unwrap();
        self
    }

    /// Leaves at once, and says so with a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.tcp, Some(Duration::ZERO)).unwrap();
    }

    /// Leaves at once.
    pub fn abort(self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    fn body(&mut self, response: &Response) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(length) = response.header("content-length") {
            body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut body).unwrap();
        } else if response.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line(), 16).unwrap();
                let start = body.len();
                body.resize(start + size, 0);
                self.stream.read_exact(&mut body[start..]).unwrap();
                assert_eq!(self.line(), "");
                if size == 0 {
                    break;
                }
            }
        } else {
            self.stream.read_to_end(&mut body).unwrap();
        }
        body
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "the connection ended in the middle of a head: {line:?}");
        line.trim_end_matches(['\r', '\n']).to_owned()
    }
}

/// The head of a request, for the host `gateway.test` unless `headers` name another.
pub fn head(method: &str, target: &str, headers: &[&str]) -> String {
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !headers.iter().any(|line| line.to_ascii_lowercase().starts_with("host:")) {
        head.push_str("Host: gateway.test\r\n");
    }
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head + "\r\n"
}

fn connect(address: SocketAddr) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap();
    patient(&tcp);
    tcp
}

fn patient(tcp: &TcpStream) {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.set_write_timeout(Some(PATIENCE)).unwrap();
    tcp.set_nodelay(true).unwrap();
}

/// An origin that sends the same answer to every request and keeps what it received, byte by byte.
pub struct Origin {
    pub address: SocketAddr,
    received: Receiver<Vec<u8>>,
}

impl Origin {
    /// Answers with `response`, whatever is asked. A request ends with its head or its declared length.
    pub fn start(response: impl AsRef<[u8]> + Send + Sync + 'static) -> Origin {
        Origin::start_over(response, |tcp| Some(Box::new(tcp)))
    }

    /// The same over something that is laid over TCP; none where that fails.
    pub fn start_over(
        response: impl AsRef<[u8]> + Send + Sync + 'static,
        layer: impl Fn(TcpStream) -> Option<Box<dyn Stream>> + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = channel();
        let (layer, response) = (std::sync::Arc::new(layer), std::sync::Arc::new(response));
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (sender, layer, response) = (sender.clone(), layer.clone(), response.clone());
                std::thread::spawn(move || {
                    patient(&tcp);
                    let Some(stream) = layer(tcp) else { return };
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = read_request(&mut stream) {
                        let gone = sender.send(request).is_err();
                        if gone || stream.get_mut().write_all((*response).as_ref()).is_err() {
                            return;
                        }
                        let _ = stream.get_mut().flush();
                    }
                });
            }
        });
        Origin { address, received }
    }

    /// The next request.
    pub fn received(&self) -> String {
        let bytes = self.received.recv_timeout(PATIENCE).expect("a request at the origin");
        String::from_utf8(bytes).unwrap()
    }

    /// True where no request came that was not asked for yet. Ask after the client has its answer.
    pub fn is_untouched(&self) -> bool {
        self.received.recv_timeout(Duration::ZERO).is_err()
    }
}

fn read_request(stream: &mut BufReader<Box<dyn Stream>>) -> Option<Vec<u8>> {
    let (mut request, mut length) = (Vec::new(), 0);
    loop {
        let start = request.len();
        if stream.read_until(b'\n', &mut request).ok()? == 0 {
            return None;
        }
        let line = String::from_utf8_lossy(&request[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let start = request.len();
    request.resize(start + length, 0);
    stream.read_exact(&mut request[start..]).ok()?;
    Some(request)
}
