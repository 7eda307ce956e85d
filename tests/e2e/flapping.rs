//! An origin that is well and ill by turns, among others that are well.

use crate::{harness::Gateway, health::states, origin::Origin};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

/// How an origin fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fails {
    /// It answers 500.
    Status,
    /// It resets the connection after the request.
    Reset,
}

#[test]
fn who_flaps_is_put_aside_at_once_and_few_notice() {
    for fails in [Fails::Status, Fails::Reset] {
        let begun = Arc::new(AtomicBool::new(false));
        let failed = Arc::new(AtomicUsize::new(0));
        let (ill, count) = (begun.clone(), failed.clone());
        // Bad for most of the time, good in between: twenty bad ones, then two good ones.
        let flapping = Origin::start(move |request| {
            if ill.load(SeqCst) && count.fetch_add(1, SeqCst) % 22 < 20 {
                return match fails {
                    Fails::Status => request.answer(500, "bad"),
                    Fails::Reset => request.reset(),
                };
            }
            request.answer(200, "good")
        });
        let others: Vec<Origin> =
            (0..3).map(|_| Origin::start(|request| request.answer(200, "good"))).collect();
        let targets: String =
            others.iter().map(|origin| format!(", {{address: '{}'}}", origin.address)).collect();
        let gateway = Gateway::start(&format!(
            "
admin: {{address: 127.0.0.1:0}}
upstreams:
  raw:
    targets: [{{address: '{}'}}{targets}]
    outlier: {{consecutive_failures: 5, eject: 1h}}
routes: {{raw: {{paths: [/*], upstream: raw}}}}
",
            flapping.address
        ));
        let mut client = gateway.connect();
        for _ in 0..40 {
            client.request("GET", "/", &[]).expect(200);
        }
        begun.store(true, SeqCst);
        let (started, mut ejected) = (Instant::now(), None);
        let (mut bad, mut all) = (0, 0);
        while all < 2_000 {
            all += 1;
            let answer = client.request("GET", "/", &[]);
            bad += usize::from(answer.status != 200);
            if answer.header("connection") == Some("close") {
                client = gateway.connect();
            }
            if ejected.is_none() && all % 10 == 0 && states(&gateway).contains(&"ejected".to_owned()) {
                ejected = Some((started.elapsed(), all));
            }
        }
        let (time, requests) = ejected.expect("it is put aside");
        println!(
            "{fails:?}: put aside after {} ms and {requests} requests, {bad} of {all} failed",
            time.as_millis()
        );
        // Every fourth is for it: by the request it says the same on every machine.
        assert!(requests <= 40, "{fails:?}: {requests}");
        assert!(bad * 100 <= all, "{fails:?}: {bad} of {all} failed");
    }
}
