//! HTTP/2 heads that are cheap to send and dear to hold: memory for each byte that was sent.

use crate::{
    CONF, Report,
    gateway::Gateway,
    net::{self, PREFACE, block, frame},
    settled,
};
use std::{io, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

const CONNECTIONS: usize = 50;
const END_HEADERS: u8 = 4;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;

/// An origin that reads and never answers: its own memory is not the gateway's.
async fn silent() -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepting = tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut unread = [0; 1024];
                while matches!(tcp.read(&mut unread).await, Ok(1..)) {}
            });
        }
    });
    (port, accepting)
}

/// One head in frames, for a stream.
type Head = fn(u32) -> Vec<u8>;

fn indexed(stream: u32, count: usize) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block("/bomb/x", count))
}

/// A field that is written out once and is an index of one byte from then on.
fn repeated(stream: u32, name: &str, value: usize, count: usize) -> Vec<u8> {
    let mut head = block("/bomb/x", 0);
    if stream == 1 {
        head.extend([0x40, name.len() as u8]);
        head.extend(name.as_bytes());
        match value {
            ..127 => head.push(value as u8),
            // In less than three bytes.
            _ => head.extend([0x7f, (value - 127) as u8 & 0x7f | 0x80, ((value - 127) >> 7) as u8]),
        }
        head.extend(vec![b'a'; value]);
    }
    head.extend(vec![0xbe; count]);
    frame(HEADERS, END_HEADERS, stream, &head)
}

fn continued(stream: u32) -> Vec<u8> {
    let first = frame(HEADERS, 0, stream, &block("/bomb/x", 0));
    let more = frame(CONTINUATION, 0, stream, &[0x90; 100]).repeat(39);
    [first, more, frame(CONTINUATION, END_HEADERS, stream, &[0x90; 100])].concat()
}

pub async fn run(binary: &Path, report: &mut Report) {
    let (port, accepting) = silent().await;
    let bomb = format!(
        "  bomb: {{paths: [/bomb/*], upstream: silent}}\nupstreams:\n  silent: {{targets: [{{address: '127.0.0.1:{port}'}}]}}\n"
    );
    let conf: &'static str = format!("{CONF}{bomb}").leak();
    let over: [(&str, u32, Head); 7] = [
        ("indexed fields, 4000 in a head", 100, |stream| indexed(stream, 4000)),
        ("CONTINUATION, 4000 fields in a head", 100, continued),
        ("cookie crumbs, 4000 in a head", 100, |stream| repeated(stream, "cookie", 3, 4000)),
        ("indexed fields, within the limits", 100, |stream| indexed(stream, 90)),
        ("cookie crumbs, within the limits", 100, |stream| repeated(stream, "cookie", 3, 90)),
        ("values of 300 bytes, within the limits", 100, |stream| repeated(stream, "x-bomb", 300, 90)),
        ("values of 3900 bytes, within the limits", 1000, |stream| repeated(stream, "x-bomb", 3900, 4)),
    ];
    for (name, streams, head) in over {
        let (each, sent) = measure(binary, conf, name, streams, head).await;
        println!("  memory of each connection {each:.0} KiB");
        report.most("memory for each byte", each / sent, 8.0, "");
    }
    // A stream takes what it takes, however few bytes it was begun with.
    let (each, _) =
        measure(binary, conf, "none, requests whose bodies never come", 100, |stream| indexed(stream, 0))
            .await;
    report.memory("memory of each connection", each, 256.0, "KiB");
    accepting.abort();
}

/// Sends so many heads on each connection: what each takes, and how much was sent on it, in KiB.
async fn measure(binary: &Path, conf: &'static str, name: &str, streams: u32, head: Head) -> (f64, f64) {
    let gateway = Gateway::with(binary, conf, None);
    let wire: Vec<u8> = (0..streams).flat_map(|number| head(2 * number + 1)).collect();
    // What the first requests need besides is there once.
    drop(net::open(1, async |number: usize| send(&gateway, number, &indexed(1, 0)).await).await);
    let before = settled(&gateway).await;
    let held = net::open(CONNECTIONS, async |number: usize| send(&gateway, number, &wire).await).await;
    let opened = held.len().max(1) as f64;
    let sent = held.iter().map(|(_, sent)| *sent as f64 / 1024.0).sum::<f64>() / opened;
    let grown = (settled(&gateway).await - before).max(0.0);
    println!(
        "header bomb, {name}: opened {} of {CONNECTIONS} from {} addresses, {streams} streams, {sent:.1} KiB sent on each",
        held.len(),
        net::addresses(held.len()),
    );
    (grown / opened, sent)
}

/// Sends as much of it as is taken.
async fn send(gateway: &Gateway, number: usize, wire: &[u8]) -> io::Result<(TcpStream, usize)> {
    let mut tcp = net::connect(number, gateway.plain).await?;
    tcp.write_all(PREFACE).await?;
    let mut sent = PREFACE.len();
    for piece in wire.chunks(4096) {
        match timeout(Duration::from_millis(500), tcp.write_all(piece)).await {
            Ok(Ok(())) => sent += piece.len(),
            _ => break,
        }
    }
    Ok((tcp, sent))
}
