//! Bodies that are larger than they may be, or than they seem.

use crate::{Report, gateway::Gateway, net, settled};
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const CONNECTIONS: usize = 50;
/// `body_bytes` of the gateway, in KiB.
const LIMIT: f64 = 256.0;

pub async fn run(start: &impl Fn(Option<u32>) -> Gateway, report: &mut Report) {
    let gateway = start(None);
    // What the first requests need besides is there once.
    let warm = async |number: usize| send(&gateway, number, "", &[b'x'; 1000], 1000).await;
    net::open(100, warm).await;
    let ten_gigabytes = 10 << 30;
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    // A gigabyte of zeros, near enough: what it would become if anybody unpacked it.
    let bomb = bomb();
    for (name, header, piece, length, refused) in [
        ("10 GB in chunks", "", &[b'x'; 16 * 1024][..], ten_gigabytes, true),
        ("gzip of 200 MiB", "content-encoding: gzip\r\n", &bomb[..], bomb.len(), false),
        ("JSON 100 000 deep", "content-type: application/json\r\n", &deep[..], deep.len(), false),
    ] {
        let before = settled(&gateway).await;
        let all =
            net::open(CONNECTIONS, async |number| send(&gateway, number, header, piece, length).await).await;
        let after = gateway.memory() as f64;
        let wanted = if refused { 413 } else { 200 };
        let right = all.iter().filter(|(status, _)| *status == wanted).count();
        let sent = all.iter().map(|(_, sent)| *sent).max().unwrap_or(0);
        println!(
            "{name}: opened {} of {CONNECTIONS} from {} addresses, {} KiB sent on one at most",
            all.len(),
            net::addresses(all.len()),
            sent >> 10
        );
        report.least(&format!("answered {wanted}"), right as f64, CONNECTIONS as f64, "");
        report.most("sent on one", sent as f64 / 1024.0, 8192.0, "KiB");
        report.memory("memory of each", (after - before).max(0.0) / CONNECTIONS as f64, 2.0 * LIMIT, "KiB");
    }
    println!(
        "(no plugin unpacks or parses bodies of requests: the last two pass as what they are, bytes within the limit)"
    );
}

/// Sends a body in chunks until there is an answer: its status, and how much was sent.
async fn send(
    gateway: &Gateway,
    number: usize,
    header: &str,
    piece: &[u8],
    length: usize,
) -> io::Result<(u16, usize)> {
    let mut tcp = net::connect(number, gateway.plain).await?;
    let head =
        format!("POST /echo/x HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n{header}\r\n");
    tcp.write_all(head.as_bytes()).await?;
    let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let (mut read, mut write) = tcp.split();
    let mut sent = 0;
    let sending = async {
        while sent < length {
            if write.write_all(&chunk).await.is_err() {
                break;
            }
            sent += piece.len();
        }
        let _ = write.write_all(b"0\r\n\r\n").await;
        std::future::pending::<()>().await
    };
    let mut answer = vec![0; 64];
    let reading = async {
        let count = read.read(&mut answer).await.unwrap_or(0);
        String::from_utf8_lossy(&answer[..count]).split(' ').nth(1).and_then(|status| status.parse().ok())
    };
    let both = async {
        tokio::select! {
            status = reading => status,
            () = sending => None,
        }
    };
    let status = timeout(Duration::from_secs(60), both).await.ok().flatten().unwrap_or(0);
    Ok((status, sent))
}

fn bomb() -> Vec<u8> {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..200 {
        packed.write_all(&vec![0; 1 << 20]).unwrap();
    }
    packed.finish().unwrap()
}
