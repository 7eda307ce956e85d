//! What the clients do. Each does one thing over and over, and looks at every answer.

use crate::http1::Client;
use bytes::Bytes;
use futures::{SinkExt, StreamExt, stream};
use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch, time::sleep};
use tokio_tungstenite::tungstenite::Message;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    KeepAlive,
    New,
    Chunked,
    Length,
    Http2,
    Tls,
    WebSocket,
    Slow,
    Aborted,
    Refused,
}

pub const KINDS: [Kind; 10] = [
    Kind::KeepAlive,
    Kind::New,
    Kind::Chunked,
    Kind::Length,
    Kind::Http2,
    Kind::Tls,
    Kind::WebSocket,
    Kind::Slow,
    Kind::Aborted,
    Kind::Refused,
];

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What all clients share.
pub struct World {
    plain: SocketAddr,
    secure: SocketAddr,
    certificate: reqwest::Certificate,
    pub done: [AtomicU64; KINDS.len()],
    pub failed: AtomicU64,
}

impl World {
    pub fn new(plain: SocketAddr, secure: SocketAddr, certificate: &str) -> World {
        let certificate = reqwest::Certificate::from_pem(certificate.as_bytes()).expect("a certificate");
        let (done, failed) = (Default::default(), AtomicU64::new(0));
        World { plain, secure, certificate, done, failed }
    }

    /// A kind of client that has done nothing.
    pub fn idle_kind(&self) -> Option<Kind> {
        let idle = |done: &AtomicU64| done.load(Ordering::Relaxed) == 0;
        KINDS.iter().zip(&self.done).find(|(_, done)| idle(done)).map(|(kind, _)| *kind)
    }

