//! Connections that say little or nothing: when they are closed, and whether others are served.

use crate::{
    Report,
    gateway::Gateway,
    net::{self, Connection, PREFACE},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{sleep, timeout},
};

/// From when one is accepted, by which all are closed; the head may take 10 s.
const CLOSED: f64 = 12.0;

pub async fn slowloris(start: &impl Fn(Option<u32>) -> Gateway, count: usize, report: &mut Report) {
    for (name, secure, http2) in [
        ("HTTP/1", false, false),
        ("TLS", true, false),
        ("HTTP/2", false, true),
        ("HTTP/2 over TLS", true, true),
    ] {
        let gateway = start(None);
        let connector = net::connector(&gateway, http2);
        let over = Arc::new(AtomicBool::new(false));
        let others = tokio::spawn(others(gateway.plain, over.clone()));
        let (begun, before) = (Instant::now(), gateway.cpu());
        let make = async |number: usize| -> io::Result<JoinSet<Option<f64>>> {
            let to = if secure { gateway.secure } else { gateway.plain };
            let tcp = net::connect(number, to).await?;
            // Later than it was accepted: a handshake waits for its turn in the gateway.
            let begun = Instant::now();
            let connection: Connection =
                if secure { Box::new(net::tls(&connector, tcp).await?) } else { Box::new(tcp) };
            let mut drips = JoinSet::new();
            drips.spawn(drip(connection, http2, begun));
            Ok(drips)
        };
        let held = net::open(count, make).await;
        let opened = held.len();
        let (opening, after) = (begun.elapsed(), gateway.cpu());
        let mut longest = 0f64;
        let mut closed = 0;
        for mut one in held {
            if let Some(Ok(Some(seconds))) = one.join_next().await {
                closed += 1;
                longest = longest.max(seconds);
            }
        }
        let (holding, cpu) = (begun.elapsed() - opening, gateway.cpu());
        over.store(true, Ordering::Relaxed);
        let (served, asked, p99) = others.await.unwrap();
        println!(
            "slowloris, {name}: opened {opened} of {count} from {} addresses; {asked} requests of others",
            net::addresses(opened)
        );
        report.least("opened", opened as f64 * 100.0 / count as f64, 99.0, "%");
        report.least("closed", closed as f64 * 100.0 / opened.max(1) as f64, 100.0, "%");
        report.seconds("the last is closed after", longest, CLOSED);
        report.least("others served", served as f64 * 100.0 / asked.max(1) as f64, 100.0, "%");
        report.quiet("p99 of others", p99, 5.0, "ms");
        println!(
            "  CPU time of the gateway: {:.2} s of {:.1} s while they were opened, {:.2} s of {:.1} s while they were held",
            after - before,
            opening.as_secs_f64(),
            cpu - after,
            holding.as_secs_f64()
        );
        if opened < 2000 {
            // It would be about the others.
            continue;
        }
        // Others ask a hundred times a second meanwhile; a drip a second, the refusal, its record and its answer are in it.
        report.cpu(
            "CPU time for each that is held, to its end",
            (cpu - after) * 1e6 / opened.max(1) as f64,
            2000.0,
            "µs",
        );
    }
}

/// A head that never ends: how long it was borne with.
async fn drip(mut connection: Connection, http2: bool, begun: Instant) -> Option<f64> {
    let first = if http2 {
        // The rest of the block would be 1000 bytes.
        let rest = [0, 3, 0xe8, 9, 4, 0, 0, 0, 1];
        [PREFACE, &net::frame(1, 1, 1, &net::block("/ready", 0)), &rest].concat()
    } else {
        b"GET /ready HTTP/1.1\r\nHost: gateway.test\r\n".to_vec()
    };
    let _ = connection.write_all(&first).await;
    let more: &[u8] = if http2 { &[0x90] } else { b"X-Slow: 1\r\n" };
    let mut unread = [0; 1024];
    for _ in 0..60 {
        match timeout(Duration::from_secs(1), connection.read(&mut unread)).await {
            Ok(Ok(0) | Err(_)) => return Some(begun.elapsed().as_secs_f64()),
            Ok(Ok(_)) => {}
            Err(_) => {
                let _ = connection.write_all(more).await;
            }
        }
    }
    None
}

/// Somebody else, who asks now and then: how often there was an answer, and how long the slowest but one in a hundred
/// took, in milliseconds.
async fn others(to: std::net::SocketAddr, over: Arc<AtomicBool>) -> (usize, usize, f64) {
    let (mut served, mut times) = (0, Vec::new());
    let mut connection = None;
    while !over.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(10)).await;
        let begun = Instant::now();
        let answered = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => net::connect(7, to).await?,
            };
            let good = net::served(&mut open).await?;
            connection = Some(open);
            io::Result::Ok(good)
        };
        served += usize::from(matches!(timeout(net::PATIENCE, answered).await, Ok(Ok(true))));
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(0.0);
    (served, times.len(), p99)
}

/// A gateway with 200 descriptors, and 400 connections that say nothing; once they stay away when they are closed, and
/// once they come again.
pub async fn descriptors(start: &impl Fn(Option<u32>) -> Gateway, report: &mut Report) {
    const SILENT: usize = 400;
    const PROBES: usize = 200;
    for (name, again) in [("stay away", false), ("come again at once", true)] {
        let gateway = start(Some(200));
        let (over, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut silent = JoinSet::new();
        for number in 0..SILENT {
            let (over, opened, to) = (over.clone(), opened.clone(), gateway.plain);
            silent.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    if let Ok(mut tcp) = net::connect(number, to).await {
                        opened.fetch_add(1, Ordering::Relaxed);
                        let _ = tcp.read(&mut [0; 16]).await;
                    }
                    if !again {
                        break;
                    }
                    sleep(Duration::from_millis(10)).await;
                }
            });
        }
        let begun = Instant::now();
        while opened.load(Ordering::Relaxed) < SILENT && begun.elapsed() < 3 * net::PATIENCE {
            sleep(Duration::from_millis(10)).await;
        }
        let mut served = 0;
        for number in 0..PROBES {
            let probe = async {
                let mut tcp = net::connect(number, gateway.plain).await?;
                net::served(&mut tcp).await
            };
            served += usize::from(matches!(timeout(net::PATIENCE, probe).await, Ok(Ok(true))));
            sleep(Duration::from_millis(20)).await;
        }
        over.store(true, Ordering::Relaxed);
        silent.shutdown().await;
        let opened = opened.load(Ordering::Relaxed);
        println!(
            "200 descriptors, {SILENT} silent connections that {name}: opened {opened} from {} addresses",
            net::addresses(opened)
        );
        report.least("probes served", served as f64 * 100.0 / PROBES as f64, 99.0, "%");
        let told = gateway.log().contains("idle ones make room");
        report.least("the log says so", f64::from(u8::from(told)), 1.0, "");
    }
}
