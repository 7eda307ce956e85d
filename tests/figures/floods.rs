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
    time::timeout,
};

const CONNECTIONS: usize = 50;
/// Both HEADERS and the end of its block; the request has a body that never comes.
const END_HEADERS: u8 = 4;

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
            let closed = timeout(Duration::from_secs(60), both).await.is_ok();
            Ok((if closed { begun.elapsed().as_secs_f64() } else { f64::INFINITY }, sent))
        };
        let all = net::open(CONNECTIONS, make).await;
        let sent = all.iter().map(|(_, sent)| *sent).max().unwrap_or(MOST);
        let last = all.iter().map(|(seconds, _)| *seconds).fold(0.0, f64::max);
        let grown = (settled(&gateway).await - before).max(0.0) / 1024.0;
        println!(
            "flood of {name}: opened {} of {CONNECTIONS} from {} addresses",
            all.len(),
            net::addresses(all.len())
        );
        // Of 32 MiB; most of it only filled the buffers of the kernel.
        report.most("sent on one before it was closed", sent as f64 / 1024.0, 8192.0, "KiB");
        report.seconds("the last is closed after", last, 10.0);
        report.memory("memory grown", grown, 16.0, "MiB");
    }
}