    fn count(&self, kind: Kind) {
        self.done[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Does what its kind does until it is told to stop; each round ends what it began.
pub async fn run(kind: Kind, number: usize, world: std::sync::Arc<World>, stopped: watch::Receiver<bool>) {
    let mut round = number;
    while !*stopped.borrow() {
        round += 1;
        let outcome = match kind {
            Kind::KeepAlive => keep_alive(&world, &stopped).await,
            Kind::New => one(&world, round).await,
            Kind::Chunked => body(&world, round, true).await,
            Kind::Length => body(&world, round, false).await,
            Kind::Http2 => http2(&world, &stopped).await,
            Kind::Tls => tls(&world, round).await,
            Kind::WebSocket => websocket(&world, round).await,
            Kind::Slow => slow(&world, round).await,
            Kind::Aborted => aborted(&world, round).await,
            Kind::Refused => refused(&world, round).await,
        };
        if let Err(error) = outcome {
            let before = world.failed.fetch_add(1, Ordering::Relaxed);
            if before < 10 {
                println!("{kind:?}: {error}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what} is {found:?}, not {wanted:?}").into()) }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at * 7 % 251) as u8).collect()
}

/// The answer of the demo API's `/echo` says how long the body was.
fn expect_length(answer: &[u8], wanted: usize) -> Outcome {
    let document: serde_json::Value = serde_json::from_slice(answer)?;
    expect("the length of the body", document["body"]["length"].as_u64(), Some(wanted as u64))
}

async fn keep_alive(world: &World, stopped: &watch::Receiver<bool>) -> Outcome {
    let mut client = Client::connect(world.plain).await?;
    for number in 0..500 {
        if *stopped.borrow() {
            break;
        }
        let key = if number % 5 == 0 { "apikey: soak-key\r\n" } else { "" };
        let path = if number % 5 == 0 { "/admin/x" } else { "/echo/x" };
        client.send(format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n{key}\r\n").as_bytes()).await?;
        let answer = client.response().await?;
        expect("the status", answer.status, if number % 5 == 0 { 404 } else { 200 })?;
        world.count(Kind::KeepAlive);
        if answer.close {
            break;
        }
    }
    Ok(())
}

async fn one(world: &World, round: usize) -> Outcome {
    let mut client = Client::connect(world.plain).await?;
    let size = round % 7 * 3000;
    client.send(format!("GET /bytes/{size} HTTP/1.1\r\nHost: gateway.test\r\n\r\n").as_bytes()).await?;
    let answer = client.response().await?;
    expect("the status", (answer.status, answer.body.len()), (200, size))?;
    world.count(Kind::New);
    Ok(())
}

async fn body(world: &World, round: usize, chunked: bool) -> Outcome {
    let mut client = Client::connect(world.plain).await?;
    for number in 0..20 {
        let size = (round * 37 + number * 997) % 60_000;
        let content = pattern(size);
        let framing =
            if chunked { "Transfer-Encoding: chunked".to_owned() } else { format!("Content-Length: {size}") };
        client
            .send(format!("POST /echo/x HTTP/1.1\r\nHost: gateway.test\r\n{framing}\r\n\r\n").as_bytes())
            .await?;
        if chunked {
            for piece in content.chunks(1 + (number + 1) * 700) {
                client.send(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
                client.send(piece).await?;
                client.send(b"\r\n").await?;
            }
            client.send(b"0\r\n\r\n").await?;
        } else {
            client.send(&content).await?;
        }
        let answer = client.response().await?;
        expect("the status", answer.status, 200)?;
        expect_length(&answer.body, size)?;
        world.count(if chunked { Kind::Chunked } else { Kind::Length });
        if answer.close {
            break;
        }
    }
    Ok(())
}

async fn http2(world: &World, stopped: &watch::Receiver<bool>) -> Outcome {
    let client = reqwest::Client::builder().no_proxy().http2_prior_knowledge().build()?;
    for round in 0..50 {
        if *stopped.borrow() {
            break;
        }
        let requests = (0..8).map(|number| {
            let url = format!("http://{}/echo/{number}", world.plain);
            let client = &client;
            async move {
                let size = (round * 8 + number) * 131 % 20_000;
                let answer = client.post(url).body(pattern(size)).send().await?;
                expect(
                    "the status",
                    (answer.status().as_u16(), answer.version()),
                    (200, reqwest::Version::HTTP_2),
                )?;
                expect_length(&answer.bytes().await?, size)?;
                world.count(Kind::Http2);
                Outcome::Ok(())
            }
        });
        for outcome in stream::iter(requests).buffer_unordered(8).collect::<Vec<_>>().await {
            outcome?;
        }
    }
    Ok(())
}

async fn tls(world: &World, round: usize) -> Outcome {
    let builder = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([world.certificate.clone()])
        .resolve("gateway.test", world.secure);
    let client = if round.is_multiple_of(2) { builder.http1_only() } else { builder }.build()?;
    for number in 0..20 {
        let url = format!("https://gateway.test:{}/bytes/{}", world.secure.port(), number * 1000);
        let answer = client.get(url).send().await?;
        expect("the status", answer.status().as_u16(), 200)?;
        expect("the length", answer.bytes().await?.len(), number * 1000)?;
        world.count(Kind::Tls);
    }
    Ok(())
}

async fn websocket(world: &World, round: usize) -> Outcome {
    let tcp = TcpStream::connect(world.plain).await?;
    let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{}/ws", world.plain), tcp).await?;
    for number in 0..20 {
        let message = Message::binary(Bytes::from(pattern((round + number * 613) % 9000)));
        socket.send(message.clone()).await?;
        let answer = socket.next().await.ok_or("the socket ended")??;
        if answer != message {
            return Err("another message came back".into());
        }
        world.count(Kind::WebSocket);
    }
    socket.close(None).await?;
    while let Some(message) = socket.next().await {
        message?;
    }
    Ok(())
}

/// Sends a head in pieces, and reads the answer in pieces.
async fn slow(world: &World, round: usize) -> Outcome {
    let mut client = Client::connect(world.plain).await?;
    let size = 100_000;
    let head = format!("GET /bytes/{size} HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n\r\n");
    for piece in head.as_bytes().chunks(7 + round % 5) {
        client.send(piece).await?;
        sleep(Duration::from_millis(10)).await;
    }
    let (mut read, mut buffer) = (0, vec![0; 8192]);
    loop {
        let count = client.tcp.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        read += count;
        sleep(Duration::from_millis(5)).await;
    }
    if read < size {
        return Err(format!("only {read} bytes came").into());
    }
    world.count(Kind::Slow);
    Ok(())
}

/// Leaves in the middle: of a head, of a body, of an answer. What it does not wait for cannot fail.
async fn aborted(world: &World, round: usize) -> Outcome {
    let mut client = Client::connect(world.plain).await?;
    let reset = round.is_multiple_of(2);
    let sent: io::Result<()> = match round % 4 {
        0 => client.send(b"GET /echo/x HTTP/1.1\r\nHost: gate").await,
        1 => client.send(b"POST /echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\nsome").await,
        2 => {
            client
                .send(b"POST /echo/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel")
                .await
        }
        _ => client.send(b"GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n").await,
    };
    sent?;
    if round % 4 == 3 {
        let mut some = [0; 1000];
        client.tcp.read_exact(&mut some).await?;
    } else {
        sleep(Duration::from_millis(round as u64 % 20)).await;
    }
    if reset {
        rustix::net::sockopt::set_socket_linger(&client.tcp, Some(Duration::ZERO))?;
    }
    world.count(Kind::Aborted);
    Ok(())
}

async fn refused(world: &World, round: usize) -> Outcome {
    let (request, status) = [
        ("GET /admin/x HTTP/1.1\r\nHost: a\r\n\r\n", 401),
        ("GET /admin/x HTTP/1.1\r\nHost: a\r\napikey: wrong\r\n\r\n", 401),
        ("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("DELETE /bytes/1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        ("GET /Admin/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("GET /echo/%2e%2e%2fx HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        ("POST /echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("POST /echo/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413),
        ("GET /echo/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ][round % 9];
    let mut client = Client::connect(world.plain).await?;
    client.send(request.as_bytes()).await?;
    expect(request, client.response().await?.status, status)?;
    world.count(Kind::Refused);
    Ok(())
}
