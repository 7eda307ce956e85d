//! What is cheap to send over HTTP/2 and dear to take.

use crate::{
    Report,
    gateway::Gateway,
    net::{self, PREFACE, block, frame},
    settled,
};
use std::{
    io,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CONNECTIONS: usize = 50;
/// Both HEADERS and the end of its block; the request has a body that never comes.
const END_HEADERS: u8 = 4;

/// Many tiny indexed fields: memory for each byte that was sent.
pub async fn bombs(start: &impl Fn(Option<u32>) -> Gateway, report: &mut Report) {
    // What a hundred requests in flight take on a connection without any bomb, the demo API's part of it included.
    let mut ordinary = 0.0;
    for (name, fields) in
        [("too many in a block", 4000), ("none, ordinary requests", 0), ("as many as are allowed", 90)]
    {
        let gateway = start(None);
        let wire: Vec<u8> = (0..100)
            .flat_map(|number| frame(1, END_HEADERS, 2 * number + 1, &block("/echo/x", fields)))
            .collect();
        let before = settled(&gateway).await;
        let make = async |number: usize| -> io::Result<(TcpStream, usize)> {
            let mut tcp = net::connect(number, gateway.plain).await?;
            tcp.write_all(PREFACE).await?;
            let mut sent = 0;
            for piece in wire.chunks(4096) {
                match timeout(Duration::from_millis(500), tcp.write_all(piece)).await {
                    Ok(Ok(())) => sent += piece.len(),
                    _ => break,
                }
            }
            Ok((tcp, sent))
        };
        let held = net::open(CONNECTIONS, make).await;
        let sent: usize = held.iter().map(|(_, sent)| sent).sum();
        let grown = (settled(&gateway).await - before).max(0.0);
        println!(
            "header bomb, {name}: {} connections, 100 streams of {fields} fields each, {} KiB sent",
            held.len(),
            sent >> 10
        );
        let (each, ratio) = (grown / held.len().max(1) as f64, grown * 1024.0 / sent.max(1) as f64);
        match fields {
            4000 => report.most("memory for each byte", ratio, 8.0, ""),
            0 => {
                ordinary = each;
                println!("  memory of each connection {each:.0} KiB, for each byte {ratio:.0}");
            }
            _ => {
                println!("  memory of each connection {each:.0} KiB, for each byte {ratio:.0}");
                // It would be eight times as much, were all of them taken.
                report.most("memory against ordinary requests", each / ordinary.max(1.0), 3.0, "×");
            }
        }
    }
}

pub async fn floods(start: &impl Fn(Option<u32>) -> Gateway, report: &mut Report) {
    /// So much would be sent, were it borne with.
    const MOST: usize = 32 << 20;
    let resets = |number: u32| {
        let stream = 2 * number + 1;
        [frame(1, 5, stream, &block("/echo/x", 0)), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    };
    let open = frame(1, END_HEADERS, 1, &block("/echo/x", 0));
    let endless = frame(1, 0, 1, &block("/echo/x", 0));
    for (name, first, many) in [
        ("rapid reset", Vec::new(), (0..100_000).flat_map(resets).collect::<Vec<u8>>()),
        ("CONTINUATION", endless, frame(9, 0, 1, &[0x0f]).repeat(MOST / 10)),
        ("empty DATA", open, frame(0, 0, 1, &[]).repeat(MOST / 9)),
        ("SETTINGS", Vec::new(), frame(4, 0, 0, &[]).repeat(MOST / 9)),
        ("PING", Vec::new(), frame(6, 0, 0, &[0; 8]).repeat(MOST / 17)),
    ] {
        let gateway = start(None);
        let before = settled(&gateway).await;
        let make = async |number: usize| -> io::Result<(f64, usize)> {
            let mut tcp = net::connect(number, gateway.plain).await?;
            let begun = Instant::now();
            tcp.write_all(&[PREFACE, &first].concat()).await?;
            let (mut read, mut write) = tcp.split();
            let mut sent = 0;
            let sending = async {
                for piece in many.chunks(4096) {
                    if write.write_all(piece).await.is_err() {
                        break;
                    }
                    sent += piece.len();
                }
            };
            let mut unread = vec![0; 16 * 1024];
            let ending = async { while matches!(read.read(&mut unread).await, Ok(1..)) {} };
            // Once it is closed there is nobody to send to.
            let both = async {
                tokio::select! {
                    () = ending => {}
                    () = async { sending.await; std::future::pending::<()>().await } => {}
                }
            };
            let closed = timeout(Duration::from_secs(20), both).await.is_ok();
            Ok((if closed { begun.elapsed().as_secs_f64() } else { f64::INFINITY }, sent))
        };
        let all = net::open(CONNECTIONS, make).await;
        let sent = all.iter().map(|(_, sent)| *sent).max().unwrap_or(MOST);
        let last = all.iter().map(|(seconds, _)| *seconds).fold(0.0, f64::max);
        let grown = (settled(&gateway).await - before).max(0.0) / 1024.0;
        println!("flood of {name}: {} connections", all.len());
        // Of 32 MiB; most of it only filled the buffers of the kernel.
        report.most("sent on one before it was closed", sent as f64 / 1024.0, 8192.0, "KiB");
        report.most("the last is closed after", last, 10.0, "s");
        report.memory("memory grown", grown, 16.0, "MiB");
    }
}
