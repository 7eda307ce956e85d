//! Connections from many addresses of this machine.

use crate::gateway::Gateway;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How many addresses connections come from, where there are as many.
const ADDRESSES: usize = 100;
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The preface, and empty settings.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
pub const GET: &[u8] = b"GET /ready HTTP/1.1\r\nHost: gateway.test\r\n\r\n";

pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
pub type Connection = Box<dyn Io>;

/// How many addresses so many connections come from.
pub fn addresses(connections: usize) -> usize {
    connections.min(ADDRESSES)
}

/// The connection with this number: its address follows from it.
pub async fn connect(number: usize, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    let address = [127, 0, 1 + (number % ADDRESSES) as u8, 1];
    socket.bind((address, 0).into())?;
    let stream = timeout(PATIENCE, socket.connect(to)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How TLS is made to a gateway, for HTTP/2 or for HTTP/1.1.
pub fn connector(gateway: &Gateway, http2: bool) -> TlsConnector {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(gateway.certificate.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![if http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    TlsConnector::from(Arc::new(config))
}

pub async fn tls(connector: &TlsConnector, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("gateway.test").map_err(io::Error::other)?;
    timeout(PATIENCE, connector.connect(name, tcp)).await?
}

/// A request, and whether it was answered 200.
pub async fn served(connection: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<bool> {
    connection.write_all(GET).await?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.windows(4).any(|four| four == b"\r\n\r\n") {
        let count = connection.read(&mut piece).await?;
        if count == 0 {
            return Ok(false);
        }
        answer.extend_from_slice(&piece[..count]);
    }
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

/// A frame of HTTP/2.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The fields of a request for a path, and so many more of one byte each.
pub fn block(path: &str, more: usize) -> Vec<u8> {
    let path = [&[0x04, path.len() as u8], path.as_bytes()].concat();
    [&[0x82, 0x86][..], &path, &[0x01, 1], b"a", &[0x90].repeat(more)].concat()
}

/// Opens many at once, some at a time, by what makes one; those that could be.
pub async fn open<F, R, T>(count: usize, make: F) -> Vec<T>
where
    F: Fn(usize) -> R,
    R: Future<Output = io::Result<T>>,
{
    use futures::StreamExt;
    let made = futures::stream::iter(0..count).map(make).buffer_unordered(64);
    made.filter_map(async |one| one.ok()).collect().await
}
