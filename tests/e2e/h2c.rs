//! An HTTP/2 client that can stop in the middle, and an origin that sends trailers.

use crate::harness::PATIENCE;
use bytes::Bytes;
use h2::{Reason, SendStream, client, server};
use http::{HeaderMap, Request, Response};
use std::{future::poll_fn, net::SocketAddr};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// A request on an HTTP/2 connection of its own that has not been sent to its end.
pub struct Stream {
    sender: client::SendRequest<Bytes>,
    body: SendStream<Bytes>,
    answer: client::ResponseFuture,
    connection: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Stream {
    /// Begins a POST with this much of its body, or sends a GET without one.
    pub async fn open(address: SocketAddr, path: &str, body: Option<&str>) -> Stream {
        let method = if body.is_some() { "POST" } else { "GET" };
        let request = Request::builder().method(method).uri(format!("http://gateway.test{path}"));
        let mut stream = Stream::send(address, request.body(()).unwrap(), body.is_none()).await;
        if let Some(body) = body {
            stream.piece(body);
        }
        stream
    }

    /// Begins a POST of this length, of which nothing comes.
    pub async fn open_long(address: SocketAddr, path: &str, length: usize) -> Stream {
        let request = Request::post(format!("http://gateway.test{path}"))
            .header("content-length", length)
            .header("expect", "100-continue");
        Stream::send(address, request.body(()).unwrap(), false).await
    }

    /// Sends a head.
    pub async fn send(address: SocketAddr, request: Request<()>, end: bool) -> Stream {
        Stream::over(TcpStream::connect(address).await.unwrap(), request, end).await
    }

    /// The same over what is connected already.
    pub async fn over(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<()>,
        end: bool,
    ) -> Stream {
        let (sender, connection) = client::handshake(io).await.unwrap();
        let connection = tokio::spawn(async move {
            // However it ends, the test sees it in its answer.
            let _ = connection.await;
        });
        let mut sender = sender.ready().await.unwrap();
        let (answer, body) = sender.send_request(request, end).unwrap();
        Stream { sender, body, answer, connection }
    }

    /// Sends more of the body.
    pub fn piece(&mut self, piece: &str) {
        self.body.send_data(Bytes::copy_from_slice(piece.as_bytes()), false).unwrap();
    }

    /// Sends more of a body that the other side may no longer want.
    pub fn try_piece(&mut self, piece: &str) -> bool {
        self.body.send_data(Bytes::copy_from_slice(piece.as_bytes()), false).is_ok()
    }

    /// Ends the body.
    pub fn end(&mut self) {
        self.body.send_data(Bytes::new(), true).unwrap();
    }

    /// Gives the request up; the connection stays.
    pub fn reset(&mut self) {
        self.body.send_reset(Reason::CANCEL);
    }

    /// The status of an interim answer; none where the answer itself comes.
    pub async fn interim(&mut self) -> Option<u16> {
        let interim = poll_fn(|cx| self.answer.poll_informational(cx));
        let interim = timeout(PATIENCE, interim).await.expect("a word")?;
        Some(interim.unwrap().status().as_u16())
    }

    /// The answer: status, body, trailers.
    pub async fn answer(&mut self) -> (u16, Vec<u8>, HeaderMap) {
        let read = async {
            let response = (&mut self.answer).await.unwrap();
            let (status, mut body) = (response.status().as_u16(), response.into_body());
            let mut bytes = Vec::new();
            while let Some(piece) = body.data().await {
                let piece = piece.unwrap();
                body.flow_control().release_capacity(piece.len()).unwrap();
                bytes.extend_from_slice(&piece);
            }
            (status, bytes, body.trailers().await.unwrap().unwrap_or_default())
        };
        timeout(PATIENCE, read).await.expect("an answer")
    }

    /// The status of a whole answer, or why the stream was reset before there was one.
    pub async fn outcome(&mut self) -> Result<u16, Reason> {
        let read = async {
            let response = (&mut self.answer).await?;
            let (status, mut body) = (response.status().as_u16(), response.into_body());
            while let Some(piece) = body.data().await {
                body.flow_control().release_capacity(piece?.len())?;
            }
            Ok(status)
        };
        let outcome: Result<u16, h2::Error> = timeout(PATIENCE, read).await.expect("an outcome");
        outcome.map_err(|error| error.reason().expect("a reset"))
    }

    /// True once the other side has said that it takes no further request on this connection.
    pub async fn is_told_to_go(&mut self) -> bool {
        let told = async {
            loop {
                match poll_fn(|cx| self.sender.poll_ready(cx)).await {
                    Err(error) => return error.is_go_away() || error.is_io(),
                    Ok(()) if self.connection.is_finished() => return true,
                    Ok(()) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                }
            }
        };
        timeout(PATIENCE, told).await.expect("a farewell")
    }

    /// The status of another request on the same connection.
    pub async fn again(&mut self, path: &str) -> u16 {
        let request = Request::get(format!("http://gateway.test{path}")).body(()).unwrap();
        let (answer, _) = self.sender.send_request(request, true).unwrap();
        timeout(PATIENCE, answer).await.expect("an answer").unwrap().status().as_u16()
    }
}

/// An HTTP/2 origin: sends back what it gets, piece by piece, then the trailers of a gRPC call.
pub async fn grpc_origin() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = server::handshake(tcp).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    tokio::spawn(echo(request, answer));
                }
            });
        }
    });
    (address, serving)
}

/// Sends back what comes, then the trailers of a gRPC call.
pub async fn echo(request: Request<h2::RecvStream>, mut answer: server::SendResponse<Bytes>) -> Option<()> {
    let te = request.headers().get("te").cloned();
    let mut body = request.into_body();
    let head = Response::builder().header("content-type", "application/grpc");
    let mut out = answer.send_response(head.body(()).unwrap(), false).ok()?;
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        out.send_data(piece, false).ok()?;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "7".parse().unwrap());
    trailers.insert("grpc-message", "not today".parse().unwrap());
    trailers.insert("x-te", te.unwrap_or("none".parse().unwrap()));
    out.send_trailers(trailers).ok()
}
