//! What the clients do. None of them asks again: what fails has failed.

use crate::{
    http1::Client,
    tally::{Failure, Kind, Tally},
};
use bytes::Bytes;
use std::{
    io::Write,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

/// How many there are of each kind.
const MANY: [(Kind, usize); 7] = [
    (Kind::KeepAlive, 12),
    (Kind::Idle, 40),
    (Kind::New, 6),
    (Kind::SlowPost, 4),
    (Kind::Streamed, 4),
    (Kind::Http2, 2),
    (Kind::WebSocket, 4),
];

/// Clients that do not wait for anything but the gateway: their pace is the load.
pub const FAST: u64 = 12 + 6;

const GET: &[u8] = b"GET /x HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
/// What the gateway answers itself.
const HERE: &[u8] = b"GET /here HTTP/1.1\r\nHost: gateway.test\r\n\r\n";

type Outcome = Result<(), Failure>;

/// Starts all of them; each ends what it began once the tally is stopped.
pub fn start(address: SocketAddr, tally: &Arc<Tally>) -> Vec<JoinHandle<()>> {
    let all = MANY.into_iter().flat_map(|(kind, count)| (0..count).map(move |number| (kind, number)));
    all.map(|(kind, number)| {
        let tally = tally.clone();
        spawn(move || {
            // Not all at the same moment.
            sleep(Duration::from_millis(37 * number as u64));
            while !tally.is_stopped() {
                if let Err(failure) = run(kind, number, address, &tally) {
                    tally.failed(kind, &failure);
                    sleep(Duration::from_millis(20));
                }
            }
        })
    })
    .collect()
}

fn run(kind: Kind, number: usize, address: SocketAddr, tally: &Tally) -> Outcome {
    match kind {
        Kind::KeepAlive => keep_alive(address, tally),
        Kind::Idle => idle(number, address, tally),
        Kind::New => new(address, tally),
        Kind::SlowPost => slow_post(address, tally),
        Kind::Streamed => streamed(address, tally),
        Kind::Http2 => http2(address, tally),
        Kind::WebSocket => websocket(number, address, tally),
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, wanted: T) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    Err(Failure::Other(format!("{what} is {found:?}, not {wanted:?}")))
}

/// Waits for the next turn of a client that has one every so often.
fn pace(turn: &mut Instant, tally: &Tally) {
    *turn += Duration::from_micros(tally.period.load(Ordering::Relaxed));
    match turn.checked_duration_since(Instant::now()) {
        Some(left) => sleep(left),
        // It is late: what was missed is not made up for.
        None => *turn = Instant::now(),
    }
}

fn keep_alive(address: SocketAddr, tally: &Tally) -> Outcome {
    let mut client = Client::connect(address)?;
    let mut turn = Instant::now();
    for (request, status) in [(GET, 200), (HERE, 418)].into_iter().cycle() {
        if tally.is_stopped() {
            break;
        }
        let begun = Instant::now();
        let answer = client.ask(request)?;
        expect("the status", answer.status, status)?;
        tally.done(Kind::KeepAlive, begun);
        if answer.close {
            break;
        }
        pace(&mut turn, tally);
    }
    Ok(())
}

fn idle(number: usize, address: SocketAddr, tally: &Tally) -> Outcome {
    let mut client = Client::connect(address)?;
    while !tally.is_stopped() {
        let begun = Instant::now();
        let answer = client.ask(GET)?;
        expect("the answer", (answer.status, &answer.body[..]), (200, b"0"))?;
        tally.done(Kind::Idle, begun);
        if answer.close {
            break;
        }
        // Up to several upgrades long.
        let until = Instant::now() + Duration::from_millis(500 + 250 * number as u64);
        while Instant::now() < until && !tally.is_stopped() {
            sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}

fn new(address: SocketAddr, tally: &Tally) -> Outcome {
    let mut turn = Instant::now();
    while !tally.is_stopped() {
        let begun = Instant::now();
        let answer = Client::connect(address)?.ask(GET)?;
        expect("the answer", (answer.status, &answer.body[..]), (200, b"0"))?;
        tally.done(Kind::New, begun);
        pace(&mut turn, tally);
    }
    Ok(())
}

fn slow_post(address: SocketAddr, tally: &Tally) -> Outcome {
    let mut client = Client::connect(address)?;
    while !tally.is_stopped() {
        let begun = Instant::now();
        client.tcp.write_all(b"POST /x HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1000\r\n\r\n")?;
        for _ in 0..10 {
            sleep(Duration::from_millis(40));
            client.tcp.write_all(&[b'x'; 100])?;
        }
        let answer = client.answer()?;
        expect("the answer", (answer.status, &answer.body[..]), (200, b"1000"))?;
        tally.done(Kind::SlowPost, begun);
        if answer.close {
            break;
        }
    }
    Ok(())
}

fn streamed(address: SocketAddr, tally: &Tally) -> Outcome {
    let mut client = Client::connect(address)?;
    while !tally.is_stopped() {
        let begun = Instant::now();
        let answer = client.ask(b"GET /stream HTTP/1.1\r\nHost: gateway.test\r\n\r\n")?;
        expect("the answer", (answer.status, answer.body.len()), (200, 100))?;
        tally.done(Kind::Streamed, begun);
        if answer.close {
            break;
        }
    }
    Ok(())
}

/// One connection, until the gateway says that it should be another.
fn http2(address: SocketAddr, tally: &Tally) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let (sender, connection) = h2::client::handshake(tcp).await?;
        let connection = tokio::spawn(connection);
        while !tally.is_stopped() {
            // A farewell is no failure; a stream that was begun and comes to nothing is one.
            let Ok(ready) = sender.clone().ready().await else { break };
            if connection.is_finished() {
                break;
            }
            let streams = (0..4).map(|_| stream(ready.clone(), tally));
            for outcome in futures::future::join_all(streams).await {
                outcome?;
            }
        }
        connection.abort();
        Ok(())
    })
}

