//! Idle connections: what each takes, and whether that is given back.

use crate::{
    Report,
    gateway::Gateway,
    net::{self, Connection},
    settled,
};
use std::{io, time::Duration};

pub async fn run(start: &impl Fn(Option<u32>) -> Gateway, count: usize, report: &mut Report) {
    for (name, secure, target) in [("plain", false, 5.0), ("TLS", true, 16.0)] {
        let gateway = start(None);
        let connector = net::connector(&gateway, false);
        let once = async |number: usize| -> io::Result<Connection> {
            let to = if secure { gateway.secure } else { gateway.plain };
            let tcp = net::connect(number, to).await?;
            let mut connection: Connection =
                if secure { Box::new(net::tls(&connector, tcp).await?) } else { Box::new(tcp) };
            if net::served(&mut connection).await? {
                Ok(connection)
            } else {
                Err(io::Error::other("refused"))
            }
        };
        // On a busy machine a handshake may take longer than it may.
        let make = async |number: usize| match once(number).await {
            Ok(open) => Ok(open),
            Err(_) => once(number).await,
        };
        // What the first ones need besides is there once.
        drop(net::open(200, &make).await);
        let before = settled(&gateway).await;
        let held = net::open(count, &make).await;
        let opened = held.len();
        let with = settled(&gateway).await;
        let each = (with - before) / opened.max(1) as f64;
        println!(
            "idle, {name}: opened {opened} of {count} from {} addresses; {before} KiB, then {with} KiB",
            net::addresses(opened)
        );
        report.least("opened", opened as f64 * 100.0 / count as f64, 100.0, "%");
        report.memory("memory of each", each, target, "KiB");
        drop(held);
        let mut after = with;
        for _ in 0..80 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            after = gateway.memory() as f64;
            if after - before <= (with - before) / 10.0 {
                break;
            }
        }
        // Some of it was never theirs: caches, and what all connections share.
        let kept = (after - before).max(0.0) * 100.0 / (with - before).max(1.0);
        report.most("of that still held 40 s after all are closed, at most", kept, 25.0, "%");
    }
}