async fn stream(mut sender: h2::client::SendRequest<Bytes>, tally: &Tally) -> Outcome {
    let begun = Instant::now();
    let request = http::Request::post("http://gateway.test/x").header("content-length", "5");
    // The farewell came between the look and the request, of which nothing was sent.
    let Ok((answer, mut body)) = sender.send_request(request.body(())?, false) else { return Ok(()) };
    tokio::time::sleep(Duration::from_millis(30)).await;
    // Where it comes to nothing, the answer says why.
    let sent = body.send_data(Bytes::from_static(b"12345"), true);
    let mut answer = match answer.await {
        Ok(answer) => answer,
        // Sent after the farewell, which names the last stream that counts: it may be asked for again (RFC 9113 §6.8), and
        // clients do so by themselves.
        Err(error)
            if error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR) =>
        {
            tally.unprocessed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    sent?;
    let mut text = Vec::new();
    while let Some(piece) = answer.body_mut().data().await {
        text.extend_from_slice(&piece?);
    }
    expect("the answer", (answer.status().as_u16(), &text[..]), (200, b"5"))?;
    tally.done(Kind::Http2, begun);
    Ok(())
}

fn websocket(number: usize, address: SocketAddr, tally: &Tally) -> Outcome {
    let mut client = Client::connect(address)?;
    let answer = client.ask(
        b"GET /ws HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    expect("the status", answer.status, 101)?;
    // From shorter than the time between two upgrades to several times that long.
    for message in 0..20 * (number + 1) {
        let begun = Instant::now();
        let sent = [message as u8; 64];
        client.tcp.write_all(&sent)?;
        expect("the message", &client.take(sent.len())?[..], &sent[..])?;
        tally.done(Kind::WebSocket, begun);
        if tally.is_stopped() {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}
